"""The check of a file or of records, in one streaming pass."""

from __future__ import annotations

from collections.abc import Iterable

from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._records import spelled
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._rules import Finding
from bedrock_rft.datasets._scan import Scan
from bedrock_rft.datasets._source import READ, Data, given_records, pieces, source
from bedrock_rft.errors import DatasetError

__all__ = ["validate"]


def validate(data: Data, *, rules: Rules | None = None, limit: int = 20) -> Report:
    """Check training data, before anything is uploaded. It is read once; memory does not grow with it.

    Args:
        data: a path, the content as bytes, a file opened in binary mode, or records: dicts, models, a pandas or polars
            frame, a Hugging Face data set.
        rules: other bounds than the service documents, such as `Rules(minimum=1)` for a validation file.
        limit: how many problems to keep of each rule; all are counted.

    Returns:
        The report. `report.raise_for_errors()` raises where there are errors.

    Raises:
        DatasetError: the file cannot be read at all: it is not there, a directory, a pipe, a device.
        ConfigurationError: it is nothing that holds training data, or `rules` or `limit` make no sense.
    """
    records = given_records(data)
    if records is not None:
        with Scan("records", rules=rules, limit=limit) as scan:
            _feed(scan, records)
            return scan.finish()
    origin = source(data)
    try:
        with Scan(origin.name, rules=rules, limit=limit) as scan:
            for chunk in pieces(origin, READ):
                scan.feed(chunk)
            return scan.finish()
    finally:
        origin.close()


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
