"""Convert other formats to training records.

| format | records have |
|---|---|
| `openai-rft` | `messages` that end with the user; the reference answer is in another field |
| `sft` | `messages` that end with the assistant, whose turn becomes the reference answer |
| `completion` | `prompt` and `completion`; with `label: false` the completion is not a reference answer |
| `nova` | `messages` of Amazon Nova: RFT rows, or Converse turns with a `system` field |
| `sagemaker` | `prompt` with messages, and `reward_model.ground_truth` |
| `sharegpt` | `conversations` with `from` and `value`; the last answer becomes the reference answer |
| `alpaca` | `instruction`, `input` and `output`, perhaps with `history` |

In every format, a `system` field of the record becomes the system message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any, Literal, TypeAlias, cast, get_args

from bedrock_rft._core.atomic_file import file_error
from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft.datasets._read import parse_array, parse_object, read_lines, reject_signature
from bedrock_rft.datasets._records import plain_record
from bedrock_rft.datasets._rules import ROLE_SYNONYMS, content_text, json_type, list_names, truncate
from bedrock_rft.datasets._source import Data, Source, open_source, read_chunks, records_in
from bedrock_rft.errors import ConfigurationError, DatasetError

Format: TypeAlias = Literal["openai-rft", "sft", "completion", "nova", "sagemaker", "sharegpt", "alpaca"]
"""A format that `convert` reads."""

_Row: TypeAlias = dict[str, Any]
_MISSING: Any = object()
_RULE = ("style", "rule")  # the usual style of verl's rewards, which is not a property of the record
_SHAREGPT_NAMES = {"from": "role", "value": "content"}
_PARQUET = b"PAR1"
_OWN_FIELDS = {
    "messages",
    "reference_answer",
    "id",
    "tools",
    "metadata",
}  # fields of OpenAI; the answer is in another field


def convert(
    data: Data,
    *,
    format: Format | None = None,  # noqa: A002 - the usual word
    reference_answer: str | None = None,
    keep: bool = False,
) -> Iterator[_Row]:
    """Read another format record by record: `datasets.write("train.jsonl", datasets.convert("chats.jsonl"))`.

    Fields without a meaning in the format are kept for the reward. OpenAI's role `developer` becomes `system`.

    Args:
        data: a path to JSON lines, a JSON array or Parquet (which needs pyarrow), their bytes, a binary file, or
            records.
        format: the format; by default it is detected for each record from its fields.
        reference_answer: the field with the reference answer, such as `reference_color` of an OpenAI item. By default
            `reference_answer`, or the only further field of an OpenAI item. A `reference_answer` that is replaced is
            kept as `replaced_reference_answer`.
        keep: keep the field with the answer under its own name too, if the format is `openai-rft`, because a grader may
            refer to it.

    Yields:
        Records with `messages` and, if there is one, `reference_answer`. `write` checks them.

    Raises:
        DatasetError: a record has none of these formats; the message names its line.
        ConfigurationError: the format is unknown.
    """
    if format is not None and format not in get_args(Format):
        raise ConfigurationError(f"Unknown format {truncate(str(format))!r}. Use {', '.join(get_args(Format))}.")
    return _convert_rows(_iterate_rows(data), format, reference_answer, keep=keep)


def _convert_rows(
    rows: Iterator[tuple[str, _Row]], format_: Format | None, answer: str | None, *, keep: bool
) -> Iterator[_Row]:
    for place, row in rows:
        fields, siblings = row, dict[str, Any]()
        if is_object(item := row.get("item")) and "messages" not in row:  # OpenAI's graders refer to `item.…`
            fields, siblings = item, _drop_fields(row, "item")
        detected = format_ or _detect_format(place, fields)
        try:
            record = _READERS[detected](fields, answer)
        except _FormatError as error:
            raise DatasetError(f"{place} is not a record of the format '{detected}': {error}.") from None
        except (KeyError, TypeError, AttributeError, IndexError, ValueError):
            raise DatasetError(
                f"{place} is not a record of the format '{detected}': a field is missing or of another type. "
                f"The record has: {list_names(fields)}."
            ) from None
        if keep and detected == "openai-rft":
            record = _drop_fields(fields, "system") | record
        if clashes := siblings.keys() & record.keys():
            raise DatasetError(
                f"{place} and its item both have {list_names(sorted(clashes))}. Rename one of these fields."
            )
        yield record | siblings


class _FormatError(Exception):
    """The reason that a record does not follow its format."""


def _iterate_rows(data: Data) -> Iterator[tuple[str, _Row]]:
    """Yield each row with its location for error messages, such as `train.jsonl, line 3`."""
    records = records_in(data)
    if records is not None:
        for number, record in enumerate(records, 1):
            yield f"Record {number}", plain_record(number, record)
        return
    with closing(open_source(data)) as source:
        head = next(read_chunks(source, 1 << 12), b"")
        container = _parquet_rows(source) if head.startswith(_PARQUET) else _array_items(source, head)
        if container is not None:
            for number, row in enumerate(container, 1):
                if not is_object(row):
                    raise DatasetError(f"Record {number} is {json_type(row)} instead of an object.")
                yield f"Record {number}", plain_record(number, row)
            return
        for number, line in read_lines(source):
            yield f"{source.name}, line {number}", parse_object(source.name, number, line)


def _array_items(source: Source, head: bytes) -> Iterator[Any] | None:
    """Return the items of a file that is one JSON array, as Alpaca and ShareGPT are published; None for other files."""
    if not head.lstrip().startswith(b"["):
        return None
    reject_signature(source.name, head)
    return iter(parse_array(source.name, b"".join(read_chunks(source))))


def _parquet_rows(source: Source) -> Iterator[Any]:
    try:
        from pyarrow import parquet  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        raise DatasetError(
            f"{source.name} is Parquet, which needs pyarrow. Install it: pip install pyarrow", path=source.name
        ) from None
    try:
        with source.open() as file:
            batches: Any = cast("Any", parquet).ParquetFile(file).iter_batches(1000)
            for batch in batches:
                yield from batch.to_pylist()
    except (OSError, ValueError) as error:  # also the errors of pyarrow
        raise file_error(f"{source.name} cannot be read as Parquet", error) from error


def _detect_format(place: str, row: _Row) -> Format:
    """Return the format of a record according to its fields."""
    fields = {name for name, value in row.items() if value is not None}  # Arrow fills missing fields with null
    if {"prompt", "reward_model"} <= fields:
        return "sagemaker"
    if {"prompt", "completion"} <= fields:
        return "completion"
    if isinstance(row.get("conversations"), list):
        return "sharegpt"
    if {"instruction", "output"} <= fields:
        return "alpaca"
    messages = row.get("messages")
    if is_array(messages) and messages and is_object(messages[-1]):
        if "schemaVersion" in row or is_array(row.get("system")):
            return "nova"
        return "sft" if messages[-1].get("role") == "assistant" else "openai-rft"
    raise DatasetError(
        f"{place} has an unknown format; its fields are: {list_names(row)}. Known formats are "
        f"{', '.join(get_args(Format))}. For other columns use datasets.write with prompt=, system= and "
        "reference_answer=."
    )


def _build_record(messages: list[_Row], answer: Any, row: _Row, field: str | None = None) -> _Row:
    """Return a record with all fields of the row except `field`, which held the answer."""
    record: _Row = {"messages": messages}
    system = row.get("system")
    if isinstance(system, (str, list)):
        text = _join_blocks(system)
        if text and messages[:1] != [{"role": "system", "content": text}]:
            record["messages"] = [{"role": "system", "content": text}, *messages]
        row = _drop_fields(row, "system")
    if answer is not _MISSING:
        record["reference_answer"] = answer
        if row.get("reference_answer") is not None and row["reference_answer"] != answer:
            record["replaced_reference_answer"] = row["reference_answer"]
    return record | _drop_fields(row, field, *record)


def _read_openai(row: _Row, answer_field: str | None) -> _Row:
    messages = _normalize_messages(row["messages"])
    others = [name for name in row if name not in {*_OWN_FIELDS, "system"}]
    if answer_field is None and "reference_answer" not in row:
        if len(others) > 1:
            fields = list_names(others)
            raise _FormatError(f"no reference_answer, but {fields}; name the field with reference_answer=…")
        answer_field = others[0] if others else None
    name = answer_field or "reference_answer"
    answer = _require(row, name) if answer_field else row.get(name, _MISSING)
    return _build_record(messages, answer, row, name)


def _read_sft(row: _Row, answer_field: str | None) -> _Row:
    *before, last = _normalize_messages(row["messages"])
    if last.get("role") != "assistant":
        raise _FormatError("the last message does not have the role 'assistant'")
    if not before:
        raise _FormatError("no message precedes the assistant's message")
    if not answer_field and row.get("reference_answer") is not None:
        raise _FormatError(
            "it has a reference_answer and ends with an assistant turn; choose one, for example with "
            "reference_answer='reference_answer'"
        )
    if not answer_field and not last.get("content"):
        raise _FormatError("the last assistant message has no text")
    return _record_with_answer(before, last, row, answer_field)


def _read_completion(row: _Row, answer_field: str | None) -> _Row:
    last: _Row = {"content": row["completion"]}
    if is_array(row["completion"]):  # TRL's conversational form
        *others, last = row["completion"]
        if others or last.get("role") != "assistant":
            raise _FormatError("the completion is not a single message of the assistant")
    return _record_with_answer(
        _prompt_messages(row["prompt"]), last, _drop_fields(row, "prompt"), answer_field, "completion"
    )


def _read_sharegpt(row: _Row, answer_field: str | None) -> _Row:
    turns = [
        {_SHAREGPT_NAMES.get(name, name): value for name, value in turn.items()}
        for turn in cast("list[_Row]", row["conversations"])
    ]
    return _read_chat(_drop_fields(row, "conversations") | {"messages": turns}, answer_field)


def _read_chat(row: _Row, answer_field: str | None) -> _Row:
    last = _normalize_messages(row["messages"])[-1]
    answers = last.get("role") == "assistant" and row.get("reference_answer") is None
    return (_read_sft if answers else _read_openai)(row, answer_field)


def _read_sagemaker(row: _Row, answer_field: str | None) -> _Row:
    model = cast("_Row", row["reward_model"])
    answer = _require(row, answer_field) if answer_field else _require(model, "ground_truth")
    other_fields = {name: value for name, value in model.items() if (name, value) != _RULE}
    if not answer_field:
        del other_fields["ground_truth"]
    rest = _drop_fields(row, "prompt", "reward_model", answer_field) | (
        {"reward_model": other_fields} if other_fields else {}
    )
    return _build_record(_prompt_messages(row["prompt"]), answer, rest)


def _read_alpaca(row: _Row, answer_field: str | None) -> _Row:
    messages: list[_Row] = []
    for question, answer in cast("list[tuple[Any, Any]]", row.get("history") or []):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    parts = [row["instruction"], row.get("input")]
    messages.append({"role": "user", "content": "\n\n".join(part for part in parts if part)})
    rest = _drop_fields(row, "instruction", "input", "history")
    return _record_with_answer(messages, {"content": row["output"]}, rest, answer_field, "output")


def _record_with_answer(
    messages: list[_Row], last: _Row, row: _Row, answer_field: str | None, field: str | None = None
) -> _Row:
    """Return a record whose reference answer is the text of the assistant's turn `last`, from the field `field`."""
    if answer_field or row.get("label") is False:  # people rejected the turn
        answer = _require(row, answer_field) if answer_field else _MISSING
        return _build_record(messages, answer, row if field else row | {"assistant_message": last}, answer_field)
    # Keep the other fields of the turn, such as its reasoning.
    other_fields = _drop_fields(last, "role", "content")
    return _build_record(
        messages, last["content"], row | ({"assistant_message": other_fields} if other_fields else {}), field
    )


