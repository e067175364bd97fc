"""Time and money in the command: `jobs get`, `jobs cost` and the estimate of a dry run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command import command
from support.live_runs import ARN, REWARD, records

from bedrock_rft import Client, datasets
from bedrock_rft.local import LocalService


@pytest.fixture
def job(service: LocalService) -> str:
    with Client(**service.client_options()) as client:
        file = client.files.upload(records())
        created = client.jobs.create(
            "openai.gpt-oss-20b", training_file=file, reward=ARN, hyperparameters={"batch_size": 50}
        )
        return client.jobs.wait(created, poll_interval=0.05).id


def test_a_job_is_shown_with_time_and_money(job: str) -> None:
    table = command("jobs", "get", job).out
    assert "elapsed" in table
    assert "money" in table
    assert "billing is not published" in " ".join(table.split())
    assert "money" not in json.loads(command("jobs", "get", job, "-o", "json").out)
    found = json.loads(command("jobs", "cost", job, "-o", "json").out)
    assert found["so_far"]["low"] <= found["so_far"]["high"]
    assert "not known" in command("jobs", "cost", job).out


def test_the_inventory_lists_and_deletes_nothing(job: str) -> None:
    found = json.loads(command("inventory", "-o", "json", "--no-functions").out)
    assert {each["kind"] for each in found["assets"]} == {"file", "job", "model", "checkpoint"}
    shown = command("inventory", "--no-functions").out
    assert job in shown
    assert "delete: bedrock-rft files delete " in shown


def test_a_record_repeats_a_job(job: str, service: LocalService, tmp_path: Path) -> None:
    card, page = tmp_path / "card.json", tmp_path / "card.md"
    assert command("jobs", "record", job, "--to", str(card)).code == 0
    assert command("jobs", "record", job, "--to", str(page), "--no-download").code == 0
    assert page.read_text("utf-8").startswith("# Run ")
    done = command("jobs", "create", "--from", str(card), "--batch-size", "100", "--new", "-o", "json")
    assert done.code == 0, done.err
    with Client(**service.client_options()) as client:
        first, second = client.jobs.retrieve(job), client.jobs.retrieve(json.loads(done.out)["id"])
    assert second.id != first.id
    assert (second.model, second.training_file, second.reward) == (first.model, first.training_file, first.reward)
    assert second.method is not None
    assert second.method.reinforcement is not None
    assert second.method.reinforcement.hyperparameters is not None
    assert second.method.reinforcement.hyperparameters.batch_size == 100
    both = command("jobs", "create", str(card), "--from", str(card))
    assert both.code == 2
    assert "exclude each other" in both.err


def test_a_dry_run_has_an_estimate(service: LocalService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.base_url
    monkeypatch.chdir(tmp_path)
    datasets.write("train.jsonl", records())
    arguments = ("--model", "openai.gpt-oss-20b", "--training-file", "train.jsonl", "--reward", REWARD, "--dry-run")
    found = json.loads(command("jobs", "create", *arguments, "-o", "json").out)
    assert found["estimate"]["steps"] == {"low": 22, "high": 25}
    assert found["estimate"]["missing"] == []
