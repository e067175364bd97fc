"""The same behaviour in process, over HTTP with the OpenAI SDK, and over signed HTTP; sync and async."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Generator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import (
    AsyncClient,
    BadRequestError,
    Client,
    ConfigurationError,
    DatasetError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    WaitTimeoutError,
)
from bedrock_rft._transport.transport import maybe_await
from bedrock_rft.local import LocalService, LocalTransport, Service

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"
# In pairs: the ways to send requests and the kinds of clients do not depend on each other.
WAYS = [("in process", True), ("api_key", False), ("aws", True), ("in process", False)]


def records(count: int = 100) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} + {n}?"}], "reference_answer": str(n + n)}
        for n in range(count)
    ]


def reward(event: Any, context: Any) -> list[dict[str, Any]]:
    del context
    return [
        {
            "id": rollout["id"],
            "aggregate_reward_score": float(
                rollout["messages"][-1]["content"].strip(" .}").endswith(rollout["metadata"]["reference_answer"])
            ),
        }
        for rollout in event
    ]


def filenames(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def broken(event: Any, context: Any) -> None:
    del event, context


class AwaitableClient:
    """Wrapper with async methods for either client, so that each test runs with both."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self.client: Any = client

    def __getattr__(self, name: str) -> Any:
        return _Resource(getattr(self.client, name))

    async def request(self, *arguments: Any, **named: Any) -> Any:
        return await maybe_await(self.client.request(*arguments, **named))


class _Resource:
    def __init__(self, resource: Any) -> None:
        self._resource = resource

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._resource, name)

        async def call(*arguments: Any, **named: Any) -> Any:
            answer = method(*arguments, **named)
            if hasattr(answer, "__aiter__"):
                return [item async for item in answer]
            if hasattr(answer, "__next__"):
                return list(answer)
            return await maybe_await(answer)

        return call


@contextlib.contextmanager
def client_settings(way: str, *, blocking: bool, **options: Any) -> Generator[dict[str, Any], None, None]:
    options = {"reward": {"reward": reward, "broken": broken}, **options}
    if way == "in process":
        with Service(**options) as service:
            yield {"transport": LocalTransport(service, blocking=blocking)}
    else:
        with LocalService(**options) as server:
            yield server.client_options(auth="aws" if way == "aws" else "api_key")


@pytest.fixture(
    params=WAYS,
    ids=lambda p: f"{p[0]}-{'blocking' if p[1] else 'async'}",
)
async def rft(request: pytest.FixtureRequest) -> AsyncIterator[AwaitableClient]:
    way, blocking = request.param
    with client_settings(way, blocking=blocking) as settings:
        if blocking:
            with Client(**settings) as client:
                yield AwaitableClient(client)
        else:
            async with AsyncClient(**settings) as client:
                yield AwaitableClient(client)


pytestmark = pytest.mark.anyio


async def wait_until_finished(rft: AwaitableClient, **options: Any) -> Any:
    file = await rft.files.upload(records())
    job = await rft.jobs.create(MODEL, training_file=file, reward=ARN, **options)
    return await rft.jobs.wait(job, poll_interval=0.02)


async def test_a_job_runs_from_its_file_to_a_tuned_model(rft: AwaitableClient, tmp_path: Path) -> None:
    path = tmp_path / "treino ü 1.jsonl"
    size = path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records()))
    heard: list[tuple[int, int]] = []

    def progress(sent: int, total: int) -> None:
        heard.append((sent, total))

    file = await rft.files.upload(path, progress=progress)
    assert file.id.startswith("local-")
    assert file.filename == path.name
    assert file.bytes == size
    assert heard[-1] == (file.bytes, file.bytes)

    settings = {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1}
    job = await rft.jobs.create(MODEL, training_file=file, reward=ARN, hyperparameters=settings, metadata={"run": "a"})
    assert job.reward == ARN
    assert job.metadata["run"] == "a"
    events = await rft.jobs.follow(job, poll_interval=0.02)
    assert [event.id for event in events] == list(dict.fromkeys(event.id for event in events))
    assert [event.metrics.step for event in events if event.metrics] == list(range(1, 26))
    job = await rft.jobs.wait(job, poll_interval=0.02)
    assert job.status == "succeeded"
    assert job.finished_at >= job.created_at

    metrics = await rft.jobs.metrics(job)
    assert [m.step for m in metrics] == list(range(1, 26))
    rewards = [m.critic_rewards_mean for m in metrics]
    assert sum(rewards[-5:]) > sum(rewards[:5]) + 0.5
    checkpoints = await rft.jobs.checkpoints(job)
    assert {c.fine_tuning_job_id for c in checkpoints} == {job.id}
    assert max(c.step_number for c in checkpoints) == 25

    question: Any = {"model": job.fine_tuned_model, "messages": records()[3]["messages"], "temperature": 0}
    openai = rft.client.openai
    answer = await maybe_await(openai.chat.completions.create(**question))
    assert "6" in answer.choices[0].message.content
    streamed = await maybe_await(openai.chat.completions.create(**question, stream=True))
    chunks = [c async for c in streamed] if hasattr(streamed, "__aiter__") else list(streamed)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == answer.choices[0].message.content


