"""Results of an evaluation as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bedrock_rft._core.findings import Findings
from bedrock_rft.evaluation._statistics import Difference, Interval, mean
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["Comparison", "EvaluationData", "Example", "Group", "ModelResult", "Verdict"]

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True)
class ModelResult:
    """Result of one model.

    Attributes:
        model: the model's id.
        label: the model's name in the report.
        answers: number of scored answers.
        failed: number of missing scores: questions that the service rejected, and answers that the reward could not
            score.
        score: mean over prompts of their mean score, with its interval. Missing answers are left out.
        score_with_missing: the same with each missing answer counted as the lowest score of the reward.
        pass_at: chance that at least one of k answers passes, by k.
        parts: mean over prompts of each part of the reward, by its name in `metrics_list`; 0 in an answer without it.
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
class Comparison:
    """Comparison of one model with the first model.

    Attributes:
        label: the model.
        base: the first model.
        difference: difference of the means on the prompts that both answered; positive if the model is better.
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
class Group:
    """Prompts with the same value of a record field.

    Attributes:
        field: the record field.
        value: its value, or a range of values.
        prompts: number of prompts.
        means: mean score of each model, by label.
    """

    field: str
    value: str
    prompts: int
    means: Mapping[str, float]


@dataclass(frozen=True)
class Example:
    """A prompt on which two models differ.

    Attributes:
        index: position in the dataset, from 0.
        prompt: the last message of the prompt.
        reference: the reference answer as text.
        label: the model.
        base: the first model.
        before: an answer of the first model with its score, the one closest to its mean on this prompt.
        after: an answer of the model with its score, chosen in the same way.
        gain: change of the prompt's mean score.
        before_mean: mean score of the first model on this prompt.
        after_mean: mean score of the model on this prompt.
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


@dataclass(frozen=True)
class EvaluationData(Findings):
    """Data of an `Evaluation`, without its text and HTML forms.

    Attributes:
        reward: name of the reward.
        prompts: number of prompts.
        samples: answers to each prompt and model.
        pass_mark: an answer passes if its score is at least this.
        reward_range: lowest and highest score of the reward, as given.
        models: in the given order.
        comparisons: each further model with the first; the final model of a job comes first.
        groups: results by record field.
        better: prompts whose mean score rose most, those of the tuned model first.
        worse: prompts whose mean score fell most, those of the tuned model first.
        resumed: answers taken from the resume file.
        dataset: name of the dataset and number of records used.
        date: start of the evaluation, ISO 8601 in UTC.
        region: AWS region of the endpoint.
        sampling: request fields given with `sampling`.
        seed: random seed of sampling, resampling and permutations.
        versions: version of this package and of the OpenAI SDK, by name.
        local_service: True if the answers came from the local service, which trains no model.
    """

    reward: str = ""
    prompts: int = 0
    samples: int = 0
    pass_mark: float = 1.0
    reward_range: tuple[float, float] = (0.0, 1.0)
    models: tuple[ModelResult, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    groups: tuple[Group, ...] = ()
    better: tuple[Example, ...] = ()
    worse: tuple[Example, ...] = ()
    resumed: int = 0
    dataset: str = ""
    date: str = ""
    region: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    local_service: bool = False

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values that identify the evaluation."""
        sampling = ", ".join(f"{name}={value}" for name, value in self.sampling.items())
        facts = [
            ("reward", self.reward),
            ("dataset", self.dataset),
            ("date", self.date),
            ("region", self.region),
            ("sampling", sampling or "the service's defaults"),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
        ]
        if self.local_service:
            facts += [("note", LOCAL_NOTE)]
        return [(name, value) for name, value in facts if value]

    @property
    def note(self) -> str:
        """A warning about the source of the answers; empty for the service itself."""
        return LOCAL_NOTE if self.local_service else ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON values, with `verdict`, `ok` and `note`."""
        return {**super().to_dict(), "note": self.note}

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the reward's parts; `reward_error` only if there were errors."""
        names = dict.fromkeys(name for model in self.models for name in model.parts)
        return tuple(
            name for name in names if name != ERROR_METRIC or any(model.parts.get(name) for model in self.models)
        )


LOCAL_NOTE = "on the local service: no model was trained; its answers know the references"
