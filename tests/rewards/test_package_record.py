"""Packages of rewards that record rollouts."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import ConfigurationError
from bedrock_rft.rewards import Handler, Numeric, Package, RolloutLog, package
from bedrock_rft.rewards._runtime.recorded import recorded

KEY = "arn:aws:kms:us-west-2:123456789012:key/1234abcd"
FILE = """
from bedrock_rft.rewards import Handler, Numeric, RolloutLog

grade = Numeric()
records = Handler(grade, floor=-1.0, record=RolloutLog("s3://rollouts/own", include=("answer",), sample=0.5))

def other(event, context):
    return []
"""


def hide_digits(text: str) -> str:
    return "".join("#" if char.isdigit() else char for char in text)


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "grades.py").write_text(FILE, encoding="utf-8")
    return str(tmp_path / "grades.py")


def entry_point(made: Package) -> str:
    with zipfile.ZipFile(io.BytesIO(made.content)) as archive:
        return archive.read("lambda_function.py").decode()


def test_a_location_is_written_into_the_package_of_a_reward() -> None:
    made = package(Numeric(), record="s3://rollouts/run-1")
    assert made.record == RolloutLog("s3://rollouts/run-1")
    assert "record=RolloutLog(location='s3://rollouts/run-1'" in entry_point(made)
    assert "recorded in s3://rollouts/run-1" in str(made)


def test_all_settings_are_written_for_a_file_with_the_function_that_redacts(file: str) -> None:
    log = RolloutLog("s3://rollouts/run", redact=hide_digits, max_chars=50, kms_key=KEY)
    made = package(f"{file}:grade", record=log)
    assert made.record == RolloutLog("s3://rollouts/run", kms_key=KEY)
    assert "max_chars=50" in entry_point(made)
    assert ".hide_digits)" in entry_point(made)


def test_a_handler_in_a_file_records_as_it_says_unless_record_is_given(file: str) -> None:
    assert package(f"{file}:records").record == RolloutLog("s3://rollouts/own", include=("answer",), sample=0.5)
    replaced = package(f"{file}:records", record="s3://rollouts/other")
    assert replaced.record == RolloutLog("s3://rollouts/other")


def test_a_handler_keeps_its_own_recording() -> None:
    handler = Handler(Numeric(), record=RolloutLog("s3://rollouts/own", redact=[r"\d+"]))
    assert "redact=('\\\\d+',)" in entry_point(package(handler))


def test_without_a_recording_nothing_of_it_is_packaged(file: str) -> None:
    made = package(f"{file}:grade")
    assert made.record is None
    assert "RolloutLog" not in entry_point(made)


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("grades.py:grade", "s3://B", "record: location is 's3://B'"),
        ("grades.py:grade", "folder", "record is the folder folder, and files that a function writes in Lambda"),
        ("lambda_function.py:records", "s3://rollouts", "is the entry point itself"),
    ],
)
def test_a_recording_that_is_not_possible_is_an_error(tmp_path: Path, name: str, record: Any, reason: str) -> None:
    (tmp_path / name.partition(":")[0]).write_text(FILE, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=reason):
        package(str(tmp_path / name), record=record)


def score_nothing(_: object, __: object) -> list[object]:
    return []


def test_a_function_of_an_event_records_too(file: str) -> None:
    for function in (score_nothing, f"{file}:other"):
        made = package(function, record="s3://rollouts")
        assert made.record == RolloutLog("s3://rollouts")
        assert "lambda_handler = recorded(" in entry_point(made)


def test_a_recorded_function_returns_its_results_with_the_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(event: Any, _: Any) -> Any:
        return [{"id": one["id"], "aggregate_reward_score": 0.5} for one in event] if event else "nothing"

    event = [{"id": "a", "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]}]
    entry = recorded(score, RolloutLog(str(tmp_path)))
    assert entry(event) == score(event, None)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "reward")
    metric = {"name": "rollout_log_error", "value": 0.0, "type": "Metric"}
    assert entry(event) == [{"id": "a", "aggregate_reward_score": 0.5, "metrics_list": [metric]}]
    assert len(list(tmp_path.rglob("function=reward/*/*/*.jsonl.gz"))) == 1
    assert entry([]) == "nothing"
    results = [{"id": "a", "aggregate_reward_score": float("nan")}]

    def undefined(_event: Any, _context: Any) -> Any:
        return results

    assert recorded(undefined, RolloutLog(str(tmp_path)))(event) == results, (
        "JSON lines with NaN could not be read by other programs"
    )
    assert len(list(tmp_path.rglob("*.jsonl.gz"))) == 1
