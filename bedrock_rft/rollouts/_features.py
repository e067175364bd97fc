"""Features of an answer's text: its language, its format, and signs that it was cut off, copied or has no content."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from zlib import crc32

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad|answer|final_answer|solution|output|result"
_OPEN = re.compile(rf"<({_TAGS})>", re.IGNORECASE)
_FENCE = re.compile(r"^\s*```", re.MULTILINE)
_END = re.compile(r"""[.!?。！？।؟…:;)\]}>"'”’»`*$|\d]\s*$""")  # noqa: RUF001 - marks of other scripts

_PLACEHOLDER = r"(?:\.\.\.|…|(?:your\s|the\s)?(?:final\s)?answer(?:\shere)?|n/?a|-+|_+|\?+)?"
_EMPTY_MARKERS = re.compile(
    rf"""<(answer|final_answer|solution|output|result)>\s*{_PLACEHOLDER}\s*</\1>
    | \\boxed\{{\s*{_PLACEHOLDER}\s*\}} | ```\w*\s*```""",
    re.IGNORECASE | re.VERBOSE,
)
_EMPTY_END = re.compile(
    r"^\#\#\#\#[ \t]*\Z | (?:the\ (?:final\ )?answer\ is|final\ answer|answer)\s*:?\s*\Z",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)

