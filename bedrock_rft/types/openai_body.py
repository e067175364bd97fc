"""Read the body of a request that was written for OpenAI's `fine_tuning.jobs.create`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from bedrock_rft._core.errors import ConfigurationError
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.types.jobs import MARKER
from bedrock_rft.types.models import KNOWN_MODELS

_FIELDS = ("model", "training_file", "validation_file", "metadata")
_UNSUPPORTED = {
    "suffix": "the service has no suffix for model names; use name= or metadata",
    "seed": "the service has no seed",
    "integrations": "the service has no integrations; use client.jobs.watch(job, trackers=[…])",
    "hyperparameters": "move them to method.reinforcement.hyperparameters",
    "method.reinforcement.response_format": "the service has no response format; ask for the format in the prompts",
    "method.reinforcement.hyperparameters.compute_multiplier": "the service has no compute multiplier",
    "method.reinforcement.hyperparameters.eval_interval": "the service chooses when to validate",
    "method.reinforcement.hyperparameters.eval_samples": "the service chooses how often to validate",
    "method.reinforcement.hyperparameters.reasoning_effort": "the service has no reasoning effort",
}
_OPENAI_MODEL = re.compile(r"(?:gpt-(?!oss)|o\d|ft:|davinci|babbage|chatgpt)")
_DEFAULTS = (None, "auto", "default")
"""Values with the same effect as leaving out the field: the service chooses."""


def parse_create_body(body: object, reward: object) -> dict[str, Any]:
    """Return the arguments of `client.jobs.create` for a body, or raise with all fields without a counterpart."""
    if not isinstance(body, Mapping):
        raise ConfigurationError(f"body must be a mapping, as for OpenAI's client, not {type(body).__name__}.")
    fields = dict(cast("Mapping[str, Any]", body))
    if fields.get("object") == "fine_tuning.job":  # as the service reports it, with its state
        fields = {name: fields[name] for name in (*_FIELDS, "method") if name in fields}
        fields["metadata"] = dict(_mapping(fields.get("metadata") or {}, "metadata"))
        fields["metadata"].pop(MARKER, None)
    method = _mapping(fields.pop("method", None), "method")
    if method.get("type", "reinforcement") != "reinforcement":
        raise ConfigurationError("method.type must be 'reinforcement': the service trains by reinforcement only.")
    reinforcement = _mapping(method.get("reinforcement"), "method.reinforcement")
    settings = _mapping(reinforcement.get("hyperparameters") or {}, "method.reinforcement.hyperparameters")
    problems = [
        *_unsupported(fields, "", _FIELDS),
        *_unsupported(method, "method.", ("type", "reinforcement")),
        *_unsupported(reinforcement, "method.reinforcement.", ("grader", "hyperparameters")),
        *_unsupported(settings, "method.reinforcement.hyperparameters.", None),
    ]
    problems += [f"{name} is missing" for name in ("model", "training_file") if not fields.get(name)]
    model = str(fields.get("model") or "")
    if is_openai_model(model):
        known = ", ".join(sorted(KNOWN_MODELS))
        problems.append(f"model '{sanitize_line(model, 80)}' is not on Bedrock; use one of {known}")
    arn = reward if reward is not None else _grader_arn(reinforcement.get("grader"), problems)
    if problems:
        raise ConfigurationError(f"The job was not created. {'; '.join(problems)}.")
    kept = {name: value for name, value in settings.items() if value not in _DEFAULTS}
    given = {name: fields[name] for name in _FIELDS if fields.get(name) is not None}
    return {**given, "reward": arn, "hyperparameters": kept}


def is_openai_model(model: str) -> bool:
    """Return whether a model is one of OpenAI's own, which Bedrock does not train."""
    return _OPENAI_MODEL.match(model) is not None


def _unsupported(fields: Mapping[str, Any], prefix: str, known: tuple[str, ...] | None) -> Iterator[str]:
    """Yield a sentence for each field that has no counterpart and is not left to the service."""
    for name, value in fields.items():
        reason = _UNSUPPORTED.get(f"{prefix}{name}")
        if value not in _DEFAULTS and (reason or (known is not None and name not in known)):
            shown = f"{prefix}{sanitize_line(name, 80)}"
            yield f"{shown} is not supported: {reason or 'the service rejects unknown fields'}"


def _grader_arn(grader: object, problems: list[str]) -> object:
    fields = _mapping(grader or {}, "method.reinforcement.grader")
    function = fields.get("lambda")
    if fields.get("type") == "lambda" and isinstance(function, Mapping):
        return cast("Mapping[str, Any]", function).get("function")
    if fields.get("type") == "lambda":
        problems.append('the grader must be {"type": "lambda", "lambda": {"function": ARN}}')
    else:
        kind = sanitize_line(str(fields.get("type")), 40)
        problems.append(
            f"the grader of type '{kind}' must be deployed as a Lambda function: reward = client.rewards.deploy("
            "rewards.from_openai(body), name='…'), then create_raw(body, reward=reward)"
        )
    return None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{name} must be an object, not {type(value).__name__}.")
    return cast("Mapping[str, Any]", value)
