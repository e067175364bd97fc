"""Find the letter that an answer to a multiple-choice question names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_MAX_TEXT = 2000
_NOT_AN_ANSWER = re.compile(
    r"(?:n't|\bnot|\bnever|\bif|\bwhether|\bunless|\bwhy|\bsuppose|\bassume|\bassuming)\s+"
    r"(?:(?:think|believe|say|that|the|an?|correct|right|best|final|possible)\s+){0,6}$",
    re.IGNORECASE,
)
_CONNECTOR = r"(?:because|since|as|so|which|for|due|with|and|is|was|but|that|based|given|from|in|by|it|the)\b"


def parse_choice(text: str, letters: str, *, marked: bool) -> str | None:
    """Return the letter that an answer names, or None if it names none or several."""
    patterns = _compile_patterns(letters)
    text = text.strip()
    alone = patterns["alone"].fullmatch(text) if len(text) <= _MAX_TEXT else None
    if alone is not None:
        return alone.group("letter").upper()
    for kind in (patterns["phrase"], patterns["verdict"]):
        letter, decided = _last_phrase(text, kind, patterns)
        if decided:
            return letter
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) > 1:
        found = _letters(patterns["alone"].fullmatch(line) for line in (lines[0], lines[-1]))
        if found:
            return found.pop() if len(found) == 1 else None
    letter = _labelled(text, patterns)
    if letter is None and len(lines) > 1 and not marked:
        letter = _labelled(lines[-1], patterns)
        letter = letter if _letters(patterns["listed"].finditer(text[-_MAX_TEXT:])) <= {letter} else None
    if letter is not None:
        return letter
    mentions = _letters(patterns["mention"].finditer(text[-_MAX_TEXT:]))
    return mentions.pop() if len(mentions) == 1 else None


def _last_phrase(text: str, pattern: re.Pattern[str], patterns: dict[str, re.Pattern[str]]) -> tuple[str | None, bool]:
    """Return the letter of the last phrase such as "the answer is B", and whether there is such a phrase."""
    last = None
    for match in pattern.finditer(text):
        if not _NOT_AN_ANSWER.search(text[max(0, match.start() - 60) : match.start()]):
            last = match
    if last is None:
        return None, False
    hedged = patterns["hedge"].match(text, last.end()) is not None
    return (None if hedged else last.group("letter").upper()), True


def _labelled(text: str, patterns: dict[str, re.Pattern[str]]) -> str | None:
    """Return the letter of a text such as "B) Paris", unless it lists other letters too."""
    match = patterns["labelled"].match(text) if len(text) <= _MAX_TEXT else None
    if match is None or patterns["hedge"].match(text, match.end("letter")):
        return None
    letter = match.group("letter").upper()
    return letter if _letters(patterns["listed"].finditer(text, match.end("letter"))) <= {letter} else None


def _letters(matches: Iterable[re.Match[str] | None]) -> set[str]:
    return {match.group("letter").upper() for match in matches if match is not None}


@lru_cache(maxsize=64)
def _compile_patterns(letters: str) -> dict[str, re.Pattern[str]]:
    upper, both = f"[{letters}]", f"[{letters}{letters.lower()}]"
    open_text = r"(?:\\(?:text|textbf|mathrm|mathbf|boxed|textit|mathit)\s?\{)?"
    opening = rf"(?:[\s(\[\"'*$_`:\u201c]|\\[(\[]){{0,8}}{open_text}[\s(\[*]{{0,3}}"
    closing = r"[\s)\]\"'*$_`}.:,;!\u201d\\]{0,10}"
    label = r"(?:(?:option|choice|answer|letter)\s{1,2})?"
    # A capital letter counts; a small one only if something shows that it is not a word such as "a".
    small = letters.lower()
    article = f"(?![AI]\\s+(?!{_CONNECTOR})[a-z])" if set("AI") & set(letters) else ""
    apart = r"(?![\w+-]|['\u2019]\w)"
    ends = r"(?=\s*(?:$|[)\]*}.,:;!\n\"'$\\]))"
    letter = rf"(?P<letter>{article}{upper}{apart}|[{small}]{apart}{ends})"
    link = (
        r"(?:\s?(?:is|was|would\s+be|should\s+be|must\s+be|has\s+to\s+be|will\s+be|are|:|=|\u2192|->|\*\*|\}|"
        r"must\s+therefore\s+be|is\s+(?:therefore|thus|clearly|most\s+likely|indeed))){1,4}"
    )
    noun = (
        r"(?:answer|(?:correct|right|best|final|appropriate|suitable|likely)\s+(?:choice|option|letter|response|one))"
    )
    trailer = r"(?:\s+(?:here|to\s+(?:the|this)\s+question|choice|option|letter)){0,2}"
    return {
        "alone": re.compile(rf"{opening}{label}(?P<letter>{both}){closing}", re.IGNORECASE),
        "labelled": re.compile(
            rf"{opening}{label}(?P<letter>{both})(?:[)\]}}*]{{0,4}}\s?[:)\].}}-](?=[\s*]|$)|\*\*\s|[)}}]{{1,3}}[\s\\])",
            re.DOTALL,
        ),
        "phrase": re.compile(
            rf"(?i:{noun}{trailer}{link}){opening}(?i:(?:option|choice|letter|answer)?)[\s(*:]{{0,4}}{open_text}\s?{letter}"
        ),
        "verdict": re.compile(
            rf"(?:(?i:option|choice|answer|letter)\s+)?(?<![\w'\u2019])[(*\"']{{0,3}}{letter}[)*\"'.:]{{0,3}}\s+(?:is|would\s+be|must\s+be|seems)\s+"
            rf"(?:therefore\s+|thus\s+|clearly\s+)?(?:the\s+)?(?:only\s+)?(?:most\s+)?"
            rf"(?:correct|right|best|accurate|appropriate|answer)\b"
        ),
        "mention": re.compile(
            rf"(?i:\b(?:answer|option|choice|choose|pick|select|go\s+with|chose|picked|selected)\s+(?:option\s+|choice\s+|answer\s+)?)[(*\"']{{0,3}}{letter}"
        ),
        "hedge": re.compile(
            rf"[\s)\]*\"'}}.$]{{0,6}}(?:(?:\bor\b|/|\\/|\bOR\b)\s*(?:(?i:option|choice|maybe|possibly|perhaps|even)\s+)?[(*\"']{{0,3}}{both}(?![\w'\u2019])"
            rf"|(?:,|&|;|\band\b|\bor\b)\s*(?:(?:and|or)\s+)?(?:(?i:option|choice)\s+)?[(*\"']{{0,3}}{upper}(?![\w'\u2019])"
            rf"(?!\)?\s+(?:is|was|are|has|can|would|looks|seems|does|fails|cannot)\b))"
        ),
        "listed": re.compile(rf"(?<![\w'\u2019])[(*]{{0,3}}(?P<letter>{upper})(?=[).:\],/]|\s*$|\s+(?:or|and)\b)"),
    }
