"""The whole way: ask every model, keep every answer, score, and say what that means."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from bedrock_rft._auth.config import Config
from bedrock_rft.datasets import read
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._advice import Thresholds
from bedrock_rft.evaluation._ask import Ask, apart, asker
from bedrock_rft.evaluation._flow import flow
from bedrock_rft.evaluation._journal import Journal
from bedrock_rft.evaluation._meter import Progress, meter
from bedrock_rft.evaluation._questions import Prompt, models_of, prompts_of, questions
from bedrock_rft.evaluation._report import Evaluation
from bedrock_rft.evaluation._scorer import Scorer, scorer_of
from bedrock_rft.evaluation._summary import summary

__all__ = ["Settings", "evaluate", "run"]

_MOST = 1024


@dataclass(frozen=True)
class Settings:
    """How an evaluation is done; `Client.evaluate` describes each."""

    samples: int = 1
    concurrency: int = 16
    sampling: Mapping[str, Any] | None = None
    limit: int | None = None
    by: Sequence[str] = ()
    pass_mark: float = 1.0
    resume: str | os.PathLike[str] | None = None
    progress: bool | Progress = True
    seed: int = 0
    thresholds: Thresholds | None = None

    def checked(self) -> Settings:
        """The same, if it makes sense. Raises `ConfigurationError`."""
        for name, value, most in (("samples", self.samples, 1000), ("concurrency", self.concurrency, _MOST)):
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigurationError(f"{name} is {value}; it must be a whole number from 1 to {most}.")
        if self.limit is not None and (isinstance(self.limit, bool) or self.limit < 1):
            raise ConfigurationError(f"limit is {self.limit}; it is how many prompts are asked, at least 1.")
        if not math.isfinite(self.pass_mark):
            raise ConfigurationError(f"pass_mark is {self.pass_mark}; it is the score from which an answer passes.")
        taken = {"model", "messages", "stream", "n"} & set(self.sampling or {})
        if taken:
            raise ConfigurationError(
                f"sampling must not hold {', '.join(sorted(taken))}: the evaluation sets it, one answer a request."
            )
        if isinstance(self.by, str):
            raise ConfigurationError(f"by takes a list of record fields: by=['{self.by}'].")
        return self


async def run(
    dataset: object,
    models: object,
    reward: object,
    client: Any,
    settings: Settings,
    *,
    timeout: float,
) -> Evaluation:
    """Evaluate with the OpenAI client of a client of this package.

    A blocking one works in threads and a loop of their own, an async one in the caller's loop.
    """
    config, blocking = client._session.config, client._blocking
    ask = asker(client.openai, config, settings.checked().sampling or {}, timeout, blocking=blocking)
    scorer = scorer_of(reward, client)
    try:
        work = partial(evaluate, dataset, models, scorer, ask, config, settings)
        return apart(work) if blocking else await work()
    finally:
        scorer.close()


async def evaluate(
    dataset: object, models: object, scorer: Scorer, ask: Ask, config: Config, settings: Settings
) -> Evaluation:
    """Ask, score, and sum up.

    Args:
        dataset: a path or records.
        models: whom to ask.
        scorer: what scores an answer.
        ask: asks once.
        config: for what an error says.
        settings: how it is done, already checked.

    Raises:
        APIError: something concerns every question.
        RewardError: the reward cannot score.
        DatasetError: there is nothing to ask.
        ConfigurationError: the models make no sense, or the file to resume from.
    """
    known = models_of(models)
    prompts = prompts_of(islice(read(dataset), settings.limit))
    _check_fields(settings.by, prompts)
    asked = list(questions(prompts, known, settings.samples, settings.sampling or {}))
    journal = Journal(settings.resume, scorer.key)
    try:
        resumed = sum(question.key in journal.answers for question in asked)
        scored = sum(question.key in journal.scores for question in asked)
        with meter(len(asked), resumed, scored, settings.progress) as told:
            missed = await flow(asked, ask, scorer, config, journal, told, concurrency=settings.concurrency)
    finally:
        journal.close()
    return summary(
        asked,
        known,
        prompts,
        journal,
        missed,
        reward=scorer.name,
        samples=settings.samples,
        pass_mark=settings.pass_mark,
        by=settings.by,
        seed=settings.seed,
        thresholds=settings.thresholds or Thresholds(),
        resumed=resumed,
    )


def _check_fields(by: Sequence[str], prompts: Sequence[Prompt]) -> None:
    there = sorted({name for prompt in prompts for name in prompt.fields})
    stray = next((name for name in by if name not in there), None)
    if stray is not None:
        names = f"there are {', '.join(there[:20])}" if there else "they have no further fields"
        raise ConfigurationError(f"by names '{stray}', which no record has; {names}.")