async def test_events_resume_after_a_given_event(rft: AwaitableClient) -> None:
    job = await wait_until_finished(rft)
    every = await rft.jobs.follow(job, poll_interval=0.02)
    rest = await rft.jobs.follow(job, after=every[9].id, poll_interval=0.02)
    assert [event.id for event in rest] == [event.id for event in every[10:]]
    newest_first = await rft.jobs.events(job, limit=7)
    assert [event.id for event in newest_first] == [event.id for event in reversed(every)]


async def test_files_are_uploaded_listed_read_and_deleted(rft: AwaitableClient, tmp_path: Path) -> None:
    content = b"".join(json.dumps(record).encode() + b"\n" for record in records(3))
    file = await rft.files.upload(content, filename="three.jsonl", validate=False)
    assert (await rft.files.retrieve(file.id)).filename == "three.jsonl"
    assert await rft.files.content(file) == content
    target = tmp_path / "copy.jsonl"
    assert await rft.files.content(file, to=target) == b""
    assert target.read_bytes() == content
    assert filenames(tmp_path) == [target.name]
    others = [(await rft.files.upload(content, filename=f"{n}.jsonl", validate=False)).id for n in range(4)]
    listed = [f.id for f in await rft.files.list(limit=2, purpose="fine-tune")]
    assert sorted(listed) == sorted([file.id, *others])
    assert (await rft.files.delete(file)).deleted
    for gone in (rft.files.retrieve, rft.files.delete, rft.files.content):
        with pytest.raises(NotFoundError, match=file.id):
            await gone(file)
    with pytest.raises(NotFoundError):
        await rft.files.content(file, to=tmp_path / "none.jsonl")
    assert filenames(tmp_path) == [target.name]


async def test_a_name_finds_its_existing_job(rft: AwaitableClient) -> None:
    file = await rft.files.upload(records())
    first = await rft.jobs.create(MODEL, training_file=file, reward=ARN, name="run-1")
    again = await rft.files.upload(records(), reuse=True)
    second = await rft.jobs.create(MODEL, training_file=again, reward=ARN, name="run-1")
    assert second.id == first.id
    assert (await rft.jobs.find("run-1")).id == first.id
    assert await rft.jobs.find("run-2") is None
    assert len(await rft.jobs.list()) == 1
    with pytest.raises(ConfigurationError, match="belongs to job"):
        await rft.jobs.create("qwen.qwen3-32b", training_file=file, reward=ARN, name="run-1")
    other = await rft.jobs.create(MODEL, training_file=file, reward=ARN)
    assert sorted(job.id for job in await rft.jobs.list(limit=1)) == sorted([first.id, other.id])


async def test_a_name_with_another_validation_file_raises(rft: AwaitableClient) -> None:
    file, more = await rft.files.upload(records()), await rft.files.upload(records(101))
    for name, before, after in (("added", None, more), ("removed", more, None), ("other", more, file)):
        request = {"training_file": file, "reward": ARN, "name": name}
        first = await rft.jobs.create(MODEL, **request, validation_file=before)
        assert (await rft.jobs.create(MODEL, **request, validation_file=before)).id == first.id
        with pytest.raises(ConfigurationError, match=r"validation_file is .* in that job and .* in this call"):
            await rft.jobs.create(MODEL, **request, validation_file=after)


