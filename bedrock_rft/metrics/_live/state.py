"""State of a watched job, accumulated over polls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bedrock_rft._core.findings import Finding
from bedrock_rft.costs import Cost, Prices
from bedrock_rft.costs._job_cost import job_cost
from bedrock_rft.costs._pace import JobTimes
from bedrock_rft.metrics import Metrics, Thresholds
from bedrock_rft.metrics._table import event_metrics, merge_steps, step_times
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import Event, TrainingMetrics
from bedrock_rft.types.jobs import Job

_MAX_MESSAGES = 5
_PACE_STEPS = 20  # steps whose times give the pace


@dataclass(frozen=True)
class StepMetrics:
    """The metrics of a step, and the Unix time of their event, or None if the service gives no time."""

    metrics: TrainingMetrics
    at: float | None = None


@dataclass(frozen=True)
class Change:
    """Changes since the previous poll."""

    job: Job
    status: str | None = None  # the new status, if it has changed
    steps: tuple[StepMetrics, ...] = ()  # in the order of their events
    messages: tuple[Event, ...] = ()  # events without metrics
    checkpoints: tuple[Checkpoint, ...] = ()
    alarms: tuple[Finding, ...] = ()  # alarms that were not reported before


@dataclass(frozen=True)
class State:
    """Everything known about a job."""

    metrics: Metrics = field(default_factory=Metrics)  # with the job and its checkpoints
    messages: tuple[Event, ...] = ()  # the last events without metrics
    alarms: tuple[Finding, ...] = ()  # current problems
    limits: tuple[Finding, ...] = ()  # limits of time and cost that are near or reached
    prices: Prices | None = None  # None shows no money
    rollouts: Sequence[Any] = ()  # some of the latest rollouts, each a `rollouts.Record`
    rollouts_problem: str = ""  # the reason why rollouts cannot be read
    _reported_codes: frozenset[str] = frozenset()

    def with_poll(
        self,
        job: Job,
        events: Sequence[Event],
        checkpoints: Sequence[Checkpoint],
        thresholds: Thresholds,
        reward_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> tuple[State, Change]:
        """Return the state and the changes after a poll that found new events, oldest first, and all checkpoints."""
        known_ids = {one.id for one in self.metrics.checkpoints}
        new_checkpoints = tuple(
            sorted((one for one in checkpoints if one.id not in known_ids), key=lambda one: one.step_number or 0)
        )
        all_checkpoints = (*self.metrics.checkpoints, *new_checkpoints)
        new_steps, messages = list[StepMetrics](), list[Event]()
        for event in events:
            event_values = event_metrics(event)
            if event_values is None:
                messages.append(event)
            else:
                new_steps.append(StepMetrics(event_values, event.created_at))
        metrics, alarms = replace(self.metrics, job=job, checkpoints=all_checkpoints), self.alarms
        if new_steps:
            steps, times = merge_steps(events, self.metrics), (*self.metrics.times, *step_times(events))
            metrics = replace(metrics, steps=steps, times=times)
        if new_steps or job.is_terminal:  # some checks need to know that no further step comes
            health = metrics.health(thresholds, reward_range=reward_range)
            alarms = (*health.errors, *health.warnings)
        state = replace(
            self,
            metrics=metrics,
            messages=(*self.messages, *messages)[-_MAX_MESSAGES:],
            alarms=alarms,
            _reported_codes=self._reported_codes | {alarm.code for alarm in alarms},
        )
        before = self.metrics.job
        change = Change(
            job,
            job.status if before is None or job.status != before.status else None,
            tuple(new_steps),
            tuple(messages),
            new_checkpoints,
            tuple(alarm for alarm in alarms if alarm.code not in self._reported_codes),
        )
        return state, change

    @property
    def job(self) -> Job:
        """Return the job as of the last poll."""
        return self.metrics.job or Job.model_construct(id="")  # before the first poll

    @property
    def step(self) -> int | None:
        """Return the last known step."""
        return max((step.step for step in self.metrics if step.step is not None), default=None)

    def cost(self, now: float) -> Cost | None:
        """Return time and cost at `now` (Unix seconds); None without prices."""
        if self.prices is None:
            return None
        return job_cost(JobTimes.of(self.job, self.metrics.times), self.metrics.total_steps, self.prices, now)

    def elapsed(self, now: float) -> float | None:
        """Return the seconds from the creation of the job to its end, or to `now` (Unix seconds) if it runs."""
        job = self.job
        if job.created_at is None:
            return None
        return max(0.0, (job.finished_at if job.is_terminal and job.finished_at is not None else now) - job.created_at)

    def remaining(self, now: float) -> float | None:
        """Estimate the seconds from `now` to the last step by the pace of the latest steps; None if unknown."""
        total, step, times = (
            self.metrics.total_steps,
            self.step,
            JobTimes.of(self.job, self.metrics.times).latest(_PACE_STEPS),
        )
        pace = times.seconds_per_step
        if self.job.is_terminal or pace is None or total is None or step is None or total < step:
            return None
        return max(0.0, (total - step) * pace - max(0.0, min(now - times.steps[-1][1], pace)))
