"""The local policy: a softmax over about a dozen candidate answers to each prompt, right and wrong, in several forms.

The style of an answer is its form, with "right" or "wrong". The logit of an answer is the logit of its style, which all
prompts share, plus a logit of the style on this prompt. Shared logits generalise to other prompts; the logits of a
prompt memorise it over several epochs. The candidate answers to a prompt depend only on its file, so a trained policy
chooses among the same answers again.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, cast

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._training.dataset import Record

_MAX_LOGIT = 30.0  # odds of e^30 to 1; larger logits would overflow at a high learning rate
_DIGITS = 5
_KEY_CHARS = 16


class Policy:
    """The logits of the candidate answers.

    Attributes:
        styles: the shared logit of each style.
        prompts: the logits of each trained prompt, by the first 16 characters of its key; a missing style counts as 0.
    """

    def __init__(
        self, styles: Mapping[str, float] | None = None, prompts: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Start from logits or, without arguments, from the untuned model."""
        self.styles = {style: round(math.log(weight), _DIGITS) for style, weight in BASE_WEIGHTS.items()}
        self.styles.update(styles or {})
        self.prompts = {key: dict(prompt_logits) for key, prompt_logits in (prompts or {}).items()}

    def logits(self, prompt_key: str, options: Sequence[Candidate]) -> list[float]:
        """Return the logit of each candidate answer to a prompt."""
        prompt_logits = self.prompts.get(prompt_key[:_KEY_CHARS], {})
        return [self.styles[option.style] + prompt_logits.get(option.style, 0.0) for option in options]

    def shift_style(self, style: str, by: float) -> None:
        """Add `by` to the logit of a style on all prompts."""
        self.styles[style] = _shift(self.styles[style], by)

    def shift_prompt(self, prompt_key: str, style: str, by: float) -> None:
        """Add `by` to the logit of a style on one prompt."""
        prompt_logits = self.prompts.setdefault(prompt_key[:_KEY_CHARS], {})
        prompt_logits[style] = _shift(prompt_logits.get(style, 0.0), by)

    @classmethod
    def load(cls, text: str) -> Policy:
        """Read the policy from a training state."""
        state = json.loads(text)
        return cls(state["styles"], state["prompts"])


def sample_answers(
    state: str | None,
    records: Sequence[Record],
    index: int,
    *,
    n: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    seed: int | None = None,
    gold: Gold | None = None,
) -> list[str]:
    """Sample `n` answers to a record from a saved or the untuned policy. Temperature 0 takes the most likely answer."""
    policy = _load_policy(state)
    options = candidates(records, index, gold)
    key = records[index].prompt_key
    logits = policy.logits(key, options)
    if temperature <= 0:
        return [options[most_likely(logits)].text] * n
    generator = random.Random(None if seed is None else f"{seed}: {key}")  # noqa: S311 - no secret depends on it
    probabilities = keep_nucleus(softmax(logits, temperature), top_p)
    return [option.text for option in generator.choices(options, probabilities, k=n)]


@lru_cache(8)  # a model answers many requests; sampling does not change a policy
def _load_policy(state: str | None) -> Policy:
    return Policy() if state is None else Policy.load(state)


def softmax(logits: Sequence[float], temperature: float = 1.0) -> list[float]:
    """Return the probabilities of logits. Raises ZeroDivisionError for temperature 0, which needs `most_likely`."""
    top = max(logits)
    weights = [math.exp((logit - top) / temperature) for logit in logits]
    total = sum(weights)
    return [weight / total for weight in weights]


def keep_nucleus(probabilities: Sequence[float], top_p: float) -> list[float]:
    """Return the most likely probabilities, which together reach `top_p`, and 0 for all others."""
    nucleus = [0.0] * len(probabilities)
    total = 0.0
    for position in sorted(range(len(probabilities)), key=lambda index: -probabilities[index]):
        if total >= top_p:
            break
        nucleus[position] = probabilities[position]
        total += probabilities[position]
    return nucleus


def most_likely(logits: Sequence[float]) -> int:
    """Return the position of the largest logit, or the first of several."""
    return max(range(len(logits)), key=logits.__getitem__)


