"""The queries of the documentation run with DuckDB on recorded files."""

from __future__ import annotations

import re
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.pages import blocks
from support.rollout_files import write_rollouts

from bedrock_rft.rewards import RolloutLog, Score
from bedrock_rft.rewards._runtime.rollout_log import Origin, ScoredEntry
from bedrock_rft.rollouts._record import COLUMNS

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "see-rollouts.md"
TABLE, VIEW, BY_HOUR, NO_SIGNAL, BY_FIELD, ERRORS, LONGEST = (
    block.text for block in blocks(PAGE) if block.language == "sql"
)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("written")
    records = write_rollouts(folder, steps=8, groups=6, samples=4, behaviour="errors")
    database: Any = duckdb.connect()
    database.execute(VIEW.replace("recorded/", f"{folder.as_posix()}/"))
    return database, records


def query(database: Any, text: str) -> list[dict[str, Any]]:
    found = database.execute(text)
    names = [column[0] for column in found.description]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def test_the_table_has_every_key_of_a_record() -> None:
    columns = re.findall(r"^  `?(\w+)`? \w", TABLE, re.MULTILINE)
    assert columns == [name for name in COLUMNS if name != "function"], "the function is a partition"
    assert re.findall(r'"?(\w+)"?: \'', VIEW) == columns


@pytest.mark.parametrize(("function", "hour"), [("math-reward", 3), ("2026", 14)])
def test_partitions_have_the_types_of_the_table(function: str, hour: int, tmp_path: Path) -> None:
    """DuckDB's own choice is a number for a function such as `2026`, and a text for an hour such as `03`."""
    origin = Origin(function, "lambda", "r", datetime(2026, 11, 28, hour, tzinfo=timezone.utc))
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
    RolloutLog(str(tmp_path)).write(origin, [ScoredEntry({"id": "a", "messages": messages}, Score(1.0))])
    database: Any = duckdb.connect()
    database.execute(VIEW.replace("recorded/", f"{tmp_path.as_posix()}/"))
    (row,) = query(database, LONGEST.replace("math-reward", function).replace("14 AND 15", f"{hour} AND 15"))
    assert row["answer"] == "!"
    (row,) = query(database, 'SELECT "function", "date", hour FROM rollouts')
    assert row == {"function": function, "date": "2026-11-28", "hour": hour}


def test_the_view_has_every_rollout(written: tuple[Any, list[dict[str, Any]]]) -> None:
    database, records = written
    rows = query(database, 'SELECT * FROM rollouts ORDER BY "time", rollout_id')
    assert len(rows) == len(records)
    for row, record in zip(rows, sorted(records, key=lambda one: (one["time"], one["rollout_id"])), strict=True):
        assert {name: row[name] for name in ("time", "function", "answer", "score", "parts", "error", "truncated")} == {
            name: record[name] for name in ("time", "function", "answer", "score", "parts", "error", "truncated")
        }


def test_scores_by_hour(written: tuple[Any, list[dict[str, Any]]]) -> None:
    database, records = written
    for row in query(database, BY_HOUR):
        of_hour = [one for one in records if int(one["time"][11:13]) == row["hour"]]
        correct = [one["parts"]["correct"] for one in of_hour if one["parts"]]
        assert row["rollouts"] == len(of_hour)
        assert row["mean"] == pytest.approx(sum(one["score"] for one in of_hour) / len(of_hour))
        assert row["correct"] == pytest.approx(sum(correct) / len(correct))


def test_groups_without_signal(written: tuple[Any, list[dict[str, Any]]]) -> None:
    database, records = written
    groups: dict[tuple[str, str], set[float]] = defaultdict(set)
    for one in records:
        groups[one["request_id"], one["prompt_hash"]].add(one["score"])
    expected = {group for group, scores in groups.items() if len(scores) == 1}
    assert expected
    assert {(row["request_id"], row["prompt_hash"]) for row in query(database, NO_SIGNAL)} == expected


def test_pass_rate_by_field(written: tuple[Any, list[dict[str, Any]]]) -> None:
    database, records = written
    rows = query(database, BY_FIELD)
    assert {row["topic"] for row in rows} == {one["fields"]["topic"] for one in records}
    for row in rows:
        of_topic = [one for one in records if one["fields"]["topic"] == row["topic"] and one["error"] is None]
        assert float(row["pass_rate"]) == pytest.approx(sum(one["score"] >= 1 for one in of_topic) / len(of_topic))


def test_errors_and_long_answers(written: tuple[Any, list[dict[str, Any]]]) -> None:
    database, records = written
    (row,) = query(database, ERRORS)
    assert row["rollouts"] == sum(one["error"] is not None for one in records)
    longest = query(database, LONGEST)
    assert len(longest) == 10
    assert longest[0]["score"] == max(one["score"] for one in records)
