"""Choose the best checkpoint of a job, and the best of several jobs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.metrics._metrics import Metrics
from bedrock_rft.metrics._series import is_validation, number
from bedrock_rft.types.checkpoints import Checkpoint

_REWARD = "critic_rewards_mean"
_VALIDATION_REWARD = re.compile(r"reward", re.IGNORECASE)
_WINDOW = 10  # steps whose mean training reward is compared

Criterion = Any
"""`validation`, `reward`, an `Evaluation`, or for jobs a function of `Metrics`."""


@dataclass(frozen=True)
class RankedCheckpoint(ShortRepr):
    """A checkpoint and its score.

    Attributes:
        checkpoint: the checkpoint.
        score: the score of the checkpoint.
        basis: how the score was obtained.
    """

    checkpoint: Checkpoint
    score: float
    basis: str


def rank_checkpoints(metrics: Metrics, by: Criterion) -> tuple[RankedCheckpoint, ...]:
    """Return the checkpoints with a score, the best first, and the earlier first if scores are equal.

    Raises `ConfigurationError` if no checkpoint has a score.
    """
    if not metrics.checkpoints:
        raise ConfigurationError(f"{metrics.name} has no checkpoints.")
    if by == "validation":
        candidates = [_rank_by_validation(metrics, one) for one in metrics.checkpoints]
        problem = "no validation reward. Create the job with validation_file=…, or use by='reward' or an evaluation"
    elif by == "reward":
        candidates = [_rank_by_reward(metrics, one) for one in metrics.checkpoints]
        problem = "no reward up to a checkpoint"
    else:
        candidates = [_rank_by_evaluation(by, one) for one in metrics.checkpoints]
        problem = "no checkpoint in this evaluation. Evaluate models=[*client.jobs.checkpoints(job)]"
    ranked = [one for one in candidates if one is not None]
    if not ranked:
        raise ConfigurationError(f"{metrics.name} has {problem}.")
    return tuple(sorted(ranked, key=lambda one: (-one.score, one.checkpoint.step_number or 0)))


def model_score(metrics: Metrics, by: Criterion) -> float | None:
    """Return the score of a job's tuned model, or None if the model has no score; `Sweep.best` describes `by`."""
    if callable(by):
        return number(cast("Callable[[Metrics], object]", by)(metrics))
    if by == "validation":
        series = _validation_series(metrics)
        return series[-1][1] if series else None
    if by == "reward":
        values = [value for _, value in metrics.series(_REWARD)]
        return fmean(values[-_WINDOW:]) if values else None
    tuned = metrics.job.fine_tuned_model if metrics.job else None
    return _evaluation_score(by, tuned)


def _validation_series(metrics: Metrics) -> Sequence[tuple[float, float]]:
    name = next((name for name in metrics.validation_names if _VALIDATION_REWARD.search(name)), None)
    return metrics.series(name) if name is not None else ()


def _rank_by_validation(metrics: Metrics, one: Checkpoint) -> RankedCheckpoint | None:
    for name, value in (one.metrics.model_extra or {}).items() if one.metrics else ():
        if is_validation(name) and _VALIDATION_REWARD.search(name) and (score := number(value)) is not None:
            return RankedCheckpoint(one, score, f"{sanitize_line(name, 60)} of the checkpoint")
    if one.step_number is None:
        return None
    earlier = [(step, value) for step, value in _validation_series(metrics) if step <= one.step_number]
    if not earlier:
        return None
    step, value = max(earlier)
    return RankedCheckpoint(one, value, f"validation reward at step {step:,.0f}")


def _rank_by_reward(metrics: Metrics, one: Checkpoint) -> RankedCheckpoint | None:
    if one.step_number is None:
        return None
    values = [value for step, value in metrics.series(_REWARD) if step <= one.step_number][-_WINDOW:]
    return RankedCheckpoint(one, fmean(values), f"mean reward of {len(values)} training steps") if values else None


def _rank_by_evaluation(evaluation: Criterion, one: Checkpoint) -> RankedCheckpoint | None:
    score = _evaluation_score(evaluation, one.fine_tuned_model_checkpoint)
    if score is None:
        return None
    return RankedCheckpoint(one, score, f"mean score in the evaluation on {evaluation.dataset or 'its prompts'}")


def _evaluation_score(evaluation: Criterion, model: str | None) -> float | None:
    """Return the mean score of a model in an evaluation, or None. Raises `ConfigurationError` for another object."""
    if not hasattr(evaluation, "models") or not hasattr(evaluation, "comparisons"):
        raise ConfigurationError("by must be 'validation', 'reward' or the result of client.evaluate(…).")
    result = next((one for one in evaluation.models if one.model == model and one.answers), None)
    return float(result.score.value) if result is not None and model is not None else None
