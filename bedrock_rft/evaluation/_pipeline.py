"""Sample and score concurrently, so that a reward that cannot score ends the run before all answers are paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from bedrock_rft._auth.config import Config
from bedrock_rft.errors import APIError, RewardError
from bedrock_rft.evaluation._concurrency import gather_or_cancel, run_in_thread
from bedrock_rft.evaluation._progress import ProgressReporter
from bedrock_rft.evaluation._questions import Question
from bedrock_rft.evaluation._resume_file import Answer, ResumeFile
from bedrock_rft.evaluation._sampling import AdaptiveLimiter, Sampler, sample_all
from bedrock_rft.evaluation._scorer import Scorer, concerns_single_answer

__all__ = ["Unscored", "run_pipeline"]

_BATCH_SIZE = 16
_BATCH_CHARACTERS = 1_000_000
"""Limit for one batch: even with four bytes a character the event stays below Lambda's 6 MB."""


@dataclass
class Unscored:
    """Reasons by question key: questions that the service rejected, and answers that the reward could not score."""

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
    scoring = _Scoring(scorer, kept, progress)
    for question in questions:
        if question.key in kept.answers and question.key not in kept.scores:
            scoring.add(question)

    def on_answer(question: Question, answer: Answer) -> None:
        kept.add_answer(question.key, answer)
        progress.advance("asked")
        scoring.add(question)

    def on_refusal(question: Question, error: APIError) -> None:
        scoring.unscored.unanswered[question.key] = error.message
        progress.advance("asked")

    async def sample() -> None:
        limiter, workers = AdaptiveLimiter(concurrency), min(concurrency, len(remaining))
        await sample_all(iter(remaining), sampler, config, limiter, workers, on_answer, on_refusal)
        scoring.finish()

    await gather_or_cancel([sample(), *(scoring.run() for _ in range(scorer.concurrency))])
    return scoring.unscored


class _Scoring:
    """Score answers in batches as they arrive."""

    def __init__(self, scorer: Scorer, kept: ResumeFile, progress: ProgressReporter) -> None:
        self.unscored = Unscored()
        self._scorer, self._kept, self._progress = scorer, kept, progress
        self._batch: list[Question] = []
        self._characters = 0
        self._queue: asyncio.Queue[list[Question]] = asyncio.Queue()

    def add(self, question: Question) -> None:
        """Add an answered question."""
        size = len(self._kept.answers[question.key].text) + question.prompt.size
        if self._batch and (len(self._batch) == _BATCH_SIZE or self._characters + size > _BATCH_CHARACTERS):
            self._queue.put_nowait(self._batch)
            self._batch, self._characters = [], 0
        self._batch.append(question)
        self._characters += size

    def finish(self) -> None:
        """Queue the last batch and, for each consumer, an empty one that ends it."""
        for batch in (*([self._batch] if self._batch else []), *[[]] * self._scorer.concurrency):
            self._queue.put_nowait(batch)

    async def run(self) -> None:
        """Score batches until the end. A failed batch is scored answer by answer if that may help."""
        while batch := await self._queue.get():
            try:
                await self._score(batch)
            except RewardError as error:
                if not concerns_single_answer(error) or not await self._score_singly(batch):
                    raise

    async def _score(self, batch: Sequence[Question]) -> None:
        entries = [
            question.prompt.reward_entry(str(place), self._kept.answers[question.key].text)
            for place, question in enumerate(batch)
        ]
        scores = await run_in_thread(partial(self._scorer.score, entries))
        for question, score in zip(batch, scores, strict=True):
            self._kept.add_score(question.key, score)
            self._progress.advance("scored")

    async def _score_singly(self, batch: Sequence[Question]) -> bool:
        """Return False if none of several answers can be scored."""
        failed = 0
        for question in batch:
            try:
                await self._score([question])
            except RewardError as error:
                if not concerns_single_answer(error):
                    raise
                self.unscored.ungraded[question.key] = error.message
                failed += 1
        return failed < len(batch) or len(batch) == 1
