"""One pass over a file's bytes, as they come: cut into whole lines, hashed, looked at, and added up to a report."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from typing_extensions import Self

from bedrock_rft.datasets._alike import Alike
from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._cut import LONGEST_LINE, READ, Cut, Lines, keep_memory
from bedrock_rft.datasets._digest import Digest, Digests
from bedrock_rft.datasets._look import look
from bedrock_rft.datasets._part import Bounds, Part
from bedrock_rft.datasets._report import Problem, Report
from bedrock_rft.datasets._rules import Finding
from bedrock_rft.datasets._syntax import LEADING
from bedrock_rft.datasets._total import Total
from bedrock_rft.errors import ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft.datasets._problems import Severity

__all__ = ["BOM", "Scan"]

BOM = b"\xef\xbb\xbf"
_TOO_LONG = Finding("line-too-long", None, f"longer than {LONGEST_LINE >> 20} MiB", "Write one JSON object per line")


class Scan:
    """A check in progress: `feed` it the file from its first byte to its last, then ask for the report."""

    def __init__(
        self,
        name: str,
        *,
        rules: Rules | None = None,
        limit: int = 20,
        also: Sequence[Digest] = (),
    ) -> None:
        """Begin.

        Args:
            name: what the report calls the file.
            rules: the bounds it is held to.
            limit: how many problems to keep of each rule, from 1.
            also: further digests that are to see every byte.
        """
        if type(limit) is not int or limit < 1:
            raise ConfigurationError("limit is how many problems to keep of each rule, from 1.")
        self._name = name
        self._rules = rules or Rules()
        self.bounds = Bounds(limit, self._rules.longest_prompt)
        self._alike = Alike()
        self._total = Total(limit)
        self._sha256 = hashlib.sha256()
        self._digests = Digests([self._sha256, *also])
        self._size = 0
        self._cut = Cut()
        self._begun = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._digests.__exit__()

    def feed(self, chunk: bytes) -> None:
        """Take the file's next bytes, some 256 KiB at a time."""
        if not chunk:
            return
        self._hash(chunk, beside=True)  # by another thread, which begins when the caller reads on
        if self._total.stop is None:
            self._take(self._cut.feed(chunk))

    def pass_by(self, chunk: bytes) -> None:
        """Take the file's next bytes, where somebody else looks at them."""
        self._hash(chunk, beside=False)

    def add(self, part: Part) -> None:
        """Take what somebody else found on the file's next lines."""
        self._begun = True
        self._total.add(part)

    @property
    def size(self) -> int:
        """How many bytes there were so far."""
        return self._size

    @property
    def compares(self) -> bool:
        """Whether the prompts of further records are compared with those before."""
        return self._total.room > 0

    def refuse(self, finding: Finding) -> None:
        """Take a record that has no spelling in JSON, in place of its line."""
        part = Part(self.bounds.limit)
        part.lines = part.records = 1
        part.problems.error(1, finding)
        self.add(part)

    def finish(self) -> Report:
        """The report, once every byte was fed."""
        self._take(self._cut.end())
        total = self._total
        total.close()
        if total.stop is None:
            self._count()
        self._digests.wait()
        return Report(
            name=self._name,
            size=self._size,
            sha256=self._sha256.hexdigest(),
            records=total.records,
            valid=total.valid,
            errors=self._problems("error"),
            warnings=self._problems("warning"),
            counts=dict(total.problems.counts),
            roles=_ordered(total.roles),
            prompt_lengths=total.lengths(),
            reference_types=_ordered(total.references),
            duplicate_prompts=total.duplicates,
            compared=total.compared,
            extra_fields=_ordered(total.extras),
            rules=self._rules,
        )

    def _hash(self, chunk: bytes, *, beside: bool) -> None:
        if not self._size and len(chunk) >= READ:
            keep_memory()
        self._digests.update(chunk, beside=beside)
        self._size += len(chunk)

    def _take(self, cut: Iterable[Lines | None]) -> None:
        """Look at these whole lines, the next ones of the file."""
        for piece in cut:
            if piece is None:
                self.refuse(_TOO_LONG)
                continue
            lines = piece.lines if self._begun else self._begin(piece.lines)
            if lines and self._total.stop is None:
                bounds = self.bounds._replace(compare=self.compares, secrets=piece.secrets)
                self._total.add(look(lines, bounds, first=not self._total.records, alike=self._alike))

    def _begin(self, lines: list[bytes]) -> list[bytes]:
        """Tell from its first bytes what a file is that is no JSON lines."""
        self._begun = True
        head, *rest = lines
        for magic, code, what, mend in LEADING:
            if head.startswith(magic):
                self._total.stop = Finding(code, None, what, mend)
                self._total.problems.error(1, self._total.stop)
                return []
        if not head.startswith(BOM):
            return lines
        what = "the file begins with a byte order mark (BOM)"
        self._total.problems.error(1, Finding("bom", None, what, "Save it as UTF-8 without one", 1))
        return [line for line in (head[len(BOM) :], *rest) if line]

    def _problems(self, severity: Severity) -> tuple[Problem, ...]:
        return tuple(
            Problem(severity, code, what, mend, line, column, field)
            for line, (code, field, what, mend, column) in self._total.problems.sorted(severity)
        )

    def _count(self) -> None:
        found, rules, problems = self._total.records, self._rules, self._total.problems
        if not self._size:
            problems.error(None, Finding("empty", None, "the file is empty", "Give it records"))
        elif not found:
            problems.error(None, Finding("no-records", None, "the file holds no records", "Give it some"))
        elif found < rules.minimum:
            what = f"{found:,} record{'' if found == 1 else 's'}, at least {rules.minimum:,} are needed to train"
            mend = "Add records; a validation file may hold fewer: Rules(minimum=1)"
            problems.error(None, Finding("too-few", None, what, mend))
        elif found > rules.maximum:
            what = f"{found:,} records, at most {rules.maximum:,} are allowed"
            problems.error(None, Finding("too-many", None, what, "Leave some out: datasets.split can"))
        elif found > rules.disputed:
            what = f"{found:,} records; AWS's documentation allows {rules.maximum:,}, a blog post {rules.disputed:,}"
            problems.warning(None, Finding("many", None, what, "Nothing, unless the service refuses it"))


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
