"""From answers and scores to a report."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.evaluation._advice import Thresholds, advice
from bedrock_rft.evaluation._flow import Missed
from bedrock_rft.evaluation._journal import Answer, Journal, Scored
from bedrock_rft.evaluation._questions import Model, Prompt, Question
from bedrock_rft.evaluation._report import Comparison, Evaluation, Example, Group, ModelResult
from bedrock_rft.evaluation._statistics import Interval, Resamples, bootstrap, difference, mean, pass_at_k

__all__ = ["summary"]

_BUCKETS = 4
_DISTINCT = 12
_SHOWN = 5
_LONGEST = 2000
_OUTSIDE = ("missing", "not a number")


@dataclass(frozen=True)
class _Told:
    """One answer with its score."""

    prompt: Prompt
    answer: Answer
    scored: Scored


def summary(
    asked: Sequence[Question],
    models: Sequence[Model],
    prompts: Sequence[Prompt],
    journal: Journal,
    missed: Missed,
    *,
    reward: str,
    samples: int,
    pass_mark: float,
    by: Sequence[str],
    seed: int,
    thresholds: Thresholds,
    resumed: int,
) -> Evaluation:
    """Put the report together.

    Args:
        asked: every question.
        models: in their order.
        prompts: all of them.
        journal: answers and scores by question.
        missed: what has no score, and why.
        reward: its name.
        samples: answers to each prompt.
        pass_mark: the score from which an answer passes.
        by: record fields to group prompts by.
        seed: of the resampling.
        thresholds: for the advice.
        resumed: answers that an earlier run had.
    """
    told: dict[str, dict[int, list[_Told]]] = {model.label: defaultdict(list) for model in models}
    failed: dict[str, int] = defaultdict(int)
    for question in asked:
        if question.key in missed.asked or question.key in missed.scored:
            failed[question.model.label] += 1
        elif question.key in journal.scores:
            answer, scored = journal.answers[question.key], journal.scores[question.key]
            told[question.model.label][question.prompt.index].append(_Told(question.prompt, answer, scored))
    results = [_result(model, told[model.label], failed[model.label], pass_mark, seed) for model in models]
    comparisons = [_comparison(results[0], other, seed) for other in results[1:]]
    examples = [example for other in results[1:] for example in _examples(results[0], other, told)]
    examples.sort(key=lambda example: example.gain)
    return Evaluation(
        title=f"Evaluation of {len(models)} model{'s' * (len(models) > 1)} on {len(prompts):,} prompts, {samples} each",
        findings=tuple(advice(results, comparisons, missed, thresholds)),
        reward=reward,
        prompts=len(prompts),
        samples=samples,
        pass_mark=pass_mark,
        models=tuple(results),
        comparisons=tuple(found for found in comparisons if found is not None),
        groups=tuple(group for name in by for group in _groups(name, prompts, results)),
        better=_first([example for example in examples[::-1] if example.gain > 0]),
        worse=_first([example for example in examples if example.gain < 0]),
        resumed=resumed,
    )


def _result(model: Model, told: Mapping[int, list[_Told]], failed: int, mark: float, seed: int) -> ModelResult:
    scores = {index: tuple(one.scored.score for one in answers) for index, answers in sorted(told.items())}
    every = [one for answers in told.values() for one in answers]
    values = [mean(found) for found in scores.values()]
    fewest = min((len(answers) for answers in told.values()), default=0)
    passed = [(sum(one.scored.score >= mark for one in answers), len(answers)) for answers in told.values()]
    names = list(dict.fromkeys(name for one in every for name in one.scored.parts))
    return ModelResult(
        model=model.id,
        label=model.label,
        answers=len(every),
        failed=failed,
        score=bootstrap(values, Resamples(len(values), seed)) if values else Interval(math.nan, math.nan, math.nan),
        pass_at={k: mean([pass_at_k(*counts, k) for counts in passed]) for k in _ks(fewest)},
        parts={name: mean([one.scored.parts[name] for one in every if name in one.scored.parts]) for name in names},
        prompt_tokens=sum(one.answer.prompt_tokens for one in every),
        completion_tokens=sum(one.answer.completion_tokens for one in every),
        cut_off=mean([float(one.answer.finish_reason == "length") for one in every]) if every else 0.0,
        scores=scores,
    )


def _ks(fewest: int) -> list[int]:
    """1, 2, 4 and so on, and as many as every prompt was answered."""
    return sorted({*(1 << power for power in range(fewest.bit_length())), fewest} - {0})


def _comparison(base: ModelResult, other: ModelResult, seed: int) -> Comparison | None:
    before, after = base.prompts, other.prompts
    both = [index for index in before if index in after]
    if not both:
        return None
    drawn = Resamples(len(both), seed)
    found = difference([before[index] for index in both], [after[index] for index in both], drawn)
    return Comparison(other.label, base.label, found)


def _examples(base: ModelResult, other: ModelResult, told: Mapping[str, Mapping[int, list[_Told]]]) -> list[Example]:
    earlier, later = base.prompts, other.prompts
    gains = {index: later[index] - earlier[index] for index in earlier if index in later}
    ordered = sorted(gains, key=lambda index: gains[index])
    picked = dict.fromkeys(ordered[:_SHOWN] + ordered[-_SHOWN:])
    found: list[Example] = []
    for index in picked:
        if gains[index] == 0:
            continue
        rising = gains[index] > 0
        before, after = (
            _typical(told[base.label][index], high=not rising),
            _typical(told[other.label][index], high=rising),
        )
        prompt = before.prompt
        found.append(
            Example(
                index=index,
                prompt=_text(prompt.messages[-1].get("content"))[:_LONGEST],
                reference=_text(prompt.reference)[:_LONGEST],
                label=other.label,
                base=base.label,
                before=(before.answer.text[:_LONGEST], before.scored.score),
                after=(after.answer.text[:_LONGEST], after.scored.score),
                gain=gains[index],
            )
        )
    return found


def _first(examples: Sequence[Example]) -> tuple[Example, ...]:
    """The first few, each prompt once."""
    found: dict[int, Example] = {}
    for example in examples:
        found.setdefault(example.index, example)
    return tuple(found.values())[:_SHOWN]


def _typical(answers: Sequence[_Told], *, high: bool) -> _Told:
    return (max if high else min)(answers, key=lambda one: one.scored.score)


def _text(value: Any) -> str:
    if isinstance(value, list):  # content in parts
        parts = (cast("dict[str, Any]", part) for part in cast("Sequence[Any]", value) if isinstance(part, dict))
        return "".join(str(part.get("text", "")) for part in parts)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _groups(name: str, prompts: Sequence[Prompt], results: Sequence[ModelResult]) -> list[Group]:
    buckets: dict[str, list[int]] = defaultdict(list)
    label = _labels([prompt.fields.get(name) for prompt in prompts])
    means = {one.label: one.prompts for one in results}
    for prompt in prompts:
        buckets[label(prompt.fields.get(name))].append(prompt.index)
    return [
        Group(
            field=name,
            value=value,
            prompts=len(indices),
            means={
                model: mean([found[index] for index in indices if index in found]) for model, found in means.items()
            },
        )
        for value, indices in sorted(buckets.items(), key=lambda item: _place(item[0]))
    ]


def _place(label: str) -> tuple[int, float, str]:
    """Numbers and their ranges come first, in their order; what is missing comes last."""
    try:
        return 0, float(label.partition(" to ")[0]), label
    except ValueError:
        return (2 if label in _OUTSIDE else 1), 0.0, label


def _labels(values: Sequence[Any]) -> Callable[[Any], str]:
    """How a field's values are called: as they are, or by quarters where they are many different numbers."""
    numbers = sorted(value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool))
    if len(set(numbers)) <= _DISTINCT:
        return lambda value: _OUTSIDE[0] if value is None else _text(value)[:60]
    cuts = [numbers[len(numbers) * part // _BUCKETS] for part in range(1, _BUCKETS)]
    edges = [numbers[0], *cuts, numbers[-1]]

    def bucket(value: Any) -> str:
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return _OUTSIDE[0] if value is None else _OUTSIDE[1]
        place = sum(value >= cut for cut in cuts)
        return f"{edges[place]:g} to {edges[place + 1]:g}"

    return bucket
