"""Sample and score concurrently, so that a reward that cannot score ends the run before all answers are paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from bedrock_rft._auth.config import Config
from bedrock_rft.errors import APIError, RewardError
from bedrock_rft.evaluation._concurrency import gather_or_cancel, run_in_thread, run_workers
from bedrock_rft.evaluation._progress import ProgressReporter
from bedrock_rft.evaluation._questions import Question
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.evaluation._sampling import AdaptiveLimiter, Sampler, sample_all
from bedrock_rft.evaluation._scorer import Scorer, concerns_single_answer

__all__ = ["Unscored", "run_pipeline"]

_ScoreBatch: TypeAlias = Callable[[Sequence[Question]], Awaitable[Sequence[AnswerScore]]]
_KeepScore: TypeAlias = Callable[[Question, AnswerScore], None]

_BATCH_SIZE = 16
_BATCH_CHARACTERS = 1_000_000
"""Limit for one batch: even with four bytes a character the event stays below Lambda's 6 MB."""


@dataclass
class Unscored:
    """Questions without a score and the reasons, by question key.

    Attributes:
        unanswered: questions that the service rejected.
        ungraded: answers that the reward could not score.
    """

    unanswered: dict[str, str] = field(default_factory=dict[str, str])
    ungraded: dict[str, str] = field(default_factory=dict[str, str])


async def run_pipeline(
    questions: Sequence[Question],
    sampler: Sampler,
    scorer: Scorer,
    config: Config,
    kept: ResumeFile,
    progress: ProgressReporter,
    *,
    concurrency: int,
) -> Unscored:
    """Sample all missing answers and compute all missing scores.

    Raises:
        APIError: the error concerns every question.
        RewardError: the reward cannot score any answer, or cannot be reached.
    """
    remaining = [question for question in questions if question.key not in kept.answers]
    unscored, batches = Unscored(), _Batches(kept)
    for question in questions:
        if question.key in kept.answers and question.key not in kept.scores:
            batches.add(question)

    def on_answer(question: Question, answer: Answer) -> None:
        kept.add_answer(question.key, answer)
        progress.advance("asked")
        batches.add(question)

    def on_refusal(question: Question, error: APIError) -> None:
        unscored.unanswered[question.key] = error.message
        progress.advance("asked")

    async def sample() -> None:
        limiter, workers = AdaptiveLimiter(concurrency), min(concurrency, max(1, len(remaining)))
        await sample_all(
            iter(remaining), sampler, config, limiter, workers=workers, on_answer=on_answer, on_refusal=on_refusal
        )
        batches.close(scorer.concurrency)

    score = partial(_score_batches, batches, scorer, kept, progress, unscored)
    await gather_or_cancel([sample(), run_workers(score, scorer.concurrency)])
    return unscored


class _Batches:
    """Queue of answered questions, grouped into batches for the reward."""

    def __init__(self, kept: ResumeFile) -> None:
        self._kept = kept
        self._open: list[Question] = []
        self._characters = 0
        self._queue: asyncio.Queue[list[Question] | None] = asyncio.Queue()

    def add(self, question: Question) -> None:
        size = len(self._kept.answers[question.key].text) + question.prompt.size
        if self._open and (len(self._open) == _BATCH_SIZE or self._characters + size > _BATCH_CHARACTERS):
            self._flush()
        self._open.append(question)
        self._characters += size

    def close(self, consumers: int) -> None:
        """Queue the last batch and an end marker for each consumer."""
        if self._open:
            self._flush()
        for _ in range(consumers):
            self._queue.put_nowait(None)

    def _flush(self) -> None:
        self._queue.put_nowait(self._open)
        self._open, self._characters = [], 0

    async def next(self) -> list[Question] | None:
        """Return the next batch, or None at the end."""
        return await self._queue.get()


async def _score_batches(
    batches: _Batches, scorer: Scorer, kept: ResumeFile, progress: ProgressReporter, unscored: Unscored
) -> None:
    def keep(question: Question, score: AnswerScore) -> None:
        kept.add_score(question.key, score)
        progress.advance("scored")

    async def score(batch: Sequence[Question]) -> Sequence[AnswerScore]:
        entries = [
            question.prompt.reward_entry(str(place), kept.answers[question.key].text)
            for place, question in enumerate(batch)
        ]
        return await run_in_thread(partial(scorer.score, entries))

    while (batch := await batches.next()) is not None:
        try:
            scores = await score(batch)
        except RewardError as error:
            if not concerns_single_answer(error) or not await _score_singly(batch, score, keep, unscored):
                raise
        else:
            for question, answer_score in zip(batch, scores, strict=True):
                keep(question, answer_score)


async def _score_singly(batch: Sequence[Question], score: _ScoreBatch, keep: _KeepScore, unscored: Unscored) -> bool:
    """Score a failed batch answer by answer. Return False if none of several answers can be scored."""
    succeeded = 0
    for question in batch:
        try:
            (answer_score,) = await score([question])
        except RewardError as error:
            if not concerns_single_answer(error):
                raise
            unscored.ungraded[question.key] = error.message
        else:
            keep(question, answer_score)
            succeeded += 1
    return succeeded > 0 or len(batch) == 1