_READERS: Mapping[Format, Callable[[_Row, str | None], _Row]] = {
    "openai-rft": _read_openai,
    "sft": _read_sft,
    "completion": _read_completion,
    "nova": lambda row, answer_field: _read_chat(_drop_fields(row, "schemaVersion"), answer_field),
    "sagemaker": _read_sagemaker,
    "sharegpt": _read_sharegpt,
    "alpaca": _read_alpaca,
}


def _drop_fields(row: _Row, *names: str | None) -> _Row:
    return {name: value for name, value in row.items() if name not in names}


def _require(row: _Row, name: str) -> Any:
    if name not in row:
        raise _FormatError(f"it has no field '{truncate(name)}'")
    return row[name]


def _prompt_messages(prompt: Any) -> list[_Row]:
    return _normalize_messages(prompt) if isinstance(prompt, list) else [{"role": "user", "content": prompt}]


def _normalize_messages(messages: Any) -> list[_Row]:
    """Return messages with the service's roles and with text as strings. The check rejects everything else."""
    return [
        message
        | ({"role": ROLE_SYNONYMS[message["role"]]} if message.get("role") in ROLE_SYNONYMS else {})
        | ({"content": _join_blocks(message["content"])} if isinstance(message.get("content"), list) else {})
        for message in cast("list[_Row]", messages)
    ]


def _join_blocks(blocks: Any) -> Any:
    """Return Converse's `[{"text": …}]` as a string, and any other content unchanged."""
    if is_array(blocks) and blocks and all(is_object(block) and list(block) == ["text"] for block in blocks):
        return content_text([{"type": "text", **block} for block in blocks]) or blocks
    return blocks
