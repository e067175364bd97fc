"""Split a file into a training and a validation file that share no prompt.

The side of a record depends only on its prompt, the seed and the share, so records with the same prompt stay together
even if their answers differ. The prompts with the lowest hashes go to validation: one pass computes the hashes and one
pass writes, and the records keep their order.
"""

from __future__ import annotations

import hashlib
import json
import os
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic_core import from_json

from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.datasets._check import validate
from bedrock_rft.datasets._read import read_lines
from bedrock_rft.datasets._report import Limits, Report
from bedrock_rft.datasets._rules import content_text
from bedrock_rft.datasets._source import local_path, open_source
from bedrock_rft.datasets._write import write_lines
from bedrock_rft.errors import ConfigurationError, DatasetError

_NO_COUNT_LIMITS = Limits(min_records=1, max_records=2**62, warn_records=2**62)


@dataclass(frozen=True)
class Split(ShortRepr):
    """The result of `split`.

    Attributes:
        train: path of the training file.
        validation: path of the validation file.
        train_report: report on the training file.
        validation_report: report on the validation file, which needs at least one record.
    """

    train: Path
    validation: Path
    train_report: Report
    validation_report: Report


def split(
    path: str | os.PathLike[str],
    *,
    share: float = 0.1,
    seed: int = 0,
    train: str | os.PathLike[str] | None = None,
    validation: str | os.PathLike[str] | None = None,
) -> Split:
    """Write a training and a validation file. Every line goes to one of them unchanged, and the order is kept.

    Args:
        path: the file to split. It is not changed.
        share: share of the records for validation, above 0 and below 1. Each side gets at least one record. Equal
            prompts stay together, which may make the share slightly larger.
        seed: random seed; the same seed gives the same files.
        train: path of the training file; by default `NAME.train.jsonl` next to the file.
        validation: path of the validation file; by default `NAME.validation.jsonl`.

    Raises:
        DatasetError: the file has errors, has only one prompt, changes meanwhile, or cannot be read or written.
        ConfigurationError: `share` or `seed` is not valid, or two of the paths are the same.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ConfigurationError(f"share={share!r} is not valid. Give the share for validation, above 0 and below 1.")
    if type(seed) is not int:
        raise ConfigurationError(f"seed={seed!r} is not valid. Give an integer.")
    source = local_path(path)
    train_path = local_path(train) if train is not None else source.parent / f"{source.stem}.train.jsonl"
    validation_path = (
        local_path(validation) if validation is not None else source.parent / f"{source.stem}.validation.jsonl"
    )
    if len({file.resolve() for file in (source, train_path, validation_path)}) < 3:  # noqa: PLR2004 - the three files
        raise ConfigurationError("path, train and validation must be three different files.")
    report = validate(source, limits=_NO_COUNT_LIMITS).raise_for_errors()
    keys = array("Q", (key for key, _ in _lines_with_keys(source, seed)))
    limit = _highest_validation_key(keys, share, source.name)
    validation_lines = _lines_of_side(source, seed, limit, validation=True)
    validation_report = write_lines(validation_path, validation_lines, Limits(min_records=1))
    train_report = write_lines(train_path, _lines_of_side(source, seed, limit, validation=False))
    if train_report.records + validation_report.records != report.records:
        raise DatasetError(f"{source.name} changed during the split. Split it again when nothing writes to it.")
    return Split(train_path, validation_path, train_report, validation_report)


def _highest_validation_key(keys: array[int], share: float, name: str) -> int:
    """Return the highest key of a validation record: the lowest key with which validation has its share."""
    ordered = sorted(keys)
    if not ordered or ordered[0] == ordered[-1]:
        raise DatasetError(f"{name} has only one prompt, which cannot be in both files. Add records.")
    limit = ordered[max(1, round(share * len(ordered))) - 1]
    if limit == ordered[-1]:  # the training file needs a prompt too
        limit = max(key for key in ordered if key < limit)
    return limit


def _lines_of_side(path: Path, seed: int, limit: int, *, validation: bool) -> Iterator[bytes]:
    for key, line in _lines_with_keys(path, seed):
        if (key <= limit) is validation:
            yield line.rstrip(b"\r") + b"\n"


def _lines_with_keys(path: Path, seed: int) -> Iterator[tuple[int, bytes]]:
    """Yield every line with 64 bits of the hash of its prompt."""
    for number, line in read_lines(open_source(path)):
        try:
            messages = cast("list[dict[str, Any]]", from_json(line)["messages"])
            # Prompts that differ only in surrounding whitespace or text parts are the same prompt.
            turns = [(message["role"], str(content_text(message["content"])).strip()) for message in messages]
        except (ValueError, KeyError, TypeError) as error:
            name = sanitize_line(path.name, 100)
            raise DatasetError(f"Line {number} of {name} changed during the split. Split the file again.") from error
        encoded = json.dumps([seed, turns]).encode()
        yield int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big"), line
