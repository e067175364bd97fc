"""Graders that compare the final answer with the reference: as text, as a number, as a choice, as a pattern."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.extraction import exact_number, final_answer
from bedrock_rft.rewards._runtime.reward import Leaf, validate_name
from bedrock_rft.rewards._runtime.rollout import Rollout, finite_float

__all__ = ["Choice", "Exact", "Matches", "Numeric"]

_LONGEST = 100_000
"""Characters of an answer that a pattern is tried on."""


@dataclass(frozen=True, eq=False, repr=False)
class Exact(Leaf):
    r"""1 where the answer is the reference as text, after its final answer has been taken out and spaces evened.

    The final answer is what stands after the last `####`, else in the last `\boxed{…}`, else all of it; or of what is
    in `<answer>…</answer>`, where that is there. A reference
    that is a list holds every answer that is accepted. Text is compared in Unicode's NFKC form, without spaces and full
    stops at its ends.

    Attributes:
        ignore_case: whether `Paris` and `paris` are one answer.
        whole: compare the whole answer, without taking a final one out.
        name: in `metrics_list`.
    """

    ignore_case: bool = True
    whole: bool = False
    name: str = "exact"

    def __post_init__(self) -> None:
        validate_name(self.name)

    def grade(self, rollout: Rollout) -> bool:
        reference = rollout.reference
        accepted = cast("Sequence[Any]", reference) if isinstance(reference, list) else [reference]
        answer = self._folded(rollout.answer)
        return bool(answer) and any(self._folded(_spelled(one)) == answer for one in accepted if one is not None)

    def _folded(self, text: str) -> str:
        final = text if self.whole else final_answer(text)
        found = " ".join(unicodedata.normalize("NFKC", final).split()).strip(" .")
        return found.casefold() if self.ignore_case else found


@dataclass(frozen=True, eq=False, repr=False)
class Numeric(Leaf):
    r"""1 where the number the answer comes to is the reference's.

    It is the number after the last `####`, else the one in the last `\boxed{…}`, else the last one in the text. Of
    several the last counts, so that a list of guesses is no way to be right. Thousands separators, currencies,
    fractions (`1/2`, `\frac{1}{2}`), mixed numbers, powers of ten and units are read; numbers are compared exactly, not
    as floats. The reference is a number, or text that is read the same way, such as a worked GSM8K solution.

    Attributes:
        tolerance: by how much the numbers may differ.
        relative: by which share of the reference they may differ.
        name: in `metrics_list`.
    """

    tolerance: float = 0.0
    relative: float = 0.0
    name: str = "numeric"

    def __post_init__(self) -> None:
        validate_name(self.name)
        if finite_float(self.tolerance, "tolerance") < 0 or finite_float(self.relative, "relative") < 0:
            raise ValueError("tolerance and relative are not negative")

    def grade(self, rollout: Rollout) -> bool:
        wanted, found = exact_number(rollout.reference), exact_number(rollout.answer)
        if wanted is None:
            raise ValueError("the reference holds no number")
        if found is None:
            return False
        room = max(Fraction(repr(float(self.tolerance))), Fraction(repr(float(self.relative))) * abs(wanted))
        return abs(found - wanted) <= room


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Leaf):
    r"""1 where the answer names the choice that the reference names.

    Read are `B`, `(B)`, `B.`, `\boxed{B}`, `#### B`, `Answer: B`, `the answer is (b)`. An answer that names two choices
    names none. Where the record has its options in a field, as a list or by letter, the text of an option will do too.

    Attributes:
        letters: of the choices.
        options: the record field with their texts, where there is one.
        name: in `metrics_list`.
    """

    letters: str = "ABCDE"
    options: str = "options"
    name: str = "choice"

    def __post_init__(self) -> None:
        validate_name(self.name)
        if not self.letters.isalnum() or len(set(self.letters.upper())) != len(self.letters):
            raise ValueError(f"letters are the choices, each once, such as 'ABCD', not {self.letters!r}")

    def grade(self, rollout: Rollout) -> bool:
        texts = self._texts(rollout.extra.get(self.options))
        wanted = self._named(_spelled(rollout.reference), texts)
        if wanted is None:
            raise ValueError("the reference names none of the choices")
        return self._named(rollout.answer, texts) == wanted

    def _texts(self, options: Any) -> Mapping[str, str]:
        if isinstance(options, Mapping):
            given = cast("Mapping[str, Any]", options)
            return {_folded(text): str(letter).upper() for letter, text in given.items()}
        if isinstance(options, Sequence) and not isinstance(options, (str, bytes)):
            listed: Sequence[Any] = cast("tuple[Any, ...]", options)
            return {_folded(text): letter for letter, text in zip(self.letters.upper(), listed, strict=False)}
        return {}

    def _named(self, answer: str, texts: Mapping[str, str]) -> str | None:
        final = final_answer(answer[-_LONGEST:]).strip()
        if (text := texts.get(_folded(final))) is not None:
            return text
        alone, said = _choice_patterns(self.letters.upper())
        match = alone.fullmatch(final)
        if match:
            return match.group(1).upper()
        found = [hit.group(1).upper() for hit in said.finditer(final)]
        if not found:
            return None
        # "The answer is A or B" hedges, "at first A, but the answer is B" does not: what is said last counts.
        tail = final[list(said.finditer(final))[-1].end() :]
        return None if re.match(rf"\W{{0,3}}\s*(?:or|and|/|,)\s*\(?[{self.letters.upper()}]\b", tail) else found[-1]


@lru_cache(maxsize=64)
def _choice_patterns(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    one = f"[{letters}{letters.lower()}]"
    dressed = r"(?:\\(?:text|textbf|mathrm|mathbf|boxed)\s?\{)?"
    alone = re.compile(
        rf"\W{{0,4}}{dressed}\W{{0,2}}({one})\W{{0,4}}(?::.{{0,500}}|\).{{0,500}}|\..{{0,500}})?", re.DOTALL
    )
    said = re.compile(
        rf"(?:answer|choice|option)\s?(?:is|:|=)?[\s(\[\"'*$\\]{{0,4}}{dressed}[\s(]{{0,2}}({one})(?![\w'])",
        re.IGNORECASE,
    )
    return alone, said


@dataclass(frozen=True, eq=False, repr=False)
class Matches(Leaf):
    """1 where a regular expression is found in the answer.

    A pattern can take very long on a hostile answer; it is tried on its last 100,000 characters only, and should not
    nest repetitions.

    Attributes:
        pattern: in Python's syntax.
        flags: of `re`, as a number, such as `re.IGNORECASE`.
        whole: whether it has to match all of the answer.
        name: in `metrics_list`.
    """

    pattern: str
    flags: int = 0
    whole: bool = False
    name: str = "matches"

    def __post_init__(self) -> None:
        validate_name(self.name)
        try:
            re.compile(self.pattern, self.flags)
        except (re.error, TypeError) as error:
            raise ValueError(f"pattern is no regular expression: {error}") from error
        object.__setattr__(self, "flags", int(self.flags))

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self.flags)

    def grade(self, rollout: Rollout) -> bool:
        answer = rollout.answer[-_LONGEST:]
        return (self._compiled.fullmatch if self.whole else self._compiled.search)(answer) is not None


def _folded(value: Any) -> str:
    return " ".join(unicodedata.normalize("NFKC", _spelled(value)).split()).strip(" .").casefold()


def _spelled(value: Any) -> str:
    """A reference as the text it is compared as: numbers and truth values as JSON spells them."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
