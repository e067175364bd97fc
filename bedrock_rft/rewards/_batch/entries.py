"""Convert rows with answers to the entries that the service sends to a reward function."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from jiter import from_json

from bedrock_rft.datasets._read import read_numbered
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.rewards._runtime.rollout import Rollout


def read_entries(rows: object) -> Iterator[dict[str, Any]]:
    """Yield an entry for each row. `rewards.score` describes rows; an answer is text, or an assistant's message.

    Raises `ConfigurationError` if the answer of a row is missing or was cut, and `DatasetError` if the file cannot be
    read.
    """
    if isinstance(rows, (str, os.PathLike)):
        path = Path(cast("str", rows)).expanduser()
        if path.is_dir() or path.suffix == ".gz":
            rows = _recorded_rows(path)
    if isinstance(rows, (str, os.PathLike)):
        for number, record in read_numbered(cast("str", rows)):
            yield _entry(record, number)
        return
    if not isinstance(rows, Iterable):
        raise ConfigurationError(
            f"rows has the type {type(rows).__name__}. Pass records with an answer, or the path of a file."
        )
    for number, row in enumerate(cast("Iterable[object]", rows), 1):
        yield _entry(row, number)


def _entry(row: object, number: int) -> dict[str, Any]:
    if isinstance(row, Rollout):
        metadata = {**row.extra, "reference_answer": row.reference}
        return {"id": row.id, "messages": list(row.messages), "metadata": metadata}
    recorded: Any = vars(row) if hasattr(row, "prompt_hash") else row
    if isinstance(recorded, Mapping) and "prompt_hash" in recorded and "messages" not in recorded:
        return _recorded_entry(cast("Mapping[str, Any]", recorded), number)
    parts: Sequence[Any] = cast("Sequence[Any]", row) if isinstance(row, tuple) else (row,)
    record: Any = parts[0] if parts else None
    if not isinstance(record, Mapping):
        raise ConfigurationError(
            f"Row {number} has the type {type(record).__name__}. Pass records with an answer, or rollouts."
        )
    fields: dict[str, Any] = dict(cast("Mapping[str, Any]", record))
    if len(parts) > 1:
        fields["answer"] = parts[1]
    messages = fields.get("messages")
    if not isinstance(messages, Sequence) or isinstance(messages, str):
        raise ConfigurationError(f"Row {number} has no messages.")
    fields.setdefault("id", f"row-{number}")
    answer: Any = fields.pop("answer", None)
    if answer is None:
        if not messages or cast("Any", messages[-1]).get("role") != "assistant":
            raise ConfigurationError(
                f"Row {number} has no answer, and its last message is not the assistant's. Add the field 'answer'."
            )
        return fields
    message = answer if not isinstance(answer, str) else {"role": "assistant", "content": answer}
    metadata = {name: value for name, value in fields.items() if name not in ("id", "messages")}
    return {"id": str(fields["id"]), "messages": [*cast("list[Any]", messages), message], "metadata": metadata}


def _recorded_entry(record: Mapping[str, Any], number: int) -> dict[str, Any]:
    """Return the entry of a recorded rollout. Its prompt becomes one user message."""
    name = record.get("rollout_id") or f"row-{number}"
    if record.get("prompt") is None or record.get("answer") is None:
        raise ConfigurationError(
            f"Row {number}, the recorded rollout {name!r}, has no prompt or no answer. Record both: "
            "RolloutLog(…, include=('prompt', 'answer', 'reference', 'fields'))."
        )
    if "answer" in (record.get("truncated") or ()):
        raise ConfigurationError(
            f"Row {number}, the recorded rollout {name!r}, has an answer that was cut, so its score would differ. "
            "Leave such rows out, or record with a larger max_chars=."
        )
    roles = (("user", record["prompt"]), ("assistant", record["answer"]))
    messages = [{"role": role, "content": content} for role, content in roles]
    fields: Mapping[str, Any] = record.get("fields") or {}
    metadata = {**fields, "reference_answer": record.get("reference")}
    return {"id": str(name), "messages": messages, "metadata": metadata}


def _recorded_rows(path: Path) -> Iterator[Any]:
    files = sorted(path.rglob("*.jsonl.gz")) if path.is_dir() else [path]
    for file in files:
        try:
            with gzip.open(file, "rb") as lines:
                for line in lines:
                    yield from_json(line)
        except (OSError, EOFError, zlib.error, ValueError) as error:
            raise DatasetError(
                f"{file} cannot be read: {error}. bedrock_rft.rollouts.read skips damaged parts."
            ) from error
