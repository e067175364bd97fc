"""Questions asked and answers scored as they come: a reward that cannot score ends it before everything is paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from bedrock_rft._auth.config import Config
from bedrock_rft.errors import APIError, RewardError
from bedrock_rft.evaluation._ask import Ask, ask_all, crowd, in_thread, together
from bedrock_rft.evaluation._journal import Answer, Journal, Scored
from bedrock_rft.evaluation._lanes import Lanes
from bedrock_rft.evaluation._meter import Meter
from bedrock_rft.evaluation._questions import Question
from bedrock_rft.evaluation._scorer import Scorer, alone

__all__ = ["Missed", "flow"]

_Scoring: TypeAlias = Callable[[Sequence[Question]], Awaitable[Sequence[Scored]]]
_Kept: TypeAlias = Callable[[Question, Scored], None]

_BATCH = 16
_CHARACTERS = 1_000_000
"""Of the answers in a batch: even where each takes four bytes, what a function is sent stays below Lambda's 6 MB."""


@dataclass
class Missed:
    """What has no score, by the key of its question, and why.

    Attributes:
        asked: questions that the service did not take.
        scored: answers that the reward could not score.
    """

    asked: dict[str, str] = field(default_factory=dict[str, str])
    scored: dict[str, str] = field(default_factory=dict[str, str])


async def flow(
    asked: Sequence[Question],
    ask: Ask,
    scorer: Scorer,
    config: Config,
    journal: Journal,
    meter: Meter,
    *,
    concurrency: int,
) -> Missed:
    """Ask what is not answered yet, and score what is not scored yet.

    Raises:
        APIError: something concerns every question.
        RewardError: the reward cannot score anything, or cannot be reached.
    """
    todo = [question for question in asked if question.key not in journal.answers]
    missed, batches = Missed(), _Batches(journal)
    for question in asked:
        if question.key in journal.answers and question.key not in journal.scores:
            batches.add(question)

    def answered(question: Question, answer: Answer) -> None:
        journal.answered(question.key, answer)
        meter.step("asked")
        batches.add(question)

    def failed(question: Question, error: APIError) -> None:
        missed.asked[question.key] = error.message
        meter.step("asked")

    async def asking() -> None:
        lanes, workers = Lanes(concurrency), min(concurrency, max(1, len(todo)))
        await ask_all(iter(todo), ask, config, lanes, workers=workers, answered=answered, failed=failed)
        batches.end(scorer.concurrency)

    scoring = partial(_score, batches, scorer, journal, meter, missed)
    await together([asking(), crowd(scoring, scorer.concurrency)])
    return missed


class _Batches:
    """Answered questions on their way to the reward, so many at a time."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._open: list[Question] = []
        self._size = 0
        self._ready: asyncio.Queue[list[Question] | None] = asyncio.Queue()

    def add(self, question: Question) -> None:
        size = len(self._journal.answers[question.key].text) + question.prompt.size
        if self._open and (len(self._open) == _BATCH or self._size + size > _CHARACTERS):
            self._flush()
        self._open.append(question)
        self._size += size

    def end(self, takers: int) -> None:
        """Nothing comes after this."""
        if self._open:
            self._flush()
        for _ in range(takers):
            self._ready.put_nowait(None)

    def _flush(self) -> None:
        self._ready.put_nowait(self._open)
        self._open, self._size = [], 0

    async def take(self) -> list[Question] | None:
        """The next ones, or None where there are no more."""
        return await self._ready.get()


async def _score(batches: _Batches, scorer: Scorer, journal: Journal, meter: Meter, missed: Missed) -> None:
    def kept(question: Question, scored: Scored) -> None:
        journal.scored(question.key, scored)
        meter.step("scored")

    async def ask(batch: Sequence[Question]) -> Sequence[Scored]:
        entries = [one.prompt.entry(str(place), journal.answers[one.key].text) for place, one in enumerate(batch)]
        return await in_thread(partial(scorer.score, entries))

    while (batch := await batches.take()) is not None:
        try:
            scores = await ask(batch)
        except RewardError as error:
            if not alone(error) or not await _one_by_one(batch, ask, kept, missed):
                raise
        else:
            for question, scored in zip(batch, scores, strict=True):
                kept(question, scored)


async def _one_by_one(batch: Sequence[Question], ask: _Scoring, kept: _Kept, missed: Missed) -> bool:
    """Score one after the other where one of them spoils the batch. False where none of several can be scored."""
    went = 0
    for question in batch:
        try:
            (scored,) = await ask([question])
        except RewardError as error:
            if not alone(error):
                raise
            missed.scored[question.key] = error.message
        else:
            kept(question, scored)
            went += 1
    return went > 0 or len(batch) == 1
