"""Build the report from answers and scores: results, verdicts on models, and advice for a training run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from bedrock_rft._core.buckets import group_by_value, value_text
from bedrock_rft._core.findings import Finding
from bedrock_rft._core.statistics import (
    Interval,
    cluster_units,
    mean,
    mean_interval,
    pass_at_k,
    passes,
    share_interval,
)
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.datasets._difficulty import short_fields
from bedrock_rft.evaluation._comparison import ScoreScale, compare_with_base
from bedrock_rft.evaluation._pipeline import Unscored
from bedrock_rft.evaluation._questions import Model, Prompt, Question
from bedrock_rft.evaluation._report import Evaluation
from bedrock_rft.evaluation._results import Comparison, Example, Group, ModelResult
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

_EXAMPLES = 5
_MANY_CUT_OFF = 0.05
_MAX_CHARACTERS = 2000


@dataclass(frozen=True)
class Thresholds(ShortRepr):
    """Scores of a base model below or above which training makes little sense, as shares of the reward's range.

    Attributes:
        too_low: below this share, the model hardly ever earns a reward, so there is nothing to reinforce.
        too_high: above this share, there is hardly anything left to learn.

    Source:
        AWS's user guide, Reinforcement fine-tuning for Amazon Nova models: measure the base model; at 0, fine-tune with
        supervision first; above 95 %, reinforcement fine-tuning may not be needed. 0.05 is this project's choice.
    """

    too_low: float = 0.05
    too_high: float = 0.95


@dataclass(frozen=True)
class _ScoredAnswer:
    prompt: Prompt
    answer: Answer
    score: AnswerScore


_Answers = Mapping[int, Sequence[_ScoredAnswer]]
"""Scored answers of one model by the prompt's position."""


def build_evaluation(
    facts: Evaluation,
    questions: Sequence[Question],
    models: Sequence[Model],
    prompts: Sequence[Prompt],
    kept: ResumeFile,
    unscored: Unscored,
    *,
    by: Sequence[str] = (),
    thresholds: Thresholds | None = None,
) -> Evaluation:
    """Add the results to `facts`, a report with the settings and circumstances only."""
    answers: dict[str, dict[int, list[_ScoredAnswer]]] = {model.label: defaultdict(list) for model in models}
    failed = dict.fromkeys(answers, 0)
    for question in questions:
        score = kept.scores.get(question.key)
        if score is None or question.key in unscored.unanswered or question.key in unscored.ungraded:
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
    tuned = {model.label for model in models if model.tuned}
    base, *others = results
    others.sort(key=lambda result: result.label not in tuned)
    comparisons = compare_with_base([base, *others], clusters, scale)
    findings = evaluation_findings(results, comparisons, unscored, thresholds or Thresholds(), facts.reward_range)
    return replace(
        facts,
        title=f"Evaluation of {len(models)} model{'s' * (len(models) > 1)} on {len(prompts):,} prompts, "
        f"{facts.samples} each",
        findings=tuple(findings),
        prompts=len(prompts),
        models=tuple(results),
        comparisons=tuple(comparisons),
        groups=tuple(group for name in by for group in _group_by_field(name, prompts, results)),
        better=_examples(base, others, answers, sign=1),
        worse=_examples(base, others, answers, sign=-1),
        prompt_hashes=clusters,
        record_fields={prompt.index: short_fields(prompt.fields) for prompt in prompts},
    )


