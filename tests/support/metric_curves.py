"""Generated runs in the shape of published ones, with healthy and faulty metrics."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

from bedrock_rft.metrics import Metrics
from bedrock_rft.types import Checkpoint, Job, TrainingMetrics

STEPS = 67


def healthy(seed: int = 0, steps: int = STEPS) -> list[dict[str, Any]]:
    """Generate a noisy healthy run: reward from 0.56 to between 0.85 and 0.97, entropy falling slowly from 0.62."""
    rolls = random.Random(seed)  # noqa: S311 - seeded draws, nothing secret
    goal, speed, drift = rolls.uniform(0.85, 0.97), rolls.uniform(2.0, 5.0), rolls.uniform(-40, 90)
    noise = rolls.uniform(0.04, 0.10)
    found: list[dict[str, Any]] = []
    for step in range(1, steps + 1):
        share = step / steps
        reward = 0.56 + (goal - 0.56) * (1 - math.exp(-speed * share)) + rolls.gauss(0, noise)
        found.append(
            {
                "step": step,
                "total_steps": steps,
                "critic_rewards_mean": min(1.0, max(0.0, reward)),
                "actor_pg_loss": rolls.gauss(0.05, 0.05),
                "actor_entropy": 0.62 - 0.2 * share + rolls.gauss(0, 0.02),
                "actor_grad_norm": math.exp(rolls.gauss(math.log(9e-4), 0.4)),
                "critic_advantages_mean": rolls.gauss(0, 0.015),
                "response_length_mean": 519 + drift * share + rolls.gauss(0, 25),
            }
        )
    return found


def _low(step: dict[str, Any], _share: float, rolls: random.Random) -> None:
    step["critic_rewards_mean"] = max(0.0, rolls.gauss(0.07, 0.04))


def _flat(step: dict[str, Any], _share: float, rolls: random.Random) -> None:
    step["critic_rewards_mean"] = rolls.gauss(0.45, 0.08)


def _saturated(step: dict[str, Any], _share: float, rolls: random.Random) -> None:
    step["critic_rewards_mean"] = min(1.0, rolls.gauss(0.985, 0.01))


def _collapse(step: dict[str, Any], share: float, rolls: random.Random) -> None:
    step["actor_entropy"] = abs(0.62 * math.exp(-5 * share) + rolls.gauss(0, 0.01))


def _spikes(step: dict[str, Any], _share: float, rolls: random.Random) -> None:
    if step["step"] % 20 == 0:
        step["actor_grad_norm"] *= rolls.uniform(30, 300)


def _runaway(step: dict[str, Any], share: float, rolls: random.Random) -> None:
    step["response_length_mean"] *= math.exp(1.2 * share) * rolls.uniform(0.9, 1.1)


def _no_advantage(step: dict[str, Any], share: float, rolls: random.Random) -> None:
    if 0.3 < share < 0.6:
        step |= {
            "critic_advantages_mean": rolls.choice([0.0, -0.0, 1e-17]),
            "actor_pg_loss": 0.0,
            "actor_grad_norm": 0.0,
        }


def _overflow(step: dict[str, Any], _share: float, rolls: random.Random) -> None:
    if step["step"] == 40:
        step["actor_grad_norm"] = rolls.choice([math.nan, math.inf])


DISEASES: dict[str, Callable[[dict[str, Any], float, random.Random], None]] = {
    "reward_low": _low,
    "reward_flat": _flat,
    "reward_saturated": _saturated,
    "entropy_collapse": _collapse,
    "gradient_spikes": _spikes,
    "length_runaway": _runaway,
    "advantages_zero": _no_advantage,
    "not_finite": _overflow,
}
"""What may befall a run, by the code of the finding that should say so."""


def ill(disease: str, seed: int = 0, steps: int = STEPS) -> list[dict[str, Any]]:
    """Generate a run with one fault."""
    rolls, found = random.Random(seed), healthy(seed, steps)  # noqa: S311 - seeded draws, nothing secret
    for step in found:
        DISEASES[disease](step, step["step"] / steps, rolls)
    return found


def metrics(steps: list[dict[str, Any]], job: Job | None = None, checkpoints: tuple[int, ...] = ()) -> Metrics:
    """Return the metrics as `client.jobs.metrics` does."""
    saved = tuple(Checkpoint(id=f"ftckpt-{step}", step_number=step) for step in checkpoints)
    return Metrics(tuple(TrainingMetrics.model_validate(step) for step in steps), job, saved)


def job(name: str = "ftjob-1", *, rate: float = 1.0, status: str = "succeeded", **fields: Any) -> Job:
    """Return a job with its hyperparameters."""
    reward = {"type": "lambda", "lambda": {"function": "arn:aws:lambda:us-west-2:123456789012:function:my-reward"}}
    settings = {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": rate}
    method = {"type": "reinforcement", "reinforcement": {"grader": reward, "hyperparameters": settings}}
    return Job.model_validate({"id": name, "model": "openai.gpt-oss-20b", "status": status, "method": method, **fields})
