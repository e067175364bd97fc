"""Build the report from answers and scores."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft.evaluation._advice import Thresholds, evaluation_findings
from bedrock_rft.evaluation._comparison import ScoreScale, compare_with_base
from bedrock_rft.evaluation._groups import group_by_field, text_of
from bedrock_rft.evaluation._pipeline import Unscored
from bedrock_rft.evaluation._questions import Model, Prompt, Question
from bedrock_rft.evaluation._report import Evaluation
from bedrock_rft.evaluation._results import Example, ModelResult
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.evaluation._statistics import (
    Interval,
    cluster_units,
    mean,
    mean_interval,
    pass_at_k,
    passes,
    share_interval,
)

__all__ = ["RunFacts", "build_evaluation"]

_EXAMPLES = 5
_MAX_CHARACTERS = 2000
_NOTHING = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class RunFacts:
    """Settings and circumstances of an evaluation that the report shows; see `Evaluation` for each."""

    reward: str
    samples: int
    pass_mark: float
    reward_range: tuple[float, float]
    by: Sequence[str]
    seed: int
    thresholds: Thresholds
    resumed: int
    dataset: str
    date: str
    region: str
    sampling: Mapping[str, Any]
    versions: Mapping[str, str]
    local_service: bool


@dataclass(frozen=True)
class _ScoredAnswer:
    prompt: Prompt
    answer: Answer
    score: AnswerScore


_Answers = Mapping[int, Sequence[_ScoredAnswer]]
"""Scored answers of one model by the prompt's position."""


def build_evaluation(
    questions: Sequence[Question],
    models: Sequence[Model],
    prompts: Sequence[Prompt],
    kept: ResumeFile,
    unscored: Unscored,
    facts: RunFacts,
) -> Evaluation:
    """Build the report.

    Args:
        questions: all questions.
        models: the models in the given order.
        prompts: the prompts that were used.
        kept: answers and scores by question.
        unscored: questions without a score, and why.
        facts: settings and circumstances.
    """
    answers: dict[str, dict[int, list[_ScoredAnswer]]] = {model.label: defaultdict(list) for model in models}
    failed: dict[str, int] = defaultdict(int)
    for question in questions:
        score = None
        if question.key not in unscored.unanswered and question.key not in unscored.ungraded:
            score = kept.scores.get(question.key)
        if score is None:
            failed[question.model.label] += 1
            continue
        scored = _ScoredAnswer(question.prompt, kept.answers[question.key], score)
        answers[question.model.label][question.prompt.index].append(scored)
    scores = [a.score.score for by_prompt in answers.values() for several in by_prompt.values() for a in several]
    scale = ScoreScale(
        min([facts.reward_range[0], *scores]), max([facts.reward_range[1], *scores]), facts.samples, facts.seed
    )
    clusters = {prompt.index: prompt.cluster for prompt in prompts}
    results = [
        _model_result(model, answers[model.label], failed[model.label], clusters, facts.pass_mark, scale)
        for model in models
    ]
    tuned_first = sorted(results[1:], key=lambda result: not _is_tuned(result, models))
    comparisons = compare_with_base([results[0], *tuned_first], clusters, scale)
    findings = evaluation_findings(results, comparisons, unscored, facts.thresholds, facts.reward_range)
    return Evaluation(
        title=f"Evaluation of {len(models)} model{'s' * (len(models) > 1)} on {len(prompts):,} prompts, "
        f"{facts.samples} each",
        findings=tuple(findings),
        reward=facts.reward,
        prompts=len(prompts),
        samples=facts.samples,
        pass_mark=facts.pass_mark,
        reward_range=facts.reward_range,
        models=tuple(results),
        comparisons=tuple(comparisons),
        groups=tuple(group for name in facts.by for group in group_by_field(name, prompts, results)),
        better=_examples(results[0], tuned_first, answers, sign=1),
        worse=_examples(results[0], tuned_first, answers, sign=-1),
        resumed=facts.resumed,
        dataset=facts.dataset,
        date=facts.date,
        region=facts.region,
        sampling=facts.sampling,
        seed=facts.seed,
        versions=facts.versions,
        local_service=facts.local_service,
    )


def _is_tuned(result: ModelResult, models: Sequence[Model]) -> bool:
    return any(model.tuned for model in models if model.label == result.label)


