"""Runs made up from a seed, in the shape of published ones: what a healthy job says, step by step."""

from __future__ import annotations

import math
import random
from typing import Any

from bedrock_rft.metrics import Metrics
from bedrock_rft.types import Checkpoint, Job, TrainingMetrics

STEPS = 67


def healthy(seed: int = 0, steps: int = STEPS) -> list[dict[str, Any]]:
    """Reward from 0.56 to between 0.85 and 0.97, entropy falling slowly from 0.62, the rest steady; all of it noisy."""
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


def metrics(steps: list[dict[str, Any]], job: Job | None = None, checkpoints: tuple[int, ...] = ()) -> Metrics:
    """The same as `client.jobs.metrics` returns it."""
    saved = tuple(Checkpoint(id=f"ftckpt-{step}", step_number=step) for step in checkpoints)
    return Metrics(tuple(TrainingMetrics.model_validate(step) for step in steps), job, saved)


def job(name: str = "ftjob-1", *, rate: float = 1.0, status: str = "succeeded", **fields: Any) -> Job:
    """A job with the hyperparameters that its replies carry."""
    reward = {"type": "lambda", "lambda": {"function": "arn:aws:lambda:us-west-2:123456789012:function:my-reward"}}
    settings = {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": rate}
    method = {"type": "reinforcement", "reinforcement": {"grader": reward, "hyperparameters": settings}}
    return Job.model_validate({"id": name, "model": "openai.gpt-oss-20b", "status": status, "method": method, **fields})
