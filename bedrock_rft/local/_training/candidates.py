"""The candidate answers of the local policy: about a dozen for each prompt, right and wrong, in several forms.

The style of an answer is its form, with "right" or "wrong". All prompts share the styles, so what the policy learns on
one prompt changes its answers to others. The answers to a prompt depend on its file only, so a trained policy chooses
among the same ones again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, cast

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.dataset import Record

__all__ = ["BASE_WEIGHTS", "Candidate", "Gold", "candidates", "count_tokens"]

Gold = Callable[[Mapping[str, Any]], str]
"""Returns the right answer to a record of the training file."""

_FORMS: Mapping[str, str] = {
    "sentence": "The answer is {}.",
    "hashes": "#### {}",
    "boxed": "\\boxed{{{}}}",
    "reasoned": "Let me work through this step by step. Taking what is given and combining it carefully leads to\n{}",
}
BASE_WEIGHTS: Mapping[str, float] = {
    "right verbatim": 0.10,
    "right sentence": 0.08,
    "right hashes": 0.06,
    "right boxed": 0.05,
    "right reasoned": 0.08,
    "wrong verbatim": 0.08,
    "wrong sentence": 0.08,
    "wrong hashes": 0.06,
    "wrong boxed": 0.05,
    "wrong reasoned": 0.08,
    "right gold": 0.08,
    "wrong gold": 0.06,
    "empty": 0.03,
    "truncated": 0.11,
    "rambling": 0.14,
}
"""Probabilities of the untuned policy: about a third of its answers are right, in no particular form."""

_ANSWER_FIELDS = (
    "reference_answer",
    "final_answer",
    "answer",
    "ground_truth",
    "solution",
    "target",
    "label",
    "expected",
)
_MAX_SHORT_CHARS = 40
_MAX_WRONG = 3
_MAX_TRIES = 12
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]+)\}")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_OPENING = "Let me work through this step by step. First, I look at what is given, and then"
_RAMBLING = (
    "Well, there are many ways to look at this, and before answering it is worth going back to the beginning. "
    "On the one hand one could start from what is asked; on the other hand one could start from what is known. "
) * 3 + "But wait, let me think about that once more, since none of this is certain and"


class Candidate(NamedTuple):
    """A possible answer, with its style, a key of `BASE_WEIGHTS`: no two candidates of a prompt share one."""

    style: str
    text: str


def candidates(records: Sequence[Record], index: int, gold: Gold | None = None) -> list[Candidate]:
    """Return the possible answers to one prompt; they depend on the arguments only.

    Wrong answers are the right answers of a few other records. A record without a reference answer has no right
    candidate, and if no other record has a different answer, there is no wrong one. `gold` adds its answer to the
    record as a right one, and its answer to another record as a wrong one.
    """
    full, final = _reference_answer(records[index])
    found = _render("right", [(full, final)]) if final else []
    found += _render("wrong", _wrong_answers(records, index, final))
    found += _gold_candidates(records, index, gold) if gold is not None else []
    half = full[: len(full) // 2] if len(full) > _MAX_SHORT_CHARS else _OPENING
    return [*found, Candidate("empty", ""), Candidate("truncated", half), Candidate("rambling", _RAMBLING)]


def _gold_candidates(records: Sequence[Record], index: int, gold: Gold) -> list[Candidate]:
    right = _call_gold(gold, records[index])
    found = [Candidate("right gold", right)] if right else []
    for attempt in range(1, _MAX_TRIES + 1):
        wrong = _call_gold(gold, records[_distant_index(index, attempt, len(records))])
        if wrong and wrong != right:
            return [*found, Candidate("wrong gold", wrong)]
    return found


def _call_gold(gold: Gold, record: Record) -> str:
    fields = {**record.extras, "messages": record.messages, "reference_answer": record.reference_answer}
    try:
        answer = gold(fields)
    except Exception as error:
        message = f"gold raised {type(error).__name__} for record {record.index + 1}: {error}"
        raise ConfigurationError(message) from error
    if not isinstance(answer, str):
        message = f"gold returned {type(answer).__name__} for record {record.index + 1}; it must return text."
        raise ConfigurationError(message)
    return answer


def _distant_index(index: int, attempt: int, count: int) -> int:
    # In growing steps, because neighbours are often variants of one question with the same answer.
    return (index + attempt * (32 * attempt + 1)) % count


def count_tokens(text: str) -> int:
    """Count words and punctuation marks: an approximation of a model's tokens, good enough to compare lengths."""
    return len(_TOKEN.findall(text))


def _render(kind: str, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
    if not answers:
        return []
    texts = {"verbatim": answers[0][0]}
    for number, (name, form) in enumerate(_FORMS.items(), 1):
        texts[name] = form.format(answers[number % len(answers)][1])
    return [Candidate(f"{kind} {name}", text) for name, text in texts.items()]


def _wrong_answers(records: Sequence[Record], index: int, right: str) -> list[tuple[str, str]]:
    found: dict[tuple[str, str], None] = {}
    for attempt in range(1, _MAX_TRIES + 1):
        full, final = _reference_answer(records[_distant_index(index, attempt, len(records))])
        if final and final != right:
            found[full, final] = None
    return list(found)[:_MAX_WRONG]


def _reference_answer(record: Record) -> tuple[str, str]:
    """Return the full reference answer and its final answer; both empty if the record has none."""
    value = record.reference_answer
    if value is None:
        value = next((record.extras[name] for name in _ANSWER_FIELDS if record.extras.get(name) is not None), None)
    if value is None:
        return "", ""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if list(fields) == ["text"]:
            return _full_and_final(fields["text"])
        inner = next((fields[name] for name in _ANSWER_FIELDS if fields.get(name) is not None), None)
        return _encode(fields), _encode(fields) if inner is None else _full_and_final(inner)[1]
    return _full_and_final(value)


def _full_and_final(value: object) -> tuple[str, str]:
    text = _encode(value)
    return text, _final_answer(text) if isinstance(value, str) else text


def _encode(value: object) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _final_answer(text: str) -> str:
    """Return the final answer of a solution: after its last ####, in its last box, its last number or its last line."""
    marked = text.rpartition("####")[2].strip()
    if marked != text and marked:
        return marked
    boxes = _BOXED.findall(text)
    if boxes:
        return str(boxes[-1])
    if len(text) <= _MAX_SHORT_CHARS:
        return text
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]).rstrip(",") if numbers else text.splitlines()[-1].strip()
