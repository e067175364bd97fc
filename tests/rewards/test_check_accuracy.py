"""False positives and false negatives of a reward, measured by `check`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import rewards
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards import (
    Choice,
    Exact,
    Format,
    JsonEqual,
    JsonSchema,
    Judge,
    LabelModel,
    Length,
    Matches,
    MathEqual,
    Numeric,
    PassesTests,
    PythonGrader,
    Repetition,
    Report,
    Reward,
    Rollout,
    ScoreModel,
    SetF1,
    Similarity,
    StringCheck,
    TokenF1,
    ToolCall,
    check,
    reward,
)
from bedrock_rft.rewards._checking.accuracy import AnswerKind, _equivalents, measure_accuracy
from bedrock_rft.rewards._checking.answer_forms import find_form
from bedrock_rft.rewards._checking.probes import AnswerKey, Gold
from bedrock_rft.rewards._checking.trial import Trial
from bedrock_rft.rewards._runtime.reward import Leaf
from bedrock_rft.rewards._targets.resolve import resolve_target

NUMBERS = ["1234", "0.5", "12", "-3", "0.25", "1/3"]
NAMES = ["Paris", "New York", "Rome", "Oslo"]


def records(references: list[Any]) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"Question {number}?"}], "reference_answer": reference}
        for number, reference in enumerate(references)
    ]


def kinds(report: Report) -> dict[str, AnswerKind]:
    assert report.accuracy is not None
    return {f"{'right' if one.right else 'wrong'}: {one.kind}": one for one in report.accuracy.kinds}


@reward
def contains(rollout: Rollout) -> float:
    """A reward with many false positives."""
    return float(str(rollout.reference).lower() in rollout.answer.lower())


@reward
def literal(rollout: Rollout) -> float:
    """A reward with many false negatives."""
    return float(rollout.answer == rollout.reference)


def test_nothing_is_measured_unless_asked_for() -> None:
    report = check(Exact(), records(NAMES))
    assert report.accuracy is None
    assert "mistakes" not in str(report)


def test_a_reward_that_finds_the_answer_anywhere_has_false_positives(tmp_path: Path) -> None:
    report = check(contains, records(NAMES), accuracy=True)
    assert report.accuracy is not None
    found = kinds(report)
    for kind in ("negation", "contradiction", "all options"):
        assert found[f"wrong: {kind}"].rate == 1, kind
    for kind in ("empty", "prompt echo", "another record's answer", "prompt injection", "marker stuffing"):
        assert found[f"wrong: {kind}"].rate == 0, kind
    assert report.accuracy.false_positives == pytest.approx(3 / 9, abs=0.05)
    (error,) = [one for one in report.errors if one.code == "false_positives"]
    assert "negation (100%)" in error.summary
    line = next(line for line in str(report).splitlines() if line.startswith("  wrong: negation "))
    assert line.split()[2:5] == ["4", "of", "4"]
    assert "scores 1.00" in line
    page = report.to_html(tmp_path / "report.html")
    assert "<td>wrong: negation</td><td>4 of 4</td><td>100%</td>" in re.sub(r" style='[^']*'", "", page)
    assert "&#x27;not " in page
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    stored = json.loads(report.to_json())["accuracy"]
    assert {"kind": "empty", "right": False, "answers": 4, "mistakes": 0, "example": None} in stored["kinds"]


def test_a_reward_that_compares_text_has_false_negatives() -> None:
    report = check(literal, records(NUMBERS), accuracy=True)
    assert report.accuracy is not None
    assert report.accuracy.false_positives == 0
    assert report.accuracy.false_negatives > 0.7
    assert {one.code for one in report.errors} >= {"false_negatives"}
    loose = check(literal, records(NUMBERS), accuracy=True, max_false_negatives=1)
    assert "false_negatives" in {one.code for one in loose.warnings}


def test_own_cases_are_measured(tmp_path: Path) -> None:
    (record,) = records(["42"])
    cases: list[tuple[dict[str, Any], str, float]] = [
        (record, "42", 1),
        (record, "forty-two", True),
        (record, "41", 0.0),
        (record, "42 or 43", False),
    ]
    report = check(Numeric(), records(NUMBERS), cases=cases)
    right, wrong = kinds(report)["right: own cases"], kinds(report)["wrong: own cases"]
    assert (right.answers, right.mistakes, right.example) == (2, 1, ("case 2", "forty-two", 0.0))
    assert (wrong.answers, wrong.mistakes) == (2, 0)
    assert {one.code for one in report.errors} == {"false_negatives"}
    path = tmp_path / "cases.jsonl"
    lines = [{"record": record, "answer": answer, "expected": expected} for _, answer, expected in cases]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert kinds(check(Numeric(), records(NUMBERS), cases=path)) == kinds(report)
    wrong_cases: list[Any] = [[(record, "42")], [({}, 42, 1)], ["42"]]
    for bad in wrong_cases:
        with pytest.raises(ConfigurationError, match="Case 1 is not a record"):
            check(Numeric(), records(NUMBERS), cases=bad)


def test_equivalent_forms() -> None:
    half = _equivalents("0.5")
    assert {half[kind] for kind in ("as a fraction", "as a LaTeX fraction", "as a percentage")} == {
        "1/2",
        r"\frac{1}{2}",
        "50%",
    }
    assert "as a decimal" not in _equivalents("1/3"), "it has none"
    assert _equivalents("-1/4")["as a decimal"] == "-0.25"
    assert _equivalents("72000")["with a thousands separator"] == "72,000"
    assert json.loads(_equivalents('{"a": 1, "b": 2}')["keys in another order"]) == {"b": 2, "a": 1}
    assert _equivalents('["a", "b"]') == {"items in another order": '["b", "a"]'}
    assert _equivalents("B")["in parentheses"] == "(B)"


def test_punctuation_does_not_count_as_a_word() -> None:
    assert TokenF1()(Rollout.of("?", "$Ada Lovelace$", "Ada Lovelace")).value == 1


@dataclass
class Rated:
    """A grader as the documentation names it, short references for it, and how right answers are written."""

    grader: Reward
    shown: str
    references: list[Any]
    form: str = "as plain text"
    gold: Gold | None = None


DATES = ["2024-01-31", "1999-12-01", "2010-06-15"]
OBJECTS: list[Any] = [{"n": n, "unit": "kg"} for n in range(4)]
SENTENCES = [
    "The quick fox jumps over the lazy dog",
    "Rain falls on the plain in spring",
    "Trade grew fast after the war ended",
]
PROGRAMS = {f"assert add{n}(1) == {1 + n}": f"```python\ndef add{n}(a):\n    return a + {n}\n```" for n in (1, 2, 3)}


def every_grader() -> list[Rated]:
    # Created by the test: some import a large library.
    return [
        Rated(Numeric(), "Numeric()", NUMBERS),
        Rated(MathEqual(), "MathEqual()", [r"\frac{1}{2}", r"\sqrt{2}", "x^2 + 1", "(1, 2)"]),
        Rated(Exact(), "Exact()", NAMES),
        Rated(Choice("ABCD"), 'Choice("ABCD")', ["A", "B", "C", "D"]),
        Rated(TokenF1(), "TokenF1()", ["Ada Lovelace", "Grace Hopper", "Alan Turing"]),
        Rated(SetF1(), "SetF1()", [["I10", "E11.9", code] for code in ("Z79.4", "J45", "K21")]),
        Rated(JsonEqual(), "JsonEqual()", OBJECTS),
        Rated(
            ToolCall(),
            "ToolCall()",
            [{"name": "weather", "arguments": {"city": city, "days": 2}} for city in ("Paris", "Oslo", "Rome")],
        ),
        Rated(PassesTests(), "PassesTests()", [*PROGRAMS], gold=lambda record: PROGRAMS[record["reference_answer"]]),
        Rated(StringCheck(), "StringCheck()", NAMES),
        *(
            Rated(Similarity(metric), f'Similarity("{metric}")', SENTENCES)
            for metric in ("fuzzy_match", "bleu", "gleu", "rouge_l")
        ),
        Rated(Matches(r"\d{4}-\d{2}-\d{2}"), r'Matches(r"\d{4}-\d{2}-\d{2}")', DATES),
        Rated(JsonSchema({"type": "object", "required": ["n"]}), "JsonSchema(…)", OBJECTS),
        Rated(Format(marker="####"), 'Format(marker="####")', NAMES, form="after ####"),
        Rated(Length(200), "Length(200)", NAMES),
        Rated(Repetition(), "Repetition()", NAMES),
    ]


def rates(rated: Rated) -> tuple[str, str, str, str]:
    """Return a row of the documentation: a kind without a rate has mistakes only."""
    tried = records(rated.references)
    rows = ["row"] * len(tried)
    form = find_form(rated.form, tried)  # the whole check finds it too
    assert form is not None
    key = AnswerKey.from_form(tried, form) if rated.gold is None else AnswerKey.from_gold(tried, rows, rated.gold)
    target = resolve_target(rated.grader, timeout=None, memory=512, client=None)
    found = measure_accuracy(Trial(target, tried, rows), key, "metadata", [], seed=0)
    kinds = [one.kind + (f" ({one.rate:.0%})" if one.rate < 1 else "") for one in found.kinds if one.mistakes]
    return f"`{rated.shown}`", f"{found.false_positives:.0%}", f"{found.false_negatives:.0%}", ", ".join(kinds)


def test_the_rates_of_the_graders_are_those_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "write-a-reward.md").read_text(encoding="utf-8")
    rows = [tuple(cell.strip() for cell in row) for row in re.findall(r"\| (.*) \| (.*%) \| (.*%) \|(.*)\|", page)]
    graded = every_grader()
    assert [rates(rated) for rated in graded] == rows
    public = {getattr(rewards, name) for name in rewards.__all__}
    graders = {one for one in public if isinstance(one, type) and issubclass(one, Leaf)}
    judges_and_own_code = {Judge, ScoreModel, LabelModel, PythonGrader}
    assert graders - {type(rated.grader) for rated in graded} == judges_and_own_code


def test_a_formula_and_a_program_are_written_in_other_ways_that_stay_right() -> None:
    assert set(_equivalents(r"\sqrt{2}")) == {"in bold", "in LaTeX"}
    assert set(_equivalents("x^2 + 1")) == {"in bold", "in LaTeX"}
    assert set(_equivalents("```python\nx = 1\n```")) == {"after a sentence", "in a fence of tildes"}
    assert _equivalents("1/2")["as a Unicode fraction"] == "½"
