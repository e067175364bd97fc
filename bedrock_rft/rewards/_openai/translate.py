"""`from_openai`: make a reward from a grader that was written for OpenAI's fine-tuning."""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.formula import Formula
from bedrock_rft.rewards._runtime.graders.prompted_judge import LabelModel, ScoreModel
from bedrock_rft.rewards._runtime.graders.similarity import with_dependencies
from bedrock_rft.rewards._runtime.graders.templated import PythonGrader, Similarity, StringCheck
from bedrock_rft.rewards._runtime.reward import Reward

JUDGE = "openai.gpt-oss-120b-1:0"
"""The model on Bedrock that error messages suggest for OpenAI's model graders."""

# Fields that are ignored: they concern evals and not the score, or OpenAI itself does not use them.
_WITHOUT_EFFECT = {"type", "name", "pass_threshold", "image_tag"}
_FIELDS = {
    "string_check": {"input", "reference", "operation"},
    "text_similarity": {"input", "reference", "evaluation_metric"},
    "python": {"source"},
    "score_model": {"input", "model", "range", "sampling_params"},
    "label_model": {"input", "model", "labels", "passing_labels", "sampling_params"},
    "multi": {"graders", "calculate_output"},
}
_OTHER_METRICS = {
    "cosine": "it compares embeddings of OpenAI's text-embedding-3-large; use rouge_l, or Judge to compare meanings",
    "meteor": "it needs the WordNet corpus, which no package for Lambda contains; use rouge_l",
}
_MAX_TOKENS = ("max_completions_tokens", "max_completion_tokens", "max_tokens")
_EFFORTS = ("low", "medium", "high")


def from_openai(grader: object, *, judge: str | Mapping[str, str] | None = None) -> Reward:
    """Return the reward for a grader that was written for OpenAI.

    | OpenAI | this package |
    |---|---|
    | `string_check` | `StringCheck` |
    | `text_similarity` | `Similarity`, if it has the metric |
    | `python` | `PythonGrader`, which runs the source unchanged |
    | `score_model`, `label_model` | `ScoreModel`, `LabelModel`: the same prompts for a model hosted by Bedrock |
    | `multi` | `Formula` |

    Nothing is left out or approximated: a setting that has no counterpart is an error that names it and the nearest
    alternative. `pass_threshold` and `image_tag` have no effect on the score, and are ignored.

    Args:
        grader: a grader as a mapping, as JSON text, as the path of a JSON file, or as an object of the openai package;
            or a whole `fine_tuning.job`, or the body of a request that creates one.
        judge: the model on Bedrock for the model graders: one id, or ids by the name of OpenAI's model.

    Raises:
        ConfigurationError: the grader is invalid or cannot be translated, or it needs `judge`.
        ImportError: a metric or a Python source needs a package that is not installed.

    Source:
        The grader types of the openai package, and OpenAI's guide "Graders".
    """
    return _Translator(judge).translate(find_grader(grader), "grader")


def find_grader(value: object) -> Mapping[str, Any]:
    """Return the grader in a mapping, JSON text, a JSON file, an object of the openai package, or a job."""
    fields = _load(value)
    method = fields.get("method")
    for holder in (_mapping(method).get("reinforcement"), fields.get("reinforcement"), fields):
        inner = _mapping(holder).get("grader")
        if inner is not None:
            return _load(inner)
    if "type" not in fields or method is not None:
        kind = (
            f"the value is a job with the method {_mapping(method).get('type')!r}"
            if method
            else "the value has neither a type nor a method"
        )
        _raise_untranslatable("grader", f"{kind}, so the value has no grader", "Pass a grader, or a reinforcement job")
    return fields


