"""`MathEqual`: a grader that compares mathematical expressions with the library math-verify."""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

from bedrock_rft.rewards._runtime.deadline import run_until
from bedrock_rft.rewards._runtime.graders.extraction import find_final_answer
from bedrock_rft.rewards._runtime.graders.latex import canonical_text, roots_to_latex
from bedrock_rft.rewards._runtime.graders.numbers import parse_number
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout, finite_float

_MAX_CHARACTERS = 500
_MAX_DEPTH = 12
_MAX_EXPONENT = 6
_REQUIREMENTS = ("math-verify", "latex2sympy2_extended", "antlr4-python3-runtime", "sympy", "mpmath")
_ANSWER_PHRASE = re.compile(r"answer\s?(?:is|:)?\s?(?:\*\*)?\s?:?\s?([^\n]{1,400})", re.IGNORECASE)
_DELIMITED = re.compile(
    r"\$\$(.{1,900}?)\$\$|\$(?!\s)([^$\n]{1,900})(?<![\s,])\$(?!\d)|\\\((.{1,900}?)\\\)|\\\[(.{1,900}?)\\\]", re.DOTALL
)
_LARGE_VALUE = re.compile(
    r"\^\s?\{?\s?[-+]?\d{5,}|\d{5,}\s?!|!\s?!|\^\s?[{(]{0,2}\s?[-+]?\d{1,9}\s?[})]?\s?\^|\d\s?\^\s?\{?\s?\d{4,}|\d!\s?\^|\^\s?\{[^{}]*!"
)
"""Powers and factorials that would take too long to compute."""

_COMMAND = re.compile(
    r"\\(?:begin|end|text|mathrm|mbox|operatorname)\s?\{[^{}]*\}|\\[A-Za-z]+|"
    r"\b(?:sin|cos|tan|cot|sec|csc|log|exp|sqrt|pi|inf|infty|infinity|arcsin|arccos|arctan|sinh|cosh|tanh|min|max|gcd|lcm)\b"
)
_WORD = re.compile(r"[A-Za-z]{4,}|(?<![A-Za-z])(?:the|and|yes|not|was|for)(?![A-Za-z])")


@dataclass(frozen=True, eq=False, repr=False)
class MathEqual(Leaf):
    r"""Score 1 if the final answer is mathematically equal to the reference. Needs the library math-verify.

    Fractions, roots, powers, constants, polynomials, tuples, sets, intervals, equations and matrices in LaTeX or plain
    notation are compared symbolically: `\frac{\sqrt{3}}{3}` equals `1/\sqrt{3}`. Units and percent signs are ignored.
    Plain numbers are compared as in `Numeric`. A comparison takes 5 to 10 ms; for plain numbers, `Numeric` is faster.

    The answer is the text after the last `####`, otherwise the content of the last `\boxed{…}`, otherwise the text
    after "the answer is", otherwise the last formula between dollar signs or the last line.

    Attributes:
        digits: the number of significant digits to which decimals have to agree.
        seconds: the time limit for parsing and for comparing one answer.
        name: the name in `metrics_list`.

    Raises:
        ImportError: math-verify is not installed; run pip install 'bedrock_rft[math]'.
        ValueError: on scoring, the reference is not a mathematical expression.

    Source:
        https://github.com/huggingface/Math-Verify
    """

    digits: int = 6
    seconds: float = 3.0
    name: str = "math"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.digits < 1 or finite_float(self.seconds, "seconds") <= 0:
            raise ValueError("digits and seconds must be above 0")
        _import_math_verify()

    @property
    def requirements(self) -> tuple[str, ...]:
        return _REQUIREMENTS

    def grade(self, rollout: Rollout) -> bool:
        reference = rollout.reference
        if isinstance(reference, bool) or not isinstance(reference, (str, int, float)):
            raise ValueError(f"the reference must be text or a number, not {type(reference).__name__}")  # noqa: TRY004 - as for text
        wanted_text = _final_expression(str(reference))
        answer = _final_expression(rollout.answer)
        numbers = parse_number(answer), parse_number(wanted_text)
        try:
            wanted = _parse_reference(wanted_text, self.seconds)
        except ValueError:
            if numbers[1] is None:
                raise
            wanted = _parse_reference(str(numbers[1]), self.seconds)  # a number with a unit in words
        if not answer:
            return False
        if numbers[0] is not None and numbers[1] is not None:
            difference = abs(numbers[0] - numbers[1])
            return difference <= abs(numbers[1]) / 10**9 and (difference == 0 or numbers[1].denominator != 1)
        if canonical_text(answer) == canonical_text(wanted_text):
            return True
        parsed = _parse(answer, self.seconds)
        verify: Any = _import_math_verify().verify
        compare = partial(verify, wanted, parsed, float_rounding=self.digits, timeout_seconds=None)
        return bool(parsed and _run_within(compare, self.seconds))


