"""The inventory lists everything with its cost, deletes nothing, and names what it could not list."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.aws_gate import Here
from support.deploy_setup import build_package
from support.fake_secrets import ACCESS_KEY, SECRET
from support.live_runs import ARN, QUICK, id_of_the_service, records

from bedrock_rft import Client
from bedrock_rft.costs import Asset, Inventory, Range
from bedrock_rft.local import LocalTransport, Service

MODEL = "openai.gpt-oss-20b"
DEPLOYED = "arn:aws:lambda:us-west-2:123456789012:function:sums"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    # Nothing on the local service is billed, so these ids are like those of the service.
    monkeypatch.setattr("bedrock_rft.local._service.routes.new_id", id_of_the_service)
    with Service(**QUICK) as service, Client(transport=LocalTransport(service)) as made:
        yield made


def trained(client: Client, reward: str = ARN) -> Any:
    file = client.files.upload(records())
    job = client.jobs.create(MODEL, training_file=file, reward=reward, hyperparameters={"batch_size": 50})
    return client.jobs.wait(job, poll_interval=0.02)


def test_files_jobs_models_and_checkpoints(client: Client) -> None:
    job = trained(client)
    other = client.files.upload(records(), filename="spare.jsonl")
    found = client.inventory(functions=False)
    spare = next(each for each in found.of("file") if each.id == other.id)
    assert (spare.name, spare.size, spare.note) == ("spare.jsonl", other.bytes, "")
    assert spare.delete == f"client.files.delete({other.id!r})"
    (model,) = found.of("model")
    assert (model.id, model.monthly, model.delete) == (job.fine_tuned_model, Range(1.95, 1.95), "")
    assert "no way to delete" in model.note
    assert found.monthly == Range(1.95, 1.95)
    assert len(found.of("checkpoint")) == len(list(client.jobs.checkpoints(job)))
    assert all(each.monthly is None for each in [*found.of("checkpoint"), *found.of("file")])
    assert {each.kind for each in found.deletable} == {"file"}
    assert "not known: whether checkpoints and files are billed" in " ".join(str(found).split())
    assert json.loads(found.to_json())["monthly"] == {"low": 1.95, "high": 1.95}
    assert len(list(client.files.list())) == 2


def test_assets_of_the_local_service_cost_nothing() -> None:
    with Service(**QUICK) as service, Client(transport=LocalTransport(service)) as local:
        trained(local)
        found = local.inventory(functions=False)
    assert found.monthly == Range(0, 0)
    assert all(each.monthly is None for each in found.assets)
    shown = " ".join(str(found).split())
    assert "on the local service, where nothing is billed" in shown
    assert "AWS documents" not in shown
    assert "USD" not in shown


def test_a_file_of_a_running_job_is_not_deletable() -> None:
    with Service(**QUICK, pace=5.0) as service, Client(transport=LocalTransport(service)) as client:
        file = client.files.upload(records())
        job = client.jobs.create(MODEL, training_file=file, reward=ARN)
        found = client.inventory(functions=False, checkpoints=False)
        client.jobs.cancel(job)
    assert found.of("file")[0].note == "needed by a job that has not ended"
    assert "ends it for good" in found.of("job")[0].note
    assert found.deletable == ()


def test_functions_of_deployments_and_no_others(
    here: Here, aws_client: Client, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    aws_client.rewards.deploy(build_package(), name="sums")
    here.gate.clear()
    found = client.inventory(checkpoints=False)
    (function,) = found.of("function")
    assert (function.id, function.name, function.monthly) == (DEPLOYED, "sums", Range(0, 0))
    assert function.delete == "client.rewards.destroy('sums')"
    assert function.size
    assert found.incomplete == ()


def test_functions_that_cannot_be_listed_are_named(client: Client) -> None:
    found = client.inventory(checkpoints=False)
    assert found.of("function") == ()
    assert len(found.incomplete) == 1
    assert found.incomplete[0].startswith("functions: ")
    assert "not listed: functions" in str(found)


def test_ages_and_long_lists_fit() -> None:
    assets = tuple(Asset("file", f"file-{n}", "x" * 90, 1000.0 + n, 5, None, "delete it") for n in range(30))
    found = Inventory(assets, 1000.0 + 3 * 86_400, "USD")
    assert assets[0].age(found.now) == 3
    assert Asset("file", "f", created_at=2e9).age(found.now) == 0
    assert Asset("file", "f").age(found.now) is None
    assert "and 10 more" in str(found)
    assert all(len(line) <= 80 or "delete:" in line for line in str(found).splitlines())


def test_unknown_facts_leave_no_gap_and_the_title_is_whole() -> None:
    assets = tuple(
        Asset(kind, kind, "base", 1000.0, monthly=Range(1.95, 1.95)) for kind in ("file", "job", "model", "checkpoint")
    )
    shown = str(Inventory(assets, 1000.0, "USD"))
    assert "base, 0 days, USD 1.95 a month" in shown
    assert "a month as far as known" in " ".join(shown.split())
    assert "…" not in shown