def _model_result(
    model: Model, answers: _Answers, failed: int, clusters: Mapping[int, str], pass_mark: float, scale: ScoreScale
) -> ModelResult:
    scores = {index: tuple(a.score.score for a in several) for index, several in sorted(answers.items())}
    every = [answer for several in answers.values() for answer in several]
    passed = [(sum(passes(score, pass_mark) for score in several), len(several)) for several in scores.values()]
    fewest = min((len(several) for several in scores.values()), default=0)
    # pass@k is reported for powers of two up to the fewest answers of any prompt, and for that number itself.
    ks = sorted({*(1 << power for power in range(fewest.bit_length())), fewest} - {0})
    score = complete = _score_interval(scores, clusters, scale)
    if failed:
        complete = _score_interval(
            {index: scale.fill_missing(scores.get(index, ())) for index in clusters}, clusters, scale
        )
    return ModelResult(
        model=model.id,
        label=model.label,
        answers=len(every),
        failed=failed,
        score=score,
        score_with_missing=complete,
        pass_at={k: mean([pass_at_k(*counts, k) for counts in passed]) for k in ks},
        parts={
            name: mean([mean([a.score.parts.get(name, 0.0) for a in several]) for several in answers.values()])
            for name in dict.fromkeys(name for answer in every for name in answer.score.parts)
        },
        prompt_tokens=sum(answer.answer.prompt_tokens for answer in every),
        completion_tokens=sum(answer.answer.completion_tokens for answer in every),
        cut_off=mean([float(answer.answer.finish_reason == "length") for answer in every]) if every else 0.0,
        scores=scores,
    )


def _score_interval(scores: Mapping[int, Sequence[float]], clusters: Mapping[int, str], scale: ScoreScale) -> Interval:
    """Return the mean over prompts with its interval. If all scores are the lowest or the highest, it is a share's."""
    if not scores:
        return Interval(math.nan, math.nan, math.nan)
    units = cluster_units([mean(several) for several in scores.values()], [clusters[index] for index in scores])
    width = scale.high - scale.low
    if all(score in (scale.low, scale.high) for several in scores.values() for score in several):
        # Copies of a prompt are one unit, so only the answers to different prompts add to the sample size.
        answers = len(units) * max(len(several) for several in scores.values())
        share = share_interval([(unit - scale.low) / width for unit in units], answers)
        return Interval(*(scale.low + width * edge for edge in (share.value, share.low, share.high)))
    return mean_interval(units, (scale.low, scale.high), scale.seed)


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
    means = base.prompts[index], other.prompts[index]
    # The answer of each model that is closest to its mean.
    before, after = (
        min(answers[result.label][index], key=lambda answer: abs(answer.score.score - value))
        for result, value in zip((base, other), means, strict=True)
    )
    return Example(
        index=index,
        prompt=value_text(before.prompt.messages[-1].get("content"))[:_MAX_CHARACTERS],
        reference=value_text(before.prompt.reference)[:_MAX_CHARACTERS],
        label=other.label,
        base=base.label,
        before=(before.answer.text[:_MAX_CHARACTERS], before.score.score),
        after=(after.answer.text[:_MAX_CHARACTERS], after.score.score),
        gain=means[1] - means[0],
        before_mean=means[0],
        after_mean=means[1],
    )


def _group_by_field(name: str, prompts: Sequence[Prompt], results: Sequence[ModelResult]) -> list[Group]:
    """Return the mean score of each model for each value of a record field."""
    scores = {result.label: result.prompts for result in results}
    return [
        Group(
            field=name,
            value=label,
            prompts=len(group),
            means={model: mean([of[one.index] for one in group if one.index in of]) for model, of in scores.items()},
        )
        for label, group in group_by_value(prompts, lambda prompt: prompt.fields.get(name))
    ]


def evaluation_findings(
    results: Sequence[ModelResult],
    comparisons: Sequence[Comparison],
    unscored: Unscored,
    thresholds: Thresholds,
    reward_range: tuple[float, float],
) -> Iterator[Finding]:
    """Yield the findings for all models. The first is the base model."""
    if results[0].answers:
        yield _base_finding(results[0], thresholds, reward_range)
    yield from map(_comparison_finding, comparisons)
    for result in results:
        yield from _answer_findings(result, unscored)
    for code, summary, reasons in (
        ("not_answered", "questions were rejected by the service", unscored.unanswered),
        ("not_scored", "answers could not be scored", unscored.ungraded),
    ):
        if reasons:
            first = next(iter(reasons.values()))
            yield Finding("warning", code, f"{len(reasons):,} {summary}", f"the first reason: {first}")


