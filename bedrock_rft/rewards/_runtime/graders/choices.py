"""Find the letter that an answer to a multiple-choice question names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

from bedrock_rft.rewards._runtime.graders.latex import normalize_spaces

_MAX_TEXT = 2000
_MAX_SMALL_LABEL = 200
"""Length of an answer up to which "(a)" may be a choice. In longer answers, "(a)" is the number of a part."""
_NOT_AN_ANSWER = re.compile(
    r"(?:n't|\bnot|\bnever|\bif|\bwhether|\bunless|(?<!\bis\s)\bwhy|\bsuppose|\bassume|\bassuming)\s+"
    r"(?:(?:think|believe|say|that|the|an?|correct|right|best|final|possible)\s+){0,6}$",
    re.IGNORECASE,
)
_TRIAL = re.compile(
    r"\b(?:try|test|check|consider|assume|suppose|as\s+in|like|for|with|if|not)\s+(?:the\s+)?$", re.IGNORECASE
)
_DENIED = re.compile(
    r"[)*\"']{0,3}\s+(?:is|are|does|do|can|would|was)(?:n't|\s?not|\s+(?:incorrect|wrong|false))\b", re.IGNORECASE
)
_NEXT_QUESTION = re.compile(r"\n\s*(?:\*\*|#{1,6}\s)?(?:Next\s)?(?:Question|Problem|Q)\b[^\n:]{0,20}:", re.IGNORECASE)
"""A question that the model invents after its answer, as base models do."""

_NEEDED = {
    "phrase": re.compile("answer|cho|opt|letter|response|statement|match|one|closest|nearest"),
    "verdict": re.compile("correct|right|best|accurate|appropriate|answer"),
    "closing": re.compile(r"\("),
}
"""Text in lower case without which a pattern cannot match. Searching for this text first saves time in long answers."""

_CONNECTOR = r"(?:because|since|as|so|which|for|due|with|and|is|was|but|that|based|given|from|in|by|it|the)\b"


def parse_choice(text: str, letters: str, *, options: Mapping[str, str], marked: bool) -> str | None:
    """Return the letter that an answer names, or None if the answer names no letter or several letters.

    `options` has the letter of each option by its text, normalized and in lower case.
    """
    patterns = _compile_patterns(letters)
    text = text.strip()
    alone = patterns["alone"].fullmatch(text) if len(text) <= _MAX_TEXT else None
    if alone is not None:
        return alone.group("letter").upper()
    folded = text.casefold()
    kinds = [patterns[kind] for kind, needed in _NEEDED.items() if needed.search(folded)]
    first = patterns["phrase"].search(text) if patterns["phrase"] in kinds else None
    invented = first and _NEXT_QUESTION.search(text, first.end())
    if invented and not _NEXT_QUESTION.match(f"\n{text}"):
        text = text[: invented.start()]
    for kind in kinds:
        letter, decided = _last_phrase(text, kind, patterns)
        if decided:
            return letter
    for refusal in patterns["none"].finditer(text[-_MAX_TEXT:]):
        text = refusal.string[refusal.end() :]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    short = len(text) <= _MAX_SMALL_LABEL
    if len(lines) > 1:
        ends = [patterns["alone"].fullmatch(line) for line in (lines[0], lines[-1])]
        found = _letters(match for match in ends if match and (short or not match.group("letter").islower()))
        if found:
            return found.pop() if len(found) == 1 else None
    letter = _parse_labelled(text, patterns, small=short)
    if letter is None and len(lines) > 1 and not marked:
        letter = _parse_labelled(lines[-1], patterns, small=short)
        letter = letter if _letters(patterns["listed"].finditer(text[-_MAX_TEXT:])) <= {letter} else None
    if letter is not None:
        return letter
    tail = text[-_MAX_TEXT:]
    mentions = {
        match.group("letter").upper()
        for match in patterns["mention"].finditer(tail)
        if not _TRIAL.search(tail[max(0, match.start() - 20) : match.start()]) and not _DENIED.match(tail, match.end())
    } or _quoted_options(normalize_spaces(tail).casefold(), options, patterns["refuted"])
    return mentions.pop() if len(mentions) == 1 else None


def _quoted_options(answer: str, options: Mapping[str, str], refuted: re.Pattern[str]) -> set[str]:
    """Return the letters of options that are quoted with their text, as in "… is B. Paris" or "… is Paris (B)"."""
    found: set[str] = set()
    for text, letter in options.items():
        label, quoted = re.escape(letter.casefold()), re.escape(text)
        before, after = (
            rf"(?:\({label}\)|\b{label}[.:)])[ \"'*]{{1,3}}{quoted}(?!\w)",
            rf"\b{quoted}[\"'*,]{{0,2}} \((?:option )?{label}\)",
        )
        match = re.search(rf"{before}|{after}", answer) if text and text in answer else None
        if match and not _DENIED.match(answer, match.end()) and not refuted.match(answer, match.end()):
            found.add(letter)
    return found


def _last_phrase(text: str, pattern: re.Pattern[str], patterns: dict[str, re.Pattern[str]]) -> tuple[str | None, bool]:
    """Return the letter of the last phrase such as "the answer is B", and whether there is such a phrase."""
    last = None
    for match in pattern.finditer(text):
        if not _NOT_AN_ANSWER.search(text[max(0, match.start() - 60) : match.start()]):
            last = match
    if last is None:
        return None, False
    start, end = last.span("letter")
    open_ended = patterns["hedge"].match(text, last.end()) or patterns["none"].search(text, end)
    open_ended = open_ended or patterns["refuted"].match(text, end)
    several = "\n" in text[last.start() : start] and patterns["next"].match(text, end)
    return (None if open_ended or several else last.group("letter").upper()), True


def _parse_labelled(text: str, patterns: dict[str, re.Pattern[str]], *, small: bool) -> str | None:
    """Return the letter of a text such as "B) Paris", unless the text lists other letters too.

    A letter in lower case counts only if `small` is True.
    """
    match = patterns["labelled"].match(text) if len(text) <= _MAX_TEXT else None
    if match is None or patterns["hedge"].match(text, match.end("letter")):
        return None
    letter = match.group("letter").upper()
    if match.group("letter").islower() and not small:
        return None
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
    # A capital letter counts. A letter in lower case counts only if something shows that it is not a word such as "a".
    small = letters.lower()
    article = f"(?![AI]\\s+(?!{_CONNECTOR})[a-z])" if set("AI") & set(letters) else ""
    apart = r"(?![\w+-]|['\u2019]\w)"
    ends = r"(?=\s*(?:$|[)\]*}.,:;!\n\"'$\\]))"
    letter = rf"(?P<letter>{article}{upper}{apart}|[{small}]{apart}{ends})"
    link = (
        r"(?:\s?(?:\.\.\.|\u2026|is|was|would\s+be|should\s+be|must\s+be|has\s+to\s+be|will\s+be|are|:|=|\u2192|->|\*\*|\}|"
        r"must\s+therefore\s+be|is\s+(?:either|therefore|thus|clearly|most\s+likely|indeed))){1,4}"
    )
    noun = (
        r"(?:answer|(?:correct|right|best|final|appropriate|suitable|likely|closest|nearest|only)\s+"
        r"(?:choice|option|letter|response|statement|match|one)|(?:closest|nearest)\s+to|(?:but|and)\s+the\s+closest|"
        r"(?:answer|option|choice|statement|one)\s+that\s+(?:[\w'\u2019-]{1,30}\s+){1,10}?(?=(?:is|are)\s))"
    )
    trailer = r"(?:\s+(?:here|to\s+(?:the|this)\s+question|choice|option|letter)){0,2}"
    return {
        "alone": re.compile(rf"{opening}{label}(?P<letter>{both}){closing}", re.IGNORECASE),
        "labelled": re.compile(
            rf"{opening}{label}(?P<letter>{both})(?:[)\]}}*]{{0,4}}\s?[:)\].}}-](?=[\s*]|$)|\*\*\s|[)}}]{{1,3}}[\s\\])",
            re.DOTALL,
        ),
        "phrase": re.compile(
            rf"(?i:{noun}{trailer}(?:{link}|(?<=\bto)\s)){opening}(?i:(?:option|choice|letter|answer)?)[\s(*:]{{0,4}}{open_text}\s?{letter}"
        ),
        "verdict": re.compile(
            rf"(?:(?i:option|choice|answer|letter)\s+)?(?<![\w'\u2019])[(*\"']{{0,3}}{letter}[)*\"'.:]{{0,3}}\s+(?:is|would\s+be|must\s+be|seems)\s+"
            rf"(?:therefore\s+|thus\s+|clearly\s+)?(?:the\s+)?(?:only\s+)?(?:most\s+)?"
            rf"(?:correct|right|best|accurate|appropriate|answer)\b"
        ),
        "none": re.compile(
            rf"(?i:\banswer{link}[\s(*]{{0,4}}(?:none\b|not\s+(?:listed|among|one\s+of|provided|given|in\s+the)|unable|insufficient)"
            r"|\banswer\s+(?:cannot|can\s?not|can't)\s)"
            rf"|(?i:\banswer{link})[\s(]{{0,3}}{upper}{{2,10}}[).]"
        ),
        "closing": re.compile(rf"\b(?:is|are|be)\s+(?:option\s+|choice\s+)?\**\({letter}\)\**(?=[.,;]|\s*\Z)"),
        "refuted": re.compile(
            r"[^\n]{0,60}?\bbut\s+(?:it|this|that)(?:\s+is|['\u2019]s)\s+(?:\w+\s+){0,2}?"
            r"(?:incorrect|wrong|not\s+(?:the\s+)?(?:correct|right))",
            re.IGNORECASE,
        ),
        "next": re.compile(rf"[)*]{{0,3}}[).:][^\n]{{0,400}}\n[(*]{{0,3}}{both}[)*]{{0,3}}[).:]"),
        "mention": re.compile(
            rf"(?i:\b(?:answer|option|choice|choose|pick|select|go\s+with|chose|picked|selected)\s+(?:option\s+|choice\s+|answer\s+)?)[(*\"']{{0,3}}{letter}"
        ),
        "hedge": re.compile(
            rf"[\s)\]*\"'}}.$]{{0,6}}(?:(?:\bor\b|/|\\/|\bOR\b)\s*(?:(?i:option|choice|maybe|possibly|perhaps|even)\s+)?[(*\"']{{0,3}}{both}(?![\w'\u2019])"
            rf"|(?:,|&|;|\band\b|\bor\b)\s*(?:(?:and|or)\s+)?(?:(?i:option|choice)\s+)?[(*\"']{{0,3}}{upper}(?!\w|['\u2019]\w)"
            rf"(?!\)?\s+(?:is|was|are|has|can|would|looks|seems|does|fails|cannot)\b)"
            rf"|[^\n*]{{0,200}}\*\*,?\s+(?:and|or)\s+\*\*{upper}[).:])"
        ),
        "listed": re.compile(rf"(?<![\w'\u2019])[(*]{{0,3}}(?P<letter>{upper})(?=[).:\],/]|\s*$|\s+(?:or|and)\b)"),
    }
