"""Statistics over the valid records of a file, and the warnings that follow from them."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from typing import Any, cast

from bedrock_rft.datasets._limits import Limits
from bedrock_rft.datasets._problems import ProblemLog
from bedrock_rft.datasets._report import Lengths
from bedrock_rft.datasets._rules import Violation, content_text, truncate

__all__ = ["Statistics"]

_MAX_COMPARED = 40_000
"""Records whose prompts are compared: twice what a job accepts. Each takes about 100 bytes."""

_MIN_ANSWER_CHARS = 12  # a shorter answer is often in its prompt by chance
_MAX_NAMES = 400  # of further fields
_MAX_DIFFERENT_LENGTHS = 1 << 14  # more are rounded
_ROUNDED_BITS = 8  # a rounded length is less than 1 % too low
_MISSING = object()
_NAN_OR_INFINITE = (math.inf, -math.inf)
_TYPE_NAMES: dict[type, str] = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", list: "list", dict: "object",
    object: "missing",
}  # fmt: skip

_ENDS_WITH_ASSISTANT = Violation(
    "ends-with-assistant",
    "messages",
    "the last message has the role 'assistant', and the model is to write that turn",
    "Move it into reference_answer: datasets.convert does",
)
_ENDS_WITH_SYSTEM = Violation(
    "ends-with-system", "messages", "the last message has the role 'system'", "Move it to the beginning"
)
_BLANK = Violation("blank-content", "messages", "a message is empty or whitespace", "Add its text, or remove it")
_NUL = Violation("nul", "messages", "a message contains the character NUL", "Remove \\u0000")
_NO_REFERENCE = Violation(
    "reference-missing",
    "reference_answer",
    "missing; the documentation requires it, an AWS blog post calls it optional",
    "Add the value that the reward compares with",
)
_NULL_REFERENCE = Violation(
    "reference-null", "reference_answer", "null", "Give the value that the reward compares with"
)
_OWN_ID = Violation(
    "own-id", "id", "the service gives every record its own id", "Rename the field if the reward needs its value"
)
_INFINITE = Violation(
    "too-large", None, "a number is too large for most parsers, which read infinity", "Write it as a string"
)
# In such tasks the answer is in the prompt by design.
_CLOSED_TASK = re.compile(
    r"\b(?:choose|choices?|options?|select|pick|which of|one of|extract\w*|copy|quote\w*|verbatim|passage|context|"
    r"paragraph|article|document|excerpt|transcript|according to|classif\w+|categor\w+|labels?|correct the|"
    r"rewrite|translate|sort|arrange|find the|based on)\b|^\s*\(?[A-Ea-e1-5][).:]\s",
    re.IGNORECASE | re.MULTILINE,
)


class Statistics:
    """Statistics of valid records. `add` logs warnings for a record, `finish` those for the whole file.

    Attributes:
        valid: number of valid records.
        roles: messages by role.
        reference_types: records by the JSON type of their reference answer.
        extra_fields: records by further field.
        duplicates: records with the messages of an earlier record, among the first `compared`.
    """

    def __init__(self, problems: ProblemLog, limits: Limits) -> None:
        """Log warnings to `problems`."""
        self._problems = problems
        self._max_chars = limits.warn_prompt_chars
        self.valid = self.duplicates = 0
        self.roles: Counter[str] = Counter()
        self.reference_types: Counter[str] = Counter()
        self.extra_fields: Counter[str] = Counter()
        self._first_of_type: dict[str, int] = {}
        self._lengths = _LengthCounter()
        self._prompts: dict[int, int] = {}  # the hash of a prompt: its position in the arrays
        self._prompt_lines = array("q")
        self._prompt_references = array("q")
        self.compared = 0
        self._nulls: Counter[str] = Counter()
        self._nested: Counter[str] = Counter()
        self._answers_in_prompt = 0
        self._first_answer_in_prompt = 0

    def add(self, line: int, record: dict[str, Any]) -> None:
        """Count a valid record, and log its warnings."""
        warn = self._problems.warning
        messages: list[dict[str, Any]] = record["messages"]
        self.valid += 1
        prompt: list[str] = []
        roles = self.roles
        length = 0
        text = ""
        blank = False
        for message in messages:
            role, content = message["role"], message["content"]
            text = content if type(content) is str else content_text(content) or ""
            roles[role] += 1
            prompt += role, text
            length += len(text)
            if not text or text.isspace():
                blank = True
            if "\0" in text:
                warn(line, _NUL)
            if len(message) > 2:  # noqa: PLR2004 - role and content
                self._count_extra("messages[]", message, {"role", "content"})
        if blank:
            warn(line, _BLANK)
        role = messages[-1]["role"]
        if role != "user":
            warn(line, _ENDS_WITH_ASSISTANT if role == "assistant" else _ENDS_WITH_SYSTEM)
        self._lengths.add(length)
        if length > self._max_chars:
            summary = f"a prompt of {length:,} characters may exceed the context of the model"
            warn(line, Violation("long-prompt", "messages", summary, "Shorten it"))
        reference = record.get("reference_answer", _MISSING)
        self._count_extra("", record, {"messages", "reference_answer"})
        self._add_reference(line, reference, text)
        if "id" in record:
            warn(line, _OWN_ID)
        if _is_infinite(record):
            warn(line, _INFINITE)
        if self.compared < _MAX_COMPARED:
            self._compare(line, hash(tuple(prompt)), _reference_hash(reference))

    def finish(self) -> None:
        """Log the warnings that concern the whole file."""
        self._warn_of_types()
        self._warn_of_nulls()
        if self._answers_in_prompt:
            share = self._answers_in_prompt / self.valid
            summary = (
                f"the prompt contains the reference answer in {self._answers_in_prompt:,} of {self.valid:,} records "
                f"({share:.1%}), on this line first"
            )
            remedy = "Remove it from the prompt, unless the task is to select or to repeat it"
            violation = Violation("answer-in-prompt", "reference_answer", summary, remedy)
            self._problems.warning(self._first_answer_in_prompt, violation)

    def lengths(self) -> Lengths:
        """Return the lengths of the prompts."""
        return self._lengths.summary()

    def _count_extra(self, parent: str, fields: dict[str, Any], known: set[str]) -> None:
        """Count further fields, and nulls in them."""
        for name, value in fields.items():
            if name not in known:
                path = f"{parent}.{name}" if parent else name
                if path not in self.extra_fields:
                    if len(self.extra_fields) >= _MAX_NAMES:
                        continue
                    path = path if len(path) <= 100 else path[:100] + "…"  # noqa: PLR2004 - long for a name
                self.extra_fields[path] += 1
                if value is None:
                    self._nulls[path] += 1
                elif type(value) is dict:
                    self._count_nested(path, cast("dict[str, Any]", value))

    def _count_nested(self, path: str, fields: dict[str, Any]) -> None:
        self._nested[path] += 1
        for name, value in fields.items():
            inner = f"{path}.{truncate(name)}"
            if inner in self._nested or len(self._nested) < _MAX_NAMES:
                self._nested[inner] += 1
                self._nulls[inner] += value is None

    def _add_reference(self, line: int, reference: object, prompt: str) -> None:
        name = _TYPE_NAMES[type(reference)]
        self.reference_types[name] += 1
        self._first_of_type.setdefault(name, line)
        if reference is _MISSING:
            self._problems.warning(line, _NO_REFERENCE)
        elif reference is None:
            self._problems.warning(line, _NULL_REFERENCE)
        elif type(reference) is dict:
            self._count_nested("reference_answer", cast("dict[str, Any]", reference))
        elif type(reference) is str and _reveals(prompt, reference):
            self._answers_in_prompt += 1
            self._first_answer_in_prompt = self._first_answer_in_prompt or line

    def _compare(self, line: int, prompt: int, reference: int) -> None:
        """Look for an earlier record with the same messages. Two prompts share a hash in one of billions of files."""
        position = self._prompts.setdefault(prompt, self.compared)
        self.compared += 1
        self._prompt_lines.append(line)
        self._prompt_references.append(reference)
        if position == self.compared - 1:
            return
        self.duplicates += 1
        first, known = self._prompt_lines[position], self._prompt_references[position]
        if known != reference and known and reference:
            summary = f"the same messages as on line {first:,}, with another reference_answer"
            remedy = "Keep the right one; a reward cannot agree with both"
            self._problems.error(line, Violation("conflicting-references", "reference_answer", summary, remedy))
            return
        summary = f"the same messages as on line {first:,}"
        remedy = "Remove one of them; datasets.split keeps them together"
        self._problems.warning(line, Violation("duplicate-prompt", "messages", summary, remedy))

    def _warn_of_types(self) -> None:
        types = [(name, count) for name, count in self.reference_types.items() if name not in {"missing", "null"}]
        if len(types) < 2:  # noqa: PLR2004 - one is no change
            return
        types.sort(key=lambda item: self._first_of_type[item[0]])
        listed = ", ".join(f"{name} on {count:,} (from line {self._first_of_type[name]:,})" for name, count in types)
        rarest, _ = min(types, key=lambda item: item[1])
        summary = f"its type changes between records: {listed}"
        remedy = "Use one type throughout, or have the reward handle each"
        violation = Violation("reference-types", "reference_answer", summary, remedy)
        self._problems.warning(self._first_of_type[rarest], violation)

    def _warn_of_nulls(self) -> None:
        """Warn of fields that every record has and that are null in some of them: the mark of an Arrow table."""
        for path, nulls in sorted(self._nulls.items()):
            parent = path.rpartition(".")[0]
            total = self._nested.get(parent, self.valid)
            count = self._nested.get(path) or self.extra_fields[path]
            if total == count > nulls > 0 and not path.startswith("messages[]."):
                summary = f"null in {nulls:,} of {count:,} records, and present in all; Arrow fills missing keys so"
                remedy = "Remove the nulls if the key was missing before: pandas, datasets and pyarrow add them"
                self._problems.warning(None, Violation("null-filled", path, summary, remedy))


class _LengthCounter:
    """Lengths of prompts. Exact, until there are too many different ones; then they are rounded down."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._total = self._number = self._longest = 0
        self._shortest = -1
        self._rounding = False

    def add(self, length: int) -> None:
        self._number += 1
        self._total += length
        if length > self._longest:
            self._longest = length
        if length < self._shortest or self._shortest < 0:
            self._shortest = length
        self._counts[_round_down(length) if self._rounding else length] += 1
        if not self._rounding and len(self._counts) > _MAX_DIFFERENT_LENGTHS:
            self._rounding = True
            rounded: Counter[int] = Counter()
            for exact, count in self._counts.items():
                rounded[_round_down(exact)] += count
            self._counts = rounded

    def summary(self) -> Lengths:
        if not self._number:
            return Lengths()
        mean = round(self._total / self._number, 1)
        return Lengths(self._shortest, self._quantile(0.5), self._quantile(0.95), self._longest, mean)

    def _quantile(self, share: float) -> int:
        remaining = math.ceil(share * self._number)
        for length in sorted(self._counts):
            remaining -= self._counts[length]
            if remaining <= 0:
                return length
        return self._longest


