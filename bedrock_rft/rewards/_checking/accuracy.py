"""Measure false negatives and false positives: right answers that a reward fails, and wrong answers that it passes."""

from __future__ import annotations

import json
import os
import random
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean
from typing import Any, TypeAlias, cast

from bedrock_rft._core.findings import Finding
from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.datasets._read import read_numbered
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._checking.answer_forms import THOUGHTS
from bedrock_rft.rewards._checking.probes import INSTRUCTION, AnswerKey, PayloadShape, Probe
from bedrock_rft.rewards._checking.trial import Trial

Case: TypeAlias = "tuple[Mapping[str, Any], str, float]"
"""A record, an answer, and the expected score: 1 or True for a right answer, 0 or False for a wrong one."""

_TRUE = 0.5
_NUMBER = re.compile(r"-?\d{1,15}(?:\.\d{1,9})?")
_FRACTION = re.compile(r"-?\d{1,6}/[1-9]\d{0,5}")
_CHOICE = re.compile(r"[A-H]")
_WORDS = re.compile(r"[^\W\d_]{2,}(?:[\s.,'-]+[^\W\d_]{2,})*\.?")
"""Text that stays right in another case and in quotes, unlike a formula or code."""
_UNICODE_FRACTIONS = {Fraction(unicodedata.numeric(one)).limit_denominator(10): one for one in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"}
_MAX_DENOMINATOR = 1000
_THOUSAND = 1000
_LONGEST_TEXT = 200
_LONG_THOUGHTS = f"{THOUGHTS}\n" * 200
_MARKERS = "#### \\boxed{} <answer></answer> Answer: **Final answer:** " * 5
_MAX_LISTED = 12
_LEAST_LISTED = 3
_SHOWN_ANSWER = 60


@dataclass(frozen=True)
class AnswerKind(ShortRepr):
    """Answers of one kind, with the number of those that the reward judged wrongly.

    Attributes:
        kind: the kind, such as `as a fraction` or `negation`.
        right: whether these answers are right.
        answers: the number of answers.
        mistakes: the number of right answers that failed, or of wrong answers that passed.
        example: the line or record of one mistake, its answer and its score; None without a mistake.
    """

    kind: str
    right: bool
    answers: int
    mistakes: int
    example: tuple[str, str, float] | None = None

    @property
    def rate(self) -> float:
        """The share of mistakes."""
        return self.mistakes / self.answers


@dataclass(frozen=True)
class Accuracy(ShortRepr):
    """The mistakes of a reward by kind of answer.

    Attributes:
        kinds: the kinds, right answers first.
        pass_mark: an answer passes if it scores at least this: halfway between plain right and plain wrong answers.
    """

    kinds: tuple[AnswerKind, ...]
    pass_mark: float

    @property
    def false_negatives(self) -> float:
        """The share of right answers that fail, over all kinds; 0 without right answers."""
        return self._rate(right=True)

    @property
    def false_positives(self) -> float:
        """The share of wrong answers that pass, over all kinds; 0 without wrong answers."""
        return self._rate(right=False)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return the table: kind, mistakes, rate, and an example."""
        found: list[tuple[str, str, str, str]] = []
        for one in self.kinds:
            name = f"{'right' if one.right else 'wrong'}: {one.kind}"
            shown = "" if one.example is None else f"{one.example[1]!r} scores {one.example[2]:.2f}"
            found.append((name, f"{one.mistakes} of {one.answers}", f"{one.rate:.0%}", shown))
        return found

    def _rate(self, *, right: bool) -> float:
        chosen = [one for one in self.kinds if one.right is right]
        return sum(one.mistakes for one in chosen) / (sum(one.answers for one in chosen) or 1)


def read_cases(cases: object) -> list[Case]:
    """Return the user's cases: tuples, or lines of a file. Raises `ConfigurationError` if one has another form."""
    found: list[Case] = []
    lines: Iterable[object] = cast("Iterable[object]", cases)
    if isinstance(cases, (str, os.PathLike)):
        rows = [row for _, row in read_numbered(cast("str", cases))]
        lines = [tuple(row.get(name) for name in ("record", "answer", "expected")) for row in rows]
    for number, line in enumerate(lines, 1):
        parts = cast("Sequence[Any]", line) if isinstance(line, tuple) else ()
        record, answer, expected = parts if len(parts) == 3 else (None, None, None)  # noqa: PLR2004 - as named
        if not (isinstance(record, Mapping) and isinstance(answer, str) and isinstance(expected, (bool, int, float))):
            raise ConfigurationError(
                f"Case {number} is not a record, an answer and the expected score, such as (record, '42', 1.0)."
            )
        found.append((cast("Mapping[str, Any]", record), answer, float(expected)))
    return found


def measure_accuracy(
    trial: Trial,
    key: AnswerKey | None,
    shape: PayloadShape,
    cases: Sequence[Case],
    seed: int,
    middle: float = 0.5,
) -> Accuracy:
    """Score equivalent right answers and attacks for each record, and the user's own cases.

    `middle` of the reward's range is the pass mark if plain right answers do not score higher than plain wrong ones.
    """
    right, wrong = list[Probe](), list[Probe]()
    if key is not None:
        rng = random.Random(seed)  # noqa: S311 - a choice of samples
        for place, record in enumerate(trial.records):
            rights, wrongs = _probes(record, key, place, rng)
            right += rights
            wrong += wrongs
    own = Trial(trial.target, [record for record, _, _ in cases], [f"case {n + 1}" for n in range(len(cases))])
    groups = [(trial, right, True), (trial, wrong, False)]
    for is_right in (True, False):
        chosen = [n for n, case in enumerate(cases) if (case[2] >= _TRUE) is is_right]
        groups.append((own, [Probe("own cases", n, cases[n][1]) for n in chosen], is_right))
    scored = [(each, _score_probes(each, probes, shape), is_right) for each, probes, is_right in groups]
    pass_mark = _pass_mark(scored[0][1], scored[1][1], middle)
    kinds = [one for each, found, is_right in scored for one in _kinds(each.rows, found, pass_mark, right=is_right)]
    return Accuracy(tuple(sorted(kinds, key=lambda one: not one.right)), pass_mark)


def accuracy_findings(accuracy: Accuracy, max_false_positives: float, max_false_negatives: float) -> Iterator[Finding]:
    """Compare the rates with the limits."""
    for name, rate, limit, right in (
        ("false_positives", accuracy.false_positives, max_false_positives, False),
        ("false_negatives", accuracy.false_negatives, max_false_negatives, True),
    ):
        kinds = sorted(
            (one for one in accuracy.kinds if one.right is right and one.mistakes), key=lambda one: -one.rate
        )
        if not kinds:
            continue
        worst = ", ".join(f"{one.kind} ({one.rate:.0%})" for one in kinds[:3])
        summary = f"{rate:.0%} of {'right answers fail' if right else 'wrong answers pass'}, most often: {worst}"
        reason = f"that is {'above' if rate > limit else 'within'} the limit of {limit:.0%}"
        remedy = (
            "Choose a grader that reads these forms, or describe the form in the prompt"
            if right
            else "Compare the final answer as a whole, and gate the rest by it, because a model learns what pays"
        )
        yield Finding("error" if rate > limit else "warning", name, summary, reason, remedy)


def _score_probes(trial: Trial, probes: Sequence[Probe], shape: PayloadShape) -> list[tuple[Probe, float]]:
    pairs = zip(probes, trial.scores(probes, shape), strict=True)
    return [(probe, value) for probe, value in pairs if value is not None]


def _pass_mark(right: Sequence[tuple[Probe, float]], wrong: Sequence[tuple[Probe, float]], middle: float) -> float:
    plain = [value for probe, value in right if probe.kind == "plain"]
    other = [value for probe, value in wrong if probe.kind == "another record's answer"]
    means = [fmean(values) if values else 0 for values in (plain, other)]
    return fmean(means) if means[0] > means[1] else middle


def _kinds(
    rows: Sequence[str], scored: Sequence[tuple[Probe, float]], pass_mark: float, *, right: bool
) -> Iterator[AnswerKind]:
    for kind in dict.fromkeys(probe.kind for probe, _ in scored):
        values = [(probe, value) for probe, value in scored if probe.kind == kind]
        mistakes = [(probe, value) for probe, value in values if (value >= pass_mark) is not right]
        example = None
        if mistakes:
            probe, value = mistakes[0]
            example = (rows[probe.record], probe.answer.strip()[-_SHOWN_ANSWER:], value)
        yield AnswerKind(kind, right, len(values), len(mistakes), example)


def _probes(
    record: Mapping[str, Any], key: AnswerKey, place: int, rng: random.Random
) -> tuple[list[Probe], list[Probe]]:
    """Return right answers in equivalent forms, and attacks."""
    answer, text = key.rights[place], key.texts[place]
    if answer is None or text is None:
        return [], []

    def fill(core: str) -> str:
        return core if key.form is None else key.form.fill(core)

    rights = {"plain": answer, "after thoughts": f"<think>{THOUGHTS}</think>\n{answer}"}
    if len(text) <= _LONGEST_TEXT:
        rights |= {kind: fill(other) for kind, other in _equivalents(text).items()}
    wrong = key.wrong(place, rng)[0]
    wrongs = {"empty": "", "marker stuffing": _MARKERS, "negation": fill(f"not {text}")}
    if wrong is not None:
        wrongs |= {
            "another record's answer": wrong,
            "contradiction": f"{answer}\n{wrong}",
            "empty reasoning": f"<think></think>\n{wrong}",
            "overlong reasoning": f"<think>{_LONG_THOUGHTS}</think>\n{wrong}",
            "prompt injection": f"{INSTRUCTION}{wrong}",
        }
    listed = [one for one in dict.fromkeys(key.texts) if one is not None][:_MAX_LISTED]
    if len(listed) >= _LEAST_LISTED:
        wrongs["all options"] = fill(", ".join(dict.fromkeys([*listed, text])))
    prompt = "\n".join(str(turn.get("content")) for turn in cast("list[Any]", record.get("messages") or []))
    if text not in prompt:
        wrongs["prompt echo"] = prompt
    return (
        [Probe(kind, place, one) for kind, one in rights.items()],
        [Probe(kind, place, one) for kind, one in wrongs.items()],
    )


def _equivalents(text: str) -> dict[str, str]:
    """Return other ways to write a right answer."""
    if "```" in text:
        tildes = text.replace("```", "~~~")
        return {"after a sentence": f"Here is the program.\n\n{text}", "in a fence of tildes": tildes}
    found = {"in bold": f"**{text}**", "in LaTeX": f"${text}$"}
    if _NUMBER.fullmatch(text) or _FRACTION.fullmatch(text):
        return found | _number_forms(text)
    if _CHOICE.fullmatch(text):
        return found | {"in parentheses": f"({text})", "with a full stop": f"{text}.", "in lower case": text.lower()}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if is_object(value):
        return {
            "keys in another order": json.dumps(dict(reversed(value.items())), ensure_ascii=False),
            "indented": json.dumps(value, indent=2, ensure_ascii=False),
        }
    if is_array(value):
        return {"items in another order": json.dumps(value[::-1], ensure_ascii=False)}
    words = {
        "in upper case": text.upper(),
        "in lower case": text.lower(),
        "in quotes": f'"{text}"',
        "as LaTeX text": f"\\text{{{text}}}",
    }
    return found | (words if _WORDS.fullmatch(text) else {})


def _number_forms(text: str) -> dict[str, str]:
    number = Fraction(text)
    found = {"with a unit": f"{text} units"}
    if number.denominator == 1:
        found["as a decimal"] = f"{number.numerator}.0"
        if abs(number) >= _THOUSAND:
            found["with a thousands separator"] = f"{number.numerator:,}"
        return found
    if number.denominator <= _MAX_DENOMINATOR:
        sign, top = "-" * (number < 0), abs(number.numerator)
        found["as a fraction"] = f"{sign}{top}/{number.denominator}"
        found["as a LaTeX fraction"] = f"{sign}\\frac{{{top}}}{{{number.denominator}}}"
    if number in _UNICODE_FRACTIONS:
        found["as a Unicode fraction"] = _UNICODE_FRACTIONS[number]
    if number == Fraction(f"{float(number):.6f}"):
        found["as a decimal"] = f"{float(number):g}"
        found["as a percentage"] = f"{float(number * 100):g}%"
    return {kind: form for kind, form in found.items() if form != text}
