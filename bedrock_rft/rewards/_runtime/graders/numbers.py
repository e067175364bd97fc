"""Read plain numbers, which may have thousands separators, currencies, units, fractions and powers of ten."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from bedrock_rft.rewards._runtime.graders.extraction import find_final_answer
from bedrock_rft.rewards._runtime.graders.latex import TEXT

_MAX_DIGITS = 400
"""Largest number of digits that are read. A number with more digits is not an answer, and takes long to parse."""

_WINDOW = 4000
_MAX_SPAN = 600
_TAIL = 200

_MINUS = dict.fromkeys(map(ord, "\u2212\u2013\ufe63\uff0d"), "-")
_SPACES = dict.fromkeys(map(ord, "\u00a0\u202f\u2009\u2007\u2008\u200a"), " ")
_OTHER = {ord("\u2019"): "'", ord("\u00d7"): "*", ord("\u00b7"): "*", ord("\u22c5"): "*", ord("\u2044"): "/"}
_SIGNS = {0x2126: "\u03a9", 0x212B: "\u00c5"}
_FULL_WIDTH = {0xFF10 + digit: str(digit) for digit in range(10)} | {0xFF0E: ".", 0xFF0C: ","}
_VULGAR = {0xBC: " 1/4", 0xBD: " 1/2", 0xBE: " 3/4", 0x2153: " 1/3", 0x2154: " 2/3", 0x215B: " 1/8"}
_TRANSLATION = {**_MINUS, **_SPACES, **_OTHER, **_SIGNS, **_FULL_WIDTH, **_VULGAR}
_SUPERSCRIPT_DIGITS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"
_SUPERSCRIPTS = re.compile(f"\u207b?[{_SUPERSCRIPT_DIGITS}]{{1,9}}")
_SUPERSCRIPT_VALUES = {ord(digit): str(value) for value, digit in enumerate(_SUPERSCRIPT_DIGITS)} | {0x207B: "-"}

_GROUP_SPACE = re.compile(r"(?<=\d)(?:\{,\}|,?\\[,;:! ])\s?(?=\d{3}(?!\d))")
_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|textstyle|big|Big|bigg|Bigg|bf|rm|!|\(|\)|\[|\])(?![A-Za-z])|\*\*|__|`|\u200b|\\\\$"
)
_SPACING = re.compile(r"\\(?:[,;: ]|quad|qquad|enspace|thinspace)(?![A-Za-z])|~")
_PER_UNIT = re.compile(r"(\d)\s?/\s?(?=[A-Za-z]{3})")
_DEGREES = re.compile(
    r"(?:\^\s?\{?\s?\\circ\s?\}?|\\degree(?![A-Za-z])|\u00b0)(?:\s?(?:\u27e6[CF]\u27e7|[CF](?![A-Za-z])))?"
    r"|[\u2103\u2109]"
)
_FRACTION = re.compile(r"\\[dtc]?frac\s?(?:\{\s?([^{}]{1,60}?)\s?\}|(\d))\s?(?:\{\s?([^{}]{1,60}?)\s?\}|(\d))(?![\d{])")

_SOME = rf"\d{{1,{_MAX_DIGITS}}}"
_GROUPED = rf"\d{{1,3}}(?P<sep>[, '_])\d{{3}}(?:(?P=sep)\d{{3}}){{0,{_MAX_DIGITS // 3}}}(?!\d)"
_NUMERAL = rf"(?:{_GROUPED}|{_SOME})(?:\.{_SOME})?|\.{_SOME}"
_POWER = r"(?:\s?(?:[eE]|(?:\*|x|\\times|\\cdot)\s?10\s?\^\s?)\s?(?P<power>\{?\s?[-+]?\s?\d{1,3}\s?\}?)(?!\d))?"
_SHORT_UNITS = (
    "m|s|g|h|l|L|J|N|W|V|A|K|C|F|T|Pa|Hz|kg|km|cm|mm|nm|um|mg|ml|mL|dl|cl|ft|in|yd|mi|lb|oz|hr|ms|kW|kJ|kB|KB|MB|GB|TB|"
    "eV|dB|th|st|nd|rd|pm|am|kN|kV|mA|mV|mW|MW|GW|ha|rad|sec|min|mph|kph|mol|day|USD|EUR|GBP|lbs|yds|hrs|gal|ohm|kWh|kPa|"
    "cal|deg|gm|gms|cms|kgs|kmh|Mb|Gb|Kb|bps|GHz|MHz|kHz|bit|sq|cu|qt|fl|yr|wk|Wh|Ah|MJ|GJ|mM|nM|Sv|Bq|lx|Wb|dm|[\u00b5\u03bc][msglLAFWV]|"
    "[kMGm\u00b5\u03bc]?\u03a9|\u00c5"
)
_FUNCTIONS = (
    r"sin|cos|tan|cot|csc|log|exp|sqrt|cbrt|theta|alpha|beta|gamma|delta|lambda|sigma|omega|infinity|inf|mod|half|"
    r"halves|quarter|quarters|third|thirds|fourths|fifths|dozen|squared|cubed|root|plus|minus|times|divided|over|choose|"
    r"factorial|base|or|and|to|either|between|not"
)
_EXPONENT = r"(?:\s?\^\s?\{?\s?-?\d\s?\}?|[23](?!\d|\.\d))?"
_UNIT = rf"(?:(?:{_SHORT_UNITS})(?![A-Za-z])|(?!(?:{_FUNCTIONS})(?![A-Za-z]))[A-Za-z\u00b5\u03a9]{{3,40}}){_EXPONENT}"
_WORD = rf"(?:of|in|per|a|an|each|the|by|at|for|on|is|are|no|{_UNIT}|(?:and|to) (?!\d|a half)[A-Za-z]{{2,}})"
_ATTACHED = (
    r"(?=[ (\u27e6\u00b5\u03bc\u03a9\u00c5]|[mgLWVkM]\u03a9|[mgLWV](?![A-Za-z])|(?!\w{3}(?!\w))[A-Za-z]{2}|"
    r"(?:min|sec|mol|mph|USD|EUR|day|kWh|kgs|lbs|hrs|cms|gms)(?!\w))"
)
_UNITS = (
    rf"(?:{_ATTACHED}\s?\(?\s?(?:\u27e6[^\u27e6\u27e7]{{0,100}}\u27e7{_EXPONENT}|{_UNIT})\)?"
    rf"(?:\s?[/*\u00b7 -]\s?\(?(?:{_WORD}|\u27e6[^\u27e6\u27e7]{{0,100}}\u27e7{_EXPONENT})\)?){{0,12}})?"
)
_CURRENCY = r"(?:(?:\\?\$|[\u20ac\u00a3\u00a5\u20b9]|(?:USD|EUR|GBP|Rs\.?)(?=[\s\d]))\s?)"
_SCALES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER = re.compile(
    rf"(?P<sign1>[-+]\s?)?{_CURRENCY}?(?P<sign2>[-+]\s?)?"
    rf"(?:(?:(?P<whole>{_SOME})\s)?(?P<above>{_SOME})\s?/\s?(?P<below>{_SOME})(?![\d.,/])"
    rf"|(?P<number>{_NUMERAL}){_POWER})"
    rf"(?:[\s-]?(?P<scale>{'|'.join(_SCALES)})(?![A-Za-z]))?"
    rf"\s?(?:%|\\%|percent\b|{_CURRENCY})?\s?\u00b0?{_UNITS}\s?(?:\$|[.,;:?*\"'\u201d)]\s?){{0,6}}"
)
_PREFIX = re.compile(
    rf"\s?(?:(?!(?:{_FUNCTIONS})\b)(?:[A-Za-z]{{2,40}}|(?:a|A|I)(?!\s[-+]))['\u2019]?s?[,:]?\s{{1,3}}|[\u2248~:\s]){{0,40}}"
)
_REMARK = re.compile(
    r"\s(?:\((?!\s?mod\b)[^()]{0,200}[A-Za-z]{2,}[^()]{0,200}(?:\)|$)).{0,200}$|[,;.]\s+[^\d=]{2,300}$"
)
_PLAIN_WORD = re.compile(r"[\"'(\[*_]*(?:[A-Za-z]{2}[\w'\u2019-]*|a|A|I)[\"')\]*_.,;:!?]*|[\u2014]+")
_DIGIT = re.compile(r"[\d\xbc-\xbe\u2153\u2154\u215b]")
_CALCULATION = re.compile(r"<<[^<>\n]{0,200}>>")
"""A calculator annotation, as in the solutions of GSM8K."""
_FUNCTION_NAME = re.compile(r"(?:sin|cos|tan|log|ln|lg|exp|sqrt|mod|pi|root of)", re.IGNORECASE)
_BULLET = re.compile(r"\s*(?:[-*+\u2022]|\d{1,3}[.)])\s+(?=\S)")
_CONTINUATION = re.compile(
    r"[-\u2013]?\s?(?:hundred|thousand|million|billion|trillion|half|squared|cubed|dozen)\b|(?:and|&) a half\b"
)


def answer_number(text: str) -> Fraction | None:
    r"""Return the number that is the final answer of a text, or None.

    The text after a `####`, or inside a box or tags, must be a single number with or without a unit, else the result
    is None. Without such a marker, or if a whole sentence follows the marker, the last number or formula counts; a
    formula gives None.
    """
    answer = find_final_answer(text[-_WINDOW * 10 :])
    if answer.marked and len(answer) <= _MAX_SPAN:
        number = parse_number(answer.strip("\"' "))
        if number is not None or len(re.findall(r"(?<!\\)\b[A-Za-z]{2,}", answer)) < 4:  # noqa: PLR2004 - a sentence
            return number
    return _last_in_sentence(answer)


def reference_number(value: Any) -> Fraction | None:
    """Return a reference as a number, or None if it is not a plain number. Text may have a final-answer marker."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return Fraction(value)
    if isinstance(value, float):
        # The float 0.1 means a tenth, not the nearest binary fraction.
        return Fraction(repr(value)) if value == value and abs(value) != float("inf") else None  # noqa: PLR0124 - NaN
    return parse_number(find_final_answer(value)) if isinstance(value, str) else None


