"""Forms in which a right answer may be written, built from the reference answer of a record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.json_types import is_object
from bedrock_rft.rewards._runtime.graders.extraction import final_answer

THOUGHTS = "Let me think it through."
_COMMON = {
    "as plain text": "<text>",
    "in a sentence": f"{THOUGHTS}\nThe answer is <text>.",
    "after ####": f"{THOUGHTS}\n#### <text>",
    "in a box": f"{THOUGHTS}\n\\boxed{{<text>}}",
    "in tags": f"<think>{THOUGHTS}</think><answer><text></answer>",
}
_FURTHER = {
    "in tags on lines of their own": f"<think>\n{THOUGHTS}\n</think>\n<answer>\n<text>\n</answer>",
    "in tags without thoughts": "<answer><text></answer>",
    "after thoughts": f"<think>{THOUGHTS}</think>\n<text>",
    "in reasoning tags": f"<reasoning>\n{THOUGHTS}\n</reasoning>\n<answer>\n<text>\n</answer>",
    "in solution tags": f"{THOUGHTS}\n<solution><text></solution>",
    "after 'Answer:'": f"{THOUGHTS}\nAnswer: <text>",
    "after 'Final answer:'": f"{THOUGHTS}\nFinal answer: <text>",
    "after 'answer is (…)'": f"{THOUGHTS}\nThe answer is (<text>).",
    "in bold": f"{THOUGHTS}\n**<text>**",
    "after a bold 'Answer:'": f"{THOUGHTS}\n**Answer:** <text>",
    "in a box within $": f"{THOUGHTS}\nThe answer is $\\boxed{{<text>}}$.",
    "as JSON text with the key answer": '{"answer": <json>}',
    "as a JSON value with the key answer": '{"answer": <text>}',
    "as JSON in a code block": '```json\n{"answer": <json>}\n```',
    "in a code block": "```\n<text>\n```",
    "in a Python code block": f"{THOUGHTS}\n```python\n<text>\n```",
    "in an SQL code block": f"{THOUGHTS}\n```sql\n<text>\n```",
}
CODE_LAYOUTS = ("as plain text", "in a Python code block", "in tags", "in the prompt's tags")
"""The layouts that a reward can run as Python code."""

_TAG = re.compile(r"<([A-Za-z][\w-]{0,30})>")
_MAX_DEPTH = 3
_MAX_SOURCES = 16
_OWN_FIELDS = ("messages", "id", "reference_answer")


@dataclass(frozen=True)
class AnswerForm:
    """A way to write a right answer: a source of its text, and a template around it."""

    source: str  # the final answer, text, JSON, first item or a field of the reference, or a field of the record
    layout: str  # the name of the template
    template: str  # `<text>` is the answer, `<json>` the answer as a JSON string

    @property
    def name(self) -> str:
        """The layout, and the source unless it is the final answer of the reference."""
        return self.layout if self.source == "final answer" else f"{self.layout}, {self.source}"

    def fill(self, text: str) -> str:
        """Return the template around a text."""
        encoded = json.dumps(text, ensure_ascii=False)
        return (
            self.template.replace("<json>", encoded)
            if "<json>" in self.template
            else self.template.replace("<text>", text)
        )

    def fill_list(self, texts: Sequence[str]) -> str | None:
        """Return the template around a JSON list of texts; None if the form is not JSON."""
        if "JSON" not in self.layout:
            return None
        listed = json.dumps(texts, ensure_ascii=False)
        return self.template.replace("<json>", listed).replace("<text>", f"[{', '.join(texts)}]")

    def read_text(self, record: Mapping[str, Any]) -> str | None:
        """Return the text of the right answer to a record, without the layout; None without such a source."""
        return _plain(_values_by_source(record).get(self.source))

    def render(self, record: Mapping[str, Any]) -> str | None:
        """Return the right answer to a record in this form; None if the record has no such source."""
        text = self.read_text(record)
        return None if text is None else self.fill(text)


def reference_text(value: Any) -> str:
    """Return the final answer of a reference: the text after `####` or in a box, or JSON for other values."""
    value = _unwrap(value)
    return final_answer(value).strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def form_groups(records: Sequence[Mapping[str, Any]]) -> Iterator[list[AnswerForm]]:
    """Yield groups of forms to try, the usual ones first."""
    sources = _sources(records)
    prompt_forms = dict(_answer_templates_from_tags(records))
    for place, source in enumerate(sources):
        common = [AnswerForm(source, layout, template) for layout, template in _COMMON.items()]
        further = [AnswerForm(source, layout, template) for layout, template in (prompt_forms | _FURTHER).items()]
        if place == 0:
            yield common
            yield further
        else:
            yield [*common, *further]


def find_form(name: str, records: Sequence[Mapping[str, Any]]) -> AnswerForm | None:
    """Return the form that a report names, so that a caller can write right answers as the check did."""
    return next((form for group in form_groups(records) for form in group if form.name == name), None)


def _sources(records: Sequence[Mapping[str, Any]]) -> list[str]:
    by_record = [_values_by_source(record) for record in records]
    known = [values for values in by_record if "final answer" in values] or by_record
    names = dict.fromkeys(name for values in known for name in values)
    if all(_plain(values.get("reference as text")) in (None, values.get("final answer")) for values in known):
        names.pop("reference as text", None)
    return [*names][:_MAX_SOURCES]


def _values_by_source(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a record that may be its right answer: the reference and its parts, or the fields."""
    value = _unwrap(record.get("reference_answer"))
    if value is None:
        return {f"record field {name}": record[name] for name in record if name not in _OWN_FIELDS}
    found: dict[str, Any] = {"final answer": reference_text(value)}
    if isinstance(value, str):
        found |= {"reference as text": value, "reference as JSON": json.dumps(value, ensure_ascii=False)}
    if isinstance(value, list) and value:
        found["first item"] = _plain(value[0])
    return found | {f"field {name}": inner for name, inner in _fields(value).items()}


def _fields(value: Any) -> Mapping[str, Any]:
    """Return the fields of a reference that is an object or its JSON text; names of inner fields are `outer.inner`."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return dict(_flatten(value, "", _MAX_DEPTH))


def _flatten(value: object, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
    if not is_object(value) or not depth:
        return
    for name, inner in value.items():
        yield f"{prefix}{name}", inner
        yield from _flatten(inner, f"{prefix}{name}.", depth - 1)


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _unwrap(value: Any) -> Any:
    return value["text"] if is_object(value) and list(value) == ["text"] else value


def _answer_templates_from_tags(records: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield templates of answers with the tags that the first prompt names, each with a description.

    The last tag encloses the answer; earlier tags enclose the reasoning.
    """
    for record in records[:1]:
        turns: list[Any] = list(record.get("messages") or ())
        text = "\n".join(str(turn.get("content")) for turn in turns if is_object(turn))
        tags = [tag for tag in dict.fromkeys(_TAG.findall(text)) if f"</{tag}>" in text]
        if tags:
            thoughts = "".join(f"<{tag}>\n{THOUGHTS}\n</{tag}>\n" for tag in tags[:-1])
            yield "in the prompt's tags", f"{thoughts}<{tags[-1]}><text></{tags[-1]}>"
            yield "in the prompt's tags on lines of their own", f"{thoughts}<{tags[-1]}>\n<text>\n</{tags[-1]}>"
