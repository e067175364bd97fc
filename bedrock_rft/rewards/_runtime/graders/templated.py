"""Graders of two templates, and of Python source: OpenAI's `string_check`, `text_similarity` and `python`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.similarity import METRICS, metric_function, with_dependencies
from bedrock_rft.rewards._runtime.graders.templates import (
    MissingFromSampleError,
    openai_inputs,
    render,
    validate_template,
)
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout

_OPERATIONS: dict[str, Callable[[str, str], bool]] = {
    "eq": str.__eq__,
    "ne": str.__ne__,
    "like": str.__contains__,
    "ilike": lambda text, reference: reference.casefold() in text.casefold(),
}


@dataclass(frozen=True, eq=False, repr=False)
class _Templated(Leaf):
    """A grader of two texts made from templates. A variable that the answer lacks scores 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        validate_template(self._templates()[0])
        validate_template(self._templates()[1])

    def _templates(self) -> tuple[str, str]:
        raise NotImplementedError

    def compare(self, text: str, reference: str) -> float:
        """Return the score of a text."""
        raise NotImplementedError

    def grade(self, rollout: Rollout) -> float:
        inputs = openai_inputs(rollout)
        text, reference = self._templates()
        try:
            return self.compare(render(text, *inputs), render(reference, *inputs))
        except MissingFromSampleError:
            return 0.0


@dataclass(frozen=True, eq=False, repr=False)
class StringCheck(_Templated):
    """Score 1 if a comparison of two texts, exactly as written, is true: OpenAI's `string_check`.

    Use `Exact` for answers in the many forms that models write.

    Attributes:
        input: the text, as a template such as `{{ sample.output_text }}`.
        reference: the text to compare it with, as a template such as `{{ item.reference_answer }}`.
        operation: `eq` (equal), `ne` (not equal), `like` (`input` contains `reference`) or `ilike` (as `like`, but
            without case).
        name: the name in `metrics_list`.

    Raises:
        ValueError: the operation or a variable of a template is unknown; on scoring, the record lacks a variable.
    """

    input: str = "{{ sample.output_text }}"
    reference: str = "{{ item.reference_answer }}"
    operation: str = "eq"
    name: str = "string_check"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.operation not in _OPERATIONS:
            raise ValueError(f"operation must be one of {', '.join(_OPERATIONS)}, not {self.operation!r}")

    def _templates(self) -> tuple[str, str]:
        return self.input, self.reference

    def compare(self, text: str, reference: str) -> float:
        return float(_OPERATIONS[self.operation](text, reference))


@dataclass(frozen=True, eq=False, repr=False)
class Similarity(_Templated):
    """Score the similarity of two texts from 0 to 1: OpenAI's `text_similarity`.

    | metric | computed by |
    |---|---|
    | `fuzzy_match` | rapidfuzz: `fuzz.WRatio` after `utils.default_process`, as in OpenAI's guide |
    | `bleu` | sacrebleu: `sentence_bleu` with its defaults |
    | `gleu` | nltk: `sentence_gleu` of words that are separated by spaces |
    | `rouge_1` … `rouge_5`, `rouge_l` | rouge-score: the F-measure, without stemming |

    OpenAI documents the metrics, but not the settings of its libraries, so scores can differ a little from OpenAI's.
    The library of a metric is loaded only if the metric is used, on this machine and in Lambda.

    Attributes:
        metric: the metric.
        input: the text, as a template.
        reference: the text to compare it with, as a template.
        name: the name in `metrics_list`.

    Raises:
        ImportError: the library is not installed; run pip install 'bedrock_rft[similarity]'.
        ValueError: the metric or a variable of a template is unknown; on scoring, the record lacks a variable.
    """

    metric: str
    input: str = "{{ sample.output_text }}"
    reference: str = "{{ item.reference_answer }}"
    name: str = "similarity"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        _ = self._function

    @cached_property
    def _function(self) -> Callable[[str, str], float]:
        return metric_function(self.metric)

    @property
    def requirements(self) -> tuple[str, ...]:
        return with_dependencies(METRICS[self.metric])

    def _templates(self) -> tuple[str, str]:
        return self.input, self.reference

    def compare(self, text: str, reference: str) -> float:
        return self._function(text, reference)


@dataclass(frozen=True, eq=False, repr=False)
class PythonGrader(Leaf):
    """Score with the `grade(sample, item)` function of a Python source: OpenAI's `python`.

    The source runs unchanged, in this process and without OpenAI's limits of time, memory and network, because it is
    your own code. See `openai_inputs` for the arguments. If the function raises or returns no number, the rollout
    counts as an error and gets the handler's floor.

    Attributes:
        source: the source, which defines `grade` at its top level.
        packages: the releases that the source imports, as `name` or `name==version`, for the Lambda function.
        name: the name in `metrics_list`.

    Raises:
        ValueError: the source is not Python, or defines no function `grade`.
        ImportError: a package that the source imports is not installed.
    """

    source: str
    packages: tuple[str, ...] = ()
    name: str = "python"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "packages", tuple(self.packages))
        _ = self._function

    @cached_property
    def _function(self) -> Callable[[dict[str, Any], dict[str, Any]], Any]:
        space: dict[str, Any] = {"__name__": "grader"}
        try:
            exec(compile(self.source, "grader.py", "exec", dont_inherit=True), space)  # noqa: S102 - the user's own code
        except SyntaxError as error:
            raise ValueError(f"the source of {self.name!r} is not Python: line {error.lineno}, {error.msg}") from error
        function = space.get("grade")
        if not callable(function):
            raise ValueError(f"the source of {self.name!r} defines no function grade(sample, item)")  # noqa: TRY004 - one error type
        return cast("Callable[[dict[str, Any], dict[str, Any]], Any]", function)

    @property
    def requirements(self) -> tuple[str, ...]:
        return self.packages

    def grade(self, rollout: Rollout) -> Any:
        grade = self._function(*openai_inputs(rollout))
        return float(grade) if isinstance(grade, (bool, int, float)) else grade
