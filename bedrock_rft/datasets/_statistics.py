"""Statistics over the valid records of a file, and the warnings that follow from them."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from bedrock_rft.datasets._json_lines import Record
from bedrock_rft.datasets._limits import Limits
from bedrock_rft.datasets._problems import ProblemLog
from bedrock_rft.datasets._report import Lengths
from bedrock_rft.datasets._rules import Violation, truncate

__all__ = ["Statistics"]

_MAX_COMPARED = 40_000
"""Records whose prompts are compared: twice what a job accepts. Each takes about 100 bytes."""

_MIN_ANSWER_CHARS = 12  # a shorter answer is often in its prompt by chance
_MAX_NAMES = 400  # of further fields
_MAX_NAME_CHARS = 100
_BATCH = 1000
_HASH_BITS = (1 << 32) - 1
_MAX_DIFFERENT_LENGTHS = 1 << 14  # more are rounded
_ROUNDED_BITS = 8  # a rounded length is less than 1 % too low
_MISSING = object()
_KNOWN_FIELDS = frozenset({"messages", "reference_answer"})
_SIMPLE_TYPES = frozenset({str, int, bool})
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
    r"rewrite|translate|sort|arrange|find the|based on)\b|(?:^\s*\(?[A-Ea-e1-5][).]\s.*\n?){2}",
    re.IGNORECASE | re.MULTILINE,
)


class Statistics:
    """Statistics of valid records. `add` logs warnings for a record, `finish` those for the whole file.

    Attributes:
        valid: number of valid records.
        reference_types: records by the JSON type of their reference answer.
        roles: messages by role.
        extra_fields: records by further field.
        duplicates: records with the messages of an earlier record, among the first `compared`.
    """

    def __init__(self, problems: ProblemLog, limits: Limits) -> None:
        """Log warnings to `problems`."""
        self._problems = problems
        self._max_chars = limits.warn_prompt_chars
        self.valid = self.duplicates = self.compared = 0
        self.roles: Counter[str] = Counter()
        self.reference_types: Counter[str] = Counter()
        self.extra_fields: Counter[str] = Counter()
        # Counted in batches: Counter counts many items at once ten times as fast.
        self._batch_roles: list[tuple[str, ...]] = []
        self._batch_names: list[tuple[str, ...]] = []
        self._batch_lengths: list[int] = []
        self._batch_types: list[type] = []
        self._first_of_type: dict[type, int] = {}
        self._lengths = _LengthCounter()
        self._prompts: dict[int, int] = {}  # by the hash of the prompt: its line, and 32 bits of its reference's hash
        self._nulls: Counter[str] = Counter()
        self._nested: Counter[str] = Counter()
        self._answers_in_prompt = 0
        self._first_answer_in_prompt = 0

    def add(self, line: int, record: Record) -> None:  # noqa: C901, PLR0912 - calls would cost a tenth of a check
        """Count a valid record, and log its warnings."""
        fields, roles, texts = record
        length = 0
        for text in texts:
            length += len(text)
            if not text or text.isspace() or "\0" in text:
                self._check_text(line, text)
        reference = fields.get("reference_answer", _MISSING)
        reference_type = type(reference)  # pyright: ignore[reportUnknownVariableType] # of any value
        self.valid += 1
        self._batch_roles.append(roles)
        self._batch_names.append(tuple(fields))
        self._batch_lengths.append(length)
        self._batch_types.append(cast("Any", reference_type))
        if len(self._batch_lengths) == _BATCH:
            self._count_batch()
        if roles[-1] != "user":
            self._problems.warning(line, _ENDS_WITH_ASSISTANT if roles[-1] == "assistant" else _ENDS_WITH_SYSTEM)
        if length > self._max_chars:
            summary = f"a prompt of {length:,} characters may exceed the context of the model"
            self._problems.warning(line, Violation("long-prompt", "messages", summary, "Shorten it"))
        if reference_type not in self._first_of_type:
            self._first_of_type[reference_type] = line
        if reference_type is not str:
            self._check_reference(line, reference)
        elif len(reference) >= _MIN_ANSWER_CHARS and reference in texts[-1]:
            self._check_answer(line, texts[-1], reference)
        for message in fields["messages"]:
            if len(message) != 2:  # noqa: PLR2004 - fields beside role and content
                self._count_message_fields(line, message)
        for name, value in fields.items():
            if type(value) not in _SIMPLE_TYPES and name not in _KNOWN_FIELDS:
                self._check_value(line, name, value)
        if "id" in fields:
            self._problems.warning(line, _OWN_ID)
        if self.compared < _MAX_COMPARED:
            self.compared += 1
            entry = line << 32 | _reference_hash(reference)
            earlier = self._prompts.setdefault(hash((roles, *texts)), entry)
            if earlier is not entry:
                self._warn_of_duplicate(line, earlier, entry)

    def _check_text(self, line: int, text: str) -> None:
        self._problems.warning(line, _NUL if "\0" in text else _BLANK)

    def finish(self) -> None:
        """Complete the counts, and log the warnings that concern the whole file."""
        self._count_batch()
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

    def _count_batch(self) -> None:
        for roles, count in Counter(self._batch_roles).items():
            for role in roles:
                self.roles[role] += count
        for names, count in Counter(self._batch_names).items():
            for name in names:
                if name not in _KNOWN_FIELDS:
                    self._count_field(name, count)
        for kind, count in Counter(self._batch_types).items():
            self.reference_types[_TYPE_NAMES[kind]] += count
        self._lengths.add(self._batch_lengths)
        for batch in (self._batch_roles, self._batch_names, self._batch_types, self._batch_lengths):
            batch.clear()

    def _count_field(self, path: str, count: int) -> None:
        path = truncate(path, _MAX_NAME_CHARS)
        if path in self.extra_fields or len(self.extra_fields) < _MAX_NAMES:
            self.extra_fields[path] += count

    def _count_message_fields(self, line: int, message: dict[str, Any]) -> None:
        for name, value in message.items():
            if name not in {"role", "content"}:
                self._count_field(f"messages[].{name}", 1)
                if _is_infinite(value):
                    self._problems.warning(line, _INFINITE)

    def _check_value(self, line: int, name: str, value: Any) -> None:
        """Check a value that is neither text nor an integer."""
        if value is None and (name in self._nulls or len(self._nulls) < _MAX_NAMES):
            self._nulls[truncate(name, _MAX_NAME_CHARS)] += 1
        elif type(value) is dict:
            self._count_nested(truncate(name, _MAX_NAME_CHARS), cast("dict[str, Any]", value))
        if _is_infinite(cast("Any", value)):
            self._problems.warning(line, _INFINITE)

    def _count_nested(self, path: str, fields: dict[str, Any]) -> None:
        self._nested[path] += 1
        for name, value in fields.items():
            inner = f"{path}.{truncate(name)}"
            if inner in self._nested or len(self._nested) < _MAX_NAMES:
                self._nested[inner] += 1
                self._nulls[inner] += value is None

    def _check_reference(self, line: int, reference: Any) -> None:
        """Check a reference answer that is not text."""
        if reference is _MISSING:
            self._problems.warning(line, _NO_REFERENCE)
        elif reference is None:
            self._problems.warning(line, _NULL_REFERENCE)
        elif type(reference) is dict:
            self._count_nested("reference_answer", cast("dict[str, Any]", reference))
        if _is_infinite(cast("Any", reference)):
            self._problems.warning(line, _INFINITE)

    def _check_answer(self, line: int, prompt: str, answer: str) -> None:
        """Count an answer that is in its prompt, unless the task is to select or to repeat something."""
        if not _CLOSED_TASK.search(prompt.replace(answer, "", 1)):
            self._answers_in_prompt += 1
            self._first_answer_in_prompt = self._first_answer_in_prompt or line

    def _warn_of_duplicate(self, line: int, earlier: int, entry: int) -> None:
        """Log a record with the messages of an earlier one. Few files in billions have two prompts with one hash."""
        self.duplicates += 1
        first, known, reference = earlier >> 32, earlier & _HASH_BITS, entry & _HASH_BITS
        if known != reference and known and reference:
            summary = f"the same messages as on line {first:,}, with another reference_answer"
            remedy = "Keep the right one; a reward cannot agree with both"
            self._problems.error(line, Violation("conflicting-references", "reference_answer", summary, remedy))
            return
        summary = f"the same messages as on line {first:,}"
        remedy = "Remove one of them; datasets.split keeps them together"
        self._problems.warning(line, Violation("duplicate-prompt", "messages", summary, remedy))

    def _warn_of_types(self) -> None:
        first: dict[str, int] = {}
        for kind, line in self._first_of_type.items():
            first.setdefault(_TYPE_NAMES[kind], line)
        types = [name for name in first if name not in {"missing", "null"}]
        if len(types) < 2:  # noqa: PLR2004 - one is no change
            return
        counts = self.reference_types
        listed = ", ".join(f"{name} on {counts[name]:,} (from line {first[name]:,})" for name in types)
        rarest = min(types, key=counts.__getitem__)
        summary = f"its type changes between records: {listed}"
        remedy = "Use one type throughout, or have the reward handle each"
        self._problems.warning(first[rarest], Violation("reference-types", "reference_answer", summary, remedy))

    def _warn_of_nulls(self) -> None:
        """Warn of fields that every record has and that are null in some of them: the mark of an Arrow table."""
        for path, nulls in sorted(self._nulls.items()):
            parent = path.rpartition(".")[0]
            total = self._nested.get(parent, self.valid)
            count = self._nested.get(path) or self.extra_fields[path]
            if total == count > nulls > 0:
                summary = f"null in {nulls:,} of {count:,} records, and present in all; Arrow fills missing keys so"
                remedy = "Remove the nulls if the key was missing before: pandas, datasets and pyarrow add them"
                self._problems.warning(None, Violation("null-filled", path, summary, remedy))


class _LengthCounter:
    """Lengths of prompts. Exact, until there are too many different ones; then they are rounded down."""

    def __init__(self) -> None:
        self._exact: Counter[int] = Counter()
        self._rounded: Counter[int] = Counter()
        self._number = self._total = self._longest = 0
        self._shortest: int | None = None

    def add(self, lengths: list[int]) -> None:
        self._exact.update(lengths)
        if len(self._exact) > _MAX_DIFFERENT_LENGTHS:
            self._fold(_round_down)

    def summary(self) -> Lengths:
        self._fold(_round_down if self._rounded else int)
        if self._shortest is None:
            return Lengths()
        mean = round(self._total / self._number, 1)
        return Lengths(self._shortest, self._quantile(0.5), self._quantile(0.95), self._longest, mean)

    def _fold(self, convert: Callable[[int], int]) -> None:
        """Add the exact lengths to the totals and to the rounded lengths."""
        if not self._exact:
            return
        least = min(self._exact)
        self._shortest = least if self._shortest is None else min(self._shortest, least)
        self._longest = max(self._longest, *self._exact)
        for length, count in self._exact.items():
            self._number += count
            self._total += length * count
            self._rounded[convert(length)] += count
        self._exact.clear()

    def _quantile(self, share: float) -> int:
        remaining = math.ceil(share * self._number)
        for length in sorted(self._rounded):
            remaining -= self._rounded[length]
            if remaining <= 0:
                return length
        return self._longest


def _round_down(length: int) -> int:
    bits = max(length.bit_length() - _ROUNDED_BITS, 0)
    return length >> bits << bits


def _reference_hash(reference: object) -> int:
    """Return 32 bits that differ between different reference answers; 0 if there is none."""
    if reference is _MISSING or reference is None:
        return 0
    if type(reference) is dict or type(reference) is list:
        reference = json.dumps(reference, sort_keys=True), None
    elif type(reference) is bool:
        reference = reference, None
    return hash(reference) & _HASH_BITS or 1


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
