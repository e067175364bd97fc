"""`bedrock-rft rollouts` shows and exports recorded rollouts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from support.command import command
from support.rollout_files import write_rollouts

from bedrock_rft import rollouts
from bedrock_rft.rehearsal import rehearse
from bedrock_rft.rewards import Exact


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("recorded")
    return folder, write_rollouts(folder, steps=7, groups=2, samples=2, behaviour="errors")


def test_show_is_readable_at_80_columns(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, written = recorded
    done = command("rollouts", "show", folder)
    assert (done.code, done.err) == (0, "There are more. --limit shows more.\n")
    lines = done.out.splitlines()
    assert max(map(len, lines)) <= 80
    heads = [line for line in lines if "  score " in line]
    assert len(heads) == 20, "by default"
    assert heads[0] == f"2026-11-28 14:03:22Z  score {written[0]['score']:g}  correct=0 format=1"
    assert "  prompt    system: Solve the problem. End with 'Answer: NUMBER'." in lines
    assert "  error     ValueError in reward.py, line 12" in lines
    assert command("rollouts", "show", folder, "--limit", 3).out.count("  score ") == 3


def test_long_texts_are_shortened_and_shown_completely_on_request(tmp_path: Path) -> None:
    text = "\x1b[31m" + "A word and a line.\n" * 30
    record = {"time": "2026-11-28T14:00:00.000000Z", "score": 1.0, "answer": text, "truncated": ["answer"]}
    (tmp_path / "one.jsonl").write_text(json.dumps(record))
    short = command("rollouts", "show", tmp_path).out
    assert "… 26 more lines (cut when it was recorded)" in short
    assert "\x1b" not in short
    assert command("rollouts", "show", tmp_path, "--full").out.count("A word and a line.") == 30


def test_a_rehearsal_is_named_once(tmp_path: Path) -> None:
    records = [{"messages": [{"role": "user", "content": f"{n}?"}], "reference_answer": str(n)} for n in range(8)]
    rehearse(records, Exact(), limit=8, record=tmp_path)
    shown = command("rollouts", "show", tmp_path, "--limit", 3).out
    assert shown.startswith("Note: the local service or a rehearsal, and not a model, gave these answers.\n")
    assert shown.count("rehearsal") == 1


def test_filters(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, written = recorded
    half, some_hash = "2026-11-28T14:30", written[0]["prompt_hash"]
    expected = {
        ("--errors",): [one for one in written if one["error"]],
        ("--min-score", 0.5, "--since", half): [one for one in written if one["score"] >= 0.5 and one["time"] > half],
        ("--max-score", 0, "--until", half): [one for one in written if one["score"] == 0 and one["time"] < half],
        ("--prompt", "APPLES"): [one for one in written if "apples" in one["prompt"]],
        ("--prompt", some_hash): [one for one in written if one["prompt_hash"] == some_hash],
    }
    for options, records in expected.items():
        assert 0 < len(records) < len(written), options
        assert command("rollouts", "show", folder, *options, "--limit", 100, "-o", "json").json == records
    ids = command("rollouts", "show", folder, "--errors", "-o", "quiet").out.split()
    assert ids == [one["rollout_id"] for one in expected["--errors",]][:20]


def test_no_rollouts_and_no_location(recorded: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    none = command("rollouts", "show", recorded[0], "--min-score", 7)
    assert (none.code, none.out, none.err) == (0, "", "There are no such rollouts.\n")
    missing = command("rollouts", "show", tmp_path / "missing")
    assert missing.code == 2
    assert "There is no folder or file" in missing.err
    assert command("rollouts", "show", recorded[0], "--since", "yesterday").code == 2
    assert "Use -o jsonl" in command("rollouts", "show", recorded[0], "--follow", "-o", "json").err


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "parquet"])
def test_export(recorded: tuple[Path, list[dict[str, Any]]], suffix: str, tmp_path: Path) -> None:
    folder, written = recorded
    out = tmp_path / f"out.{suffix}"
    done = command("rollouts", "export", folder, out, "--errors", "-o", "json")
    expected = [one for one in written if one["error"]]
    assert done.json == {"path": str(out), "rollouts": len(expected)}
    if suffix == "jsonl":
        assert [record.to_dict() for record in rollouts.read(out)] == expected
    elif suffix == "csv":
        rows = [*csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"), newline=""))]
        assert [(row["rollout_id"], json.loads(row["fields"])) for row in rows] == [
            (one["rollout_id"], one["fields"]) for one in expected
        ]
    else:
        import polars as pl

        assert pl.read_parquet(out)["rollout_id"].to_list() == [one["rollout_id"] for one in expected]
    assert command("rollouts", "export", folder, tmp_path / "out.txt").code == 2


def test_stats_report_and_write_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a path that is longer than a line is not broken
    write_rollouts(tmp_path / "recorded", steps=9, groups=12, samples=8, behaviour="length_hack")
    done = command("rollouts", "stats", "recorded", "--field", "level", "--out", "report.html")
    assert (done.code, done.err) == (0, "The report was written to report.html.\n")
    assert max(map(len, done.out.splitlines())) <= 80
    assert "longer answers get higher rewards" in " ".join(done.out.split())
    assert "level  rollouts" in done.out
    assert (tmp_path / "report.html").read_text("utf-8").startswith("<!doctype html>")
    found = command("rollouts", "stats", "recorded", "--since", "2026-11-28T15:00", "-o", "json").json
    assert found["rollouts"] == 3 * 96
    assert found["ok"] is True


def test_stats_of_a_reward_with_errors_end_with_3(
    recorded: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, written = recorded
    done = command("rollouts", "stats", folder, "-o", "quiet")
    assert (done.code, done.out) == (3, "reward_errors\n")
    long = [one | {"error": "ValueError:" + "no/space/" * 20} for one in written]
    (tmp_path / "some.jsonl").write_text("\n".join(map(json.dumps, long)))
    monkeypatch.chdir(tmp_path)  # a path that is longer than a line is not broken
    assert max(map(len, command("rollouts", "stats", "some.jsonl").out.splitlines())) <= 80
    wrong = command("rollouts", "stats", folder, "--out", "report.pdf")
    assert wrong.code == 2
    assert "must end with .html or .json" in wrong.err
