"""What editors and type checkers see of the public surface. Checked by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import openai
from botocore.credentials import Credentials
from typing_extensions import assert_type

from bedrock_rft import (
    AsyncClient,
    Checkpoint,
    Client,
    Event,
    File,
    Hyperparameters,
    Identity,
    Job,
    JobFailedError,
    LambdaArn,
    Model,
    Response,
    SigV4Auth,
    TrainingMetrics,
    datasets,
)
from bedrock_rft.access import DeployedReward, Plan
from bedrock_rft.metrics import Comparison, Metrics, Sweep, Thresholds
from bedrock_rft.trackers import MLflow, TensorBoard
from bedrock_rft.types import FileDeleted

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"


def blocking(client: Client) -> None:
    assert_type(client.identity, Identity)
    assert_type(client.files.upload("train.jsonl", progress=print), File)
    assert_type(client.files.upload(b"{}"), File)
    assert_type(client.files.upload({"id": n} for n in range(3)), File)
    assert_type(client.files.upload("train.jsonl", validate=datasets.Limits(min_records=1), reuse=True), File)
    assert_type(datasets.validate("train.jsonl"), datasets.Report)
    assert_type(client.files.retrieve("f"), File)
    assert_type(client.files.list(purpose="fine-tune"), Iterator[File])
    assert_type(client.files.content("f", to="copy.jsonl"), bytes)
    assert_type(client.files.delete("f"), FileDeleted)

    file = client.files.retrieve("f")
    settings = Hyperparameters(n_epochs=1, batch_size=4, learning_rate_multiplier=0.5)
    job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=LambdaArn(ARN), hyperparameters=settings)
    assert_type(job, Job)
    assert_type(client.jobs.create("m", training_file="f", reward=ARN, hyperparameters={"n_epochs": 1}, name="a"), Job)
    assert_type(client.jobs.create(like=job, hyperparameters={"n_epochs": 2}), Job)
    assert_type(client.jobs.sweep("m", training_file="f", reward=ARN, name="s", grid={"n_epochs": [1, 2]}), Sweep)
    assert_type(client.jobs.best_checkpoint(job, by="reward"), Checkpoint)
    assert_type(client.jobs.find("a"), Job | None)
    assert_type(client.jobs.list(limit=10), Iterator[Job])
    assert_type(client.jobs.cancel(job), Job)
    assert_type(client.jobs.wait(job, timeout=60, on_event=print), Job)
    assert_type(client.jobs.follow(job, after="e"), Iterator[Event])
    assert_type(client.jobs.events(job), Iterator[Event])
    assert_type(client.jobs.watch(job, style="plain", trackers=[MLflow(), TensorBoard("runs")]), Job)
    assert_type(client.jobs.watch(job, reward_range=(-1, 1)), Job)
    assert_type(client.jobs.metrics(job).health(reward_range=None).verdict, str)
    assert_type(client.jobs.metrics(job), Metrics)
    assert_type(client.jobs.metrics(job).health(Thresholds(reward_low=0.1)).ok, bool)
    assert_type(client.jobs.metrics(job)[0], TrainingMetrics)
    assert_type(client.jobs.metrics(job)[-3:], Metrics)
    assert_type(client.jobs.compare(job, "ftjob-2"), Comparison)
    assert_type(client.jobs.checkpoints(job), Iterator[Checkpoint])
    reward = client.rewards.deploy("reward.py:lambda_handler", name="r", dataset="train.jsonl", timeout=60)
    assert_type(reward, DeployedReward)
    assert_type(client.rewards.plan(reward, name="r", tags={"team": "research"}), Plan)
    assert_type(client.rewards.plan_destroy(reward), Plan)
    client.jobs.create("m", training_file="f", reward=reward)
    assert_type(client.models.list(), Iterator[Model])
    assert_type(client.models.retrieve("m"), Model)
    assert_type(client.request("GET", "/models", query={"limit": 3}), Response)
    assert_type(client.openai, openai.OpenAI)
    assert_type(job.fine_tuned_model, str | None)
    assert_type(job.reward, LambdaArn | None)


async def asynchronous(client: AsyncClient) -> None:
    assert_type(await client.files.upload("train.jsonl"), File)
    assert_type(client.files.list(), AsyncIterator[File])
    job = await client.jobs.create("m", training_file="f", reward=ARN)
    assert_type(await client.jobs.create(like="j"), Job)
    assert_type(job, Job)
    assert_type(client.jobs.follow(job), AsyncIterator[Event])
    assert_type(await client.jobs.wait(job), Job)
    assert_type(await client.request("GET", "/models"), Response)
    assert_type(await client.rewards.deploy("reward.py:lambda_handler", name="r"), DeployedReward)
    assert_type(await client.rewards.plan("reward.py:lambda_handler", name="r"), Plan)
    assert_type(client.openai, openai.AsyncOpenAI)


def settings() -> None:
    Client("us-west-2", api_key="k")
    Client("us-west-2", api_key=lambda: "k")
    Client(credentials=Credentials("a", "b"), auth="aws", timeout=30, max_retries=5)

    async def key() -> str:
        return "k"

    AsyncClient("us-west-2", api_key=key)
    httpx.Client(auth=SigV4Auth("us-west-2", profile="dev"))


def refused(client: Client, anything: Any) -> None:
    client.jobs.wait("j", 5)  # type: ignore[call-arg] # pyright: ignore[reportCallIssue]
    client.jobs.create("m", training_file="f")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue]
    client.jobs.create("m", training_file=7, reward=ARN)  # type: ignore[call-overload] # pyright: ignore[reportCallIssue, reportArgumentType]
    Client(auth="basic")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    try:
        client.jobs.wait(anything)
    except JobFailedError as error:
        assert_type(error.job, Job)
