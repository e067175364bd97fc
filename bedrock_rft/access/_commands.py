"""Deploying and destroying a reward from a command line."""

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

__all__ = ["Opened", "add_commands"]


class _Rewards(Protocol):
    def deploy(self, reward: str, *, name: str, plan: Any, **settings: Any) -> DeployedReward | Plan: ...

    def destroy(self, reward: str, *, plan: bool, force: bool) -> Plan: ...


class _Client(Protocol):
    @property
    def rewards(self) -> _Rewards: ...


Command = Callable[[_Client, argparse.Namespace], int]

Opened = Callable[..., AbstractContextManager[Any]]
"""Makes a client: of a region, a profile and a way to identify oneself."""


def add_commands(commands: Any, opened: Opened) -> None:
    """Add `deploy` and `destroy`. A client is opened with `opened(region=…, profile=…, auth="aws")`."""
    deploying: argparse.ArgumentParser = commands.add_parser("deploy", help="bring a reward into Lambda, and check it")
    deploying.add_argument("reward", help="path/to/file.py:name")
    deploying.add_argument("--name", required=True, help="of the function")
    deploying.add_argument("--data", help="JSON lines to check it with, once it is deployed")
    deploying.add_argument("--no-check", action="store_true", help="deploy it without the check")
    deploying.add_argument("--timeout", type=int, help="seconds that an invocation may take")
    deploying.add_argument("--memory", type=int, help="megabytes")
    deploying.add_argument("--judge", action="append", default=[], help="a model that it asks; may be repeated")
    deploying.add_argument("--requirement", action="append", default=[], help="name==version; may be repeated")
    deploying.add_argument("--include", action="append", default=[], help="a further file; may be repeated")
    deploying.add_argument("--runtime", default="python3.13", help="Lambda's name of a Python (python3.13)")
    deploying.add_argument("--architecture", default="x86_64", help="x86_64 or arm64 (x86_64)")
    deploying.add_argument("--role", metavar="ARN", help="an execution role that is there already")
    deploying.add_argument("--permissions-boundary", metavar="ARN", help="of the role that is made")
    deploying.add_argument(
        "--allow", action="append", default=[], metavar="NAME", help="what only looks like a secret, as it was refused"
    )
    deploying.add_argument("--tag", action="append", default=[], metavar="KEY=VALUE", help="may be repeated")
    destroying: argparse.ArgumentParser = commands.add_parser(
        "destroy", help="take away what deploy made, and only that"
    )
    destroying.add_argument("reward", help="its name or ARN")
    destroying.add_argument("--force", action="store_true", help="do not look whether a running job needs it")
    for parser in (deploying, destroying):
        parser.add_argument("--plan", action="store_true", help="say what would be done, and change nothing")
        parser.add_argument("--region", help="where; else as for Client")
        parser.add_argument("--profile", help="a profile of the AWS configuration")
    deploying.set_defaults(run=_with_client(_deploy, opened))
    destroying.set_defaults(run=_with_client(_destroy, opened))


def _with_client(command: Command, opened: Opened) -> Callable[[argparse.Namespace], int]:
    def run(options: argparse.Namespace) -> int:
        with opened(region=options.region, profile=options.profile, auth="aws") as client:
            return command(client, options)

    return run


def _deploy(client: _Client, options: argparse.Namespace) -> int:
    """0 where it is deployed, 1 where its check found errors. The last line is the ARN."""
    try:
        made = client.rewards.deploy(
            options.reward,
            name=options.name,
            dataset=options.data,
            check=not options.no_check,
            plan=options.plan,
            timeout=options.timeout,
            memory=options.memory,
            models=options.judge,
            requirements=options.requirement,
            include=options.include,
            runtime=options.runtime,
            architecture=options.architecture,
            role_arn=options.role,
            permissions_boundary=options.permissions_boundary,
            allow=options.allow,
            tags=_tags(options.tag),
        )
    except RewardError as error:
        _say(str(error), *([str(error.report)] if error.report is not None else []))
        return 1
    if isinstance(made, Plan):
        _say(str(made))
    else:
        _say(str(made.plan), *([str(made.report)] if made.report is not None else []), str(made.arn))
    return 0


def _destroy(client: _Client, options: argparse.Namespace) -> int:
    _say(str(client.rewards.destroy(options.reward, plan=options.plan, force=options.force)))
    return 0


def _tags(given: Sequence[str]) -> Mapping[str, str]:
    for one in given:
        if "=" not in one:
            raise ConfigurationError(f"--tag {sanitize_line(one, 80)} is not KEY=VALUE.")
    return dict(one.split("=", 1) for one in given)


def _say(*texts: str) -> None:
    print_line("\n".join(texts))
