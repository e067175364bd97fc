"""Trackers receive everything in order, never end a watch, and keep one run for each job."""

from __future__ import annotations

import asyncio
import hashlib
import io
import math
import os
import re
import struct
import sys
import warnings
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from support.live_runs import ARN, QUICK, events, records, started
from support.metric_curves import healthy, job

from bedrock_rft import AsyncClient, Client
from bedrock_rft.errors import BedrockRFTWarning, ConfigurationError, MissingExtraError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Thresholds
from bedrock_rft.metrics._live.state import Change, State
from bedrock_rft.trackers import MLflow, TensorBoard, Tracker, WeightsAndBiases
from bedrock_rft.trackers._delivery import Delivery
from bedrock_rft.types import Checkpoint, Job, TrainingMetrics

ROWS = healthy(steps=9)
for row in ROWS:
    row["odd $name.x"] = row["odd _name_x"] = math.nan if row["step"] == 4 else 1.5
NAMES = {name for name in ROWS[0] if name not in {"step", "total_steps"}}
ID = "ftjob-1:a/'b"


class Recorder:
    """Tracker that keeps its calls, and fails a number of times."""

    def __init__(self, failures: int = 0) -> None:
        self.calls: list[Any] = []
        self.failures = failures

    def _record(self, call: Any) -> None:
        if self.failures:
            self.failures -= 1
            raise OSError("down\x1b[2J, bedrock-api-key-c2VjcmV0c2VjcmV0")
        self.calls.append(call)

    def started(self, job: Job) -> None:
        self._record(("started", job.id))

    def step(self, metrics: TrainingMetrics, at: float | None) -> None:
        assert at is not None
        self._record(metrics.step)

    def checkpoint(self, checkpoint: Checkpoint) -> None:
        self._record(("checkpoint", checkpoint.step_number))

    def ended(self, job: Job) -> None:
        self._record(("ended", job.status))

    def close(self) -> None:
        self.calls.append("closed")


def changes(*sizes: int, end: bool = True) -> Iterator[Change]:
    """Return the changes of polls with these numbers of new steps."""
    state, at = State(), 0
    for size in sizes:
        last = end and at + size == len(ROWS)
        model = "ft:model" if last else None
        now = job(ID, status="succeeded" if last else "running", fine_tuned_model=model)
        saved = [Checkpoint(id="c", step_number=3, fine_tuned_model_checkpoint="ft:3")] if at + size >= 3 else []
        state, change = state.with_poll(now, events(ROWS[at : at + size]), saved, Thresholds())
        at += size
        yield change


def deliver(*trackers: Tracker, sizes: tuple[int, ...] = (4, 5), end: bool = True) -> None:
    """Deliver the changes of polls, as a watch does."""
    delivery = Delivery(trackers)
    for change in changes(*sizes, end=end):
        delivery.take(change)
    delivery.close()


EVERYTHING = [("started", ID), 1, 2, 3, 4, ("checkpoint", 3), 5, 6, 7, 8, 9, ("ended", "succeeded"), "closed"]


# Delivery


def test_a_tracker_receives_everything_in_order() -> None:
    recorder = Recorder()
    assert isinstance(recorder, Tracker)
    deliver(recorder)
    assert recorder.calls == EVERYTHING


@pytest.mark.parametrize("failures", [1, 2])
def test_failed_updates_are_repeated_in_order(failures: int) -> None:
    first, second = Recorder(failures), Recorder()
    with pytest.warns(BedrockRFTWarning, match="Recorder could not record an update") as caught:
        deliver(first, second, sizes=(2, 2, 5))
    assert len(caught) == 1
    assert "\x1b" not in str(caught[0].message)
    assert "c2VjcmV0" not in str(caught[0].message)
    assert sorted(map(str, first.calls)) == sorted(map(str, EVERYTHING))
    assert [one for one in first.calls if isinstance(one, int)] == list(range(1, 10))
    assert second.calls == EVERYTHING


def test_undelivered_updates_give_a_warning() -> None:
    with pytest.warns(BedrockRFTWarning) as caught:
        deliver(Recorder(99))
    assert re.search(r"did not receive 12 updates", str(caught[-1].message))


def test_a_failing_tracker_does_not_end_a_watch(tmp_path: Path) -> None:
    good, bad = Recorder(), Recorder(10_000)
    with Service(tmp_path, **QUICK) as service:
        name = started(service)
        with Client(transport=LocalTransport(service)) as client, pytest.warns(BedrockRFTWarning):
            ended = client.jobs.watch(name, style="none", trackers=[bad, good], poll_interval=0.01)

        async def again() -> Recorder:
            recorder = Recorder()
            async with AsyncClient(transport=LocalTransport(service, blocking=False)) as other:
                await other.jobs.watch(name, style="none", trackers=[recorder], poll_interval=0.01)
            return recorder

        second = asyncio.run(again())
    assert ended.status == "succeeded"
    assert [one for one in good.calls if isinstance(one, int)] == list(range(1, 26))
    assert good.calls[-2:] == [("ended", "succeeded"), "closed"]
    assert sorted(map(str, second.calls)) == sorted(map(str, good.calls))


def test_an_object_without_the_methods_is_refused(tmp_path: Path) -> None:
    with Service(tmp_path, **QUICK) as service, Client(transport=LocalTransport(service)) as client:
        file = client.files.upload(records())
        name = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=ARN).id
        with pytest.raises(ConfigurationError, match="StringIO is not a tracker: it needs the methods started"):
            client.jobs.watch(name, style="none", trackers=[io.StringIO()])  # type: ignore[list-item] # an invalid value


