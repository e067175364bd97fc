"""Extract the final answer from a model's text. Every function takes linear time, even for long or hostile text."""

from __future__ import annotations

import re
from collections import deque
from textwrap import dedent

_THOUGHTS_END = re.compile(r"</(?:think|thinking|reasoning)>", re.IGNORECASE)
_THOUGHTS_START = re.compile(r"<(?:think|thinking|reasoning)>", re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,4}\{")
_MINUS_BEFORE_BOX = re.compile(r"(?:^|[^\w)\]}\s])\s{0,4}[-\u2212\u2013]\s{0,4}[$({]{0,3}$")
_JSON_ANSWER = re.compile(
    r'"(?:(?:final|correct|right)[_ ]?)?answer\\?"\s{0,9}:\s{0,9}'
    r'(?:\\"([^"\\]{0,400})\\"|"((?:[^"\\]|\\.){0,4000})"|(-?\d[\d.,]{0,400}(?<=\d)))',
    re.IGNORECASE,
)
_ANSWER_TAG = re.compile(r"<answer>", re.IGNORECASE)
_HEADING = re.compile(
    r"(?:\*\*|__)?\s?(?:\d{1,3}[.):]\s|(?:step|part|case|method|approach|solution|explanation|calculation|computation|"
    r"verification|check|conclusion|summary|analysis|note|problem|question|given|result|reasoning|breakdown|"
    r"understanding|finding|determine|setting|solving|simplif\w+|final|answer)\b)",
    re.IGNORECASE,
)
_ANSWER_HEADING = re.compile(
    r"(?:\*\*|__)?\s?(?:the\s)?(?:final\s)?(?:answer|result)\s?(?:is|:|=)?\s?(?:\*\*|__)?\s?:?\s?(?:\*\*|__)?",
    re.IGNORECASE,
)
_FENCE = re.compile(r"^([ \t]{0,40}(?:[-*>][ \t]{1,4})?)(`{3,}|~{3,})[ \t]{0,8}([^\n`]*)$", re.MULTILINE)
_MAX_BLOCKS = 200


def strip_thoughts(text: str) -> str:
    """Return the text without a reasoning model's thoughts: up to the last `</think>`, and from an unclosed `<think>`.

    The opening tag may be missing, because the prompt template contained it.
    """
    last = _last_match(_THOUGHTS_END, text)
    end = last.end() if last else 0
    start = _THOUGHTS_START.search(text, end)
    return text[end:] if start is None else text[end : start.start()]


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(deque(pattern.finditer(text), maxlen=1)), None)


def boxed(text: str) -> str | None:
    r"""Return the content of the last `\boxed{…}` after the thoughts, or None. Nested braces are kept."""
    span = _find_box(strip_thoughts(text))
    return None if span is None else span[1]


def _find_box(text: str) -> tuple[int, str] | None:
    """Return the start and the content of the last box."""
    last = _last_match(_BOX, text)
    if last is None:
        return None
    depth = 1
    for brace in re.finditer(r"(?<!\\)[{}]", text[last.end() :]):
        depth += 1 if brace.group() == "{" else -1
        if not depth:
            return last.start(), text[last.end() : last.end() + brace.start()].strip()
    return None


def after_marker(text: str, marker: str = "####") -> str | None:
    """Return the rest of the line after the last marker, as in GSM8K, or None.

    A Markdown heading such as `#### Step 2: Add the numbers` is not a marker; `#### Answer: 42` is one.
    """
    text = strip_thoughts(text)
    end = len(text)
    while (start := text.rfind(marker, 0, end)) >= 0:
        rest = text[start + len(marker) : start + len(marker) + 2000].lstrip(" \t:").partition("\n")[0].strip()
        end = start
        if marker.strip("#") or not rest:
            return rest or None
        answer_heading = _ANSWER_HEADING.match(rest)
        if answer_heading is not None:
            if answer_heading.end() < len(rest):
                return rest[answer_heading.end() :].strip()
        elif not _HEADING.match(rest) and not rest.endswith(":") and not rest.endswith(":**"):
            return rest
    return None


class FinalAnswer(str):
    """The final answer as text."""

    __slots__ = ("marked",)
    marked: (
        bool  # True if a marker, a box or a tag delimits the answer; False if it is the whole text after the thoughts
    )


def find_final_answer(text: str) -> FinalAnswer:
    """Return the final answer, as `final_answer` describes, and set `marked`."""
    text = strip_thoughts(text)
    tag = _last_match(_ANSWER_TAG, text)
    tagged = False
    if tag is not None:
        inside, closed, _ = text[tag.end() :].partition("</answer>")
        tagged = bool(closed)
        text = inside.strip() if tagged else text
    field = _last_match(_JSON_ANSWER, text)
    if field is not None and not _BOX.search(text, field.end()) and "####" not in text[field.end() :]:
        text, tagged = re.sub(r'\\(["\\/])', r"\1", field.group(field.lastindex or 0)).strip(), True
    found = after_marker(text)
    if found is None or (found.startswith("\\boxed") and _find_box(found)):
        box = _find_box(text if found is None else found)
        if box is not None:
            before = (text if found is None else found)[: box[0]]
            negative = _MINUS_BEFORE_BOX.search(before[-12:]) and not box[1].startswith(("-", "\u2212"))
            found = f"-{box[1]}" if negative else box[1]
    answer = FinalAnswer(text if found is None else found)
    answer.marked = tagged or found is not None
    return answer


def final_answer(text: str) -> str:
    r"""Return the final answer of a text.

    The final answer is the text after the last `####`, otherwise the content of the last `\boxed{…}` with a minus sign
    before it, otherwise the whole text. If there is `<answer>…</answer>`, the search is limited to the last such tag.
    If there is a JSON field such as `"answer": "…"`, with no marker and no box after it, the search is limited to the
    value of the last such field. The thoughts of a reasoning model, up to the last `</think>`, are never part of the
    answer.
    """
    return str(find_final_answer(text))


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language (in lower case) and the content of each fenced block. The last block may be unclosed."""
    blocks: list[tuple[str, str]] = []
    opening: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opening is None:
            opening = fence
        elif fence.group(2).startswith(opening.group(2)) and not fence.group(3).strip():
            blocks.append(_parse_block(opening, text[opening.end() + 1 : fence.start()]))
            opening = None
        if len(blocks) == _MAX_BLOCKS:
            return blocks
    if opening is not None:
        blocks.append(_parse_block(opening, text[opening.end() + 1 :]))
    return blocks


def _parse_block(opening: re.Match[str], content: str) -> tuple[str, str]:
    """Return the language of a fenced block, and its content without common indentation."""
    words = opening.group(3).strip().lower().split()
    return words[0].strip("{}.") if words else "", dedent(content)
