"""What a rehearsed model can say: a dozen answers to each prompt, right and wrong, well and badly written.

A style says how an answer is written and whether it is right; styles are the same for all prompts, which is what lets a
policy learn something on one prompt that helps it on the next. The answers to a prompt follow from its file alone, so a
trained policy meets the very same ones again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft.local._training.dataset import Record

__all__ = ["BASE_WEIGHTS", "Candidate", "candidates", "count_tokens"]

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
    "empty": 0.03,
    "truncated": 0.11,
    "rambling": 0.14,
}
"""How an untuned model writes, as probabilities: right in about a third of its answers, in no particular form."""

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
_SHORT = 40
_OTHERS = 3
_TRIES = 12
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]+)\}")
_TOKEN = re.compile(r"\w+|[^\w\s]")
_OPENING = "Let me work through this step by step. First, I look at what is given, and then"
_RAMBLING = (
    "Well, there are many ways to look at this, and before answering it is worth going back to the beginning. "
    "On the one hand one could start from what is asked; on the other hand one could start from what is known. "
) * 3 + "But wait, let me think about that once more, since none of this is certain and"


@dataclass(frozen=True)
class Candidate:
    """One thing a model might answer."""

    style: str
    """A key of `BASE_WEIGHTS`; no two candidates of a prompt share one."""
    text: str


def candidates(records: Sequence[Record], index: int) -> list[Candidate]:
    """The possible answers to one prompt; they depend on the arguments alone.

    Wrong answers are the right ones of a few other records. Where a record has no reference answer there is no right
    one, and where no other answer differs from it there is no wrong one.
    """
    full, final = _reference(records[index])
    found = _rendered("right", [(full, final)]) if final else []
    found += _rendered("wrong", _wrong(records, index, final))
    half = full[: len(full) // 2] if len(full) > _SHORT else _OPENING
    return [*found, Candidate("empty", ""), Candidate("truncated", half), Candidate("rambling", _RAMBLING)]


def count_tokens(text: str) -> int:
    """Count words and punctuation marks: near enough to a model's tokens for lengths to compare."""
    return len(_TOKEN.findall(text))


def _rendered(kind: str, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
    if not answers:
        return []
    verbatim = Candidate(f"{kind} verbatim", answers[0][0])
    forms = enumerate(_FORMS.items(), 1)
    return [
        verbatim,
        *(Candidate(f"{kind} {name}", form.format(answers[turn % len(answers)][1])) for turn, (name, form) in forms),
    ]


def _wrong(records: Sequence[Record], index: int, right: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for turn in range(1, _TRIES + 1):
        # Growing steps: neighbours are often variants of one question, and share its answer.
        full, final = _reference(records[(index + turn * (32 * turn + 1)) % len(records)])
        if final and final != right and (full, final) not in found:
            found.append((full, final))
        if len(found) == _OTHERS:
            break
    return found


def _reference(record: Record) -> tuple[str, str]:
    """The reference answer in full and its final answer; both empty where there is none."""
    value = record.reference_answer
    if value is None:
        value = next((record.extras[name] for name in _ANSWER_FIELDS if record.extras.get(name) is not None), None)
    if value is None:
        return "", ""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if list(fields) == ["text"]:
            return _both(fields["text"])
        inner = next((fields[name] for name in _ANSWER_FIELDS if fields.get(name) is not None), None)
        return _spelled(fields), _spelled(fields) if inner is None else _both(inner)[1]
    return _both(value)


def _both(value: object) -> tuple[str, str]:
    text = _spelled(value)
    return text, _final(text) if isinstance(value, str) else text


def _spelled(value: object) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _final(text: str) -> str:
    """What a worked solution comes to: after its last ####, in its last box, its last number, or its last line."""
    marked = text.rpartition("####")[2].strip()
    if marked != text and marked:
        return marked
    boxes = _BOXED.findall(text)
    if boxes:
        return str(boxes[-1])
    if len(text) <= _SHORT:
        return text
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]).rstrip(",") if numbers else text.splitlines()[-1].strip()
