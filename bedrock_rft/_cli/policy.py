"""`bedrock-rft policy`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from bedrock_rft._cli.command import Group, many, options
from bedrock_rft._cli.output import print_text, show, to_json
from bedrock_rft._cli.settings import settings

policy = Group("policy", help="Print IAM policies as JSON, or with the reason for each statement.")

_POLICY = "an IAM policy document"

_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "account": click.option("--account", metavar="DIGITS", help="AWS account. Default: the account of --reward."),
    "reward": click.option("--reward", metavar="ARN", help="The reward function."),
    "function": click.option("--reward", metavar="ARN", required=True, help="The reward function."),
    "models": many("--model", "models", metavar="ID", help="A model to train."),
    "judges": many("--judge", "judges", metavar="ID", help="A model that the reward invokes."),
    "api_key": click.option("--api-key", is_flag=True, help="Requests use a Bedrock API key."),
    "short": click.option("--short-term-keys", is_flag=True, help="Requests use short-term API keys only."),
    "explain": click.option("--explain", is_flag=True, help="Print the reason for each statement."),
}
_PROJECT = ("account", "reward", "api_key", "short", "explain")


def _options(*names: str) -> Callable[[Any], Any]:
    return options(*[_OPTIONS[name] for name in names])


@policy.command("caller", shape=_POLICY)
@_options("models", *_PROJECT)
def caller(*, models: tuple[str, ...], explain: bool, **given: Any) -> None:
    """Print the policy for an identity that runs jobs."""
    from bedrock_rft import access

    _print(access.caller_policy(**_project(given), reward=given["reward"], models=models), explain=explain)


@policy.command("watcher", shape=_POLICY)
@_options(*_PROJECT)
def watcher(*, explain: bool, **given: Any) -> None:
    """Print the read-only policy for an identity that watches jobs."""
    from bedrock_rft import access

    _print(access.watcher_policy(**_project(given)), explain=explain)


@policy.command("doctor", shape=_POLICY)
@_options(*_PROJECT)
def doctor(*, explain: bool, **given: Any) -> None:
    """Print the read-only policy for an identity that runs the doctor."""
    from bedrock_rft import access

    _print(access.doctor_policy(**_project(given), reward=given["reward"]), explain=explain)


@policy.command("function", shape=_POLICY)
@_options("function", "judges", "explain")
@click.option("--record", metavar="S3-URI", help="Where the function records rollouts: s3://bucket/prefix.")
def function(*, reward: str, judges: tuple[str, ...], record: str | None, explain: bool) -> None:
    """Print the policy for the execution role of a reward function."""
    from bedrock_rft import access

    _print(access.execution_policy(reward, judges=judges, record=record), explain=explain)


@policy.command("trust", shape=_POLICY)
@_options("account", "reward", "explain")
def trust(*, account: str | None, reward: str | None, explain: bool) -> None:
    """Print the trust policy for the execution role of a reward function."""
    from bedrock_rft import access

    _print(access.trust_policy(account, reward=reward), explain=explain)


@policy.command("invoke", shape=_POLICY)
@_options("function", "explain")
def invoke(*, reward: str, explain: bool) -> None:
    """Print the policy for an identity that invokes a reward function."""
    from bedrock_rft import access

    _print(access.invoke_policy(reward), explain=explain)


@policy.command("judge", shape=_POLICY)
@_options("account", "judges", "explain")
def judge(*, account: str | None, judges: tuple[str, ...], explain: bool) -> None:
    """Print the policy for a function that invokes models as judges."""
    from bedrock_rft import access

    if not judges:
        raise click.UsageError("Missing option '--judge'.")
    _print(access.judge_policy(judges, _region(None), account), explain=explain)


@policy.command("deployer", shape=_POLICY)
@_options("function", "explain")
@click.option("--role", required=True, metavar="NAME", help="The execution role, by name or ARN.")
@click.option("--permissions-boundary", metavar="ARN", help="Permissions boundary of the role.")
@click.option("--bucket", metavar="NAME", help="S3 bucket for packages above 50 MB.")
def deployer(reward: str, role: str, permissions_boundary: str | None, bucket: str | None, *, explain: bool) -> None:
    """Print the policy for an identity that deploys a reward function."""
    from bedrock_rft import access

    made = access.deployer_policy(reward, role=role, permissions_boundary=permissions_boundary, bucket=bucket)
    _print(made, explain=explain)


@policy.command("managed", shape="a list of bedrock_rft.access.ManagedPolicy")
def managed() -> None:
    """Show which actions the AWS managed policies allow and lack."""
    import textwrap

    from bedrock_rft import access

    texts = [textwrap.wrap(str(one), 78, subsequent_indent="    ") for one in access.MANAGED_POLICIES]
    found = [{**to_json(one), "arn": one.arn()} for one in access.MANAGED_POLICIES]
    show(found, text="\n".join(line for text in texts for line in text), ids=[one["arn"] for one in found])


def _print(made: Any, *, explain: bool) -> None:
    if explain and settings().output == "table":
        print_text(str(made))
    else:
        print_text(made.json())


def _project(given: dict[str, Any]) -> dict[str, Any]:
    reward, account = given["reward"], given["account"]
    if account is None and reward is None:
        raise click.UsageError("Missing option '--account', or '--reward' with an ARN of that account.")
    if account is None:
        from bedrock_rft import LambdaArn

        account = LambdaArn(reward).account
    api_key = "short-term" if given["short_term_keys"] else given["api_key"]
    return {"region": _region(reward), "account": account, "project": settings().project, "api_key": api_key}


def _region(reward: str | None) -> str:
    given = settings().region
    if given is None and reward is not None:
        from bedrock_rft import LambdaArn

        given = LambdaArn(reward).region
    if given is None:
        raise click.UsageError("Missing option '--region'.")
    return given
