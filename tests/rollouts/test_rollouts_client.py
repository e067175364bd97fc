"""`client.rewards.rollouts` finds the rollouts of a deployed reward and of the time of a job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.aws_gate import Here
from support.command import command
from support.deploy_setup import build_package
from support.fault_client import KEY
from support.fault_server import Faults
from support.moto_server import REGION
from support.rollout_files import write_rollouts

from bedrock_rft import Client, ConfigurationError, PermissionDeniedError
from bedrock_rft.rewards import RolloutLog

LOCATION = "s3://recordings/team"


@pytest.fixture
def recording(here: Here, tmp_path: Path) -> list[dict[str, Any]]:
    """Return the records in a bucket: those of the function `math-reward`, and a copy for another one."""
    client = here.service("s3")
    client.create_bucket(Bucket="recordings", CreateBucketConfiguration={"LocationConstraint": REGION})
    written = write_rollouts(tmp_path, steps=2, groups=1, samples=2)
    for path in tmp_path.rglob("*.gz"):
        key = f"team/{path.relative_to(tmp_path).as_posix()}"
        for one in (key, key.replace("math-reward", "other")):
            client.put_object(Bucket="recordings", Key=one, Body=path.read_bytes())
    return written


def test_a_deployed_reward_knows_its_location(
    here: Here, aws_client: Client, recording: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    package = build_package("def lambda_handler(event, context):\n    return []\n", record=RolloutLog(LOCATION))
    deployed = aws_client.rewards.deploy(package, name="math-reward", check=False)
    found = aws_client.rewards.rollouts(LOCATION, since="2026-11-29")
    assert [*found] == []
    for source in (deployed, deployed.arn, "math-reward"):
        found = aws_client.rewards.rollouts(source)
        assert [record.to_dict() for record in found] == recording
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKE000000000001")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake9Secret8Access7Key+/6Zm9v5YmFy4YmF63")
    for location in ("math-reward", f"{LOCATION}/function=math-reward"):
        done = command("rollouts", "show", location, "--region", REGION, "-o", "quiet")
        assert done.out.split() == [one["rollout_id"] for one in recording]
    aws_client.close()
    assert len([*found]) == len(recording), "they can be read after the client was closed"
    here.gate.refuse("GetObject", 403, "AccessDenied", "Access Denied")  # the gate's name for every GET
    here.gate.rules[0].times = 1
    with pytest.raises(PermissionDeniedError, match=r"AccessDenied.* Allow s3:ListBucket on arn:aws:s3:::recordings\."):
        next(iter(found))
    here.gate.refuse("GetObject", 403, "AccessDenied", "User is not authorized to perform: kms:Decrypt on key/1")
    with pytest.raises(PermissionDeniedError, match=r"Allow kms:Decrypt on the KMS key of the bucket\."):
        next(iter(found))


def test_a_reward_that_does_not_record_is_an_error(here: Here, aws_client: Client) -> None:
    assert here.gate.writes == []
    aws_client.rewards.deploy(build_package(), name="sums", check=False)
    with pytest.raises(ConfigurationError, match="sums does not record rollouts"):
        aws_client.rewards.rollouts("sums")


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


def test_a_job_selects_the_time_in_which_it_ran(server: Faults, tmp_path: Path) -> None:
    times = {"before": -5, "first": 0, "last": 60, "after": 65}
    lines = [
        json.dumps(
            {"time": f"2026-11-28T14:{10 + seconds // 60:02}:{seconds % 60:02}.500000Z", "score": 1, "answer": name}
        )
        for name, seconds in times.items()
    ]
    (tmp_path / "some.jsonl").write_text("\n".join(lines))
    server.add_job(created_at=1795875000, finished_at=1795875060, status="succeeded")
    with Client("us-west-2", base_url=server.base_url, api_key=KEY) as client:
        found = client.rewards.rollouts(tmp_path, job="ftjob-1")
        assert [record.answer for record in found] == ["first", "last"]
        with pytest.raises(ConfigurationError, match="not both"):
            client.rewards.rollouts(tmp_path, job="ftjob-1", since=1)
