"""Difficulty of prompts from recorded rollouts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bedrock_rft.datasets import Difficulty
from bedrock_rft.rollouts._record import Record


def measure_difficulty(records: Iterable[Record], pass_mark: float, origin: str) -> Difficulty:
    """Return the difficulty of each prompt. Rollouts without a prompt, or whose reward failed, are left out."""
    rewards: dict[str, list[float]] = {}
    fields: dict[str, Mapping[str, Any]] = {}
    sources, models, local = set[str](), set[str](), False
    for record in records:
        if record.prompt_hash is not None and record.error is None:
            rewards.setdefault(record.prompt_hash, []).append(record.score)
            fields.setdefault(record.prompt_hash, record.fields or {})
            sources.add(record.source)
            models.add(record.model or "")
            local = local or record.is_rehearsal
    origin = f"{origin}, source {', '.join(sorted(sources))}"
    if named := sorted(models - {""}):
        origin = f"{origin}, model {', '.join(named)}"
    return Difficulty.from_rewards(rewards, fields=fields, pass_mark=pass_mark, origin=origin, local_service=local)
