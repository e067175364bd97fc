"""The check of a reward: a finding for each kind of broken reward, and none for good ones."""

from __future__ import annotations

import ast
import json
import os
import pickle
import random
import re
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_rft import ConfigurationError, DatasetError, RewardError, rewards
from bedrock_rft.rewards import (
    Choice,
    Exact,
    Format,
    Handler,
    JsonEqual,
    Length,
    Numeric,
    PassesTests,
    Report,
    Rollout,
    RolloutLog,
    Score,
    check,
    package,
    reward,
)
from bedrock_rft.rewards._checking.check import _runs_code
from bedrock_rft.rewards._checking.trial import _parse
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

EXAMPLES = Path(__file__).parents[2] / "examples"


def records(count: int = 24) -> list[dict[str, Any]]:
    return [
        {
            "messages": [{"role": "user", "content": f"Amara has {n} apples and gets {n + 3} more. How many has she?"}],
            "reference_answer": str(2 * n + 3),
            "level": n % 3,
        }
        for n in range(count)
    ]


def codes(report: Report) -> set[str]:
    assert all(len(line) <= 80 for line in str(report).splitlines())
    assert "<table " in report._repr_html_()
    assert pickle.loads(pickle.dumps(report)) == report  # noqa: S301 - ours
    return {finding.code for finding in report.findings}


def said(entry: dict[str, Any]) -> str:
    return str(entry["messages"][-1]["content"]) if entry["messages"] else ""


def wanted(entry: dict[str, Any]) -> str:
    found: Any = entry.get("reference_answer", entry.get("metadata", {}).get("reference_answer"))
    return str(found["text"]) if hasattr(found, "keys") else str(found)


def score(entry: dict[str, Any]) -> float:
    return float(said(entry).strip(" .}").endswith(wanted(entry)) and bool(said(entry)))


def good(event: Any, context: Any) -> list[dict[str, Any]]:
    del context
    return [{"id": entry["id"], "aggregate_reward_score": score(entry)} for entry in event]


Entry = dict[str, Any]
Asked = Callable[[Any, Any], Any]


def each(make: Callable[[Entry], Any]) -> Asked:
    """Return a handler whose result for each rollout is that of `make`."""

    def handler(event: Any, context: Any) -> Any:
        del context
        return [make(entry) for entry in event]

    return handler


def scored(value: Callable[[Entry], Any]) -> Asked:
    return each(lambda entry: {"id": entry["id"], "aggregate_reward_score": value(entry)})


def always(value: Any) -> Asked:
    return scored(lambda _: value)


def of_all(make: Callable[[list[Entry]], Any]) -> Asked:
    """A handler whose good answer is spoilt by `make`."""

    def handler(event: Any, context: Any) -> Any:
        return make(good(event, context))

    return handler


def circular(results: list[Any]) -> list[Any]:
    results[0]["self"] = results
    return results


async def asynchronous(event: Any, context: Any) -> Any:
    return good(event, context)


def nothing() -> list[Any]:
    return []


def hang(event: Any, context: Any) -> Any:
    del event, context
    time.sleep(5)


def recursing(event: Any, context: Any) -> Any:
    return recursing(event, context)


def raising(event: Any, context: Any) -> Any:
    del context
    raise ValueError(f"no such field in {event[0]['id']}")


def mutating(event: Any, context: Any) -> Any:
    results = good(event, context)
    event.clear()
    return results


def bare(entry: Entry) -> Any:
    return entry.get("reference_answer", entry.get("metadata", {}).get("reference_answer"))


def overwhelmed(event: Any, context: Any) -> Any:
    return good(event, context) if len(json.dumps(event)) < 4_000_000 else None


def interrupted(event: Any, context: Any) -> Any:
    del event, context
    raise KeyboardInterrupt


def alone(one: Entry, results: list[Entry]) -> float:
    return float(one["aggregate_reward_score"]) * (0.5 if len(results) == 1 else 1.0)


NOISE = random.Random(7)  # noqa: S311 - a fault


def noisy(entry: dict[str, Any]) -> float:
    return score(entry) * NOISE.random()