def last_number(text: str) -> float | None:
    r"""Return the number that is the final answer of a text, or None.

    The final answer is the number after the last `####`, otherwise the number in the last `\boxed{…}`, otherwise the
    last number of the text. Thousands separators, currencies, fractions, mixed numbers, powers of ten and units are
    read. Units and the percent sign are ignored: 20 and 20% are the same. Formulas, such as `2\sqrt{3}` or `x^2`, are
    not numbers.
    """
    number = answer_number(text)
    if number is None:
        return None
    try:
        return float(number)
    except OverflowError:
        return None


def parse_number(text: str) -> Fraction | None:
    """Return the value of a text that is one number, possibly with words before it and a unit after it, or None."""
    return _parse(_normalize(text)) if len(text) <= _WINDOW else None


def _normalize(text: str) -> str:
    r"""Replace LaTeX and Unicode forms by plain ones. Text in `\text{…}` is put between U+27E6 and U+27E7."""
    text = _CALCULATION.sub("", text).replace('\\"', '"')
    text = _SUPERSCRIPTS.sub(lambda found: f"^{{{found.group().translate(_SUPERSCRIPT_VALUES)}}}", text)
    text = text.translate(_TRANSLATION)
    if "\\" in text or "{" in text:
        text = _GROUP_SPACE.sub(",", text)
        text = TEXT.sub(_inline_text, text)
        text = TEXT.sub(_inline_text, text)
        text = text.replace("\\%", "%").replace("\\$", "$")
        text = re.sub(r"\\(?:cdot|times)(?![A-Za-z])", "*", text)
        text = re.sub(r"\\(?:Omega|ohm)(?![A-Za-z])", "\u03a9", text)
    text = _PER_UNIT.sub(r"\1 per ", text).replace("=>", "=")
    text = _DEGREES.sub("\u00b0", text)
    return _SPACING.sub(" ", _DROPPED.sub("", text))


