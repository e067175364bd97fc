"""Lines that are alike are read in a faster way: the report is the same, whatever stands in them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_datasets_fuzz import records, text, values

from bedrock_rft.datasets import Report, Rules, validate, write
from bedrock_rft.datasets._alike import Alike
from bedrock_rft.datasets._parse import together

ANY = Rules(minimum=1)


def record(number: int, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"What is {number}² + {number}?"}]
    return {"messages": turns, "reference_answer": str(number * number + number), "level": number % 3, **fields}


def lines(rows: list[dict[str, Any]], **style: Any) -> bytes:
    return b"".join(json.dumps(row, **style).encode() + b"\n" for row in rows)


def the_slow_way(content: bytes) -> Report:
    def never(_: Alike, __: Any) -> None:
        return None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Alike, "columns", never)
        return validate(content, rules=ANY)


def as_if_long(content: bytes) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bedrock_rft.datasets._parse._LONG", 0)
        return validate(content, rules=ANY)


def agreed(content: bytes) -> Report:
    """The report, once every way gave the same."""
    fast, slow = validate(content, rules=ANY), the_slow_way(content)
    assert fast == slow == as_if_long(content)
    assert list(fast.extra_fields) == list(slow.extra_fields)
    return fast


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many groups of lines were not alike."""
    groups: list[int] = []

    def seen(parts: Any) -> Any:
        groups.append(len(parts))
        return together(parts)

    monkeypatch.setattr("bedrock_rft.datasets._look.together", seen)
    return groups


