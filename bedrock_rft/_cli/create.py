"""`bedrock-rft jobs create`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Generator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click

from bedrock_rft._cli.background import open_private
from bedrock_rft._cli.command import (
    PROGRAM,
    Command,
    gold_option,
    hyperparameter_options,
    many,
    parse_pairs,
    pop_hyperparameters,
)
from bedrock_rft._cli.completion import file_ids
from bedrock_rft._cli.failures import FOUND_ERRORS, finish, on_interrupt, warn
from bedrock_rft._cli.files import upload_file
from bedrock_rft._cli.id_cache import cache_folder
from bedrock_rft._cli.job_file import JobSettings, is_path, override_with_flags, read_body, read_job_file
from bedrock_rft._cli.jobs import JOB, JOB_FIELDS
from bedrock_rft._cli.output import note, print_text, report_text, reword_report, show_one, to_json
from bedrock_rft._cli.reward_source import check_reward, is_file, load_gold, resolve_file, reward_target
from bedrock_rft._cli.settings import confirm, open_client, settings
from bedrock_rft._core.file_lock import try_lock
from bedrock_rft._core.output import print_error

if TYPE_CHECKING:
    from bedrock_rft import Client

_NO_ACCOUNT = "0" * 12
_LOCK_STEP = 0.1
"""Seconds between attempts to lock."""
_PLACES = 1 << 30
"""Size of the lock file in bytes. Each name locks one byte, so that other names do not wait."""


_DRY_RUN = '{"request", "data", "reward", "doctor", "plan", "estimate", "ok"}'


@click.command("create", cls=Command, shape=f"{JOB}; with --dry-run {_DRY_RUN}")
@click.argument("job_file", metavar="[RUN.toml|JSON]", required=False, type=click.Path(exists=True, dir_okay=False))
@click.option("--model", metavar="ID", help="The base model, such as openai.gpt-oss-20b.")
@click.option(
    "--training-file",
    metavar="PATH|ID",
    shell_complete=file_ids,
    help="A path, which is checked and uploaded, or an id.",
)
@click.option(
    "--validation-file", metavar="PATH|ID", shell_complete=file_ids, help="A path or an id, as for --training-file."
)
@click.option("--reward", metavar="REWARD", help="An ARN, a deployed name, or file.py:name, which is deployed.")
@click.option("--reward-name", metavar="NAME", help="Name to deploy a reward file as. Default: derived from the file.")
@gold_option
@hyperparameter_options
@many("--metadata", metavar="KEY=VALUE", help="Text to store with the job.")
@click.option("--name", metavar="NAME", help="A unique name. If a job has this name, that job is used.")
@click.option(
    "--from", "card", metavar="FILE", help="Repeat a run from the JSON of 'jobs record'; flags override FILE."
)
@click.option("--new", is_flag=True, help="Create a job even if a job with the same content exists.")
@click.option("--dry-run", is_flag=True, help="Create nothing: check everything, and print the request.")
def create(job_file: str | None, gold: str | None, card: str | None, *, new: bool, dry_run: bool, **flags: Any) -> None:
    """Create a job from run.toml, from flags, or from both; flags override the file.

    JSON is a file with a request body for OpenAI's client, or with an OpenAI job.

    A path is checked and uploaded, unless the service has the same file. A reward
    file is deployed after a confirmation. Without --name, a name is derived from
    the content, so the same command finds its job and creates no second job.

    The exit code is 3 if a check finds errors, and 5 if the job may exist.
    """
    if empty := [name for name, value in flags.items() if value == ""]:
        raise click.UsageError(f"--{empty[0].replace('_', '-')} is empty.")
    if new and flags["name"]:
        raise click.UsageError("--new and --name exclude each other: a name belongs to one job.")
    if card is not None and job_file is not None:
        raise click.UsageError("--from and a job file exclude each other.")
    if card is not None:
        from bedrock_rft.metrics import RunRecord

        base = read_body(dict(RunRecord.load(card).request))
    else:
        base = read_job_file(job_file) if job_file is not None else JobSettings()
    given = override_with_flags(base, _to_settings(flags)).raise_if_incomplete()
    for file in (given.training_file, given.validation_file):
        if file is not None and is_path(file) and not Path(file).is_file():
            raise click.UsageError(f"There is no file {file}.")
    check_reward(click.get_current_context(), None, str(given.reward))
    if dry_run:
        with open_client() as client:
            _dry_run(client, given, gold)
        return
    with open_client() as client:
        show_one(_create(client, given, gold, new=new), JOB_FIELDS)


def _create(client: Client, given: JobSettings, gold: str | None, *, new: bool) -> Any:
    source, package = _reward(client, given)
    name = given.name
    if name is None and new:  # for Ctrl-C or a crash before the response
        name = f"cli-{uuid4().hex}"
    elif name is None:
        name = given.derive_name(source if package is None else package.code_sha256)
    with _lock_name(name):
        if not (given.name or new):
            existing = client.jobs.find(name)
            if existing is not None:
                note(f"Job {existing.id} was created earlier. --new creates another job with the same content.")
                if existing.status in {"failed", "cancelled"}:
                    warn(f"Job {existing.id} is {existing.status}. Pass --new to train again.")
                return existing
        earlier = client.jobs.find(name) if given.name else None
        job = _create_named(client, given, gold, source, package, name)
        if earlier is not None and job.id == earlier.id:
            note(
                f"Job {job.id} with the name '{name}' was created earlier, and no job was created now. "
                "Hyperparameters that you left out were not compared."
            )
        return job


@contextlib.contextmanager
def _lock_name(name: str) -> Generator[None]:
    """Wait until no other process of this user on this machine creates a job with this name."""
    try:
        cache_folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = open_private(cache_folder() / "create.lock")
    except OSError:  # without a folder that can be written, there is no lock
        yield
        return
    with stream:
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % _PLACES
        if try_lock(stream.fileno(), place) is False:
            note("Another process creates the same job. Waiting for it.")
            while try_lock(stream.fileno(), place) is False:
                time.sleep(_LOCK_STEP)
        yield


def _create_named(client: Client, given: JobSettings, gold: str | None, source: str, package: Any, name: str) -> Any:
    from bedrock_rft import datasets

    _request(client, given, source if package is None else None, name)  # raises before anything is sent
    training = str(given.training_file)
    if is_path(training):
        datasets.validate(training).raise_for_errors()
    if package is not None:
        source = _deploy(client, given, package, gold)
    files = {"training_file": _upload(client, training)}
    if given.validation_file is not None:
        files["validation_file"] = _upload(client, given.validation_file, min_records=1)
    on_interrupt(lambda: print_error(f"Stopped. The job may exist. Search with:\n  {PROGRAM} jobs find {name}"))
    return client.jobs.create(
        str(given.model),
        reward=source,
        hyperparameters=given.hyperparameters,
        metadata=given.metadata,
        name=name,
        **files,
    )


def _reward(client: Client, given: JobSettings) -> tuple[str, Any]:
    """Return the ARN of a deployed reward, or a file and its package."""
    reward = str(given.reward)
    if not is_file(reward):
        return reward_target(client, reward), None
    from bedrock_rft import rewards

    source = resolve_file(reward)
    return source, rewards.package(source)


def _function_name(given: JobSettings) -> str:
    """Return the name of the function that a file is deployed as."""
    if given.reward_name is not None:
        return given.reward_name
    path, _, name = resolve_file(str(given.reward)).rpartition(":")
    return re.sub(r"[^a-zA-Z0-9_-]", "-", f"{Path(path).stem}-{name}")[:64]


def _deploy(client: Client, given: JobSettings, package: Any, gold: str | None) -> str:
    name = _function_name(given)
    region = client.identity.region
    if not settings().yes:
        client.rewards.plan(package, name=name)  # raises before the question if it cannot be deployed
    confirm(f"Deploy {given.reward} to Lambda as the function {name} in {region}?")
    training = str(given.training_file)
    dataset = training if is_path(training) else None
    deployed = client.rewards.deploy(package, name=name, dataset=dataset, gold=load_gold(gold))
    note(str(deployed.plan))
    return str(deployed.arn)


def _upload(client: Client, file: str, min_records: int | None = None) -> Any:
    if not is_path(file):
        return file
    uploaded = upload_file(client, file, reuse=True, min_records=min_records)
    note(f"{file} is uploaded as {uploaded.id}.")
    return uploaded


def _dry_run(client: Client, given: JobSettings, gold: str | None) -> None:
    """Check everything and print the request. Nothing is created, uploaded or deployed."""
    from bedrock_rft import access, datasets, rewards

    reward, training = str(given.reward), str(given.training_file)
    report: dict[str, Any] = {}
    for key, file, limits in (
        ("data", training, datasets.Limits()),
        ("validation", given.validation_file, datasets.Limits(min_records=1)),
    ):
        if file is not None and is_path(file):
            report[key] = datasets.validate(file, limits=limits)
    target = reward_target(client, reward)
    arn = None if is_file(reward) else target
    if is_path(training) and report["data"].ok:
        report["reward"] = _check_reward(client, target, training, load_gold(gold))
    report["doctor"] = access.doctor(client, reward=arn, models=[str(given.model)])
    estimate = None
    if is_path(training) and report["data"].ok:
        estimate = client.estimate(
            training, reward=target, hyperparameters=given.hyperparameters, model=str(given.model), evaluation=0
        )
    plan, source = None, arn
    if source is None:
        package = rewards.package(target)
        source = package.code_sha256
        plan, problems = _plan(client, given, package)
        doctor = report["doctor"]
        pending = f"{reward}, which is not deployed yet"
        report["doctor"] = replace(doctor, reward=pending, findings=(*doctor.findings, *problems))
    name = given.name or given.derive_name(source)
    request = _request(client, given, arn, name)
    ok = all(one.ok for one in report.values())
    if settings().output in {"json", "jsonl"}:
        shown = {key: to_json(reword_report(one)) for key, one in report.items()}
        shown |= {key: to_json(one) for key, one in (("plan", plan), ("estimate", estimate)) if one is not None}
        found = {"request": request, **shown, "ok": ok}
        print_text(json.dumps(found, indent=2 if settings().output == "json" else None))
    else:
        for text in (*map(report_text, report.values()), plan, estimate):
            if text is not None:
                print_text(f"{text}\n")
        print_text(f"Request, which was not sent:\n{json.dumps(request, indent=2)}")
    finish(0 if ok else FOUND_ERRORS)


def _check_reward(client: Client, target: str, training: str, gold: Any) -> Any:
    """Return the report on the reward. If a deployed reward cannot be invoked, the report has the reason."""
    from bedrock_rft import rewards
    from bedrock_rft._core.findings import Finding
    from bedrock_rft.errors import ConfigurationError

    try:
        return rewards.check(target, training, client=client, gold=gold)
    except ConfigurationError as error:
        if is_file(target):
            raise
        # Invoking a deployed reward needs AWS credentials, which a job with this reward does not need.
        unknown = Finding("unknown", "reward_not_checked", "The reward was not checked", str(error))
        return rewards.Report(f"Check of {target}", (unknown,), target=target)


def _plan(client: Client, given: JobSettings, package: Any) -> tuple[Any, list[Any]]:
    """Return the plan of the deployment, or None and a finding with the reason."""
    from bedrock_rft._core.findings import Finding
    from bedrock_rft.errors import BedrockRFTError, ConfigurationError

    try:
        return client.rewards.plan(package, name=_function_name(given)), []
    except ConfigurationError as error:
        summary = f"The real run would not create a job, because {given.reward} cannot be deployed"
        return None, [Finding("error", "not_deployable", summary, str(error))]
    except BedrockRFTError as error:  # such as a lost connection
        summary = "The deployment of the reward file could not be planned"
        return None, [Finding("warning", "not_deployable", summary, str(error))]


def _request(client: Client, given: JobSettings, arn: str | None, name: str | None) -> Mapping[str, Any]:
    """Return the request body, with placeholders for values that exist only after an upload or a deployment."""
    placeholder = f"arn:aws:lambda:{client.identity.region}:{_NO_ACCOUNT}:function:reward"
    files = {"training_file": given.training_file, "validation_file": given.validation_file}
    sent = {key: "file" if file is not None and is_path(file) else file for key, file in files.items()}
    body: dict[str, Any] = client.jobs.prepare(
        str(given.model),
        training_file=str(sent["training_file"]),
        validation_file=sent["validation_file"],
        reward=arn or placeholder,
        hyperparameters=given.hyperparameters,
        metadata=given.metadata,
        name=name,
    ).sent()
    for key, file in files.items():
        if file is not None and is_path(file):
            body[key] = f"<the id of {file} after its upload>"
    if arn is None:
        grader = body["method"]["reinforcement"]["grader"]
        grader["lambda"]["function"] = f"<the ARN of {given.reward}, deployed as {_function_name(given)}>"
    return body


def _to_settings(flags: dict[str, Any]) -> Mapping[str, Any]:
    """Return the flags as settings of a job file, with hyperparameters and metadata as tables."""
    names = ("model", "training_file", "validation_file", "reward", "reward_name", "name")
    return {
        **{name: flags[name] for name in names},
        "hyperparameters": pop_hyperparameters(flags),
        "metadata": parse_pairs("--metadata", flags["metadata"]),
    }
