"""Rehearse a run: validate the data, check the reward, run the job on the local service, sample the base model."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._transport.transport import run_sync
from bedrock_rft.costs import Estimate, Prices, Range
from bedrock_rft.costs._estimate import estimate
from bedrock_rft.costs._pace import ASSUMED
from bedrock_rft.costs._prices import canonical_model
from bedrock_rft.datasets import Difficulty, hash_messages, read, validate
from bedrock_rft.datasets import Report as DataReport
from bedrock_rft.errors import ConfigurationError, DatasetError
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.evaluation._concurrency import run_in_thread
from bedrock_rft.evaluation._evaluate import Settings
from bedrock_rft.evaluation._evaluate import run as evaluate
from bedrock_rft.evaluation._pipeline import as_entry_point
from bedrock_rft.evaluation._progress import Progress
from bedrock_rft.local._service.service import PayloadShape
from bedrock_rft.rehearsal._estimate import MEMORY, build_workload, slower_in_lambda
from bedrock_rft.rehearsal._figures import Curve, Groups, Load
from bedrock_rft.rehearsal._report import Rehearsal
from bedrock_rft.rehearsal._run import GROUP_SIZE, INVOCATION_SIZE, RehearsedJob, run_local_job
from bedrock_rft.rewards import Report as RewardReport
from bedrock_rft.rewards import check
from bedrock_rft.rewards._batch.recorder import Recording, RolloutRecorder
from bedrock_rft.rewards._checking.answer_forms import find_form
from bedrock_rft.rewards._targets.resolve import resolve_target
from bedrock_rft.types import Hyperparameters
from bedrock_rft.types.models import KNOWN_MODELS

MODEL = "openai.gpt-oss-20b"
_MEMORY_MB = 1024
_MIN_RECORDS, _MIN_STEPS = 400, 25

Gold = Callable[[Mapping[str, Any]], str]
"""Function that returns the right answer to a record."""


@dataclass(frozen=True)
class Plan:
    """The settings of a rehearsal, which `client.rehearse` describes."""

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
    gold: Gold | None = None
    payload: PayloadShape = "metadata"
    wrap_text: bool = False
    reward_range: tuple[float, float] = (0.0, 1.0)
    difficulty: Difficulty | None = None
    record: Recording = None

    @property
    def job_settings(self) -> Mapping[str, Any]:
        """The hyperparameters that were given."""
        return Hyperparameters.of(self.hyperparameters or {}).sent()

    @property
    def max_records(self) -> int:
        """The maximum number of records that the job runs on."""
        return self.limit or max(_MIN_RECORDS, _MIN_STEPS * self.job_settings.get("batch_size", 0))

    def raise_if_invalid(self) -> Plan:
        """Return the plan itself. Raises `ConfigurationError` if a setting is invalid."""
        limit = 1 if self.limit is None else self.limit
        for name, value, minimum in (("limit", limit, 1), ("samples", self.samples, 0), ("prompts", self.prompts, 1)):
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ConfigurationError(f"{name} is {value}; it must be a whole number, {minimum} or more.")
        if self.samples == 1:
            raise ConfigurationError("samples is 1; it must be 0 or at least 2, because answers are compared.")
        if self.samples and self.difficulty is not None:
            raise ConfigurationError(
                "samples and difficulty were both given, and both describe the answers of the base model. Use one."
            )
        if self.payload not in ("metadata", "top_level"):
            raise ConfigurationError(f"payload is '{self.payload}'; it must be 'metadata' or 'top_level'.")
        _ = self.job_settings
        self.evaluation_settings.raise_if_invalid()
        return self

    @property
    def evaluation_settings(self) -> Settings:
        """Settings for sampling the base model. An answer passes if it has the highest score."""
        return Settings(
            samples=max(1, self.samples),
            concurrency=self.concurrency,
            sampling=self.sampling,
            resume=self.resume,
            progress=self.progress,
            seed=self.seed,
            pass_mark=self.reward_range[1],
            record=self.record,
            reward_range=self.reward_range,
        )


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
    gold: Gold | None = None,
    payload: PayloadShape = "metadata",
    wrap_text: bool = False,
    reward_range: tuple[float, float] = (0.0, 1.0),
    difficulty: Difficulty | str | os.PathLike[str] | None = None,
    record: Recording = None,
) -> Rehearsal:
    """Rehearse a run on this machine, before it is billed.

    The data are validated, the reward is checked, and a job runs on the local service, with a local policy instead of
    the model and with your reward. No model is trained. Without `samples` nothing is sent to the service and no
    identity is needed. A deployed reward is invoked, as a run would invoke it.

    `client` samples the base model, and its AWS credentials invoke a deployed function. `client.rehearse` describes all
    other arguments.

    Raises:
        DatasetError: there are no records.
        ConfigurationError: the reward does not exist, or an argument is invalid.
        APIError: the base model cannot be sampled.
    """
    source = getattr(client, "_async", client)
    if source is client is not None:
        raise ConfigurationError("client must be a Client. With an AsyncClient, use await client.rehearse(…).")
    base = (hyperparameters, limit, model, samples, prompts, sampling, concurrency, resume, progress)
    plan = Plan(*base, seed, gold, payload, wrap_text, reward_range, load_difficulty(difficulty), record)
    return run_sync(run(source, dataset, reward, plan))


def load_difficulty(given: Difficulty | str | os.PathLike[str] | None) -> Difficulty | None:
    """Return the difficulty, or read it from its path. Raises `ConfigurationError` if the file cannot be read."""
    return given if given is None or isinstance(given, Difficulty) else Difficulty.load(given)


async def run(client: Any, dataset: object, reward: object, plan: Plan) -> Rehearsal:
    """Rehearse. `client` is an `AsyncClient`, the one inside a `Client`, or None to rehearse without the service."""
    plan = plan.raise_if_invalid()
    if plan.samples and client is None:
        raise ConfigurationError("samples needs a client that samples the base model: client=Client(…).")
    work = partial(_run_locally, dataset, reward, plan, client)
    local = await run_in_thread(work) if client is not None and not client._blocking else work()
    evaluation = None
    # Answers of the base model are worth their tokens only if neither the data nor the reward has errors.
    if plan.samples and local.data.ok and local.reward is not None and local.reward.ok:
        chosen = _choose(local.records, plan.prompts, plan.seed)
        evaluation = await evaluate(chosen, [plan.model], reward, client, plan.evaluation_settings, timeout=120.0)
    return _report(local, plan, evaluation, reward)


@dataclass(frozen=True)
class _LocalResults:
    """The results of this machine. `reward` is None without records, `job` if the reward cannot be invoked."""

    name: str
    data: DataReport
    records: Sequence[Mapping[str, Any]]
    reward: RewardReport | None
    job: RehearsedJob | None
    unreadable: str = ""


def _run_locally(dataset: object, reward: object, plan: Plan, client: Any) -> _LocalResults:
    source = cast("Any", dataset if isinstance(dataset, (str, os.PathLike)) else list(read(dataset)))
    if not source:
        raise DatasetError("There are no records to rehearse on.")
    data = validate(source)
    try:
        records = list(read(source))
    except DatasetError as error:  # the report on the data has the details
        return _LocalResults(data.name, data, [], None, None, error.message)
    if not records:
        raise DatasetError(f"There are no records to rehearse on: {data.name} is empty.")
    checked = check(
        reward,
        records,
        client=client,
        seed=plan.seed,
        gold=plan.gold,
        reward_range=plan.reward_range,
        progress=plan.progress is True,
    )
    if "not_a_handler" in {finding.code for finding in checked.errors}:
        return _LocalResults(data.name, data, records, checked, None)
    form = find_form(checked.form, records)
    with closing(resolve_target(reward, timeout=None, memory=_MEMORY_MB, client=client)) as target:
        job = run_local_job(
            _choose(records, plan.max_records, plan.seed),
            as_entry_point(target),
            plan.job_settings,
            timeout=target.timeout,
            seed=plan.seed,
            payload=plan.payload,
            wrap_text=plan.wrap_text,
            rollouts=RolloutRecorder.of(plan.record, "rehearsal", target.arn or target.name),
            gold=plan.gold or ((lambda record: form.render(record) or "") if form else None),
        )
    return _LocalResults(data.name, data, records, checked, job)


def _choose(records: Sequence[Mapping[str, Any]], count: int, seed: int) -> Sequence[Mapping[str, Any]]:
    if len(records) <= count:
        return records
    positions = sorted(random.Random(seed).sample(range(len(records)), count))  # noqa: S311 - no secret depends on it
    return [records[position] for position in positions]


def _report(local: _LocalResults, plan: Plan, evaluation: Evaluation | None, reward: object) -> Rehearsal:
    findings = _data_findings(local.data)
    if local.unreadable:
        summary = "The reward was not checked, and no job was rehearsed"
        findings.append(Finding("unknown", "not_rehearsed", summary, local.unreadable))
    findings += local.reward.findings if local.reward else ()
    curve, load = _curve(local.job), _load(local)
    findings += _settings_findings(local, plan)
    findings += _job_findings(local, plan, curve)
    base, difficulty = None, _matching_difficulty(plan.difficulty, local.records)
    if evaluation is not None and evaluation.models[0].answers:
        scores = [*evaluation.models[0].scores.values()]
        base = Groups(scores, max(evaluation.pass_mark, *map(max, scores)), GROUP_SIZE)
        difficulty = evaluation.difficulty()
    elif difficulty is not None:
        scores = [prompt.rewards for prompt in difficulty.prompts.values()]
        base = Groups(scores, max(difficulty.pass_mark, *map(max, scores)), GROUP_SIZE)
    findings += _base_findings(local, plan, evaluation, base)
    if load and local.job and local.job.job.status == "succeeded":
        findings += load.findings()
    return Rehearsal(
        title=f"Rehearsal of {local.name}",
        findings=tuple(findings),
        target=local.reward.target if local.reward else "",
        data=local.data,
        reward=local.reward,
        records=local.data.records,
        rehearsed=min(plan.max_records, len(local.records)),
        settings=plan.job_settings,
        metrics=local.job.metrics if local.job else None,
        curve=curve,
        load=load,
        evaluation=evaluation,
        base=base,
        difficulty=difficulty,
        estimate=_estimate(local, plan, load, reward) if load else None,
    )


def _matching_difficulty(given: Difficulty | None, records: Sequence[Mapping[str, Any]]) -> Difficulty | None:
    """Return the difficulty of the prompts of these records that were answered at least twice.

    Return None if no difficulty was given, or if there is no such prompt.
    """
    if given is None:
        return None
    hashes = {hash_messages(record["messages"]) for record in records if isinstance(record.get("messages"), list)}
    known = {one: prompt for one, prompt in given.prompts.items() if one in hashes and prompt.samples > 1}
    return replace(given, prompts=known) if known else None


def _estimate(local: _LocalResults, plan: Plan, load: Load, reward: object) -> Estimate:
    """Estimate the planned run. Nothing is sent, so the pace is assumed."""
    memory = getattr(reward, "memory", None) or MEMORY
    basis = f"measured by the rehearsal, up to {slower_in_lambda(memory):.1f} times as long in Lambda"
    seconds = Range(load.seconds, load.seconds * slower_in_lambda(memory))
    work = build_workload(local.records, reward, plan.job_settings, seconds, basis, memory=memory)
    return estimate(local.name, work, plan.model, Prices.load(), ASSUMED)


def _data_findings(data: DataReport) -> list[Finding]:
    """Return the first problem of each kind as a finding."""
    findings: dict[str, Finding] = {}
    for problem in data.problems:
        if problem.code in findings:
            continue
        same = [one for one in data.problems if one.code == problem.code]
        count, remedy = data.counts.get(problem.code, 1), problem.remedy
        reason = f"{count:,} problems of this kind" if count > 1 else ""
        if len({one.remedy for one in same}) > 1:
            reason = f"it is the first of {count:,} problems of the kind '{problem.code}'"
            remedy = f"{remedy} there; datasets.validate lists the others, which need other remedies"
        if problem.code == "too-few":
            remedy = "Add records"  # a validation file may have fewer, and is not rehearsed
        place = f", {problem.place}" if problem.place else ""
        summary = f"{data.name}{place}: {problem.summary}"
        findings.setdefault(problem.code, Finding(problem.severity, problem.code, summary, reason, remedy))
    return [*findings.values()] or [
        Finding("ok", "data", f"The {data.records:,} records have the form that the service documents")
    ]


def _curve(job: RehearsedJob | None) -> Curve | None:
    if job is None or not job.metrics:
        return None
    rewards = [value for _, value in job.metrics.series("critic_rewards_mean")]
    groups = job.early_groups
    return Curve(rewards, job.recorder.bounds, Groups(groups, 1.0).observed_share if groups else 0.0)


def _load(local: _LocalResults) -> Load | None:
    job, reward = local.job, local.reward
    if job is None or reward is None or not job.recorder.rollouts:
        return None
    return Load(
        records=len(local.records),
        n_epochs=job.hyperparameter("n_epochs"),
        batch_size=job.hyperparameter("batch_size"),
        group_size=GROUP_SIZE,
        invocation_size=INVOCATION_SIZE,
        seconds=job.recorder.seconds / job.recorder.rollouts,
        timeout=reward.timeout,
        slowest=job.recorder.slowest,
    )


def _settings_findings(local: _LocalResults, plan: Plan) -> list[Finding]:
    """Return a warning for a model that is not documented, and for a batch that is larger than the data."""
    findings: list[Finding] = []
    if canonical_model(plan.model) not in KNOWN_MODELS:
        reason = f"documented models: {', '.join(sorted(KNOWN_MODELS))}; AWS may have added others"
        remedy = "Check the name of the model before you create a job"
        summary = f"'{sanitize_line(plan.model, 100)}' is not documented as trainable"
        findings.append(Finding("warning", "model", summary, reason, remedy))
    size, count = plan.job_settings.get("batch_size", 0), len(local.records)
    if size > count > 0:
        summary = f"The batch size {size:,} is larger than the {count:,} records, so an epoch has 1 step"
        findings.append(Finding("warning", "large_batch", summary, "", "Use a smaller batch_size"))
    return findings


def _explain(finding: Finding, local: _LocalResults, plan: Plan) -> Finding:
    """Return a finding on the curve with the remedy that fits the settings."""
    rate = plan.job_settings.get("learning_rate_multiplier", 1.0)
    if finding.code == "stays" and rate < 1:
        reason = f"with learning_rate_multiplier {rate:g}, the local policy changes little; {finding.reason}"
        return replace(finding, reason=reason, remedy="Rehearse without learning_rate_multiplier")
    if finding.code == "few_steps" and len(local.records) <= plan.max_records:
        return replace(finding, remedy="Use a smaller batch_size, more epochs or more records")
    return finding


def _job_findings(local: _LocalResults, plan: Plan, curve: Curve | None) -> list[Finding]:
    job = local.job
    if job is None:
        return []
    if job.job.status != "succeeded":
        reason = (job.job.error.message if job.job.error else None) or "the job has no error message"
        return [Finding("error", "job_failed", "The rehearsed job failed", reason)]
    if curve is None:
        return []
    errors = {finding.code for finding in local.reward.errors} if local.reward else set[str]()
    reported = {finding.code for finding in local.reward.findings} if local.reward else set[str]()
    findings = _payload_findings(local.reward, curve)
    for finding in curve.findings():
        # Leave out a finding that repeats the check of the reward (a constant reward, or no right answers to write),
        # and a rising curve that would hide an error of the reward.
        repeated = finding.code == "flat" and (findings or reported & {"all_equal", "always_zero", "no_right_answer"})
        if not repeated and not (finding.level == "ok" and errors):
            findings.append(_explain(finding, local, plan))
    return findings


def _payload_findings(reward: RewardReport | None, curve: Curve) -> list[Finding]:
    """Return a finding if the reward scores right answers in another payload shape only."""
    shapes = {name: mean for name, mean in reward.shapes.items() if mean} if reward else {}
    if not shapes or curve.bounds != (0.0, 0.0):
        return []
    shape = max(shapes, key=shapes.__getitem__)
    options = ['payload="top_level"'] * shape.startswith("top") + ["wrap_text=True"] * shape.endswith("wrapped")
    summary = "All rehearsed answers scored 0, because the reward reads another payload shape"
    reason = f"right answers score {shapes[shape]:.2f} if the reference answer is sent as '{shape}'"
    remedy = f"Rehearse with {', '.join(options)}, or read the reference answer in all documented places"
    return [Finding("error", "payload_shape", summary, reason, remedy)] if options else []


def _base_findings(
    local: _LocalResults, plan: Plan, evaluation: Evaluation | None, base: Groups | None
) -> list[Finding]:
    if evaluation is not None:
        return judge_base_model(evaluation, base)
    if base is not None:
        return _measured_findings(plan, base)
    if plan.difficulty is not None:
        reason = (
            "no prompt of the file has two answers in the difficulty; prompts are matched by the role and content of "
            "their messages"
        )
        summary = "The difficulty does not cover the prompts of this file"
        return [Finding("unknown", "other_prompts", summary, reason, "Measure the difficulty of this file")]
    summary = "The check of the base model could not run: the base model was not sampled"
    if plan.samples:
        return [Finding("unknown", "not_asked", summary, "fix the errors of the data or the reward")]
    if local.job is None:
        return []
    remedy = f"Pass samples=4 for {4 * min(plan.prompts, len(local.records))} answers, billed by the token"
    return [Finding("unknown", "not_asked", summary, "the answers of the rehearsal are the local policy's", remedy)]


def _measured_findings(plan: Plan, base: Groups) -> list[Finding]:
    """Return the findings on a difficulty that was measured before."""
    if plan.difficulty is None or not plan.difficulty.local_service:
        return base.findings()
    summary = "The check of the base model could not run: the difficulty is not that of the base model"
    remedy = "Measure it with a client of the service, or pass samples=4"
    return [Finding("unknown", "not_asked", summary, plan.difficulty.note, remedy)]


def judge_base_model(evaluation: Evaluation, base: Groups | None) -> list[Finding]:
    """Return the findings on the base model. If its mean is too low or gives no signal, no finding is `ok`."""
    findings = [*evaluation.findings, *(base.findings() if base is not None else ())]
    if any(finding.level == "error" or finding.code in ("no_signal", "little_signal") for finding in findings):
        return [finding for finding in findings if finding.level != "ok"]
    return findings
