"""Set-up of tests of deployments: a reward, its data, and what the emulated AWS holds of it."""

from __future__ import annotations

from typing import Any

from bedrock_rft.rewards._packaging.archive import Package, build_zip
from support.aws_gate import Here
from support.moto_server import ACCOUNT, REGION

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:sums"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/bedrock-rft/sums-{REGION}"
DATA = [
    {"messages": [{"role": "user", "content": f"What is {a} and {b}?"}], "reference_answer": str(a + b)}
    for a, b in ((1, 2), (3, 9), (20, 5), (7, 7), (6, 11), (40, 2))
]
SOURCE = """
import re

def score(rollout):
    metadata = rollout.get("metadata") or {}
    reference = metadata.get("reference_answer", rollout.get("reference_answer"))
    if isinstance(reference, dict):
        reference = reference.get("text")
    messages = rollout.get("messages") or [{}]
    numbers = re.findall(r"-?[0-9]+", str(messages[-1].get("content") or ""))[-1:]
    return float(numbers == [str(reference)] and RIGHT)

def lambda_handler(event, context):
    return [{"id": rollout["id"], "aggregate_reward_score": score(rollout)} for rollout in event]

RIGHT = 1.0
"""
ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def build_package(source: str = SOURCE, **settings: Any) -> Package:
    content, files = build_zip({"lambda_function.py": source.encode()})
    about: dict[str, Any] = {"reward": "sums", "handler": "lambda_function.lambda_handler", "runtime": "python3.13"}
    return Package(content, files=files, **dict[str, Any]({"architecture": "x86_64", **about, **settings}))


def read_settings(here: Here, qualifier: str = "$LATEST") -> dict[str, Any]:
    found = here.service("lambda").get_function_configuration(FunctionName="sums", Qualifier=qualifier)
    names = ("CodeSha256", "Handler", "Runtime", "Timeout", "MemorySize", "Role", "Architectures")
    return {name: found[name] for name in names}


def list_versions(here: Here) -> list[str]:
    found = here.service("lambda").list_versions_by_function(FunctionName="sums")["Versions"]
    return [one["Version"] for one in found if one["Version"] != "$LATEST"]


def read_role_policy(here: Here) -> list[dict[str, Any]]:
    found = here.service("iam").get_role_policy(RoleName=f"sums-{REGION}", PolicyName="bedrock-rft")
    statements: list[dict[str, Any]] = found["PolicyDocument"]["Statement"]
    return statements
