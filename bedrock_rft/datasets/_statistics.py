"""Statistics over the valid records of a file, and the warnings that follow from them."""

from __future__ import annotations

import json
import math
import re
from array import array
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft.datasets._report import Lengths, Limits, ProblemLog
from bedrock_rft.datasets._rules import ROLES, error, truncate, warning

_MAX_COMPARED = 40_000
"""Records whose prompts are compared: twice as many as a job accepts. Each takes about 100 bytes."""

_MIN_ANSWER_CHARS = 12  # a shorter answer is often in its prompt by chance
_MAX_NAMES = 400  # names of further fields to count
_MAX_NAME_CHARS = 100
_MAX_SHAPES = 1000  # shapes to remember; most files have few
_HASH_BITS = (1 << 32) - 1
_KNOWN_ROLES = frozenset(ROLES)
_MISSING = object()
_KNOWN_FIELDS = frozenset({"messages", "reference_answer"})
_SIMPLE_TYPES = frozenset({str, int, bool})
_INFINITIES = (math.inf, -math.inf)
_TYPE_NAMES: dict[type, str] = {
    str: "string", int: "number", float: "number", bool: "boolean", type(None): "null", list: "list", dict: "object",
    object: "missing",
}  # fmt: skip

_ENDS_WITH_ASSISTANT = warning(
    "ends-with-assistant",
    "messages",
    "the last message has the role 'assistant', and the model is to write that turn",
    "Move it into reference_answer: datasets.convert does",
)
_ANSWERED_TWICE = replace(
    _ENDS_WITH_ASSISTANT,
    summary="the last message has the role 'assistant', and the record has a reference_answer too",
    remedy="Remove the message: datasets.convert with reference_answer='reference_answer' does",
)
_ENDS_WITH_SYSTEM = warning(
    "ends-with-system", "messages", "the last message has the role 'system'", "Move it to the beginning"
)
_BLANK_CONTENT = warning("blank-content", "messages", "a message is empty or whitespace", "Add its text, or remove it")
_NUL_CONTENT = warning("nul", "messages", "a message contains the character NUL", "Remove \\u0000")
_NO_REFERENCE = warning(
    "reference-missing",
    "reference_answer",
    "missing; the documentation requires it, an AWS blog post calls it optional",
    "Add the value that the reward compares with",
)
_NULL_REFERENCE = warning(
    "reference-null", "reference_answer", "null", "Add the reference answer, so that the reward can compare with it"
)
_OWN_ID = warning(
    "own-id", "id", "the service gives every record its own id", "Rename the field if the reward needs its value"
)
_TOO_LARGE = warning(
    "too-large", None, "a number is too large: most parsers read it as infinity", "Write the number as a string"
)
# Words and forms of tasks whose prompts contain the answer by design.
_CLOSED_TASK = re.compile(
    r"\b(?:choose|choices?|options?|select|pick|which of|one of|extract\w*|copy|quote\w*|verbatim|passage|context|"
    r"paragraph|article|document|excerpt|transcript|according to|classif\w+|categor\w+|labels?|correct the|"
    r"rewrite|translate|sort|arrange|find the|based on|text|summari[sz]e|repeat)\b|"
    # Bounded, so that a prompt of line feeds or of options alone takes no quadratic time.
    r"(?:^[ \t]{,99}\(?[A-E1-5][).]\s.*\n?){2}|(?<!\w)\(?A[).:]\s(?s:.{1,300}?)(?<!\w)\(?B[).:]\s",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(slots=True)
class _Shape:
    """The roles of the messages of a record, the names and types of its fields, and the number of such records."""

    roles: tuple[str, ...]
    names: tuple[str, ...]
    reference_type: type
    is_plain: bool  # True if such records give no reason for a warning
    count: int = 0


class Statistics:
    """Statistics of valid records. `add` logs warnings for a record, `finish` those for the whole file."""

    def __init__(self, log: ProblemLog, limits: Limits) -> None:
        """Log problems to `log`."""
        self._log = log
        self._max_chars = limits.warn_prompt_chars
        self.valid = self.duplicates = 0
        self.roles: Counter[str] = Counter()
        self.reference_types: Counter[str] = Counter()
        self.extra_fields: Counter[str] = Counter()
        self._shapes: dict[tuple[Any, ...], _Shape] = {}
        self._first_of_type: dict[str, int] = {}
        self._lengths = array("Q")  # of the compared records
        self._prompts: dict[int, int] = {}  # by the hash of the prompt: its line, and 32 bits of its reference's hash
        self._nulls: Counter[str] = Counter()
        self._nested: Counter[str] = Counter()
        self._answers_in_prompt = 0
        self._first_answer_in_prompt = 0

    @property
    def compared(self) -> int:
        """The number of records that were searched for duplicates."""
        return len(self._lengths)

    def add(self, line: int, fields: Any) -> bool:
        """Count a record and log its warnings. Return False, without counting, if the record may break a rule.

        The content of each message must be a string, as `join_text_parts` makes it. Raises LookupError, TypeError or
        AttributeError if `fields` does not have this shape.
        """
        # Not split into functions, because their calls would make a check 10 % slower.
        turns: list[Any] = []
        length, is_plain = 0, True
        for message in fields["messages"]:
            text = message["content"]
            turns += message["role"], text
            if text.isspace() or not text or "\0" in text or len(message) != 2:  # noqa: PLR2004 - role and content
                is_plain = False
            length += len(text)
        key = (*turns[::2], *fields, *map(type, fields.values()))
        shape = self._shapes.get(key) or self._new_shape(key, line, fields)
        if shape is None:
            return False
        shape.count += 1
        if not is_plain or not shape.is_plain or length > self._max_chars:
            self._check_closely(line, fields, shape.roles, length)
        reference = fields.get("reference_answer")
        if type(reference) is str:
            if len(reference) >= _MIN_ANSWER_CHARS and reference in turns[-1]:
                self._check_answer(line, turns[-1], reference)
            reference_hash = hash(reference) & _HASH_BITS or 1
        else:
            reference_hash = _reference_hash(reference)
        lengths = self._lengths
        if len(lengths) < _MAX_COMPARED:
            lengths.append(length)
            entry = line << 32 | reference_hash
            earlier = self._prompts.setdefault(hash(tuple(turns)), entry)
            if earlier is not entry:
                self._warn_of_duplicate(line, earlier, entry)
        return True

    def _new_shape(self, key: tuple[Any, ...], line: int, fields: dict[str, Any]) -> _Shape | None:
        """Return the new shape of a record, or None if the roles of its messages are not valid."""
        roles = key[: -2 * len(fields)]
        if "user" not in roles or not _KNOWN_ROLES.issuperset(roles):
            return None
        if len(self._shapes) == _MAX_SHAPES:
            self._count_shapes()
        reference_type: type = type(fields.get("reference_answer", _MISSING))  # pyright: ignore[reportUnknownVariableType] # of any value
        types = set[type](map(type, (value for name, value in fields.items() if name != "messages")))
        is_plain = (
            roles[-1] == "user" and "id" not in fields and "reference_answer" in fields and types <= _SIMPLE_TYPES
        )
        self._first_of_type.setdefault(_TYPE_NAMES[reference_type], line)
        self._shapes[key] = shape = _Shape(roles, tuple(fields), reference_type, is_plain)
        return shape

    def _check_closely(self, line: int, fields: dict[str, Any], roles: tuple[str, ...], length: int) -> None:
        """Log the warnings of a record that is not plain."""
        log = self._log.add
        for message in fields["messages"]:
            self._check_message(line, message)
        if roles[-1] == "system":
            log(line, _ENDS_WITH_SYSTEM)
        elif roles[-1] == "assistant":
            log(line, _ENDS_WITH_ASSISTANT if fields.get("reference_answer") is None else _ANSWERED_TWICE)
        if length > self._max_chars:
            summary = f"a prompt of {length:,} characters may exceed the context of the model"
            log(line, warning("long-prompt", "messages", summary, "Shorten it"))
        if fields.get("reference_answer") is None:
            log(line, _NULL_REFERENCE if "reference_answer" in fields else _NO_REFERENCE)
        if "id" in fields:
            log(line, _OWN_ID)
        for name, value in fields.items():
            if name != "messages" and type(value) not in _SIMPLE_TYPES:
                self._check_value(line, truncate(name, _MAX_NAME_CHARS), value)

    def _check_message(self, line: int, message: dict[str, Any]) -> None:
        text: str = message["content"]
        if "\0" in text:
            self._log.add(line, _NUL_CONTENT)
        elif not text or text.isspace():
            self._log.add(line, _BLANK_CONTENT)
        for name, value in message.items():
            if name not in {"role", "content"}:
                path = f"messages[].{truncate(name)}"
                self._count_field(path, 1)
                if value is None and path in self.extra_fields:
                    self._nulls[path] += 1
                if _is_infinite(value):
                    self._log.add(line, _TOO_LARGE)

    def finish(self) -> None:
        """Complete the counts, and log the warnings that concern the whole file."""
        self._count_shapes()
        self._warn_of_types()
        self._warn_of_nulls()
        if self._answers_in_prompt:
            share = self._answers_in_prompt / self.valid
            summary = (
                f"the prompt contains the reference answer in {self._answers_in_prompt:,} of {self.valid:,} records "
                f"({share:.1%}), on this line first"
            )
            remedy = "Remove it from the prompt, unless the task is to select or to repeat it"
            problem = warning("answer-in-prompt", "reference_answer", summary, remedy)
            self._log.add(self._first_answer_in_prompt, problem)

    def lengths(self) -> Lengths:
        """Return statistics of the prompt lengths, for the records that were also searched for duplicates."""
        ordered = sorted(self._lengths)
        if not ordered:
            return Lengths()
        median, p95 = (ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.95))
        return Lengths(ordered[0], median, p95, ordered[-1], round(sum(ordered) / len(ordered), 1))

    def _count_shapes(self) -> None:
        for shape in self._shapes.values():
            self.valid += shape.count
            for role in shape.roles:
                self.roles[role] += shape.count
            self.reference_types[_TYPE_NAMES[shape.reference_type]] += shape.count
            for name in shape.names:
                if name not in _KNOWN_FIELDS:
                    self._count_field(name, shape.count)
        self._shapes.clear()

    def _count_field(self, path: str, count: int) -> None:
        path = truncate(path, _MAX_NAME_CHARS)
        if path in self.extra_fields or len(self.extra_fields) < _MAX_NAMES:
            self.extra_fields[path] += count

    def _check_value(self, line: int, name: str, value: Any) -> None:
        """Check a value that is neither text nor an integer."""
        if value is None and (name in self._nulls or len(self._nulls) < _MAX_NAMES):
            self._nulls[name] += 1
        elif is_object(value):
            self._count_nested(name, value)
        if _is_infinite(value):
            self._log.add(line, _TOO_LARGE)

    def _count_nested(self, path: str, fields: dict[str, Any]) -> None:
        self._nested[path] += 1
        for name, value in fields.items():
            inner = f"{path}.{truncate(name)}"
            if inner in self._nested or len(self._nested) < _MAX_NAMES:
                self._nested[inner] += 1
                self._nulls[inner] += value is None

    def _check_answer(self, line: int, prompt: str, answer: str) -> None:
        """Count an answer that is in its prompt, unless the task is to select or to repeat something."""
        if not _CLOSED_TASK.search(prompt.replace(answer, "", 1)):
            self._answers_in_prompt += 1
            self._first_answer_in_prompt = self._first_answer_in_prompt or line

    def _warn_of_duplicate(self, line: int, earlier: int, entry: int) -> None:
        """Log a record with the messages of an earlier record. Two prompts with equal hashes are too rare to matter."""
        self.duplicates += 1
        first, earlier_reference, reference = earlier >> 32, earlier & _HASH_BITS, entry & _HASH_BITS
        if earlier_reference != reference and earlier_reference and reference:
            summary = f"the same messages as on line {first:,}, with another reference_answer"
            remedy = "Keep the right one; a reward cannot agree with both"
            self._log.add(line, error("conflicting-references", "reference_answer", summary, remedy))
            return
        summary = f"the same messages as on line {first:,}"
        remedy = "Remove one of them; datasets.split keeps them together"
        self._log.add(line, warning("duplicate-prompt", "messages", summary, remedy))

    def _warn_of_types(self) -> None:
        first, counts = self._first_of_type, self.reference_types
        types = [name for name in first if name not in {"missing", "null"}]
        if len(types) < 2:  # noqa: PLR2004 - one is no change
            return
        type_counts = ", ".join(f"{name} on {counts[name]:,} (from line {first[name]:,})" for name in types)
        rarest = min(types, key=counts.__getitem__)
        summary = f"its type changes between records: {type_counts}"
        remedy = "Use one type throughout, or have the reward handle each"
        self._log.add(first[rarest], warning("reference-types", "reference_answer", summary, remedy))

    def _warn_of_nulls(self) -> None:
        """Warn of fields that every record has and that are null in some records, as Arrow tables have them."""
        self._nested["messages[]"] = sum(self.roles.values())
        for path, nulls in sorted(self._nulls.items()):
            parent = path.rpartition(".")[0]
            total = self._nested.get(parent, self.valid)
            count = self._nested.get(path) or self.extra_fields[path]
            if total == count > nulls > 0:
                objects = "messages" if path.startswith("messages[]") else "records"
                summary = (
                    f"null in {nulls:,} of {count:,} {objects}, and present in all, as if Arrow had filled missing keys"
                )
                remedy = "Remove the nulls if the key was missing before: pandas, datasets and pyarrow add them"
                self._log.add(None, warning("null-filled", path, summary, remedy))


def _reference_hash(reference: object) -> int:
    """Return 32 bits of the hash of a reference answer; 0 if there is no reference answer."""
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
        return value in _INFINITIES
    if is_object(value):
        for inner in value.values():
            if type(inner) is not str and type(inner) is not int and _is_infinite(inner):
                return True
        return False
    return is_array(value) and any(map(_is_infinite, value))
