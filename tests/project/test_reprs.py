"""The repr of every public object is one short line, however much it holds, and every report can be written as JSON."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import Client
from bedrock_rft.datasets import validate
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Metrics, compare
from bedrock_rft.types import Checkpoint, Event, Job, Page
from bedrock_rft.types._payload import Payload

PACKAGES = (
    *("access", "costs", "datasets", "evaluation", "local", "metrics"),
    *("rehearsal", "rewards", "rollouts", "trackers", "types"),
)
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
LONG = "long text " * 500
MAX_CHARS = 200
_SHORT = ("code", "runtime", "architecture")  # fields with a few known values


def public_classes() -> dict[str, type[Any]]:
    modules = ["bedrock_rft", "bedrock_rft.errors", *(f"bedrock_rft.{name}" for name in PACKAGES)]
    named = {f"{module}.{name}": getattr(import_module(module), name) for module in modules for name in _names(module)}
    return {name: value for name, value in named.items() if inspect.isclass(value) and typing.get_origin(value) is None}


def _names(module: str) -> list[str]:
    return list(import_module(module).__all__)


# Metrics and the report of a dataset are tested below with real ones. The repr of a ready-made reward is the Python
# code that creates it, however long.
_OTHERS = ("metrics.Metrics", "datasets.Report", *(f"rewards.{name}" for name in _names("bedrock_rft.rewards")))
DATACLASSES = {
    name: value
    for name, value in public_classes().items()
    if dataclasses.is_dataclass(value)
    if not name.endswith(_OTHERS) or name.endswith((".Rollout", ".Score", ".Package", ".PackagedFile", ".Report"))
    if name != "bedrock_rft.datasets.Report"
}


@pytest.mark.parametrize("name", sorted(DATACLASSES))
def test_the_repr_of_a_large_value_is_short(name: str) -> None:
    shown = repr(filled(DATACLASSES[name]))
    assert len(shown) <= MAX_CHARS, shown
    assert "\n" not in shown
    assert DATACLASSES[name].__name__ in shown


def filled(kind: type[Any]) -> Any:
    """Return an instance whose fields hold much of whatever their types allow, made without its checks."""
    value = object.__new__(kind)
    for field in dataclasses.fields(kind):
        object.__setattr__(value, field.name, field.name if field.name in _SHORT else _much(str(field.type)))
    return value


def _much(annotation: str) -> Any:
    kind = annotation.split("[", maxsplit=1)[0].split(" |", maxsplit=1)[0].rpartition(".")[2]
    many: dict[str, Any] = {
        "str": LONG,
        "LambdaArn": LONG,
        "Literal": "error",
        "Severity": "error",
        "Action": "create",
        "Verdict": "undecided",
        "int": 10**15,
        "float": 0.1234567890123456,
        "bool": True,
        "bytes": LONG.encode(),
        "Path": Path(LONG[:200].replace(" ", "/")),
        "Mapping": {f"{LONG[:30]} {number}": 0.12345678901234 for number in range(100)},
        "Any": {"text": LONG},
    }
    return many.get(
        kind, () if kind == "tuple" and "Finding" in annotation else ({"role": "assistant", "content": LONG},) * 100
    )


PAYLOADS = {name: value for name, value in public_classes().items() if issubclass(value, Payload)}


@pytest.mark.parametrize("name", sorted(PAYLOADS))
def test_the_repr_of_a_large_payload_is_short(name: str) -> None:
    payload = PAYLOADS[name]
    values: dict[str, Any] = dict.fromkeys(payload.model_fields, LONG)
    shown = repr(payload.model_construct(**values))
    assert len(shown) <= MAX_CHARS
    assert "\n" not in shown


def test_the_repr_of_a_list_of_objects_is_readable() -> None:
    jobs = [Job(id=f"ftjob-{number}", status="running", model="openai.gpt-oss-20b") for number in range(2)]
    assert repr(jobs) == (
        "[Job(id='ftjob-0', status='running', model='openai.gpt-oss-20b'), "
        "Job(id='ftjob-1', status='running', model='openai.gpt-oss-20b')]"
    )
    assert repr(Page[Job](data=tuple(jobs))) == "Page[Job](data=[2], has_more=False)"


def test_the_repr_of_clients_resources_and_lists_is_short_without_secrets(tmp_path: Path) -> None:
    with Client("us-west-2", api_key=SECRET) as client:
        shown = [repr(each) for each in (client, client.files, client.jobs, client.models, client.rewards)]
        shown.append(repr(client.identity))
    with Service(tmp_path) as service, Client(transport=LocalTransport(service)) as local:
        files = local.files.list()
        assert repr(files) == "<Files.list(): iterate, or use list(…)>"
        shown += [repr(each) for each in (service, local, files, local.jobs.list(), local.models.list())]
    for each in shown:
        assert len(each) <= MAX_CHARS
        assert "\n" not in each
        assert SECRET not in each


def metrics() -> Metrics:
    values = [{"step": step, "critic_rewards_mean": 0.5, "actor_grad_norm": float("nan")} for step in range(1, 200)]
    events = [Event.model_validate({"id": f"e{row['step']}", "type": "metrics", "data": row}) for row in values]
    return Metrics.of(events, Job(id="ftjob-1", model="m"), [Checkpoint(id="c", step_number=3)])


def dataset() -> Any:
    return validate(
        [{"messages": [{"role": "user", "content": LONG}], "reference_answer": str(row)} for row in range(99)]
    )


REPORTS: Mapping[str, Callable[[], Any]] = {
    "Metrics": metrics,
    "Comparison": lambda: compare(metrics(), metrics()),
    "datasets.Report": dataset,
    "health": lambda: metrics().health(),
}


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_a_report_of_metrics_can_be_written_as_json(name: str, tmp_path: Path) -> None:
    report = REPORTS[name]()
    text = report.to_json(tmp_path / "report.json")
    assert (tmp_path / "report.json").read_text("utf-8") == text
    assert json.loads(text, parse_constant=pytest.fail)
    assert len(repr(report)) <= MAX_CHARS


def test_the_json_of_metrics_has_job_steps_and_checkpoints() -> None:
    found = json.loads(metrics().to_json())
    assert (found["job"]["id"], len(found["steps"]), found["checkpoints"][0]["step_number"]) == ("ftjob-1", 199, 3)
    assert found["steps"][0]["critic_rewards_mean"] == 0.5
    both = json.loads(compare(metrics(), metrics(), labels=["a", "b"]).to_json())
    assert [(run["label"], len(run["steps"])) for run in both["runs"]] == [("a", 199), ("b", 199)]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, value in public_classes().items()
        if hasattr(value, "_repr_html_") and "DeployedReward" not in name
    ],
)
def test_every_report_has_json(name: str) -> None:
    assert callable(public_classes()[name].to_json)
