"""Sweeps start each configuration at most once, from any process; `create(like=…)`; the best checkpoint."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.live_runs import ARN, QUICK, records

from bedrock_rft import AmbiguousCreateError, AsyncClient, Client
from bedrock_rft._core.errors import BedrockRFTWarning
from bedrock_rft._core.statistics import Interval
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIConnectionError, ConfigurationError, RateLimitError
from bedrock_rft.evaluation import Evaluation, ModelResult
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Metrics, Sweep, Trial
from bedrock_rft.metrics._selection import rank_checkpoints
from bedrock_rft.types import Checkpoint, Event, File, Job

MODEL = "openai.gpt-oss-20b"
TWO = {"batch_size": [100], "learning_rate_multiplier": [0.5, 1.0]}
GRID = {"batch_size": [50, 100], "learning_rate_multiplier": [0.5, 1.0]}


class Counting(LocalTransport):
    """A transport that counts created jobs, and can lose responses, reject requests and hide metadata."""

    def __init__(self, service: Service, *, blocking: bool = True) -> None:
        super().__init__(service, blocking=blocking)
        self.created: list[str] = []
        self.lose_creations = 0
        self.unreachable = 0
        self.limit: int | None = None
        self.hide: set[str] = set()
        self.most = 0

    async def send(self, call: Request) -> Response:
        creates = (call.method, call.path) == ("POST", "/fine_tuning/jobs")
        if creates and self.limit is not None and len(self.created) >= self.limit:
            content = json.dumps({"error": {"message": "too many jobs", "code": "rate_limit_exceeded"}}).encode()
            return Response(429, {"retry-after": "0"}, content)
        if self.unreachable and call.method == "GET" and "/jobs/" in call.path:
            self.unreachable -= 1
            raise APIConnectionError("unplugged", sent=False)
        response = await super().send(call)
        if creates:
            self.created.append(json.loads(response.content)["metadata"]["bedrock_rft_marker"])
            if self.lose_creations:
                self.lose_creations -= 1
                raise APIConnectionError("lost", sent=True)
        if self.hide and call.method == "GET" and "/jobs" in call.path:
            data: dict[str, Any] = json.loads(response.content)
            listed: list[dict[str, Any]] = data.get("data", [data])
            for one in listed:
                stored: dict[str, str] = one.get("metadata") or {}
                if self.hide & set(stored.values()):
                    one.update(id="hidden", metadata={"other": "x"})
            return Response(response.status, response.headers, json.dumps(data).encode())
        return response

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.02))


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(**QUICK) as running:
        yield running


def opened(service: Service) -> tuple[Client, Counting, File]:
    transport = Counting(service)
    client = Client(transport=transport, max_retries=0)
    return client, transport, client.files.upload(records())


def run(client: Client, file: File, **changes: Any) -> Sweep:
    settings: dict[str, Any] = {"training_file": file, "reward": ARN, "name": "s", "grid": GRID, "poll_interval": 0.02}
    return client.jobs.sweep(MODEL, **(settings | changes))


# Sweeps


def test_a_sweep_runs_every_configuration_once(service: Service) -> None:
    client, transport, file = opened(service)
    states: list[Sweep] = []
    sweep = run(client, file, wait=True, concurrency=2, on_change=states.append)
    assert sweep.done
    assert [dict(trial.hyperparameters) for trial in sweep.trials] == [
        {"batch_size": size, "learning_rate_multiplier": rate} for size in (50, 100) for rate in (0.5, 1.0)
    ]
    assert {trial.status for trial in sweep.trials} == {"succeeded"}
    assert sorted(transport.created) == sorted({trial.name for trial in sweep.trials})
    assert max(sum(not job.is_terminal for job in state.jobs) for state in states) <= 2
    assert all(job.metadata and job.metadata["bedrock_rft_sweep"] == "s" for job in sweep.jobs)
    assert len(sweep.compare().runs) == 4
    assert sweep.best(by="reward").status == "succeeded"
    assert "4 of 4 ended" in str(sweep)
    assert all(len(line) <= 80 for line in str(sweep).splitlines())
    assert json.loads(sweep.to_json())["done"] is True


def test_a_repeated_sweep_creates_nothing_and_another_process_continues(service: Service) -> None:
    client, first, file = opened(service)
    started = run(client, file)
    assert [trial.status != "pending" for trial in started.trials] == [True, True, False, False]
    again, second, _ = opened(service)  # like another process: nothing is kept in memory
    ended = run(again, file, wait=True)
    repeated = run(again, file, wait=True)
    assert ended.done
    assert [job.id for job in repeated.jobs] == [job.id for job in ended.jobs]
    assert {job.id for job in started.jobs} < {job.id for job in ended.jobs}
    assert (len(first.created), len(second.created)) == (2, 2)
    assert len(list(again.jobs.list())) == 4


def test_looking_creates_nothing(service: Service) -> None:
    client, transport, file = opened(service)
    assert {trial.status for trial in run(client, file, start=False, wait=True).trials} == {"pending"}
    assert transport.created == []


def test_configurations_that_are_equal_are_one_job(service: Service) -> None:
    client, transport, file = opened(service)
    same = [{"learning_rate_multiplier": 1, "batch_size": 25}, {"batch_size": 25, "learning_rate_multiplier": 1.0}]
    sweep = run(client, file, grid=None, configurations=same, hyperparameters={"n_epochs": 1}, wait=True)
    assert len(sweep.trials) == len(transport.created) == 1
    assert sweep.trials[0].hyperparameters["n_epochs"] == 1


def test_a_lost_response_creates_no_second_job(service: Service) -> None:
    client, transport, file = opened(service)
    transport.lose_creations = 1
    sweep = run(client, file, grid=TWO, wait=True)  # found by its marker
    assert sweep.done
    assert len(transport.created) == len(set(transport.created)) == 2


def test_an_unclear_creation_is_never_repeated_by_this_client(service: Service) -> None:
    client, transport, file = opened(service)
    names = [trial.name for trial in run(client, file, start=False).trials]
    transport.lose_creations, transport.hide = 1, {names[0]}
    with pytest.raises(AmbiguousCreateError):
        run(client, file)
    state = run(client, file)
    assert state.trials[0].status == "unclear"
    assert transport.created.count(names[0]) == 1
    transport.hide = set()  # the list has caught up
    ended = run(client, file, wait=True)
    assert ended.done
    assert sorted(transport.created) == sorted(names)


def test_outages_of_a_status_are_tolerated(service: Service) -> None:
    client, transport, file = opened(service)
    started = run(client, file)
    transport.unreachable = 0
    calls = {"n": 0}

    def break_next(_: Sweep) -> None:
        calls["n"] += 1
        transport.unreachable = 1 if calls["n"] == 1 else 0

    with pytest.warns(BedrockRFTWarning, match="could not be read"):
        ended = run(client, file, wait=True, on_change=break_next)
    assert ended.done
    assert started.jobs[0].id in {job.id for job in ended.jobs}


def test_a_quota_holds_further_jobs_and_raises_if_nothing_runs(service: Service) -> None:
    client, transport, file = opened(service)
    transport.limit = 1
    held = run(client, file)
    assert [trial.status == "pending" for trial in held.trials] == [False, True, True, True]
    assert "accepts no further job at present" in str(held)
    transport.limit = 0
    client.jobs.wait(held.jobs[0], poll_interval=0.02)
    with pytest.raises(RateLimitError):
        run(client, file)


def test_a_limit_of_money_holds_further_jobs_and_cancels_none(service: Service) -> None:
    client, transport, file = opened(service)
    none = run(client, file, max_cost=0)
    assert transport.created == []
    assert "reach the limit of USD 0.00" in " ".join(str(none).split())
    sweep = run(client, file, grid=TWO, max_cost=1e6, wait=True)
    assert sweep.done
    assert sweep.spent is not None
    with pytest.raises(ConfigurationError, match="needs a price"):
        client.jobs.sweep("meta.llama", training_file=file, reward=ARN, name="x", grid={"n_epochs": [1]}, max_cost=5)


def test_a_job_with_a_derived_name_and_another_file_is_refused(service: Service) -> None:
    client, transport, file = opened(service)
    run(client, file, grid=TWO, wait=True)
    other = client.files.upload(records()[:-1] + records()[:1], filename="other.jsonl")
    with pytest.raises(ConfigurationError, match="training_file is"):
        run(client, other, grid=TWO)
    assert len(transport.created) == 2


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"grid": None}, "either grid"),
    ({"configurations": [{}]}, "either grid"),
    ({"grid": {}}, "to lists, such as"),
    ({"grid": {"batch_size": 4}}, "to lists, such as"),
    ({"grid": {"batch_size": []}}, "0 configurations"),
    ({"grid": {"epochs": [1]}}, "n_epochs"),
    ({"grid": {"batch_size": list(range(1, 30))}}, "max_jobs=29"),
    ({"name": "a b"}, "name must be"),
    ({"name": "a" * 118}, "at most 117"),
    ({"concurrency": 0}, "concurrency"),
    ({"max_cost": float("nan")}, "max_cost"),
    ({"poll_interval": 0}, "poll_interval"),
    ({"reward": "reward.py"}, "not a deployed function"),
    ({"metadata": {str(n): "x" for n in range(15)}}, "metadata has 16"),
]


def test_invalid_sweeps_are_refused_before_a_job(service: Service) -> None:
    client, transport, file = opened(service)
    for changes, message in REFUSED:
        with pytest.raises(ConfigurationError, match=message):
            run(client, file, **changes)
    assert transport.created == []


@pytest.mark.anyio
async def test_the_async_client_sweeps_too(service: Service) -> None:
    async with AsyncClient(transport=Counting(service, blocking=False)) as client:
        file = await client.files.upload(records())
        sweep = await client.jobs.sweep(
            MODEL, training_file=file, reward=ARN, name="s", grid={"batch_size": [25]}, wait=True, poll_interval=0.02
        )
    assert sweep.done


def metrics(values: dict[int, dict[str, float]], *, checkpoints: tuple[Checkpoint, ...] = (), **job: Any) -> Metrics:
    events = [
        Event.model_validate({"id": f"{s}", "type": "metrics", "data": {"step": s} | v}) for s, v in values.items()
    ]
    return Metrics.of(events, Job.model_validate({"id": "j", "model": MODEL, "status": "succeeded"} | job), checkpoints)


def evaluation(**scores: float) -> Evaluation:
    results = [
        ModelResult(model, model, 10, 0, Interval(v, v, v), Interval(v, v, v), {}, {}, 0, 0, 0.0, {})
        for model, v in scores.items()
    ]
    return Evaluation("e", (), models=tuple(results), dataset="test.jsonl")


def test_the_best_configuration_by_each_criterion() -> None:
    name, mean = "val_score_rewards_mean_1", "critic_rewards_mean"
    runs = [
        metrics({1: {name: 0.9}, 2: {name: 0.4, mean: 0.9}}, fine_tuned_model="a"),
        metrics({1: {name: 0.1}, 2: {name: 0.6, mean: 0.2}}, fine_tuned_model="b"),
    ]
    trials = [Trial(f"s-{n}", {"batch_size": n}, "succeeded", one) for n, one in enumerate(runs)]
    sweep = Sweep("s", (*trials, Trial("s-2", {}, "failed", runs[0])))
    assert sweep.best() is trials[1]
    assert sweep.best(by="reward") is trials[0]
    assert sweep.best(by=evaluation(a=0.5, b=0.7)) is trials[1]

    def second_only(one: Metrics) -> float | None:
        return 1.0 if one.job is runs[1].job else None

    assert sweep.best(by=second_only) is trials[1]
    with pytest.raises(ConfigurationError, match="has this score"):
        sweep.best(by=evaluation(other=1.0))
    with pytest.raises(ConfigurationError, match="by must be"):
        sweep.best(by="loss")
    with pytest.raises(ConfigurationError, match="has succeeded"):
        Sweep("s", (Trial("s-2", {}),)).best()


# Checkpoints


def saved(step: int | None, **extra: float) -> Checkpoint:
    model = f"m{step}"
    return Checkpoint.model_validate(
        {"id": f"c{step}", "step_number": step, "fine_tuned_model_checkpoint": model, "metrics": extra or None}
    )


def test_checkpoints_are_ranked_by_validation_reward_training_reward_or_an_evaluation() -> None:
    rows = {step: {"critic_rewards_mean": 0.05 * step, "response_length_mean": 9.0} for step in range(1, 21)}
    rows[4]["valid_critic_rewards_mean"], rows[12]["valid_critic_rewards_mean"] = 0.8, 0.6
    run = metrics(rows, checkpoints=(saved(None), saved(20), saved(10), saved(2)))
    ranked = rank_checkpoints(run, "validation")
    # Step 10 has the validation of step 4, step 20 that of step 12; step 2 has none.
    assert [(one.checkpoint.id, one.score, one.basis) for one in ranked] == [
        ("c10", 0.8, "validation reward at step 4"),
        ("c20", 0.6, "validation reward at step 12"),
    ]
    by_reward = rank_checkpoints(run, "reward")
    # Means of the ten steps up to 20 and 10, and of the two up to 2: 0.05 x 15.5, 5.5 and 1.5.
    assert [(one.checkpoint.id, round(one.score, 4)) for one in by_reward] == [
        ("c20", 0.775),
        ("c10", 0.275),
        ("c2", 0.075),
    ]
    by_evaluation = rank_checkpoints(run, evaluation(m2=0.3, m10=0.3, base=0.9))
    assert [one.checkpoint.id for one in by_evaluation] == ["c2", "c10"]  # of equal ones, the earlier


def test_metrics_of_a_checkpoint_count_before_those_of_events() -> None:
    run = metrics({1: {"val_reward": 0.9}}, checkpoints=(saved(1, val_reward=0.2), saved(2)))
    assert [(one.checkpoint.id, one.score) for one in rank_checkpoints(run, "validation")] == [("c2", 0.9), ("c1", 0.2)]


@pytest.mark.parametrize(
    ("by", "checkpoints", "message"),
    [
        ("validation", (), "has no checkpoints"),
        ("validation", (saved(1),), "no validation reward"),
        ("reward", (saved(None),), "no reward"),
        (evaluation(other=1.0), (saved(1),), "no checkpoint in this evaluation"),
    ],
)
def test_checkpoints_without_a_score_are_explained(by: Any, checkpoints: tuple[Checkpoint, ...], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rank_checkpoints(metrics({1: {"critic_rewards_mean": 0.1}}, checkpoints=checkpoints), by)


# create(like=…)


def test_a_job_like_another_with_one_change() -> None:
    larger: dict[str, Any] = {**QUICK, "group_size": 8}  # groups of two are too small for the reward to rise
    with Service(**larger) as service:
        client, transport, file = opened(service)
        held_out = client.files.upload(records(), filename="valid.jsonl")
        settings = {"n_epochs": 1, "batch_size": 20, "learning_rate_multiplier": 0.5}
        first = client.jobs.create(
            MODEL, training_file=file, validation_file=held_out, reward=ARN, hyperparameters=settings
        )
        first = client.jobs.wait(first, poll_interval=0.02)
        second = client.jobs.create(like=first, hyperparameters={"batch_size": 25}, name="second")
        third = client.jobs.create(like=first.id, validation_file=file)
        assert (second.model, second.training_file, second.validation_file) == (MODEL, file.id, held_out.id)
        assert second.reward == ARN
        assert reported(second) == settings | {"batch_size": 25}
        assert (third.validation_file, reported(third)) == (file.id, settings)
        assert len(transport.created) == 3
        assert client.jobs.create(like=first, hyperparameters={"batch_size": 25}, name="second").id == second.id
        best = client.jobs.best_checkpoint(first)
        assert best.id in {one.id for one in client.jobs.checkpoints(first)}
        assert client.jobs.rank_checkpoints(first, by="reward")[0].checkpoint.step_number == 5


def reported(job: Job) -> dict[str, Any]:
    assert job.method is not None
    assert job.method.reinforcement is not None
    assert job.method.reinforcement.hyperparameters is not None
    return {name: value for name, value in job.method.reinforcement.hyperparameters if value is not None}


def test_missing_arguments_are_named(service: Service) -> None:
    client, transport, _ = opened(service)
    anything: Any = client.jobs
    with pytest.raises(TypeError, match="'reward'"):
        anything.create(MODEL, training_file="f")
    with pytest.raises(TypeError, match="'model'"):
        anything.create(training_file="f", reward=ARN)
    assert transport.created == []
