"""Graders with partial credit: tool calls, words, sets of labels, and repetition."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bedrock_rft.rewards import Repetition, Reward, Rollout, SetF1, Similarity, TokenF1, ToolCall

WEATHER: dict[str, Any] = {"name": "weather", "arguments": {"city": "Oslo", "days": 3}}
TIME: dict[str, Any] = {"name": "time", "arguments": {}}


def grade(reward: Reward, answer: str, reference: Any, tools: Any = None) -> float:
    message = {"role": "assistant", "content": answer} | ({"tool_calls": tools} if tools else {})
    return reward(Rollout("r", ({"role": "user", "content": "?"}, message), reference)).value


def tagged(*calls: Any) -> str:
    return "\n".join(f"<tool_call>\n{json.dumps(call)}\n</tool_call>" for call in calls)


def chat(*calls: Any) -> list[dict[str, Any]]:
    texts = [{**call, "arguments": json.dumps(call["arguments"])} for call in calls]
    return [{"id": "c", "type": "function", "function": text} for text in texts]


def weather(**arguments: Any) -> dict[str, Any]:
    return {"name": "weather", "arguments": {**WEATHER["arguments"], **arguments}}


@pytest.mark.parametrize(
    ("answer", "tools", "reference", "exact", "partial"),
    [
        ("", chat(WEATHER), WEATHER, 1, 1),
        (tagged(WEATHER), None, WEATHER, 1, 1),
        (f"<think>{tagged(TIME)}</think>\n{tagged(WEATHER)}", None, WEATHER, 1, 1),
        (json.dumps(WEATHER), None, WEATHER, 1, 1),
        (f"```json\n{json.dumps([WEATHER, TIME])}\n```", None, [WEATHER, TIME], 1, 1),
        (tagged(WEATHER), None, chat(WEATHER), 1, 1),
        (tagged(WEATHER), None, json.dumps(WEATHER), 1, 1),
        (tagged(weather(days=3.0)), None, WEATHER, 1, 1),
        (tagged(WEATHER), None, weather(unit=None), 1, 1),
        ("", chat(TIME, WEATHER), [WEATHER, TIME], 1, 1),
        (tagged(weather(days=4)), None, WEATHER, 0, 2 / 3),
        (tagged(weather(days=True)), None, weather(days=1), 0, 2 / 3),
        (tagged(weather(unit="C")), None, WEATHER, 0, 3 / 4),
        (tagged({"name": "weather", "arguments": {}}), None, WEATHER, 0, 1 / 3),
        (tagged({"name": "forecast", "arguments": WEATHER["arguments"]}), None, WEATHER, 0, 0),
        (tagged(WEATHER, WEATHER), None, WEATHER, 0, 1 / 2),
        (tagged(WEATHER), None, [WEATHER, TIME], 0, 1 / 2),
        (tagged(TIME, weather(city="Rome"), WEATHER), None, [WEATHER, TIME], 0, 2 / 3),
        (tagged(WEATHER) + "<tool_call>oops</tool_call>", None, WEATHER, 0, 1 / 2),
        ("It is cold in Oslo.", None, WEATHER, 0, 0),
        ("", None, WEATHER, 0, 0),
        ("[" * 1000, None, WEATHER, 0, 0),
    ],
)
def test_tool_calls(answer: str, tools: Any, reference: Any, exact: float, partial: float) -> None:
    assert grade(ToolCall(), answer, reference, tools) == exact
    assert grade(ToolCall(partial=True), answer, reference, tools) == pytest.approx(partial)


def test_the_order_of_calls_counts_if_asked_for() -> None:
    assert grade(ToolCall(ordered=True), "", [WEATHER, TIME], chat(WEATHER, TIME)) == 1
    assert grade(ToolCall(ordered=True), "", [WEATHER, TIME], chat(TIME, WEATHER)) == 0


@pytest.mark.parametrize("reference", [None, "none", [], [WEATHER, 4], {"name": 3}, {"name": "a", "arguments": "{"}])
def test_a_reference_without_calls_is_an_error(reference: Any) -> None:
    with pytest.raises(ValueError, match=r"tool call|no JSON"):
        grade(ToolCall(), tagged(WEATHER), reference)


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("Ada Lovelace", "Ada Lovelace", 1),
        ("the ADA lovelace!", "Ada Lovelace", 1),
        ("It was Ada Lovelace.", "Ada Lovelace", 2 / 3),
        ("#### Ada", "Ada Lovelace", 2 / 3),
        ("<think>Grace Hopper</think>Ada Lovelace", "Ada Lovelace", 1),
        ("Grace Hopper", "Ada Lovelace", 0),
        ("Lovelace", ["Ada Lovelace", "Lovelace"], 1),
        ("Ada Ada Ada Ada", "Ada Lovelace", 1 / 3),
        ("1,815", "1815", 1),
        ("", "Ada", 0),
    ],
)
def test_words_in_common(answer: str, reference: Any, score: float) -> None:
    assert grade(TokenF1(), answer, reference) == pytest.approx(score)


def test_a_reference_without_words_is_an_error() -> None:
    for reference in (None, "", "the", [], [None]):
        with pytest.raises(ValueError, match="no words"):
            grade(TokenF1(), "x", reference)


CODES = ["I10", "E11.9", "Z79.4"]


@pytest.mark.parametrize(
    ("answer", "reference", "score"),
    [
        ("I10, E11.9, Z79.4", CODES, 1),
        ("z79.4; e11.9 | i10", CODES, 1),
        ('["E11.9", "I10", "Z79.4"]', CODES, 1),
        ('{"codes": ["E11.9", "I10", "Z79.4"], "sure": true}', CODES, 1),
        ("Codes: I10, E11.9 and Z79.4.", CODES, 1),
        ("- I10\n- E11.9\n- `Z79.4`", CODES, 1),
        ("1. I10\n2. E11.9\n3. **Z79.4**", CODES, 1),
        ("E11.9, I10", CODES, 0.8),
        ("I10, I10, I10", CODES, 0.5),
        (", ".join(CODES + [f"A{n}" for n in range(97)]), CODES, 6 / 103),
        ("none of them", CODES, 0),
        ("", CODES, 0),
        ("[]", [], 1),
        ("I10", [], 0),
        ("b, a", "a, b", 1),
        ("research and development", ["Research and development"], 1),
        ("42", [42], 1),
    ],
)
def test_sets_of_labels(answer: str, reference: Any, score: float) -> None:
    assert grade(SetF1(), answer, reference) == pytest.approx(score)


def test_unknown_labels_and_references() -> None:
    assert grade(SetF1(labels=("a", "b", "c")), "a, d", ["a"]) == 0
    assert grade(SetF1(labels=("a", "b", "c")), "a, b", ["a"]) == pytest.approx(2 / 3)
    with pytest.raises(ValueError, match="list of labels"):
        grade(SetF1(), "a", {"a": 1})


def test_repetition() -> None:
    assert grade(Repetition(), "each of these words is another one", None) == 1
    assert grade(Repetition(3), "so it is so it is so it is", None) == pytest.approx(3 / 7)
    assert grade(Repetition(), "round and round we go " * 100, None) < 0.02
    assert grade(Repetition(), "too short", None) == grade(Repetition(), "", None) == 1
    with pytest.raises(ValueError, match="at least 1"):
        Repetition(0)


def test_the_metrics_of_similarity_are_checked() -> None:
    assert grade(Similarity("rouge_l"), "a b c", "a b c") == 1
    with pytest.raises(ValueError, match="metric must be one of"):
        Similarity("cosine")
