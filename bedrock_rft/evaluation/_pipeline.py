"""Sample and score concurrently, so that a reward that cannot score ends the run before all answers are paid for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast
from uuid import uuid4

from bedrock_rft._auth.config import Config
from bedrock_rft.errors import APIError, RewardError
from bedrock_rft.evaluation._concurrency import gather_or_cancel, run_in_thread
from bedrock_rft.evaluation._progress import ProgressReporter
from bedrock_rft.evaluation._questions import Question
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.evaluation._sampling import AdaptiveLimiter, Sampler, sample_all
from bedrock_rft.rewards._batch.recorder import Recording, RolloutRecorder, score_and_record
from bedrock_rft.rewards._batch.score import check_pickle, worker_error
from bedrock_rft.rewards._batch.worker import ScoringTask, concerns_single_answer, floor_reason, score_together
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC
from bedrock_rft.rewards._targets.entry_point import EntryPoint, InProcessTarget
from bedrock_rft.rewards._targets.resolve import lambda_arn, resolve_target
from bedrock_rft.rewards._targets.target import Target, invoke_until_accepted

_BATCH_SIZE = 16
_BATCH_CHARACTERS = 1_000_000
"""Limit for one batch: even with four bytes a character the event stays below Lambda's 6 MB."""
_LOCAL_TIMEOUT = 900.0
"""Seconds for a batch on this machine; the longest timeout of a Lambda function."""
_LOCAL_MEMORY_MB = 1024
_LAMBDA_INVOCATIONS = 8
"""Concurrent invocations of a deployed function."""


_Scored = tuple[AnswerScore, str | None]
"""A score, and why it is the floor if the reward could not score the answer."""
_Score = Callable[[Sequence[Mapping[str, Any]], Sequence[str]], Sequence[_Scored]]


@dataclass(frozen=True)
class Scorer:
    """A reward that is ready to score batches of entries. Stored scores are reused only if their `key` is the same.

    `score` takes entries, and the models that gave their answers, in the same order.
    """

    name: str
    key: str
    concurrency: int
    score: _Score
    close: Callable[[], None]


def create_scorer(
    reward: object, client: Any, executor: Executor | None = None, record: Recording = None, *, local: bool = False
) -> Scorer:
    """Resolve a reward, as `resolve_target` does, and return its scorer, which may use an executor.

    A deployed reward is invoked with the AWS credentials of `client`, a `Client` or an `AsyncClient`. `local` marks the
    recorded answers as those of the local service.
    """
    timeout = None if lambda_arn(reward) else _LOCAL_TIMEOUT
    target = resolve_target(reward, timeout=timeout, memory=_LOCAL_MEMORY_MB, client=client)
    recorder = RolloutRecorder.of(record, "evaluation", target.arn or target.name, local=local)

    def score(entries: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[_Scored]:
        ids, began = [str(entry["id"]) for entry in entries], time.perf_counter()
        errors: dict[str, str] = {}
        result = _invoke(target, entries, errors)
        scores = score_and_record(result, entries, ids, recorder, time.perf_counter() - began, models)
        return [(AnswerScore(one.score, dict(one.metrics)), floor_reason(one, errors)) for one in scores]

    task = ScoringTask(uuid4().hex, reward, timeout, _LOCAL_MEMORY_MB, recorder=recorder)
    scoring = score if executor is None else _executor_scoring(executor, task)
    concurrency = 1 if target.arn is None and executor is None else _LAMBDA_INVOCATIONS
    return Scorer(target.name, f"{target.name} {target.fingerprint}", concurrency, scoring, target.close)


def _executor_scoring(executor: Executor, task: ScoringTask) -> _Score:
    """Return a function that scores a batch in a worker. Raises `ConfigurationError` if `task` cannot be pickled."""
    check_pickle(task, executor)

    def score(entries: Sequence[Mapping[str, Any]], models: Sequence[str]) -> list[_Scored]:
        try:
            results = executor.submit(score_together, task, entries, models).result()
        except BrokenExecutor as error:
            raise worker_error(error) from error
        return [(AnswerScore(cast("float", value), dict(metrics)), error) for value, metrics, error in results]

    return score


def as_entry_point(target: Target) -> EntryPoint:
    """Return a function of (event, context) that invokes a target, again while it is busy. Raises `RewardError`."""
    return lambda event, _: _invoke(target, event, {})


def _invoke(target: Target, event: object, errors: dict[str, str]) -> Any:
    """Return the result of a target. `errors` gets the reasons of the answers that got the floor, by id."""
    if isinstance(target, InProcessTarget):
        return target.call(event, errors)
    outcome = invoke_until_accepted(target, event)
    errors.update(outcome.errors)
    return outcome.unwrap()


@dataclass
class Unscored:
    """Reasons by question key.

    They are those of questions that the service rejected, of answers without a score, and of answers with the floor.
    """

    unanswered: dict[str, str] = field(default_factory=dict[str, str])
    ungraded: dict[str, str] = field(default_factory=dict[str, str])
    floored: dict[str, str] = field(default_factory=dict[str, str])


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
    """Sample missing answers and compute missing scores. Raise an `APIError` or `RewardError` that affects all."""
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
        self._works = any(not score.parts.get(ERROR_METRIC, 0.0) for score in kept.scores.values())
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
        """Queue the last batch and, for each consumer, an empty batch that ends the consumer."""
        for batch in (*([self._batch] if self._batch else []), *[[]] * self._scorer.concurrency):
            self._queue.put_nowait(batch)

    async def run(self) -> None:
        """Score batches until the end. If only single answers of a batch may have failed, score them one by one.

        Raises `RewardError` if the reward raised for all answers of the first batch.
        """
        while batch := await self._queue.get():
            try:
                await self._score(batch)
            except RewardError as error:
                if not concerns_single_answer(error) or not await self._score_singly(batch):
                    raise
            floored = self.unscored.floored
            self._works = self._works or any(question.key not in floored for question in batch)
            if not self._works:
                raise RewardError(
                    f"The reward scored none of the first {len(batch)} answers, so the evaluation was stopped. The "
                    f"first reason: {floored[batch[0].key]}. Correct the reward, and try it with rewards.check.",
                    code="raised",
                )

    async def _score(self, batch: Sequence[Question]) -> None:
        entries = [
            question.prompt.reward_entry(question.key, self._kept.answers[question.key].text) for question in batch
        ]
        models = [question.model.id for question in batch]
        scores = await run_in_thread(partial(self._scorer.score, entries, models))
        for question, (score, reason) in zip(batch, scores, strict=True):
            self._kept.add_score(question.key, score)
            if reason is not None:
                self.unscored.floored[question.key] = reason
            self._progress.advance("scored")

    async def _score_singly(self, batch: Sequence[Question]) -> bool:
        """Score each answer of a batch by itself. Return False if none of several answers can be scored."""
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
