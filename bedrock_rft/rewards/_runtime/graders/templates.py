"""Templates of OpenAI's graders, such as `{{ item.reference_answer }}`, and the two namespaces that they read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bedrock_rft.rewards._runtime.graders.extraction import strip_thoughts
from bedrock_rft.rewards._runtime.graders.json_match import json_text, parse_json
from bedrock_rft.rewards._runtime.rollout import Rollout

_SLOT = re.compile(r"\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]|\[(['\"])(.+?)\3\]")
_PATH = re.compile(rf"(item|sample)((?:{_STEP.pattern.replace(chr(92) + '3', chr(92) + '5')})+)")
_SAMPLE_NAMES = ("output_text", "output_json", "output_tools", "choices")
_SERVICE_FIELDS = {
    "id": "the service replaces it with an id of its own",
    "metadata": "the service uses this name for the other fields of the record",
}


class MissingFromSampleError(LookupError):
    """The answer has no value for a variable of a template, for example because it is not JSON."""


def openai_inputs(rollout: Rollout) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments `sample` and `item` of a `grade(sample, item)` function that was written for OpenAI.

    `sample` has `output_text` (the answer without a reasoning model's thoughts), `output_json` (the value of the answer
    if the whole answer is JSON, otherwise None), `output_tools` (the tool calls of the last message, otherwise an empty
    list) and `choices` (one choice, with the last message). `item` has the fields of the record: `reference_answer`,
    the `messages` of the prompt, and all others. `id` and `metadata` are missing, because the service uses these names.

    Source:
        OpenAI's guide "Graders". In the guide, `output_json` is filled only if the sample has a `response_format`. This
        function fills it if the answer is JSON, as OpenAI's operation that runs a grader does.
    """
    answer = rollout.answer
    text = strip_thoughts(answer)
    text = text if text == answer else text.strip()
    last: Mapping[str, Any] = rollout.messages[-1] if rollout.messages else {}
    message: dict[str, Any] = dict(last) if last.get("role") == "assistant" else {"role": "assistant"}
    tools: Any = message.get("tool_calls")
    sample: dict[str, Any] = {
        "output_text": text,
        "output_json": parse_json(text),
        "output_tools": tools if isinstance(tools, list) else [],
        "choices": [{"index": 0, "message": {**message, "content": text}}],
    }
    prompt = rollout.messages[:-1] if last.get("role") == "assistant" else rollout.messages
    item: dict[str, Any] = {**rollout.extra, "messages": [dict(message) for message in prompt]}
    if rollout.reference is not None:
        item["reference_answer"] = rollout.reference
    return sample, item


def validate_template(template: str) -> None:
    """Raise `ValueError` if a template has a variable that is not available in this package."""
    for slot in _SLOT.findall(template):
        steps = list(_steps(slot))
        if steps[0] == "sample" and steps[1] not in _SAMPLE_NAMES:
            raise ValueError(f"{{{{ {slot} }}}} is not available; sample has {', '.join(_SAMPLE_NAMES)}")
        if steps[0] == "item" and steps[1] in _SERVICE_FIELDS:
            reason = _SERVICE_FIELDS[str(steps[1])]
            raise ValueError(f"{{{{ {slot} }}}} is not available: {reason}; rename the field in the dataset")


def render(template: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> str:
    """Fill in a template. Values that are not text are written as JSON.

    Raises `MissingFromSampleError` if the answer lacks a variable, and `ValueError` if the record does.
    """
    return _SLOT.sub(lambda slot: json_text(_look_up(slot.group(1), sample, item)), template)


def _look_up(slot: str, sample: Mapping[str, Any], item: Mapping[str, Any]) -> Any:
    namespace, *steps = _steps(slot)
    value: Any = sample if namespace == "sample" else item
    for step in steps:
        try:
            value = value[int(step) if isinstance(value, Sequence) and not isinstance(value, str) else step]
        except (LookupError, TypeError, ValueError):
            missing = MissingFromSampleError if namespace == "sample" else ValueError
            raise missing(f"{slot} has no value: there is no {step!r}") from None
    return value


def _steps(slot: str) -> Iterator[str | int]:
    path = _PATH.fullmatch(slot)
    if path is None:
        raise ValueError(
            f"{{{{ {slot} }}}} is not a variable; write {{{{ item.field }}}}, {{{{ sample.output_text }}}} or a longer "
            "path such as {{ item.list[0].name }}"
        )
    yield path.group(1)
    for step in _STEP.finditer(path.group(2)):
        name, index, _, quoted = step.groups()
        yield int(index) if index else name or quoted
