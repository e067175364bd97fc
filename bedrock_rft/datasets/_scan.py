"""One pass over a file's bytes, as they come: lines, records, columns, problems and a hash.

Three gears. A group of lines that parse and have the documented shape is checked as columns. A group with a line that
does not is parsed line by line. Only a line that is refused is explained, by slower readers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

from jiter import from_json
from typing_extensions import Self

from bedrock_rft.datasets._columns import columns
from bedrock_rft.datasets._digest import Digest, Digests
from bedrock_rft.datasets._problems import Problems
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._rules import Finding, Rules, kind, misfits
from bedrock_rft.datasets._syntax import LEADING, not_json
from bedrock_rft.datasets._tally import Tally
from bedrock_rft.errors import ConfigurationError

__all__ = ["LONGEST_LINE", "Scan"]

LONGEST_LINE = 32 << 20
"""Bytes. A reward function is sent at most 6 MB at a time, so no longer line can be of use; and memory is bounded."""

_GROUP = 128  # lines: enough to make columns worth it, few enough to stay in the processor's cache
_BOM = b"\xef\xbb\xbf"
_SPACE = b" \t\r"
_PATIENCE = 64
_SECRET = re.compile(rb"(?<![A-Za-z0-9/+])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])|-----BEGIN [A-Z ]*PRIVATE KEY-----")
_ARRAY = Finding("array", None, "the file is a JSON array", "Write one object per line: datasets.write")
_EMPTY_LINE = Finding("blank-line", None, "the line is empty", "Remove it: every line is one JSON object")
_LOOKS_SECRET = Finding(
    "secret", None, "something that looks like an AWS key or a private key", "Remove it: a model may learn it by heart"
)


class Scan:
    """A check in progress: `feed` it the file from its first byte to its last, then ask for the report."""

    def __init__(self, name: str, *, rules: Rules | None = None, limit: int = 20, also: Sequence[Digest] = ()) -> None:
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
        self._problems = Problems(limit)
        self._limit = limit
        self._tally = Tally(self._rules, self._problems)
        self._sha256 = hashlib.sha256()
        self._digests = Digests([self._sha256, *also])
        self._size = self._line = self._records = 0
        self._next = b""
        self._held: list[bytes] = []
        self._held_size = 0
        self._blank: list[int] = []
        self._blanks = 0
        self._hopeless = self._overlong = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._digests.__exit__()

    def feed(self, chunk: bytes) -> None:
        """Take the file's next bytes, a megabyte or so at a time."""
        if not chunk:
            return
        # The last chunk is looked at while this one's hashing waits, and this one while the next is hashed: between
        # the two the caller reads, which lets the other thread begin.
        before, self._next = self._next, chunk
        if before:
            self._look(before)
        self._digests.update(chunk)
        self._size += len(chunk)

    def _look(self, chunk: bytes) -> None:
        if self._hopeless:
            return
        if self._overlong:
            chunk = self._after_overlong(chunk)
        lines = chunk.split(b"\n")
        rest = lines.pop()
        if lines:
            suspicious = _suspicious(chunk)
            if self._held:
                lines[0] = b"".join([*self._held, lines[0]])
                self._held, self._held_size = [], 0
                suspicious = suspicious or _suspicious(lines[0])
            self._take(lines, suspicious=suspicious)
        self._hold(rest)

    def refuse(self, finding: Finding) -> None:
        """Take a record that has no spelling in JSON, in place of its line."""
        self._settle()
        self._refuse(finding)

    def finish(self) -> Report:
        """The report, once every byte was fed."""
        self._settle()
        if self._overlong:
            self._after_overlong(b"\n")
        elif self._held:
            line = b"".join(self._held)
            self._take([line], suspicious=_suspicious(line))
        self._digests.wait()
        if not self._hopeless:
            self._count()
        self._tally.close()
        tally = self._tally
        return Report(
            name=self._name,
            size=self._size,
            sha256=self._sha256.hexdigest(),
            records=self._records,
            valid=tally.records,
            errors=self._problems.sorted("error"),
            warnings=self._problems.sorted("warning"),
            counts=dict(self._problems.counts),
            roles=dict(tally.roles.most_common()),
            prompt_lengths=tally.lengths(),
            reference_types=dict(tally.references.most_common()),
            duplicate_prompts=tally.duplicates,
            compared=tally.compared,
            extra_fields=dict(tally.extras.most_common()),
            rules=self._rules,
        )

    def _settle(self) -> None:
        last, self._next = self._next, b""
        self._look(last)

    def _refuse(self, finding: Finding) -> None:
        self._line += 1
        self._records += 1
        self._problems.error(self._line, finding)

    def _hold(self, piece: bytes) -> None:
        if not piece or self._overlong or self._hopeless:
            return
        self._held.append(piece)
        self._held_size += len(piece)
        if self._held_size > LONGEST_LINE:
            self._overlong = True
            self._held, self._held_size = [], 0

    def _after_overlong(self, chunk: bytes) -> bytes:
        _, end, rest = chunk.partition(b"\n")
        if end:
            self._overlong = False
            mib = LONGEST_LINE >> 20
            self._refuse(Finding("line-too-long", None, f"longer than {mib} MiB", "Write one JSON object per line"))
        return rest

    def _take(self, lines: list[bytes], *, suspicious: bool) -> None:
        """Look at these lines, the next ones of the file."""
        if self._line == 0:
            lines[0] = self._begin(lines[0])
        if suspicious:
            self._secrets(lines)
        if not any(lines):
            self._skip(len(lines))
            return
        for start in range(0, len(lines), _GROUP):
            if self._hopeless:
                return
            self._group(lines[start : start + _GROUP])

    def _begin(self, block: bytes) -> bytes:
        """Tell from its first bytes what a file is that is no JSON lines."""
        for magic, code, what, mend in LEADING:
            if block.startswith(magic):
                self._give_up(Finding(code, None, what, mend))
                return b""
        if block.startswith(_BOM):
            what = "the file begins with a byte order mark (BOM)"
            self._problems.error(1, Finding("bom", None, what, "Save it as UTF-8 without one", 1))
            block = block[len(_BOM) :]
        return block

    def _give_up(self, finding: Finding) -> None:
        self._hopeless = True
        self._problems.error(1, finding)

    def _skip(self, count: int) -> None:
        """Pass empty lines, which are a mistake only where something follows them."""
        self._blank.extend(range(self._line + 1, self._line + 1 + min(count, self._limit - len(self._blank))))
        self._blanks += count
        self._line += count

    def _group(self, lines: list[bytes]) -> None:
        numbers: Sequence[int]
        try:
            rows = _parsed(lines)
        except ValueError:
            rows, numbers = self._one_by_one(lines)
        else:
            numbers = range(self._line + 1, self._line + 1 + len(lines))
            self._line += len(lines)
            self._records += len(lines)
            self._something_follows()
        found = columns(rows) if rows else None
        if found is None:
            rows, numbers = self._rule_by_rule(rows, numbers)
            found = columns(rows) if rows else None
        if found is not None:
            self._tally.add(rows, numbers, found)

    def _one_by_one(self, lines: list[bytes]) -> tuple[list[Any], list[int]]:
        rows: list[Any] = []
        numbers: list[int] = []
        for line in lines:
            if not line.strip(_SPACE):
                self._skip(1)
                continue
            self._something_follows()
            self._line += 1
            self._records += 1
            try:
                rows += _parsed([line])
            except ValueError as error:
                if self._records == 1 and line.lstrip(_SPACE).startswith(b"["):
                    self._give_up(_ARRAY)
                    break
                self._problems.error(self._line, not_json(line, error))
            else:
                numbers.append(self._line)
        return rows, numbers

    def _rule_by_rule(self, rows: list[Any], numbers: Sequence[int]) -> tuple[list[Any], list[int]]:
        good: list[tuple[Any, int]] = []
        for row, number in zip(rows, numbers, strict=True):
            if number == 1 and kind(row) == "a list" and row:
                self._give_up(_ARRAY)
                return [], []
            wrong = list(misfits(row))
            for finding in wrong:
                self._problems.error(number, finding)
            if not wrong:
                good.append((row, number))
        return [row for row, _ in good], [number for _, number in good]

    def _something_follows(self) -> None:
        if self._blanks:
            self._problems.errors(self._blank, self._blanks, _EMPTY_LINE)
            self._blank, self._blanks = [], 0

    def _secrets(self, lines: list[bytes]) -> None:
        for number, line in enumerate(lines, self._line + 1):
            if _SECRET.search(line):
                self._problems.warning(number, _LOOKS_SECRET)

    def _count(self) -> None:
        found, rules = self._records, self._rules
        if not self._size:
            self._problems.error(None, Finding("empty", None, "the file is empty", "Give it records"))
        elif not found:
            self._problems.error(None, Finding("no-records", None, "the file holds no records", "Give it some"))
        elif found < rules.minimum:
            what = f"{found:,} record{'' if found == 1 else 's'}, at least {rules.minimum:,} are needed to train"
            mend = "Add records; a validation file may hold fewer: Rules(minimum=1)"
            self._problems.error(None, Finding("too-few", None, what, mend))
        elif found > rules.maximum:
            what = f"{found:,} records, at most {rules.maximum:,} are allowed"
            self._problems.error(None, Finding("too-many", None, what, "Leave some out: datasets.split can"))
        elif found > rules.disputed:
            what = f"{found:,} records; AWS's documentation allows {rules.maximum:,}, a blog post {rules.disputed:,}"
            self._problems.warning(None, Finding("many", None, what, "Nothing, unless the service refuses it"))


def _parsed(lines: list[bytes]) -> list[Any]:
    """Read lines of JSON, strictly where Python's reader is lenient.

    Raises:
        ValueError: one has NaN, a lone surrogate, bytes that are not UTF-8, a key twice, or too many levels or digits.
    """
    return [from_json(line, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True) for line in lines]


def _suspicious(block: bytes) -> bool:
    """Whether a block may hold a secret.

    Both marks have a K, which is rare in text, and to look for a single byte is many times faster.
    """
    at = -1
    for _ in range(_PATIENCE):
        at = block.find(b"K", at + 1)
        if at < 0:
            return False
        if block.startswith((b"KIA", b"KEY-----"), at):
            return True
    return block.find(b"AKIA", at) >= 0 or block.find(b"PRIVATE KEY-----", at - 8) >= 0
