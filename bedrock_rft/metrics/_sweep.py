"""The state of a sweep: several jobs that differ in their hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.findings import WIDTH, JsonReport, clip, wrap
from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.costs import Cost
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.metrics._metrics import Comparison, Metrics
from bedrock_rft.metrics._selection import Criterion, model_score
from bedrock_rft.types.jobs import Job


@dataclass(frozen=True)
class Trial(ShortRepr):
    """One configuration of a sweep.

    Attributes:
        name: the name of its job, derived from the sweep and the hyperparameters.
        hyperparameters: the hyperparameters.
        status: the status of its job, `pending` if there is none yet, or `unclear` if the job may exist.
        metrics: the metrics, with the job; None without a job.
        cost: time and cost of the job; None without a job.
    """

    name: str
    hyperparameters: Mapping[str, Any]
    status: str = "pending"
    metrics: Metrics | None = None
    cost: Cost | None = None

    @property
    def job(self) -> Job | None:
        """Return the job, or None if there is none yet."""
        return self.metrics.job if self.metrics is not None else None

    def score(self, by: Criterion = "validation") -> float | None:
        """Return the score of the tuned model, or None if the model has no score; see `Sweep.best`."""
        return model_score(self.metrics, by) if self.metrics is not None else None

    @property
    def label(self) -> str:
        """Return the hyperparameters as a short text."""
        return ", ".join(f"{name} {value}" for name, value in self.hyperparameters.items()) or "service defaults"


@dataclass(frozen=True)
class Sweep(JsonReport):
    """The state of a sweep when it was read. Print it for a table.

    Attributes:
        name: the name of the sweep.
        trials: every configuration, in the given order.
        held: why no further job was started, if configurations are pending; empty otherwise.
        currency: the currency of all amounts, such as `USD`.
    """

    name: str
    trials: tuple[Trial, ...]
    held: str = ""
    currency: str = "USD"
    _derived = ("done", "spent")

    @property
    def done(self) -> bool:
        """Return True if every configuration has a job that ended."""
        return all(trial.job is not None and trial.job.is_terminal for trial in self.trials)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """Return the jobs that exist."""
        return tuple(trial.job for trial in self.trials if trial.job is not None)

    @property
    def spent(self) -> float | None:
        """Return the published price for the time since each job was created, without rounding; None if unknown."""
        amounts = [trial.cost.metered for trial in self.trials if trial.cost is not None]
        known_amounts = [amount for amount in amounts if amount is not None]
        return sum(known_amounts) if len(known_amounts) == len(amounts) else None

    def compare(self) -> Comparison:
        """Compare the metrics of the jobs, labelled by their hyperparameters."""
        runs = [(trial.label, trial.metrics) for trial in self.trials if trial.metrics is not None]
        return Comparison.of(*[metrics for _, metrics in runs], labels=[label for label, _ in runs])

    def best(self, by: Criterion = "validation") -> Trial:
        """Return the configuration whose tuned model has the highest score, or the first of several.

        The best of several noisy scores is biased upwards. Evaluate this model on prompts that were not used to choose
        it.

        Args:
            by: `validation` for the last validation reward, `reward` for the mean training reward of the last ten
                steps, an `Evaluation` of the tuned models, or a function of `Metrics` that returns a number or None.

        Raises:
            ConfigurationError: no job has succeeded, or none has a score.
        """
        succeeded = [trial for trial in self.trials if trial.status == "succeeded" and trial.metrics is not None]
        if not succeeded:
            raise ConfigurationError(f"No job of the sweep '{self.name}' has succeeded.")
        scored = [
            (score, trial)
            for trial in succeeded
            if trial.metrics and (score := model_score(trial.metrics, by)) is not None
        ]
        if not scored:
            advice = "Create the sweep with validation_file=…, or use by='reward' or an evaluation of the tuned models."
            raise ConfigurationError(f"No succeeded job of the sweep '{self.name}' has this score. {advice}")
        return max(scored, key=lambda pair: pair[0])[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the sweep as JSON values."""
        trials = [
            {
                "name": trial.name,
                "hyperparameters": dict(trial.hyperparameters),
                "status": trial.status,
                "job": trial.job.id if trial.job else None,
                "fine_tuned_model": trial.job.fine_tuned_model if trial.job else None,
                "cost": trial.cost.to_dict() if trial.cost else None,
            }
            for trial in self.trials
        ]
        return {**super().to_dict(), "trials": trials}

    def __str__(self) -> str:
        ended = sum(trial.job is not None and trial.job.is_terminal for trial in self.trials)
        spent = f", about {self.currency} {self.spent:,.2f} by the published price" if self.spent else ""
        if any(is_local(job.id) for job in self.jobs):
            spent = ", a rehearsal on the local service: nothing is billed"
        head = f"Sweep {sanitize_line(self.name, 40)}: {ended} of {len(self.trials)} ended{spent}"
        lines = [*wrap(head, indent="", next_indent="  ")]
        for trial in self.trials:
            scores = [("reward", trial.score("reward")), ("validation", trial.score())]
            shown = "".join(f"  {name} {value:.3f}" for name, value in scores if value is not None)
            row = f"  {sanitize_line(trial.status, 16):<16}  {sanitize_line(trial.label)}"
            lines += [f"{row}{shown}"] if len(row + shown) <= WIDTH else [clip(row), f"{'':18}{shown}"]
            lines += [clip(f"{'':20}{sanitize_line(trial.job.id, 80)}")] if trial.job else []
        return "\n".join([*lines, *(wrap(self.held) if self.held else [])])
