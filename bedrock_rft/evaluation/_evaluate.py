"""Evaluate models: sample answers, score them, and report."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

from bedrock_rft._auth.config import Config
from bedrock_rft._auth.endpoint import is_local_service
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft.datasets import read
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._concurrency import run_coroutine
from bedrock_rft.evaluation._pipeline import Scorer, create_scorer, run_pipeline
from bedrock_rft.evaluation._progress import Progress, ProgressReporter
from bedrock_rft.evaluation._questions import Prompt, parse_models, parse_prompts, plan_questions, sample_prompts
from bedrock_rft.evaluation._report import Evaluation
from bedrock_rft.evaluation._resume_file import ResumeFile
from bedrock_rft.evaluation._sampling import Sampler, chat_sampler
from bedrock_rft.evaluation._summary import Thresholds, build_evaluation
from bedrock_rft.metrics._reward_health import check_range
from bedrock_rft.rewards._batch.recorder import Recording

_MAX_SAMPLES, _MAX_CONCURRENCY = 1000, 1024
_RESERVED = ("model", "messages", "stream", "n")


@dataclass(frozen=True)
class Settings:
    """Settings of an evaluation, which `Client.evaluate` describes."""

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
    reward_range: tuple[float, float] = (0.0, 1.0)
    executor: Executor | None = None
    record: Recording = None

    def raise_if_invalid(self) -> Settings:
        """Return these settings. Raise `ConfigurationError` if a setting is invalid."""
        limits = (("samples", self.samples, _MAX_SAMPLES), ("concurrency", self.concurrency, _MAX_CONCURRENCY))
        for name, value, most in limits:
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ConfigurationError(f"{name} is {value!r}. Use a whole number from 1 to {most}.")
        limit: object = self.limit
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise ConfigurationError(f"limit is {limit!r}. Use the number of prompts to evaluate, at least 1, or None.")
        if not math.isfinite(self.pass_mark):
            raise ConfigurationError(
                f"pass_mark is {self.pass_mark}. Pass the lowest score with which an answer passes."
            )
        reserved = [name for name in _RESERVED if name in (self.sampling or {})]
        if reserved:
            raise ConfigurationError(
                f"sampling must not contain {', '.join(reserved)}: the evaluation sets these fields and sends one "
                "request for each answer. Remove them from sampling=, and use models= and samples=."
            )
        if isinstance(self.by, str):
            raise ConfigurationError(f"by is a text. Use a list of record fields: by=['{self.by}'].")
        check_range(self.reward_range)
        return self


async def run(
    dataset: object, models: object, reward: object, client: Any, settings: Settings, *, timeout: float
) -> Evaluation:
    """Evaluate through the OpenAI client of a `Client`, in a new event loop, or of an `AsyncClient`, in this one."""
    config, blocking = client._session.config, client._blocking
    sampler = chat_sampler(
        client.openai, config, settings.raise_if_invalid().sampling or {}, timeout, blocking=blocking
    )
    local = is_local_service(config.base_url)
    with closing(create_scorer(reward, client, settings.executor, settings.record, local=local)) as scorer:
        work = partial(_evaluate, dataset, models, scorer, sampler, config, settings)
        return run_coroutine(work) if blocking else await work()


async def _evaluate(
    dataset: object, models: object, scorer: Scorer, sampler: Sampler, config: Config, settings: Settings
) -> Evaluation:
    started = datetime.now(timezone.utc)
    targets = parse_models(models)
    every = parse_prompts(read(dataset))
    prompts = sample_prompts(every, settings.limit, settings.seed)
    _check_fields(settings.by, prompts)
    sampling = settings.sampling or {}
    questions = list(plan_questions(prompts, targets, settings.samples, sampling))
    with closing(ResumeFile(settings.resume, scorer.key)) as kept:
        resumed = sum(question.key in kept.answers for question in questions)
        scored = sum(question.key in kept.scores for question in questions)
        with closing(ProgressReporter(len(questions), resumed, scored, settings.progress)) as progress:
            unscored = await run_pipeline(
                questions, sampler, scorer, config, kept, progress, concurrency=settings.concurrency
            )
    facts = Evaluation(
        title="",
        findings=(),
        reward=scorer.name,
        samples=settings.samples,
        pass_mark=settings.pass_mark,
        reward_range=(settings.reward_range[0], settings.reward_range[1]),
        seed=settings.seed,
        resumed=resumed,
        dataset=_describe_dataset(dataset, len(prompts), len(every), settings.seed),
        date=f"{started:%Y-%m-%d %H:%M} UTC",
        region=config.region,
        sampling=dict(sampling),
        versions={"bedrock-rft": __version__, "openai": version("openai")},
        local_service=is_local_service(config.base_url),
    )
    return build_evaluation(
        facts, questions, targets, prompts, kept, unscored, by=settings.by, thresholds=settings.thresholds
    )


def _describe_dataset(dataset: object, sampled_records: int, total_records: int, seed: int) -> str:
    path = isinstance(dataset, (str, os.PathLike))
    name = Path(os.fspath(cast("str", dataset))).name if path else "records in memory"
    if sampled_records == total_records:
        return f"{name}, {total_records:,} record{'s' * (total_records != 1)}"
    return f"{name}, {sampled_records:,} of {total_records:,} records at random, seed {seed}"


def _check_fields(by: Sequence[str], prompts: Sequence[Prompt]) -> None:
    known = sorted({name for prompt in prompts for name in prompt.fields})
    unknown = next((name for name in by if name not in known), None)
    if unknown is not None:
        names = f"The records have {', '.join(known[:20])}." if known else "The records have no further fields."
        raise ConfigurationError(f"by names '{sanitize_line(unknown, 80)}', a field that no record has. {names}")
