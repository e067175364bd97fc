"""Real files of recorded rollouts, as a reward function writes them during a job."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from bedrock_rft.rewards._runtime.rollout import Score
from bedrock_rft.rewards._runtime.rollout_log import Origin, RolloutLog, ScoredEntry, make_record

Behaviour = Literal["healthy", "length_hack", "collapsed", "no_signal", "errors", "cut_off"]

BEGAN = datetime(2026, 11, 28, 14, 3, 22, 123456, tzinfo=timezone.utc)
STEP = timedelta(minutes=10)
FUNCTION = "math-reward"

_FLOOR = 0.0
_TOPICS = ("apples", "trains", "coins", "pages", "litres", "marbles", "tickets", "bricks")
_FILLER = (
    "Let us look at the quantities one after the other.",
    "We write down each number before we combine them.",
    "The second quantity is added to the first one.",
    "It helps to check the units of both quantities.",
    "No quantity is counted twice here.",
    "The order of the two numbers does not matter for a sum.",
)


def write_rollouts(
    folder: Path | str,
    *,
    steps: int,
    groups: int,
    samples: int,
    seed: int = 0,
    behaviour: Behaviour = "healthy",
) -> list[dict[str, Any]]:
    """Write the rollouts of a job, one file for each step, and return their records in order.

    Each step has `groups` prompts with `samples` rollouts each, and follows the previous one by ten minutes. The same
    prompts return in each step.
    """
    log = RolloutLog(str(folder), include=("prompt", "answer", "reference", "fields"))
    written: list[dict[str, Any]] = []
    for step in range(steps):
        numbers = random.Random(f"{seed}-{step}")  # noqa: S311 - made-up data
        origin = Origin(
            FUNCTION, "lambda", str(UUID(int=numbers.getrandbits(128))), BEGAN + step * STEP, "3", "c2hhMjU2="
        )
        progress = step / max(1, steps - 1)
        scored = [
            _rollout(numbers, behaviour, progress, seed, group, f"r-{seed}-{step}-{group}-{sample}")
            for group in range(groups)
            for sample in range(samples)
        ]
        log.write(origin, scored)
        written += [make_record(log, origin, one) for one in scored]
    return written


def _rollout(
    numbers: random.Random, behaviour: Behaviour, progress: float, seed: int, group: int, rollout_id: str
) -> ScoredEntry:
    prompt = random.Random(f"{seed}-prompt-{group}")  # noqa: S311 - as above
    first, second, topic = prompt.randrange(2, 90), prompt.randrange(2, 90), prompt.choice(_TOPICS)
    difficulty = prompt.random()
    question = f"There are {first} {topic} in one box and {second} in another. How many {topic} are there?"
    right = {"no_signal": difficulty < 0.5, "collapsed": numbers.random() < 0.1 * (1 - progress)}.get(
        behaviour, numbers.random() < 0.25 + 0.5 * progress - 0.2 * difficulty
    )
    sentences = numbers.randrange(2, 5)
    if behaviour == "length_hack":
        right, sentences = numbers.random() < 0.3 - 0.2 * progress, 2 + int(40 * progress * numbers.random())
    value = first + second if right else first + second + numbers.randrange(1, 9)
    answer = " ".join([*(numbers.choice(_FILLER) for _ in range(sentences)), f"\nAnswer: {value}"])
    if behaviour == "collapsed" and numbers.random() < progress:
        answer = "The answer depends on the boxes.\nAnswer: 42"
    if behaviour == "cut_off" and numbers.random() < 0.2 + 0.6 * progress:
        answer, right = answer[: int(len(answer) * 0.6)], False
    duration = 0.002 + numbers.random() / 100
    entry = {
        "id": rollout_id,
        "messages": [
            {"role": "system", "content": "Solve the problem. End with 'Answer: NUMBER'."},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        ],
        "metadata": {
            "reference_answer": str(first + second),
            "topic": topic,
            "level": "hard" if difficulty > 0.6 else "easy",
        },
    }
    if behaviour == "errors" and numbers.random() < 0.3:
        return ScoredEntry(entry, Score(_FLOOR, error="ValueError in reward.py, line 12"), duration)
    parts = dict(_parts(behaviour, answer, right=right))
    total = 0.9 * parts["length"] + 0.1 * parts["correct"] if "length" in parts else 0.9 * parts["correct"]
    metrics = {"characters": float(len(answer))}
    return ScoredEntry(entry, Score(total + 0.1 * parts.get("format", 0.0), parts, metrics), duration)


def _parts(behaviour: Behaviour, answer: str, *, right: bool) -> Iterator[tuple[str, float]]:
    yield "correct", float(right)
    if behaviour == "length_hack":
        yield "length", min(1.0, len(answer) / 2000)
    else:
        yield "format", float("Answer:" in answer)
