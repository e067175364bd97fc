"""Results of an evaluation as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from bedrock_rft._core.statistics import Difference, Interval, mean
from bedrock_rft._core.text import ShortRepr

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class ModelResult(ShortRepr):
    """Result of one model.

    Attributes:
        model: the model's id.
        label: the model's name in the report.
        answers: number of scored answers.
        failed: number of missing scores: questions that the service rejected, and answers that the reward could not
            score.
        score: mean over prompts of their mean score, with its interval. Missing answers are left out.
        score_with_missing: as `score`, but each missing answer counts as the lowest score of the reward.
        pass_at: chance that at least one of k answers passes, by k.
        parts: mean over prompts of each part of the reward, by its name in `metrics_list`. An answer without a part
            counts as 0.
        prompt_tokens: tokens of all prompts.
        completion_tokens: tokens of all answers.
        cut_off: share of answers that ended at the token limit.
        scores: scores of each prompt's answers, by the prompt's position in the dataset.
    """

    model: str
    label: str
    answers: int
    failed: int
    score: Interval
    score_with_missing: Interval
    pass_at: Mapping[int, float]
    parts: Mapping[str, float]
    prompt_tokens: int
    completion_tokens: int
    cut_off: float
    scores: Mapping[int, tuple[float, ...]]

    @property
    def prompts(self) -> Mapping[int, float]:
        """The mean score of each prompt with at least one scored answer."""
        return {index: mean(scores) for index, scores in self.scores.items()}

    @property
    def missing_share(self) -> float:
        """The share of answers without a score."""
        return self.failed / (self.answers + self.failed) if self.failed else 0.0


@dataclass(frozen=True)
class Comparison(ShortRepr):
    """Comparison of one model with the first model.

    Attributes:
        label: the label of the model.
        base: the label of the first model.
        difference: difference of the means on the prompts that both models answered; positive if the model is better.
        verdict: `better` or `worse` if the difference is significant, else `undecided`.
        reason: why there is no verdict, or the p-value.
        difference_with_missing: the difference on all prompts with missing answers counted as the lowest score; None
            if no answer is missing.
    """

    label: str
    base: str
    difference: Difference
    verdict: Verdict
    reason: str
    difference_with_missing: Difference | None = None


@dataclass(frozen=True)
class Group(ShortRepr):
    """Prompts with the same value of a record field.

    Attributes:
        field: the record field.
        value: the value of the field, or a range of values.
        prompts: number of prompts.
        means: mean score of each model, by label.
    """

    field: str
    value: str
    prompts: int
    means: Mapping[str, float]


@dataclass(frozen=True)
class Example(ShortRepr):
    """A prompt on which two models differ.

    Attributes:
        index: position in the dataset, from 0.
        prompt: the last message of the prompt.
        reference: the reference answer as text.
        label: the label of the model that gave `after`.
        base: the label of the first model, which gave `before`.
        before: the answer of the first model whose score is closest to the model's mean on this prompt, and the score.
        after: an answer of the other model and its score, chosen in the same way.
        gain: change of the prompt's mean score.
        before_mean: mean score of the first model on this prompt.
        after_mean: mean score of the other model on this prompt.
    """

    index: int
    prompt: str
    reference: str
    label: str
    base: str
    before: tuple[str, float]
    after: tuple[str, float]
    gain: float
    before_mean: float
    after_mean: float
