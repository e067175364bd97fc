"""One pass over a file: the report does not depend on the chunks, and memory is bounded."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_rft.datasets import Limits, Report, validate
from bedrock_rft.datasets import _statistics as statistics
from bedrock_rft.datasets._check import DatasetCheck

ANY = Limits(min_records=1)


def line(number: int, **fields: Any) -> bytes:
    turns = [{"role": "user", "content": f"What is {number}?"}]
    return json.dumps({"messages": turns, "reference_answer": str(number), **fields}).encode()


LINES = st.one_of(
    st.integers(0, 5).map(line),
    st.integers(6, 10**6).map(line),
    st.sampled_from(
        [
            b"", b" \t", b"{", b"null", b"[1]", b"{}", b'{"messages": [{}', b"{}]}", b"{},{}", b'{"a": "x', b'y"}',
            line(1, reference_answer=None), line(2, reference_answer={"a": [1.5]}), line(3, id=1, level="x"),
            line(4, messages=[{"role": "bot", "content": None}]), line(5, note="AKIAIOSFODNN7EXAMPLE") + b"\r",
            line(6, messages=[{"role": "system", "content": " "}, {"role": "user", "content": "a" * 300, "x": 1}]),
            b'{"messages": [{"role": "user", "content": "?"}], "reference_answer": 1e999}',
        ]
    ),
)  # fmt: skip
FILES = st.lists(LINES, max_size=40).map(b"\n".join)


def checked(content: bytes, *, every: int | None = None) -> Report:
    check = DatasetCheck("data.jsonl", limits=ANY, limit=3)
    for start in range(0, len(content), every or len(content) or 1):
        check.feed(content[start : start + (every or len(content))])
    return check.finish()


@given(content=FILES, every=st.integers(1, 400))
@example(content=b"\n".join([b"[1]", line(0), line(0), b"", line(0)]), every=1)
@example(content=b"\n".join([b"", b"[1]", line(0)]), every=1)
def test_chunks_of_any_size_give_the_same_report(content: bytes, every: int) -> None:
    whole, cut = checked(content), checked(content, every=every)
    assert cut == whole
    assert list(cut.extra_fields) == list(whole.extra_fields)


def test_values_that_span_lines_are_an_error_on_each_line() -> None:
    """A parser of all lines at once would find as many values as lines here."""
    broken = [b'{"messages": [{"role": "user", "content": "?"}', b'{"role": "user", "content": "!"}]}', b"{},{},{}"]
    report = checked(b"\n".join([line(1), *broken, line(2)]))
    assert [(problem.line, problem.code) for problem in report.errors if problem.code == "not-json"] == [
        (2, "not-json"), (3, "not-json"), (4, "not-json"),
    ]  # fmt: skip
    assert (report.records, report.valid) == (5, 2)


def test_the_number_of_compared_records_is_limited_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "_MAX_COMPARED", 50)
    rows = b"\n".join(line(n) for n in [*range(40), *range(60)])
    report = validate(rows)
    assert (report.duplicate_prompts, report.compared, report.valid) == (10, 50, 100)
    assert "10 of the first 50 (20.0%)" in str(report)
    assert report.prompt_lengths.mean == round((10 * 10 + 30 * 11 + 10 * 10) / 50, 1)
    assert [problem.line for problem in report.warnings] == list(range(41, 51))


def test_memory_does_not_grow_with_the_file() -> None:
    block = b"\n".join(line(n, more="x" * 900) for n in range(250)) + b"\n"
    peaks: list[int] = []
    for blocks in (4, 16):
        check = DatasetCheck("data.jsonl")
        tracemalloc.start()
        for _ in range(blocks):
            check.feed(bytes(bytearray(block)))  # a new object each time
        check.finish()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1_000_000
    assert peaks[1] < 10_000_000


KEYS = ["AKIAIOSFODNN7EXAMPLE", "-----BEGIN PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----"]


@pytest.mark.parametrize("before", ["", "K", "KK", "K" * 5000, "no " * 3000, "Kind " * 900])
@pytest.mark.parametrize("kind", KEYS)
def test_keys_are_found_anywhere_in_a_line(before: str, kind: str) -> None:
    first = json.dumps({"K": f"{before} {kind}", **json.loads(line(1))}).encode()
    content = b"\n".join([first, line(2), line(3, note="AKIA, PRIVATE KEY, KEY-----")])
    for every in (None, 7, 500):
        assert [problem.line for problem in checked(content, every=every).warnings if problem.code == "secret"] == [1]