def _inline_text(found: re.Match[str]) -> str:
    content = found.group(1)
    return f" {content} " if re.search(r"\d", content) else f" \u27e6{content.strip()}\u27e7"


def _parse(text: str) -> Fraction | None:
    text = text.strip()
    equation = re.split(r"(?<![<>!:])=|\\approx(?![A-Za-z])|\u2248", text)
    if len(equation) > 1 and not re.search(r"[<>\u2264\u2265\u2260;]|\\(?:ne|le|ge|lt|gt)", text):
        text = equation[-1].strip()
    text = text.strip("$ ").strip()
    while (text.startswith("{") and text.endswith("}")) or (text.startswith("(") and text.endswith(")")):
        text = text[1:-1].strip()
    text = _FRACTION.sub(_plain_fraction, text)
    text = " ".join(text.split())
    for candidate in (text, _REMARK.sub("", text)):
        start = _PREFIX.match(candidate)
        position = start.end() if start else 0
        found = _NUMBER.fullmatch(candidate, position) or _NUMBER.fullmatch(candidate)
        if found is not None:
            return _value(found)
    return None


def _plain_fraction(found: re.Match[str]) -> str:
    """Write a LaTeX fraction of integers as `a/b`, with its sign in front."""
    above, below = (found.group(1) or found.group(2), found.group(3) or found.group(4))
    parts = [re.fullmatch(rf"([-+]?)\s?({_NUMERAL})", part.strip()) for part in (above, below)]
    if parts[0] is None or parts[1] is None:
        return found.group()
    values = [Fraction(part.group(2).replace(",", "").replace(" ", "")) for part in parts if part is not None]
    if not values[1]:
        return found.group()
    ratio = values[0] / values[1]
    negative = (parts[0].group(1) == "-") != (parts[1].group(1) == "-")
    before = found.string[: found.start()].rstrip()
    gap = " " if before[-1:].isdigit() else ""  # a mixed number
    return f"{gap}{'-' if negative else ''}{ratio.numerator}/{ratio.denominator}"


