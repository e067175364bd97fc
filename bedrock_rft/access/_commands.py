"""The commands `deploy` and `destroy`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from bedrock_rft._core.output import print_line
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.deploy import DeployedReward
from bedrock_rft.access._deployment.plan import Plan
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._targets.resolve import load_gold

__all__ = ["OpenClient", "add_commands"]


class _Rewards(Protocol):
    def plan(self, reward: str, *, name: str, **settings: Any) -> Plan: ...

    def deploy(self, reward: str, *, name: str, **settings: Any) -> DeployedReward: ...

    def destroy(self, reward: str, *, plan: bool, force: bool) -> Plan: ...


class _Client(Protocol):
    @property
    def rewards(self) -> _Rewards: ...


Command = Callable[[_Client, argparse.Namespace], int]

OpenClient = Callable[..., AbstractContextManager[Any]]
"""Opens a client with a region, a profile and an authentication method."""


def add_commands(commands: Any, open_client: OpenClient) -> None:
    """Add `deploy` and `destroy`. They open a client with `open_client(region=…, profile=…, auth="aws")`."""
    deploying: argparse.ArgumentParser = commands.add_parser("deploy", help="deploy a reward to Lambda and check it")
    deploying.add_argument("reward", help="path/to/file.py:name")
    deploying.add_argument("--name", required=True, help="name of the function")
    deploying.add_argument("--data", help="JSONL file to check the deployed function with")
    deploying.add_argument("--no-check", action="store_true", help="skip the check")
    deploying.add_argument("--gold", metavar="FILE:NAME", help="a function that returns the right answer to a record")
    deploying.add_argument("--timeout", type=int, help="seconds that an invocation may take")
    deploying.add_argument("--memory", type=int, help="megabytes")
    deploying.add_argument("--judge", action="append", default=[], help="a model that it invokes; may be repeated")
    deploying.add_argument("--requirement", action="append", default=[], help="name==version; may be repeated")
    deploying.add_argument("--include", action="append", default=[], help="a further file; may be repeated")
    deploying.add_argument("--runtime", default="python3.13", help="Lambda's name of a Python version (python3.13)")
    deploying.add_argument("--architecture", default="x86_64", help="x86_64 or arm64 (x86_64)")
    deploying.add_argument("--role", metavar="ARN", help="an execution role that exists")
    deploying.add_argument("--permissions-boundary", metavar="ARN", help="permissions boundary of the created role")
    deploying.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="text that looks like a secret and is none, as the error names it",
    )
    deploying.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    destroying: argparse.ArgumentParser = commands.add_parser(
        "destroy", help="delete the function and the role that deploy created"
    )
    destroying.add_argument("reward", help="its name or ARN")
    destroying.add_argument("--force", action="store_true", help="delete it even if a running job needs it")
    for parser in (deploying, destroying):
        parser.add_argument("--plan", action="store_true", help="show the steps and change nothing")
        parser.add_argument("--region", help="the AWS region; by default as for Client")
        parser.add_argument("--profile", help="a profile of the AWS configuration")
    deploying.set_defaults(run=_with_client(_deploy, open_client))
    destroying.set_defaults(run=_with_client(_destroy, open_client))


def _with_client(command: Command, open_client: OpenClient) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        with open_client(region=options.region, profile=options.profile, auth="aws") as client:
            return command(client, options)

    return run


def _deploy(client: _Client, options: argparse.Namespace) -> int:
    """Deploy or plan. Return 1 if the check found errors, else 0. The last line of `deploy` is the ARN."""
    settings: dict[str, Any] = {
        "name": options.name,
        "timeout": options.timeout,
        "memory": options.memory,
        "models": options.judge,
        "requirements": options.requirement,
        "include": options.include,
        "runtime": options.runtime,
        "architecture": options.architecture,
        "role_arn": options.role,
        "permissions_boundary": options.permissions_boundary,
        "allow": options.allow,
        "tags": _parse_tags(options.tag),
    }
    if options.plan:
        print_line(str(client.rewards.plan(options.reward, **settings)))
        return 0
    gold = load_gold(options.gold) if options.gold else None
    try:
        made = client.rewards.deploy(
            options.reward, dataset=options.data, check=not options.no_check, gold=gold, **settings
        )
    except RewardError as error:
        _print(str(error), error.report)
        return 1
    _print(str(made.plan), made.report, str(made.arn))
    return 0


def _destroy(client: _Client, options: argparse.Namespace) -> int:
    print_line(str(client.rewards.destroy(options.reward, plan=options.plan, force=options.force)))
    return 0


def _parse_tags(given: Sequence[str]) -> Mapping[str, str]:
    for tag in given:
        if "=" not in tag:
            raise ConfigurationError(f"--tag {sanitize_line(tag, 80)} is not KEY=VALUE.")
    return dict(tag.split("=", 1) for tag in given)


def _print(*parts: object) -> None:
    for part in parts:
        if part is not None:
            print_line(str(part))
