"""Grader of tool calls: names and arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.extraction import strip_thoughts
from bedrock_rft.rewards._runtime.graders.json_match import find_json, json_equal
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout

_TAG = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_MAX_CALLS = 50


@dataclass(frozen=True, eq=False, repr=False)
class ToolCall(Leaf):
    """Score 1 if the answer calls the tools of the reference with the same arguments.

    A call is `{"name": …, "arguments": {…}}`, also within `function`, and with the arguments as JSON text, as in chat
    completions. The reference is one call or a list. The calls of the answer are the `tool_calls` of its message,
    otherwise those in `<tool_call>` tags, otherwise the JSON in its text. Arguments are compared as JSON: 1 and 1.0 are
    equal, 1 and true are not, and an argument of the reference that is null may be missing.

    ```python
    call = {"name": "weather", "arguments": {"city": "Oslo", "unit": "C"}}
    answer = '<tool_call>{"name": "weather", "arguments": {"city": "Oslo", "unit": "F"}}</tool_call>'
    ToolCall(partial=True)(Rollout.of("?", answer, reference=call)).value  # 0.67: the name and one of two arguments
    ```

    Attributes:
        partial: give partial credit. A call with the right name scores the share of its parts that are right (the name
            and each argument are one part each); the total is divided by the number of calls in the reference or the
            answer, whichever is larger.
        ordered: the calls must have the order of the reference.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference has no calls.
    """

    partial: bool = False
    ordered: bool = False
    name: str = "tool_call"

    def grade(self, rollout: Rollout) -> float:
        reference = rollout.reference
        if isinstance(reference, str):
            reference = find_json(reference)
        wanted = [call for call in _calls(reference) if call is not None]
        if not wanted or len(wanted) < len(list(_calls(reference))):
            raise ValueError(
                "the reference must be a tool call, {'name': …, 'arguments': {…}}, or a list of such calls"
            )
        answered = _answer_calls(rollout)
        found = [call for call in answered[:_MAX_CALLS] if call is not None]
        total = sum(self._credits(wanted, found)) / max(len(wanted), len(answered))
        return total if self.partial else float(total == 1)

    def _credits(self, wanted: Sequence[_Call], found: Sequence[_Call]) -> list[float]:
        """Return the credit of each pair of calls, the best pairs first if the order does not matter."""
        if self.ordered:
            return [_credit(one, other) for one, other in zip(wanted, found, strict=False)]
        pairs = [(_credit(one, other), i, j) for i, one in enumerate(wanted) for j, other in enumerate(found)]
        used: tuple[set[int], set[int]] = (set(), set())
        chosen: list[float] = []
        for credit, i, j in sorted(pairs, key=lambda pair: -pair[0]):
            if i not in used[0] and j not in used[1]:
                used[0].add(i)
                used[1].add(j)
                chosen.append(credit)
        return chosen


_Call = tuple[str, Mapping[str, Any]]


def _credit(wanted: _Call, found: _Call) -> float:
    """Return the share of the name and the arguments that are right; 0 if the name is wrong."""
    if wanted[0] != found[0]:
        return 0.0
    present = {name: value for name, value in wanted[1].items() if value is not None or name in found[1]}
    right = sum(name in found[1] and json_equal(value, found[1][name]) for name, value in present.items())
    return (1 + right) / (1 + max(len(present), len(found[1])))


def _answer_calls(rollout: Rollout) -> list[_Call | None]:
    message: Mapping[str, Any] = rollout.messages[-1] if rollout.messages else {}
    listed = message.get("tool_calls") if message.get("role") == "assistant" else None
    if listed:
        return list(_calls(listed))
    text = strip_thoughts(rollout.answer)
    tagged = [one for content in _TAG.findall(text) for one in _calls(find_json(content, default=None))]
    return tagged or list(_calls(find_json(text, default=None)))


def _calls(value: Any) -> Iterator[_Call | None]:
    """Yield the calls in a value, which is one call or a list. Yield None for anything else in a list."""
    if isinstance(value, list):
        for one in cast("Sequence[Any]", value):
            yield from _calls(one)
        return
    if not isinstance(value, Mapping):
        yield None
        return
    fields = cast("Mapping[str, Any]", value)
    inner = fields.get("function")
    fields = cast("Mapping[str, Any]", inner) if isinstance(inner, Mapping) else fields
    arguments = fields.get("arguments", {})
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            arguments = None
    if isinstance(fields.get("name"), str) and isinstance(arguments, Mapping):
        yield str(fields["name"]), cast("Mapping[str, Any]", arguments)
    else:
        yield None