def compact(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_bytes(lines(rows, separators=(",", ":"), ensure_ascii=False))


def dumped(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_bytes(lines(rows))


def windows(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_bytes(lines(rows).replace(b"\n", b"\r\n"))


def ours(rows: list[dict[str, Any]], path: Path) -> None:
    write(path, rows, rules=ANY)


def from_pandas(rows: list[dict[str, Any]], path: Path) -> None:
    frame: Any = pd.DataFrame(rows)  # whose types are partly unknown
    frame.to_json(path, orient="records", lines=True)


def from_polars(rows: list[dict[str, Any]], path: Path) -> None:
    pl.DataFrame(rows).write_ndjson(path)


@pytest.mark.parametrize("writer", [dumped, compact, windows, ours, from_pandas, from_polars])
def test_what_the_usual_writers_write_is_alike(
    writer: Callable[[list[dict[str, Any]], Path], None], tmp_path: Path, slow: list[int]
) -> None:
    file = tmp_path / "data.jsonl"
    writer([record(n, note={"n": ["é", str(n)], "none": None}) for n in range(300)], file)
    slow.clear()  # ours looks at what it wrote
    report = validate(file, rules=ANY)
    assert (report.ok, report.valid, slow) == (True, 300, [])
    assert report == the_slow_way(file.read_bytes())


def test_values_that_are_the_same_on_some_lines_only(slow: list[int]) -> None:
    rows = [record(n, source="here" if n % 7 else "there", mark=[n // 9]) for n in range(100)]
    rows[0]["source"] = rows[50]["source"] = rows[99]["source"] = "here"
    assert validate(lines(rows)).valid == 100
    assert slow == [100]  # the lines that were looked at first were all from here


def test_what_is_wrong_with_alike_lines_is_seen_there(slow: list[int]) -> None:
    rows = [record(n) for n in range(200)]
    rows[7]["messages"][1]["content"] = " \n"
    rows[11]["messages"][1]["content"] = "a\0b"
    rows[13] = record(5)
    rows[17]["reference_answer"] = None
    rows[19]["reference_answer"] = 3
    rows[23]["reference_answer"] = "What is 23² + 23"
    rows[29]["level"] = 10**400
    rows[31]["level"] = "AKIAIOSFODNN7EXAMPLE"
    content = lines(rows).replace(b"1" + b"0" * 400, b"1e400")
    report = agreed(content)
    assert not slow[1:]  # once, by the slow way itself
    found = {(problem.line, problem.code) for problem in report.warnings}
    assert found == {
        (8, "blank-content"), (12, "nul"), (14, "duplicate-prompt"), (18, "reference-null"), (20, "reference-types"),
        (24, "answer-in-prompt"), (30, "too-large"), (32, "secret"),
    }  # fmt: skip


TEXT = {"type": "text", "text": "34?"}

# What breaks a line that is like the others, or makes it look like them. Two of these may stand one after the other,
# and what one begins the next may end.
ODD = [
    json.dumps(record(1)),
    json.dumps(record(2, level=[1, {"a": 2}])),
    json.dumps(record(3, level={"a": 1})).replace('{"a": 1}', '{"a": 1, "a": 2}'),
    json.dumps(record(4)).replace('"level"', '"reference_answer"'),
    json.dumps(record(5)).replace('"level": 2', '"level": 2, "level": 2'),
    json.dumps({"messages": record(6)["messages"], "level": 0, "reference_answer": "42"}),
    json.dumps(record(7)).replace("What", '\\"}], "reference_answer": '),
    json.dumps(record(8)).replace("What", '"}], "reference_answer": "8", "level": 1'),
    json.dumps(record(9)).replace('?"}', '?\\"}'),
    json.dumps(record(10)).replace('"What', ',"What'),
    json.dumps(record(11)).replace("?", "\\"),
    json.dumps(record(12)).replace('"What', "What"),
    json.dumps(record(13)).replace('"What is', '1, "'),
    json.dumps(record(14)).replace('"level": 2', '"level": '),
    json.dumps(record(15)).replace('"level": 0', '"level": 0, 1'),
    json.dumps(record(16)).replace('"level": 1', '"level": NaN'),
    json.dumps(record(17)).replace('"level": 2', '"level":  2 '),
    json.dumps(record(18)).replace("What", "\\ud800"),
    json.dumps(record(19)).replace("What", "\t"),
    json.dumps(record(20))[:-1],
    json.dumps(record(21)) + "}",
    json.dumps(record(22)).replace('"}], "reference_answer"', '"}, {}], "reference_answer"'),
    json.dumps(record(23)).replace('"user"', '"bot"'),
    json.dumps(record(24)).replace('"Be brief."', '["Be brief."]'),
    json.dumps(record(25)).replace('"Be brief."', '"Be brief.", "name": "x"'),
    json.dumps(record(26, messages=[{"role": "user", "content": [{"type": "text", "text": "26"}]}])),
    json.dumps(record(27))[: len(json.dumps(record(27))) // 2],
    json.dumps(record(27))[len(json.dumps(record(27))) // 2 :],
    json.dumps(record(28)).replace('?"}', "?}"),
    json.dumps(record(29)).replace('"What', 'x", 0, "What'),
    json.dumps(record(30))[:-1] + "]",
    json.dumps(record(31)).replace('"Be brief."', "null"),
    json.dumps(record(32, messages=[record(0)["messages"][0], {"role": "user", "content": [TEXT]}])),
    json.dumps(record(33, messages=[record(0)["messages"][0], {"role": "user", "content": []}])),
    '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": ',
    ', "level": 0}',
    "",
    "null",
]  # fmt: skip


@pytest.mark.parametrize("more", ["", " Why? How do you know? Show each step, and mark the result."])
@pytest.mark.parametrize(
    "turn", [{"name": "Ann"}, {"weight": 1}, {"content": [TEXT]}, {"content": None}, {"role": "bot"}]
)
def test_messages_that_are_all_odd(turn: dict[str, Any], more: str) -> None:
    rows = [record(n) for n in range(20)]
    for row in rows:
        row["messages"][0].update(turn)
        row["messages"][1]["content"] += more
    agreed(lines(rows))


@given(odd=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(ODD)), max_size=6), tail=st.booleans())
@example(odd=[(3, ODD[11]), (4, ODD[8])], tail=True)
@example(odd=[(3, ODD[29]), (3, ODD[28])], tail=True)
@example(odd=[(6, ODD[30]), (7, ODD[32])], tail=True)
@example(odd=[(0, ODD[0]), (12, ODD[27])], tail=False)
def test_both_ways_say_the_same(odd: list[tuple[int, str]], *, tail: bool) -> None:
    every = [json.dumps(record(n)) for n in range(100, 112)]
    for place, line in odd:
        every.insert(place, line)
    agreed("\n".join(every).encode() + b"\n" * tail)


@settings(max_examples=200)
@given(
    base=records(),
    others=st.lists(st.tuples(values, text | st.none() | st.integers()), min_size=1, max_size=6),
    compact=st.booleans(),
)
def test_whatever_is_alike_is_read_alike(base: dict[str, Any], others: list[tuple[Any, Any]], *, compact: bool) -> None:
    rows = [base]
    for answer, content in others:
        turns = [*base["messages"][:-1], {"role": "user", "content": content}]
        rows.append({**base, "reference_answer": answer, "messages": turns})
    style = (",", ":") if compact else None
    agreed(lines([*rows, *rows[:2]], separators=style, ensure_ascii=not compact))


@given(place=st.integers(0, 1 << 16), byte=st.integers(0, 255), how=st.sampled_from(["set", "insert", "delete"]))
def test_a_damaged_byte_is_seen_both_ways(place: int, byte: int, how: str) -> None:
    good = lines([record(n) for n in range(5)])
    place %= len(good)
    middle = {"set": bytes([byte]), "insert": bytes([byte]) + good[place : place + 1], "delete": b""}[how]
    report = agreed(good[:place] + middle + good[place + 1 :])
    assert report.errors or report.valid == 5


def test_a_file_of_other_shapes_is_soon_left_to_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is looked for again and again where it was not found."""
    tried: list[int] = []
    alike = Alike()

    def none(some: list[bytes]) -> None:
        tried.append(len(some))

    monkeypatch.setattr("bedrock_rft.datasets._alike._frame", none)
    for _ in range(200):
        assert alike.columns([b"{}\n", b"[]\n"]) is None
    assert len(tried) == 8
