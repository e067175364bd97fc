"""Time and cost of a job, so far and at its end, from its events."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_rft._core.findings import JsonReport, wrap
from bedrock_rft._core.local_service import REHEARSAL, is_local
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs._pace import JobTimes
from bedrock_rft.costs._prices import UNKNOWN, Prices
from bedrock_rft.costs._ranges import Range, bill, format_hours, format_money

_HOUR = 3600.0
_RECENT = 20  # steps whose pace is compared with that of all steps
_SKEW = 60.0  # seconds by which clocks may differ without a note


@dataclass(frozen=True)
class Cost(JsonReport):
    """Time and cost of a job. Print it, or write it with `to_json`.

    Amounts are ranges, because the billing of training is not published: the lowest is for the exact time between the
    first and the last step, the highest for whole hours from the creation of the job to its end. A job of the local
    service costs nothing: its amounts are the cost of a real job of this length, as `note` states.

    Attributes:
        job: the id of the job.
        status: the status of the job.
        elapsed: hours from the creation of the job to its end or until now; None if unknown.
        training: hours so far that may be billed.
        remaining: hours until the last step, at the pace of the steps so far; None if unknown, 0 after the end.
        so_far: cost so far; None if the price of the model or the time is unknown.
        at_end: cost at the end; None if it cannot be estimated yet.
        metered: cost of `elapsed` without rounding, which is compared with limits; None if unknown.
        currency: the currency of all amounts, such as `USD`.
        basis: the price, and how the times were obtained.
        unknown: facts that are not published.
    """

    job: str
    status: str
    elapsed: float | None
    training: Range
    remaining: Range | None
    so_far: Range | None
    at_end: Range | None
    metered: float | None
    currency: str
    basis: tuple[str, ...]
    unknown: tuple[str, ...] = UNKNOWN
    _derived = ("note",)

    @property
    def note(self) -> str:
        """A warning that the job ran on the local service; empty for jobs that ran on Amazon Bedrock."""
        return f"{REHEARSAL}; amounts are those of a real job of this length" if is_local(self.job) else ""

    @property
    def summary(self) -> str:
        """Return the cost as a short text; empty if it is unknown."""
        if self.so_far is None:
            return ""
        so_far = format_money(self.so_far, self.currency)
        text = f"{so_far} so far"
        if self.at_end is not None:
            at_end = format_money(self.at_end, self.currency)
            text = at_end if self.at_end == self.so_far else f"{text}, {at_end} at the end"
        return f"nothing is billed; a real job of this length: {text}" if self.note else text

    def __str__(self) -> str:
        job = sanitize_line(self.job, 60)
        lines = [*wrap(f"{job}, {sanitize_line(self.status, 30)}: {self.summary or 'cost unknown'}", indent="")]
        lines += wrap(f"note: {self.note}") if self.note else []
        if self.elapsed is not None:
            billed = "" if self.note else f"; {format_hours(self.training)} may be billed"
            elapsed = format_hours(Range(self.elapsed, self.elapsed))
            lines.append(f"  {elapsed} since its creation{billed}")
        if self.remaining is not None and self.remaining.high:
            lines.append(f"  {format_hours(self.remaining)} until the last step")
        lines += [line for each in self.basis for line in wrap(sanitize_line(each))]
        return "\n".join([*lines, *wrap(f"not known: {'; '.join(self.unknown)}")])


def job_cost(
    times: JobTimes, total_steps: int | None, prices: Prices, now: float, *, region: str | None = None
) -> Cost:
    """Calculate the time and cost of a job at `now` (Unix seconds). The prices of `region` are preferred."""
    job, steps = times.job, times.steps
    price = prices.find("training", job.model, region=region)
    basis = [f"{price}" if price else f"no price for {job.model or 'the model'} is known"]
    known = [at for at in (job.created_at, *(at for _, at in steps)) if at is not None]
    if not known:
        nothing = "neither the job nor its events have a time"
        return Cost(job.id, job.status, None, Range(0, 0), None, None, None, None, prices.currency, (*basis, nothing))
    begun, last = min(known), max(known)
    ended = job.finished_at if job.is_terminal else now
    if ended is None:
        basis.append("the job has no end time, so its last step counts as the end")
    elif not job.is_terminal and now < last - _SKEW:
        basis.append("the clock of this machine is behind the service's clock, so the last step counts as now")
    stop = max(last, ended or last)
    elapsed = (stop - begun) / _HOUR
    between = (steps[-1][1] - steps[0][1]) / _HOUR if steps else 0.0
    billed = job.status not in {"failed", "cancelled"}
    training = Range(between if billed else 0.0, elapsed)
    basis.append(
        f"from the times of {len(steps):,} steps: at least the time between the first and the last step, at most the "
        "time since the job was created"
        if steps
        else "no step has a time yet; at most the time since the job was created"
    )
    if not billed:
        basis.append(f"a {job.status} job may not be billed")
    remaining = Range(0.0, 0.0) if job.is_terminal else _remaining(times, total_steps, stop)
    so_far = bill(training, price.amount) if price else None
    at_end = bill(training.plus(remaining), price.amount) if price and remaining is not None else None
    metered = elapsed * price.amount if price else None
    return Cost(
        job.id, job.status, elapsed, training, remaining, so_far, at_end, metered, prices.currency, tuple(basis)
    )


def _remaining(times: JobTimes, total: int | None, now: float) -> Range | None:
    """Return hours until the last step, at the pace of all steps and at the pace of the latest steps."""
    paces = [pace for part in (times, times.latest(_RECENT)) if (pace := part.seconds_per_step) is not None]
    if not paces or total is None or total < times.steps[-1][0]:
        return None
    left, low, high = total - times.steps[-1][0], min(paces), max(paces)
    passed = min(now - times.steps[-1][1], low) if left else 0.0
    return Range(max(0.0, left * low - passed) / _HOUR, left * high / _HOUR)
