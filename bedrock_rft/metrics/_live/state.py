"""State of a watched job, accumulated over polls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from bedrock_rft._core.findings import Finding
from bedrock_rft.metrics import Metrics, Thresholds
from bedrock_rft.metrics._steps import merged, numbers
from bedrock_rft.types.checkpoints import Checkpoint
from bedrock_rft.types.events import Event, TrainingMetrics
from bedrock_rft.types.jobs import Job

__all__ = ["Change", "Measured", "State"]

_MESSAGES = 5
_PACE = 20  # steps whose times give the pace


@dataclass(frozen=True)
class Measured:
    """Metrics of a step, and the time they arrived.

    Attributes:
        metrics: the numbers.
        at: Unix seconds, by the service's clock; None where it does not say.
    """

    metrics: TrainingMetrics
    at: float | None = None


@dataclass(frozen=True)
class Change:
    """Changes since the previous poll.

    Attributes:
        job: as it stands now.
        status: its status, where that is another than before.
        steps: numbers, in the order in which they came.
        messages: lines of the log that are not numbers.
        checkpoints: models that were saved.
        alarms: what is wrong with the run, each the first time it shows.
    """

    job: Job
    status: str | None = None
    steps: tuple[Measured, ...] = ()
    messages: tuple[Event, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()
    alarms: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class State:
    """Everything known about a job.

    Attributes:
        metrics: every step so far, with the job and its checkpoints.
        messages: the last lines of the log that are not numbers.
        alarms: what is wrong now.
    """

    metrics: Metrics = field(default_factory=Metrics)
    messages: tuple[Event, ...] = ()
    alarms: tuple[Finding, ...] = ()
    _told: frozenset[str] = frozenset()
    _times: tuple[tuple[int, float], ...] = ()

    def after(
        self,
        job: Job,
        events: Sequence[Event],
        checkpoints: Sequence[Checkpoint],
        thresholds: Thresholds,
        reward_range: tuple[float, float] | None = (0.0, 1.0),
    ) -> tuple[State, Change]:
        """Return the state after a poll, and the changes.

        Args:
            job: as it stands now.
            events: those not seen before, oldest first.
            checkpoints: all there are.
            thresholds: limits for alarms.
            reward_range: lowest and highest value of the reward; None if unknown.
        """
        known = {one.id for one in self.metrics.checkpoints}
        fresh = tuple(sorted((one for one in checkpoints if one.id not in known), key=_place))
        measured = tuple(Measured(found, event.created_at) for event in events if (found := numbers(event)) is not None)
        messages = tuple(event for event in events if numbers(event) is None)
        saved = (*self.metrics.checkpoints, *fresh)
        metrics = (
            Metrics(merged(events, self.metrics), job, saved)
            if measured
            else replace(self.metrics, job=job, checkpoints=saved)
        )
        alarms = self.alarms
        if measured or job.is_terminal:  # some checks need to know that no further step comes
            health = metrics.health(thresholds, reward_range=reward_range)
            alarms = (*health.errors, *health.warnings)
        state = State(
            metrics,
            (*self.messages, *messages)[-_MESSAGES:],
            alarms,
            self._told | {alarm.code for alarm in alarms},
            (*self._times, *_timed(measured))[-_PACE:],
        )
        before = self.metrics.job
        change = Change(
            job,
            job.status if before is None or job.status != before.status else None,
            measured,
            messages,
            fresh,
            tuple(alarm for alarm in alarms if alarm.code not in self._told),
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

    def elapsed(self, now: float) -> float | None:
        """Return seconds from the creation of the job until now, or until its end.

        Args:
            now: Unix seconds.
        """
        job = self.job
        if job.created_at is None:
            return None
        return max(0.0, (job.finished_at if job.is_terminal and job.finished_at is not None else now) - job.created_at)

    def remaining(self, now: float) -> float | None:
        """Return estimated seconds until the last step, from the pace of the latest ones, or None if unknown.

        Args:
            now: Unix seconds.
        """
        total, step = self.metrics.total_steps, self.step
        if self.job.is_terminal or total is None or step is None or len(self._times) < 2:  # noqa: PLR2004 - a pace needs two times
            return None
        (first, began), (last, ended) = self._times[0], self._times[-1]
        if last <= first or total < step:
            return None
        pace = max(0.0, ended - began) / (last - first)
        return max(0.0, (total - step) * pace - max(0.0, min(now - ended, pace)))


def _place(checkpoint: Checkpoint) -> int:
    return checkpoint.step_number or 0


def _timed(measured: Sequence[Measured]) -> list[tuple[int, float]]:
    return [(one.metrics.step, one.at) for one in measured if one.metrics.step is not None and one.at is not None]
