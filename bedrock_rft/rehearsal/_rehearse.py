"""The whole way: check the data, check the reward, run the job here, ask the base model where that is wanted."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._transport.transport import run_sync
from bedrock_rft.datasets import Report as Data
from bedrock_rft.datasets import read, validate
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.evaluation._concurrency import run_in_thread
from bedrock_rft.evaluation._evaluate import Settings
from bedrock_rft.evaluation._evaluate import run as evaluate
from bedrock_rft.evaluation._progress import Progress
from bedrock_rft.evaluation._scorer import as_entry_point
from bedrock_rft.rehearsal._curve import Curve
from bedrock_rft.rehearsal._groups import Groups
from bedrock_rft.rehearsal._load import Load
from bedrock_rft.rehearsal._report import Rehearsal
from bedrock_rft.rehearsal._run import GROUP_SIZE, INVOCATION_SIZE, Rehearsed, rehearsed
from bedrock_rft.rewards import Report, check
from bedrock_rft.rewards._targets.resolve import resolve_target
from bedrock_rft.types import Hyperparameters

__all__ = ["MODEL", "Plan", "rehearse", "run"]

MODEL = "openai.gpt-oss-20b"
_MEMORY = 1024
_RECORDS, _STEPS = 400, 25


@dataclass(frozen=True)
class Plan:
    """How a rehearsal is done; `rehearse` describes each."""

    hyperparameters: Hyperparameters | Mapping[str, Any] | None = None
    limit: int | None = None
    model: str = MODEL
    samples: int = 0
    prompts: int = 32
    sampling: Mapping[str, Any] | None = None
    concurrency: int = 16
    resume: str | os.PathLike[str] | None = None
    progress: bool | Progress = True
    seed: int = 0

    @property
    def given(self) -> Mapping[str, Any]:
        """The hyperparameters that were set."""
        return Hyperparameters.of(self.hyperparameters or {}).sent()

    @property
    def most(self) -> int:
        """How many records the job is rehearsed on at most."""
        return self.limit or max(_RECORDS, _STEPS * self.given.get("batch_size", 0))

    def checked(self) -> Plan:
        """The same, if it makes sense. Raises `ConfigurationError`."""
        for name, value, least in (
            ("limit", self.limit, 1),
            ("samples", self.samples, 0),
            ("prompts", self.prompts, 1),
        ):
            if value is None and name == "limit":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigurationError(f"{name} is {value}; it must be a whole number, {least} or more.")
        if self.samples == 1:
            raise ConfigurationError("samples is 1; answers to one prompt are compared, so it takes at least 2.")
        _ = self.given
        return self


def rehearse(
    dataset: str | os.PathLike[str] | Iterable[Any],
    reward: Any,
    *,
    hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
    client: Any = None,
    limit: int | None = None,
    model: str = MODEL,
    samples: int = 0,
    prompts: int = 32,
    sampling: Mapping[str, Any] | None = None,
    concurrency: int = 16,
    resume: str | os.PathLike[str] | None = None,
    progress: bool | Progress = True,
    seed: int = 0,
) -> Rehearsal:
    """Rehearse a run on this machine: will it learn, what will it ask of the reward, what to mend first?

    The data are validated, the reward is checked, and a job runs on the service in a box with a stand-in for the model
    and the reward itself. No model is trained, and without `samples` nothing is asked of the service and no identity is
    needed. A deployed reward is invoked, as a run would invoke it.

    Args:
        dataset: a path, or records.
        reward: a reward, a handler or a function of (event, context); `path/to/file.py:name`; the zip of a Lambda; the
            ARN of a deployed function, or anything with an `.arn`.
        hyperparameters: those of the job to come.
        client: a `Client`, which asks the base model and whose AWS credentials invoke a deployed function.
        limit: the job is rehearsed on so many records at most, chosen by the seed; by default 400, or enough for 25
            steps. What it will ask of the reward is worked out for all of them.
        model: the base model.
        samples: answers of the base model to ask for, to each of `prompts` prompts; it costs tokens. 0 asks for none.
        prompts: how many prompts it is asked, chosen by the seed.
        sampling: further fields of each request.
        concurrency: requests at once.
        resume: a file in which answers are kept; see `Client.evaluate`.
        progress: of the asking; see `Client.evaluate`.
        seed: of the choices and of the training.

    Raises:
        DatasetError: there are no records.
        ConfigurationError: there is no such reward, or an argument makes no sense.
        APIError: the base model cannot be asked.
    """
    source = getattr(client, "_async", client)
    if source is client is not None:
        raise ConfigurationError("client is no blocking one; with an AsyncClient, await client.rehearse(…).")
    plan = Plan(hyperparameters, limit, model, samples, prompts, sampling, concurrency, resume, progress, seed)
    return run_sync(run(source, dataset, reward, plan))


async def run(client: Any, dataset: object, reward: object, plan: Plan) -> Rehearsal:
    """Rehearse, with an async client, the source of a blocking one, or None."""
    plan = plan.checked()
    if plan.samples and client is None:
        raise ConfigurationError("samples asks the base model, which takes a client: client=Client(…).")
    work = partial(_stage, dataset, reward, plan, client)
    stage = await run_in_thread(work) if client is not None and not client._blocking else work()
    asked = None
    if plan.samples and stage.sound:
        chosen = _chosen(stage.records, plan.prompts, plan.seed)
        settings = Settings(
            samples=plan.samples,
            concurrency=plan.concurrency,
            sampling=plan.sampling,
            resume=plan.resume,
            progress=plan.progress,
            seed=plan.seed,
        )
        asked = await evaluate(chosen, [plan.model], reward, client, settings, timeout=120.0)
    return _report(stage, plan, asked)


@dataclass(frozen=True)
class _Stage:
    """What was found out on this machine."""

    name: str
    data: Data
    records: Sequence[Mapping[str, Any]]
    reward: Report | None
    job: Rehearsed | None
    unread: str = ""

    @property
    def sound(self) -> bool:
        """Whether the base model is worth asking."""
        return self.data.ok and self.reward is not None and self.reward.ok


def _stage(dataset: object, reward: object, plan: Plan, client: Any) -> _Stage:
    given = cast("Any", dataset if isinstance(dataset, (str, os.PathLike)) else list(read(dataset)))
    if not given:
        raise DatasetError("There are no records to rehearse on.")
    data = validate(given)
    try:
        records = list(read(given))
    except DatasetError as error:  # a line that cannot be read, of which the report says more
        return _Stage(data.name, data, [], None, None, error.message)
    if not records:
        raise DatasetError(f"{data.name} holds no records to rehearse on.")
    checked = check(reward, records, client=client, seed=plan.seed)
    if "not_a_handler" in {finding.code for finding in checked.errors}:
        return _Stage(data.name, data, records, checked, None)
    target = resolve_target(reward, timeout=None, memory=_MEMORY, client=client)
    try:
        chosen = _chosen(records, plan.most, plan.seed)
        job = rehearsed(chosen, as_entry_point(target), plan.given, timeout=target.timeout, seed=plan.seed)
    finally:
        target.close()
    return _Stage(data.name, data, records, checked, job)


def _chosen(records: Sequence[Mapping[str, Any]], count: int, seed: int) -> Sequence[Mapping[str, Any]]:
    if len(records) <= count:
        return records
    places = sorted(random.Random(seed).sample(range(len(records)), count))  # noqa: S311 - a choice
    return [records[place] for place in places]


def _report(stage: _Stage, plan: Plan, asked: Evaluation | None) -> Rehearsal:
    findings = _of_data(stage.data)
    if stage.unread:
        findings.append(Finding("unknown", "not_rehearsed", "The rest was not looked at", stage.unread))
    findings += stage.reward.findings if stage.reward is not None else ()
    curve, load = _curve(stage.job), _load(stage)
    findings += _of_job(stage, curve)
    base = Groups([*asked.models[0].scores.values()], asked.pass_mark) if asked and asked.models[0].answers else None
    findings += _of_base(stage, plan, asked, base)
    findings += load.findings() if load is not None else ()
    return Rehearsal(
        title=f"Rehearsal of {stage.name}",
        findings=tuple(findings),
        target=stage.reward.target if stage.reward is not None else "",
        data=stage.data,
        reward=stage.reward,
        records=len(stage.records),
        rehearsed=min(plan.most, len(stage.records)),
        settings=plan.given,
        metrics=stage.job.metrics if stage.job is not None else None,
        curve=curve,
        load=load,
        evaluation=asked,
        base=base,
    )


def _of_data(data: Data) -> list[Finding]:
    found: dict[str, Finding] = {}
    for problem in data.problems:
        count = data.counts.get(problem.code, 1)
        why = f"{count:,} like this" if count > 1 else ""
        place = f"{problem.place}: " if problem.place else ""
        what = f"{data.name}, {place}{problem.what}" if place else f"{data.name}: {problem.what}"
        found.setdefault(problem.code, Finding(problem.severity, problem.code, what, why, problem.mend))
    return [*found.values()] or [Finding("ok", "data", f"{data.records:,} records are what the service takes")]


def _curve(job: Rehearsed | None) -> Curve | None:
    if job is None or not job.metrics:
        return None
    rewards = [value for _, value in job.metrics.series("critic_rewards_mean")]
    return Curve(rewards, job.recorder.bounds, Groups(job.groups, 1.0).teaching if job.groups else 0.0)


def _load(stage: _Stage) -> Load | None:
    job, reward = stage.job, stage.reward
    if job is None or reward is None or not job.recorder.rollouts:
        return None
    return Load(
        records=len(stage.records),
        n_epochs=job.n_epochs,
        batch_size=job.batch_size,
        group_size=GROUP_SIZE,
        invocation_size=INVOCATION_SIZE,
        seconds=max(reward.seconds_per_rollout, job.recorder.seconds / job.recorder.rollouts),
        timeout=reward.timeout,
    )


def _of_job(stage: _Stage, curve: Curve | None) -> list[Finding]:
    job = stage.job
    if job is None:
        return []
    found: list[Finding] = []
    if job.job.status != "succeeded":
        why = job.job.error.message if job.job.error else None
        found.append(Finding("error", "job_failed", "The rehearsed job failed", why or "it says no more"))
    elif curve is not None:
        said = {finding.code for finding in stage.reward.errors} if stage.reward is not None else set[str]()
        # A reward that is the same everywhere has been named already.
        found += [one for one in curve.findings() if one.code != "flat" or not said & {"all_equal", "always_zero"}]
    return found


def _of_base(stage: _Stage, plan: Plan, asked: Evaluation | None, base: Groups | None) -> list[Finding]:
    if asked is not None:
        return [*asked.findings, *(base.findings() if base is not None else ())]
    if plan.samples:
        return [Finding("unknown", "not_asked", "The base model was not asked", "what is above comes first")]
    if stage.job is None:
        return []
    return [
        Finding(
            "unknown",
            "not_asked",
            "Whether the base model earns any of this reward was not looked at",
            "the rehearsal's answers are a stand-in's",
            f"Ask it with samples=4: {4 * min(plan.prompts, len(stage.records))} answers, paid by the token",
        )
    ]
