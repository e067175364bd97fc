"""Set-up of tests of the doctor: a reward function and a caller in the emulated AWS."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.credentials import Credentials

from bedrock_rft import Client
from bedrock_rft._auth.aws_credentials import wrap_credentials
from bedrock_rft._core.findings import Finding
from bedrock_rft._core.redaction import Secret
from bedrock_rft.access import Report, doctor, execution_policy, trust_policy
from bedrock_rft.local import LocalService
from support.iam_simulator import KNOWS_PROFILES, Iam
from support.moto_server import ACCOUNT, Aws, MotoServer

REWARD = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"

VERSION = f"{REWARD}:1"

MODEL = "openai.gpt-oss-20b"

JUDGES = [*(["us.amazon.nova-lite-v1:0"] if KNOWS_PROFILES else []), "amazon.nova-micro-v1:0"]

needs_profiles = pytest.mark.skipif(not KNOWS_PROFILES, reason="this botocore does not know inference profiles")


def score_nothing(_: object, __: object) -> list[object]:
    return []


@pytest.fixture(scope="module")
def doctor_service() -> Iterator[LocalService]:
    with LocalService(reward=score_nothing) as running:
        yield running


@pytest.fixture
def iam(aws: Aws, moto_server: MotoServer, monkeypatch: pytest.MonkeyPatch) -> Iam:
    """Let the emulated IAM simulate policies, and the same server serve Bedrock and KMS."""
    found = Iam()
    moto_server.application = found.around(moto_server.moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK", aws.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", aws.url)
    return found


def create_function(aws: Aws, *, settings: dict[str, Any] | None = None, policy: str | None = None) -> None:
    """Create a reward function and its role. They are correct except for the given settings."""
    iam, functions = aws.client("iam"), aws.client("lambda")
    trust = trust_policy(reward=REWARD).json()
    role = iam.create_role(RoleName="reward", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    document = execution_policy(REWARD, judges=JUDGES).json() if policy is None else policy
    iam.put_role_policy(RoleName="reward", PolicyName="p", PolicyDocument=document)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as package:
        package.writestr("reward.py", "def handler(event, context):\n    return []\n")
    functions.create_function(
        **{
            "FunctionName": "my-reward",
            "Runtime": "python3.13",
            "Role": role,
            "Handler": "reward.handler",
            "Code": {"ZipFile": file.getvalue()},
            "Timeout": 300,
            "MemorySize": 512,
            "Publish": True,
            **(settings or {}),
        }
    )


def create_caller(aws: Aws, policy: str | None = None) -> Any:
    """Return the credentials of a session of a role with a policy."""
    iam = aws.client("iam")
    trust = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
        }
    )
    arn = iam.create_role(RoleName="scientist", Path="/team/", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    if policy is not None:
        iam.put_role_policy(RoleName="scientist", PolicyName="rft", PolicyDocument=policy)
    return assume_caller(aws, arn)


def assume_caller(aws: Aws, arn: str = "arn:aws:iam::123456789012:role/team/scientist") -> Any:
    """Return the credentials of a new session of the role. They are the same in all tests, which can share clients."""
    from moto.sts.models import sts_backends

    aws.client("sts").assume_role(RoleArn=arn, RoleSessionName="ada")
    found = Credentials("ASIAFAKE000000CALLER", "fake9Secret8Caller7Key+/6Zm9v5YmFy4YmF63", "fake9Session8Token7Caller")
    sessions: Any = sts_backends[ACCOUNT]["aws"].assumed_roles
    sessions[-1].access_key_id = found.access_key
    return found


def codes(report: Report, level: str) -> set[str]:
    return {finding.code for finding in report.findings if finding.level == level}


def find_one(report: Report, code: str) -> Finding:
    (found,) = [finding for finding in report.findings if finding.code == code]
    return found


def run_doctor(service: LocalService, credentials: Any, **settings: Any) -> Report:
    """Run the doctor on the local service, with AWS credentials that moto knows."""
    # The local service accepts its own key only, and moto accepts the given credentials only.
    with Client(**service.client_options("api_key")) as client:
        config = client._async._session.config
        signing = replace(config, key=None, aws=wrap_credentials(Secret(credentials)), auth="aws")
        object.__setattr__(client._async._session, "config", signing)
        return doctor(client, **settings)
