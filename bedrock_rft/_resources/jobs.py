"""Fine-tuning jobs: create, find, list and cancel."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypedDict, overload

from typing_extensions import Unpack

from bedrock_rft._auth.endpoint import RFT_REGIONS, host_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import blocking, blocking_iter, checked_arguments, identifier, page_query, segment
from bedrock_rft._resources.create_job import JOBS, check_metadata, check_name, create, find
from bedrock_rft._resources.job_arguments import (
    check_same,
    parse_grader,
    raise_for_path,
    raise_missing_argument,
    reported_hyperparameters,
)
from bedrock_rft._resources.monitoring import AsyncMonitoring, Monitoring
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import BadRequestError, ConfigurationError, ConflictError
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.files import File
from bedrock_rft.types.jobs import CreateJob, CreateMethod, CreateReinforcement, Job
from bedrock_rft.types.method import Hyperparameters, LambdaGrader
from bedrock_rft.types.models import KNOWN_MODELS, Model
from bedrock_rft.types.openai_body import parse_create_body

if TYPE_CHECKING:
    from bedrock_rft.costs import Prices
    from bedrock_rft.metrics import RunRecord, Sweep


class _Unset:
    """The default of an argument that must be given."""

    def __repr__(self) -> str:
        return "required"


_UNSET: Any = _Unset()


class Deployed(Protocol):
    """A deployed reward: any object with an ARN."""

    @property
    def arn(self) -> str:
        """Return the ARN of the function."""
        ...


class JobOptions(TypedDict, total=False):
    """Arguments of `create` that are optional, with `like` and without."""

    validation_file: File | str | None
    hyperparameters: Hyperparameters | Mapping[str, Any] | None
    metadata: Mapping[str, str] | None
    name: str | None


class AsyncJobs(AsyncMonitoring):
    """`client.jobs`: reinforcement fine-tuning jobs."""

    @overload
    async def create(
        self,
        model: Model | str,
        *,
        training_file: File | str,
        reward: LambdaArn | LambdaGrader | Deployed | str,
        **options: Unpack[JobOptions],
    ) -> Job: ...
    @overload
    async def create(
        self,
        model: Model | str | None = None,
        *,
        like: Job | str,
        training_file: File | str | None = None,
        reward: LambdaArn | LambdaGrader | Deployed | str | None = None,
        **options: Unpack[JobOptions],
    ) -> Job: ...
    @checked_arguments
    async def create(
        self,
        model: Model | str | None = _UNSET,
        *,
        training_file: File | str | None = _UNSET,
        reward: LambdaArn | LambdaGrader | Deployed | str | None = _UNSET,
        validation_file: File | str | None = None,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        name: str | None = None,
        like: Job | str | None = None,
    ) -> Job:
        """Create a job. One call creates at most one job.

        The request is sent once. If the response is lost, the client searches for the job by a marker in its metadata.
        If it finds no job, it raises `AmbiguousCreateError` and does not repeat the request.

        Args:
            model: the base model, such as `openai.gpt-oss-20b`.
            training_file: the uploaded training file, or its id.
            reward: the reward Lambda, in the region of the client: its ARN, or the result of `client.rewards.deploy`.
            validation_file: prompts for validation metrics, not for training.
            hyperparameters: see `Hyperparameters`; the service chooses those that are left out.
            metadata: up to 15 strings to store with the job. The service may log them, so store no secrets.
            name: a unique name. If a job with this name exists, that job is returned, so a script can be run again. If
                the existing job failed or was cancelled, there is a warning. If its model, reward, files or
                hyperparameters differ, `ConfigurationError` is raised.
            like: a job whose model, files, reward and hyperparameters are used for arguments that you leave out.
                `hyperparameters` may replace some of its hyperparameters. The name and other metadata are not copied.

        Raises:
            AmbiguousCreateError: the job may exist; the error explains how to search for it.
            ConfigurationError: an argument is invalid; nothing was sent.
            APIStatusError: the service rejected the request.
        """
        given: dict[str, Any] = {"model": model, "training_file": training_file, "reward": reward}
        if like is not None:
            earlier = await self.retrieve(like)
            for argument, value in given.items():
                if value is _UNSET or value is None:
                    given[argument] = getattr(earlier, argument) or raise_missing_argument(earlier, argument)
            validation_file = validation_file or earlier.validation_file
            hyperparameters = {**reported_hyperparameters(earlier), **Hyperparameters.of(hyperparameters or {}).sent()}
        elif missing := [argument for argument, value in given.items() if value is _UNSET]:
            raise TypeError(f"jobs.create() missing a required argument: '{missing[0]}'")
        marker = check_name(name)
        body = await self.prepare(
            **given,
            validation_file=validation_file,
            hyperparameters=hyperparameters,
            metadata=metadata,
            name=marker,
        )
        if name is not None and (existing := await find(self, marker, model=body.model)) is not None:
            return check_same(existing, body, name)
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

        The arguments are those of `create`. Without a name, each call makes a new marker.

        Raises:
            ConfigurationError: an argument is invalid.
        """
        for argument, file in (("training_file", training_file), ("validation_file", validation_file)):
            raise_for_path(argument, file)
        grader = parse_grader(reward)
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
                f"'{sanitize_line(body.model, 80)}' is not a known model for reinforcement fine-tuning. The request is "
                "sent anyway."
            )
        return body

    @checked_arguments
    async def sweep(
        self,
        model: Model | str,
        *,
        training_file: File | str,
        reward: LambdaArn | LambdaGrader | Deployed | str,
        name: str,
        grid: Mapping[str, Sequence[Any]] | None = None,
        configurations: Iterable[Mapping[str, Any]] | None = None,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        validation_file: File | str | None = None,
        metadata: Mapping[str, str] | None = None,
        concurrency: int = 2,
        max_cost: float | None = None,
        max_jobs: int = 20,
        prices: Prices | None = None,
        start: bool = True,
        wait: bool = False,
        poll_interval: float = 30.0,
        on_change: Callable[[Sweep], object] | None = None,
    ) -> Sweep:
        """Train with several hyperparameters: one job for each configuration, a few at a time.

        ```python
        files = {"training_file": file, "validation_file": held_out}
        grid = {"learning_rate_multiplier": [0.3, 1.0]}
        sweep = client.jobs.sweep("openai.gpt-oss-20b", **files, reward=arn, name="rates", grid=grid, wait=True)
        print(sweep, sweep.best(by="validation").job)
        ```

        Each job has a name that is derived from the sweep's name and the hyperparameters. Jobs that exist are found by
        their names and never created again, so you can continue a sweep from any process: call `sweep` again with the
        same arguments. Do not call `sweep` in two processes at the same time, because lists may lag behind by seconds.
        A job that failed or was cancelled is not repeated.

        Args:
            model: the base model of all jobs.
            training_file: the uploaded training file of all jobs, or its id.
            reward: the deployed reward of all jobs.
            name: name of the sweep, up to 117 characters.
            grid: a list of values for each hyperparameter; every combination is a configuration.
            configurations: the configurations themselves, instead of `grid`.
            hyperparameters: the hyperparameters that all jobs have in common.
            validation_file: prompts for validation metrics, by which the best job can be chosen.
            metadata: up to 14 strings to store with every job.
            concurrency: maximum number of jobs that have not ended.
            max_cost: a cost limit in the currency of the prices. The cost of a job is the published price of the time
                since it was created, and a new job is expected to cost as much as the most expensive job that ended. If
                the sum would reach the limit, no further job is started. Running jobs are never cancelled.
            max_jobs: the maximum number of configurations; a larger sweep raises an error.
            prices: prices to use; by default `bedrock_rft.costs.Prices.load()`.
            start: False creates no job, and returns the state only.
            wait: continue until every configuration has a job that ended, or no further job may be started.
            poll_interval: seconds between polls if `wait`.
            on_change: called with the state after each poll in which a status changed.

        Raises:
            AmbiguousCreateError: a job may exist. This client does not create it again. Another process would, so
                search with `client.jobs.find` first.
            ConfigurationError: an argument is invalid, or a job with a derived name differs in model, file or reward.
            APIStatusError: the service rejected a request.
        """
        from bedrock_rft._resources.sweep import SWEEP, SweepRunner, configure
        from bedrock_rft.costs import Prices

        settings = configure(name, hyperparameters, grid, configurations, max_jobs)
        for argument, value, least in (("concurrency", concurrency, 1), ("max_cost", max_cost or 0, 0)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
                raise ConfigurationError(f"{argument} must be a number from {least}.")
        table, base = prices or Prices.load(), identifier(model, "model")
        if max_cost is not None and table.find("training", base) is None:
            raise ConfigurationError(f"max_cost needs a price of {base}: pass prices=….")
        arguments: dict[str, Any] = {
            "model": base,
            "training_file": training_file,
            "validation_file": validation_file,
            "reward": reward,
            "metadata": {**(metadata or {}), SWEEP: name},
        }
        bodies: dict[str, CreateJob] = {}
        for each, values in settings.items():
            bodies[each] = await self.prepare(**arguments, hyperparameters=values, name=each)

        def check(job: Job, name: str) -> Job:
            return check_same(job, bodies[name], name)

        unclear: set[str] = vars(self).setdefault("_unclear", set())
        runner = SweepRunner(self, name, settings, arguments, int(concurrency), max_cost, table, unclear, check)
        return await runner.run(start=start, wait=wait, poll_interval=poll_interval, on_change=on_change)

    async def record(
        self,
        job: Job | str,
        *,
        dataset: str | os.PathLike[str] | None = None,
        reward: Any = None,
        evaluation: Any = None,
        download: bool = True,
        prices: Prices | None = None,
    ) -> RunRecord:
        """Return the record of a run: hashes, hyperparameters, metrics, cost and versions, enough to repeat it.

        ```python
        record = client.jobs.record(job, dataset="train.jsonl")
        record.to_json("record.json")
        record.to_markdown("record.md")
        again = client.jobs.create_raw(record.request, name="again")
        ```

        Args:
            job: the job or its id.
            dataset: the training file on this machine, which is hashed and checked instead of the uploaded file.
            reward: the package or the deployed reward, for the hash of its package. By default the hash is fetched from
                Lambda, if the client has AWS credentials.
            evaluation: the result of `client.evaluate`, to store with the record.
            download: False does not download files to hash them.
            prices: prices to use; by default `bedrock_rft.costs.Prices.load()`.

        Raises:
            DatasetError: `dataset` cannot be read.
            ConfigurationError: the prices cannot be read.
        """
        from bedrock_rft._resources.record import build_record

        return await build_record(
            self,
            await self.metrics(job),
            dataset=dataset,
            reward=reward,
            evaluation=evaluation,
            download=download,
            prices=prices,
        )

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
                f"AWS documents reinforcement fine-tuning for {', '.join(sorted(RFT_REGIONS))}, not for "
                f"{config.region}. The request is sent anyway."
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

        Lists may lag behind by seconds. If `find` returns None right after an `AmbiguousCreateError`, the job may
        exist.
        """
        return await find(self, check_name(name))

    async def cancel(self, job: Job | str) -> Job:
        """Cancel a job. A cancelled job cannot be resumed.

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

    if TYPE_CHECKING:

        @overload
        def create(
            self,
            model: Model | str,
            *,
            training_file: File | str,
            reward: LambdaArn | LambdaGrader | Deployed | str,
            **options: Unpack[JobOptions],
        ) -> Job: ...
        @overload
        def create(
            self,
            model: Model | str | None = None,
            *,
            like: Job | str,
            training_file: File | str | None = None,
            reward: LambdaArn | LambdaGrader | Deployed | str | None = None,
            **options: Unpack[JobOptions],
        ) -> Job: ...
        def create(self, *args: Any, **kwargs: Any) -> Job:
            """Create a job; see `AsyncJobs.create`."""
            ...
    else:
        create = blocking(AsyncJobs.create)
    sweep = blocking(AsyncJobs.sweep)
    record = blocking(AsyncJobs.record)
    prepare = blocking(AsyncJobs.prepare)
    create_raw = blocking(AsyncJobs.create_raw)
    retrieve = blocking(AsyncJobs.retrieve)
    list = blocking_iter(AsyncJobs.list)
    find = blocking(AsyncJobs.find)
    cancel = blocking(AsyncJobs.cancel)