async def test_a_failed_job_has_a_reason(rft: AwaitableClient) -> None:
    few = await rft.files.upload(records(5), validate=False)
    with pytest.raises(JobFailedError, match=r"5.*100") as failed:
        await rft.jobs.wait(await rft.jobs.create(MODEL, training_file=few, reward=ARN), poll_interval=0.02)
    assert failed.value.job.error is not None
    assert failed.value.job.error.param == "training_file"
    file = await rft.files.upload(records())
    job = await rft.jobs.create(MODEL, training_file=file, reward=ARN.replace("reward", "broken"))
    job = await rft.jobs.wait(job, poll_interval=0.02, raise_on_failure=False)
    assert "None" in job.error.message


async def test_bad_input_is_refused_before_any_request(rft: AwaitableClient) -> None:
    for arguments in (
        {"reward": "arn:aws:lambda:us-east-1:123456789012:function:r"},
        {"reward": "reward"},
        {"hyperparameters": {"epochs": 1}},
        {"hyperparameters": {"n_epochs": 0}},
        {"training_file": ""},
        {"training_file": None},
        {"name": "two words"},
        {"metadata": {"a": 1}},
        {"metadata": {str(n): "" for n in range(16)}},
        {"metadata": {"bedrock_rft_marker": "mine"}},
    ):
        with pytest.raises(ConfigurationError):
            await rft.jobs.create(MODEL, **{"training_file": "f", "reward": ARN, **arguments})
    with pytest.raises(ConfigurationError):
        await rft.jobs.list(limit=0)
    for data in ("", "/nowhere.jsonl", b"", [], [{"x": float("nan")}], {"a": 1}, None):
        with pytest.raises((ConfigurationError, DatasetError)):
            await rft.files.upload(data)
    with pytest.raises(ConfigurationError):
        await rft.jobs.wait("id", timeout=-1)
    assert await rft.jobs.list() == []
    assert await rft.files.list() == []


async def test_errors_of_the_service_are_raised(rft: AwaitableClient) -> None:
    with pytest.raises(BadRequestError, match="no-such-file") as refused:
        await rft.jobs.create(MODEL, training_file="no-such-file", reward=ARN)
    assert refused.value.param == "training_file"
    assert refused.value.request_id
    for odd in ("none", "../../etc/passwd", "a/b?c#d", "%2e%2e"):
        with pytest.raises(NotFoundError):
            await rft.jobs.retrieve(odd)
    with pytest.raises(NotFoundError, match="wrong path"):
        await rft.request("GET", "/uploads")


async def test_raw_requests_return_responses(rft: AwaitableClient) -> None:
    reply = await rft.request("get", "/models", query={"a": "b c", "none": None, "flag": True})
    assert reply.status == 200
    assert {model["id"] for model in reply.json()["data"]} == {m.id for m in await rft.models.list()}
    assert (await rft.models.retrieve(MODEL)).id == MODEL
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
    assert (await rft.request("POST", "/chat/completions", json=body)).json()["choices"]
    for method, path in (("TRACE", "/models"), ("GET", "models"), ("GET", "//evil"), ("GET", "/../x"), ("GET", "/a?b")):
        with pytest.raises(ConfigurationError):
            await rft.request(method, path)


@pytest.mark.parametrize(("way", "blocking"), WAYS)
async def test_waiting_times_out_and_the_job_can_be_cancelled(way: str, *, blocking: bool) -> None:
    with client_settings(way, blocking=blocking, pace=0.5) as settings:
        rft = AwaitableClient(Client(**settings) if blocking else AsyncClient(**settings))
        job = await rft.jobs.create(MODEL, training_file=await rft.files.upload(records()), reward=ARN)
        with pytest.raises(WaitTimeoutError, match="was not cancelled") as late:
            await rft.jobs.wait(job, timeout=0.3, poll_interval=0.05)
        assert not late.value.job.is_terminal
        assert isinstance(late.value, TimeoutError)
        await rft.jobs.cancel(job)
        with pytest.raises(JobCancelledError, match="cannot be resumed"):
            await rft.jobs.wait(job, poll_interval=0.05)
        assert (await rft.jobs.cancel(job)).status == "cancelled"
        await maybe_await(rft.client.close())
