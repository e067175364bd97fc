"""`bedrock-rft policy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import click

from bedrock_rft._cli.command import Group, many, options
from bedrock_rft._cli.output import print_text, show, to_json
from bedrock_rft._cli.settings import open_client, settings
from bedrock_rft._cli.wording import for_shell

policy = Group("policy", help="Print IAM policies as JSON, or with the reason for each statement.")

_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "account": click.option("--account", metavar="DIGITS", help="AWS account. Default: the account of --reward."),
    "reward": click.option("--reward", metavar="ARN", help="The reward function."),
    "function": click.option("--reward", metavar="ARN", required=True, help="The reward function."),
    "models": many("--model", "models", metavar="ID", help="A model to train."),
    "judges": many("--judge", "judges", metavar="ID", help="A model that the reward invokes."),
    "api_key": click.option("--api-key", is_flag=True, help="Requests use a Bedrock API key."),
    "short": click.option("--short-term-keys", is_flag=True, help="Requests use short-term API keys only."),
    "explain": click.option("--explain", is_flag=True, help="Print the reason for each statement."),
    "record": click.option("--record", metavar="S3-URI", help="The location of recorded rollouts: s3://bucket/prefix."),
    "role": click.option("--role", required=True, metavar="NAME", help="The execution role, by name or ARN."),
    "boundary": click.option("--permissions-boundary", metavar="ARN", help="Permissions boundary of the role."),
    "bucket": click.option("--bucket", metavar="NAME", help="S3 bucket for packages above 50 MB."),
}
_REGION = "\n\nThe region comes from --region, --reward, or the environment."
_PROJECT = ("account", "reward", "api_key", "short", "explain")

_POLICIES = {
    "caller": (f"Print the policy for an identity that runs jobs.{_REGION}", ("models", *_PROJECT)),
    "watcher": (f"Print the read-only policy for an identity that watches jobs.{_REGION}", _PROJECT),
    "doctor": (f"Print the read-only policy for an identity that runs the doctor.{_REGION}", _PROJECT),
    "function": (
        "Print the policy for the execution role of a reward function.",
        ("function", "judges", "explain", "record"),
    ),
    "trust": (
        "Print the trust policy for the execution role of a reward function.",
        ("account", "reward", "explain"),
    ),
    "invoke": ("Print the policy for an identity that invokes a reward function.", ("function", "explain")),
    "judge": (
        f"Print the policy for a function that invokes models as judges.{_REGION.replace(' --reward,', '')}",
        ("account", "judges", "explain"),
    ),
    "deployer": (
        "Print the policy for an identity that deploys a reward function.",
        ("function", "explain", "role", "boundary", "bucket"),
    ),
}
"""The help of each command, and its options."""


def _add_command(name: str, about: str, names: Sequence[str]) -> None:
    @policy.command(name, shape="an IAM policy document", help=about)
    @options(*[_OPTIONS[each] for each in names])
    def command(*, explain: bool, **given: Any) -> None:
        from bedrock_rft import access

        if "api_key" in given:
            given = _project(given)
        if name == "watcher":
            del given["reward"]
        if name == "judge":
            if not (models := given.pop("judges")):
                raise click.UsageError("Missing option '--judge'.")
            given |= {"models": models, "region": _region(None)}
        make = access.execution_policy if name == "function" else getattr(access, f"{name}_policy")
        made = make(**given)
        print_text(str(made) if explain and settings().output == "table" else made.json())


for _name, (_about, _names) in _POLICIES.items():
    _add_command(_name, _about, _names)


@policy.command("managed", shape="a list of bedrock_rft.access.ManagedPolicy")
def managed() -> None:
    """Show which actions the AWS managed policies allow and lack."""
    import textwrap

    from bedrock_rft import access

    texts = [textwrap.wrap(for_shell(str(one)), 78, subsequent_indent="    ") for one in access.MANAGED_POLICIES]
    found = [
        {**to_json(one), "description": for_shell(one.description), "arn": one.arn()} for one in access.MANAGED_POLICIES
    ]
    show(found, text="\n".join(line for text in texts for line in text), ids=[one["arn"] for one in found])


def _project(given: dict[str, Any]) -> dict[str, Any]:
    reward, account = given["reward"], given["account"]
    if account is None and reward is None:
        raise click.UsageError("Missing option '--account', or '--reward' with an ARN of that account.")
    if account is None:
        from bedrock_rft import LambdaArn

        account = LambdaArn(reward).account
    api_key = "short-term" if given.pop("short_term_keys") else given["api_key"]
    found = {"region": _region(reward), "account": account, "project": settings().project, "api_key": api_key}
    return {**given, **found}


def _region(reward: str | None) -> str:
    given = settings().region
    if given is None and reward is not None:
        from bedrock_rft import LambdaArn

        given = LambdaArn(reward).region
    if given is None:  # as for every other command; a policy needs no identity, so no credentials are looked up
        identity = {} if settings().profile else {"api_key": "unused", "auth": None}
        with open_client(**identity) as client:
            given = client.identity.region
    return given