def _round_down(length: int) -> int:
    bits = max(length.bit_length() - _ROUNDED_BITS, 0)
    return length >> bits << bits


def _reveals(prompt: str, answer: str) -> bool:
    """Check whether a prompt contains its answer although the task is not to select or to repeat something."""
    if len(answer) < _MIN_ANSWER_CHARS or answer not in prompt:
        return False
    return not _CLOSED_TASK.search(prompt.replace(answer, "", 1))


def _reference_hash(reference: object) -> int:
    """Return a hash that differs between different references; 0 if there is none."""
    if reference is _MISSING or reference is None:
        return 0
    if isinstance(reference, str):
        return hash(reference) or 1
    if isinstance(reference, (int, float)) and not isinstance(reference, bool):
        return hash(("number", reference)) or 1
    return hash(("json", json.dumps(reference, sort_keys=True))) or 1


def _is_infinite(value: object) -> bool:
    """Check whether an infinite number is anywhere within a value."""
    kind = type(value)
    if kind is float:
        return value in _NAN_OR_INFINITE
    if kind is dict:
        for inner in cast("dict[str, Any]", value).values():
            if type(inner) is not str and type(inner) is not int and _is_infinite(inner):
                return True
        return False
    return kind is list and any(map(_is_infinite, cast("list[Any]", value)))
