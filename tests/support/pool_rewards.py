"""Rewards for worker processes. They have a module of their own, because each process imports it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bedrock_rft.rewards import Rollout, reward

__all__ = ["careful", "fragile"]


@reward
def careful(rollout: Rollout) -> float:
    """Score as `Exact`; end the process once if the record names a file that does not exist yet."""
    flag = rollout.extra.get("flag")
    if flag and not Path(str(flag)).exists():
        Path(str(flag)).touch()
        os._exit(7)
    if rollout.answer == "raise":
        raise ValueError(rollout.answer)
    return float(rollout.answer == rollout.reference)


def fragile(event: Any, _: Any) -> list[dict[str, Any]]:
    """Fail the whole batch for one answer."""
    answers = [entry["messages"][-1]["content"] for entry in event]
    return [{"id": e["id"], "aggregate_reward_score": 1 / int(a)} for e, a in zip(event, answers, strict=True)]
