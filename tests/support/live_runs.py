"""Jobs on the local service, and events made from steps, for tests of live views and trackers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from bedrock_rft import Client
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.rewards import Exact
from bedrock_rft.types import Event

EXAMPLES = Path(__file__).parents[2] / "examples"
REWARD = f"{EXAMPLES / 'reward.py'}:lambda_handler"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
NOW = 1_771_443_218


def _in_process(handler: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a handler that runs in this process, because a closure cannot be packaged."""

    def handle(event: Any, context: Any) -> Any:
        return handler(event, context)

    return handle


QUICK: dict[str, Any] = {"reward": _in_process(Exact().handler), "group_size": 2, "invocation_size": 100}
"""Settings of a service that trains fast."""


def events(steps: list[dict[str, Any]], **fields: Any) -> list[Event]:
    return [
        Event.model_validate(
            {"id": f"e{step['step']}", "type": "metrics", "created_at": NOW + 10 * step["step"], "data": step, **fields}
        )
        for step in steps
    ]


def id_of_the_service(kind: str) -> str:
    """Return an id like those of the service, without the beginning that marks ids of the local service."""
    return f"{kind}-{uuid4().hex}"


def records() -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"{n} + {n}?"}], "reference_answer": f"#### {2 * n}"}
        for n in range(100)
    ]


def started(service: Service) -> str:
    with Client(transport=LocalTransport(service)) as client:
        file = client.files.upload(records())
        settings = {"batch_size": 4}
        return client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=ARN, hyperparameters=settings).id
