"""The pace of training: seconds per step, assumed or measured on finished jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.costs._ranges import Range
from bedrock_rft.types.jobs import Job, hyperparameters_of

_BATCH = 4


@dataclass(frozen=True)
class JobTimes:
    """Times of a job in Unix seconds, read from the job and its events."""

    job: Job
    steps: tuple[tuple[int, float], ...] = ()  # each step and the time of its first event, in order, never decreasing

    @classmethod
    def of(cls, job: Job, times: Sequence[tuple[int, float]]) -> JobTimes:
        """Keep the first time of each step. A step that seems to precede an earlier step gets its time."""
        first: dict[int, float] = {}
        for step, at in times:
            first[step] = min(at, first.get(step, at))
        ordered = sorted(first)
        return cls(job, tuple(zip(ordered, accumulate((first[step] for step in ordered), max), strict=True)))

    @property
    def seconds_per_step(self) -> float | None:
        """Return the mean seconds between steps, or None if fewer than two steps have a time."""
        if len(self.steps) < 2:  # noqa: PLR2004 - a duration needs two times
            return None
        (first, began), (last, ended) = self.steps[0], self.steps[-1]
        return (ended - began) / (last - first)

    def latest(self, count: int) -> JobTimes:
        """Return the same job with its latest steps only."""
        return JobTimes(self.job, self.steps[-count:])

    @property
    def seconds_around(self) -> float | None:
        """Return the seconds of a finished job before its first and after its last step, or None if unknown."""
        created, finished = self.job.created_at, self.job.finished_at
        if not self.steps or created is None or finished is None:
            return None
        return max(0.0, self.steps[0][1] - created) + max(0.0, finished - self.steps[-1][1])


@dataclass(frozen=True)
class Pace(ShortRepr):
    """Seconds per training step, for a number of prompts in a step.

    Attributes:
        step: seconds per step.
        batch_size: the prompts per step that `step` is for.
        around: seconds before the first and after the last step; None if unknown.
        basis: how the pace was obtained.
        jobs: ids of the jobs on which the pace was measured.
    """

    step: Range
    batch_size: int
    around: Range | None
    basis: str
    jobs: tuple[str, ...] = ()

    def step_seconds(self, batch_size: int) -> Range:
        """Return the seconds per step with another batch size, as a range from unchanged to proportional."""
        ratio = batch_size / self.batch_size
        return Range(self.step.low * min(1.0, ratio), self.step.high * max(1.0, ratio))

    @classmethod
    def measured(cls, finished: Sequence[JobTimes], batch_size: int) -> Pace | None:
        """Return the pace of finished jobs, as seconds per step of `batch_size` prompts.

        The pace may differ between jobs, and its dependence on the prompts in a step is unknown. So the range covers
        every job, both unchanged and in proportion to its prompts.

        Returns:
            None if no job has two steps with a time.
        """
        lows, highs, around, ids = list[float](), list[float](), list[float](), list[str]()
        for times in finished:
            seconds = times.seconds_per_step
            if not seconds:
                continue
            ratio = batch_size / (_reported_batch(times.job) or batch_size)
            lows.append(seconds * min(1.0, ratio))
            highs.append(seconds * max(1.0, ratio))
            ids.append(times.job.id)
            if times.seconds_around is not None:
                around.append(times.seconds_around)
        if not ids:
            return None
        count = "a finished job" if len(ids) == 1 else f"{len(ids)} finished jobs"
        return cls(
            Range(min(lows), max(highs)),
            batch_size,
            Range(min(around), max(around)) if around else None,
            f"measured from the events of {count} of this account with this model",
            tuple(ids),
        )


ASSUMED = Pace(
    Range(15.0, 240.0),
    _BATCH,
    None,
    f"an assumption, because AWS has published no training times: 15 to 240 seconds per step of {_BATCH} prompts",
)
"""The pace of an account without finished jobs. The published run (300 records, batch 4, 67 steps) has no times."""


def _reported_batch(job: Job) -> int | None:
    size = hyperparameters_of(job).get("batch_size")
    return size if isinstance(size, int) and size > 0 else None