def _model_result(
    model: Model, answers: _Answers, failed: int, clusters: Mapping[int, str], pass_mark: float, scale: ScoreScale
) -> ModelResult:
    scores = {index: tuple(a.score.score for a in several) for index, several in sorted(answers.items())}
    every = [answer for several in answers.values() for answer in several]
    passed = [(sum(passes(score, pass_mark) for score in several), len(several)) for several in scores.values()]
    fewest = min((len(several) for several in scores.values()), default=0)
    names = dict.fromkeys(name for answer in every for name in answer.score.parts)
    score = _score_interval(scores, clusters, scale)
    complete = score
    if failed:
        filled = {i: (*scores.get(i, ()), *[scale.low] * (scale.samples - len(scores.get(i, ())))) for i in clusters}
        complete = _score_interval(filled, clusters, scale)
    return ModelResult(
        model=model.id,
        label=model.label,
        answers=len(every),
        failed=failed,
        score=score,
        score_with_missing=complete,
        pass_at={k: mean([pass_at_k(*counts, k) for counts in passed]) for k in _pass_at_ks(fewest)},
        parts={
            name: mean([mean([a.score.parts.get(name, 0.0) for a in several]) for several in answers.values()])
            for name in names
        },
        prompt_tokens=sum(answer.answer.prompt_tokens for answer in every),
        completion_tokens=sum(answer.answer.completion_tokens for answer in every),
        cut_off=mean([float(answer.answer.finish_reason == "length") for answer in every]) if every else 0.0,
        scores=scores,
    )


def _score_interval(scores: Mapping[int, Sequence[float]], clusters: Mapping[int, str], scale: ScoreScale) -> Interval:
    """Return the mean over prompts with its interval; that of a share if every score is the lowest or highest."""
    if not scores:
        return _NOTHING
    units = cluster_units([mean(several) for several in scores.values()], [clusters[index] for index in scores])
    width = scale.high - scale.low
    if all(score in (scale.low, scale.high) for several in scores.values() for score in several):
        # Copies of a prompt are one unit, so only the answers to different prompts add to the sample size.
        answers = len(units) * max(len(several) for several in scores.values())
        share = share_interval([(unit - scale.low) / width for unit in units], answers)
        return Interval(*(scale.low + width * edge for edge in (share.value, share.low, share.high)))
    return mean_interval(units, (scale.low, scale.high), scale.seed)


def _pass_at_ks(fewest: int) -> list[int]:
    """Return the powers of two up to the number of answers that every prompt has, and that number."""
    return sorted({*(1 << power for power in range(fewest.bit_length())), fewest} - {0})


def _examples(
    base: ModelResult, others: Sequence[ModelResult], answers: Mapping[str, _Answers], *, sign: int
) -> tuple[Example, ...]:
    """Return the prompts whose mean score changed most in one direction, each prompt once."""
    before = base.prompts
    examples: dict[int, Example] = {}
    for other in others:
        after = other.prompts
        gains = {index: after[index] - before[index] for index in before if index in after}
        for index in sorted(gains, key=lambda index: -sign * gains[index]):
            if len(examples) == _EXAMPLES or sign * gains[index] <= 0:
                break
            if index not in examples:
                examples[index] = _example(base, other, answers, index)
    return tuple(examples.values())


def _example(base: ModelResult, other: ModelResult, answers: Mapping[str, _Answers], index: int) -> Example:
    before_mean, after_mean = base.prompts[index], other.prompts[index]
    before = _closest(answers[base.label][index], before_mean)
    after = _closest(answers[other.label][index], after_mean)
    prompt = before.prompt
    return Example(
        index=index,
        prompt=text_of(prompt.messages[-1].get("content"))[:_MAX_CHARACTERS],
        reference=text_of(prompt.reference)[:_MAX_CHARACTERS],
        label=other.label,
        base=base.label,
        before=(before.answer.text[:_MAX_CHARACTERS], before.score.score),
        after=(after.answer.text[:_MAX_CHARACTERS], after.score.score),
        gain=after_mean - before_mean,
        before_mean=before_mean,
        after_mean=after_mean,
    )


def _closest(answers: Sequence[_ScoredAnswer], value: float) -> _ScoredAnswer:
    return min(answers, key=lambda answer: abs(answer.score.score - value))
