"""`python -m bedrock_rft.access policy caller --region us-west-2 --account 123456789012 --reward ARN`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import wrap
from bedrock_rft._core.output import print_error, print_line
from bedrock_rft.access._commands import add_commands
from bedrock_rft.access._doctor.doctor import doctor
from bedrock_rft.access._keys import mint_api_key
from bedrock_rft.access._policies import rft_policies as policies
from bedrock_rft.access._policies.judge_policies import judge_policy
from bedrock_rft.access._policies.managed_policies import MANAGED_POLICIES
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.errors import BedrockRFTError, ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft import Client

Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return 0 if it succeeds, 1 if it finds errors, 2 if it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m bedrock_rft.access", description="Permissions, the doctor, deployment and keys."
    )
    commands = parser.add_subparsers(required=True)
    _policy_command(commands.add_parser("policy", help="print an IAM policy as JSON, or its explanation"))
    managed = commands.add_parser("managed", help="show which actions AWS managed policies allow and lack")
    managed.set_defaults(run=_managed)
    examined = commands.add_parser("doctor", help="check everything that a job needs, with a remedy for each fault")
    examined.add_argument("--reward", metavar="ARN", help="the reward function")
    examined.add_argument("--model", action="append", default=[], help="a model to train; may be repeated")
    examined.add_argument(
        "--judge", action="append", default=[], help="a model that the reward invokes; may be repeated"
    )
    for name in ("region", "profile", "project", "base-url"):
        examined.add_argument(f"--{name}", help="as for Client")
    examined.add_argument("--auth", choices=["api_key", "aws"], help="as for Client")
    examined.add_argument("--seconds", type=float, default=20.0, help="time limit of all checks (20)")
    examined.set_defaults(run=_doctor)
    minting = commands.add_parser("key", help="create a short-term API key from AWS credentials and print it")
    minting.add_argument("--region", help="the only region in which it works")
    minting.add_argument("--profile", help="a profile of the AWS configuration")
    minting.add_argument("--hours", type=float, default=12, help="hours until it expires (12, the maximum)")
    minting.set_defaults(run=_key)
    add_commands(commands, _open_client)
    options = parser.parse_args(arguments)
    run: Callable[[Options], int] = options.run
    try:
        return run(options)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2


def _open_client(**settings: Any) -> Client:
    from bedrock_rft import Client

    return Client(**settings)


def _policy_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=sorted(_KINDS), metavar="kind", help=f"one of {', '.join(sorted(_KINDS))}")
    parser.add_argument("--region", help="region of the jobs; by default the reward function's")
    parser.add_argument("--account", help="12 digits; by default the reward function's account")
    parser.add_argument("--reward", metavar="ARN", help="the reward function")
    parser.add_argument("--project", help="a Bedrock project; by default the default project")
    parser.add_argument("--model", action="append", default=[], help="a model to train, or a judge; may be repeated")
    parser.add_argument("--api-key", action="store_true", help="calls are made with a Bedrock API key")
    parser.add_argument("--role", help="the execution role, by name or ARN")
    parser.add_argument("--permissions-boundary", metavar="ARN", help="permissions boundary of its role")
    parser.add_argument("--explain", action="store_true", help="give the reason for each statement")
    parser.set_defaults(run=_policy)


def _policy(options: Options) -> int:
    policy = _KINDS[options.kind](options)
    print_line(str(policy) if options.explain else policy.json())
    return 0


def _managed(_: Options) -> int:
    for policy in MANAGED_POLICIES:
        print_line("\n".join(wrap(str(policy))))
    return 0


def _doctor(options: Options) -> int:
    """Run the doctor. There is no option for an API key, because every program on the machine can read arguments."""
    settings = {name: getattr(options, name) for name in ("region", "profile", "project", "base_url", "auth")}
    with _open_client(**settings) as client:
        report = doctor(
            client, reward=options.reward, models=options.model, judges=options.judge, seconds=options.seconds
        )
    print_line(str(report))
    return 0 if report.ok else 1


def _key(options: Options) -> int:
    """Print only the key to standard output, for `export AWS_BEARER_TOKEN_BEDROCK=$(…)`."""
    key = mint_api_key(options.region, profile=options.profile, expires_in=options.hours * 3600)
    print_line(key.reveal())
    print_error(f"for {key.region}, until {key.expires_at:%Y-%m-%d %H:%M} UTC")
    return 0


def _required(options: Options, name: str) -> str:
    """Return an option that this kind of policy requires. Raises `ConfigurationError`."""
    value: str | None = getattr(options, name)
    if value is None and options.reward is not None and name in {"region", "account"}:
        from bedrock_rft.types.arn import LambdaArn

        value = getattr(LambdaArn(options.reward), name)
    if not value:
        raise ConfigurationError(f"A {options.kind} policy needs --{name}.")
    return value


_KINDS: Mapping[str, Callable[[Options], Policy]] = {
    "caller": lambda options: policies.caller_policy(
        _required(options, "region"),
        _required(options, "account"),
        reward=options.reward,
        project=options.project,
        models=options.model,
        api_key=options.api_key,
    ),
    "watcher": lambda options: policies.watcher_policy(
        _required(options, "region"), _required(options, "account"), project=options.project, api_key=options.api_key
    ),
    "invoke": lambda options: policies.invoke_policy(_required(options, "reward")),
    "execution": lambda options: policies.execution_policy(_required(options, "reward"), judges=options.model),
    "trust": lambda options: policies.trust_policy(options.account, reward=options.reward),
    "judge": lambda options: judge_policy(options.model, _required(options, "region"), options.account),
    "deployer": lambda options: policies.deployer_policy(
        _required(options, "reward"), role=_required(options, "role"), permissions_boundary=options.permissions_boundary
    ),
}

if __name__ == "__main__":
    sys.exit(main())
