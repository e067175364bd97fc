"""Writing, conversion and splitting of training files."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import ConfigurationError, DatasetError
from bedrock_rft.datasets import Limits, TrainingRecord, convert, split, validate, write

ANY = Limits(min_records=0)


def rows(count: int = 100) -> Iterator[dict[str, Any]]:
    for n in range(count):
        yield {"messages": [{"role": "user", "content": f"What is {n}²?"}], "reference_answer": {"n": n * n}, "n": n}


def table(count: int = 100) -> dict[str, list[Any]]:
    return {
        "question": [f"What is {n} squared?" for n in range(count)],
        "answer": [str(n * n) for n in range(count)],
        "level": [n % 3 for n in range(count)],
    }


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def expected(count: int = 100) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}],
            "reference_answer": answer,
            "level": level,
        }
        for question, answer, level in zip(*table(count).values(), strict=True)
    ]


def test_written_files_are_valid_private_and_reproducible(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    report = write(path, rows())
    assert report.ok
    assert (report.name, report.records, report.size) == ("train.jsonl", 100, path.stat().st_size)
    assert report == validate(path)
    assert read(path) == list(rows())
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o777 == 0o600
    first = path.read_bytes()
    write(path, (TrainingRecord(**row) for row in rows()))
    assert path.read_bytes() == first
    assert [place.name for place in tmp_path.iterdir()] == ["train.jsonl"]


def test_typed_records_are_validated() -> None:
    record = TrainingRecord.of("What is 6 times 7?", system="Be brief.", reference_answer="42", level=3)
    assert [message.role for message in record.messages] == ["system", "user"]
    assert record.model_extra == {"level": 3}
    assert write_and_read(record) == {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 6 times 7?"}],
        "reference_answer": "42",
        "level": 3,
    }
    wrong: list[dict[str, Any]] = [{"messages": []}, {"messages": [{"role": "bot", "content": "a"}]}, {}]
    for fields in wrong:
        with pytest.raises(DatasetError, match="TrainingRecord"):
            TrainingRecord(**fields)


def write_and_read(record: object) -> Any:
    path = Path(os.environ["PYTEST_PLACE"]) / "one.jsonl"
    write(path, [record])  # type: ignore[list-item] # of any type
    return read(path)[0]


@pytest.fixture(autouse=True)
def _place(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_PLACE", str(tmp_path_factory.mktemp("one")))


def test_columns_are_mapped_and_other_columns_are_kept(tmp_path: Path) -> None:
    given = [dict(zip(table(), values, strict=True)) for values in zip(*table().values(), strict=True)]
    write(
        tmp_path / "a.jsonl", given, prompt="question", system=lambda _: "Be brief.", reference_answer="answer"
    ).raise_for_errors()
    assert read(tmp_path / "a.jsonl") == expected()
    chat = {"chat": [{"role": "user", "content": "a"}], "s": "b", "messages": "c"}
    write(tmp_path / "b.jsonl", [chat], prompt="chat", system="s", reference_answer=lambda row: row["messages"])
    assert read(tmp_path / "b.jsonl") == [
        {"messages": [{"role": "system", "content": "b"}, {"role": "user", "content": "a"}], "reference_answer": "c"}
    ]
    with pytest.raises(DatasetError, match=r"no column 'prompt', which prompt= names; it has: question, answer"):
        write(tmp_path / "c.jsonl", given, prompt="prompt")


UNWRITABLE: list[tuple[list[Any], str]] = [
        ([{"messages": []}], "Line 1, messages"), ([7], "Record 1 is of type int"), ([], "is empty"),
        ([{"messages": [{"role": "user", "content": "a"}], "reference_answer": float("nan")}], "Record 1"),
        ([{"messages": [{"role": "user", "content": "a\ud800"}]}], "half of a surrogate pair"),
        ([{"messages": [{"role": "user", "content": "a"}], 1: 2, "1": 3}], "the key '1' appears twice"),
        ([{"messages": [{"role": "user", "content": "a"}], "x": {1, 2}}], "type set"),
    ]  # fmt: skip


@pytest.mark.parametrize(("records", "message"), UNWRITABLE)
def test_invalid_records_leave_no_file(tmp_path: Path, records: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        write(tmp_path / "train.jsonl", records)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_stays_if_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    write(path, rows())
    before = path.read_bytes()
    with pytest.raises(RuntimeError, match="mine"):
        write(path, failing())
    assert path.read_bytes() == before
    assert [place.name for place in tmp_path.iterdir()] == ["train.jsonl"]


def failing() -> Iterator[dict[str, Any]]:
    yield from rows(3)
    raise RuntimeError("mine")


def test_the_number_of_records_is_a_problem_in_the_report(tmp_path: Path) -> None:
    report = write(tmp_path / "few.jsonl", rows(3))
    assert [problem.code for problem in report.errors] == ["too-few"]
    assert len(read(tmp_path / "few.jsonl")) == 3
    assert write(tmp_path / "few.jsonl", rows(3), limits=Limits(min_records=1)).ok


def test_invalid_paths_and_records_raise(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be written"):
        write(tmp_path / "no" / "train.jsonl", rows())
    (tmp_path / "directory").mkdir()
    with pytest.raises(DatasetError, match="cannot be written"):
        write(tmp_path / "directory", rows())
    for data in ("train.jsonl", {"a": 1}, 7, None):
        with pytest.raises(ConfigurationError):
            write(tmp_path / "x.jsonl", data)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="empty"):
        write("", rows())


def test_pandas_frames_are_written(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(table())
    path = tmp_path / "train.jsonl"
    write(path, frame, prompt="question", system=lambda _: "Be brief.", reference_answer="answer")
    assert read(path) == expected()
    frame["score"] = [None if n == 5 else float(n) for n in range(100)]
    frame["flag"] = pandas.array([None if n == 6 else n for n in range(100)], dtype="Int64")
    write(path, frame, prompt="question", reference_answer="answer")
    found = read(path)
    assert "score" not in found[5]
    assert "flag" not in found[6]
    assert (found[6]["score"], found[5]["flag"]) == (6.0, 5)


def test_polars_frames_are_written(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(table())
    for given in (frame, frame.lazy()):
        write(
            tmp_path / "a.jsonl", given, prompt="question", system=lambda _: "Be brief.", reference_answer="answer"
        ).raise_for_errors()
        assert read(tmp_path / "a.jsonl") == expected()


def test_hugging_face_datasets_are_written(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    if not hasattr(datasets, "Dataset"):  # the folder of these tests, found as a namespace package
        pytest.skip("Hugging Face datasets is not installed")
    data = datasets.Dataset.from_dict(table())
    for given in (data, data.to_iterable_dataset()):
        write(
            tmp_path / "a.jsonl", given, prompt="question", system=lambda _: "Be brief.", reference_answer="answer"
        ).raise_for_errors()
        assert read(tmp_path / "a.jsonl") == expected()
    with pytest.raises(ConfigurationError, match=r"choose one of 'train', 'test'"):
        write(tmp_path / "b.jsonl", datasets.DatasetDict({"train": data, "test": data}), prompt="question")


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


SO = {"role": "assistant", "content": "So."}
BLOCKS = [{"text": "How"}, {"text": "?"}]

CONVERTED: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("openai-rft", {"messages": [{"role": "developer", "content": "Be brief."}, user("How?")], "color": "red"},
     {"messages": [system("Be brief."), user("How?")], "reference_answer": "red"}),
    ("openai-rft", {"item": {"messages": [user("How?")], "reference_answer": {"a": 1}, "x": 2}},
     {"messages": [user("How?")], "reference_answer": {"a": 1}, "x": 2}),
    ("sft", {"messages": [user("How?"), SO], "topic": "a"},
     {"messages": [user("How?")], "reference_answer": "So.", "topic": "a"}),
    ("completion", {"prompt": "How?", "completion": "So.", "n": 1},
     {"messages": [user("How?")], "reference_answer": "So.", "n": 1}),
    ("completion", {"prompt": [system("Be brief."), user("How?")], "completion": [SO]},
     {"messages": [system("Be brief."), user("How?")], "reference_answer": "So."}),
    ("nova", {"schemaVersion": "bedrock-conversation-2024", "system": [{"text": "Be brief."}],
              "messages": [{"role": "user", "content": BLOCKS}, {"role": "assistant", "content": [{"text": "So."}]}]},
     {"messages": [system("Be brief."), user("How?")], "reference_answer": "So."}),
    ("nova", {"id": "chem-001", "messages": [system("Be brief."), user("How?")], "reference_answer": {"n": 2}},
     {"messages": [system("Be brief."), user("How?")], "reference_answer": {"n": 2}, "id": "chem-001"}),
    ("sagemaker", {"data_source": "openai/gsm8k", "prompt": [user("How?")], "ability": "math",
                   "reward_model": {"style": "rule", "ground_truth": "72"}, "extra_info": {"index": 0}},
     {"messages": [user("How?")], "reference_answer": "72", "data_source": "openai/gsm8k", "ability": "math",
      "extra_info": {"index": 0}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "row", "record"), CONVERTED)
def test_other_formats_are_converted(tmp_path: Path, kind: Any, row: dict[str, Any], record: dict[str, Any]) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text(json.dumps(row) + "\n\n")
    assert list(convert(path)) == list(convert([row], format=kind)) == [record]
    assert write(tmp_path / "train.jsonl", convert(path), limits=ANY).ok


def test_the_reference_answer_can_be_named() -> None:
    row = {"messages": [user("How?")], "a": 1, "b": 2}
    assert list(convert([row], reference_answer="b")) == [{"messages": [user("How?")], "reference_answer": 2, "a": 1}]
    for given in ({"prompt": "How?", "completion": "So.", "b": 2}, {"messages": [user("How?"), SO], "b": 2}):
        [found] = convert([given], reference_answer="b")
        assert found["reference_answer"] == 2


UNCONVERTIBLE: list[tuple[Any, dict[str, Any], str]] = [
        ([{"a": 1}], {}, r"Record 1 has an unknown format; its fields are: a\."),
        (b"{}\n[]", {}, "line 1 has an unknown format; its fields are: none"),
        (b"\n[1]", {}, "Record 1 is a number"), (b'{"a": NaN}', {}, "line 1: NaN"),
        (b'{"prompt": "a", "completion": "b"}\n[1]', {}, "line 2: a list instead"),
        ([7], {}, "Record 1 is of type int"),
        ([{"messages": [SO]}], {}, "no message precedes"), ([{"messages": []}], {}, "unknown format"),
        ([{"messages": [user("a")], "b": 1, "c": 2}], {}, r"name the field with reference_answer="),
        ([{"messages": [user("a"), SO], "reference_answer": 1}], {}, "choose one"),
        ([{"messages": [user("a")]}], {"format": "sft"}, "does not have the role 'assistant'"),
        ([{"messages": 3}], {"format": "nova"}, "missing or of another type"),
        ([{"prompt": "a", "reward_model": {}}], {}, "no field 'ground_truth'"),
        ([{"prompt": "a", "completion": "b"}], {"reference_answer": "c"}, "no field 'c'"),
        ([{"messages": [user("a"), {"role": "assistant", "tool_calls": []}]}], {}, "no text"),
        ([{"prompt": "a", "completion": [user("b")]}], {}, "not a single message"),
    ]  # fmt: skip


@pytest.mark.parametrize(("data", "options", "message"), UNCONVERTIBLE)
def test_records_that_cannot_be_converted_raise_with_the_reason(data: Any, options: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        list(convert(data, **options))


def test_the_field_of_the_answer_is_kept_for_graders_that_refer_to_it() -> None:
    row = {"messages": [user("How?")], "system": "Be brief.", "color": "red", "n": 1}
    (record,) = convert([row], reference_answer="color", keep=True)
    assert record == {
        "messages": [system("Be brief."), user("How?")], "color": "red", "n": 1, "reference_answer": "red"
    }  # fmt: skip
    (plain,) = convert([row], reference_answer="color")
    assert "color" not in plain


def test_an_unknown_format_raises() -> None:
    with pytest.raises(ConfigurationError, match="Use openai-rft, sft"):
        convert([], format="csv")  # type: ignore[arg-type]


def test_a_split_keeps_all_records_and_shares_no_prompt(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    given = [
        {"messages": [user(f"{' ' * (n % 3)}What is {n % 120}?")], "reference_answer": str(n % 120), "n": n}
        for n in range(400)
    ]
    write(path, given)
    found = split(path, share=0.2, seed=7)
    train, validation = read(found.train), read(found.validation)
    assert (found.train.name, found.validation.name) == ("all.train.jsonl", "all.validation.jsonl")
    assert sorted((*train, *validation), key=lambda row: row["n"]) == given
    assert [row["n"] for row in train] == sorted(row["n"] for row in train)
    prompts = [{row["messages"][0]["content"].strip() for row in side} for side in (train, validation)]
    assert not prompts[0] & prompts[1]
    assert 80 <= len(validation) <= 84
    assert found.train_report.ok
    assert found.validation_report.ok
    first = found.train.read_bytes()
    assert split(path, share=0.2, seed=7).train.read_bytes() == first
    assert split(path, share=0.2, seed=8).train.read_bytes() != first


def test_small_files_are_split_into_two(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    write(path, rows(2))
    for share in (0.001, 0.5, 0.999):
        found = split(path, share=share)
        assert (len(read(found.train)), len(read(found.validation))) == (1, 1)
    write(path, [*rows(1), *rows(1)])
    with pytest.raises(DatasetError, match="only one prompt"):
        split(path)


def test_invalid_splits_raise(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    path.write_bytes(b"null\n")
    with pytest.raises(DatasetError, match="Line 1"):
        split(path)
    write(path, rows())
    senseless: list[dict[str, Any]] = [
        {"share": 0},
        {"share": 1},
        {"share": "a"},
        {"seed": 0.5},
        {"train": path},
        {"validation": path},
    ]
    for options in senseless:
        with pytest.raises(ConfigurationError):
            split(path, **options)
    wrong: list[Any] = [None, b"{}", io.StringIO(), [{}]]
    for no_path in wrong:
        with pytest.raises(ConfigurationError, match="was given as a path"):
            split(no_path)
    with pytest.raises(DatasetError, match="directory"):
        split(".")
    assert [place.name for place in tmp_path.iterdir()] == ["all.jsonl"]
