"""Random records and bytes: written files are valid, damaged lines are reported, and only own errors are raised."""

from __future__ import annotations

import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_rft import BedrockRFTError
from bedrock_rft.datasets import Limits, convert, validate, write
from bedrock_rft.datasets._read import InvalidLine, parse_line
from bedrock_rft.datasets._report import ProblemLog
from bedrock_rft.datasets._rules import record_problems
from bedrock_rft.datasets._statistics import Statistics

ANY = Limits(min_records=1)

Any_ = st.SearchStrategy[Any]

text = st.text(st.characters(exclude_categories=["Cs"]))


def nested(leaves: Any_, names: Any_, size: int) -> Any_:
    def deeper(inner: Any_) -> Any_:
        return st.lists(inner, max_size=size) | st.dictionaries(names, inner, max_size=size)

    return st.recursive(leaves, deeper, max_leaves=12)


@st.composite
def messages(draw: st.DrawFn) -> list[dict[str, Any]]:
    roles = draw(st.lists(st.sampled_from(["system", "user", "assistant"]), max_size=3))
    parts = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": text}), min_size=1, max_size=2)
    return [{"role": role, "content": draw(text | parts)} for role in [*roles, "user"]]


values = nested(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text, text, 3
)


@st.composite
def records(draw: st.DrawFn) -> dict[str, Any]:
    extras = draw(st.dictionaries(text, values, max_size=3))
    return {**extras, "messages": draw(messages()), "reference_answer": draw(values)}


KNOWN = ["messages", "role", "content", "type", "text", "reference_answer", "id", "user"]
anything = nested(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(KNOWN),
    st.sampled_from(KNOWN) | st.text(),
    4,
)

GOOD = b"".join(
    json.dumps(
        {
            "messages": [{"role": "system", "content": f"ü {n}"}, {"role": "user", "content": f'a "{n}"\n'}],
            "reference_answer": {"n": [n, -1.5e3, True, None]},
        },
        ensure_ascii=n % 2 == 0,
    ).encode()
    + b"\n"
    for n in range(6)
)


def prompt(record: dict[str, Any]) -> str:
    """Return a key of the prompt with text parts joined, because different answers to a prompt are an error."""
    texts = [message["content"] for message in record["messages"]]
    return repr([text if isinstance(text, str) else "".join(part["text"] for part in text) for text in texts])


@given(rows=st.lists(records(), min_size=1, max_size=3, unique_by=prompt))
def test_written_files_are_valid(rows: list[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "train.jsonl")
        written = write(path, rows, limits=ANY)
        assert written.ok
        assert written.records == written.valid == len(rows)
        assert validate(path, limits=ANY) == written
        assert [json.loads(line) for line in path.read_bytes().splitlines() if line] == rows


@given(place=st.integers(0, len(GOOD) - 1), byte=st.integers(0, 255), how=st.sampled_from(["set", "insert", "delete"]))
@example(place=GOOD.index(b"\n"), byte=0x20, how="set")
@example(place=0, byte=ord("["), how="set")
def test_a_damaged_byte_keeps_the_records_or_is_reported_on_its_line(place: int, byte: int, how: str) -> None:
    middle = {"set": bytes([byte]), "insert": bytes([byte]) + GOOD[place : place + 1], "delete": b""}[how]
    damaged = GOOD[:place] + middle + GOOD[place + 1 :]
    report = validate(damaged, limits=ANY)
    lines = {problem.line for problem in report.errors}
    number = GOOD.count(b"\n", 0, place) + 1
    # If a line feed is added or removed, the damage may be on the next line.
    assert (report.ok and report.records == 6) or lines & {number, number + 1}
    assert lines <= {number, number + 1}
    if report.ok:
        assert report.valid == 6


@example(content=b"PAR1")
@given(content=st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_raise_only_errors_of_the_package(content: bytes) -> None:
    report = validate(content, limits=ANY)
    assert report.size == len(content)
    assert report.records >= report.valid
    str(report)
    report._repr_html_()
    with contextlib.suppress(BedrockRFTError):
        list(convert(content))


@given(rows=st.lists(anything, max_size=4), whole=anything)
def test_any_records_raise_only_errors_of_the_package(rows: list[Any], whole: Any) -> None:
    report = validate(rows, limits=ANY)
    assert report.records == len(rows)
    again = validate("\n".join(json.dumps(row) for row in [*rows, whole]).encode(), limits=ANY)
    assert again.valid >= report.valid
    for given_ in (rows, whole):
        with contextlib.suppress(BedrockRFTError):
            list(convert(given_))
        with contextlib.suppress(BedrockRFTError):
            validate(given_)


@given(row=anything)
def test_the_fast_check_and_the_rules_agree(row: Any) -> None:
    """A record is valid if, and only if, it breaks no rule; the fast check accepts no other."""
    line = json.dumps(row).encode()
    try:
        valid = not list(record_problems(parse_line(line)))
    except InvalidLine:
        valid = False
    assert validate(line, limits=ANY).valid == valid
    try:
        accepted = Statistics(ProblemLog(1), ANY).add(1, json.loads(line))
    except (LookupError, TypeError, AttributeError):
        accepted = False
    assert valid or not accepted
