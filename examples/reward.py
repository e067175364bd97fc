"""Lambda handler that scores 1 if the final number equals the reference answer, else 0.

Deploy this file as it is (handler `reward.lambda_handler`, timeout well above Lambda's 3 seconds); it needs only
the standard library. It accepts every payload shape that the service is known to send, scores each rollout once and in
order, and never raises for a malformed one, because one bad answer must not fail a whole batch.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

# A minus belongs to the number unless a character directly precedes it, as in 7-3.
_NUMBER = re.compile(r"((?<![\w)])[-\u2212])?\$?(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)", re.ASCII)
_LONGEST = 20_000  # only the last characters of an answer are read


def lambda_handler(event: list[Any], context: object) -> list[dict[str, Any]]:  # noqa: ARG001 - Lambda passes it
    """Score a batch of rollouts."""
    return [score(rollout) for rollout in event]


def score(rollout: Any) -> dict[str, Any]:
    """Score one rollout. A malformed rollout scores 0."""
    correct = marked = False
    try:
        answer = answer_of(rollout)
        wanted = final_number(reference_of(rollout))
        correct = wanted is not None and final_number(answer) == wanted
        marked = "####" in answer
    except Exception as error:  # noqa: BLE001 - see above
        print(f"scored 0: {type(error).__name__}: {error}")
    return {
        "id": field(rollout, "id"),
        "aggregate_reward_score": float(correct),
        "metrics_list": [
            {"name": "correct", "value": float(correct), "type": "Reward"},
            {"name": "marked", "value": float(marked), "type": "Metric"},
        ],
    }


def answer_of(rollout: Any) -> str:
    """Return the last message of the assistant."""
    messages: list[Any] = field(rollout, "messages") or []
    said = [field(message, "content") for message in messages if field(message, "role") == "assistant"]
    return text_of(said[-1]) if said else ""


def reference_of(rollout: Any) -> str:
    """Return the reference answer from `metadata`, as documented, or next to `messages`, as in the AWS sample."""
    documented = field(field(rollout, "metadata"), "reference_answer")
    return text_of(field(rollout, "reference_answer") if documented is None else documented)


def field(value: Any, name: str) -> Any:
    """Return a field of a mapping, or None if it is missing or the value is not a mapping."""
    return value.get(name) if hasattr(value, "get") else None


def text_of(value: Any) -> str:
    """Return text from a string, a number, `{"text": …}` or a list of parts."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return "" if value is None else str(value)
    return text_of(field(value, "text")) if hasattr(value, "get") else "".join(text_of(part) for part in value)


def final_number(text: str) -> Decimal | None:
    """Return the first number after the last `####`, else the last number in the text."""
    end = text[-_LONGEST:]
    _, mark, after = end.rpartition("####")
    stated = _NUMBER.search(after) if mark else None
    found = stated or next(reversed(list(_NUMBER.finditer(end))), None)
    if found is None:
        return None
    digits = Decimal(found.group(2).replace(",", ""))
    return -digits if found.group(1) else digits
