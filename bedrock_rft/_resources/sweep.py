"""Start and follow the jobs of a sweep.

Each configuration is started at most once, even if several processes run the sweep.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.create_job import check_name
from bedrock_rft.costs import Prices
from bedrock_rft.errors import (
    AmbiguousCreateError,
    APIConnectionError,
    BedrockRFTError,
    ConfigurationError,
    InternalServerError,
    NotFoundError,
    RateLimitError,
)
from bedrock_rft.metrics import Metrics
from bedrock_rft.metrics._sweep import Sweep, Trial
from bedrock_rft.types.jobs import MARKER, TERMINAL, Job
from bedrock_rft.types.method import Hyperparameters

SWEEP = "bedrock_rft_sweep"
"""Metadata key of the name of a sweep."""

_DIGEST = 10
_MAX_NAME = 128 - 1 - _DIGEST


def configure(
    name: str,
    hyperparameters: Hyperparameters | Mapping[str, Any] | None,
    grid: Mapping[str, Sequence[Any]] | None,
    configurations: Iterable[Mapping[str, Any]] | None,
    max_jobs: int,
) -> dict[str, Mapping[str, Any]]:
    """Return the hyperparameters of each job by its name. Raises `ConfigurationError` before anything is sent."""
    check_name(name)
    if len(name) > _MAX_NAME:
        raise ConfigurationError(f"The name of a sweep has at most {_MAX_NAME} characters.")
    if (grid is None) == (configurations is None):
        raise ConfigurationError("Pass either grid={'batch_size': [4, 8]} or configurations=[{'batch_size': 4}].")
    if grid is not None:
        wrong = [key for key, values in grid.items() if isinstance(values, str) or not isinstance(values, Sequence)]
        if wrong or not grid:
            raise ConfigurationError("grid must map names of hyperparameters to lists, such as {'batch_size': [4, 8]}.")
        configurations = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    common = Hyperparameters.of(hyperparameters or {}).sent()
    found: dict[str, Mapping[str, Any]] = {}
    for each in configurations or ():
        settings = Hyperparameters.of({**common, **Hyperparameters.of(each).sent()}).sent()
        content = json.dumps(settings, sort_keys=True, separators=(",", ":"))
        found[f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:_DIGEST]}"] = settings
    if not 0 < len(found) <= max_jobs:
        more = f" Pass max_jobs={len(found)} to allow all." if found else ""
        raise ConfigurationError(f"The sweep has {len(found)} configurations; 1 to {max_jobs} are allowed.{more}")
    return found


@dataclass
class SweepRunner:
    """The jobs of one sweep, by their names, with the hyperparameters of each and further arguments of `create`."""

    jobs: Any  # the async `client.jobs`
    name: str
    settings: Mapping[str, Mapping[str, Any]]
    arguments: Mapping[str, Any]
    concurrency: int
    max_cost: float | None
    prices: Prices
    # Names of jobs that may exist although their creation failed, shared by the sweeps of a client.
    unclear_names: set[str]
    check: Callable[[Job, str], Job]  # returns a job that was found, or raises if it differs from the configuration
    found: dict[str, Job] = field(default_factory=dict[str, Job])
    _complete: dict[str, Metrics] = field(default_factory=dict[str, Metrics])
    stop_reason: str = ""  # why no further job was started

    async def run(
        self, *, start: bool, wait: bool, poll_interval: float, on_change: Callable[[Sweep], object] | None
    ) -> Sweep:
        """Find the jobs, start further ones, and return the state; `AsyncJobs.sweep` describes the arguments."""
        if not 0 < poll_interval < math.inf:
            raise ConfigurationError("poll_interval must be a number of seconds above 0.")
        await self.find_existing()
        seen: list[str] = []
        while True:
            if start:
                await self.start()
            statuses = [job.status for job in self.found.values()]
            last = not wait or all(status in TERMINAL for status in statuses)
            if last or (on_change is not None and statuses != seen):
                state = await self.snapshot()
                if on_change is not None:
                    on_change(state)
                if last:
                    return state
            seen = statuses
            await self.jobs._session.transport.sleep(poll_interval)
            await self.refresh()

    async def find_existing(self) -> None:
        """Find the jobs that exist, in one pass over the list of jobs."""
        async for job in self.jobs.list():
            name = _marker(job)
            model, file = self.arguments["model"], self.arguments["training_file"]
            fits = not job.metadata and job.model in {"", model} and job.training_file in {"", file}
            if name in self.settings or fits:  # a listed job may lack its metadata
                try:
                    current = await self.jobs.retrieve(job)
                except NotFoundError:
                    continue
                name = _marker(current) or name
                if name in self.settings and name not in self.found:
                    self.found[name] = self.check(current, name)
                    self.unclear_names.discard(name)

    async def refresh(self) -> None:
        """Fetch the jobs that have not ended. An outage keeps their last state, with a warning."""
        for name, job in self.found.items():
            if not job.is_terminal:
                try:
                    self.found[name] = await self.jobs.retrieve(job)
                except (APIConnectionError, InternalServerError, RateLimitError) as error:
                    log.warning("job %s of sweep %s could not be read: %s", job.id, self.name, error)
                    warn_once(f"Job {job.id} of sweep '{self.name}' could not be read; its last state may be outdated.")

    async def start(self) -> None:
        """Create jobs for pending configurations, as far as concurrency and the limit allow."""
        self.stop_reason = ""
        for name, settings in self.settings.items():
            if name in self.found:
                continue
            active = sum(not job.is_terminal for job in self.found.values()) + len(
                self.unclear_names & set(self.settings)
            )
            if name in self.unclear_names:
                await self._find_unclear(name)
                continue
            if active >= self.concurrency or self._exceeds_limit():
                return
            await self._create(name, settings)

    async def _create(self, name: str, settings: Mapping[str, Any]) -> None:
        try:
            job = await self.jobs.create(**self.arguments, hyperparameters=settings, name=name)
        except AmbiguousCreateError:
            self.unclear_names.add(name)  # never created again by this client
            raise
        except RateLimitError as error:
            if all(job.is_terminal for job in self.found.values()):
                raise
            self.stop_reason = f"The service accepts no further job at present: {sanitize_line(str(error), 300)}"
            return
        self.found[name] = job
        if _marker(job) != name:
            job = self.found[name] = await self.jobs.retrieve(job)
            if _marker(job) != name:
                raise ConfigurationError(
                    f"Job {job.id} was created, but the service did not store its name. Another process could not find "
                    "the job and would create and pay for it again, so no further job was started."
                )

    async def _find_unclear(self, name: str) -> None:
        job = await self.jobs.find(name)
        if job is None:
            self.stop_reason = f"It is not clear whether job {name} exists. This client does not create it again."
            return
        self.unclear_names.discard(name)
        self.found[name] = self.check(job, name)

    def _exceeds_limit(self) -> bool:
        """Return True if a further job might exceed the cost limit, and set `stop_reason`."""
        # A job is expected to cost as much as the most expensive job that ended. Before a job has ended, only the cost
        # so far counts.
        if self.max_cost is None:
            return False
        ended = [self._cost_so_far(job) for job in self.found.values() if job.is_terminal]
        expected = max(ended, default=0.0)
        active = [max(expected, self._cost_so_far(job)) for job in self.found.values() if not job.is_terminal]
        total = sum(ended) + sum(active) + expected
        if total < self.max_cost:
            return False
        currency = self.prices.currency
        self.stop_reason = (
            f"No further job is started: {currency} {sum(ended) + sum(active):,.2f} for the jobs so far and "
            f"{currency} {expected:,.2f} for the next job, by the published price without rounding, reach the limit of "
            f"{currency} {self.max_cost:,.2f}."
        )
        return True

    def _cost_so_far(self, job: Job) -> float:
        return Metrics(job=job).cost(prices=self.prices, now=time.time()).metered or 0.0

    async def snapshot(self) -> Sweep:
        """Return the state with the metrics of every job."""
        trials: list[Trial] = []
        for name, settings in self.settings.items():
            job = self.found.get(name)
            if job is None:
                trials.append(Trial(name, settings, "unclear" if name in self.unclear_names else "pending"))
                continue
            metrics = await self._metrics(name, job)
            trials.append(Trial(name, settings, job.status, metrics, metrics.cost(prices=self.prices)))
        return Sweep(self.name, tuple(trials), self.stop_reason, self.prices.currency)

    async def _metrics(self, name: str, job: Job) -> Metrics:
        if name in self._complete:
            return self._complete[name]
        try:
            metrics: Metrics = await self.jobs.metrics(job)
        except BedrockRFTError as error:
            log.warning("the metrics of job %s could not be read: %s", job.id, error)
            return Metrics(job=job)
        if job.is_terminal:
            self._complete[name] = metrics
        return metrics


def _marker(job: Job) -> str:
    """Return the name that is stored with a job, or an empty string."""
    metadata: Mapping[str, Any] = job.metadata or {}
    return str(metadata.get(MARKER) or "")
