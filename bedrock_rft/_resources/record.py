"""Collect the record of a run from the service, the files and the reward."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, cast

from bedrock_rft._core.local_service import REHEARSAL, is_local
from bedrock_rft._core.version import __version__
from bedrock_rft._resources.base import AsyncResource
from bedrock_rft._resources.files import AsyncFiles
from bedrock_rft._resources.job_arguments import reported_hyperparameters
from bedrock_rft.costs import Prices
from bedrock_rft.datasets import Limits, validate
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.metrics import Metrics
from bedrock_rft.metrics._record import RunRecord
from bedrock_rft.types.jobs import MARKER, Job

_REWARD = "critic_rewards_mean"
_ENDS = 10


async def build_record(
    jobs: AsyncResource,
    metrics: Metrics,
    *,
    dataset: str | os.PathLike[str] | None,
    reward: Any,
    evaluation: Any,
    download: bool,
    prices: Prices | None,
) -> RunRecord:
    """Return the record of the job of some metrics; `AsyncJobs.record` describes the arguments."""
    from importlib.metadata import version

    job = metrics.job or Job.model_construct(id="")
    unknown: list[str] = []
    files: dict[str, dict[str, Any]] = {}
    sources = (
        ("training", job.training_file, dataset, Limits()),
        ("validation", job.validation_file, None, Limits(min_records=1)),
    )
    for kind, file, path, limits in sources:
        if file:
            files[kind] = await _file(jobs, file, path, unknown, download=download, limits=limits)
    config = jobs._session.config
    return RunRecord(
        job={
            "id": job.id,
            "status": job.status,
            "name": (job.metadata or {}).get(MARKER),
            "created_at": job.created_at,
            "finished_at": job.finished_at,
            "fine_tuned_model": job.fine_tuned_model,
            "error": job.error.message if job.status == "failed" and job.error else None,
        },
        request=_request(job),
        files=files,
        reward=await _reward(jobs, job, reward, unknown),
        metrics=_summary(metrics),
        evaluation=evaluation.to_dict() if evaluation is not None else None,
        cost=metrics.cost(prices=prices).to_dict(),
        software={"bedrock_rft": __version__, "openai": version("openai")},
        service={
            "region": config.region,
            "endpoint": config.identity.base_url,
            **({"note": REHEARSAL} if is_local(job.id) else {}),
        },
        unknown=tuple(unknown),
    )


def _request(job: Job) -> dict[str, Any]:
    """Return the body that creates the same job, without metadata of this package, which belong to one job."""
    metadata = {key: value for key, value in (job.metadata or {}).items() if not key.startswith("bedrock_rft_")}
    grader = {"type": "lambda", "lambda": {"function": str(job.reward)}} if job.reward else None
    fields: dict[str, Any] = {
        "model": job.model,
        "training_file": job.training_file,
        "validation_file": job.validation_file,
        "method": {
            "type": "reinforcement",
            "reinforcement": {"grader": grader, "hyperparameters": reported_hyperparameters(job)},
        },
        "metadata": metadata or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


async def _file(
    jobs: AsyncResource,
    file: str,
    path: str | os.PathLike[str] | None,
    unknown: list[str],
    *,
    download: bool,
    limits: Limits,
) -> dict[str, Any]:
    found: dict[str, Any] = {"id": file}
    files = AsyncFiles(jobs._session)
    try:
        stored = await files.retrieve(file)
        found |= {"filename": stored.filename, "bytes": stored.bytes}
        source: Any = path if path is not None else await files.content(file) if download else None
    except BedrockRFTError as error:
        unknown.append(f"content of file {file}: {error}")
        source = path
    if source is None:
        if not download:
            unknown.append(f"SHA-256 of file {file}: it was not downloaded")
        return found
    work: Callable[[], Any] = partial(validate, source, limits=limits)
    report = await jobs._session.transport.run(work)
    if path is not None and found.get("bytes") not in (None, report.size):
        unknown.append(f"the given dataset has {report.size:,} bytes, but file {file} has {found['bytes']:,}")
    return {**found, "sha256": report.sha256, "records": report.records, "verdict": report.verdict}


async def _reward(jobs: AsyncResource, job: Job, reward: Any, unknown: list[str]) -> dict[str, Any]:
    arn = str(job.reward) if job.reward else None
    known = getattr(reward, "code_sha256", None)
    if known is None and arn is not None:
        try:
            known = await jobs._session.transport.run(lambda: _package_hash(jobs._session.config, arn))
        except Exception as error:  # noqa: BLE001 - botocore raises other errors, whose text may hold secrets
            unknown.append(f"hash of the reward's package: Lambda did not return it ({type(error).__name__})")
        if known is None and not any("package" in each for each in unknown):
            why = (
                "the client has no AWS credentials to read it from Lambda"
                if jobs._session.config.aws is None
                else "a client of another endpoint than that of AWS does not read it from Lambda"
            )
            unknown.append(f"hash of the reward's package: {why}")
    return {"arn": arn, "code_sha256": known}


def _package_hash(config: Any, arn: str) -> str | None:
    """Return the hash of a function's package from Lambda, or None without AWS credentials for it."""
    from bedrock_rft._auth.botocore_clients import AwsServices

    if config.aws is None:
        return None
    with closing(AwsServices(config, {}, timeout=config.timeout, retries=2)) as services:
        if services.real_host("lambda"):  # a client of a local service sends nothing to AWS
            return None
        found: dict[str, Any] = services.client("lambda").get_function_configuration(FunctionName=arn)
        return cast("str | None", found.get("CodeSha256"))


def _summary(metrics: Metrics) -> dict[str, Any]:
    rewards = [value for _, value in metrics.series(_REWARD)]
    size = min(_ENDS, len(rewards))
    health = metrics.health(reward_range=None)
    return {
        "steps": len(metrics),
        "total_steps": metrics.total_steps,
        "first_rewards_mean": sum(rewards[:size]) / size if size else None,
        "last_rewards_mean": sum(rewards[-size:]) / size if size else None,
        "rewards_averaged": size,
        "checkpoints": [one.step_number for one in metrics.checkpoints],
        "health": health.verdict,
        "findings": [finding.code for finding in (*health.errors, *health.warnings)],
    }
