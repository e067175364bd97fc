"""Normalize LaTeX and short answers as `is_equiv` of the MATH dataset does."""

from __future__ import annotations

import re
import unicodedata

_MAX_CHARACTERS = 2000
TEXT = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|mathrm|mathbf|mathit|mathsf|mbox|hbox|boldsymbol|bm|operatorname|"
    r"underline|emph)\s?\{([^{}]{0,300})\}"
)
"""A LaTeX command that sets its text in another font."""

_UNIT = re.compile(
    r"(?<=[\d})])\s?(?:\\[,;: ]\s?)?\\(?:text|mathrm|mbox)\s?\{\s?[A-Za-z][^{}]{0,80}\}(?:\^\{?\d\}?)?\s?$"
)
_REMOVED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|bf|rm|!|\(|\)|\[|\])(?![A-Za-z])|\*\*|__|`|\^\s?\{?\s?\\circ\s?\}?|\\?%|\\?\$"
)
_SPACING = re.compile(r"\\(?:[,;: ]|quad|qquad|\\)(?![A-Za-z])|~|\u00a0|\u202f|\u2009")
_SYNONYMS = (
    *((f"\\{name}", "\\frac") for name in ("dfrac", "tfrac", "cfrac")),
    *((f"\\{name}", f"\\{name[:2]}") for name in ("neq", "leq", "geq")),
    *zip("\u2212\u03c0\u221e", ("-", "\\pi", "\\infty"), strict=True),
    ("{,}", ","),
)
_SHORT_FRACTION = re.compile(r"\\frac\s?(?:\{([^{}]{1,40})\}|(\w))\s?(?:\{([^{}]{1,40})\}|(\w))")
_SLASH = re.compile(r"(-?)(\d{1,20})/(\d{1,20})")
_ROOT_SIGN = re.compile(
    r"(?:\u221a\s?(?:(\d{1,20}(?:\.\d{1,20})?|[A-Za-z\u03c0])|(?=\())|(?<![A-Za-z\\])sqrt\s?(?=\())"
    r"(?:\(([^()]{1,100}(?:\([^()]{1,100}\)[^()]{0,100}){0,4})\))?"
)
_ROOT = re.compile(r"\\sqrt\s?(\w)")
_LEFT_SIDE = re.compile(r"[A-Za-z](?:_?\d|\([A-Za-z]\))?\s?=\s?(?=[^=<>]{1,200}$)")
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3}){1,40}(?:\.\d{1,40})?")
_DECIMAL = re.compile(r"(?<![\d.])(\d{0,40})\.(\d{1,40})(?![\d.])")
_WORDS = re.compile(r"(?<!\\)(?<![A-Za-z])[A-Za-z]{2,}")
_LOOSE_SPACE = re.compile(r"(?<![A-Za-z0-9]) | (?![A-Za-z0-9])|(?<=\d) (?=[A-Za-z])|(?<=[A-Za-z]) (?=\d)")


def normalize_spaces(text: str) -> str:
    """Return the text in Unicode's NFKC form with single spaces, and no spaces and full stops at its ends."""
    return " ".join(unicodedata.normalize("NFKC", text).split()).strip(" .")


def roots_to_latex(text: str) -> str:
    """Write square roots such as "\u221a2" and "sqrt(x + 1)" in LaTeX."""
    return _ROOT_SIGN.sub(_latex_root, text)


def _latex_root(found: re.Match[str]) -> str:
    radicand, group = found.groups()
    if radicand is None:
        return found.group() if group is None else f"\\sqrt{{{group}}}"
    return f"\\sqrt{{{radicand}}}" + ("" if group is None else f"({group})")


def canonical_text(text: str) -> str:
    """Return a form of the text that is equal for answers that differ in notation only. Nothing is computed."""
    if len(text) > _MAX_CHARACTERS:
        return text
    text = roots_to_latex(text)
    for written, plain in _SYNONYMS:
        text = text.replace(written, plain)
    text = _REMOVED.sub("", text)
    text = _UNIT.sub("", text.strip())
    text = _SPACING.sub(" ", TEXT.sub(r"\1", TEXT.sub(r"\1", text)))
    text = " ".join(text.split()).rstrip(" .,;")
    if _WORDS.search(text):  # words, in which spaces and digits have a meaning
        return re.sub(r" ?([(),;:\[\]]) ?", r"\1", text)
    text = _LEFT_SIDE.sub("", text) if _LEFT_SIDE.match(text) else text
    text = _LOOSE_SPACE.sub("", text)
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    text = _DECIMAL.sub(_shorten_decimal, text)
    text = _ROOT.sub(r"\\sqrt{\1}", text)
    text = _SHORT_FRACTION.sub(_long_fraction, text)
    slash = _SLASH.fullmatch(text)
    if slash is not None:
        text = f"{slash.group(1)}\\frac{{{slash.group(2)}}}{{{slash.group(3)}}}"
    return {"0.5": "\\frac{1}{2}", "-0.5": "-\\frac{1}{2}"}.get(text, text)


def _shorten_decimal(found: re.Match[str]) -> str:
    decimals = found.group(2).rstrip("0")
    return f"{found.group(1) or '0'}.{decimals}" if decimals else found.group(1) or "0"


def _long_fraction(found: re.Match[str]) -> str:
    above, below = found.group(1) or found.group(2), found.group(3) or found.group(4)
    sign = "-" if above.startswith("-") and above[1:].isdigit() else ""
    return f"{sign}\\frac{{{above.removeprefix(sign)}}}{{{below}}}"
