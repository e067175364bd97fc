"""Convert rows with answers to the entries that the service sends to a reward function."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from bedrock_rft.datasets._read import read_numbered
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.rollout import Rollout


def read_entries(rows: object) -> Iterator[dict[str, Any]]:
    """Yield an entry for each row.

    A row is a `Rollout`, a record with an `answer` (text, or an assistant message), a pair of a record and an
    answer, or a rollout as the service sends it, whose last message is the assistant's. Rows are an iterable, or the
    path of a JSON-lines file.

    Raises:
        ConfigurationError: a row has no answer.
        DatasetError: the file cannot be read.
    """
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
            raise ConfigurationError(f"Row {number} has no answer, and its last message is not the assistant's.")
        return fields
    message = answer if not isinstance(answer, str) else {"role": "assistant", "content": answer}
    metadata = {name: value for name, value in fields.items() if name not in ("id", "messages")}
    return {"id": str(fields["id"]), "messages": [*cast("list[Any]", messages), message], "metadata": metadata}
