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
    """Run one command. 0 where all is well, 1 where something has to be mended, 2 where it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m bedrock_rft.access", description="Permissions, and what they lack."
    )
    commands = parser.add_subparsers(required=True)
    _policy_command(commands.add_parser("policy", help="print an IAM policy as JSON, or what it is for"))
    managed = commands.add_parser("managed", help="what policies managed by AWS allow, and do not")
    managed.set_defaults(run=_managed)
    examined = commands.add_parser("doctor", help="look at all that a job needs, and say what mends it")
    examined.add_argument("--reward", metavar="ARN", help="the reward function")
    examined.add_argument("--model", action="append", default=[], help="a model to train; may be repeated")
    examined.add_argument("--judge", action="append", default=[], help="a model that the reward asks; may be repeated")
    for name in ("region", "profile", "project", "base-url"):
        examined.add_argument(f"--{name}", help="as for Client")
    examined.add_argument("--auth", choices=["api_key", "aws"], help="as for Client")
    examined.add_argument("--seconds", type=float, default=20.0, help="for all of it (20)")
    examined.set_defaults(run=_doctor)
    minting = commands.add_parser("key", help="make a short-term API key from AWS credentials, and print it")
    minting.add_argument("--region", help="the only region it will work in")
    minting.add_argument("--profile", help="a profile of the AWS configuration")
    minting.add_argument("--hours", type=float, default=12, help="how long it lives (12, the longest)")
    minting.set_defaults(run=_key)
    add_commands(commands, _opened)
    options = parser.parse_args(arguments)
    run: Callable[[Options], int] = options.run
    try:
        return run(options)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2


def _opened(**settings: Any) -> Client:
    from bedrock_rft import Client

    return Client(**settings)


def _policy_command(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", choices=sorted(_KINDS), metavar="kind", help=f"one of {', '.join(sorted(_KINDS))}")
    parser.add_argument("--region", help="where the jobs run; the reward function's region where it is left out")
    parser.add_argument("--account", help="12 digits; the reward function's account where it is left out")
    parser.add_argument("--reward", metavar="ARN", help="the reward function")
    parser.add_argument("--project", help="a Bedrock project; the default one where it is left out")
    parser.add_argument("--model", action="append", default=[], help="a model to train, or a judge; may be repeated")
    parser.add_argument("--api-key", action="store_true", help="calls are made with a Bedrock API key")
    parser.add_argument("--role", help="the execution role, by name or ARN")
    parser.add_argument("--permissions-boundary", metavar="ARN", help="that its role has to stay within")
    parser.add_argument("--explain", action="store_true", help="say what each statement is for")
    parser.set_defaults(run=_policy)


def _policy(options: Options) -> int:
    policy = _KINDS[options.kind](options)
    print_line(str(policy) if options.explain else policy.json())
    return 0


def _managed(_: Options) -> int:
    for each in MANAGED_POLICIES:
        print_line("\n".join(wrap(str(each))))
    return 0


def _doctor(options: Options) -> int:
    """An API key comes from the environment alone: arguments can be read by every program of the machine."""
    where = {name: getattr(options, name) for name in ("region", "profile", "project", "base_url", "auth")}
    with _opened(**where) as client:
        report = doctor(
            client, reward=options.reward, models=options.model, judges=options.judge, seconds=options.seconds
        )
    print_line(str(report))
    return 0 if report.ok else 1


def _key(options: Options) -> int:
    """The one thing on standard output is the key: `export AWS_BEARER_TOKEN_BEDROCK=$(…)`."""
    key = mint_api_key(options.region, profile=options.profile, expires_in=options.hours * 3600)
    print_line(key.reveal())
    print_error(f"for {key.region}, until {key.expires_at:%Y-%m-%d %H:%M} UTC")
    return 0


def _asked(options: Options, name: str) -> str:
    """An option that this kind of policy cannot do without."""
    value: str | None = getattr(options, name)
    if value is None and options.reward is not None and name in {"region", "account"}:
        from bedrock_rft.types.arn import LambdaArn

        value = getattr(LambdaArn(options.reward), name)
    if not value:
        raise ConfigurationError(f"A {options.kind} policy needs --{name}.")
    return value


_KINDS: Mapping[str, Callable[[Options], Policy]] = {
    "caller": lambda given: policies.caller_policy(
        _asked(given, "region"),
        _asked(given, "account"),
        reward=given.reward,
        project=given.project,
        models=given.model,
        api_key=given.api_key,
    ),
    "watcher": lambda given: policies.watcher_policy(
        _asked(given, "region"), _asked(given, "account"), project=given.project, api_key=given.api_key
    ),
    "invoke": lambda given: policies.invoke_policy(_asked(given, "reward")),
    "execution": lambda given: policies.execution_policy(_asked(given, "reward"), judges=given.model),
    "trust": lambda given: policies.trust_policy(given.account, reward=given.reward),
    "judge": lambda given: judge_policy(given.model, _asked(given, "region"), given.account),
    "deployer": lambda given: policies.deployer_policy(
        _asked(given, "reward"), role=_asked(given, "role"), permissions_boundary=given.permissions_boundary
    ),
}

if __name__ == "__main__":
    sys.exit(main())
