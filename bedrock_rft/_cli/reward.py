"""`bedrock-rft reward`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from bedrock_rft._cli.command import F, Group, gold_option, many, options, parse_pairs, range_option
from bedrock_rft._cli.output import (
    Columns,
    date,
    finish_report,
    is_terminal,
    note,
    print_text,
    show,
    show_list,
)
from bedrock_rft._cli.reward_source import check_reward, load_gold, resolve_file, reward_client, reward_target
from bedrock_rft._cli.settings import FORMATS, confirm, open_client, settings
from bedrock_rft._core.output import print_error
from bedrock_rft._core.text import sanitize_text

_RUNTIMES = ("python3.10", "python3.11", "python3.12", "python3.13", "python3.14")
_SOURCE = "REWARD"
_PLAN = "bedrock_rft.access.Plan"
_SCORES: Columns = {
    "id": lambda one: one.id,
    "score": lambda one: one.score,
    "parts": lambda one: _parts(one.parts),
    "error": lambda one: one.error,
}
_ROLLOUTS: Columns = {
    "id": lambda one: one.id,
    "score": lambda one: one.score,
    "parts": lambda one: _parts(one.metrics),
}
_LINES: Columns = {"time": lambda line: date(line.at), "message": lambda line: line.message}

reward = Group(
    "reward",
    help="Check, deploy and invoke reward functions. A REWARD is file.py:name, file.py "
    "with one reward, a zip, the ARN of a deployed function, or its name.",
)

_reward = click.argument("source", metavar=_SOURCE, callback=check_reward)
_package_options = options(
    many("--requirement", "requirements", metavar="NAME==VERSION", help="A package to install with the reward."),
    many("--include", metavar="FILE", help="Another file to package."),
    many("--allow", metavar="TEXT", help="Text that looks like a secret but is not, by its name in the error."),
    click.option(
        "--runtime",
        type=click.Choice(_RUNTIMES),
        metavar="NAME",
        default="python3.13",
        help="Lambda runtime, python3.10 to python3.14. Default: python3.13.",
    ),
    click.option("--architecture", type=click.Choice(["x86_64", "arm64"]), default="x86_64", help="Default: x86_64."),
    click.option("--record", metavar="S3-URI", help="Record prompts and answers at S3-URI: s3://bucket/prefix."),
)
_function_options = options(
    click.option("--timeout", type=int, metavar="SECONDS", help="Seconds that an invocation may take. Default: 300."),
    click.option("--memory", type=int, metavar="MB", help="Memory in megabytes. Default: 512."),
    many("--judge", "models", metavar="ID", help="A model that the reward invokes."),
    click.option("--role", "role_arn", metavar="ARN", help="An existing execution role. Default: create one."),
    click.option("--permissions-boundary", metavar="ARN", help="Permissions boundary of the created role."),
    click.option("--bucket", metavar="NAME", help="S3 bucket for a package above 50 MB."),
    click.option("--keep-versions", type=int, metavar="N", help="Keep this many versions, and those of running jobs."),
    many("--tag", "tags", metavar="KEY=VALUE", help="A tag of the function and the role."),
)
_deploy_options = options(_function_options, _package_options)


def _share_option(name: str, about: str) -> Callable[[F], F]:
    about = f"{about}; more is an error. Default: 0.25."
    return click.option(name, type=click.FloatRange(0, 1), metavar="SHARE", help=about)


@reward.command("new", shape='{"files"}')
@click.argument("path", metavar="[FILE.py]", default="reward.py")
def new(path: str) -> None:
    """Write a reward file with one function, and a test of it.

    FILE.py is reward.py by default. Existing files are kept.
    """
    from bedrock_rft._cli.init import reward_files, write_new

    written = write_new(reward_files(Path(path)))
    show({"files": written}, text="\n".join(written), ids=written)
    note(f"Try it:  python -m pytest {written[-1]}", wrap=False)
    note(f"Next:    bedrock-rft reward check {path} train.jsonl", wrap=False)


@reward.command("from-openai", shape='{"files"}')
@click.argument("grader", metavar="FILE.json", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "-o",
    "--out",
    "out",
    metavar="FILE.py",
    multiple=True,
    help="The file to write. Default: reward.py. With a format, such as json, -o is the global option.",
)
@many("--judge", "judges", metavar="[MODEL=]ID", help="The Bedrock model that replaces OpenAI's models, or its MODEL")
def from_openai(grader: str, out: tuple[str, ...], judges: tuple[str, ...]) -> None:
    """Write a reward file for an OpenAI grader.

    FILE.json holds a grader, a whole fine-tuning job, or the body of the request
    that creates a job. An existing file is kept.
    """
    from bedrock_rft import rewards
    from bedrock_rft._cli.init import write_new

    for form in set(out).intersection(FORMATS):
        settings().output = form
    path = ["reward.py", *(one for one in out if one not in FORMATS)][-1]
    by_model = dict(judge.split("=", 1) for judge in judges if "=" in judge)
    judge: Any = by_model or (judges[0] if judges else None)
    written = write_new({Path(path): rewards.openai_source(grader, judge=judge)})
    show({"files": written}, text="\n".join(written), ids=written)
    note(f"Next:    bedrock-rft reward check {path}:lambda_handler train.jsonl", wrap=False)


@reward.command("check", shape="bedrock_rft.rewards.Report")
@_reward
@click.argument("dataset", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@gold_option
@click.option("--size", type=click.IntRange(1), metavar="N", default=20, help="Records to try. Default: 20.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Seconds that an invocation may take. Default: 300.")
@click.option("--seed", type=int, metavar="N", default=0, help="Random seed. Default: 0.")
@click.option("--accuracy", is_flag=True, help="Measure how often right answers fail and wrong ones pass.")
@click.option(
    "--cases", metavar="PATH", help="Your own answers to measure: JSON lines with record, answer and expected."
)
@_share_option("--max-false-positives", "Share of wrong answers that may pass")
@_share_option("--max-false-negatives", "Share of right answers that may fail")
@range_option
def check(source: str, dataset: str, gold: str | None, cases: str | None, **given: Any) -> None:
    """Try a reward on the records of FILE, with right, wrong and odd answers.

    The exit code is 3 if there are errors.
    """
    from bedrock_rft import rewards

    shares = {name: given.pop(name) for name in ("max_false_positives", "max_false_negatives")}
    shares = {name: share for name, share in shares.items() if share is not None}
    if shares and not (given["accuracy"] or cases):
        flag = f"--{next(iter(shares)).replace('_', '-')}"
        raise click.UsageError(f"{flag} limits what --accuracy or --cases measures. Add one of them, or leave it out.")
    given |= {"gold": load_gold(gold), "cases": cases or (), **shares}
    with reward_client(source) as client:
        report = rewards.check(_target(client, source), dataset, client=client, progress=True, **given)
    finish_report(report)


@reward.command("score", shape="a list of bedrock_rft.rewards.ScoredAnswer")
@_reward
@click.argument("rows", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@many("--answer", "answers", metavar="TEXT", help="An answer to the record of --line.")
@click.option("--line", type=click.IntRange(1), metavar="N", help="The record to answer. Default: 1.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Seconds that an invocation may take.")
@click.option("--resume", metavar="PATH", help="Keep the scores in PATH, and continue from PATH.")
@click.option("--record", metavar="LOCATION", help="Record the answers in this folder, or at s3://bucket/prefix.")
def score(source: str, rows: str, answers: tuple[str, ...], line: int | None, **given: Any) -> None:
    """Score answers with a reward.

    FILE holds JSON lines: records with an answer. With --answer, FILE holds
    records, and the answers belong to one of them.
    """
    from bedrock_rft import datasets, rewards

    scored: Any = rows
    if line is not None and not answers:
        raise click.UsageError("--line is the record that --answer belongs to. Add --answer, or leave out --line.")
    if answers:
        line = line or 1
        record = next(islice(datasets.read(rows), line - 1, None), None)
        if record is None:
            raise click.UsageError(f"{rows} has fewer than {line} records.")
        scored = [(record, answer) for answer in answers]
    given["progress"] = settings().output in {"table", "json"} or not is_terminal()  # rows as they arrive hide it
    with reward_client(source) as client:
        show_list(rewards.score(_target(client, source), scored, client=client, **given), _SCORES)


@reward.command("invoke", shape="bedrock_rft.rewards.Invocation")
@_reward
@click.argument("rollouts", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option("--timeout", type=float, metavar="SECONDS", help="Seconds that the invocation may take.")
def invoke(source: str, rollouts: str, timeout: float | None) -> None:
    """Invoke a reward once with the rollouts of FILE, as the service does.

    FILE holds JSON lines: rollouts, or records with an answer.
    """
    from bedrock_rft import rewards

    with reward_client(source) as client:
        done = rewards.invoke(_target(client, source), rollouts, timeout=timeout, client=client)
    if done.printed.strip():
        print_error(done.printed.rstrip())
    if settings().output in {"json", "jsonl"}:
        show(done, text="")
    elif done.error is None:
        show_list(done.scores, _ROLLOUTS)
    done.raise_for_error()


@reward.command("package", shape='{"path", "handler", "runtime", "sha256", "files", "requirements", "models"}')
@_reward
@click.option("--out", required=True, metavar="PATH", help="Path of the zip.")
@_package_options
def package(source: str, out: str, **given: Any) -> None:
    """Make the zip of a Lambda function, and load it in a clean process."""
    from bedrock_rft import rewards

    made = rewards.package(resolve_file(source), **given)
    made.write(out)
    found = {
        "path": out,
        "handler": made.handler,
        "runtime": made.runtime,
        "sha256": made.code_sha256,
        "files": [one.name for one in made.files],
        "requirements": list(made.requirements),
        "models": list(made.models),
    }
    show(found, text=str(made), ids=[out])
    note(f"The zip was written to {out}.")


@reward.command("plan", shape=_PLAN)
@_reward
@click.option("--name", required=True, metavar="NAME", help="The name of the function.")
@_deploy_options
def plan(source: str, name: str, **given: Any) -> None:
    """Show what 'deploy' would create and change. Nothing is changed."""
    with open_client(**_aws()) as client:
        found = client.rewards.plan(resolve_file(source), name=name, **_settings(given))
    show(found, text=str(found), ids=[step.name for step in found.steps if step.action != "leave"])


@reward.command("export", shape="a CloudFormation template")
@_reward
@click.option("--name", required=True, metavar="NAME", help="The name of the function.")
@click.option("--to", "path", metavar="FILE", help="Write the template to FILE. Default: standard output.")
@_deploy_options
def export(source: str, name: str, path: str | None, **given: Any) -> None:
    """Write what 'deploy' would create as a CloudFormation template.

    Upload the zip of 'reward package' to the bucket and key that the parameters
    of the template name.
    """
    with open_client(**_aws()) as client:
        text = client.rewards.plan(resolve_file(source), name=name, **_settings(given)).to_cloudformation(path)
    if path is None:
        print_text(text)
    else:
        note(f"The template was written to {path}.", wrap=False)


@reward.command("deploy", shape="bedrock_rft.access.DeployedReward")
@_reward
@click.option("--name", required=True, metavar="NAME", help="The name of the function.")
@click.option("--data", metavar="FILE", help="Records to check the deployed function with.")
@click.option("--no-check", is_flag=True, help="Do not check the deployed function.")
@gold_option
@_deploy_options
def deploy(source: str, name: str, data: str | None, gold: str | None, *, no_check: bool, **given: Any) -> None:
    """Deploy a reward to Lambda with an execution role, and check it.

    You can repeat the command: parts that are up to date are not changed. The
    exit code is 3 if the check finds errors.
    """
    with open_client(**_aws()) as client:
        made = client.rewards.deploy(
            resolve_file(source),
            name=name,
            dataset=data,
            check=not no_check,
            gold=load_gold(gold),
            **_settings(given),
        )
    parts = [str(part) for part in (made.plan, made.report) if part is not None]
    show(made, text="\n".join([*parts, made.arn]), ids=[made.arn])


@reward.command("logs", shape="a list of bedrock_rft.access.LogLine, or bedrock_rft.access.LogSummary")
@click.argument("name", metavar="NAME")
@click.option("--since", type=float, metavar="MINUTES", default=60.0, help="Minutes to look back. Default: 60.")
@click.option("-f", "--follow", is_flag=True, help="Wait for further lines.")
@click.option("--summary", is_flag=True, help="Show invocations, errors, durations and memory, and what to change.")
def logs(name: str, since: float, *, follow: bool, summary: bool) -> None:
    """Show the log of a deployed function, given by its name or ARN.

    With --summary, the exit code is 3 if invocations failed.
    """
    if follow and summary:
        raise click.UsageError("--follow never ends, so --summary cannot be printed. Use only one of the two.")
    with open_client(**_aws()) as client:
        rewards: Any = client.rewards  # `follow` decides the type
        lines = rewards.logs(name, since=since * 60, follow=follow)
        if summary:
            finish_report(lines.summary())
        elif settings().output != "table":
            if follow and settings().output == "json":
                settings().output = "jsonl"  # an array would never end
            show_list(lines, _LINES)
        elif not (follow or lines):
            note("There are no log lines.")
        else:
            for line in lines:
                text = line.message.replace("\r", "\n").expandtabs(2)  # the lines of a traceback are separated by \r
                print_text(f"{date(line.at)}  {sanitize_text(text)}")


@reward.command("destroy", shape=_PLAN)
@click.argument("name", metavar="NAME")
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be deleted, and change nothing.")
@click.option("--force", is_flag=True, help="Delete the function even if a running job needs it.")
def destroy(name: str, *, only_plan: bool, force: bool) -> None:
    """Delete a function, given by its name or ARN, and the role that 'deploy' made."""
    with open_client(**_aws()) as client:
        if only_plan:
            found = client.rewards.plan_destroy(name)
        else:
            confirm(f"Delete the function {name} with all its versions, and its role?")
            found = client.rewards.destroy(name, force=force)
    show(found, text=str(found), ids=[step.name for step in found.steps if step.action == "delete"])


def _aws() -> Mapping[str, Any]:
    """Return the identity for Lambda: AWS credentials, even if the environment also has an API key."""
    return {} if settings().auth else {"auth": "aws"}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {**given, "tags": parse_pairs("--tag", given["tags"])}


def _target(client: Any, source: str) -> str:
    return resolve_file(source) if client is None else reward_target(client, source)


def _parts(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in parts.items())
