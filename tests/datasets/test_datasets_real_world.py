"""Datasets as people have them: other formats, frames, files that are not JSON lines, and values given by mistake."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import BedrockRFTError, ConfigurationError, DatasetError, datasets
from bedrock_rft.datasets import Limits, convert, read, split, validate, write

ANY = Limits(min_records=1)


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def rows(count: int = 120) -> list[dict[str, Any]]:
    return [{"messages": [user(f"What is {n} + 2?")], "reference_answer": str(n + 2)} for n in range(count)]


ANSWER = {"role": "assistant", "content": "So."}

LOSSLESS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"system": "Be brief.", "messages": [user("How?")], "reference_answer": 1},
        {"messages": [{"role": "system", "content": "Be brief."}, user("How?")], "reference_answer": 1},
    ),
    (
        {"system": "Be brief.", "messages": [user("How?"), ANSWER]},
        {"messages": [{"role": "system", "content": "Be brief."}, user("How?")], "reference_answer": "So."},
    ),
    (
        {"prompt": "How?", "completion": "No.", "label": False},
        {"messages": [user("How?")], "completion": "No.", "label": False},
    ),
    (
        {"prompt": "How?", "completion": "So.", "label": True},
        {"messages": [user("How?")], "reference_answer": "So.", "label": True},
    ),
    (
        {"messages": [user("How?"), {**ANSWER, "reasoning": "Thus"}]},
        {"messages": [user("How?")], "reference_answer": "So.", "assistant_message": {"reasoning": "Thus"}},
    ),
    (
        {"conversations": [{"from": "human", "value": "How?"}, {"from": "gpt", "value": "So."}], "id": "a"},
        {"messages": [user("How?")], "reference_answer": "So.", "id": "a"},
    ),
    (
        {"instruction": "Add.", "input": "1 and 2", "output": "3", "n": 1},
        {"messages": [user("Add.\n\n1 and 2")], "reference_answer": "3", "n": 1},
    ),
    (
        {"instruction": "And now?", "input": "", "output": "3", "history": [["How?", "So."]]},
        {"messages": [user("How?"), ANSWER, user("And now?")], "reference_answer": "3"},
    ),
    (
        {"instruction": "Add.", "input": "", "output": "3", "label": False},
        {"messages": [user("Add.")], "output": "3", "label": False},
    ),
    (
        {"item": {"messages": [user("How?")], "color": "red"}, "id": "a", "weight": 2},
        {"messages": [user("How?")], "reference_answer": "red", "id": "a", "weight": 2},
    ),
    (
        {"prompt": "How?", "reward_model": {"style": "model", "ground_truth": "So."}},
        {"messages": [user("How?")], "reference_answer": "So.", "reward_model": {"style": "model"}},
    ),
    (
        {"messages": [user("How?"), ANSWER], "reference_answer": None, "prompt": None, "completion": None},
        {"messages": [user("How?")], "reference_answer": "So.", "prompt": None, "completion": None},
    ),
]


@pytest.mark.parametrize(("row", "record"), LOSSLESS)
def test_conversion_keeps_everything(row: dict[str, Any], record: dict[str, Any]) -> None:
    assert list(convert([row])) == [record]


def test_values_that_a_named_reference_answer_replaces_are_kept() -> None:
    [record] = convert([{"messages": [user("How?"), ANSWER], "b": 2}], reference_answer="b")
    assert record == {"messages": [user("How?")], "reference_answer": 2, "assistant_message": ANSWER}
    [record] = convert([{"messages": [user("How?")], "reference_answer": 1, "b": 2}], reference_answer="b")
    assert record == {"messages": [user("How?")], "reference_answer": 2, "replaced_reference_answer": 1}
    with pytest.raises(DatasetError, match="both have reference_answer"):
        list(convert([{"item": {"messages": [user("How?")], "reference_answer": 1}, "reference_answer": 2}]))


def test_json_arrays_are_converted_and_reported_by_other_functions(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text(json.dumps([{"instruction": "Add.", "input": "", "output": "3"}] * 2, indent=1))
    assert [record["reference_answer"] for record in convert(path)] == ["3", "3"]
    assert [problem.code for problem in validate(path).errors] == ["array"]
    with pytest.raises(DatasetError, match=r"a JSON array.*datasets\.convert"):
        list(read(path))
    for content, message in (
        (b'[{"output": 1, "output": 2}]', "the key 'output' appears twice"),
        (b'[\n{"output": 1},\n{"output": ,}\n]', "line 3: not JSON"),
    ):
        with pytest.raises(DatasetError, match=message):
            list(convert(content))


READERS: list[Callable[[Any], object]] = [
    lambda data: validate(data).raise_for_errors(),
    lambda data: list(read(data)),
    lambda data: list(convert(data)),
]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    ("content", "advice"),
    [
        (b"\xef\xbb\xbf" + b"{}\n", "Save it as UTF-8 without BOM"),
        ('{"a": 1}\n'.encode("utf-16"), "Save the file as UTF-8"),
        (b"{'messages': [{'role': 'user', 'content': 'How?'}], 'ok': True}\n", "json.dumps"),
        (b'{"messages": None}\n', "JSON has null"),
        (b"[{'role': 'user'}]", "as Python prints"),
        (b'{"prompt": "?", "completion": "!"}\n\xef\xbb\xbf{"a": 1}\n', "byte order mark"),
        (b"\x1f\x8b\x08\x00", "gunzip"),
        (b"BZh91AY", "bunzip2"),
        (b"\xfd7zXZ\x00", "unxz"),
    ],
)
def test_validate_read_and_convert_give_the_same_advice(
    tmp_path: Path, reader: Any, content: bytes, advice: str
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    with pytest.raises(DatasetError) as raised:
        reader(path)
    assert advice in str(raised.value)


def split_in_half(data: Any) -> object:
    return split(data, share=0.5)


@pytest.mark.parametrize("reader", [*READERS, split_in_half])
def test_content_given_as_a_path_raises_without_showing_it(reader: Any) -> None:
    text = "\n".join(map(json.dumps, rows()))
    for given in (text, text[:70], "x" * 5000, "What is " * 40):
        with pytest.raises(BedrockRFTError) as raised:
            reader(given)
        assert "What is" not in str(raised.value)
        assert len(str(raised.value)) < 400
    with pytest.raises(ConfigurationError, match="looks like the content of a file"):
        reader(text)
    for url in ("s3://bucket/train.jsonl", Path("s3://bucket/train.jsonl"), "https://user:secret@host/train.jsonl"):
        with pytest.raises(ConfigurationError, match="Download the file first") as refused:
            reader(url)
        assert "secret" not in str(refused.value)


def test_file_objects_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n")
    with path.open("rb") as closed:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        validate(closed)
    with path.open("rb") as ended:
        ended.read()
        with pytest.raises(DatasetError, match=r"seek\(0\)"):
            validate(ended)
    with (tmp_path / "new.jsonl").open("wb") as written, pytest.raises(ConfigurationError, match="cannot be read"):
        validate(written)
    given: Any = ("train.jsonl", b"{}")
    with pytest.raises(ConfigurationError, match="tuple"):
        validate(given)


def test_an_answer_in_the_prompt_is_reported_once() -> None:
    def asked(prompt: str) -> list[dict[str, Any]]:
        answer = "the blue whale"
        return [{"messages": [user(f"{n}: {prompt}")], "reference_answer": answer} for n in range(100)]

    report = validate(asked("The answer is the blue whale. What is it?"))
    [found] = [problem for problem in report.warnings if problem.code == "answer-in-prompt"]
    assert "100 of 100 records (100.0%)" in found.summary
    for prompt in (
        "Which of these?\nA) the blue whale\nB) a cat",
        "What is an animal? (A) the blue whale (B) a stone",
        "Extract the animal: I saw the blue whale.",
        "Summarize: I saw the blue whale.",
    ):
        assert not validate(asked(prompt)).warnings


@pytest.mark.parametrize("filler", ["\n", "a. ", "(", "1) ", " "])
def test_a_long_prompt_with_its_answer_is_checked_fast(filler: str) -> None:
    prompt = "the blue whale " + filler * (30_000 // len(filler))
    started = time.process_time()
    assert validate([{"messages": [user(prompt)], "reference_answer": "the blue whale"}], limits=ANY).ok
    assert time.process_time() - started < 0.9


def test_one_prompt_with_two_references_is_an_error() -> None:
    records = [*rows(), {"messages": rows(1)[0]["messages"], "reference_answer": "3"}]
    report = validate(records)
    [found] = report.errors
    assert (found.code, found.line, found.field) == ("conflicting-references", 121, "reference_answer")
    assert "line 1," in found.summary
    assert validate([*rows(), rows(1)[0]]).ok
    missing = {"messages": rows(1)[0]["messages"]}
    assert validate([*rows(), missing]).ok


def test_lists_of_other_values_have_one_problem_for_each() -> None:
    report = validate(["text", 7])  # type: ignore[list-item]
    assert str(report.errors[1]) == (
        "Line 1: the record is of type str. Give mappings such as dicts, or pydantic models."
    )
    assert report.counts == {"not-json": 2, "too-few": 1}


def test_an_open_file_is_not_written_as_records(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text("{}\n")
    with path.open("rb") as file, pytest.raises(ConfigurationError, match=r"datasets\.read"):
        write(tmp_path / "copy.jsonl", file)  # type: ignore[arg-type]


def test_the_error_shows_five_problems_by_line() -> None:
    content = b"{}\n" * 8 + b"".join(json.dumps(row).encode() + b"\n" for row in rows())
    with pytest.raises(DatasetError) as raised:
        validate(content).raise_for_errors()
    text = str(raised.value)
    assert [f"Line {n}, messages: missing" in text for n in range(1, 9)] == [True] * 5 + [False] * 3
    assert "3 more: see .problems" in text
    assert len(raised.value.problems) == 8


def test_representations_are_short_and_the_report_is_json(tmp_path: Path) -> None:
    report = validate(b"{}")
    record = datasets.TrainingRecord.of("x" * 5000, reference_answer="y" * 5000)
    for value in (report, report.errors[0], record, Limits()):
        assert len(repr(value)) <= 120
        assert "\n" not in repr(value)
    assert json.loads(report.to_json(tmp_path / "report.json"))["ok"] is False
    assert (tmp_path / "report.json").read_text("utf-8") == report.to_json()


def test_old_names_are_explained() -> None:
    with pytest.raises(ImportError, match=r"datasets\.Limits"):
        _ = datasets.Rules
    removed: Any = {"processes": 2}
    with pytest.raises(ConfigurationError, match="was removed"):
        validate(b"{}", **removed)
    renamed: Any = {"rules": ANY}
    with pytest.raises(ConfigurationError, match="limits="):
        validate(b"{}", **renamed)
    unknown: Any = {"limts": ANY}
    with pytest.raises(TypeError, match="limts"):
        validate(b"{}", **unknown)


def test_columns_filled_with_null_are_reported() -> None:
    records = rows()
    for number, row in enumerate(records):
        row["level"] = number if number % 2 else None
        row["info"] = {"split": "train", "hint": None if number % 3 else "x"}
    found = [problem for problem in validate(records).warnings if problem.code == "null-filled"]
    assert [problem.field for problem in found] == ["info.hint", "level"]
    assert str(found[1]).startswith("Field level: null in 60 of 120 records")
    named = [{**row, "messages": [{**user("How?"), "name": None}, {**user(str(n)), "name": "x"}]}
             for n, row in enumerate(rows())]  # fmt: skip
    [in_messages] = validate(named).warnings
    assert str(in_messages).startswith("Field messages[].name: null in 120 of 240 messages")
    for row in records[::2]:
        del row["level"]
    assert "level" not in [problem.field for problem in validate(records).warnings]


def verl(count: int = 120) -> list[dict[str, Any]]:
    return [
        {
            "prompt": [user(f"What is {n} + 2?")],
            "reward_model": {"style": "rule", "ground_truth": str(n + 2)},
            "extra_info": {"split": "train", "index": n},
        }
        for n in range(count)
    ]


def test_arrays_in_frames_are_lists(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    frame = pandas.DataFrame(verl())
    frame["prompt"] = [numpy.array(prompt, dtype=object) for prompt in frame["prompt"]]
    frame["answer"] = [numpy.int64(n) for n in range(len(frame))]
    path = tmp_path / "train.jsonl"
    assert write(path, frame, prompt="prompt", reference_answer="answer").ok
    assert next(iter(read(path)))["messages"] == verl()[0]["prompt"]
    assert write(path, convert(frame.drop(columns="answer"))).ok
    first = next(iter(read(path)))
    assert (first["messages"], first["reference_answer"]) == (verl()[0]["prompt"], "2")


def test_arrow_tables_and_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist(verl())
    path = tmp_path / "train.parquet"
    parquet.write_table(table, path)
    for given in (table, path):
        records = list(convert(given))
        assert [record["reference_answer"] for record in records] == [str(n + 2) for n in range(120)]
        assert records[0]["messages"] == verl()[0]["prompt"]
    assert [problem.code for problem in validate(path).errors] == ["parquet"]
    with pytest.raises(DatasetError, match="Parquet"):
        list(read(path))
