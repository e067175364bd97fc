"""Other formats read as training records, one by one, for `write` to check and lay down.

| format | it has |
|---|---|
| `openai-rft` | `messages` that end with the user; what the grader compares with stands in fields beside them |
| `sft` | `messages` that end with the assistant: that turn becomes the reference answer |
| `completion` | `prompt` and `completion` |
| `nova` | `messages` of Amazon Nova: RFT rows, or Converse turns with `system` beside them |
| `sagemaker` | `prompt` with messages, and `reward_model.ground_truth` |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, cast, get_args

from jiter import from_json

from bedrock_rft.datasets._records import plain_record
from bedrock_rft.datasets._rules import kind, shown
from bedrock_rft.datasets._source import Data, given_records, pieces, source
from bedrock_rft.datasets._syntax import not_json
from bedrock_rft.errors import ConfigurationError, DatasetError

__all__ = ["Format", "convert", "lines_of"]

Format: TypeAlias = Literal["openai-rft", "sft", "completion", "nova", "sagemaker"]
"""A format that `convert` reads."""

_Row: TypeAlias = dict[str, Any]
_MISSING: Any = object()


def convert(
    data: Data,
    *,
    format: Format | None = None,  # noqa: A002 - the plain word
    reference_answer: str | None = None,
) -> Iterator[_Row]:
    """Read another format, record by record: `datasets.write("train.jsonl", datasets.convert("chats.jsonl"))`.

    Fields that mean nothing to the format are passed on to the grader. OpenAI's role `developer` becomes `system`.

    Args:
        data: a path to JSON lines, their bytes, a binary file, or records.
        format: what it is; told from each record where it is not given.
        reference_answer: the field that holds the reference answer, such as `reference_color` of an OpenAI item.
            Without it, `reference_answer` or the only further field of an OpenAI item is used.

    Yields:
        Records with `messages` and, where there is one, `reference_answer`. They are not checked yet: `write` does.

    Raises:
        DatasetError: a record has none of these formats; it names the line.
        ConfigurationError: there is no such format.
    """
    if format is not None and format not in get_args(Format):
        raise ConfigurationError(f"There is no format '{format}'; there are {', '.join(get_args(Format))}.")
    return _converted(_rows(data), format, reference_answer)


def lines_of(data: Data) -> Iterator[tuple[int, bytes]]:
    """Every line that is not empty, with its number from 1, without its line feed."""
    origin = source(data)
    number, held = 0, b""
    try:
        for chunk in pieces(origin):
            *lines, held = (held + chunk).split(b"\n")
            for line in lines:
                number += 1
                if line.strip():
                    yield number, line
        if held.strip():
            yield number + 1, held
    finally:
        origin.close()


def _rows(data: Data) -> Iterator[tuple[str, _Row]]:
    records = given_records(data)
    if records is not None:
        for number, record in enumerate(records, 1):
            yield f"Record {number}", plain_record(number, record)
        return
    for number, line in lines_of(data):
        try:
            row = from_json(line, allow_inf_nan=False, catch_duplicate_keys=True)
        except ValueError as error:
            finding = not_json(line, error)
            raise DatasetError(f"Line {number}: {finding.what}. {finding.mend}.", line=number) from None
        if not isinstance(row, dict):
            said = f"Line {number} is {kind(row)} instead of an object. Write one JSON object per line."
            raise DatasetError(said, line=number)
        yield f"Line {number}", row


def _converted(rows: Iterator[tuple[str, _Row]], given: Format | None, answer: str | None) -> Iterator[_Row]:
    for place, row in rows:
        fields = row
        if isinstance(row.get("item"), dict) and "messages" not in row:
            fields = cast("_Row", row["item"])  # OpenAI's grader speaks of `item.…`
        found = given or _told(place, fields)
        try:
            record = _READERS[found](fields, answer)
        except (KeyError, TypeError, AttributeError, IndexError, _Misfit) as error:
            why = str(error) if isinstance(error, _Misfit) else "a field of it is missing or of another type"
            raise DatasetError(f"{place} is no record of the format '{found}': {why}.") from None
        yield record


class _Misfit(Exception):  # noqa: N818 - it is the reason within a DatasetError
    """Why a record is not of its format."""


def _told(place: str, row: _Row) -> Format:
    """The format of a record, from the fields it has."""
    if "prompt" in row:
        if "reward_model" in row:
            return "sagemaker"
        if "completion" in row:
            return "completion"
    messages = row.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        turns = cast("list[_Row]", messages)
        if "schemaVersion" in row or isinstance(row.get("system"), list):
            return "nova"
        if turns[-1].get("role") == "assistant":
            return "sft"
        return "openai-rft"
    there = ", ".join(shown(str(name)) for name in row) or "nothing"
    raise DatasetError(
        f"{place} is of no format that can be told from its fields ({there}). Known are {', '.join(get_args(Format))}; "
        "for columns of another name, datasets.write has prompt=, system= and reference_answer=."
    )


def _record(messages: list[_Row], answer: Any, row: _Row, *used: str) -> _Row:
    record: _Row = {"messages": messages}
    if answer is not _MISSING:
        record["reference_answer"] = answer
    return record | {name: value for name, value in row.items() if name not in {*record, *used}}


def _openai(row: _Row, named: str | None) -> _Row:
    messages = _turns(row["messages"])
    others = [name for name in row if name not in {"messages", "reference_answer", "id", "tools", "metadata"}]
    if named is None and "reference_answer" not in row:
        if len(others) > 1:
            raise _Misfit(
                f"it has no reference_answer but {', '.join(map(shown, others))}; name one: reference_answer=…"
            )
        named = others[0] if others else None
    name = named or "reference_answer"
    return _record(messages, _taken(row, name) if named else row.get(name, _MISSING), row, name)


def _sft(row: _Row, named: str | None) -> _Row:
    *before, last = _turns(row["messages"])
    if last.get("role") != "assistant":
        raise _Misfit("its last message is not the assistant's")
    if not before:
        raise _Misfit("nothing is said before the assistant's message")
    if named:
        return _record(before, _taken(row, named), row, named)
    if "reference_answer" in row:
        raise _Misfit(
            "it has a reference_answer and a last assistant turn; keep one: reference_answer='reference_answer'"
        )
    if not last.get("content"):
        raise _Misfit("the assistant's last message has no text")
    return _record(before, last["content"], row)


def _completion(row: _Row, named: str | None) -> _Row:
    prompt, completion = row["prompt"], row["completion"]
    if isinstance(completion, list):  # TRL's conversational form
        *more, last = cast("list[_Row]", completion)
        if more or last.get("role") != "assistant":
            raise _Misfit("its completion is not one message of the assistant's")
        completion = last["content"]
    answer = _taken(row, named) if named else completion
    return _record(_prompt(prompt), answer, row, "prompt", "completion", *([named] if named else []))


def _nova(row: _Row, named: str | None) -> _Row:
    messages = _turns(row["messages"])
    system = row.get("system")
    if system is not None:
        messages = [{"role": "system", "content": _converse(system)}, *messages]
    rest = {name: value for name, value in row.items() if name not in {"system", "schemaVersion"}}
    answers = messages[-1].get("role") == "assistant" and "reference_answer" not in row
    return (_sft if answers else _openai)(rest | {"messages": messages}, named)


def _sagemaker(row: _Row, named: str | None) -> _Row:
    answer = _taken(row, named) if named else _taken(row["reward_model"], "ground_truth")
    return _record(_prompt(row["prompt"]), answer, row, "prompt", "reward_model", *([named] if named else []))


_READERS: Mapping[Format, Callable[[_Row, str | None], _Row]] = {
    "openai-rft": _openai,
    "sft": _sft,
    "completion": _completion,
    "nova": _nova,
    "sagemaker": _sagemaker,
}


def _taken(row: _Row, name: str) -> Any:
    if name not in row:
        raise _Misfit(f"it has no '{shown(name)}'")
    return row[name]


def _prompt(prompt: Any) -> list[_Row]:
    given: Any = prompt
    return _turns(given) if isinstance(prompt, list) else [{"role": "user", "content": prompt}]


def _turns(messages: list[_Row]) -> list[_Row]:
    """Messages with the role and content the service takes; what it does not take is left for the check to refuse."""
    return [
        turn
        | ({"role": "system"} if turn.get("role") == "developer" else {})
        | ({"content": _converse(turn["content"])} if isinstance(turn.get("content"), list) else {})
        for turn in messages
    ]


def _converse(blocks: Any) -> Any:
    """Converse's `[{"text": …}]` as a string; anything else as it is."""
    parts = blocks
    if not isinstance(blocks, list):
        return parts
    if parts and all(isinstance(part, dict) and list(cast("_Row", part)) == ["text"] for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return parts
