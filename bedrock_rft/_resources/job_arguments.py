"""Arguments of job creation: rewards, uploaded files, earlier jobs, and jobs with the same name."""

from __future__ import annotations

import os
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.jobs import CreateJob, Job, hyperparameters_of
from bedrock_rft.types.method import LambdaGrader

_FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt", ".gz")


def raise_missing_argument(job: Job, argument: str) -> NoReturn:
    """Raise because an earlier job does not report an argument."""
    raise ConfigurationError(f"Job {job.id} has no {argument}. Pass {argument}=….")


def reported_hyperparameters(job: Job) -> dict[str, Any]:
    """Return the hyperparameters that a job reports, without those that the service chose as `auto`."""
    whole = ("n_epochs", "batch_size")
    known = {key: value for key, value in hyperparameters_of(job).items() if not isinstance(value, str)}
    return {key: int(value) if key in whole and value == int(value) else value for key, value in known.items()}


def parse_grader(reward: object) -> LambdaGrader:
    """Return the grader for a deployed reward. Raises `ConfigurationError` for anything else."""
    if isinstance(reward, LambdaGrader):
        return reward
    arn: Any = reward if isinstance(reward, str) else getattr(reward, "arn", reward)
    if not isinstance(arn, str) or arn.partition(":")[0].endswith((".py", ".zip")):
        given = f"'{sanitize_line(arn, 80)}'" if isinstance(arn, str) else f"a {type(reward).__name__}"
        raise ConfigurationError(
            f"reward is {given}, not a deployed function. Deploy it first, and pass the result: reward = "
            "client.rewards.deploy(…, name='my-reward')."
        )
    return LambdaGrader.of(arn)


def raise_for_path(argument: str, value: object) -> None:
    """Raise if a local file was passed instead of an uploaded one."""
    path = os.fspath(cast("os.PathLike[str]", value)) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        return
    if isinstance(value, os.PathLike) or path.endswith(_FILE_SUFFIXES) or "/" in path or "\\" in path:
        shown = sanitize_line(path, 120)
        raise ConfigurationError(
            f"{argument} is the path '{shown}', not an uploaded file. Upload it first, and pass the result: "
            f"client.files.upload({shown!r})."
        )


def check_same(existing: Job, body: CreateJob, name: str) -> Job:
    """Return the existing job with this name, or raise `ConfigurationError` if it differs from the request."""
    wanted = body.method.reinforcement
    # If the field is null, the job has no validation file; if the field is missing, nothing is known.
    no_file = "none" if "validation_file" in existing.model_fields_set else None
    pairs: list[tuple[str, object, object]] = [
        ("model", existing.model, body.model),
        ("reward", existing.reward, wanted.grader.arn),
        ("training_file", existing.training_file, body.training_file),
        ("validation_file", existing.validation_file or no_file, body.validation_file or "none"),
    ]
    settings = hyperparameters_of(existing)
    pairs += [(key, settings.get(key), value) for key, value in wanted.hyperparameters.items()]
    # A job may be reported without some fields, or with "auto" for a hyperparameter: only known values can differ.
    different = [
        f"{field} is {sanitize_line(str(old), 100)} in that job and {sanitize_line(str(new), 100)} in this call"
        for field, old, new in pairs
        if old not in (None, "", "auto") and old != new
    ]
    if different:
        reuse = " upload(…, reuse=True) returns a file that was already uploaded." if "_file is" in different[0] else ""
        raise ConfigurationError(
            f"The name '{name}' belongs to job {existing.id}, which differs: {'; '.join(different)}. Use another name "
            f"to create a new job.{reuse}"
        )
    if existing.status in {"failed", "cancelled"}:
        warn_once(
            f"Job {existing.id} with the name '{name}' is {existing.status}. This job is returned, and no new job was "
            "created. To train again, use another name."
        )
    return existing
