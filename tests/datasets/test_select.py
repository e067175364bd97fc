"""Difficulty of prompts, and the selection of records by it."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_rft.datasets import Difficulty, Limits, Selection, select, validate
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.rewards._runtime.rollout_log import hash_prompt

ANY = Limits(min_records=0)


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": f"What is {number}?"}], "reference_answer": str(number), **fields}


def prompt_hash(number: int) -> str:
    return hash_prompt([*record(number)["messages"], {"role": "assistant", "content": "an answer"}])


def write_records(path: Path, numbers: list[int]) -> Path:
    path.write_bytes(b"".join(json.dumps(record(number)).encode() + b"\n" for number in numbers))
    return path


def difficulty(passed: dict[int, int], samples: int = 8) -> Difficulty:
    """Return the difficulty of prompts that have a number of right answers each."""
    rewards = {prompt_hash(number): [1.0] * right + [0.0] * (samples - right) for number, right in passed.items()}
    return Difficulty.from_rewards(rewards, origin="a model")


def numbers_in(path: Path) -> list[int]:
    return [int(json.loads(line)["reference_answer"]) for line in path.read_bytes().splitlines()]


# Difficulty


def test_a_prompt_has_its_rates_and_intervals() -> None:
    table = Difficulty.from_rewards({"a": [0.0, 0.5, 0.7 + 0.2 + 0.1, 1.0], "b": [], "c": [0.2]})
    assert list(table.prompts) == ["a", "c"]
    one = table.prompts["a"]
    assert (one.samples, one.passed, one.pass_rate) == (4, 2, 0.5)
    assert one.mean == pytest.approx(0.625)
    assert one.spread == pytest.approx(0.478714)
    assert one.interval == pytest.approx((0.1500, 0.8500), abs=1e-4)
    assert (table.prompts["c"].spread, table.samples) == (0.0, 1)


def test_the_interval_covers_the_rate() -> None:
    rng = random.Random(5)  # noqa: S311 - a simulation
    for rate in (0.02, 0.1, 0.5, 0.93):
        rewards = {str(number): [float(rng.random() < rate) for _ in range(8)] for number in range(2000)}
        prompts = Difficulty.from_rewards(rewards).prompts.values()
        covered = sum(prompt.interval[0] <= rate <= prompt.interval[1] for prompt in prompts) / 2000
        assert covered > 0.93


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.lists(st.floats(-1e6, 1e6), max_size=5), max_size=8),
    st.floats(-10, 10),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=12, deadline=None)
def test_a_table_survives_its_file(tmp_path: Path, rewards: dict[str, list[float]], mark: float) -> None:
    if not any(rewards.values()):
        with pytest.raises(ConfigurationError, match="no rewards"):
            Difficulty.from_rewards(rewards)
        return
    fields = {name: {"level": len(name), "long": "x" * 201, "many": [1]} for name in rewards}
    table = Difficulty.from_rewards(rewards, fields=fields, pass_mark=mark, origin="a model")
    text = table.to_json(tmp_path / "difficulty.json")
    assert Difficulty.load(tmp_path / "difficulty.json") == table
    assert json.loads(text) == table.to_dict()
    assert all(set(prompt.fields) == {"level"} for prompt in table.prompts.values())
    lines = str(table).splitlines()
    assert max(map(len, lines)) <= 80
    counts = [int(line.split()[-1]) for line in (each.rstrip(" █") for each in lines[-6:])]
    assert sum(counts) == len(table.prompts)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"prompts": [{"prompt_hash": "a"}], "pass_mark": 1, "origin": ""}'])
def test_another_file_is_no_difficulty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"other\.json is not a difficulty that Difficulty\.to_json wrote"):
        Difficulty.load(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Difficulty.load(tmp_path / "missing.json")


def test_numbers_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="not finite"):
        Difficulty.from_rewards({"a": [float("nan")]})
    with pytest.raises(ConfigurationError, match="pass_mark"):
        Difficulty.from_rewards({"a": [1.0]}, pass_mark=float("inf"))


def test_the_difficulty_by_a_field() -> None:
    rewards = {"a": [0.0, 1.0], "b": [0.0, 0.0], "c": [1.0, 1.0]}
    table = Difficulty.from_rewards(rewards, fields={"a": {"topic": "x"}, "b": {"topic": "y"}})
    groups = {group.value: group for group in table.by("topic", group_size=2)}
    assert {value: group.prompts for value, group in groups.items()} == {"x": 1, "y": 1, "missing": 1}
    assert {value: group.pass_rate.value for value, group in groups.items()} == {"x": 0.5, "y": 0.0, "missing": 1.0}
    assert groups["x"].signal is not None
    assert groups["x"].signal.share == 1.0
    with pytest.raises(ConfigurationError, match=r"No prompt has the field 'level'\. They have topic\."):
        table.by("level")


def test_the_signal_of_a_selection_is_less_certain() -> None:
    table = difficulty({number: number % 9 for number in range(90)})
    every, selected = table.signal(), table.signal(low=0, high=1)
    assert every is not None
    assert selected is not None
    assert selected.share == pytest.approx(every.share, abs=0.05)
    assert selected.high - selected.low > 1.5 * (every.high - every.low)
    assert table.signal(low=1, high=1) == table.signal(low=0.95)
    assert table.signal(low=0.51, high=0.55) is None


def test_the_signal_of_one_answer_is_unknown() -> None:
    table = Difficulty.from_rewards({"a": [1.0], "b": [0.0]})
    assert table.signal() is table.signal(low=0.1, high=0.9) is None
    assert "unknown, because no prompt has two answers" in str(table)
    assert table.to_dict()["signal"] is None
    assert "<b>Difficulty</b>" in table._repr_html_()


# Selection


def test_records_within_the_limits_are_kept_with_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    # Spaces, escapes, line ends, an empty line and a missing last line feed all stay as they are or go alone.
    texts = [
        b'{ "messages" : [{"role":"user","content":"What is 0?"}], "reference_answer": "0" }\r\n',
        json.dumps(record(1)).encode() + b"\n",
        b"\n",
        b'{"reference_answer": "2", "messages": [{"content": "What is \\u0032?", "role": "user"}]}\n',
        json.dumps(record(3)).encode() + b"\n",
        json.dumps(record(4)).encode(),
    ]
    path.write_bytes(b"".join(texts))
    done = select(path, difficulty({0: 1, 1: 0, 2: 4, 3: 8}), out=tmp_path / "selected.jsonl", limits=ANY)
    assert done.path.read_bytes() == texts[0] + texts[3] + texts[5] + b"\n"
    assert (done.records, done.kept, done.dropped, done.unsampled) == (5, 3, {"too hard": 1, "too easy": 1}, 1)
    assert done.report.ok
    note = json.loads(done.note.read_bytes())
    assert done.note == tmp_path / "selected.selection.json"
    assert [(row["line"], row["reason"], row["passed"]) for row in note["dropped_records"]] == [
        (2, "too hard", 0),
        (5, "too easy", 8),
    ]
    assert (note["sha256"], note["difficulty"], note["low"]) == (validate(done.path).sha256, "a model", 0.1)


def test_the_limits_belong_to_the_selection(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", list(range(5)))
    table = difficulty({0: 0, 1: 1, 2: 2, 3: 3, 4: 4}, samples=4)
    done = select(path, table, out=tmp_path / "s.jsonl", low=0.25, high=0.75, limits=ANY)
    assert numbers_in(done.path) == [1, 2, 3]
    every = select(path, table, out=tmp_path / "s.jsonl", low=0, high=1, limits=ANY)
    assert (numbers_in(every.path), every.dropped, every.uncertain) == ([0, 1, 2, 3, 4], {}, 0)


@pytest.mark.parametrize(
    ("order", "expected"), [(None, [4, 1, 3, 0, 2]), ("easy_first", [3, 1, 0, 4, 2]), ("hard_first", [0, 1, 3, 4, 2])]
)
def test_the_order(tmp_path: Path, order: Any, expected: list[int]) -> None:
    """Equal difficulties keep their order, and prompts that were not sampled come last."""
    path = write_records(tmp_path / "train.jsonl", [4, 1, 3, 0, 2])
    done = select(path, difficulty({0: 1, 1: 4, 3: 7}), out=tmp_path / "s.jsonl", order=order, limits=ANY)
    assert numbers_in(done.path) == expected


def test_unsampled_records_are_dropped_if_asked(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", [1, 2, 3])
    done = select(path, difficulty({1: 4}), out=tmp_path / "s.jsonl", unsampled="drop", limits=ANY)
    assert (done.kept, done.dropped, done.unsampled) == (1, {"not sampled": 2}, 2)
    assert [set(row) for row in json.loads(done.note.read_bytes())["dropped_records"]] == [
        {"line", "reason", "prompt_hash"}
    ] * 2


def test_uncertain_decisions_are_counted(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", [1, 2, 3])
    few = select(path, difficulty({1: 0, 2: 4, 3: 8}), out=tmp_path / "s.jsonl", limits=ANY)
    assert few.uncertain == 2  # 0 of 8 may be a rate of 0.3, and 8 of 8 one of 0.7
    many = select(path, difficulty({1: 0, 2: 32, 3: 64}, samples=64), out=tmp_path / "s.jsonl", limits=ANY)
    assert many.uncertain == 0
    assert "0 of 3 decisions" in str(many)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from([b"\n", b"\r\n", b" \n"])), min_size=1, max_size=25),
    st.dictionaries(st.integers(0, 12), st.integers(0, 4), min_size=1),
    st.sampled_from([None, "easy_first", "hard_first"]),
    st.sampled_from(["keep", "drop"]),
    st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_lines_are_kept_whole_and_counts_add_up(
    tmp_path: Path, lines: list[tuple[int, bytes]], passed: dict[int, int], order: Any, unsampled: Any, limits: Any
) -> None:
    path, low, high = tmp_path / "train.jsonl", min(limits), max(limits)
    texts = [json.dumps(record(number)).encode() + end for number, end in lines]
    path.write_bytes(b"".join(texts))
    table = difficulty(passed, samples=4)

    def choose() -> Selection:
        out = tmp_path / "selected.jsonl"
        return select(path, table, out=out, low=low, high=high, order=order, unsampled=unsampled, limits=ANY)

    if not any(number in passed for number, _ in lines):
        with pytest.raises(DatasetError, match="was sampled"):
            choose()
        return
    expected = Counter(
        text
        for text, (number, _) in zip(texts, lines, strict=True)
        if (low <= passed[number] / 4 <= high if number in passed else unsampled == "keep")
    )
    if not expected:
        with pytest.raises(DatasetError, match="0 records"):
            choose()
        return
    done = choose()
    written = done.path.read_bytes().splitlines(keepends=True)
    assert Counter(written) == expected
    if order is None:
        assert [*written] == [text for text in texts if text in expected]
    assert done.kept + sum(done.dropped.values()) == done.records == len(lines)
    rows = json.loads(done.note.read_bytes())["dropped_records"]
    assert Counter(row["reason"] for row in rows) == done.dropped
    assert path.read_bytes() == b"".join(texts)
    assert max(map(len, str(done).replace(str(done.note), "note").splitlines())) <= 80


def test_the_expected_signal_of_the_selection_agrees_with_the_truth(tmp_path: Path) -> None:
    rng = random.Random(2)  # noqa: S311 - a simulation
    rates = [rng.choice([0.0, 0.0, 1.0, rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9)]) for _ in range(400)]
    path = write_records(tmp_path / "train.jsonl", list(range(400)))
    table = difficulty({number: sum(rng.random() < rate for _ in range(8)) for number, rate in enumerate(rates)})
    done = select(path, table, out=tmp_path / "s.jsonl")
    no_signal = [rate**8 + (1 - rate) ** 8 for rate in rates]
    assert done.before is not None
    assert done.after is not None
    assert done.before.no_signal == pytest.approx(sum(no_signal) / 400, abs=0.03)
    kept = [no_signal[number] for number in numbers_in(done.path)]
    assert done.after.no_signal == pytest.approx(sum(kept) / len(kept), abs=0.06)
    assert done.before.no_signal > 2 * done.after.no_signal


def test_too_few_records_for_the_service_write_nothing(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", list(range(120)))
    table = difficulty({number: 4 * (number > 30) for number in range(120)})
    with pytest.raises(DatasetError, match=r"89 records of train\.jsonl remain, and a job takes 100 to 20,000"):
        select(path, table, out=tmp_path / "s.jsonl")
    with pytest.raises(DatasetError, match="No answer reaches the pass mark 1"):
        select(path, difficulty(dict.fromkeys(range(120), 0)), out=tmp_path / "s.jsonl")
    assert [*tmp_path.iterdir()] == [path]


def test_the_file_itself_is_never_written(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", [1, 2])
    before, table = path.read_bytes(), difficulty({1: 4, 2: 8})
    (tmp_path / "link.jsonl").symlink_to(path)
    os.link(path, tmp_path / "hard.jsonl")
    for out in ("train.jsonl", "link.jsonl", "hard.jsonl", "../" + tmp_path.name + "/train.jsonl"):
        with pytest.raises(ConfigurationError, match="three different files"):
            select(path, table, out=tmp_path / out, limits=ANY)
    note = path.rename(tmp_path / "train.selection.json")
    with pytest.raises(ConfigurationError, match="three different files"):
        select(note, table, out=tmp_path / "train.jsonl", limits=ANY)
    assert note.read_bytes() == before


def test_invalid_arguments_and_records_are_refused(tmp_path: Path) -> None:
    path, out = write_records(tmp_path / "train.jsonl", [1, 2]), tmp_path / "s.jsonl"
    table = difficulty({1: 4})
    options: list[dict[str, Any]] = [
        {"low": 0.9, "high": 0.1},
        {"order": "random"},
        {"unsampled": "maybe"},
        {"group_size": 0},
    ]
    for wrong in options:
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            select(path, table, out=out, limits=ANY, **wrong)
    with pytest.raises(ConfigurationError, match="the file is not compressed"):
        select(path, table, out=tmp_path / "s.jsonl.gz", limits=ANY)
    folder = tmp_path / "s.selection.json"
    folder.mkdir()
    with pytest.raises(ConfigurationError, match=r"s\.selection\.json, cannot be written, because a folder"):
        select(path, table, out=out, limits=ANY)
    folder.rmdir()
    with pytest.raises(DatasetError, match=r"No prompt of train\.jsonl was sampled"):
        select(path, difficulty({7: 4}), out=out, limits=ANY)
    for text, message in ((b"[1]\n", "line 1"), (b'{"messages": []}\n', "Line 1 of train.jsonl has no messages")):
        path.write_bytes(text)
        with pytest.raises(DatasetError, match=message):
            select(path, table, out=out, limits=ANY)
    assert not out.exists()


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", [1, 2])

    class Writer(Difficulty):
        def chances(self, group_size: int = 8) -> dict[str, float]:
            write_records(path, [1, 3])
            return super().chances(group_size)

    table = Writer(difficulty({1: 4, 2: 4}).prompts)
    with pytest.raises(DatasetError, match=r"Line 2 of train\.jsonl changed during the selection\. Select again\."):
        select(path, table, out=tmp_path / "s.jsonl", limits=ANY)
    assert [*tmp_path.iterdir()] == [path]


def test_a_difficulty_file_selects_as_well(tmp_path: Path) -> None:
    path = write_records(tmp_path / "train.jsonl", [1, 2])
    difficulty({1: 4, 2: 8}).to_json(tmp_path / "difficulty.json")
    done = select(str(path), tmp_path / "difficulty.json", out=tmp_path / "s.jsonl", limits=ANY)
    assert numbers_in(done.path) == [1]
    assert done.to_dict()["dropped"] == {"too easy": 1}


def test_a_selection_by_answers_of_the_local_service_warns(tmp_path: Path) -> None:
    path, table = write_records(tmp_path / "train.jsonl", [1, 2]), difficulty({1: 4, 2: 8})
    done = select(path, table, out=tmp_path / "a.jsonl", limits=ANY)
    local = select(path, replace(table, local_service=True), out=tmp_path / "b.jsonl", limits=ANY)
    assert done.warning == ""
    assert "warning" not in str(done)
    assert "answers of the local service or a rehearsal" in " ".join(str(local).split())
    assert json.loads(local.note.read_text("utf-8"))["warning"] == local.warning