def _value(found: re.Match[str]) -> Fraction | None:
    signs = f"{found.group('sign1') or ''}{found.group('sign2') or ''}"
    if found.group("number") is None:
        if not int(found.group("below")):
            return None
        value = Fraction(int(found.group("whole") or 0)) + Fraction(
            int(found.group("above")), int(found.group("below"))
        )
    else:
        digits = re.sub(r"[, '_]", "", found.group("number"))
        power = re.sub(r"[{}\s]", "", found.group("power") or "0")
        value = Fraction(f"0{digits}" if digits.startswith(".") else digits) * Fraction(10) ** int(power)
    value *= Fraction(10) ** _SCALES.get(found.group("scale") or "", 0)
    return -value if signs.count("-") == 1 else value


def _last_in_sentence(text: str) -> Fraction | None:
    """Return the last number of running text, or None if the last formula is not a plain number."""
    tokens, end = _last_number_token(text)
    if end < 0:
        return None
    begin = end
    while begin > 0 and _is_formula(tokens[begin - 1]):
        begin -= 1
    before = tokens[max(0, begin - 2) : begin]
    if before and _FUNCTION_NAME.fullmatch(before[-1]):
        return None
    if before[1:] in (["or"], ["to"]) and _DIGIT.search(before[0]):  # "4 or 5"
        return None
    while end + 1 < len(tokens) and (_is_formula(tokens[end + 1]) or _FUNCTION_NAME.fullmatch(tokens[end + 1])):
        end += 1
    while re.fullmatch(r"[-=:;|>]+", tokens[end]):
        end -= 1
    formula = " ".join(tokens[begin : end + 1])
    if begin and formula.endswith("!"):  # the end of a sentence; otherwise it is a factorial
        formula = formula[:-1]
    continuation = _CONTINUATION.match(" ".join(tokens[end + 1 : end + 4]))
    if continuation is not None:
        return _parse(f"{formula} {continuation.group()}")
    return _parse(formula if "(" in formula.strip("(") else formula.lstrip("([\"'*_").rstrip("\"'*_])"))


def _last_number_token(text: str) -> tuple[list[str], int]:
    """Return the words of the last line with a number, and the position of the number; -1 without a number."""
    last = _DIGIT.search(text[::-1])
    if last is None:
        return [], -1
    stop = len(text) - last.start()
    line_end = text.find("\n", stop, stop + _TAIL)
    window = text[max(0, stop - _WINDOW) : stop + _TAIL if line_end < 0 else line_end]
    for line in reversed(window.split("\n")):
        bullet = _BULLET.match(line) if "\n" in text.strip() else None
        content = line[bullet.end() :] if bullet is not None and _DIGIT.search(line, bullet.end()) else line
        tokens = _normalize(content).split()
        end = max((place for place, token in enumerate(tokens) if _is_formula(token, digit=True)), default=-1)
        if end >= 0:
            return tokens, end
    return [], -1


def _is_formula(token: str, *, digit: bool = False) -> bool:
    """Return whether a token between spaces is part of a formula rather than a word."""
    if _PLAIN_WORD.fullmatch(token) or "\u27e6" in token:
        return False
    return re.search(r"\d", token) is not None if digit else True
