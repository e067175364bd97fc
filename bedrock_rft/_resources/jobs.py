"""Reinforcement fine-tuning jobs: created once, found again, cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from bedrock_rft._auth.endpoint import RFT_REGIONS, host_region
from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import blocking, blocking_iter, identifier, limited, segment
from bedrock_rft._resources.create_job import JOBS, check_metadata, check_name, create, find
from bedrock_rft._resources.monitoring import AsyncRuns, Runs
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import BadRequestError, ConfigurationError, ConflictError
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.files import File
from bedrock_rft.types.jobs import CreateJob, CreateMethod, CreateReinforcement, Job
from bedrock_rft.types.method import Hyperparameters, LambdaGrader
from bedrock_rft.types.models import KNOWN_MODELS, Model

__all__ = ["AsyncJobs", "Deployed", "Jobs"]


class Deployed(Protocol):
    """A reward that has been deployed: anything that knows its ARN."""

    @property
    def arn(self) -> str:
        """The ARN of the function."""
        ...


class AsyncJobs(AsyncRuns):
    """`client.jobs`: reinforcement fine-tuning jobs."""

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
        """Start a job. One call makes at most one.

        The request is sent once. Where its answer is lost, the job is looked for by a marker in its metadata, and only
        that very job is returned; where it is not found, nothing is sent again.

        Args:
            model: the base model, such as `openai.gpt-oss-20b`.
            training_file: the uploaded prompts.
            reward: the ARN of the Lambda function that scores, in the client's own region.
            validation_file: prompts to measure on but not to train on.
            hyperparameters: see `Hyperparameters`; what is left out is the service's choice.
            metadata: up to 15 strings to keep with the job. They are logged: put no secret there.
            name: makes a repeated call, in a script that is run again say, return the job that has this name already,
                whatever its status. A name that stands for another model or reward is a `ConfigurationError`.

        Raises:
            AmbiguousCreateError: the job may exist; the error says how to look again.
            ConfigurationError: an argument makes no sense; nothing was sent.
            APIStatusError: the service refused.
        """
        grader = _grader(reward)
        self._fits(grader.arn)
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
                f"'{sanitize_line(body.model, 80)}' is not on the list of models for reinforcement fine-tuning; used anyway."
            )
        if name is not None and (existing := await find(self, marker, model=body.model)) is not None:
            return _same(existing, body, name)
        return await create(self, body, marker=marker)

    def _fits(self, arn: LambdaArn) -> None:
        config = self._session.config
        if arn.region != config.region:
            raise ConfigurationError(
                f"The reward function is in {arn.region}, but this client is set to {config.region}. Deploy the "
                f"function in {config.region}, or use region='{arn.region}'."
            )
        if host_region(config.base_url) is not None and config.region not in RFT_REGIONS:
            warn_once(
                f"Reinforcement fine-tuning is documented for {', '.join(sorted(RFT_REGIONS))}, not yet for "
                f"{config.region}."
            )

    async def retrieve(self, job: Job | str) -> Job:
        """The job as it stands. A job from a list may be stale; this is its true status."""
        return await self._send(Request("GET", f"{JOBS}/{segment(job, 'job')}"), Job)

    def list(self, *, limit: int | None = None) -> AsyncIterator[Job]:
        """Every job, as the service orders them: newest first.

        Args:
            limit: how many to ask for at once, up to 100. All of them come, whatever it is.
        """
        return self._pages(JOBS, Job, limited(limit))

    async def find(self, name: str) -> Job | None:
        """The job that has a name, or the marker of an `AmbiguousCreateError`; None where there is none.

        A list may lag behind by seconds, so None right after an unclear creation is no proof.
        """
        return await find(self, check_name(name))

    async def cancel(self, job: Job | str) -> Job:
        """Stop a job for good: it cannot be resumed.

        Raises:
            ConflictError, BadRequestError: it has ended already; one that is cancelled already is simply returned.
        """
        try:
            return await self._send(Request("POST", f"{JOBS}/{segment(job, 'job')}/cancel", repeatable=True), Job)
        except (BadRequestError, ConflictError):
            now = await self.retrieve(job)
            if now.status != "cancelled":
                raise
            return now


class Jobs(Runs):
    """`client.jobs`: reinforcement fine-tuning jobs."""

    create = blocking(AsyncJobs.create)
    retrieve = blocking(AsyncJobs.retrieve)
    list = blocking_iter(AsyncJobs.list)
    find = blocking(AsyncJobs.find)
    cancel = blocking(AsyncJobs.cancel)


def _grader(reward: object) -> LambdaGrader:
    if isinstance(reward, LambdaGrader):
        return reward
    arn: Any = reward if isinstance(reward, str) else getattr(reward, "arn", reward)
    return LambdaGrader.of(arn)  # anything but text is refused there, by name


def _same(existing: Job, body: CreateJob, name: str) -> Job:
    """The job that has the name already, where it is the one that is meant."""
    wanted = body.method.reinforcement.grader.arn
    if existing.model not in {"", body.model} or (existing.reward or wanted) != wanted:
        raise ConfigurationError(
            f"The name '{name}' stands for job {existing.id}, which has another model or reward "
            f"({sanitize_line(existing.model, 80)}, {existing.reward}). Give this one a name of its own."
        )
    if existing.status in {"failed", "cancelled"}:
        log.warning(
            "job %s, which has the name %s, is %s: a new one needs a new name", existing.id, name, existing.status
        )
    return existing
