"""The final answer, taken out of what a model wrote. Every function is linear in the text, however long and hostile."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

__all__ = ["after_marker", "boxed", "exact_number", "final_answer", "last_number", "strip_thoughts"]

_DIGITS = 400
"""Digits of a number that are worth reading: more are no answer, and cost time."""

_SIGN = r"[-+\u2212]?"
_SOME = rf"\d{{1,{_DIGITS}}}"
_NUMERAL = rf"(?:\d{{1,3}}(?:,\d{{3}}){{1,{_DIGITS // 3}}}(?!\d)|{_SOME})(?:\.{_SOME})?|\.{_SOME}"
_POWER = r"(?:\s?(?:[eE]|(?:\\times|\u00d7|\*|x)\s?10\s?\^)\s?\{?[-+\u2212]?\d{1,3}\}?)?"
_PLAIN = rf"(?:{_NUMERAL}){_POWER}"
_FRAC = rf"\\[dt]?frac\s?\{{\s?({_SIGN}{_SOME})\s?\}}\s?\{{\s?({_SIGN}{_SOME})\s?\}}"
# A sign belongs to a number only where nothing stands before it that it could be subtracted from.
_BEFORE = r"(?P<sign{0}>(?<![\w.)\]}}])[-+\u2212])?(?:(?:\\?\$|[\u20ac\u00a3\u00a5])\s?(?P<inner{0}>[-+\u2212])?)?"
_FOUND = re.compile(
    rf"{_BEFORE.format(1)}(?:(?P<whole>{_SOME})\s?)?{_FRAC}"
    rf"|{_BEFORE.format(2)}(?P<number>{_PLAIN})(?:\s?/\s?(?P<below>{_SOME})(?![\d/]))?"
)
_POWERS = re.compile(r"\s?(?:[eE]|(?:\\times|\u00d7|\*|x)\s?10\s?\^)\s?\{?([-+\u2212]?\d{1,3})\}?$")
_DIGIT = re.compile(r"\d")
_WINDOW = 10 * _DIGITS
_AFTER = 20
_SPACED = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,!])(?=\d{3}(?!\d))")
_SHORT = re.compile(r"\\[dt]?frac\s?(\d)\s?(\d)(?!\d)")
_MIXED = re.compile(r"(?<![\d/.,])(\d{1,15}) (\d{1,15})/(\d{1,15})(?![\d/])")


def strip_thoughts(text: str) -> str:
    """Return the text after the last `</think>`. A reasoning model's thoughts are never part of its answer."""
    return text.rpartition("</think>")[2]


def boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{…}`, braces inside it included; None where there is none."""
    start = text.rfind("\\boxed{")
    if start < 0:
        start = text.rfind("\\fbox{")
    if start < 0:
        return None
    begin = text.index("{", start) + 1
    depth = 1
    for match in re.finditer(r"[{}]", text[begin:]):
        depth += 1 if match.group() == "{" else -1
        if not depth:
            return text[begin : begin + match.start()].strip()
    return None


def after_marker(text: str, marker: str = "####") -> str | None:
    """The rest of the line after the last marker, as GSM8K writes its answers; None where there is none."""
    place = text.rfind(marker)
    if place < 0:
        return None
    return text[place + len(marker) :].lstrip(" \t:").partition("\n")[0].strip() or None


def final_answer(text: str) -> str:
    r"""What a worked answer comes to: after its last `####`, else in its last `\boxed{…}`, else all of it.

    Where there is `<answer>…</answer>`, only what stands in the last one counts.
    """
    text = _tagged(text)
    marked = after_marker(text)
    if marked is not None:
        return marked
    found = boxed(text)
    return text if found is None else found


def _tagged(text: str) -> str:
    start = text.rfind("<answer>")
    if start < 0:
        return text
    inside, closed, _ = text[start + len("<answer>") :].partition("</answer>")
    return inside.strip() if closed else text


def last_number(text: str) -> float | None:
    r"""The number a text comes to; None where it holds none.

    It is the one after the last `####`, else the one in the last `\boxed{…}`, else the last number of the text.
    Thousands separators, currencies, fractions, mixed numbers and powers of ten are read. Units and the percent sign
    are passed over: 20 and 20% are one answer.
    """
    found = exact_number(text)
    if found is None:
        return None
    try:
        return float(found)
    except OverflowError:
        return None


def exact_number(value: Any) -> Fraction | None:
    """The same without rounding; a number may also be given as one."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return Fraction(value) if isinstance(value, int) else _of_float(value)
    if not isinstance(value, str):
        return None
    text = _evened(_end(final_answer(value)))
    mixed, last = _last(_MIXED, text), _last(_FOUND, text)
    if last is None:
        return None
    if mixed is not None and mixed.end() >= last.end() - 1 and int(mixed.group(3)):
        whole = Fraction(int(mixed.group(1))) + Fraction(int(mixed.group(2)), int(mixed.group(3)))
        return -whole if text[: mixed.start()].rstrip(" $").endswith(("-", "\u2212")) else whole
    return _read(last)


def _end(text: str) -> str:
    """As much of a text as its last number can be in: all else takes time only."""
    last = _DIGIT.search(text[::-1])
    if last is None:
        return ""
    stop = len(text) - last.start()
    return text[max(0, stop - _WINDOW) : stop + _AFTER]


def _evened(text: str) -> str:
    r"""With LaTeX's thousands separators (`1{,}000`, `1\,000`) and short fractions (`\frac12`) spelled in full."""
    return _SHORT.sub(r"\\frac{\1}{\2}", _SPACED.sub(",", text)) if "\\" in text or "{,}" in text else text


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    found = None
    for match in pattern.finditer(text):
        found = match
    return found


def _of_float(value: float) -> Fraction | None:
    # What a person means by 0.1 is a tenth, not the float beside it.
    return Fraction(repr(value)) if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN


def _read(match: re.Match[str]) -> Fraction | None:
    signs = "".join(match.group(name) or "" for name in ("sign1", "inner1", "sign2", "inner2"))
    if match.group("number") is None:
        above, below = (_integer(part) for part in match.groups()[3:5])
        value = Fraction(int(match.group("whole") or 0)) + Fraction(above, below) if below else None
    else:
        below = int(match.group("below") or 1)
        value = _plain(match.group("number")) / below if below else None
    if value is None:
        return None
    return -value if "-" in signs or "\u2212" in signs else value


def _integer(text: str) -> int:
    return int(text.replace("\u2212", "-"))


def _plain(text: str) -> Fraction:
    power = _POWERS.search(text)
    shift = _integer(power.group(1)) if power else 0
    digits = (text[: power.start()] if power else text).replace(",", "")
    return Fraction(f"0{digits}" if digits.startswith(".") else digits) * Fraction(10) ** shift
