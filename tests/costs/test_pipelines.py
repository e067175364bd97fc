"""Submit, poll and collect work without local state, repeat safely, and follow the state machine of the example."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.live_runs import ARN, QUICK, records

from bedrock_rft import Client, pipelines
from bedrock_rft.errors import BedrockRFTError, ConfigurationError, NotFoundError
from bedrock_rft.local import LocalService, LocalTransport, Service

MODEL = "openai.gpt-oss-20b"
FOLDER = Path(__file__).parents[2] / "examples" / "pipeline"


@pytest.fixture
def client() -> Iterator[Client]:
    with Service(**QUICK) as service, Client(transport=LocalTransport(service)) as made:
        yield made


def event(client: Client, **changes: Any) -> dict[str, Any]:
    file = client.files.upload(records())
    fields = {"name": "run-1", "model": MODEL, "training_file": file.id, "reward": ARN, "ticket": 7}
    return fields | {"hyperparameters": {"batch_size": 50}} | changes


def test_a_job_goes_through_all_steps_and_each_can_be_repeated(client: Client) -> None:
    given = event(client)
    first, again = pipelines.submit(client, given), pipelines.submit(client, given)
    assert first["job"] == again["job"]
    assert first["ticket"] == 7
    assert len(list(client.jobs.list())) == 1
    client.jobs.wait(first["job"], poll_interval=0.02)
    state = pipelines.poll(client, first)
    assert (state["status"], state["done"], state["succeeded"], state["error"]) == ("succeeded", True, True, None)
    found = pipelines.collect(client, state | {"by": "reward"})
    assert found["record"]["request"]["training_file"] == given["training_file"]
    assert found["best_checkpoint"]["step"] == 2
    assert json.loads(json.dumps(found)) == found
    later = pipelines.collect(client, {"job": first["job"]})
    assert later["best_checkpoint"]["model"] is None
    assert "validation_file" in later["best_checkpoint"]["reason"]


def test_a_failed_job_is_done_and_not_succeeded(client: Client) -> None:
    state = pipelines.submit(client, event(client))
    client.jobs.cancel(state["job"])
    ended = pipelines.poll(client, state)
    assert (ended["done"], ended["succeeded"]) == (True, False)


@pytest.mark.parametrize("field", ["name", "model", "training_file", "reward"])
def test_a_missing_field_is_named(client: Client, field: str) -> None:
    with pytest.raises(ConfigurationError, match=field):
        pipelines.submit(client, event(client) | {field: None})
    assert list(client.jobs.list()) == []


def test_events_without_a_job_or_with_other_values_are_refused(client: Client) -> None:
    with pytest.raises(ConfigurationError, match="no 'job'"):
        pipelines.poll(client, {})
    with pytest.raises(NotFoundError):
        pipelines.collect(client, {"job": "none"})
    state = pipelines.submit(client, event(client))
    with pytest.raises(BedrockRFTError, match="not JSON"):
        pipelines.poll(client, state | {"when": time})


def handlers() -> Any:
    spec = importlib.util.spec_from_file_location("pipeline_handlers", FOLDER / "handlers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(machine: Mapping[str, Any], functions: Any, state: Any) -> tuple[str, Any]:
    """Interpret the state machine with its own choices, without its waiting times. Return the last state's name."""
    name = machine["StartAt"]
    for _ in range(500):
        step = machine["States"][name]
        if step["Type"] == "Task":
            state = json.loads(json.dumps(getattr(functions, step["Resource"].rpartition("rft-")[2])(state, None)))
            if step.get("End"):
                return name, state
            name = step["Next"]
        elif step["Type"] == "Choice":
            chosen = [one for one in step["Choices"] if state[one["Variable"][2:]] is one["BooleanEquals"]]
            name = chosen[0]["Next"] if chosen else step["Default"]
        elif step["Type"] == "Wait":
            time.sleep(0.05)
            name = step["Next"]
        else:
            return name, state
    raise AssertionError("the state machine does not end")


def test_the_state_machine_of_the_example(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = json.loads((FOLDER / "state_machine.json").read_text("utf-8"))
    with LocalService(**QUICK) as service:
        for name, value in service.environment("api_key").items():
            monkeypatch.setenv(name, value)
        with Client() as client:
            given = event(client)
        last, state = run(machine, handlers(), given)
        assert (last, state["succeeded"]) == ("Collect", True)
        assert state["fine_tuned_model"]
        with Client() as client:
            client.jobs.cancel(client.jobs.create(MODEL, training_file=given["training_file"], reward=ARN, name="off",
                                                  hyperparameters={"batch_size": 1}))  # fmt: skip
        with pytest.warns(Warning, match="is cancelled"):
            last, state = run(machine, handlers(), given | {"name": "off", "hyperparameters": {"batch_size": 1}})
        assert (last, state["status"]) == ("Failed", "cancelled")
