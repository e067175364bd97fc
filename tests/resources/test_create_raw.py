"""`client.jobs.create_raw`: bodies for OpenAI's client, as safe as `create`; all that has no counterpart is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_client import ARN, MODEL
from support.fault_server import JOBS, Faults, carried_out, close

from bedrock_rft import AsyncClient, Client
from bedrock_rft.errors import ConfigurationError

GRADER: dict[str, Any] = {"type": "python", "source": "def grade(sample, item):\n    return 1.0"}
LAMBDA: dict[str, Any] = {"type": "lambda", "lambda": {"function": ARN}}


def body(grader: dict[str, Any] | None = None, /, **changes: Any) -> dict[str, Any]:
    settings = {"n_epochs": 2, "batch_size": "auto", "reasoning_effort": "default", "eval_interval": None}
    reinforcement = {"grader": grader or LAMBDA, "hyperparameters": settings}
    method = {"type": "reinforcement", "reinforcement": reinforcement}
    usual = {"model": MODEL, "training_file": "file-1", "validation_file": None, "seed": None, "method": method}
    return {**usual, "metadata": {"team": "a"}, **changes}


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


@pytest.fixture
def client(server: Faults) -> Iterator[Client]:
    with Client("us-west-2", api_key="key", base_url=server.base_url) as made:
        yield made


def sent(server: Faults) -> dict[str, Any]:
    fields: dict[str, Any] = server.sent("POST", JOBS)[-1].json()
    fields["metadata"].pop("bedrock_rft_marker")
    return fields


def test_the_body_is_sent_as_create_sends_it(server: Faults, client: Client) -> None:
    job = client.jobs.create_raw(body(), name="first")
    raw = sent(server)
    assert raw["method"]["reinforcement"] == {"grader": LAMBDA, "hyperparameters": {"n_epochs": 2}}
    client.jobs.create(
        MODEL, training_file="file-1", reward=ARN, hyperparameters={"n_epochs": 2}, metadata={"team": "a"}
    )
    assert raw == sent(server)
    assert client.jobs.create_raw(body(), name="first").id == job.id, "the name finds it"
    assert len(server.sent("POST", JOBS)) == 2


def test_a_reward_replaces_the_grader(server: Faults, client: Client) -> None:
    client.jobs.create_raw(body(GRADER), reward=ARN)
    assert sent(server)["method"]["reinforcement"]["grader"] == LAMBDA


def test_a_job_that_was_exported_is_a_body(server: Faults, client: Client) -> None:
    state: dict[str, Any] = {
        "id": "ftjob-1",
        "object": "fine_tuning.job",
        "seed": 42,
        "status": "succeeded",
        "result_files": [],
    }
    client.jobs.create_raw({**body(GRADER), **state}, reward=ARN)
    assert {"seed", "status", "id"}.isdisjoint(sent(server))
    own = {"team": "a", "bedrock_rft_marker": "the name of the first job"}
    job = client.jobs.create_raw({**body(), **state, "metadata": own})
    assert (job.metadata or {})["bedrock_rft_marker"] != own["bedrock_rft_marker"]
    assert sent(server)["metadata"] == {"team": "a"}


def test_a_job_with_a_lost_response_is_found(server: Faults, client: Client) -> None:
    server.script("POST", JOBS, [carried_out(close)])
    assert client.jobs.create_raw(body()).id == "ftjob-1"
    assert len(server.sent("POST", JOBS)) == 1


def test_async(server: Faults) -> None:
    async def run() -> str:
        async with AsyncClient("us-west-2", api_key="key", base_url=server.base_url) as client:
            return (await client.jobs.create_raw(body())).id

    assert asyncio.run(run()) == "ftjob-1"


def reinforced(**fields: Any) -> dict[str, Any]:
    return {"type": "reinforcement", "reinforcement": {"grader": LAMBDA, **fields}}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (body(suffix="mine", seed=42), ["suffix is not supported", "use name= or metadata", "seed is not supported"]),
        (body(integrations=[{"type": "wandb"}]), ["integrations is not supported", "trackers=["]),
        (body(hyperparameters={"n_epochs": 1}), ["move them to method.reinforcement.hyperparameters"]),
        (body(user="me"), ["user is not supported: the service rejects unknown fields"]),
        (body(model="o4-mini-2025-04-16"), ["'o4-mini-2025-04-16' is not on Bedrock; use one of openai.gpt-oss-20b"]),
        (body(model="ft:gpt-4o:org::id"), ["is not on Bedrock"]),
        (
            body(GRADER),
            [
                "the grader of type 'python' must be deployed as a Lambda function",
                "rewards.from_openai(body)",
                "reward=reward",
            ],
        ),
        (body({"type": "lambda", "lambda_arn": ARN}), ['{"type": "lambda", "lambda": {"function": ARN}}']),
        (body(method={"type": "supervised", "reinforcement": {"grader": LAMBDA}}), ["by reinforcement only"]),
        (body(method={"type": "reinforcement"}), ["method.reinforcement must be an object"]),
        (body(method=None), ["method must be an object"]),
        (body(model=None, training_file=""), ["model is missing", "training_file is missing"]),
        (body(method=reinforced(hyperparameters={"eval_samples": 4})), ["hyperparameters.eval_samples is not"]),
        (body(method=reinforced(hyperparameters={"n_epoch": 4})), ["did you mean 'n_epochs'"]),
        (body(method=reinforced(response_format={"type": "json_schema"})), ["response_format is not supported"]),
        ("body", ["body must be a mapping"]),
    ],
)
def test_everything_without_a_counterpart_is_named(
    server: Faults, client: Client, wrong: Any, words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        client.jobs.create_raw(wrong)
    assert [word for word in words if word not in str(raised.value)] == []
    assert not server.requests


def test_the_models_of_the_service_are_not_taken_for_those_of_openai(server: Faults, client: Client) -> None:
    client.jobs.create_raw(body(model="openai.gpt-oss-20b"))
    assert sent(server)["model"] == "openai.gpt-oss-20b"