class _Translator:
    """Translator of a grader and the graders within it."""

    def __init__(self, judge: str | Mapping[str, str] | None) -> None:
        self._judge = judge

    def translate(self, grader: Mapping[str, Any], label: str, name: str | None = None) -> Reward:
        """Return the reward. `label` names the grader in errors. `name` replaces the grader's own name."""
        kind = grader.get("type")
        if kind == "lambda":
            _raise_untranslatable(
                label, "it is a Lambda function already", "Pass its ARN to client.jobs.create(reward=…)"
            )
        if not isinstance(kind, str) or kind not in _FIELDS:
            _raise_untranslatable(label, f"its type {kind!r} is unknown", f"The types are {', '.join(_FIELDS)}")
        unknown = set(grader) - _FIELDS[kind] - _WITHOUT_EFFECT
        if unknown:
            _raise_untranslatable(
                label, f"{kind} has no field {', '.join(map(repr, sorted(unknown)))}", "Remove the field"
            )
        optional = {"range", "sampling_params"}
        missing = {field for field in _FIELDS[kind] - optional if grader.get(field) is None}
        if missing:
            _raise_untranslatable(
                label, f"{kind} needs {', '.join(map(repr, sorted(missing)))}", "Add the missing field"
            )
        named = name or str(grader.get("name") or kind)
        makers: dict[str, Callable[[], Reward]] = {
            "string_check": lambda: StringCheck(grader["input"], grader["reference"], grader["operation"], name=named),
            "text_similarity": lambda: self._similarity(grader, label, named),
            "python": lambda: PythonGrader(grader["source"], packages=_packages(grader["source"]), name=named),
            "score_model": lambda: ScoreModel(
                **self._model_settings(grader, label),
                scale=cast("tuple[float, float]", tuple(grader.get("range") or (0, 1))),
                name=named,
            ),
            "label_model": lambda: LabelModel(
                **self._model_settings(grader, label),
                labels=grader["labels"],
                passing_labels=grader["passing_labels"],
                name=named,
            ),
            "multi": lambda: self._multi(grader, label),
        }
        try:
            return makers[kind]()
        except ConfigurationError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigurationError(f"{label} ({kind}) cannot be translated: {error}.") from error

    def _similarity(self, grader: Mapping[str, Any], label: str, name: str) -> Reward:
        metric = str(grader["evaluation_metric"])
        if metric in _OTHER_METRICS:
            _raise_untranslatable(
                label, f"the metric {metric!r} is not available: {_OTHER_METRICS[metric]}", "Change the metric"
            )
        return Similarity(metric, grader["input"], grader["reference"], name=name)

    def _multi(self, grader: Mapping[str, Any], label: str) -> Reward:
        graders = grader["graders"]
        by_name: Mapping[str, Any]
        if isinstance(graders, Sequence):
            pairs = [(str(_load(one).get("name")), one) for one in cast("Sequence[object]", graders)]
            by_name = dict(pairs)
            if len(by_name) < len(pairs):
                _raise_untranslatable(
                    label, "two of its graders have the same name", "Give each grader a name of its own"
                )
        else:
            inner = _load(graders)
            by_name = {str(inner.get("name")): inner} if isinstance(inner.get("type"), str) else inner
        rewards = {name: self.translate(_load(one), f"{label}.{name}", name) for name, one in by_name.items()}
        return Formula(str(grader["calculate_output"]), rewards)

    def _model_settings(self, grader: Mapping[str, Any], label: str) -> dict[str, Any]:
        settings: dict[str, Any] = {"model": self._model(str(grader["model"]), label)}
        settings["messages"] = [_message(_load(one), label) for one in grader["input"]]
        sampling = {name: value for name, value in _mapping(grader.get("sampling_params")).items() if value is not None}
        for name in _MAX_TOKENS:
            if name in sampling:
                settings["max_tokens"] = sampling.pop(name)
        for name in ("temperature", "top_p"):
            if name in sampling:
                settings[name] = float(sampling.pop(name))
        effort = sampling.pop("reasoning_effort", None)
        if effort is not None:
            if "gpt-oss" not in settings["model"] or effort not in _EFFORTS:
                _raise_untranslatable(
                    label,
                    f"sampling_params.reasoning_effort {effort!r} is not available with {settings['model']}",
                    f"Remove it, or use judge='{JUDGE}' with one of {', '.join(_EFFORTS)}",
                )
            settings["additional_model_request_fields"] = {"reasoning_effort": effort}
        if sampling:
            _raise_untranslatable(label, f"sampling_params.{min(sampling)} is not available on Bedrock", "Remove it")
        return settings

    def _model(self, model: str, label: str) -> str:
        judge = self._judge if isinstance(self._judge, str) else (self._judge or {}).get(model)
        if judge is None:
            given = f"judge={{'{sanitize_line(model, 80)}': …}}" if self._judge else f"judge='{JUDGE}'"
            _raise_untranslatable(
                label,
                f"its model '{sanitize_line(model, 80)}' is not on Bedrock",
                f"Name a model on Bedrock that grades instead: {given}. Another model gives other scores for the same "
                "prompt, so compare them on some answers",
            )
        return judge


def _message(message: Mapping[str, Any], label: str) -> tuple[str, str]:
    content = message.get("content")
    parts = cast("Sequence[Any]", content) if isinstance(content, list) else [content]
    texts: list[str] = []
    for part in parts:
        fields = {"type": "input_text", "text": part} if isinstance(part, str) else _load(part)
        if fields.get("type") not in ("input_text", "output_text", "text"):
            _raise_untranslatable(label, f"a message has content of type {fields.get('type')!r}", "Describe it in text")
        texts.append(str(fields["text"]))
    return str(message.get("role")), "\n".join(texts)


def _load(value: object) -> Mapping[str, Any]:
    """Return a mapping from any of the accepted forms."""
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return cast("Mapping[str, Any]", dump(by_alias=True, exclude_none=True, warnings=False))
    if not isinstance(value, (str, os.PathLike)):
        _raise_untranslatable(
            "grader", f"it is of type {type(value).__name__}", "Pass a mapping, a path of a JSON file, or a job"
        )
    text = os.fspath(cast("str | os.PathLike[str]", value))
    if not text.lstrip().startswith("{"):
        try:
            text = Path(text).read_text(encoding="utf-8-sig")
        except (OSError, ValueError) as error:  # ValueError: it is not UTF-8, or its path has a null character
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"'{sanitize_line(text, 120)}' cannot be read: {reason}.") from error
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"The grader is not JSON: {error}.") from error
    return _mapping(loaded) or _raise_untranslatable(
        "grader", "the JSON is not an object", "Pass one grader or one job"
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _packages(source: str) -> tuple[str, ...]:
    """Return the distributions that a Python source imports, without the standard library."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return ()  # PythonGrader raises an error with the reason
    modules = dict.fromkeys(name for name in _imports(tree) if name not in sys.stdlib_module_names)
    distributions: Mapping[str, list[str]] = _distributions() if modules else {}
    return with_dependencies(*(distributions.get(module, [module])[0] for module in modules))


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Return the installed distributions by module; reading them takes half a second."""
    return packages_distributions()


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def _raise_untranslatable(label: str, reason: str, remedy: str) -> NoReturn:
    raise ConfigurationError(f"{label} cannot be translated: {reason}. {remedy}.")
