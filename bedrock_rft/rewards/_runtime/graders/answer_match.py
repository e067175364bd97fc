"""Graders that compare the final answer with the reference: as text, as a number, as a choice, or with a pattern."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.choices import parse_choice
from bedrock_rft.rewards._runtime.graders.extraction import find_final_answer, strip_thoughts
from bedrock_rft.rewards._runtime.graders.latex import canonical_text, normalize_spaces
from bedrock_rft.rewards._runtime.graders.numbers import answer_number, reference_number
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout, finite_float

_MAX_CHARACTERS = 100_000
_ROUNDING = 1e-9
_ANSWER_PHRASE = re.compile(
    r"(?:answer|result)\s?(?:is|:|=)?\s?(?:\*\*)?\s?(?:(?<=is):|(?<=is\s):)?\s?(?<=[s:=*\s])\s?([^\n]{1,400})",
    re.IGNORECASE,
)
_JSON_FIELD = re.compile(
    r'"(?:(?:final|correct|right)[_ ]?)?(?:answer|choice|option|letter)"\s*:\s*"([^"\n]{1,400})"', re.IGNORECASE
)
_QUOTED = re.compile(
    r"(?:'(?<!\w')[^']{0,2000}'|\"(?<!\w\")[^\"]{0,2000}\"|\u201c(?<!\w\u201c)[^\u201c\u201d]{0,2000}\u201d)(?!\w)"
)
_SCALE_WORD = re.compile(r"(?<=\d)[\s-]?(?:hundred|thousand|million|billion|trillion)\b", re.IGNORECASE)


@dataclass(frozen=True, eq=False, repr=False)
class Exact(Leaf):
    r"""Score 1 if the final answer is the reference as text.

    The final answer is the text after the last `####`, otherwise the content of the last `\boxed{…}`, otherwise the
    text after "The answer is", otherwise everything after the thoughts. If there is `<answer>…</answer>` or a JSON
    field such as `"answer": "…"`, the search is limited to it. A reference that is a list has all accepted answers.

    Both texts are normalized as in `is_equiv` of the MATH dataset: `\text{}`, bold, `\left` and `\right`, `\dfrac`,
    spaces, degrees, percent and dollar signs, units in `\text{}`, a short `x =`; also 12.0 and 12, `\frac12` and 1/2,
    and thousands separators. Otherwise, texts are compared in Unicode's NFKC form, without spaces and full stops
    at their ends, and without quotes around the whole text; inside quotes, spaces count. Values are not computed: use
    `MathEqual` for that.

    Attributes:
        ignore_case: treat `Paris` and `paris` as equal.
        whole: compare the whole answer after the thoughts, without extraction and without the LaTeX rules.
        name: the name in `metrics_list`.
    """

    ignore_case: bool = True
    whole: bool = False
    name: str = "exact"

    def grade(self, rollout: Rollout) -> bool:
        reference = rollout.reference
        accepted = cast("Sequence[Any]", reference) if isinstance(reference, list) else [reference]
        references = [_to_text(one) for one in accepted if one is not None]
        return any(self._equal(answer, one) for answer in self._candidates(rollout.answer) for one in references)

    def _candidates(self, text: str) -> list[str]:
        """Return the texts that may be the final answer: the delimited text, all text, and the text after a phrase."""
        if self.whole:
            return [strip_thoughts(text)]
        final = find_final_answer(text)
        phrases = list(_ANSWER_PHRASE.finditer(final[-2000:]))
        return [*dict.fromkeys([str(final), strip_thoughts(text), *(match.group(1) for match in phrases[-1:])])]

    def _equal(self, answer: str, reference: str) -> bool:
        if not self.whole and not reference.lstrip().startswith("{"):
            reference = str(find_final_answer(reference))
        plain, wanted = self._fold(answer), self._fold(reference)
        if not plain or self.whole:
            return bool(plain) and plain == wanted
        texts = [text.strip().casefold() if self.ignore_case else text.strip() for text in (answer, reference)]
        quoted = [_QUOTED.findall(text) for text in texts]
        if [texts[0]] == quoted[0] and [texts[1]] == quoted[1]:
            return texts[0][1:-1] == texts[1][1:-1]
        if [texts[0]] == quoted[0] or [texts[1]] == quoted[1]:
            return _unquote(texts[0]).strip(" .") == _unquote(texts[1]).strip(" .")
        if len(quoted[0]) == len(quoted[1]) and quoted[0] != quoted[1]:  # spaces count inside quotes
            return False
        if plain == wanted:
            return True
        canonical = canonical_text(answer)
        canonical = plain if canonical is answer else self._fold(canonical)
        return bool(canonical) and canonical == self._fold(canonical_text(reference))

    def _fold(self, text: str) -> str:
        folded = normalize_spaces(text)
        return folded.casefold() if self.ignore_case else folded


@dataclass(frozen=True, eq=False, repr=False)
class Numeric(Leaf):
    r"""Score 1 if the final answer is the same plain number as the reference.

    The answer is the number after the last `####`, otherwise the number in the last `\boxed{…}`, otherwise the last
    number in the text. Thousands separators (comma, space, apostrophe, underscore), currencies, fractions (`1/2`,
    `\frac{1}{2}`), mixed numbers, powers of ten and units are read. An answer with roots, powers, variables,
    subscripts, several numbers, or an operation that is not carried out is not a number and scores 0.

    The reference is a number, or text with one number, such as a GSM8K solution that ends in `#### 42`.

    Attributes:
        tolerance: the largest absolute difference.
        relative: the largest difference as a share of the reference. The default makes a fraction and its float, such
            as 2/7 and 0.2857142857142857, equal; it does not apply to two integers.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference is not a plain number. Use `MathEqual` for such references.
    """

    tolerance: float = 0.0
    relative: float = _ROUNDING
    name: str = "numeric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if finite_float(self.tolerance, "tolerance") < 0 or finite_float(self.relative, "relative") < 0:
            raise ValueError("tolerance and relative must not be negative")

    def grade(self, rollout: Rollout) -> bool:
        wanted = reference_number(rollout.reference)
        if wanted is None:
            raise ValueError("the reference is not a plain number; use MathEqual() for formulas, and Exact() for text")
        answer = rollout.answer
        if self._equal(answer_number(answer), wanted):
            return True
        # If the question asks for millions, "4 million" is a right answer for 4.
        unscaled = _SCALE_WORD.sub("", answer[-_MAX_CHARACTERS:])
        return unscaled != answer[-_MAX_CHARACTERS:] and self._equal(answer_number(unscaled), wanted)

    def _equal(self, number: Fraction | None, wanted: Fraction) -> bool:
        if number is None:
            return False
        exact = number.denominator == wanted.denominator == 1 and self.relative <= _ROUNDING
        relative = Fraction(0) if exact else Fraction(repr(float(self.relative)))
        return abs(number - wanted) <= max(Fraction(repr(float(self.tolerance))), relative * abs(wanted))


@dataclass(frozen=True, eq=False, repr=False)
class Choice(Leaf):
    r"""Score 1 if the answer names the same choice as the reference.

    Accepted forms include `B`, `(B)`, `B.`, `B) Paris`, `\boxed{B}`, `#### B`, `Answer: B`, `the answer is (b)` and
    JSON such as `{"answer": "B"}`. The last answer phrase decides, such as "the closest option is C". A phrase does not
    count before "the answer is none of the above", nor in a further question that the model invents. An answer that
    lists several choices, such as `A. B. C. D.` or `A or B`, scores 0. If the record has a field with the options, as a
    list or by letter, the text of an option is accepted too, alone or quoted with its letter, as in "it is called B.
    Paris".

    Attributes:
        letters: the letters of the choices.
        options: the record field with the texts of the options, if there is one.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference does not name a choice.
    """

    letters: str = "ABCDE"
    options: str = "options"
    name: str = "choice"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.letters.isalnum() or len(set(self.letters.upper())) != len(self.letters):
            raise ValueError(f"letters must be different letters or digits, such as 'ABCD', not {self.letters!r}")

    def grade(self, rollout: Rollout) -> bool:
        texts = self._option_texts(rollout.extra.get(self.options))
        wanted = self._parse(_to_text(rollout.reference), texts)
        if wanted is None:
            raise ValueError(f"the reference does not name one of the choices {', '.join(self.letters.upper())}")
        return self._parse(rollout.answer, texts) == wanted

    def _option_texts(self, options: Any) -> Mapping[str, str]:
        """Return the letter of each option by its normalized text."""
        if isinstance(options, Mapping):
            by_letter = cast("Mapping[str, Any]", options)
            return {_fold_option(text): str(letter).upper() for letter, text in by_letter.items()}
        if isinstance(options, Sequence) and not isinstance(options, (str, bytes)):
            texts: Sequence[Any] = cast("tuple[Any, ...]", options)
            return {_fold_option(text): letter for letter, text in zip(self.letters.upper(), texts, strict=False)}
        return {}

    def _parse(self, answer: str, texts: Mapping[str, str]) -> str | None:
        text = strip_thoughts(answer[-_MAX_CHARACTERS:])
        fields = _JSON_FIELD.findall(text) if text.rstrip("` \n").endswith("}") else []
        final = find_final_answer(text)
        letters = {self._parse_text(one, texts, marked=final.marked) for one in fields or [final]}
        if letters == {None} and final.marked and "<answer>" not in answer.lower():
            rest = re.sub(r"\\[a-z]+|\b(?:and|or)\b|[\W_]", "", final)
            # A value in a box, as in "\boxed{17}. The answer is B", is not the choice.
            if set(rest) - set(self.letters.upper()) or not rest:
                letters = {self._parse_text(text, texts, marked=True)}
        return letters.pop() if len(letters) == 1 else None

    def _parse_text(self, text: str, texts: Mapping[str, str], *, marked: bool) -> str | None:
        letter = text.strip().upper()
        if len(letter) == 1 and letter in self.letters.upper():  # a letter, even if it is also the text of an option
            return letter
        option = texts.get(_fold_option(str(text))) if texts else None
        return option or parse_choice(text, self.letters.upper(), options=texts, marked=marked)


@dataclass(frozen=True, eq=False, repr=False)
class Matches(Leaf):
    """Score 1 if a regular expression matches the answer, without a reasoning model's thoughts.

    A pattern can take very long on a hostile answer. Only the last 100,000 characters are searched, and a pattern
    should not nest repetitions.

    Attributes:
        pattern: a regular expression in Python's syntax.
        flags: flags of the `re` module, such as `re.IGNORECASE`.
        whole: require a match of the whole answer instead of a part.
        name: the name in `metrics_list`.
    """

    pattern: str
    flags: int = 0
    whole: bool = False
    name: str = "matches"

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            re.compile(self.pattern, self.flags)
        except (re.error, TypeError) as error:
            raise ValueError(f"pattern {self.pattern!r} is not a regular expression: {error}") from error
        object.__setattr__(self, "flags", int(self.flags))

    @cached_property
    def _compiled(self) -> re.Pattern[str]:
        return re.compile(self.pattern, self.flags)

    def grade(self, rollout: Rollout) -> bool:
        answer = strip_thoughts(rollout.answer)[-_MAX_CHARACTERS:]
        if len(answer) < len(rollout.answer):
            answer = answer.lstrip()
        return (self._compiled.fullmatch if self.whole else self._compiled.search)(answer) is not None


def _unquote(text: str) -> str:
    """Return a text without the quotes around the whole of it."""
    return text[1:-1] if _QUOTED.fullmatch(text) else text


def _fold_option(value: Any) -> str:
    return normalize_spaces(_to_text(value)).casefold()


def _to_text(value: Any) -> str:
    """Return a reference as text; numbers and booleans are written as in JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
