"""Sync and async classes have the same methods, parameters and docstrings."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from functools import cached_property
from typing import Any

import pytest

from bedrock_rft import AsyncClient, Client
from bedrock_rft._client.rewards import AsyncRewards, Rewards
from bedrock_rft._client.workflows import AsyncWorkflows, Workflows
from bedrock_rft._resources.base import AsyncResource, Resource, blocking, blocking_iter
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft._resources.models import AsyncModels, Models
from bedrock_rft._resources.monitoring import AsyncMonitoring, Monitoring
from bedrock_rft._transport.transport import run_sync

PAIRS = [
    (AsyncFiles, Files),
    (AsyncMonitoring, Monitoring),
    (AsyncJobs, Jobs),
    (AsyncModels, Models),
    (AsyncRewards, Rewards),
    (AsyncWorkflows, Workflows),
    (AsyncClient, Client),
]


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


@pytest.mark.parametrize(("source", "twin"), PAIRS)
def test_sync_and_async_classes_have_the_same_methods(source: type, twin: type) -> None:
    assert public(source).keys() == public(twin).keys()


@pytest.mark.parametrize(("source", "twin"), PAIRS)
def test_sync_and_async_methods_have_the_same_signature_and_docstring(source: type, twin: type) -> None:
    for name, method in public(source).items():
        other = public(twin)[name]
        if isinstance(method, (property, cached_property)):
            assert (method.__doc__ or "").replace("AsyncOpenAI", "OpenAI") == other.__doc__
            continue
        assert inspect.getdoc(method) == inspect.getdoc(other)
        assert inspect.getdoc(method), f"{source.__name__}.{name} has no docstring"
        ours, theirs = inspect.signature(method), inspect.signature(other)
        assert list(ours.parameters.values()) == list(theirs.parameters.values())
        assert str(theirs.return_annotation) == str(ours.return_annotation).replace("AsyncIterator", "Iterator")
        assert not inspect.iscoroutinefunction(other)
        assert not inspect.isasyncgenfunction(other)


def test_constructors_have_the_same_parameters() -> None:
    ours, theirs = (inspect.signature(kind.__init__).parameters for kind in (AsyncClient, Client))
    assert list(ours) == list(theirs)
    assert [p.default for p in ours.values()] == [p.default for p in theirs.values()]
    documented = inspect.getdoc(Client) or ""
    assert all(f"{name}:" in documented for name in theirs if name != "self")


def test_only_the_first_argument_is_positional() -> None:
    for source, _ in PAIRS:
        for name, method in public(source).items():
            if callable(method) and name != "request":
                kinds = [p.kind for p in inspect.signature(method).parameters.values()][1:]
                assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 1, f"{source.__name__}.{name}"


class Counting(AsyncResource):
    def __init__(self) -> None:
        self.closed = False

    async def one(self) -> int:
        """Return 1."""
        return 1

    async def sleepy(self) -> None:
        """Suspend."""
        await asyncio.sleep(0)

    async def count(self) -> AsyncIterator[int]:
        """Count up."""
        try:
            for number in range(3):
                yield number
        finally:
            self.closed = True


class Twin(Resource):
    one = blocking(Counting.one)
    sleepy = blocking(Counting.sleepy)
    count = blocking_iter(Counting.count)


def test_leaving_an_iteration_early_closes_its_source() -> None:
    source = Counting()
    numbers = Twin(source).count()
    assert next(numbers) == 0
    numbers.close()  # type: ignore[attr-defined] # annotated as Iterator, but a generator
    assert source.closed


def test_sync_clients_work_inside_a_running_event_loop() -> None:
    async def notebook() -> list[int]:
        return [Twin(Counting()).one(), *Twin(Counting()).count()]

    assert asyncio.run(notebook()) == [1, 0, 1, 2]


def test_a_transport_that_suspends_raises() -> None:
    with pytest.raises(RuntimeError, match="its transport is async"):
        Twin(Counting()).sleepy()
    with pytest.raises(ValueError, match="through"):
        run_sync(raising())


async def raising() -> None:
    raise ValueError("through")
