"""The check of a file or of records, in one streaming pass; a large file's is shared with other processes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._cut import READ
from bedrock_rft.datasets._records import spelled
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._rules import Finding
from bedrock_rft.datasets._scan import Scan
from bedrock_rft.datasets._source import Data, given_records, pieces, source
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["validate"]

_LARGE = 128 << 20  # bytes, from which more is gained than it takes to start other processes


def validate(data: Data, *, rules: Rules | None = None, limit: int = 20, processes: int | None = None) -> Report:
    """Check training data, before anything is uploaded. Memory does not grow with it.

    It is read once. A large file that further processes look at is read twice, and has to stay as it is meanwhile:
    otherwise it is read once more, by this one.

    Args:
        data: a path, the content as bytes, a file opened in binary mode, or records: dicts, models, a pandas or polars
            frame, a Hugging Face data set.
        rules: other bounds than the service documents, such as `Rules(minimum=1)` for a validation file.
        limit: how many problems to keep of each rule; all are counted.
        processes: how many more look at a file whose path is given, while this one hashes it; 0 for none. Unless
            told, one for each of 2 to 4 processors do where the file is larger than 128 MiB and has short lines. Each
            takes some 20 MB.

    Returns:
        The report. `report.raise_for_errors()` raises where there are errors.

    Raises:
        DatasetError: the file cannot be read at all: it is not there, a directory, a pipe, a device.
        ConfigurationError: it is nothing that holds training data, or `rules`, `limit` or `processes` make no sense.
    """
    if processes is not None and (type(processes) is not int or processes < 0):
        raise ConfigurationError("processes is how many more may look at a file, from 0.")
    records = given_records(data)
    if records is not None:
        with Scan("records", rules=rules, limit=limit) as scan:
            _feed(scan, records)
            return scan.finish()
    origin = source(data)
    try:
        if origin.path is not None:
            report = _shared(origin.path, rules, limit, processes)
            if report is not None:
                return report
        with Scan(origin.name, rules=rules, limit=limit) as scan:
            for chunk in pieces(origin, READ):
                scan.feed(chunk)
            return scan.finish()
    finally:
        origin.close()


def _shared(path: Path, rules: Rules | None, limit: int, processes: int | None) -> Report | None:
    """The report on a file that others help to look at; None where none do."""
    try:
        if processes is None and path.stat().st_size < _LARGE:
            return None
    except OSError:
        return None
    from bedrock_rft.datasets._shared import shared  # dear to load, and most files are small

    return shared(path, rules=rules, limit=limit, processes=processes)


def _feed(scan: Scan, records: Iterable[object]) -> None:
    held: list[bytes] = []
    size = 0
    for number, record in enumerate(records, 1):
        try:
            line = spelled(number, record)
        except DatasetError as error:
            scan.feed(b"".join(held))
            held, size = [], 0
            why = error.message.removeprefix(f"Record {number} ").rstrip(".")
            scan.refuse(Finding("not-json", None, why, "Give what JSON can spell"))
            continue
        held.append(line)
        size += len(line)
        if size >= READ:
            scan.feed(b"".join(held))
            held, size = [], 0
    scan.feed(b"".join(held))
