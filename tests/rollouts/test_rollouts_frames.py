"""Recorded rollouts as frames of pandas and polars, and as Parquet."""

from __future__ import annotations

import builtins
import json
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.rollout_files import write_rollouts

from bedrock_rft import rollouts
from bedrock_rft.errors import BedrockRFTWarning, ConfigurationError, DatasetError, MissingExtraError
from bedrock_rft.rollouts._record import parse_block, parse_lines, parse_valid_lines

COLUMNS = [
    *("v", "time", "request_id", "function", "function_version", "source", "rollout_id", "prompt_hash", "prompt"),
    *("answer", "reference", "fields", "score", "parts.correct", "parts.format", "metrics.characters", "error"),
    *("duration", "package_hash", "truncated", "model"),
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[rollouts.Rollouts, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("recorded")
    written = write_rollouts(folder, steps=5, groups=4, samples=4, behaviour="errors")
    return rollouts.read(folder), written


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make several chunks, whose parts may differ."""
    monkeypatch.setattr("bedrock_rft.rollouts._frames._CHUNK_BYTES", 20_000)


@pytest.mark.parametrize("form", ["pandas", "polars", "parquet"])
def test_a_frame_has_every_value(
    recorded: tuple[rollouts.Rollouts, list[dict[str, Any]]], form: str, tmp_path: Path
) -> None:
    found, written = recorded
    if form == "pandas":
        frame: Any = found.to_pandas()
        rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), None).to_dict("records")
    elif form == "polars":
        frame = found.to_polars()
        rows = frame.to_dicts()
    else:
        found.to_parquet(tmp_path / "some.parquet")
        frame = pl.read_parquet(tmp_path / "some.parquet")
        rows = frame.to_dicts()
        assert [path.name for path in tmp_path.iterdir()] == ["some.parquet"]
    assert sorted(frame.columns) == sorted(COLUMNS)
    assert len(rows) == len(written)
    for row, record in zip(rows, written, strict=True):
        assert f"{row['time']:%Y-%m-%dT%H:%M:%S.%fZ}" == record["time"]
        assert (row["score"], row["answer"], row["error"]) == (record["score"], record["answer"], record["error"])
        assert row["parts.correct"] == record["parts"].get("correct")
        assert row["reference"] == record["reference"]
        assert json.loads(row["fields"]) == record["fields"]
        assert row["truncated"] is None


def test_polars_parses_complete_recordings_and_gives_the_same_frame(
    recorded: tuple[rollouts.Rollouts, list[dict[str, Any]]], tmp_path: Path
) -> None:
    found, _ = recorded
    slow = found.filter(lambda _: True).to_polars()
    assert found.to_polars().select(slow.columns).equals(slow)
    some = rollouts.read(found.location, since="2026-11-28T14:15", until="2026-11-28T14:35", function="math-reward")
    assert some.to_polars().height == len([*some]) == 32
    lines = [
        {"v": 2, "time": "2026-11-28T14:00:00.000000Z", "score": 1, "new": 1, "parts": {"a": 1}, "reference": [1, "x"]},
        {"v": 1, "time": "2026-11-28T14:00:01.000000Z", "score": 0.5, "parts": {"b": 2.5}, "truncated": ["a", "b"]},
    ]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    slow = rollouts.read(path).filter(lambda _: True).to_polars()
    assert slow["parts.b"].to_list() == [None, 2.5]
    assert slow["truncated"].to_list() == [None, "a,b"]
    assert rollouts.read(path).to_polars().select(slow.columns).equals(slow)
    path.write_text(
        "\n".join([*map(json.dumps, lines), '{"time": "x", "score": "high"}', "{broken", json.dumps(lines[0])])
    )
    found = rollouts.read(path)
    with pytest.warns(BedrockRFTWarning, match="2 lines"):
        assert found.to_polars().height == 3
    assert [problem.line for problem in found.problems] == [3, 4]


def test_lines_of_other_programs_give_the_same_frame(
    tmp_path: Path, recorded: tuple[Any, list[dict[str, Any]]]
) -> None:
    whole = recorded[1][0]
    lines = [whole, {"time": whole["time"], "score": 1}, whole | {"parts": {"correct": "1"}}]
    path = tmp_path / "some.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.warns(BedrockRFTWarning, match="1 lines"):
        frame = rollouts.read(path).to_polars()
    assert (frame["v"].to_list(), frame["source"].to_list()) == ([1, 1], [whole["source"], ""])


ODD: list[Any] = [
    *(None, True, 0, 5, -1, 2.5, 1e200, 10**30, 10**400, "", "5", "text", [], [1], ["a"], {}, {"a": 1}, {"a": "b"}),
    *("2026-11-28T14:00:01Z", "2026-11-28 14:00:00Z", "2026-11-28T14:00Z", "2026-02-30T14:00:00Z", {"b": {"c": None}}),
]
WHOLE: dict[str, Any] = {
    **dict.fromkeys(rollouts.Record.__dataclass_fields__),
    **dict.fromkeys(("request_id", "function", "source", "rollout_id", "answer"), "a"),
    "v": 1,
    "score": 0.5,
    "time": "2026-11-28T14:00:00.000000Z",
    "parts": {"correct": 1},
    "metrics": {"a": 1},
    "truncated": [],
}
# Whole numbers of more than 64 bits are missing: older versions of pydantic do not take them for floats.
JSON = [
    *(json.dumps(value) for value in ODD if not (isinstance(value, int) and value.bit_length() > 64)),
    *["-0", "1e5", "1E-400", "1e149", "1e150", "-1e200", "2147483648", "NaN", "-Infinity", "01", "1."],
    *(
        '"\\ud800"',
        '"\\ud83d\\ude00"',
        '"\\u0000"',
        '"\x01"',
        '"\ud800"',
        '{"a": 1, "a": 2}',
        '{"a": 1e400}',
        "[[[]]]",
        "1\n",
    ),
]
ENDS = [
    *("", "\n", "\n\n", "\r\n", " ", "{}", ",", "\x00", "\n{", "\n{}", json.dumps(WHOLE), f"\n{json.dumps(WHOLE)}\n"),
    *(f"{json.dumps(WHOLE)}{space}{json.dumps(WHOLE)}" for space in ("\n\n", " \n \n")),
]  # two values in a line, and an empty line, have the right number of values
KEYS = [*rollouts.Record.__dataclass_fields__, "later", "at"]
LINES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(ODD), max_size=2),
    st.sampled_from(["", " ", "{broken", "[]", "5", '{"score": NaN}', "{}\r", '{"score": 1, "time": 1} {}', "\ud800"]),
)


@given(st.lists(LINES, max_size=8))
@example([{"answer": 5}, {"answer": "b"}])
def test_all_readers_give_the_same_rows(lines: list[dict[str, Any] | str]) -> None:
    """Valid, damaged, later and odd lines are read or skipped alike, and no value changes its type."""
    text = "\n".join(
        line if isinstance(line, str) else json.dumps({**WHOLE, "rollout_id": str(number), **line})
        for number, line in enumerate(lines)
    )
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path, parquet = Path(folder, "some.jsonl"), Path(folder, "some.parquet")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        found = rollouts.read(path)
        assert parse_block(path.read_bytes()) == parse_lines(path.read_bytes())
        expected = [(one.time[:19], one.rollout_id, one.score, one.answer, one.duration) for one in found]
        problems = found.problems
        for read in (found.to_polars, lambda: found.to_parquet(parquet), found.to_pandas):
            frame: Any = read()
            rows: list[dict[str, Any]]
            if isinstance(frame, int):
                rows = pl.read_parquet(parquet).to_dicts()
                assert frame == len(rows)
            else:
                frame = frame if isinstance(frame, pl.DataFrame) else frame.astype(object).where(frame.notna(), None)
                rows = frame.to_dicts() if isinstance(frame, pl.DataFrame) else frame.to_dict("records")
            columns = ("rollout_id", "score", "answer", "duration")
            assert [(f"{row['time']:%Y-%m-%dT%H:%M:%S}", *(row[name] for name in columns)) for row in rows] == expected
            assert (found.problems, found.skipped) == (problems, len(problems))


def test_the_extra_fast_reads_the_same_records() -> None:
    """Whatever msgspec accepts has the values and types that pydantic gives it."""
    accepted = 0
    for name, text, end in [*((name, text, "") for name in KEYS for text in JSON), *(("v", "1", end) for end in ENDS)]:
        texts = {key: json.dumps(value) for key, value in WHOLE.items()} | {name: text}
        line = f"{{{', '.join(f'{json.dumps(key)}: {value}' for key, value in texts.items())}}}{end}"
        block = line.encode("utf-8", "surrogatepass")
        try:
            found = parse_valid_lines(block)
        except ValueError:
            continue
        records, problems = parse_lines(block)
        assert (repr([one.to_dict() for one in found]), problems) == (repr([one.to_dict() for one in records]), []), (
            line
        )
        accepted += 1
    assert accepted > 200


def test_an_empty_recording_has_the_columns(tmp_path: Path) -> None:
    found = rollouts.read(tmp_path)
    columns = [name for name in COLUMNS if "." not in name]
    assert list(found.to_pandas().columns) == columns
    assert found.to_polars().columns == columns
    found.to_parquet(tmp_path / "empty.parquet")


def test_the_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **options: Any) -> Any:
        if name in {"pandas", "polars"}:
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    found = rollouts.read(tmp_path)
    for call, extra in (
        (found.to_pandas, "pandas"),
        (found.to_polars, "polars"),
        (lambda: found.to_parquet("x"), "polars"),
    ):
        with pytest.raises(MissingExtraError, match=extra):
            call()


def test_rollouts_that_are_followed_are_not_exported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="follow=True never ends"):
        rollouts.read(tmp_path, follow=True).to_csv(tmp_path / "some.csv")


def test_a_file_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Cannot write"):
        rollouts.read(tmp_path).to_parquet(tmp_path / "missing" / "some.parquet")