def _run_within(function: Callable[[], Any], seconds: float) -> Any:
    """Return a function's result, or None if it raises or does not end in time."""
    results: list[Any] = []

    def call() -> None:
        with contextlib.suppress(Exception):
            results.append(function())

    run_until(call, time.monotonic() + seconds)
    return results[0] if results else None


def _import_math_verify() -> ModuleType:
    try:
        module = import_module("math_verify")
    except ImportError as error:
        raise ImportError(
            "MathEqual() needs math-verify: pip install 'bedrock_rft[math]'. In Lambda, package it too."
        ) from error
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # the library logs answers that it cannot parse
    return module


def _final_expression(text: str) -> str:
    """Return the part of a text that is the final expression."""
    answer = find_final_answer(text)
    found = str(answer)
    if not answer.marked:
        phrases = list(_ANSWER_PHRASE.finditer(found[-4000:]))
        lines = [line for line in found.split("\n") if line.strip()]
        found = phrases[-1].group(1) if phrases else (lines[-1] if lines else "")
        formulas = list(_DELIMITED.finditer(found[-2 * _MAX_CHARACTERS :]))
        if formulas:
            found = next(group for group in formulas[-1].groups() if group is not None)
    found = found.strip().strip("$*").strip().rstrip(".").strip()
    return found if len(found) <= _MAX_CHARACTERS else ""


def _parse(expression: str, seconds: float) -> list[Any]:
    """Return the forms as which math-verify reads an expression; an empty list for text that it cannot read."""
    if not expression or _LARGE_VALUE.search(expression) or not _is_balanced(expression):
        return []
    expression = re.sub(r"(?<=[\w)])\s?\*\*\s?(?=[\w({-])", "^", expression)
    expression = roots_to_latex(expression).lstrip("= ")
    parse: Any = _import_math_verify().parse
    for text in (f"\\boxed{{{expression}}}", *(() if "\\" in expression else (expression,))):
        forms: list[Any] = _run_within(partial(parse, text, parsing_timeout=None), seconds) or []
        if any(not isinstance(form, str) for form in forms):
            return forms
    return []


def _is_balanced(expression: str) -> bool:
    """Return whether braces are balanced and not nested too deeply. Otherwise the parser would take very long."""
    depth = 0
    for character in re.sub(r"\\[{}]", "", expression):
        if character in "({[":
            depth += 1
        elif character in ")}]":
            depth -= 1
        if not 0 <= depth <= _MAX_DEPTH:
            return False
    return depth == 0 and expression.count("^") <= _MAX_DEPTH


@lru_cache(maxsize=256)
def _parse_reference(expression: str, seconds: float) -> list[Any]:
    rest = _COMMAND.sub(lambda found: " " if "{" in found.group() else "0", expression)
    is_formula = re.search(r"\w", rest) is not None and not _WORD.search(rest)
    forms = _parse(expression, seconds) if is_formula else []
    if not forms:
        raise ValueError("the reference is not a mathematical expression; use Exact() for text")
    return forms
