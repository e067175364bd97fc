"""The record of a run has its hashes, settings, metrics and cost, names what is unknown, and repeats the run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.deploy_setup import build_package
from support.live_runs import ARN, QUICK, records

from bedrock_rft import Client, datasets
from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import RunRecord
from bedrock_rft.types import Job

MODEL = "openai.gpt-oss-20b"
SETTINGS = {"n_epochs": 1, "batch_size": 50, "learning_rate_multiplier": 0.5}


@pytest.fixture
def client() -> Iterator[Client]:
    with Service(**QUICK) as service, Client(transport=LocalTransport(service)) as made:
        yield made


def trained(client: Client, data: Any) -> Job:
    file = client.files.upload(data)
    job = client.jobs.create(
        MODEL, training_file=file, reward=ARN, hyperparameters=SETTINGS, name="first", metadata={"team": "a"}
    )
    return client.jobs.wait(job, poll_interval=0.02)


def test_a_record_has_everything_and_repeats_the_run(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    datasets.write(path, records())
    job = trained(client, path)
    reward = build_package()
    record = client.jobs.record(job, reward=reward)
    assert record.files["training"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (record.files["training"]["records"], record.files["training"]["verdict"]) == (100, "ok")
    assert record.reward == {"arn": ARN, "code_sha256": reward.code_sha256}
    assert (record.job["id"], record.job["status"], record.job["name"]) == (job.id, "succeeded", "first")
    assert (record.metrics["steps"], record.software["bedrock_rft"]) == (2, __version__)
    assert record.cost is not None
    assert record.cost["so_far"]["low"] <= record.cost["so_far"]["high"]
    assert record.unknown == ()
    assert record.service["note"].startswith("a rehearsal on the local service")
    assert "| mean reward of the first 2 steps |" in record.to_markdown()
    assert record.request["metadata"] == {"team": "a"}
    written = tmp_path / "card.json"
    record.to_json(written)
    loaded = RunRecord.load(written)
    assert json.loads(loaded.to_json()) == json.loads(record.to_json())
    again = client.jobs.create_raw(loaded.request, name="again")
    assert again.id != job.id
    assert (again.model, again.training_file, again.reward) == (MODEL, job.training_file, ARN)
    assert again.method == job.method


def test_unknown_parts_are_named(client: Client, tmp_path: Path) -> None:
    job = trained(client, records())
    other = tmp_path / "other.jsonl"
    datasets.write(other, records() + records())
    record = client.jobs.record(job, dataset=other)
    assert any("the given dataset has" in each for each in record.unknown)
    assert any("hash of the reward's package" in each for each in record.unknown)
    client.files.delete(job.training_file)
    lost = client.jobs.record(job, download=False)
    assert "sha256" not in lost.files["training"]
    assert any("it was not downloaded" in each for each in lost.unknown)
    assert "## Not recorded" in lost.to_markdown()


def test_text_of_the_service_adds_no_markup() -> None:
    hostile = "a|b\n## c <script> [x](y) `z`"
    record = RunRecord({"id": hostile}, {"model": hostile}, {}, {}, {}, None, None, {}, {}, (hostile,))
    card = record.to_markdown()
    assert "\n## c" not in card
    assert "<script>" not in card.replace("\\<", "")
    assert card.count("\n| model |") == 1


OTHERS = [
    *("{", "[]", "{}"),
    '{"bedrock_rft_record": 2, "request": {}}',
    '{"bedrock_rft_record": 1}',
    '{"bedrock_rft_record": 1, "request": {}, "other": 1}',
]


@pytest.mark.parametrize("text", OTHERS)
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=r"card\.json"):
        RunRecord.load(path)
