"""A training and a validation file of one file, such that no prompt is in both.

Which side a record goes to depends on nothing but its prompt, the seed and the share: records with the same prompt go
together, whatever their answers. The prompts with the lowest hashes are for validation, so that one pass to hash and
one to write are enough, and the records keep their order.
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

from jiter import from_json

from bedrock_rft.datasets._bounds import Rules
from bedrock_rft.datasets._convert import lines_of
from bedrock_rft.datasets._report import Report
from bedrock_rft.datasets._rules import text
from bedrock_rft.datasets._validate import validate
from bedrock_rft.datasets._write import lay_down
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["Split", "split"]

_ANY_NUMBER = Rules(minimum=1, maximum=2**62, disputed=2**62)


@dataclass(frozen=True)
class Split:
    """What `split` wrote.

    Attributes:
        train: the path of the training file.
        validation: the path of the validation file.
        train_report: what is in the one.
        validation_report: what is in the other; it is held to a minimum of one record.
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
    """Write a training and a validation file; every line goes to one of them, byte for byte and in its order.

    Args:
        path: the file to split. It stays as it is.
        share: of the records, for validation: above 0, below 1. At least one goes to each side; prompts that occur
            several times stay together, which may make the share a little larger.
        seed: another number makes another pair; the same makes the same.
        train: where to write; by default `NAME.train.jsonl` beside the file.
        validation: where to write; by default `NAME.validation.jsonl`.

    Raises:
        DatasetError: the file has errors, has only one prompt, changes meanwhile, or cannot be read or written.
        ConfigurationError: the share or the seed makes no sense, or two of the paths are the same.
    """
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
        raise ConfigurationError("share is the part of the records for validation: above 0, below 1.")
    if type(seed) is not int:
        raise ConfigurationError("seed is a whole number.")
    given = Path(path).expanduser()
    to_train = Path(train).expanduser() if train is not None else given.with_name(f"{given.stem}.train.jsonl")
    to_validate = (
        Path(validation).expanduser() if validation is not None else given.with_name(f"{given.stem}.validation.jsonl")
    )
    if len({place.resolve() for place in (given, to_train, to_validate)}) < 3:  # noqa: PLR2004 - each its own
        raise ConfigurationError("The file, the training file and the validation file are three different files.")
    checked = validate(given, rules=_ANY_NUMBER).raise_for_errors()
    keys = array("Q", (key for key, _ in _keyed(given, seed)))
    highest = _cut(keys, share, given.name)
    validation_report = lay_down(to_validate, _side(given, seed, highest, validation=True), Rules(minimum=1))
    train_report = lay_down(to_train, _side(given, seed, highest, validation=False))
    if train_report.records + validation_report.records != checked.records:
        raise DatasetError(f"{given.name} changed while it was being split. Split it again once nothing writes to it.")
    return Split(to_train, to_validate, train_report, validation_report)


def _cut(keys: array[int], share: float, name: str) -> int:
    """The highest hash that goes to validation: the first for which enough records do."""
    ordered = sorted(keys)
    if not ordered or ordered[0] == ordered[-1]:
        raise DatasetError(f"{name} has one prompt only, which cannot be in two files.")
    cut = ordered[max(1, round(share * len(ordered))) - 1]
    if cut == ordered[-1]:  # the last prompt is the training file's
        cut = max(key for key in ordered if key < cut)
    return cut


def _side(path: Path, seed: int, highest: int, *, validation: bool) -> Iterator[bytes]:
    for key, line in _keyed(path, seed):
        if (key <= highest) is validation:
            yield line.rstrip(b"\r") + b"\n"


def _keyed(path: Path, seed: int) -> Iterator[tuple[int, bytes]]:
    """Every line with 64 bits of the hash of its prompt."""
    for number, line in lines_of(path):
        try:
            messages = cast("list[dict[str, Any]]", cast("dict[str, Any]", from_json(line))["messages"])
            # Text that differs only in the whitespace around it is one prompt, as is a string and its parts.
            turns = [(turn["role"], str(text(turn["content"])).strip()) for turn in messages]
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"Line {number} of {path.name} changed while the file was being split.") from error
        spelled = json.dumps([seed, turns]).encode()
        yield int.from_bytes(hashlib.sha256(spelled).digest()[:8], "big"), line