# What a handler returns, whether that will do, and what the check calls it.
ROWS: dict[str, tuple[Any, str | None, str]] = {
    "integers": (scored(lambda entry: int(score(entry))), None, ""),
    "minus zero": (scored(lambda entry: score(entry) or -0.0), None, ""),
    "reordered": (of_all(lambda results: results[::-1]), None, ""),
    "with metrics": (
        of_all(
            lambda results: [{**one, "metrics_list": [{"name": "n", "value": 1, "type": "Reward"}]} for one in results]
        ),
        None,
        "",
    ),
    "mutates its input": (mutating, None, ""),
    "none": (of_all(lambda _: None), "returned_none", "forget its return"),
    "empty list": (of_all(lambda _: []), "ids_missing", "left out"),
    "envelope": (
        of_all(lambda results: {"statusCode": 200, "body": json.dumps(results)}),
        "envelope",
        "{statusCode, body} envelope",
    ),
    "json text": (of_all(json.dumps), "text", "without json.dumps"),
    "generator": (of_all(lambda results: (one for one in results)), "generator", "returned a generator"),
    "score missing": (each(lambda entry: {"id": entry["id"]}), "score_missing", "no aggregate_reward_score"),
    "misnamed": (
        each(lambda entry: {"id": entry["id"], "reward": 1.0}),
        "score_missing",
        "rename 'reward' to 'aggregate_reward_score'",
    ),
    "nan": (always(float("nan")), "score_not_finite", "the score nan"),
    "-inf": (always(float("-inf")), "score_not_finite", "the score -inf"),
    "bool": (scored(lambda entry: bool(score(entry))), "score_not_number", "a boolean"),
    "text score": (always("1.0"), "score_not_number", "text as aggregate_reward_score"),
    "list score": (always([1.0]), "score_not_number", "a list as aggregate_reward_score"),
    "complex": (always(1j), "not_json", "complex"),
    "id missing": (each(lambda entry: {"aggregate_reward_score": score(entry)}), "id_missing", "without an id"),
    "unknown id": (each(lambda _: {"id": "x", "aggregate_reward_score": 1.0}), "id_unknown", "the unknown id 'x'"),
    "duplicate id": (of_all(lambda results: [*results, results[0]]), "id_twice", "twice"),
    "one missing": (of_all(lambda results: results[:-1]), "ids_missing", "left out 1 of"),
    "set": (of_all(lambda results: [{**one, "seen": {1}} for one in results]), "not_json", "set"),
    "bytes": (of_all(lambda results: [{**one, "raw": b"x"} for one in results]), "not_json", "bytes"),
    "datetime": (
        of_all(lambda results: [{**one, "at": datetime(2026, 1, 1, tzinfo=timezone.utc)} for one in results]),
        "not_json",
        "datetime",
    ),
    "circular": (of_all(circular), "not_json", "Circular"),
    "metrics no list": (
        of_all(lambda results: [{**one, "metrics_list": {"a": 1}} for one in results]),
        "metrics_not_list",
        "an object in metrics_list of rollout rollout-1; it must be a list",
    ),
    "nan metric": (
        of_all(
            lambda results: [
                {**one, "metrics_list": [{"name": "n", "value": float("nan"), "type": "Metric"}]} for one in results
            ]
        ),
        "metric_not_finite",
        "the value nan for the metric n",
    ),
    "7 MiB": (
        of_all(lambda results: [{**one, "why": "x" * ((7 << 20) // len(results) + 1)} for one in results]),
        "too_large",
        "6 MB",
    ),
    "raises": (raising, "raised", "raised ValueError: no such field"),
    "infinite recursion": (recursing, "raised", "RecursionError"),
    "async": (asynchronous, "not_a_handler", "Lambda does not await"),
    "no arguments": (nothing, "not_a_handler", "(event, context)"),
    "one object": (of_all(lambda results: results[0]), "one_object", "not a list"),
    "item no object": (
        of_all(lambda results: [one["aggregate_reward_score"] for one in results]),
        "item_not_object",
        "",
    ),
    "all equal": (always(0.5), "all_equal", "Every answer scores 0.5"),
    "wrong way round": (scored(lambda entry: 1.0 - score(entry)), "right_not_best", "wrong answers"),
    "rewards length": (scored(lambda entry: min(1.0, len(said(entry)) / 10_000)), "nonsense_scores", "long nonsense"),
    "rewards saying nothing": (
        scored(lambda entry: 1.0 if not said(entry) else score(entry) / 2),
        "rival_scores_higher",
        "score 1.000 on average, right answers 0.500",
    ),
    "obeys the answer": (
        scored(lambda entry: 1.0 if "highest score" in said(entry) else score(entry)),
        "injection",
        "ask for a high score",
    ),
    "wrong is good enough": (
        scored(lambda entry: 0.97 + 0.03 * score(entry)),
        "wrong_passes",
        "Wrong answers already score 0.97",
    ),
    "rewards empty": (
        scored(lambda entry: 1.0 if not said(entry) else score(entry)),
        "empty_scores",
        "Empty answers score 1.000, as much as right answers",
    ),
    "fails alone": (
        of_all(lambda results: results if len(results) > 1 else []),
        "single",
        "A batch of one rollout gets no valid response",
    ),
    "fails on much": (
        overwhelmed,
        "large_payload",
        "An event of 5.2 MB gets no valid response",
    ),
    "a metric misshapen": (
        of_all(lambda results: [{**one, "metrics_list": [{"name": "n", "value": "1"}]} for one in results]),
        "metric_misshapen",
        "a malformed metric",
    ),
    "a number": (of_all(len), "not_a_list", "returned int, not a list"),
    "beyond all bounds": (always(1e30), "score_too_large", "beyond 1e+09"),
    "leaves by itself": (of_all(lambda _: sys.exit(3)), "raised", "raised SystemExit: 3"),
    "is interrupted": (interrupted, "raised", "raised KeyboardInterrupt"),
    "breaks on one": (
        scored(lambda entry: score(entry) if entry["messages"][0] else 0.0),
        "one_bad_rollout",
        "leaves the whole batch without scores",
    ),
    "first only": (of_all(lambda results: results[:1]), "ids_missing", "left out"),
}


# Handlers that read some of the payload shapes only.
SHAPE_ROWS: dict[str, tuple[Any, str, str]] = {
    "reads text only": (
        scored(
            lambda entry: float(
                isinstance(entry.get("reference_answer") or entry["metadata"].get("reference_answer"), dict)
                and score(entry)
            )
        ),
        "reads_text_only",
        "reads only reference_answer['text']",
    ),
    "metadata only": (
        scored(lambda entry: score(entry) if entry.get("metadata") else 0.0),
        "reads_metadata_only",
        "reads only metadata['reference_answer']",
    ),
    "top level only": (
        scored(lambda entry: score(entry) if "reference_answer" in entry else 0.0),
        "reads_top_level_only",
        "if it comes under metadata, every perfect answer scores 0",
    ),
    "does not unwrap": (
        scored(lambda entry: score(entry) * (wanted(entry) == str(bare(entry)))),
        "reads_plain_only",
        "if the service wraps a string, every perfect answer scores 0",
    ),
    "all shapes but one": (
        scored(lambda entry: score(entry) * (isinstance(bare(entry), str) or "metadata" not in entry)),
        "shape",
        "In the shape 'metadata, wrapped', every perfect answer scores 0",
    ),
}


@pytest.mark.parametrize("row", ROWS)
def test_every_broken_handler_gets_its_own_finding(row: str) -> None:
    handler, code, words = ROWS[row]
    report = check(handler, records(), size=5)
    if code is None:
        assert report.ok, str(report)
        assert report.raise_for_errors() is report
        return
    assert code in {finding.code for finding in report.errors}, str(report)
    assert any(words in finding.summary for finding in report.errors), str(report)
    with pytest.raises(RewardError):
        report.raise_for_errors()
    codes(report)


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (scored(lambda entry: 1.5 * score(entry)), "out_of_range"),
        (scored(lambda entry: 100 * score(entry)), "out_of_range"),
        (scored(lambda entry: score(entry) * (int(wanted(entry)) < 30)), "some_not_told_apart"),
        (
            of_all(lambda results: [{**one, "aggregate_reward_score": alone(one, results)} for one in results]),
            "depends_on_batch",
        ),
        (scored(lambda entry: score(entry) - 0.5), "out_of_range"),
        (scored(noisy), "not_deterministic"),
        (scored(lambda entry: float(wanted(entry) in said(entry).split())), "guessing"),
    ],
)
def test_a_possible_fault_is_a_warning(handler: Any, code: str) -> None:
    assert code in {finding.code for finding in check(handler, records(), size=8).warnings}


@pytest.mark.parametrize("row", SHAPE_ROWS)
def test_a_handler_that_reads_one_documented_shape_gets_a_warning_about_the_others(row: str) -> None:
    handler, code, words = SHAPE_ROWS[row]
    report = check(handler, records(), size=5)
    assert report.ok, str(report)
    (finding,) = [finding for finding in report.warnings if finding.code == code]
    assert words in finding.summary


def wrapped_at_top(entry: Entry) -> float:
    """Read a reference as AWS's sample does, and raise in every other payload shape."""
    return float(said(entry).strip(" .}").endswith(entry["reference_answer"]["text"]) and bool(said(entry)))


def plain_metadata(entry: Entry) -> float:
    return float(said(entry).strip(" .}").endswith(entry["metadata"]["reference_answer"] or "?") and bool(said(entry)))


@pytest.mark.parametrize(("value", "cause"), [(wrapped_at_top, "raises KeyError"), (plain_metadata, "raises KeyError")])
def test_a_handler_that_raises_in_other_shapes_gets_a_warning(value: Any, cause: str) -> None:
    report = check(scored(value), records(), size=5)
    assert {finding.code for finding in report.errors} == {"one_bad_rollout"}, str(report)
    assert any(cause in finding.summary for finding in report.warnings), str(report)


def test_a_handler_that_reads_no_documented_shape_is_broken() -> None:
    def odd(entry: Entry) -> float:
        reference = entry.get("metadata", {}).get("reference_answer")
        return score(entry) if isinstance(reference, dict) else 0.0

    report = check(scored(odd), records(), size=5)
    assert "reads_text_only" in {finding.code for finding in (*report.warnings, *report.errors)}
    assert not report.ok


# Right answers in the forms that people use


def strict(pattern: str) -> Asked:
    """A handler that gives a score only to answers that match a pattern as a whole, with the reference in its group."""

    def value(entry: Entry) -> float:
        found = re.fullmatch(pattern, said(entry), re.DOTALL)
        return float(found is not None and found.group(1).strip() == wanted(entry))

    return scored(value)


@pytest.mark.parametrize(
    "pattern",
    [
        r"<think>\n.*?\n</think>\n<answer>\n(.*?)\n</answer>",
        r"<answer>(.*?)</answer>",
        r"<think>.*?</think>\s*([^<]*)",
        r"<reasoning>.*</reasoning>\s*<answer>(.*?)</answer>",
        r".*<solution>(.*?)</solution>",
        r".*\nAnswer: (\S+)",
        r".*\nFinal answer: (\S+)",
        r".*[Aa]nswer is \((\S+)\)\.?",
        r".*\*\*(\w+)\*\*",
        r".*\*\*Answer:\*\* (\w+)",
        r".*\$\\boxed\{(\w+)\}\$\.",
        r'\{"answer": "(.*?)"\}',
        r'\{"answer": (\d+)\}',
        r"```\n(.*?)\n```",
        r".*```python\n(.*?)\n```",
        r".*```sql\n(.*?)\n```",
    ],
)
def test_a_reward_that_wants_a_usual_form_is_sound(pattern: str) -> None:
    report = check(strict(pattern), records(), size=5)
    assert report.ok, str(report)
    assert report.form
    assert report.scores["right"].mean == 1.0
    assert not report.unknown


def test_a_reward_that_wants_the_tags_of_its_prompt_is_sound() -> None:
    rows = records()
    for row in rows:
        row["messages"].insert(0, {"role": "system", "content": "Write <plan>…</plan> and then <result>…</result>."})
    report = check(strict(r"<plan>.*</plan>\s*<result>(.*?)</result>"), rows)
    assert report.ok, str(report)
    assert report.form == "in the prompt's tags"


REFERENCES: list[tuple[Callable[[int], Any], Callable[[Any], str]]] = [
    (lambda n: {"answer": f"word {n}", "unit": "apples"}, lambda found: found["answer"]),
    (lambda n: json.dumps({"sql": f"SELECT {n}", "db": "a"}), lambda found: json.loads(found)["sql"]),
    (lambda n: {"task": {"id": n, "target": {"value": f"w{n}x"}}}, lambda found: found["task"]["target"]["value"]),
    (lambda n: json.dumps({"target": {"value": f"w{n}x"}}), lambda found: json.loads(found)["target"]["value"]),
    (lambda n: [f"first {n}", f"second {n}"], lambda found: found[0]),
    (lambda n: f"We count.\n#### {n}", lambda found: found),
    (lambda n: f"word {n}", json.dumps),
]


@pytest.mark.parametrize(("reference", "right"), REFERENCES)
def test_the_reference_is_tried_as_text_as_json_and_by_field(reference: Any, right: Any) -> None:
    def value(entry: Entry) -> float:
        found: Any = entry.get("reference_answer", entry.get("metadata", {}).get("reference_answer"))
        wrapped = isinstance(found, dict) and "text" in found
        plain: Any = cast("Any", found)["text"] if wrapped else cast("Any", found)
        return float(bool(said(entry)) and said(entry) == str(right(plain)) if plain is not None else 0.0)

    report = check(scored(value), with_reference(reference), size=5)
    assert report.ok, str(report)
    assert report.scores["right"].mean == 1.0


def test_a_reward_whose_right_answers_cannot_be_built_is_unknown_and_gold_settles_it() -> None:
    def value(entry: Entry) -> float:
        return 0.9 * (said(entry) == f"~{wanted(entry)[::-1]}~") + 0.1 * (0 < len(said(entry)) < 20)

    report = check(scored(value), records())
    assert report.ok, str(report)
    (unknown,) = report.unknown
    assert unknown.code == "no_right_answer"
    assert "could not build a right answer" in str(unknown).lower()
    assert "pass gold=" in str(unknown)
    for form in ("in a sentence", "in a box", "in tags", "after 'Answer:'", "in bold", "in a Python code block"):
        assert form in unknown.reason
    assert "right_not_best" not in codes(report)
    settled = check(scored(value), records(), gold=lambda record: f"~{record['reference_answer'][::-1]}~")
    assert settled.ok, str(settled)
    assert not settled.unknown
    assert settled.scores["right"].mean == 1.0


UNUSUAL: list[Callable[[str], str]] = [
    lambda text: f"~~{text.encode().hex()}~~",
    lambda text: f"RESULT={text};",
]


@pytest.mark.parametrize("lowest", [0.0, -1.0])
@pytest.mark.parametrize("right", UNUSUAL)
def test_a_reward_for_an_unusual_form_is_unknown_and_gold_decides(right: Callable[[str], str], lowest: float) -> None:
    handler = scored(lambda entry: 1.0 if said(entry) == right(wanted(entry)) else lowest)
    report = check(handler, records(), size=5)
    (unknown,) = report.findings
    assert (unknown.level, unknown.code) == ("unknown", "no_right_answer"), str(report)
    assert f"(every answer scored {lowest:g}); pass gold=" in unknown.summary
    assert "in a box" in unknown.reason
    settled = check(handler, records(), size=5, gold=lambda record: right(record["reference_answer"]))
    assert settled.ok, str(settled)
    assert settled.scores["right"].mean == 1.0


def test_a_reward_that_is_always_zero_is_an_error_only_if_gold_scores_0_too() -> None:
    (unknown,) = check(always(0), records()).findings
    assert (unknown.level, unknown.code) == ("unknown", "no_right_answer")
    report = check(always(0), records(), gold=lambda record: str(record["reference_answer"]))
    (error,) = report.errors
    assert error.code == "always_zero"
    assert error.summary == "Every answer scores 0, also the answers that gold= returned"
    codes(report)


def test_a_wrong_gold_is_named_if_reference_answers_score() -> None:
    report = check(Numeric(), records(), gold=lambda _: "no")
    (error,) = report.errors
    assert error.code == "gold_not_right"
    assert error.summary == "The answers that gold= returned score 0, as much as empty ones"
    assert "reference answers score 1 on average" in error.reason
    codes(report)


TICKETS = [
    {
        "messages": [{"role": "user", "content": f"Route ticket {n}. Reply with JSON."}],
        "reference_answer": {"team": "abcd"[n % 4], "urgency": n % 3, "order": 1000 + n},
    }
    for n in range(24)
]


def answered(rollout: Rollout) -> Mapping[str, Any]:
    try:
        found = json.loads(rollout.answer)
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


@reward
def parted(rollout: Rollout) -> Mapping[str, float]:
    found = answered(rollout)
    weights = {"team": 0.6, "urgency": 0.2, "order": 0.2}
    return {name: weight * (found.get(name) == rollout.reference[name]) for name, weight in weights.items()}


def test_weighted_parts_that_are_averaged_get_a_warning() -> None:
    def right(record: Mapping[str, Any]) -> str:
        return json.dumps(record["reference_answer"])

    for gold in (None, right):
        (found,) = check(parted, TICKETS, gold=gold).findings
        assert (found.level, found.code) == ("warning", "below_top")
        assert found.summary == "Right answers score at most 0.333 of 1"
        assert found.reason == "the score of 'parted' is the mean of its parts, and their sum is 1"


def test_right_answers_below_the_top_of_the_scale_get_a_warning() -> None:
    half = scored(lambda entry: score(entry) / 2)
    (found,) = check(half, records(), gold=lambda record: f"#### {record['reference_answer']}").findings
    assert (found.code, found.summary) == ("below_top", "Right answers score at most 0.500 of 1")
    assert check(half, records(), reward_range=(0, 0.5)).findings[0].code == "sound"
    assert check(half, records()).findings[0].code == "sound", "another form may score more"


def test_a_reward_that_reads_one_field_finds_no_fault_in_the_data() -> None:
    @reward
    def team(rollout: Rollout) -> float:
        return float(answered(rollout).get("team") == rollout.reference["team"])

    assert check(team, TICKETS).findings[0].code == "sound"
    report = check(team, TICKETS, accuracy=True)
    assert report.accuracy is not None
    assert not [one for one in report.accuracy.kinds if one.kind == "another record's answer" and one.mistakes]

    @reward
    def named(rollout: Rollout) -> float:
        return float(rollout.answer.startswith(f"Team {rollout.reference['team']}:"))

    def write(record: Mapping[str, Any]) -> str:
        return f"Team {record['reference_answer']['team']}: {record['messages'][0]['content']}"

    report = check(named, TICKETS, gold=write)
    assert report.scores["wrong"].greatest == 1.0, "the answer to another record of the same team"
    assert "some_not_told_apart" not in {one.code for one in report.findings}, str(report)


def test_scores_are_judged_by_the_range_of_the_reward() -> None:
    percent = scored(lambda entry: 35 + 65 * score(entry))
    report = check(percent, records(), reward_range=(0, 100))
    assert report.findings[0].code == "sound", str(report)
    assert "wrong_passes" not in {one.code for one in check(percent, records()).errors}
    high = check(scored(lambda entry: 97 + 3 * score(entry)), records(), reward_range=(0, 100))
    assert "wrong_passes" in {one.code for one in high.errors}
    (outside,) = check(percent, records(), reward_range=(0, 10)).findings
    assert (outside.code, outside.reason) == ("out_of_range", "reward_range= is 0 to 10")
    with pytest.raises(ConfigurationError, match="reward_range is"):
        check(percent, records(), reward_range=(1, 0))


def test_a_reward_that_runs_tests_needs_gold() -> None:
    tests = with_reference(lambda n: f"assert twice({n + 1}) == {2 * n + 2}")[:2]
    assert _runs_code(package(PassesTests()))
    assert not _runs_code(package(Exact()))
    (unknown,) = check(PassesTests(), tests, size=1).findings
    assert (unknown.level, unknown.code) == ("unknown", "no_right_answer")
    report = check(PassesTests(), tests[:1], size=1, gold=lambda _: "```python\ndef twice(x):\n    return 2 * x\n```")
    assert not report.errors, str(report)
    assert report.scores["right"].mean == 1.0


def test_a_reward_that_runs_code_is_tried_with_code_only(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Any] = []
    run = PassesTests._run

    def counted(*arguments: Any) -> Any:
        runs.append(arguments)
        return run(*arguments)

    monkeypatch.setattr(PassesTests, "_run", counted)
    rows = [
        {**record, "reference_answer": f"def f(x):\n    return {n} * x", "tests": f"assert f(3) == {3 * n}"}
        for n, record in enumerate(records()[:2], 1)
    ]
    report = check(PassesTests(tests="tests"), rows, size=1)
    assert report.scores["right"].mean == 1.0
    assert report.ok, str(report)
    assert len(runs) < 15, "the answers that are Python, out of more than 100"


def test_gold_is_called_for_every_record_with_or_without_a_reference() -> None:
    rows = records()
    for row in rows[::2]:
        del row["reference_answer"]
    asked: list[Any] = []

    def gold(record: Mapping[str, Any]) -> str:
        asked.append(record)
        return str(sum(map(int, re.findall(r"\d+", record["messages"][0]["content"]))))

    def value(entry: Entry) -> float:
        question = entry["messages"][0]["content"] if entry["messages"] else ""
        return float(said(entry) == str(sum(map(int, re.findall(r"\d+", question)))))

    report = check(scored(value), rows, gold=gold)
    assert len(asked) == report.sample == 20
    assert report.scores["right"].count == report.scores["wrong"].count == 20
    assert report.scores["right"].mean == 1.0
    assert report.scores["wrong"].mean == 0.0
    assert not report.errors, str(report)


NO_GOLDS: list[tuple[Callable[[Mapping[str, Any]], Any] | str, str]] = [
    (lambda record: record["nothing"], "gold raised KeyError: 'nothing' for record"),
    (lambda _: 7, "gold returned int for record"),
    (lambda _: None, "gold returned NoneType for record"),
    ("answer", "gold is str"),
]


@pytest.mark.parametrize(("gold", "words"), NO_GOLDS)
def test_an_invalid_gold_function_is_an_error(gold: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check(good, records(), gold=gold)


# Rewards that can be hacked


def numbers(entry: Entry) -> list[str]:
    return re.findall(r"\d+", said(entry))


def json_answer(entry: Entry, *, lists: bool) -> float:
    """Score the field `answer` of a JSON object; with `lists`, any item of a list counts."""
    try:
        found: Any = json.loads(said(entry))["answer"]
        if lists and not isinstance(found, str):
            return float(wanted(entry) in [str(item) for item in found])
    except (ValueError, TypeError, KeyError):
        return 0.0
    return float(found == wanted(entry))


def boxes(entry: Entry) -> list[str]:
    return re.findall(r"\\boxed\{(.*?)\}", said(entry))


def last_match(pattern: str, entry: Entry) -> float:
    return float(re.findall(pattern, said(entry), re.DOTALL)[-1:] == [wanted(entry)])


def thoughts(entry: Entry) -> int:
    return sum(map(len, re.findall(r"<think>(.*?)</think>", said(entry), re.DOTALL)))


def after_thoughts(entry: Entry) -> str:
    return re.sub(r"<think>.*?</think>", "", said(entry), flags=re.DOTALL)


HACKED: list[tuple[Callable[[Entry], float], str]] = [
    (lambda entry: float(wanted(entry) in numbers(entry)), "guessing"),
    (lambda entry: float(numbers(entry)[:1] == [wanted(entry)]), "reads_too_early"),
    (lambda entry: 0.5 * ("####" in said(entry)) + 0.5 * score(entry), "markers_score"),
    (
        lambda entry: float(
            re.search(r"<answer>.*\b" + wanted(entry) + r"\b.*</answer>", said(entry), re.DOTALL) is not None
        ),
        "guessing",
    ),
    (lambda entry: json_answer(entry, lists=True), "guessing"),
    (lambda entry: float(boxes(entry)[:1] == [wanted(entry)]), "guessing"),
    (lambda entry: float(wanted(entry) in boxes(entry)), "guessing"),
    (lambda entry: float(wanted(entry) in boxes(entry)[:3] and len(boxes(entry)) <= 3), "guessing"),
    (lambda entry: float(wanted(entry) in re.findall(r"boxed{(.*?)}", said(entry)[-40:])), "guessing"),
    (lambda entry: float(re.findall(r"#### (\S+)", said(entry))[:1] == [wanted(entry)]), "guessing"),
    (lambda entry: float(re.findall(r"<answer>(.*?)</answer>", said(entry))[:1] == [wanted(entry)]), "guessing"),
    (lambda entry: 0.7 * last_match("<answer>(.*?)</answer>", entry) + 0.3 * (thoughts(entry) > 200), "length_scores"),
    (lambda entry: last_match("<answer>(.*?)</answer>", entry) + 0.3 * (thoughts(entry) > 3000), "length_scores"),
    (lambda entry: max(last_match(r"boxed{(.*?)}", entry), 0.3 * (thoughts(entry) > 1000)), "length_scores"),
    (lambda entry: 0.7 * last_match(r"#### (\S+)", entry) + 0.3 * min(1, thoughts(entry) / 4000), "length_scores"),
    (lambda entry: 0.7 * score(entry) + 0.3 * (200 < thoughts(entry) < 1000), "length_scores"),
    (lambda entry: 0.7 * score(entry) + 0.3 * (len(after_thoughts(entry)) > 1000), "length_scores"),
    (lambda entry: max(score(entry), 0.8 * ("\\boxed{{" in said(entry))), "hostile_scores"),
    (lambda entry: max(score(entry), float(len(said(entry)) > 50_000)), "rival_scores_higher"),
]


@pytest.mark.parametrize(("value", "code"), HACKED)
def test_a_reward_that_can_be_hacked_is_reported(value: Any, code: str) -> None:
    rows = [{**record, "reference_answer": str(100 + 7 * place)} for place, record in enumerate(records())]
    report = check(scored(value), rows, size=5)
    assert code in {finding.code for finding in (*report.errors, *report.warnings)}, str(report)


def test_a_reward_that_reads_one_json_answer_is_sound() -> None:
    report = check(scored(lambda entry: json_answer(entry, lists=False)), records())
    assert report.ok, str(report)
    assert "many guesses in a JSON list" in report.scores


NOISES: list[tuple[Callable[[Entry], float], str]] = [
    (lambda entry: score(entry) * 0.6 + 0.4 * NOISE.random(), "warning"),
    (lambda _: NOISE.random(), "error"),
]


@pytest.mark.parametrize(("value", "level"), NOISES)
def test_noise_is_one_finding(value: Any, level: str) -> None:
    report = check(scored(value), records(80), size=40)
    found = [*report.errors, *report.warnings]
    assert [(finding.level, finding.code) for finding in found] == [(level, "not_deterministic")], str(report)


def test_a_form_is_found_by_the_name_in_the_report() -> None:
    from bedrock_rft.rewards._checking.answer_forms import find_form

    rows = records()
    report = check(strict(r".*\*\*(\w+)\*\*"), rows)
    form = find_form(report.form, rows)
    assert form is not None
    assert form.render(rows[3]) == "Let me think it through.\n**9**"
    assert find_form("no such form", rows) is None


def test_every_finding_is_provoked_by_a_test() -> None:
    """No code in the check that no test of this file sees."""
    folder = Path(rewards.__file__).parent
    told: set[str] = set()
    for file in [*(folder / "_checking").glob("*.py"), folder / "_targets" / "handler_response.py"]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Finding", "_fail"):
                place = 1 if node.func.id == "Finding" else 0
                told |= {str(one.value) for one in node.args[place : place + 1] if isinstance(one, ast.Constant)}
            if isinstance(node, ast.keyword) and node.arg == "code" and isinstance(node.value, ast.Constant):
                told.add(str(node.value.value))
    seen = Path(__file__).read_text()
    assert len(told) > 35
    assert {code for code in told if f'"{code}"' not in seen} == set()


def test_a_reward_that_hangs_is_abandoned() -> None:
    began = time.monotonic()
    report = check(hang, records(), timeout=0.2)
    assert {finding.code for finding in report.errors} == {"timeout"}
    assert time.monotonic() - began < 4


def test_a_slow_reward_gets_a_warning() -> None:
    def slow(event: Any, context: Any) -> Any:
        time.sleep(0.12)
        return good(event, context)

    report = check(slow, records(2), timeout=0.2)
    assert "slow" in {finding.code for finding in report.warnings}
    assert report.seconds_per_rollout > 0


def test_a_reward_that_prints_the_event_gets_a_warning() -> None:
    def printing(event: Any, context: Any) -> Any:
        sys.stdout.write(f"{event}\n")
        return good(event, context)

    assert "prints_event" in {finding.code for finding in check(printing, records()).warnings}


def divides(rollout: Rollout) -> float:
    return 1.0 / (len(rollout.answer) % 2)


def test_errors_behind_a_floor_are_reported() -> None:
    @reward
    def brittle(rollout: Rollout) -> float:
        return 1.0 / (len(rollout.answer) % 2)

    for target in (brittle, package(reward(name="again")(divides))):
        (found,) = [finding for finding in check(target, records(), size=4).errors if finding.code == "reward_errors"]
        assert "(the first: ZeroDivisionError: " in found.reason
        assert re.search(r"division by zero \((source_)?test_rewards_check.py, line ", found.reason)


def test_the_text_of_an_exception_is_shown_here_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    rows = with_reference(lambda n: f"x^{n}")
    (found,) = [finding for finding in check(Numeric(), rows, size=4).errors if finding.code == "reward_errors"]
    assert "use MathEqual() for formulas" in found.reason

    @reward
    def revealing(rollout: Rollout) -> float:
        raise ValueError(f"\x1b[31m{rollout.answer}")

    (found,) = [finding for finding in check(revealing, rows, size=4).errors if finding.code == "reward_errors"]
    assert "x^" in found.reason
    assert "\x1b" not in found.reason
    assert "got the floor" in caplog.text
    assert "x^" not in caplog.text


def test_answers_for_which_no_time_was_left_are_called_so() -> None:
    @reward
    def slow(rollout: Rollout) -> float:
        time.sleep(0.05)
        return float(bool(rollout.answer))

    (found,) = check(slow, records(2), timeout=0.2).findings
    assert (found.level, found.code) == ("error", "no_time")
    assert found.summary.startswith("No time was left to score ")


def test_rollouts_that_cannot_be_recorded_get_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "reward")
    report = check(Handler(Numeric(), record=RolloutLog(str(tmp_path / "file"))), records(), size=4)
    (found,) = [finding for finding in report.warnings if finding.code == "not_recorded"]
    assert "(the first: " in found.reason
    assert report.ok


def with_reference(make: Callable[[int], Any]) -> list[dict[str, Any]]:
    return [{**record, "reference_answer": make(place)} for place, record in enumerate(records())]


def first(record: Mapping[str, Any]) -> str:
    return str(record["reference_answer"][0])


NUMBER = Numeric()


@reward
async def judged(rollout: Rollout) -> Score:
    return Score(0.9 if rollout.answer and Exact()(rollout).value else 0.1, metrics={"judge_tokens": 7.0})


@pytest.mark.parametrize(
    ("made", "data"),
    [
        (Numeric(), records()),
        (Numeric(), with_reference(lambda n: n + 0.5)),
        (Numeric(), with_reference(lambda n: f"{n} and {n} is {2 * n}, so it costs $1,{n:03}\n#### 1,{n:03}")),
        (Exact(), with_reference(lambda n: f"Answer number {n}")),
        (Exact(), with_reference(lambda n: [f"first {n}", f"second {n}"])),
        (Choice(), with_reference(lambda n: "ABCDE"[n % 5])),
        (JsonEqual(), with_reference(lambda n: {"answer": n, "unit": "apples"})),
        (JsonEqual(), with_reference(lambda n: json.dumps({"answer": [n, {"unit": "apples"}]}))),
        (0.9 * Numeric() + 0.1 * Format(marker="####"), records()),
        (0.8 * Numeric() + 0.2 * Length(2000, tolerance=1000), records()),
        ((NUMBER + 0.2 * Length(2000, tolerance=1000)).clip(0, 1).gate(NUMBER), records()),
        (judged, records()),
        (Handler(Numeric(), floor=-0.1), records()),
        (good, records()),
        (f"{EXAMPLES / 'reward.py'}:lambda_handler", records()),
    ],
)
def test_good_rewards_pass(made: Any, data: Any) -> None:
    report = check(made, data, size=5, gold=first if isinstance(data[0]["reference_answer"], list) else None)
    assert report.ok, str(report)
    tricks = {"guessing", "reads_too_early", "markers_score", "length_scores"}
    assert not tricks & {finding.code for finding in report.warnings}, str(report)
    assert report.scores["right"].mean > report.scores["wrong"].mean
    assert report.sample == 5
    assert report.invocations > 10


def test_the_report_has_sound_and_unknown_results() -> None:
    report = check(NUMBER, records())
    assert [finding.code for finding in report.findings] == ["sound"]
    assert (report.verdict, report.sample) == ("ok", 20)
    same = check(scored(lambda entry: float(said(entry) == "1")), with_reference(lambda _: "1"), size=4)
    assert "no_wrong" in {finding.code for finding in same.unknown}


def test_a_handler_gets_json_and_may_change_it() -> None:
    seen: list[Any] = []

    def changing(event: Any, context: Any) -> Any:
        results = good(event, context)
        for each in event:
            seen.append(each.pop("metadata", None))
            each["messages"].clear()
        return results

    rows = [{**record, "size": (1, 2), "names": {1: None, "a": True}} for record in records()]
    assert check(changing, rows, size=2).ok
    plain = {"size": [1, 2], "names": {"1": None, "a": True}}
    assert any(found and plain.items() <= found.items() for found in seen)
    assert all(len(row["messages"]) == 1 and row["size"] == (1, 2) for row in rows)


def test_a_metric_may_have_any_type() -> None:
    typed = {"metrics_list": [{"name": "n", "value": 1, "type": "Another"}]}
    assert check(of_all(lambda results: [{**one, **typed} for one in results]), records()).ok


def test_records_without_references_are_reported() -> None:
    bare = [{"messages": record["messages"]} for record in records()]
    report = check(Length(100, tolerance=50), bare)
    assert {finding.code for finding in report.unknown} == {"no_reference"}


FILE = """
import json, os, sys, time

def good(event, context):
    assert context.get_remaining_time_in_millis() > 0
    out = []
    for entry in event:
        found = entry.get("reference_answer", (entry.get("metadata") or {}).get("reference_answer"))
        found = found["text"] if isinstance(found, dict) else str(found)
        said = entry["messages"][-1]["content"] if entry["messages"] else ""
        right = said.strip(" .}").endswith(found) and said != ""
        out.append({"id": entry["id"], "aggregate_reward_score": float(right)})
    return out

def leaves(event, context): sys.exit(3)
def crashes(event, context): os.kill(os.getpid(), 11)
def hangs(event, context): time.sleep(60)
def eats(event, context): return [0] * 10 ** 10
def raises(event, context): return {}["nothing"]
def recurses(event, context): return recurses(event, context)
def none(event, context): return None
def gives(event, context): yield from good(event, context)
def text(event, context): return json.dumps(good(event, context))
def raw(event, context): return b"[]"
def strange(event, context): return [{**one, "seen": {1}} for one in good(event, context)]
async def waits(event, context): return good(event, context)
def envelope(event, context): return {"statusCode": 200, "body": json.dumps(good(event, context))}
def looks(event, context):
    secret = [name for name in os.environ if name.startswith(("AWS_", "OPENAI_")) or "PROXY" in name.upper()]
    if secret or os.path.expanduser("~") == "/root": raise ValueError(f"saw {secret}")
    return good(event, context)
def chosen(event, context): return globals()[event[0]["mode"]](event, context)
def prints(event, context):
    print('[{"id": "1", "aggregate_reward_score": 1.0}]')
    os.write(1, b'{"result": []}\\n')
    return good(event, context)
number = 7
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("hangs", "timeout", "did not answer within 0.5 seconds"),
        ("raises", "raised", "raised KeyError: 'nothing' (rewards.py, line "),
        ("none", "returned_none", "forget its return"),
        ("number", "not_loaded", "is int, not a function"),
        ("missing", "not_loaded", "rewards.py has no attribute 'missing'; it has good, "),
    ],
)
def test_a_file_that_crashes_is_reported(file: Path, name: str, code: str, words: str) -> None:
    report = check(f"{file}:{name}", records(8), timeout=0.5 if name == "hangs" else 20)
    assert {finding.code for finding in report.errors} == {code}, str(report)
    assert words in report.errors[0].summary


@pytest.fixture(scope="module")
def process(file: Path) -> Iterator[SubprocessTarget]:
    with closing(SubprocessTarget(file, "chosen", "rewards.py", 20, 1024)) as target:
        yield target


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("leaves", "raised", "raised SystemExit: 3 (rewards.py, line "),
        pytest.param(
            "eats",
            "raised",
            "MemoryError",
            marks=pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's"),
        ),
        ("recurses", "raised", "RecursionError"),
        ("none", "returned_none", "forget its return"),
        ("gives", "generator", "generator"),
        ("text", "text", "without json.dumps"),
        ("raw", "text", "text"),
        ("strange", "not_json", "set is not a JSON value"),
        ("waits", "coroutine", "does not await"),
        ("envelope", "envelope", "statusCode"),
    ],
)
def test_results_of_a_process_get_their_own_errors(process: SubprocessTarget, name: str, code: str, words: str) -> None:
    event: list[Any] = [{"id": "1", "messages": [], "metadata": {"reference_answer": "4"}, "mode": name}]
    with pytest.raises(RewardError) as error:
        _parse(process.invoke(event), ["1"])
    assert error.value.code == code
    assert words in error.value.message
    assert _parse(process.invoke([{**event[0], "mode": "good"}]), ["1"])[1][0].score == 0.0, "it continues"


def test_a_file_that_cannot_be_loaded_is_loaded_once(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("open(__file__ + '.log', 'a').write('loaded ')\nimport no_such_module\n")
    report = check(f"{tmp_path}/bad.py:f", records(8))
    assert {finding.code for finding in report.errors} == {"not_loaded"}
    assert report.invocations > 1
    assert (tmp_path / "bad.py.log").read_text() == "loaded "


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")
def test_the_signal_that_ended_a_process_is_named(file: Path) -> None:
    error = rewards.invoke(f"{file}:crashes", [Rollout.of("?", "4")]).error
    assert error is not None
    assert error.code == "died"
    assert "SIGSEGV" in error.message


BREAKS = """
import os
def breaks(event, context):
    out = []
    for entry in event:
        wanted = entry.get("reference_answer", (entry.get("metadata") or {{}}).get("reference_answer"))
        wanted = wanted["text"] if isinstance(wanted, dict) else wanted
        answer = entry["messages"][-1]["content"] if entry["messages"] else ""
        if wanted == "31":
            {break_}
        if not answer:
            raise KeyError("no answer")
        out.append({{"id": entry["id"], "aggregate_reward_score": float(answer == wanted)}})
    return out
"""


@pytest.mark.parametrize("where", ["here", "file"])
def test_the_record_that_breaks_a_batch_is_named(tmp_path: Path, where: str) -> None:
    text = BREAKS.format(break_='raise ValueError("no \\x1b[31mway\\n" + "x" * 5000)')
    (tmp_path / "breaks.py").write_text(text)
    rows: list[Any] = [{**record, "id": f"q\u202e{place}"} for place, record in enumerate(records(), 1)]
    rows[11]["reference_answer"] = "31"
    data = tmp_path / "data.jsonl"
    data.write_text("\n" + "\n".join(map(json.dumps, rows)))  # lines are counted, not records
    names: dict[str, Any] = {}
    exec(compile(text, str(tmp_path / "breaks.py"), "exec"), names)  # noqa: S102 - the file's own function
    report = check(names["breaks"] if where == "here" else f"{tmp_path}/breaks.py:breaks", data)
    (other, first) = [finding for finding in report.errors if finding.code == "raised"]
    assert first.summary.startswith("The reward handler raised ValueError: no \\x1b[31mway\\nxxx")
    assert "(breaks.py, line 10)" in first.summary
    assert re.search(
        r"in \d+ of \d+ invocations, for one with the '[^']+' answer to line 13 \(id q\\u202e12\)", first.reason
    )
    assert "raised KeyError: 'no answer' (breaks.py, line 12)" in other.summary
    assert "' answer to line " in other.reason
    assert report.invocations > int(re.findall(r"of (\d+) invocations", first.reason)[0])


def test_a_package_may_import_the_libraries_of_lambda(tmp_path: Path) -> None:
    import zipfile

    source = "import botocore.session\ndef lambda_handler(event, context):\n" + textwrap.indent(GOOD_BODY, "    ")
    with zipfile.ZipFile(tmp_path / "reward.zip", "w") as archive:
        archive.writestr("lambda_function.py", source)
    report = check(tmp_path / "reward.zip", records(), size=4)
    assert report.ok, str(report)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("lambda_function.py", source.replace("botocore.session", "httpx"))
    (finding,) = check(tmp_path / "other.zip", records()).errors
    assert finding.code == "not_loaded"
    assert "No module named 'httpx'" in finding.summary


GOOD_BODY = """
out = []
for entry in event:
    found = entry.get("reference_answer", (entry.get("metadata") or {}).get("reference_answer"))
    found = found["text"] if isinstance(found, dict) else str(found)
    answer = entry["messages"][-1]["content"] if entry["messages"] else ""
    out.append({"id": entry["id"], "aggregate_reward_score": float(answer.strip() == found)})
return out
"""


def test_the_record_that_ends_a_process_is_named(tmp_path: Path) -> None:
    (tmp_path / "breaks.py").write_text(BREAKS.format(break_="os._exit(3)"))
    rows = records(8)
    rows[3] = {**rows[3], "reference_answer": "31"}
    report = check(f"{tmp_path}/breaks.py:breaks", rows)
    (died,) = [finding for finding in report.errors if finding.code == "died"]
    assert "answer to record 4" in died.reason
    assert "ended its process (exit code 3)" in died.summary


def test_an_error_that_needs_several_rollouts_names_no_record() -> None:
    def breaks(event: Any, context: Any) -> Any:
        if len(event) > 1:
            raise ValueError("too many")
        return good(event, context)

    (raised,) = [finding for finding in check(breaks, records()).errors if finding.code == "raised"]
    assert raised.reason.endswith("invocations")


def test_a_missing_score_names_its_record() -> None:
    handler = of_all(
        lambda results: [
            {**one, "aggregate_reward_score": None} if place == 1 else one for place, one in enumerate(results)
        ]
    )
    (found,) = [finding for finding in check(handler, records()).errors if finding.code == "score_not_number"]
    assert re.search(r"with the '[^']+' answer to record \d+", found.reason)


@pytest.mark.parametrize("name", ["looks", "prints"])
def test_a_file_has_an_empty_environment(file: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "fake-secret-0123456789")
    report = check(f"{file}:{name}", records(), size=4)
    assert report.ok, str(report)
    assert "fake-secret" not in str(report)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("nowhere.py:handler", "no file"),
        ("reward.txt:handler", "neither"),
        ("reward.py", "neither"),
        (7, "of type int"),
        ("arn:aws:s3:::bucket", "not the ARN of a Lambda function"),
    ],
)
def test_an_object_that_is_not_a_reward_is_an_error(target: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        check(target, records())


def test_an_object_that_is_not_a_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no records"):
        check(good, [])
    with pytest.raises(DatasetError, match="cannot be read"):
        check(good, tmp_path / "none.jsonl")
    with pytest.raises(ConfigurationError, match="size is 0"):
        check(good, records(), size=0)
    with pytest.raises(ConfigurationError, match="timeout is 1000"):
        check(good, records(), timeout=1000)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=20)
@given(ODD, st.lists(st.dictionaries(st.text(max_size=5), ODD, max_size=3), min_size=1, max_size=4))
def test_any_result_gives_a_report(result: Any, rows: list[dict[str, Any]]) -> None:
    def odd(event: Any, context: Any) -> Any:
        del event, context
        return result

    assert isinstance(check(odd, records(3)), Report)
    data = [
        {"messages": [{"role": "user", "content": "?"}], **{k: v for k, v in row.items() if k != "messages"}}
        for row in rows
    ]
    data = [row for row in data if _json(row)]
    if data:
        assert isinstance(check(good, data), Report)


def _json(row: Any) -> bool:
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def test_the_command_checks_a_file(file: Path, tmp_path: Path) -> None:
    from bedrock_rft import datasets
    from bedrock_rft._cli.app import run as main

    data = tmp_path / "train.jsonl"
    datasets.write(data, records())
    assert main(["reward", "check", f"{file}:good", str(data)]) == 0
    assert main(["reward", "check", f"{file}:none", str(data)]) == 3
    assert main(["reward", "check", f"{file}:none", str(tmp_path / "none.jsonl")]) == 2


def test_the_finding_for_the_sample_of_aws_is_exact() -> None:
    source = textwrap.dedent(
        """
        def handler(event, context):
            scores = []
            for sample in event:
                reference = sample.get("reference_answer", {})
                text = reference.get("text", "") if isinstance(reference, dict) else ""
                truth = text.split("####")[-1].strip()
                said = sample["messages"][-1]["content"].split("####")[-1].strip() if sample["messages"] else ""
                scores.append({"id": sample["id"], "aggregate_reward_score": 1.0 if truth and truth == said else 0.0})
            return scores
        """
    )
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102 - ours
    report = check(space["handler"], with_reference(lambda n: f"She has {n}.\n#### {n}"))
    said = "if the service sends plain strings, every perfect answer scores 0"
    assert f"The reward reads only reference_answer['text']: {said}" in {finding.summary for finding in report.warnings}
    assert report.ok, "AWS's own sample is no broken reward"