def _answer_findings(result: ModelResult, unscored: Unscored) -> Iterator[Finding]:
    label = result.label
    if not result.answers:
        reason = "the service rejected every question, or the reward scored no answer"
        yield Finding("error", "no_answers", f"{label} has no scored answer", reason, "Read the reasons below")
    elif result.failed:
        summary = f"{result.failed:,} of {result.answers + result.failed:,} answers of {label} are missing"
        reason = (
            f"its mean is {result.score.value:.3f} without them, and {result.score_with_missing.value:.3f} if each "
        )
        yield Finding("warning", "missing_answers", summary, f"{reason}counts as the lowest score")
    if result.cut_off > _MANY_CUT_OFF:
        summary = f"{result.cut_off:.0%} of the answers of {label} ended at the token limit"
        remedy = "Raise max_completion_tokens in sampling="
        yield Finding("warning", "cut_off", summary, "an unfinished answer seldom scores", remedy)
    if result.parts.get(ERROR_METRIC, 0.0) > 0:
        summary = f"The reward raised on {result.parts[ERROR_METRIC]:.1%} of the answers of {label}"
        reason = "these answers count as the lowest score"
        if unscored.floored:
            reason += f". The first reason: {next(iter(unscored.floored.values()))}"
        yield Finding("warning", "reward_errors", summary, reason, "Run rewards.check on the reward")


def _base_finding(base: ModelResult, thresholds: Thresholds, reward_range: tuple[float, float]) -> Finding:
    """Return a finding on whether the base model's mean reward leaves room to learn.

    The finding depends on the confidence interval of the mean, relative to `reward_range`.
    """
    lowest, highest = reward_range
    summary = f"{base.label} scores {base.score} on average"
    scores = [score for answers in base.scores.values() for score in answers]
    if min(scores) < lowest or max(scores) > highest:
        reason = (
            f"scores from {min(scores):g} to {max(scores):g} lie outside reward_range=({lowest:g}, {highest:g}), so "
            "there is no scale to judge them by"
        )
        remedy = "Pass the reward's lowest and highest score as reward_range="
        return Finding("unknown", "base_scale", summary, reason, remedy)
    too_low = lowest + thresholds.too_low * (highest - lowest)
    too_high = lowest + thresholds.too_high * (highest - lowest)
    if base.score.high < too_low:
        reason = "reinforcement learns from answers that earn a reward, and hardly any does"
        remedy = "Fine-tune with supervision first, use easier prompts, or give partial rewards for partial success"
        return Finding("error", "base_too_low", summary, reason, remedy)
    if base.score.low > too_high:
        reason = "there is hardly anything left to learn"
        remedy = "Check whether fine-tuning is needed. If so, use harder prompts or a stricter reward"
        return Finding("warning", "base_too_high", summary, reason, remedy)
    if base.score.low < too_low or base.score.high > too_high:
        side = f"below {too_low:g}" if base.score.low < too_low else f"above {too_high:g}"
        reason = f"the true mean may be {side}, where training is of little use"
        return Finding("unknown", "base_unclear", summary, reason, "Evaluate more prompts")
    return Finding("ok", "base_score", summary, "some answers earn a reward, and there is room to improve")


def _comparison_finding(comparison: Comparison) -> Finding:
    label, base, reason = comparison.label, comparison.base, comparison.reason
    gain = f"{comparison.difference.interval:+}"
    if comparison.verdict == "better":
        return Finding("ok", "better", f"{label} is better than {base}: {gain}", reason)
    if comparison.verdict == "worse":
        remedy = f"Do not use {label}; look at the examples of worse answers"
        return Finding("error", "worse", f"{label} is worse than {base}: {gain}", reason, remedy)
    summary = f"Not known whether {label} is better or worse than {base}: {gain}"
    remedy = "Evaluate more prompts before deciding"
    if comparison.difference_with_missing:
        remedy = "Fix the cause of the missing answers, then evaluate again"
    return Finding("warning", "no_verdict", summary, reason, remedy)
