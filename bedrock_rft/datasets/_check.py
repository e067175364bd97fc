"""Check a dataset in one pass over its bytes, line by line."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from io import BytesIO
from typing import Any

from jiter import from_json

from bedrock_rft.datasets._read import InvalidLine, file_problem, parse_line
from bedrock_rft.datasets._records import encode_record
from bedrock_rft.datasets._report import Limits, Problem, ProblemLog, Report
from bedrock_rft.datasets._rules import error, join_text_parts, record_problems, warning
from bedrock_rft.datasets._source import Data, open_source, read_chunks, records_in
from bedrock_rft.datasets._statistics import Statistics
from bedrock_rft.errors import ConfigurationError, DatasetError

CHUNK_SIZE = 1 << 18
"""Bytes that are read and checked at once: many, to save calls, but few enough for the cache of a core."""

_MAX_LINE_SIZE = 32 << 20  # bytes, to bound memory; Lambda takes at most 6 MB at a time
_WHITESPACE = b" \t\r\n"
_BOM = b"\xef\xbb\xbf"
_SECRET = re.compile(rb"(?<![A-Za-z0-9/+])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])|-----BEGIN [A-Z ]*PRIVATE KEY-----")

_TOO_LONG = error("line-too-long", None, f"longer than {_MAX_LINE_SIZE >> 20} MiB", "Write one JSON object per line")
_BLANK_LINE = error("blank-line", None, "the line is empty", "Remove it: every line is one JSON object")
_LOOKS_SECRET = warning(
    "secret", None, "the line contains an AWS key or a private key", "Remove the key: a model may memorize it"
)


class DatasetCheck:
    """A check in progress. Pass all bytes of the file to `feed` in order, then call `finish`."""

    def __init__(
        self, name: str, *, limits: Limits | None = None, limit: int = 20, digests: Sequence[Any] = ()
    ) -> None:
        """Start a check that keeps `limit` problems of each rule. Every byte also updates `digests` of `hashlib`."""
        if type(limit) is not int or limit < 1:
            raise ConfigurationError(f"limit={limit!r} is not valid. Give the number of problems to keep of each rule.")
        if limits is not None and not isinstance(limits, Limits):
            raise ConfigurationError(f"limits is a {type(limits).__name__}. Give datasets.Limits(…).")
        self._name = name
        self._limits = limits or Limits()
        self._log = ProblemLog(limit)
        self._statistics = Statistics(self._log, self._limits)
        self._sha256 = hashlib.sha256()
        self._digests = (self._sha256, *digests)
        self._size = self._line = 0
        self._blanks = 0
        self._first_blank = 1  # the first of consecutive empty lines
        self._last_blank = 0
        self._partial: list[bytes] = []  # the line that has begun
        self._partial_size = 0
        self._stopped = False

    def feed(self, chunk: bytes) -> None:
        """Check the next bytes of the file."""
        for digest in self._digests:
            digest.update(chunk)
        self._size += len(chunk)
        lines = BytesIO(chunk).readlines()  # faster than split
        rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        if lines and self._partial_size:
            self._keep_part(lines.pop(0))
            self._end_line()
        self._check_lines(lines)
        if rest and not self._stopped:
            self._keep_part(rest)

    def _check_lines(self, lines: Iterable[bytes]) -> None:
        """Check whole lines. `Statistics` accepts simple valid records; the rules explain all others."""
        if self._stopped:
            return
        add = self._statistics.add
        for number, line in enumerate(lines, self._line + 1):
            self._line = number
            try:
                # Use pydantic's parser itself, because `validate_json` accepts a key that appears twice.
                valid = add(number, from_json(line, allow_inf_nan=False, cache_mode="keys", catch_duplicate_keys=True))
            except (ValueError, LookupError, TypeError, AttributeError):
                valid = False
            if not valid:
                self._check_line(line)
                if self._stopped:
                    return
            elif b"K" in line:
                self._check_secrets(line)

    def reject(self, problem: Problem) -> None:
        """Count a record that was rejected before the check, for example because JSON cannot represent it."""
        self._line += 1
        self._log.add(self._line, problem)

    def finish(self) -> Report:
        """Return the report. Call it once, after the last byte."""
        if self._partial_size:
            self._end_line()
        self._statistics.finish()
        records = self._line - self._blanks
        if self._blanks and self._last_blank == self._line:  # only empty lines follow the last record
            self._log.discard(_BLANK_LINE.code, range(self._first_blank, self._line + 1))
        if not self._stopped:
            self._check_count(records)
        statistics, log = self._statistics, self._log
        return Report(
            name=self._name,
            size=self._size,
            sha256=self._sha256.hexdigest(),
            records=records,
            valid=statistics.valid,
            errors=log.with_severity("error"),
            warnings=log.with_severity("warning"),
            counts=dict(log.counts),
            roles=_sort_by_count(statistics.roles),
            prompt_lengths=statistics.lengths(),
            reference_types=_sort_by_count(statistics.reference_types),
            duplicate_prompts=statistics.duplicates,
            compared=statistics.compared,
            extra_fields=_sort_by_count(statistics.extra_fields),
            limits=self._limits,
        )

    def _keep_part(self, part: bytes) -> None:
        self._partial_size += len(part)
        if self._partial_size <= _MAX_LINE_SIZE:
            self._partial.append(part)
        else:
            self._partial.clear()

    def _end_line(self) -> None:
        line = b"".join(self._partial)
        too_long = self._partial_size > _MAX_LINE_SIZE
        self._partial, self._partial_size = [], 0
        if too_long:
            self.reject(_TOO_LONG)
        else:
            self._check_lines([line])

    def _check_line(self, line: bytes) -> None:
        """Check a line with the rules that explain problems."""
        if self._line == 1:
            line = self._check_start(line)
        if self._stopped:
            return
        if not line.strip(_WHITESPACE):
            self._blanks += 1
            if self._last_blank != self._line - 1:
                self._first_blank = self._line
            self._last_blank = self._line
            self._log.add(self._line, _BLANK_LINE)
            return
        self._check_secrets(line)
        value, problems = _explain(line, first=self._line - self._blanks == 1)
        self._stopped = any(problem.code == "array" for problem in problems)
        for problem in problems:
            self._log.add(self._line, problem)
        if not problems:
            self._statistics.add(self._line, join_text_parts(value))

    def _check_secrets(self, line: bytes) -> None:
        # Search for plain text first, because that is many times faster than the pattern.
        if (b"AKIA" in line or b"PRIVATE KEY-----" in line) and _SECRET.search(line):
            self._log.add(self._line, _LOOKS_SECRET)

    def _check_start(self, line: bytes) -> bytes:
        """Log a problem that the first bytes show, and return the line without a byte order mark."""
        problem = file_problem(line)
        if problem is not None:
            self._log.add(1, problem)
            self._stopped = problem.code != "bom"
            self._line -= self._stopped  # such a file has no records
        return line.removeprefix(_BOM)

    def _check_count(self, records: int) -> None:
        limits, log = self._limits, self._log.add
        if not records and not self._size:
            log(None, error("empty", None, "the file is empty", "Add records"))
        elif not records:
            log(None, error("no-records", None, "the file contains no records", "Add records"))
        elif records < limits.min_records:
            summary = (
                f"{records:,} record{'' if records == 1 else 's'}, at least {limits.min_records:,} are needed to train"
            )
            remedy = "Add records; a validation file may have fewer: Limits(min_records=1)"
            log(None, error("too-few", None, summary, remedy))
        elif records > limits.max_records:
            summary = f"{records:,} records, at most {limits.max_records:,} are allowed"
            log(None, error("too-many", None, summary, "Remove some: datasets.split can"))
        elif records > limits.warn_records:
            summary = (
                f"{records:,} records; the AWS documentation allows {limits.max_records:,}, "
                f"an AWS blog post {limits.warn_records:,}"
            )
            log(None, warning("many", None, summary, "Nothing, unless the service rejects it"))


def validate(data: Data, *, limits: Limits | None = None, limit: int = 20, **removed: Any) -> Report:
    """Check a training file before it is uploaded. The file is read once, and memory does not grow with its size.

    Args:
        data: a path, the content as bytes, a file opened in binary mode, or records: dicts, models, a pandas or polars
            frame, an Arrow table, a Hugging Face dataset.
        limits: other limits than the service documents, such as `Limits(min_records=1)` for a validation file.
        limit: number of problems to keep of each rule; all problems are counted.
        **removed: parameters of earlier versions; each raises an error that names the replacement.

    Returns:
        The report. `report.raise_for_errors()` raises if there are errors.

    Raises:
        DatasetError: the file cannot be read: it does not exist, or is a directory, a pipe or a device.
        ConfigurationError: `data` cannot hold training data, or `limits` or `limit` is not valid.
    """
    reject_removed(removed)
    records = records_in(data)
    if records is not None:
        check = DatasetCheck("records", limits=limits, limit=limit)
        for number, record in enumerate(records, 1):
            try:
                line = encode_record(number, record)
            except DatasetError as invalid:
                text = invalid.message.removeprefix(f"Record {number} ").rstrip(".")
                summary, _, remedy = text.partition(". ")
                check.reject(error("not-json", None, f"the record {summary}", remedy or "Give values that JSON has"))
            else:
                check.feed(line)
        return check.finish()
    with closing(open_source(data)) as source:
        check = DatasetCheck(source.name, limits=limits, limit=limit)
        for chunk in read_chunks(source, CHUNK_SIZE):
            check.feed(chunk)
        return check.finish()


def reject_removed(arguments: Mapping[str, Any]) -> None:
    """Raise ConfigurationError for a parameter that was renamed or removed, and TypeError for an unknown one."""
    if "processes" in arguments:
        raise ConfigurationError("validate(processes=…) was removed. One process is fast enough: leave it out.")
    if "rules" in arguments:
        raise ConfigurationError("rules= was renamed. Use limits=datasets.Limits(…).")
    for name in arguments:
        raise TypeError(f"unexpected keyword argument {name!r}")


def _explain(line: bytes, *, first: bool) -> tuple[Any, list[Problem]]:
    """Return the value on a line (None if it is not JSON) and all of its problems."""
    try:
        value = parse_line(line.removesuffix(b"\n"), first=first)
    except InvalidLine as invalid:
        return None, [invalid.problem]
    return value, list(record_problems(value))


def _sort_by_count(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
