"""Rollouts that `score`, `evaluate`, `rehearse` and the local service record."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from support.lambda_server import ARN, FakeLambda

from bedrock_rft import BedrockRFTWarning, Client, ConfigurationError, rollouts
from bedrock_rft.local import LocalService
from bedrock_rft.rehearsal import rehearse
from bedrock_rft.rewards import Handler, Numeric, Rollout, RolloutLog, Score, reward, score

MODEL = "openai.gpt-oss-20b"


@reward
def right(rollout: Rollout) -> Score:
    if rollout.answer == "raise":
        raise ValueError(rollout.answer)
    return Score(float(rollout.answer == str(rollout.reference)), {"exact": 0.5}, {"tokens": 3.0})


def records(count: int) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"{n} + {n}?"}], "reference_answer": str(2 * n), "level": n}
        for n in range(count)
    ]


def rows(count: int) -> Iterator[dict[str, Any]]:
    yield from ({**one, "answer": str(n)} for n, one in enumerate(records(count)))


def read(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.rglob("*.jsonl.gz"))
    return [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_score_records_each_batch_with_the_ids_of_the_rows(tmp_path: Path) -> None:
    scored = list(score(right, [*rows(5), {**next(rows(1)), "answer": "raise"}], batch_size=4, record=tmp_path))
    found = read(tmp_path)
    assert len([*tmp_path.rglob("*.gz")]) == 2
    assert {(one["rollout_id"], one["score"]) for one in found} == {(one.id, one.score) for one in scored}
    first = next(one for one in found if one["rollout_id"] == scored[0].id)
    parts = {"right/exact": 0.5, "right": 1.0}
    assert (first["source"], first["function"], first["prompt"], first["answer"]) == ("score", "right", "0 + 0?", "0")
    assert (first["parts"], first["metrics"], first["error"]) == (parts, {"tokens": 3.0}, None)
    assert (first["model"], first["package_hash"], first["function_version"]) == (None, None, None)
    assert all(0 < one["duration"] < 1 for one in found)
    assert first["request_id"].startswith("score-")
    (failed,) = (one for one in found if one["answer"] == "raise")
    assert failed["error"] == "the reward function could not score it and gave its floor"
    assert next(tmp_path.glob("function=*")).name == "function=right"


def test_score_records_in_other_processes(tmp_path: Path) -> None:
    context = get_context("spawn" if sys.platform == "win32" else "fork")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        log = RolloutLog(str(tmp_path), include=("answer",), redact=[r"\d"])
        list(score(Numeric(), rows(3), executor=pool, record=log))
    assert [(one["prompt"], one["answer"]) for one in read(tmp_path)] == [(None, "[redacted]")] * 3


def test_score_records_a_deployed_reward_under_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeLambda(right.handler) as fake:
        for name, value in (("ENDPOINT_URL_LAMBDA", fake.url), ("ACCESS_KEY_ID", "A"), ("SECRET_ACCESS_KEY", "s")):
            monkeypatch.setenv(f"AWS_{name}", value)
        list(score(ARN, rows(2), record=tmp_path))
    assert {one["function"] for one in read(tmp_path)} == {"reward"}


def test_a_folder_that_cannot_be_used_is_found_before_the_first_score(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="record: cannot use"):
        score(right, rows(1), record=tmp_path / "file")
    with pytest.raises(ConfigurationError, match="record: location is 's3://B'"):
        score(right, rows(1), record="s3://B")
    with pytest.raises(ConfigurationError, match="record has the type int"):
        score(right, rows(1), record=1)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def _fail(text: str) -> str:
    raise RuntimeError(text)


def test_a_recording_that_fails_is_a_warning_and_changes_no_score(tmp_path: Path) -> None:
    log = RolloutLog(str(tmp_path), redact=_fail)
    with pytest.warns(BedrockRFTWarning, match="could not be recorded in .*: RuntimeError$"):
        assert [one.score for one in score(right, rows(2), record=log)] == [1.0, 0.0]
    assert not read(tmp_path)


def test_a_handler_records_in_lambda_only(tmp_path: Path) -> None:
    handler = Handler(right, record=RolloutLog(str(tmp_path)))
    assert [one.score for one in score(handler, rows(2))] == [1.0, 0.0]
    assert not read(tmp_path)


def test_an_evaluation_and_a_job_on_the_local_service_record(tmp_path: Path) -> None:
    jobs, answers = tmp_path / "jobs", tmp_path / "answers"
    with (
        LocalService(reward=right, minimum_records=8, record=jobs) as service,
        Client(**service.client_options("api_key")) as client,
    ):
        report = client.evaluate(records(4), models=[MODEL], reward=right, samples=2, progress=False, record=answers)
        job = client.jobs.create(
            MODEL,
            training_file=client.files.upload(records(8), validate=False),
            reward=ARN,
            hyperparameters={"batch_size": 4, "n_epochs": 1},
        )
        assert client.jobs.wait(job, poll_interval=0.05).status == "succeeded"
    found = read(answers)
    assert len(found) == len({one["rollout_id"] for one in found}) == 8
    assert len({one["prompt_hash"] for one in found}) == 4
    assert sum(one["score"] for one in found) / 8 == pytest.approx(report.models[0].score.value)
    assert {(one["source"], one["model"]) for one in found} == {("evaluation", MODEL)}
    assert all(0 < one["duration"] < 1 for one in found)
    for table in (report.difficulty(), rollouts.read(answers).difficulty(), rollouts.read(jobs).difficulty()):
        assert table.local_service
        assert "which know the references" in " ".join(str(table).split())
    trained = read(jobs)
    assert {(one["source"], one["request_id"][:6]) for one in trained} == {("local_service", "local-")}
    assert all(0 < one["duration"] < 1 for one in trained)
    assert {one["prompt"] for one in trained} == {one["messages"][0]["content"] for one in records(8)}


def test_a_rehearsal_records(tmp_path: Path) -> None:
    rehearse(records(8), right, hyperparameters={"batch_size": 4}, record=tmp_path)
    found = read(tmp_path)
    assert {(one["source"], one["function"]) for one in found} == {("rehearsal", "right")}
    assert all(0 < one["duration"] < 1 for one in found)
    assert len(found) >= 8 * 8
