"""Fine-tuning jobs: create, find, list and cancel."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, cast

from bedrock_rft._auth.endpoint import RFT_REGIONS, host_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import blocking, blocking_iter, checked_arguments, identifier, page_query, segment
from bedrock_rft._resources.create_job import JOBS, check_metadata, check_name, create, find
from bedrock_rft._resources.monitoring import AsyncMonitoring, Monitoring
from bedrock_rft._resources.raw_job import parse_create_body
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import BadRequestError, ConfigurationError, ConflictError
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.files import File
from bedrock_rft.types.jobs import CreateJob, CreateMethod, CreateReinforcement, Job
from bedrock_rft.types.method import Hyperparameters, LambdaGrader
from bedrock_rft.types.models import KNOWN_MODELS, Model

__all__ = ["AsyncJobs", "Deployed", "Jobs"]

_FILE_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".txt", ".gz")


class Deployed(Protocol):
    """A deployed reward: any object with an ARN."""

    @property
    def arn(self) -> str:
        """Return the ARN of the function."""
        ...


class AsyncJobs(AsyncMonitoring):
    """`client.jobs`: reinforcement fine-tuning jobs."""

    @checked_arguments
    async def create(
        self,
        model: Model | str,
        *,
        training_file: File | str,
        reward: LambdaArn | LambdaGrader | Deployed | str,
        validation_file: File | str | None = None,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> Job:
        """Create a job. One call creates at most one.

        The request is sent once. If the response is lost, the job is searched for by a marker in its metadata. If it is
        not found, the request is not repeated.

        Args:
            model: the base model, such as `openai.gpt-oss-20b`.
            training_file: the uploaded training file, or its id.
            reward: the reward Lambda, in the region of the client: its ARN, or the result of `client.rewards.deploy`.
            validation_file: prompts for validation metrics, not for training.
            hyperparameters: see `Hyperparameters`; the service chooses those that are left out.
            metadata: up to 15 strings to store with the job. The service may log them, so store no secrets.
            name: a unique name. If a job with this name exists, it is returned, so a script can be run again. If that
                job failed or was cancelled, a warning says so. If it has another model, reward, file or hyperparameter,
                `ConfigurationError` is raised.

        Raises:
            AmbiguousCreateError: the job may exist; the error says how to search for it.
            ConfigurationError: an argument is invalid; nothing was sent.
            APIStatusError: the service rejected the request.
        """
        marker = check_name(name)
        body = await self.prepare(
            model,
            training_file=training_file,
            reward=reward,
            validation_file=validation_file,
            hyperparameters=hyperparameters,
            metadata=metadata,
            name=marker,
        )
        if name is not None and (existing := await find(self, marker, model=body.model)) is not None:
            return _check_same(existing, body, name)
        return await create(self, body, marker=marker)

    @checked_arguments
    async def prepare(
        self,
        model: Model | str,
        *,
        training_file: File | str,
        reward: LambdaArn | LambdaGrader | Deployed | str,
        validation_file: File | str | None = None,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
    ) -> CreateJob:
        """Return the request that `create` would send, without sending anything.

        The arguments are those of `create`. Without a name, the marker is a new one in every call.

        Raises:
            ConfigurationError: an argument is invalid.
        """
        for argument, file in (("training_file", training_file), ("validation_file", validation_file)):
            _refuse_path(argument, file)
        grader = _grader(reward)
        self._check_region(grader.arn)
        marker = check_name(name)
        settings = Hyperparameters.of(hyperparameters or {})
        body = CreateJob(
            model=identifier(model, "model"),
            training_file=identifier(training_file, "training_file"),
            validation_file=identifier(validation_file, "validation_file") if validation_file is not None else None,
            method=CreateMethod(reinforcement=CreateReinforcement(grader=grader, hyperparameters=settings.sent())),
            metadata=check_metadata(metadata, marker),
        )
        if body.model not in KNOWN_MODELS:
            warn_once(
                f"'{sanitize_line(body.model, 80)}' is not a known model for reinforcement fine-tuning. Used anyway."
            )
        return body

    @checked_arguments
    async def create_raw(
        self,
        body: Mapping[str, Any],
        *,
        reward: LambdaArn | LambdaGrader | Deployed | str | None = None,
        name: str | None = None,
    ) -> Job:
        """Create a job from a body that was written for OpenAI's `fine_tuning.jobs.create`, as safely as `create`.

        Values that are null, `auto` or `default` are left to the service.

        Args:
            body: the body, with `model`, `training_file` and `method`, or a job as OpenAI returns it. The grader must
                be a Lambda function, unless `reward` is given.
            reward: the deployed reward, instead of the grader of the body.
            name: as for `create`.

        Raises:
            ConfigurationError: the body has fields without a counterpart, all of which are named; nothing was sent.
            AmbiguousCreateError, APIStatusError: as for `create`.
        """
        return await self.create(**parse_create_body(body, reward), name=name)

    def _check_region(self, arn: LambdaArn) -> None:
        config = self._session.config
        if arn.region != config.region:
            raise ConfigurationError(
                f"The reward function is in {arn.region}, but the region of this client is {config.region}. Deploy the "
                f"function in {config.region}, or use region='{arn.region}'."
            )
        if host_region(config.base_url) is not None and config.region not in RFT_REGIONS:
            warn_once(
                f"Reinforcement fine-tuning is documented for {', '.join(sorted(RFT_REGIONS))}, not yet for "
                f"{config.region}."
            )

    async def retrieve(self, job: Job | str) -> Job:
        """Return the current state of a job. Jobs from a list may be stale."""
        return await self._send(Request("GET", f"{JOBS}/{segment(job, 'job')}"), Job)

    def list(self, *, limit: int | None = None) -> AsyncIterator[Job]:
        """Iterate over all jobs, newest first.

        Args:
            limit: items per page, 1 to 100. All items are returned in any case.
        """
        return self._pages(JOBS, Job, page_query(limit))

    async def find(self, name: str) -> Job | None:
        """Return the job with a name, or with the marker of an `AmbiguousCreateError`, or None.

        Lists may lag behind by seconds, so None right after an unclear creation proves nothing.
        """
        return await find(self, check_name(name))

    async def cancel(self, job: Job | str) -> Job:
        """Cancel a job. It cannot be resumed.

        Raises:
            ConflictError, BadRequestError: the job has already ended. A job that is already cancelled is returned.
        """
        try:
            return await self._send(Request("POST", f"{JOBS}/{segment(job, 'job')}/cancel", repeatable=True), Job)
        except (BadRequestError, ConflictError):
            now = await self.retrieve(job)
            if now.status != "cancelled":
                raise
            return now


class Jobs(Monitoring):
    """`client.jobs`: reinforcement fine-tuning jobs."""

    create = blocking(AsyncJobs.create)
    prepare = blocking(AsyncJobs.prepare)
    create_raw = blocking(AsyncJobs.create_raw)
    retrieve = blocking(AsyncJobs.retrieve)
    list = blocking_iter(AsyncJobs.list)
    find = blocking(AsyncJobs.find)
    cancel = blocking(AsyncJobs.cancel)


def _grader(reward: object) -> LambdaGrader:
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


def _refuse_path(argument: str, value: object) -> None:
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


def _check_same(existing: Job, body: CreateJob, name: str) -> Job:
    """Return the existing job with this name, or raise `ConfigurationError` if it differs from the request."""
    wanted = body.method.reinforcement
    reported = existing.method.reinforcement if existing.method else None
    # Null is a job without a validation file; if the field is missing, nothing is known.
    no_file = "none" if "validation_file" in existing.model_fields_set else None
    pairs: list[tuple[str, object, object]] = [
        ("model", existing.model, body.model),
        ("reward", existing.reward, wanted.grader.arn),
        ("training_file", existing.training_file, body.training_file),
        ("validation_file", existing.validation_file or no_file, body.validation_file or "none"),
    ]
    settings = reported.hyperparameters if reported else None
    for key, value in wanted.hyperparameters.items():
        pairs.append((key, getattr(settings, key, None), value))
    # A job may be reported without some fields, or with "auto" for a hyperparameter: only known values can differ.
    different = [
        f"{field} is {sanitize_line(str(old), 100)} there and {sanitize_line(str(new), 100)} here"
        for field, old, new in pairs
        if old not in (None, "", "auto") and old != new
    ]
    if different:
        reuse = " upload(…, reuse=True) returns a file that is already there." if "_file is" in different[0] else ""
        raise ConfigurationError(
            f"The name '{name}' belongs to job {existing.id}, which differs: {'; '.join(different)}. Use another name "
            f"for another job.{reuse}"
        )
    if existing.status in {"failed", "cancelled"}:
        warn_once(
            f"Job {existing.id} with the name '{name}' is {existing.status}. It is returned; no new job was created. "
            "To train again, use another name."
        )
    return existing
