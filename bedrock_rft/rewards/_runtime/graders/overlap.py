"""Graders with partial credit: for words or labels in common with the reference, and for text without repetition."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import punctuation
from typing import Any, cast

from bedrock_rft.rewards._runtime.graders.extraction import find_final_answer, strip_thoughts
from bedrock_rft.rewards._runtime.graders.json_match import find_json
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._runtime.rollout import Rollout

_MAX_CHARACTERS = 100_000
_ARTICLES = frozenset({"a", "an", "the"})
_SEPARATOR = re.compile(r"[,;|\n]")
_AND = re.compile(r"\band\b", re.IGNORECASE)
_BULLET = re.compile(r"^(?:[-*\u2022]|\d{1,3}[.)])\s+")
_LEAD = re.compile(r"^[^:\n]{0,60}:(?=\s)")


@dataclass(frozen=True, eq=False, repr=False)
class TokenF1(Leaf):
    """Score the words that the final answer shares with the reference, from 0 to 1, as SQuAD does.

    The score is the harmonic mean of precision and recall over words, without case, punctuation and the articles a, an
    and the. Use it for short answers in free words, such as names and dates. The order of the words does not count, and
    `not` counts like any other word: use `Judge` if the meaning counts. A reference that is a list has all accepted
    answers.

    ```python
    TokenF1()(Rollout.of("Who?", "It was Ada Lovelace.", reference="Ada Lovelace")).value  # 0.67: 2 of 4, 2 of 2
    ```

    Attributes:
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference has no words.
    """

    name: str = "token_f1"

    def grade(self, rollout: Rollout) -> float:
        reference = rollout.reference
        accepted = cast("Sequence[Any]", reference) if isinstance(reference, list) else [reference]
        references = [words for one in accepted if one is not None and (words := Counter(_words(str(one))))]
        if not references:
            raise ValueError("the reference has no words to compare with")
        found = Counter(_words(find_final_answer(rollout.answer[-_MAX_CHARACTERS:])))
        return max(_f1((found & wanted).total(), found.total(), wanted.total()) for wanted in references)


@dataclass(frozen=True, eq=False, repr=False)
class SetF1(Leaf):
    """Score the labels that the answer shares with the reference, from 0 to 1.

    The score is the harmonic mean of precision and recall, so listing all labels does not pay. Use it for sets of codes
    or labels, in any order and case. The labels of the answer are a JSON array, perhaps in a field of an object, or
    otherwise the final answer, separated by commas, semicolons, `|`, line breaks or "and".

    ```python
    SetF1()(Rollout.of("Codes?", "E11.9, I10", reference=["I10", "E11.9", "Z79.4"])).value  # 0.8: 2 of 2, 2 of 3
    ```

    Attributes:
        labels: the labels that exist. If you pass them, an answer with any other label scores 0.
        name: the name in `metrics_list`.

    Raises:
        ValueError: on scoring, the reference is neither a list of labels nor text with a label.
    """

    labels: Sequence[str] = ()
    name: str = "set_f1"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "labels", tuple(self.labels))

    def grade(self, rollout: Rollout) -> float:
        reference = rollout.reference
        listed = cast("Sequence[Any]", reference) if isinstance(reference, list) else None
        if listed is None and not isinstance(reference, str):
            raise ValueError("the reference must be a list of labels, or text with labels and commas")
        wanted = _labels(_split(cast("str", reference)) if listed is None else listed)
        found = self._answer_labels(rollout.answer[-_MAX_CHARACTERS:], wanted | _labels(self.labels))
        if self.labels and not found <= _labels(self.labels):
            return 0.0
        return 1.0 if not wanted and not found else _f1(len(found & wanted), len(found), len(wanted))

    def _answer_labels(self, answer: str, known: set[str]) -> set[str]:
        try:
            value = find_json(answer)
        except ValueError:
            parts = _split(str(find_final_answer(answer)))
            # A label may contain "and" itself.
            return _labels(
                [one for part in parts for one in ([part] if _labels([part]) <= known else _AND.split(part))]
            )
        if isinstance(value, Mapping):
            lists: list[Any] = [one for one in cast("Mapping[str, Any]", value).values() if isinstance(one, list)]
            return _labels(lists[0]) if len(lists) == 1 else set()
        return _labels(cast("Sequence[Any]", value) if isinstance(value, list) else [value])


@dataclass(frozen=True, eq=False, repr=False)
class Repetition(Leaf):
    """Score the share of different sequences of words, from 0 to 1: text without repetition scores 1.

    Use this grader as a penalty for loops, with a small weight or as a gate. The thoughts of a reasoning model count,
    because they may loop as well. Text shorter than a sequence scores 1, so add a grader of the content.

    ```python
    Repetition(3)(Rollout.of("?", "so it is so it is so it is")).value  # 0.43: 3 of 7
    ```

    Attributes:
        words: the number of words in a sequence.
        name: the name in `metrics_list`.

    Source:
        The repetition penalty of "Demystifying Long Chain-of-Thought Reasoning in LLMs" (Yeo et al., 2025), as 1 minus
        the penalty.
    """

    words: int = 4
    name: str = "repetition"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.words, bool) or self.words < 1:
            raise ValueError(f"words must be at least 1, not {self.words!r}")

    def grade(self, rollout: Rollout) -> float:
        words = rollout.answer[:_MAX_CHARACTERS].casefold().split()
        sequences = list(zip(*(words[start:] for start in range(self.words)), strict=False))
        return len(set(sequences)) / len(sequences) if sequences else 1.0


def _f1(shared: int, found: int, wanted: int) -> float:
    return 2 * shared / (found + wanted) if shared else 0.0


def _words(text: str) -> list[str]:
    """Return the words of a text without articles. Punctuation is removed, as in SQuAD's script."""
    folded = unicodedata.normalize("NFKC", strip_thoughts(text)).casefold()
    plain = "".join(one for one in folded if one not in punctuation and not unicodedata.category(one).startswith("P"))
    return [word for word in plain.split() if word not in _ARTICLES]


def _split(text: str) -> list[str]:
    """Return the labels in a text. Words that introduce them, and end with a colon, are left out."""
    return [_BULLET.sub("", part.strip()) for part in _SEPARATOR.split(_LEAD.sub("", text.strip()))]


def _labels(values: Sequence[Any]) -> set[str]:
    texts = (unicodedata.normalize("NFKC", str(value)).strip(" \t\r\n\"'`*.()[]").casefold() for value in values)
    return {text for text in texts if text}