@pytest.mark.parametrize(
    ("tracker", "module", "extra"),
    [
        (MLflow(), "mlflow", "mlflow"),
        (WeightsAndBiases(), "wandb", "wandb"),
        (TensorBoard(), "tensorboardX", "tensorboard"),
    ],
)
def test_a_missing_library_names_its_command(
    tracker: Tracker, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'bedrock_rft[{extra}]'")):
        deliver(tracker)


# With the real libraries: one watch is interrupted, and others start again


def test_mlflow_keeps_one_run_with_each_step_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library's own
        mlflow: Any = pytest.importorskip("mlflow")
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = (tmp_path / "mlflow").as_uri()
        deliver(MLflow(uri, tags={"team": "a"}), sizes=(4,), end=False)
        client = mlflow.MlflowClient(tracking_uri=uri)
        experiment = client.get_experiment_by_name("bedrock_rft").experiment_id
        assert [run.info.status for run in client.search_runs([experiment])] == ["RUNNING"]
        deliver(MLflow(uri, tags={"team": "a"}))
        deliver(MLflow(uri), sizes=(9,))
        (run,) = client.search_runs([experiment])
        assert run.info.status == "FINISHED"
        assert run.info.run_name == ID
        assert run.data.tags["bedrock_rft.job"] == ID
        assert run.data.tags["team"] == "a"
        assert run.data.tags["bedrock_rft.checkpoint.3"] == "ft:3"
        assert run.data.tags["bedrock_rft.fine_tuned_model"] == "ft:model"
        assert run.data.params["learning_rate_multiplier"] == "1.0"
        changed = f"odd _name_x_{hashlib.sha256(b'odd $name.x').hexdigest()[:8]}"
        assert set(run.data.metrics) == NAMES - {"odd $name.x"} | {changed}
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            assert sorted(metric.step for metric in history) == list(range(1, 10)), name
        rewards = {metric.step: metric for metric in client.get_metric_history(run.info.run_id, "critic_rewards_mean")}
        assert [rewards[row["step"]].value for row in ROWS] == [row["critic_rewards_mean"] for row in ROWS]
        assert rewards[2].timestamp - rewards[1].timestamp == 10_000


def test_tensorboard_shows_each_step_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library's own
        module: Any = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        deliver(TensorBoard(tmp_path), sizes=(4,), end=False)
        deliver(TensorBoard(tmp_path))
        deliver(TensorBoard(tmp_path), sizes=(9,))
        (home,) = tmp_path.iterdir()
        assert home.name == "ftjob-1_a__b"
        assert len(list(home.iterdir())) == 3
        found = module.EventAccumulator(str(home)).Reload()
        changed = f"odd__name.x_{hashlib.sha256(b'odd $name.x').hexdigest()[:8]}"
        other = f"odd__name_x_{hashlib.sha256(b'odd _name_x').hexdigest()[:8]}"
        assert set(found.Tags()["scalars"]) == NAMES - {"odd $name.x", "odd _name_x"} | {changed, other}
        rewards = found.Scalars("critic_rewards_mean")
        assert [event.step for event in rewards] == list(range(1, 10))
        assert [event.value for event in rewards] == pytest.approx([row["critic_rewards_mean"] for row in ROWS])
        assert rewards[1].wall_time - rewards[0].wall_time == 10


@pytest.mark.skipif("TRY_WANDB" not in os.environ, reason="its service may not end on a busy machine; set TRY_WANDB=1")
def test_wandb_resumes_the_run_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library's own
        pytest.importorskip("wandb")
        monkeypatch.setenv("WANDB_SILENT", "true")
        tracker = WeightsAndBiases("arithmetic", mode="offline", dir=str(tmp_path))
        delivery = Delivery([tracker])
        parts = changes(4, 5)
        delivery.take(next(parts))
        tracker.step(TrainingMetrics.model_validate({"step": 2, "critic_rewards_mean": 99.0}), 0.0)  # known already
        tracker.step(
            TrainingMetrics.model_validate({"step": 4, "validation_reward": 0.5}), 0.0
        )  # more of the same step
        delivery.take(next(parts))
        delivery.close()
        (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
        kept = list(transactions(file.read_bytes()))
    run, *_ = [one.run for one in kept if one.WhichOneof("record_type") == "run"]  # some are written again
    assert (run.run_id, run.display_name, run.project) == ("ftjob-1-a--b", ID, "arithmetic")
    assert {item.key for item in run.config.update} >= {"learning_rate_multiplier", "reward", "model"}
    history = [
        {item.nested_key[0]: item.value_json for item in one.history.item} for one in kept if one.HasField("history")
    ]
    assert [int(row["_step"]) for row in history] == list(range(1, 10))
    assert [float(row["critic_rewards_mean"]) for row in history] == [row["critic_rewards_mean"] for row in ROWS]
    assert [row.get("validation_reward") for row in history] == [None] * 3 + ["0.5"] + [None] * 5
    assert math.isnan(float(history[3]["odd $name.x"].strip('"')))
    summary = {item.key: item.value_json for one in kept if one.HasField("summary") for item in one.summary.update}
    assert summary["status"] == '"succeeded"'


def transactions(raw: bytes) -> Iterator[Any]:
    """Return the records of an offline run: a log of blocks in the format of LevelDB, after a header of seven bytes."""
    protocol: Any = import_module("wandb.proto.wandb_internal_pb2")
    at, whole = 7, b""
    while at + 7 <= len(raw):
        left = 32_768 - at % 32_768
        if left < 7:
            at += left
            continue
        _, size, kind = struct.unpack_from("<IHB", raw, at)
        whole += raw[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in {1, 4}:  # a whole record, or the last part of one
            yield protocol.Record.FromString(whole)
            whole = b""