def entropy(probabilities: Sequence[float]) -> float:
    """Return the entropy in nats: 0 for certainty, log(n) for n equal probabilities."""
    return sum(-share * math.log(share) for share in probabilities if share > 0)


def _shift(logit: float, by: float) -> float:
    # Round the logit now and not when saving it, so that a resumed run continues with the same numbers.
    return round(min(max(logit + by, -_MAX_LOGIT), _MAX_LOGIT), _DIGITS)


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
    """A possible answer, with its style: a key of `BASE_WEIGHTS` that no other candidate of the prompt has."""

    style: str
    text: str


def candidates(records: Sequence[Record], index: int, gold: Gold | None = None) -> list[Candidate]:
    """Return the possible answers to one prompt, which depend only on the arguments."""
    # Wrong answers are right answers of other records. A record without a reference has no right answer. `gold` adds a
    # right and a wrong answer.
    full, final = _reference_answer(records[index])
    options = _render_candidates("right", [(full, final)]) if final else []
    options += _render_candidates("wrong", _wrong_answers(records, index, final))
    options += _gold_candidates(records, index, gold) if gold is not None else []
    half = full[: len(full) // 2] if len(full) > _MAX_SHORT_CHARS else _OPENING
    return [*options, Candidate("empty", ""), Candidate("truncated", half), Candidate("rambling", _RAMBLING)]


def _gold_candidates(records: Sequence[Record], index: int, gold: Gold) -> list[Candidate]:
    right = _call_gold(gold, records[index])
    options = [Candidate("right gold", right)] if right else []
    for attempt in range(1, _MAX_TRIES + 1):
        wrong = _call_gold(gold, records[_distant_index(index, attempt, len(records))])
        if wrong and wrong != right:
            return [*options, Candidate("wrong gold", wrong)]
    return options


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
    # Skip neighbours, in growing steps, because they are often variants of one question with the same answer.
    return (index + attempt * (32 * attempt + 1)) % count


def count_tokens(text: str) -> int:
    """Count words and punctuation marks: an approximation of a model's tokens, good enough to compare lengths."""
    return len(_TOKEN.findall(text))


def _render_candidates(kind: str, answers: Sequence[tuple[str, str]]) -> list[Candidate]:
    if not answers:
        return []
    texts = {"verbatim": answers[0][0]}
    for number, (name, form) in enumerate(_FORMS.items(), 1):
        texts[name] = form.format(answers[number % len(answers)][1])
    return [Candidate(f"{kind} {name}", text) for name, text in texts.items()]


def _wrong_answers(records: Sequence[Record], index: int, right: str) -> list[tuple[str, str]]:
    answers: dict[tuple[str, str], None] = {}
    for attempt in range(1, _MAX_TRIES + 1):
        full, final = _reference_answer(records[_distant_index(index, attempt, len(records))])
        if final and final != right:
            answers[full, final] = None
    return list(answers)[:_MAX_WRONG]


def _reference_answer(record: Record) -> tuple[str, str]:
    """Return the full reference answer and its final answer; both are empty without a reference."""
    value = record.reference_answer
    if value is None:
        value = next((record.extras[name] for name in _ANSWER_FIELDS if record.extras.get(name) is not None), None)
    if value is None:
        return "", ""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if list(fields) == ["text"]:
            return _split_final_answer(fields["text"])
        inner = next((fields[name] for name in _ANSWER_FIELDS if fields.get(name) is not None), None)
        return _encode(fields), _encode(fields) if inner is None else _split_final_answer(inner)[1]
    return _split_final_answer(value)


def _split_final_answer(value: object) -> tuple[str, str]:
    text = _encode(value)
    return text, _final_answer(text) if isinstance(value, str) else text


def _encode(value: object) -> str:
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _final_answer(text: str) -> str:
    """Return the final answer of a solution: the text after ####, the last box, the last number or the last line."""
    after_hashes = text.rpartition("####")[2].strip()
    if after_hashes != text and after_hashes:
        return after_hashes
    boxes = _BOXED.findall(text)
    if boxes:
        return str(boxes[-1])
    if len(text) <= _MAX_SHORT_CHARS:
        return text
    numbers = _NUMBER.findall(text)
    return str(numbers[-1]).rstrip(",") if numbers else text.splitlines()[-1].strip()
