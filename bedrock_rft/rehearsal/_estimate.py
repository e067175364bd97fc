"""Collect the sizes of a planned run for `client.estimate`, the time of its reward, and the pace of earlier jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, cast

from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.log import log
from bedrock_rft._resources.event_log import oldest_first
from bedrock_rft.costs import Estimate, Pace, Prices, Range
from bedrock_rft.costs._estimate import JudgeLoad, Workload, batch_settings, estimate
from bedrock_rft.costs._pace import ASSUMED, JobTimes
from bedrock_rft.costs._prices import canonical_model
from bedrock_rft.datasets import read
from bedrock_rft.errors import BedrockRFTError, ConfigurationError, DatasetError
from bedrock_rft.metrics._table import step_times
from bedrock_rft.rewards._batch.entries import read_entries
from bedrock_rft.rewards._runtime.graders.llm_judge import Judge
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.resolve import lambda_arn, resolve_target
from bedrock_rft.types import Hyperparameters, Job

MEMORY = 512
"""Memory of a deployed reward in megabytes, by default."""

_FULL_PROCESSOR = 1769  # megabytes of a Lambda function for which it has one processor
_TRIED = 16  # rollouts that a reward is timed on
_JUDGE_PROMPT = 600  # characters of a judge's instructions without its criteria
_JOBS = 5  # finished jobs whose events are read
_ANSWER = Range(200, 2000)
_ANSWER_BASIS = "an assumption; the one published step had a mean of 519"


async def estimate_run(
    client: Any,
    dataset: str | os.PathLike[str] | Iterable[Any],
    *,
    reward: Any,
    hyperparameters: Hyperparameters | Mapping[str, Any] | None,
    model: str,
    evaluation: int,
    samples: int,
    reward_seconds: float | tuple[float, float] | None,
    memory: int | None,
    answer_tokens: int | tuple[int, int] | None,
    prices: Prices | None,
    history: bool,
) -> Estimate:
    """Estimate a run with an async client; `AsyncWorkflows.estimate` describes the arguments."""
    table = prices or Prices.load()
    for name, value in (("evaluation", evaluation), ("samples", samples)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ConfigurationError(f"{name} is {value}; it must be a whole number of at least 0.")
    given = None if answer_tokens is None else Range.of(answer_tokens, "answer_tokens")
    megabytes = memory or getattr(reward, "memory", None) or MEMORY

    def read_workload() -> tuple[str, Workload]:
        records = list(read(cast("Any", dataset)))
        if not records:
            raise DatasetError("There are no records to estimate a run on.")
        name = Path(dataset).name if isinstance(dataset, (str, os.PathLike)) else f"{len(records):,} records"
        seconds, basis = _reward_seconds(reward, records, reward_seconds, megabytes)
        load = build_workload(records, reward, hyperparameters or {}, seconds, basis, memory=megabytes)
        load = replace(load, evaluation=evaluation, samples=samples)
        return name, replace(load, answer_tokens=given, answer_basis="given") if given else load

    name, load = await client._session.transport.run(read_workload)
    pace = await _account_pace(client.jobs, model, load.prompts_per_step) if history else None
    return estimate(name, load, model, table, pace or ASSUMED, region=client._session.config.region)


def build_workload(
    records: Sequence[Mapping[str, Any]],
    reward: Any,
    hyperparameters: Hyperparameters | Mapping[str, Any],
    seconds: Range | None,
    basis: str,
    *,
    memory: int = MEMORY,
) -> Workload:
    """Return the sizes of a run on records, with `seconds` to score one rollout and the origin of that figure."""
    n_epochs, batch_size, assumed = batch_settings(Hyperparameters.of(hyperparameters).sent())
    return Workload(
        records=len(records),
        prompt_chars=fmean(_chars(record) for record in records),
        n_epochs=n_epochs,
        batch_size=batch_size,
        assumed=assumed,
        answer_tokens=_ANSWER,
        answer_basis=_ANSWER_BASIS,
        rollout_seconds=seconds,
        rollout_basis=basis,
        memory=memory,
        architecture=getattr(reward, "architecture", None) or "x86_64",
        judges=tuple(_judges(reward)),
    )


def slower_in_lambda(memory: int) -> float:
    """Return the factor by which a function with this memory may be slower than one processor of this machine."""
    return max(1.0, _FULL_PROCESSOR / memory)


def _reward_seconds(
    reward: Any, records: Sequence[Mapping[str, Any]], given: float | tuple[float, float] | None, memory: int
) -> tuple[Range | None, str]:
    """Return seconds to score a rollout in Lambda, timed on this machine if that is not billed, and their basis."""
    if given is not None:
        return Range.of(given, "reward_seconds"), "seconds per rollout as given"
    if reward is None:
        return None, "no reward was given; pass reward= or reward_seconds="
    if lambda_arn(reward) is not None:
        return None, "a deployed function is not invoked for an estimate; its seconds per rollout were not given"
    if _models(reward):
        return (
            None,
            "a reward that calls a model is not invoked for an estimate; its seconds per rollout were not given",
        )
    event = list(read_entries([(record, str(record.get("reference_answer"))) for record in records[:_TRIED]]))
    with closing(resolve_target(reward, timeout=None, memory=max(memory, 1024), client=None)) as target:
        target.invoke(event)  # not timed: the first invocation imports and compiles
        started = time.perf_counter()
        outcome = target.invoke(event)
        seconds = (time.perf_counter() - started) / len(event)
    if outcome.error is not None:
        return None, f"the reward failed on this machine: {outcome.error.message}"
    slower = slower_in_lambda(memory)
    basis = f"measured on this machine with {len(event)} rollouts, up to {slower:.1f} times as long in Lambda"
    return Range(seconds, seconds * slower), basis


async def _account_pace(jobs: Any, model: str, batch_size: int) -> Pace | None:
    """Return the pace of the newest finished jobs with a model, or None. Problems are logged: a pace is optional.

    Jobs of the local service train no model, so their pace is not used.
    """
    found: list[JobTimes] = []
    try:
        async for job in jobs.list():
            if job.status != "succeeded" or is_local(job.id) or canonical_model(job.model) != canonical_model(model):
                continue
            found.append(await _times(jobs, job))
            if len(found) == _JOBS:
                break
    except BedrockRFTError as error:
        log.warning("the pace of finished jobs could not be read: %s", error)
    return Pace.measured(found, batch_size)


async def _times(jobs: Any, job: Job) -> JobTimes:
    events = [event async for event in jobs.events(job)]
    current = await jobs.retrieve(job)  # items of a list may be stale
    return JobTimes.of(current, step_times(oldest_first(events)))


def _chars(record: Mapping[str, Any]) -> int:
    text = sum(len(str(message.get("content"))) for message in record.get("messages", []))
    return text + len(str(record.get("reference_answer", "")))


def _unwrap_reward(reward: Any) -> Any:
    return reward.reward if isinstance(reward, Handler) else reward


def _models(reward: Any) -> Sequence[str]:
    inner = _unwrap_reward(reward)
    return inner.models if isinstance(inner, Reward) else getattr(reward, "models", ()) or ()


def _judges(reward: Any) -> list[JudgeLoad]:
    inner = _unwrap_reward(reward)
    leaves = inner.leaves if isinstance(inner, Reward) else ()
    found = [leaf for leaf in leaves if isinstance(leaf, Judge)]
    known = [JudgeLoad(one.model, _JUDGE_PROMPT + len(str(one.criteria)), one.max_tokens) for one in found]
    # A package has the ids of the models only, so the default settings of a judge are used.
    return known or [JudgeLoad(model, 2 * _JUDGE_PROMPT, Judge.max_tokens) for model in _models(reward)]
