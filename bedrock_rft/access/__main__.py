"""`python -m bedrock_rft.access policy caller --region us-west-2 --account 123456789012 --reward ARN`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.findings import wrap
from bedrock_rft._core.output import print_error, print_line
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._doctor.doctor import doctor
from bedrock_rft.access._keys import mint_api_key
from bedrock_rft.access._policies import rft_policies as policies
from bedrock_rft.access._policies.judge_policies import judge_policy
from bedrock_rft.access._policies.managed_policies import MANAGED_POLICIES
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.errors import BedrockRFTError, ConfigurationError, RewardError
from bedrock_rft.rewards._targets.resolve import load_gold
from bedrock_rft.types.arn import LambdaArn

if TYPE_CHECKING:
    from bedrock_rft import Client

Options = argparse.Namespace

_MANY: Mapping[str, Any] = {"action": "append", "default": []}
_CLIENT_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "--region": {"help": "the AWS region; by default as for Client"},
    "--profile": {"help": "a profile of the AWS configuration"},
}
_DEPLOY_SETTINGS = (
    "name", "timeout", "memory", "models", "requirements", "include", "allow", "runtime", "architecture", "role_arn",
    "permissions_boundary", "bucket", "keep_versions",
)  # fmt: skip
_PLANNED: Mapping[str, Mapping[str, Any]] = {
    "--plan": {"action": "store_true", "help": "show the steps and change nothing"},
    **_CLIENT_OPTIONS,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Return 0 if it succeeds, 1 if it finds errors, 2 if it cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m bedrock_rft.access", description="Permissions, the doctor, deployment and keys."
    )
    commands = parser.add_subparsers(required=True)
    for name, (run, about, arguments_of) in _COMMANDS.items():
        command = commands.add_parser(name, help=about)
        for argument, settings in arguments_of.items():
            command.add_argument(argument, **settings)
        command.set_defaults(run=run)
    options = parser.parse_args(arguments)
    try:
        status: int = options.run(options)
    except BedrockRFTError as error:
        print_error(f"error: {error}")
        return 2
    return status


def _open_client(**settings: Any) -> Client:
    from bedrock_rft import Client

    return Client(**settings)


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


def _deploy(options: Options) -> int:
    """Deploy or plan. Return 1 if the check found errors, else 0. The last line of `deploy` is the ARN."""
    for tag in options.tag:
        if "=" not in tag:
            raise ConfigurationError(f"--tag {sanitize_line(tag, 80)} is not KEY=VALUE.")
    settings = {name: getattr(options, name) for name in _DEPLOY_SETTINGS}
    settings["tags"] = dict(tag.split("=", 1) for tag in options.tag)
    with _open_client(region=options.region, profile=options.profile, auth="aws") as client:
        if options.plan:
            print_line(str(client.rewards.plan(options.reward, **settings)))
            return 0
        gold = load_gold(options.gold) if options.gold else None
        shown: Sequence[object]
        try:
            deployed = client.rewards.deploy(
                options.reward, dataset=options.data, check=not options.no_check, gold=gold, **settings
            )
        except RewardError as error:
            shown, status = [str(error), error.report], 1
        else:
            shown, status = [deployed.plan, deployed.report, deployed.arn], 0
    for part in shown:
        if part is not None:
            print_line(str(part))
    return status


def _destroy(options: Options) -> int:
    with _open_client(region=options.region, profile=options.profile, auth="aws") as client:
        if options.plan:
            plan = client.rewards.plan_destroy(options.reward)
        else:
            plan = client.rewards.destroy(options.reward, force=options.force)
    print_line(str(plan))
    return 0


def _required(options: Options, name: str) -> str:
    """Return an option that this kind of policy requires. Raises `ConfigurationError`."""
    value: str | None = getattr(options, name)
    if value is None and options.reward is not None and name in {"region", "account"}:
        value = getattr(LambdaArn(options.reward), name)
    if not value:
        raise ConfigurationError(f"A {options.kind} policy needs --{name}.")
    return value


def _project_policy(build_policy: Callable[..., Policy], *names: str) -> Callable[[Options], Policy]:
    """Return a function that makes a policy for a project from options."""

    def run(options: Options) -> Policy:
        settings = {name: getattr(options, "model" if name == "models" else name) for name in names}
        region, account = _required(options, "region"), _required(options, "account")
        api_key = "short-term" if options.short_term_keys else options.api_key
        return build_policy(region, account, project=options.project, api_key=api_key, **settings)

    return run


_KINDS: Mapping[str, Callable[[Options], Policy]] = {
    "caller": _project_policy(policies.caller_policy, "reward", "models"),
    "watcher": _project_policy(policies.watcher_policy),
    "doctor": _project_policy(policies.doctor_policy, "reward"),
    "invoke": lambda options: policies.invoke_policy(_required(options, "reward")),
    "execution": lambda options: policies.execution_policy(_required(options, "reward"), judges=options.model),
    "trust": lambda options: policies.trust_policy(options.account, reward=options.reward),
    "judge": lambda options: judge_policy(options.model, _required(options, "region"), options.account),
    "deployer": lambda options: policies.deployer_policy(
        _required(options, "reward"),
        role=_required(options, "role"),
        permissions_boundary=options.permissions_boundary,
        bucket=options.bucket,
    ),
}

_Command = tuple[Callable[[Options], int], str, Mapping[str, Mapping[str, Any]]]

_COMMANDS: Mapping[str, _Command] = {
    "policy": (
        _policy,
        "print an IAM policy as JSON, or its explanation",
        {
            "kind": {"choices": sorted(_KINDS), "metavar": "kind", "help": f"one of {', '.join(sorted(_KINDS))}"},
            "--region": {"help": "region of the jobs; by default the reward function's"},
            "--account": {"help": "12 digits; by default the reward function's account"},
            "--reward": {"metavar": "ARN", "help": "the reward function"},
            "--project": {"help": "a Bedrock project; by default the default project"},
            "--model": {**_MANY, "help": "a model to train, or a judge; may be repeated"},
            "--api-key": {"action": "store_true", "help": "requests use a Bedrock API key"},
            "--short-term-keys": {"action": "store_true", "help": "requests use short-term API keys only"},
            "--role": {"help": "the execution role, by name or ARN"},
            "--permissions-boundary": {"metavar": "ARN", "help": "permissions boundary of its role"},
            "--bucket": {"help": "S3 bucket for packages above 50 MB"},
            "--explain": {"action": "store_true", "help": "give the reason for each statement"},
        },
    ),
    "managed": (_managed, "show which actions AWS managed policies allow and lack", {}),
    "doctor": (
        _doctor,
        "check everything that a job needs, with a remedy for each fault",
        {
            "--reward": {"metavar": "ARN", "help": "the reward function"},
            "--model": {**_MANY, "help": "a model to train; may be repeated"},
            "--judge": {**_MANY, "help": "a model that the reward invokes; may be repeated"},
            **{f"--{name}": {"help": "as for Client"} for name in ("region", "profile", "project", "base-url")},
            "--auth": {"choices": ["api_key", "aws"], "help": "as for Client"},
            "--seconds": {"type": float, "default": 20.0, "help": "time limit of all checks (20)"},
        },
    ),
    "key": (
        _key,
        "create a short-term API key from AWS credentials and print it",
        {
            **_CLIENT_OPTIONS,
            "--hours": {"type": float, "default": 12, "help": "hours until it expires (12, the maximum)"},
        },
    ),
    "deploy": (
        _deploy,
        "deploy a reward to Lambda and check it",
        {
            "reward": {"help": "path/to/file.py:name"},
            "--name": {"required": True, "help": "name of the function"},
            "--data": {"help": "JSONL file to check the deployed function with"},
            "--no-check": {"action": "store_true", "help": "skip the check"},
            "--gold": {"metavar": "FILE:NAME", "help": "a function that returns the right answer to a record"},
            "--timeout": {"type": int, "help": "seconds that an invocation may take"},
            "--memory": {"type": int, "help": "megabytes"},
            "--judge": {**_MANY, "dest": "models", "help": "a model that it invokes; may be repeated"},
            "--requirement": {**_MANY, "dest": "requirements", "help": "name==version; may be repeated"},
            "--include": {**_MANY, "help": "a further file; may be repeated"},
            "--runtime": {"default": "python3.13", "help": "Lambda's name of a Python version (python3.13)"},
            "--architecture": {"default": "x86_64", "help": "x86_64 or arm64 (x86_64)"},
            "--role": {"metavar": "ARN", "dest": "role_arn", "help": "an execution role that exists"},
            "--permissions-boundary": {"metavar": "ARN", "help": "permissions boundary of the created role"},
            "--bucket": {"help": "S3 bucket for a package above 50 MB"},
            "--keep-versions": {"type": int, "help": "delete older versions, except those of running jobs"},
            "--allow": {
                **_MANY,
                "metavar": "NAME",
                "help": "text that looks like a secret and is none, as the error names it",
            },
            "--tag": {**_MANY, "metavar": "KEY=VALUE", "help": "may be repeated"},
            **_PLANNED,
        },
    ),
    "destroy": (
        _destroy,
        "delete the function and the role that deploy created",
        {
            "reward": {"help": "its name or ARN"},
            "--force": {"action": "store_true", "help": "delete it even if a running job needs it"},
            **_PLANNED,
        },
    ),
}

if __name__ == "__main__":
    sys.exit(main())