_FINAL = re.compile(
    r"</(?:final_)?answer>|\\boxed\{[^{}]|^####[ \t]*\S|answer(?:\*\*)?(?: is)?\s*[:=]?\s*\S+\W*\Z",
    re.IGNORECASE | re.MULTILINE,
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")

_SCRIPTS = (
    ("Han or Kana", "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"),
    ("Hangul", "\uac00-\ud7af"),
    ("Cyrillic", "\u0400-\u04ff"),
    ("Arabic", "\u0600-\u06ff"),
    ("Hebrew", "\u0590-\u05ff"),
    ("Devanagari", "\u0900-\u097f"),
    ("Thai", "\u0e00-\u0e7f"),
    ("Greek", "\u0370-\u03ff"),
)
_OTHER_SCRIPTS = tuple((name, re.compile(f"[{letters}]")) for name, letters in _SCRIPTS)
_NOT_LATIN = re.compile(r"[^A-Za-z\u00c0-\u024f]+")
_LOWER_WORD = re.compile(r"[a-zà-ÿ]+")
_FOREIGN_LETTERS = 0.3  # a script with this share of the letters is the answer's; formulas have a few Greek letters
_LATIN_LANGUAGES = {
    "English": "the of and to is that for are with this be from which so we",
    "French": "le les des et est une que pour dans nous donc avec sont du au",
    "German": "der die und das ist nicht ein eine den mit von wir sich auf also",
    "Spanish": "el los las que una por para con es del como entonces son se lo",
    "Portuguese": "o os uma que para com não é do da em então são se por",
    "Italian": "il che di una per con non è della sono quindi gli nel si le",
}
_STOP_WORDS: dict[str, list[str]] = {}
for _name, _words in _LATIN_LANGUAGES.items():
    for _word in _words.split():
        _STOP_WORDS.setdefault(_word, []).append(_name)
_FEWEST_STOP_WORDS = 4
_READ = 2000  # characters that are enough to recognise a language

# Each with a text without which the expression, which takes longer, finds nothing.
_FORMATS = (
    ("<answer> tags", "<", re.compile(r"<(?:final_)?answer>", re.IGNORECASE)),
    (r"\boxed", "\\", re.compile(r"\\boxed\{")),
    ("####", "####", re.compile(r"^####\s", re.MULTILINE)),
    ("JSON", "", re.compile(r"\A\s*(?:```(?:json)?\s*)?[{\[]")),
    ("code block", "```", _FENCE),
    ("Markdown", "", re.compile(r"^(?:#{1,6} |\s*[-*] |\s*\d+\. |\|)|\*\*", re.MULTILINE)),
)

_SHINGLE, _SKETCH, _ALIKE = 4, 24, 0.8
_KEYS, _TRIED = 6, 20  # texts are compared if they share one of these hashes, with so many others
MIN_WORDS = 20
"""Words of an answer that is compared. Shorter answers, such as `B` or `The answer is 4.`, may be equal and healthy."""


@dataclass(frozen=True, slots=True)
class Features:
    """Properties of one answer, for the findings."""

    words: int
    ends: bool
    final: bool
    unclosed: str
    empty_marker: str
    language: str
    prompt_language: str
    format: str
    exact: int
    figures: int


def extract_features(answer: str, prompt: str) -> Features:
    """Return the features of an answer; `prompt` may be empty."""
    lowered, end = answer.casefold(), answer[-_READ:]
    words = lowered.split()
    return Features(
        words=len(words),
        ends=_END.search(answer) is not None,
        final=("answer" in lowered or "boxed" in lowered or "####" in lowered) and _FINAL.search(end) is not None,
        unclosed=_find_unclosed(lowered),
        empty_marker=_empty_marker(lowered, end),
        language=detect_language(answer),
        prompt_language=detect_language(prompt),
        format=next((name for name, part, form in _FORMATS if part in answer and form.search(answer)), "plain text"),
        exact=_hash(" ".join(words)),
        figures=_hash(" ".join([*_NUMBER.findall(answer), *words[-1:]])),
    )


def _empty_marker(lowered: str, end: str) -> str:
    """Return a marker of a final answer without content, or none; most texts can have none, and are not searched."""
    found = _EMPTY_MARKERS.search(end) if "<" in end or "\\" in end or "```" in end else None
    if not found and lowered.rstrip().removesuffix(":").rstrip().endswith(("answer", "answer is", "####")):
        found = _EMPTY_END.search(end)
    return found.group().strip()[:40] if found else ""


def _find_unclosed(lowered: str) -> str:
    """Return the last tag or fence that is opened and not closed; empty if there is none."""
    for match in reversed(list(_OPEN.finditer(lowered)) if "<" in lowered else ()):
        if f"</{match.group(1)}>" not in lowered[match.end() :]:
            return match.group()
    return "```" if "```" in lowered and len(_FENCE.findall(lowered)) % 2 else ""


@lru_cache(4096)  # the answers to one prompt share it
def detect_language(text: str) -> str:
    """Return the script of a text, or the language if it is written in Latin letters; empty if it is not clear."""
    text = text[:_READ]
    latin = len(_NOT_LATIN.sub("", text))
    scripts = () if text.isascii() else _OTHER_SCRIPTS
    counts = {name: len(pattern.findall(text)) for name, pattern in scripts}
    letters = latin + sum(counts.values())
    if letters == 0:
        return ""
    script, most = max(counts.items(), key=lambda item: item[1], default=("", 0))
    if most >= _FOREIGN_LETTERS * letters:
        return script
    stops = [word for word in _LOWER_WORD.findall(text.casefold()) if word in _STOP_WORDS]
    found = Counter(name for word in stops for name in _STOP_WORDS[word])
    (name, first), (_, second) = [*found.most_common(2), ("", 0), ("", 0)][:2]
    return name if first >= _FEWEST_STOP_WORDS and first >= 2 * second else ""


def find_near_copies(answers: Sequence[tuple[str, str, int]]) -> dict[int, int]:
    """Map positions of answers to the position of a nearly equal answer to another prompt.

    Each item has the texts of prompt and answer, and `Features.figures`, which must be equal, because many healthy
    answers follow one pattern. Answers to prompts that are themselves near copies do not count.
    """
    sketches = [(_sketch(prompt), _sketch(answer), figures) for prompt, answer, figures in answers]
    buckets: dict[int, dict[str, int]] = {}
    copies: dict[int, int] = {}
    for place, (prompt, answer, figures) in enumerate(sketches):
        lowest = sorted(answer)[:_KEYS]
        near = dict.fromkeys(other for key in lowest for other in list(buckets.get(key, {}).values())[-_TRIED:])
        for other in near:
            its_prompt, its_answer, its_figures = sketches[other]
            alike = figures == its_figures and _similarity(answer, its_answer) >= _ALIKE
            if alike and _similarity(prompt, its_prompt) < _ALIKE:
                copies[place] = other
                copies.setdefault(other, place)
                break
        for key in lowest:
            buckets.setdefault(key, {})[answers[place][0]] = place
    return copies


def _sketch(text: str) -> frozenset[int]:
    """Return the smallest hashes of the sequences of four words. Two sketches estimate how much two texts share."""
    words = [word.encode("utf-8", "replace") for word in text.casefold().split()]
    runs = {crc32(b" ".join(words[place : place + _SHINGLE])) for place in range(max(1, len(words) - _SHINGLE + 1))}
    return frozenset(sorted(runs)[:_SKETCH])


def _similarity(first: frozenset[int], second: frozenset[int]) -> float:
    """Estimate the share of word sequences that two texts have in common, from their sketches (Broder 1997)."""
    smallest = sorted(first | second)[:_SKETCH]
    return sum(one in first and one in second for one in smallest) / len(smallest)


def _hash(text: str) -> int:
    return crc32(text.encode("utf-8", "replace"))
