"""Families of generated rollouts with known behaviour, for tests and `benchmarks/rollout_findings.py`.

A step has 12 prompts of 64 with 8 answers each. Prompts differ in difficulty and words. An answer is about its prompt,
in sentences of random words, because near copies and languages are judged by words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from itertools import product
from typing import Any

from bedrock_rft.rollouts import Record

__all__ = ["BEHAVIOURS", "HEALTHY", "generate"]

PROMPTS, GROUPS, SAMPLES = 64, 12, 8
BEGAN = datetime(2026, 11, 28, 14, 3, 22, tzinfo=timezone.utc)

_SYLLABLES = ("ra", "mo", "tel", "sin", "ka", "du", "ver", "lo", "pi", "gan", "est", "or")
_WORDS = [["".join(word) for word in product(_SYLLABLES, repeat=length)] for length in (2, 3)]
_SMALL = {
    "English": "the of and to is that for are with this be from which so we",
    "French": "le les des et est une que pour dans nous donc avec sont du au",
    "German": "der die und das ist nicht ein eine den mit von wir sich auf also",
}
_HAN = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生"


@dataclass
class Case:
    """One rollout to be made; the functions of the families fill `answer`, `score` and `parts`."""

    random: random.Random
    progress: float
    words: list[str]
    difficulty: float
    number: int
    question: str
    language: str = "English"
    right: bool = False
    answer: str = ""
    score: float = 0.0
    parts: dict[str, float] = field(default_factory=dict[str, float])
    reference: Any = None
    error: str | None = None
    kept: bool = True

    def sentences(self, count: int, language: str = "") -> str:
        """Return sentences with words of the prompt and of a language."""
        if (language or self.language) == "Chinese":
            return "".join("".join(self.random.choices(_HAN, k=14)) + "。" for _ in range(count))
        small, draw = _SMALL[language or self.language].split(), self.random.random
        made: list[str] = []
        for _ in range(count):
            words: list[str] = []
            for place in range(11):
                options = small if place % 2 else [*self.words, _word(self.random)]
                words.append(options[int(draw() * len(options))])  # random.choice takes twice as long
            made.append(" ".join(words).capitalize() + ".")
        return " ".join(made)

    def solve(self, low: float = 0.2, high: float = 0.8) -> str:
        """Decide if the rollout is right, and return the number that it gives."""
        self.right = self.random.random() < low + (high - low) * self.progress - 0.3 * (self.difficulty - 0.5)
        return str(self.number if self.right else self.number + self.random.randrange(1, 9))


def _word(numbers: random.Random) -> str:
    words = _WORDS[numbers.random() < 0.5]
    return words[int(numbers.random() * len(words))]


def _math(case: Case) -> None:
    value = case.solve()
    case.answer = f"{case.sentences(case.random.randrange(3, 7))} The answer is {value}."
    case.score = float(case.right)
    case.parts = {"correct": case.score}


def _choice(case: Case) -> None:
    case.reference = "ABCD"[case.number % 4]
    case.solve(0.4, 0.9)
    case.answer = case.reference if case.right else case.random.choice("ABCD")
    case.score = float(case.answer == case.reference)


def _words(case: Case) -> None:
    case.solve()
    case.answer = f"{case.sentences(3)} So it must be {case.words[0] if case.right else _word(case.random)}"
    case.score = float(case.right)


def _tags(case: Case) -> None:
    """Learn a format that is rewarded, and then the task."""
    value, has_tags = case.solve(), case.random.random() < 0.1 + 1.7 * case.progress
    text = case.sentences(3)
    case.answer = f"<think>{text}</think>\n<answer>{value}</answer>" if has_tags else f"{text} {value}"
    case.parts = {"correct": float(case.right), "format": float(has_tags)}
    case.score = 0.8 * case.parts["correct"] + 0.2 * case.parts["format"]


def _longer(case: Case) -> None:
    """Give hard prompts long answers and low rewards; of the answers to one prompt, length decides nothing."""
    value = case.solve(0.5 - 0.4 * case.difficulty, 1.0 - 0.5 * case.difficulty)
    count = 2 + int(10 * case.difficulty + 6 * case.progress) + case.random.randrange(3)
    case.answer, case.score = f"{case.sentences(count)} #### {value}", float(case.right)


def _wrong_is_longer(case: Case) -> None:
    value = case.solve()
    count = case.random.randrange(3, 9) + (0 if case.right else 2)
    case.answer, case.score = f"{case.sentences(count)} #### {value}", float(case.right)


def _code(case: Case) -> None:
    case.solve()
    lines = "\n".join(f"    {_word(case.random)} = {case.random.choice(case.words)}" for _ in range(6))
    case.answer = f"{case.sentences(1)}\n```python\ndef solve():\n{lines}\n    return {case.number}\n```"
    case.parts = {
        "tests": case.random.random() * 0.3 + 0.7 * case.right,
        "style": 0.4 + 0.3 * case.progress + 0.3 * case.random.random(),
    }
    case.score = 0.7 * case.parts["tests"] + 0.3 * case.parts["style"]


def _saturated_format(case: Case) -> None:
    """A format that is nearly always kept from the start, and a task that is learned slowly."""
    value = case.solve(0.1, 0.6)
    case.answer = f"{case.sentences(4)}\n\\boxed{{{value}}}"
    case.parts = {"correct": float(case.right), "format": float(case.random.random() < 0.97)}
    case.score = 0.9 * case.parts["correct"] + 0.1 * case.parts["format"]


def _languages(case: Case) -> None:
    case.language = ("English", "French", "German", "Chinese")[case.number % 4]
    case.question = case.sentences(2)
    value = case.solve()
    case.answer, case.score = f"{case.sentences(4)} {value}", float(case.right)


def _length_hack(case: Case) -> None:
    value = case.solve(0.3, 0.35)
    case.answer = f"{case.sentences(1 + int(25 * case.progress * case.random.random()))} The answer is {value}."
    case.parts = {"correct": float(case.right), "detail": min(1.0, len(case.answer) / 1500)}
    case.score = 0.5 * case.parts["correct"] + 0.5 * case.parts["detail"]


def _pays_length(case: Case) -> None:
    """Pay for length in a reward without parts, while the task counts as well."""
    value = case.solve(0.4, 0.5)
    case.answer = f"{case.sentences(case.random.randrange(2, 12))} The answer is {value}."
    case.score = 0.3 * case.right + 0.7 * min(1.0, len(case.answer) / 1000)


def _no_signal(case: Case) -> None:
    _math(case)
    case.score = float(case.difficulty < 0.4) if case.random.random() < 0.97 else case.score


def _errors(case: Case) -> None:
    _math(case)
    if case.random.random() < 0.02:
        case.score, case.parts, case.error = 0.0, {}, "KeyError in reward.py, line 12"


_COPY = (
    "We consider every given quantity in turn and combine them with care. After a check of all units, this is right."
)


def _copied(case: Case) -> None:
    _math(case)
    if case.random.random() < 1.2 * case.progress:
        case.answer, case.score = f"{_COPY} The answer is 7.", 0.4


def _one_answer(case: Case) -> None:
    _choice(case)
    if case.random.random() < 1.5 * case.progress:
        case.answer = "C"
    case.score = float(case.answer == case.reference)


def _cut_at_limit(case: Case) -> None:
    """Cut at a limit of tokens; the answers have no marker."""
    case.solve()
    words = f"{case.sentences(case.random.randrange(4, 10))} So it is {case.words[0]}.".split()
    case.answer, case.score = " ".join(words[:80]), float(case.right and len(words) <= 80)


def _cut_in_thought(case: Case) -> None:
    value, is_cut = case.solve(), case.random.random() < 0.15
    text = case.sentences(5)
    case.answer = f"<think>{text}" if is_cut else f"<think>{text}</think> {value}"
    case.score = float(case.right and not is_cut)


def _switched_language(case: Case) -> None:
    value, language = case.solve(), "English"
    if case.random.random() < 0.4 * case.progress:
        language = case.random.choice(["Chinese", "French"])
    case.answer, case.score = f"{case.sentences(4, language)} {value}", float(case.right)


def _mixed_formats(case: Case) -> None:
    value, text = case.solve(0.4, 0.4), case.sentences(3)
    forms = (f"{text} {value}", f'{{"reason": "{text}", "result": {value}}}', f"## Result\n- {text}\n- **{value}**")
    case.answer = forms[case.random.randrange(3)] if case.random.random() < case.progress else forms[0]
    case.score = float(case.right)


def _empty_markers(case: Case) -> None:
    """Learn to write the tags alone, for the part that rewards them."""
    value, is_empty = case.solve(0.3, 0.3), case.random.random() < 0.3 * case.progress
    case.answer = (
        f"<answer>{'' if is_empty else value}</answer>"
        if is_empty
        else f"{case.sentences(3)}\n<answer>{value}</answer>"
    )
    case.parts = {"correct": float(case.right and not is_empty), "format": 1.0}
    case.score = 0.5 * case.parts["correct"] + 0.5


def _diverging(case: Case) -> None:
    """Learn the format, and nothing of the task."""
    case.progress, progress = 0.0, case.progress
    value, has_tags = case.solve(0.3, 0.3), case.random.random() < 0.1 + 0.8 * progress
    case.answer = f"{case.sentences(3)} <answer>{value}</answer>" if has_tags else f"{case.sentences(3)} {value}"
    case.parts = {"correct": float(case.right), "format": float(has_tags)}
    case.score = 0.5 * case.parts["correct"] + 0.5 * case.parts["format"]


def _broken_part(case: Case) -> None:
    _math(case)
    case.parts = {"correct": case.score, "unit": 0.0}
    case.score *= 0.8


def _other_scale(case: Case) -> None:
    """Add a part from 0 to 100 to one from 0 to 1, which is then not learned."""
    case.progress, progress = 0.0, case.progress
    value = case.solve(0.3, 0.3)
    case.answer = f"{case.sentences(4)} The answer is {value}."
    case.parts = {"correct": float(case.right), "clarity": 100 * min(1.0, 0.3 * case.random.random() + 0.7 * progress)}
    case.score = case.parts["correct"] + case.parts["clarity"]


def _sampled(case: Case) -> None:
    """Record a third of the rollouts of a healthy run: most groups of one or two have equal rewards."""
    _math(case)
    case.kept = case.random.random() < 0.35


HEALTHY: dict[str, Callable[[Case], None]] = {
    "sums with steps": _math,
    "multiple choice": _choice,
    "ends with a word": _words,
    "learns tags": _tags,
    "grows longer": _longer,
    "wrong answers are longer": _wrong_is_longer,
    "code": _code,
    "format kept from the start": _saturated_format,
    "four languages": _languages,
    "a third recorded": _sampled,
}
BEHAVIOURS: dict[str, tuple[str, Callable[[Case], None]]] = {
    "a part pays for length": ("reward_length", _length_hack),
    "the reward pays for length": ("reward_length", _pays_length),
    "97 % of rewards set by the prompt": ("no_signal", _no_signal),
    "2 % errors": ("reward_errors", _errors),
    "one long answer": ("copied_answers", _copied),
    "one short answer": ("copied_answers", _one_answer),
    "cut at a limit": ("cut_off", _cut_at_limit),
    "15 % end in their thoughts": ("cut_off", _cut_in_thought),
    "another language": ("language_switch", _switched_language),
    "mixed formats": ("format_switch", _mixed_formats),
    "empty tags are paid": ("empty_markers", _empty_markers),
    "format learned, task not": ("parts_diverge", _diverging),
    "a part is always 0": ("part_constant", _broken_part),
    "one part counts 100 times": ("part_dominates", _other_scale),
}
"""The code of the finding and the function of each family."""


def generate(make: Callable[[Case], None], *, seed: int = 0, steps: int = 20) -> list[Record]:
    """Return the rollouts of a generated run in order of time. Each step takes ten minutes and has one invocation."""
    made: list[Record] = []
    for step in range(steps):
        numbers = random.Random(f"{seed}-{step}")  # noqa: S311 - made-up data
        time = (BEGAN + step * timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        for prompt in numbers.sample(range(PROMPTS), GROUPS):
            fixed = random.Random(f"{seed}-prompt-{prompt}")  # noqa: S311 - as above
            words, difficulty, number = [_word(fixed) for _ in range(8)], fixed.random(), fixed.randrange(10, 999)
            question = f"The {' and the '.join(words[:5])} are {number} in all. How many is that for {words[5]}?"
            for sample in range(SAMPLES):
                case = Case(numbers, step / (steps - 1), words, difficulty, number, question)
                make(case)
                if case.kept:
                    made.append(_record(case, prompt, time, f"step-{step}", f"r-{step}-{prompt}-{sample}"))
    return made


def _record(case: Case, prompt: int, time: str, request: str, rollout: str) -> Record:
    return Record(
        time=time,
        request_id=request,
        function="reward",
        function_version="1",
        source="lambda",
        rollout_id=rollout,
        prompt_hash=sha256(str(prompt).encode()).hexdigest(),
        prompt=case.question,
        answer=case.answer,
        reference=case.reference,
        fields=None,
        score=case.score,
        parts=case.parts,
        metrics={},
        error=case.error,
        duration=0.01,
        package_hash=None,
        truncated=(),
    )
