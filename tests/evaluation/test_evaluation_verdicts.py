"""Verdicts, missing answers, advice, groups and examples, from answers with known scores."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from bedrock_rft._core import statistics
from bedrock_rft._core.statistics import passes
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.evaluation._pipeline import Unscored
from bedrock_rft.evaluation._questions import Model, parse_prompts, plan_questions, sample_prompts
from bedrock_rft.evaluation._resume_file import Answer, AnswerScore, ResumeFile
from bedrock_rft.evaluation._summary import build_evaluation

Score = Callable[[int, int], float | None]
Scores = Mapping[str, Score]


def evaluate(
    scores: Scores,
    *,
    count: int = 30,
    samples: int = 1,
    records: Sequence[Mapping[str, Any]] | None = None,
    parts: Callable[[int, int], Mapping[str, float]] | None = None,
    tuned: str = "",
    by: Sequence[str] = (),
    **facts: Any,
) -> Evaluation:
    """Build the report of models whose score is a function of the prompt's index and the sample; None is missing."""
    rows = records or [{"messages": [{"role": "user", "content": f"Prompt {n}"}]} for n in range(count)]
    prompts = parse_prompts(rows)
    models = [Model(name, name, tuned=name == tuned) for name in scores]
    questions = list(plan_questions(prompts, models, samples, {}))
    kept, unscored = ResumeFile(None, "x"), Unscored()
    for question in questions:
        score = scores[question.model.id](question.prompt.index, question.sample)
        if score is None:
            unscored.unanswered[question.key] = "too long"
            continue
        kept.add_answer(question.key, Answer(f"{question.model.id} {score}", "stop"))
        values: Mapping[str, float] = parts(question.prompt.index, question.sample) if parts else {}
        kept.add_score(question.key, AnswerScore(score, values))
    settings: dict[str, Any] = {
        "reward": "right",
        "samples": samples,
        "pass_mark": 1.0,
        "reward_range": (0.0, 1.0),
        "seed": 0,
        "resumed": 0,
        "dataset": "test.jsonl, 30 records",
        "date": "2026-01-01 00:00 UTC",
        "region": "us-west-2",
        "sampling": {"temperature": 0.5},
        "versions": {"bedrock-rft": "1", "openai": "2"},
        "local_service": False,
        **facts,
    }
    return build_evaluation(
        Evaluation(title="", findings=(), **settings), questions, models, prompts, kept, unscored, by=by
    )


def codes(report: Evaluation) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize(("count", "verdict"), [(3, "undecided"), (5, "undecided"), (6, "better"), (30, "better")])
def test_few_prompts_give_no_verdict(count: int, verdict: str) -> None:
    report = evaluate({"base": lambda _index, _sample: 0.0, "tuned": lambda _index, _sample: 1.0}, count=count)
    assert report.comparisons[0].verdict == verdict
    assert ("no_verdict" in codes(report)) == (verdict == "undecided")
    assert ("at least 6" in " ".join(str(report).split())) == (verdict == "undecided")


@pytest.mark.parametrize("models", [1, 5])
@pytest.mark.parametrize("count", [3, 12])
def test_equal_models_are_called_equal(models: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_RESAMPLES", "_FEWEST_RESAMPLES"):  # verdicts do not depend on intervals, which are slow
        monkeypatch.setattr(statistics, name, 10)
    false = 0
    for run in range(100):
        rng = random.Random(run)  # noqa: S311 - a simulation
        draw: Score = lambda _index, _sample: float(rng.random() < 0.5)  # noqa: B023, E731 - called at once
        report = evaluate({"base": draw, **{f"m{n}": draw for n in range(models)}}, count=count)
        false += any(comparison.verdict != "undecided" for comparison in report.comparisons)
    assert false <= 10


def test_p_values_are_adjusted_for_the_number_of_models() -> None:
    one: Score = lambda index, _: float(index < 6)  # noqa: E731 - p = 2 / 64
    alone = evaluate({"base": lambda _index, _sample: 0.0, "a": one})
    several = evaluate({"base": lambda _index, _sample: 0.0, "a": one, "b": one, "c": one})
    assert alone.comparisons[0].difference.p == several.comparisons[0].difference.p == pytest.approx(0.03125)
    assert (alone.comparisons[0].verdict, several.comparisons[0].verdict) == ("better", "undecided")
    assert several.comparisons[0].difference.adjusted_p == pytest.approx(3 * 0.03125)


def test_copies_of_a_prompt_count_once() -> None:
    rows = [{"messages": [{"role": "user", "content": f"Prompt {n % 4}"}]} for n in range(40)]
    report = evaluate({"base": lambda _index, _sample: 0.0, "tuned": lambda _index, _sample: 1.0}, records=rows)
    assert report.comparisons[0].verdict == "undecided"
    assert "4 different prompts" in report.comparisons[0].reason


def test_missing_answers_are_reported_for_each_model() -> None:
    report = evaluate({"base": lambda _index, _sample: 0.5, "tuned": lambda index, _: None if index < 6 else 1.0})
    base, tuned = report.models
    assert (base.failed, tuned.failed) == (0, 6)
    assert tuned.missing_share == pytest.approx(0.2)
    assert tuned.score.value == pytest.approx(1.0)
    assert tuned.score_with_missing.value == pytest.approx(0.8)
    assert {"missing_answers", "no_verdict"} <= codes(report)
    assert "20% of its answers and 0% of the answers of base are missing" in report.comparisons[0].reason
    text = str(report)
    assert "6 (20%)" in text
    assert "mean with missing" in text
    assert "6 (20%)" in report.to_html()
    assert all(len(line) <= 80 for line in text.splitlines())


def test_missing_answers_that_could_explain_a_difference_leave_it_undecided() -> None:
    # One answer in 24 is missing; the answered prompts show a tiny gain that it would cancel.
    report = evaluate(
        {"base": lambda _index, _sample: 0.50, "tuned": lambda index, _: None if index == 0 else 0.51}, count=24
    )
    (comparison,) = report.comparisons
    assert comparison.difference.adjusted_p < 0.05
    assert comparison.verdict == "undecided"
    assert "count as the lowest score" in comparison.reason
    large = evaluate(
        {"base": lambda _index, _sample: 0.1, "tuned": lambda index, _: None if index == 0 else 0.9}, count=24
    )
    assert large.comparisons[0].verdict == "better"


def test_missing_answers_that_hide_right_and_wrong_ones_leave_it_undecided() -> None:
    # Each model beats the other on 10 prompts, but the base model's right answers to them are missing, and as many
    # wrong answers of the tuned model to other prompts.
    def base(index: int, _: int) -> float | None:
        return None if index < 10 else float(index >= 30)

    def tuned(index: int, _: int) -> float | None:
        return None if 20 <= index < 30 else float(index >= 10)

    report = evaluate({"base": base, "tuned": tuned}, count=240)
    (comparison,) = report.comparisons
    assert comparison.difference.adjusted_p < 0.05
    assert comparison.difference_with_missing is not None
    assert comparison.difference_with_missing.adjusted_p < 0.05
    assert comparison.verdict == "undecided"
    assert "tuned count as the lowest score and those of base as the highest" in comparison.reason
    worse = evaluate({"base": tuned, "tuned": base}, count=240).comparisons[0]
    assert "base count as the lowest score and those of tuned as the highest" in worse.reason


def test_prompts_that_no_model_answered_do_not_count_against_a_verdict() -> None:
    report = evaluate(
        {"base": lambda i, _: None if i < 9 else float(i > 30), "tuned": lambda i, _: None if i < 9 else float(i > 20)},
        count=300,
    )
    assert report.comparisons[0].verdict == "better"


@pytest.mark.parametrize(
    ("count", "value", "code"),
    [
        (10, 0.0, "base_unclear"),
        (200, 0.0, "base_too_low"),
        (10, 1.0, "base_unclear"),
        (200, 1.0, "base_too_high"),
        (200, 0.5, "base_score"),
        (200, 7.0, "base_scale"),
        (200, -1.0, "base_scale"),
    ],
)
def test_advice_uses_the_interval_on_the_rewards_scale(count: int, value: float, code: str) -> None:
    assert code in codes(evaluate({"base": lambda _index, _sample: value}, count=count))


def test_advice_follows_a_given_range() -> None:
    assert "base_score" in codes(evaluate({"base": lambda _index, _sample: 5.0}, count=200, reward_range=(0.0, 10.0)))
    assert "base_too_low" in codes(
        evaluate({"base": lambda _index, _sample: -1.0}, count=200, reward_range=(-1.0, 1.0))
    )
    assert "base_too_high" in codes(
        evaluate({"base": lambda _index, _sample: 10.0}, count=200, reward_range=(0.0, 10.0))
    )


@pytest.mark.parametrize("value", [0.0, 0.25, 1.0])
def test_no_interval_has_width_zero(value: float) -> None:
    report = evaluate({"base": lambda _index, _sample: value, "other": lambda _index, _sample: value})
    for interval in (*(model.score for model in report.models), report.comparisons[0].difference.interval):
        assert interval.high - interval.low > 0.01


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0.7 + 0.2 + 0.1, True), (0.1 + 0.2 + 0.7, True), (sum([0.1] * 10), True), (1.0, True), (0.999, False)],
)
def test_floating_sums_reach_the_pass_mark(score: float, expected: bool) -> None:
    assert passes(score, 1.0) is expected
    assert evaluate({"base": lambda _index, _sample: score}).models[0].pass_at[1] == float(expected)


def test_parts_and_groups_use_the_denominator_of_the_mean() -> None:
    rows = [{"messages": [{"role": "user", "content": f"{n}"}], "kind": "a"} for n in range(10)]

    def score(index: int, sample: int) -> float | None:
        if index == 0 and sample > 0:
            return None
        return 1.0 if index == 0 else 0.5

    report = evaluate(
        {"base": score},
        records=rows,
        samples=4,
        by=("kind",),
        parts=lambda index, _: {"value": 1.0 if index == 0 else 0.5, **({"rare": 1.0} if index < 5 else {})},
    )
    (model,) = report.models
    assert model.parts["value"] == pytest.approx(model.score.value) == pytest.approx(0.55)
    assert model.parts["rare"] == pytest.approx(0.5)
    assert report.groups[0].means["base"] == pytest.approx(model.score.value)


def test_examples_are_changes_of_the_means_and_the_tuned_model_comes_first() -> None:
    def checkpoint(index: int, _: int) -> float:
        return float(index < 8)

    def tuned(index: int, sample: int) -> float:
        return [0.0, 0.5, 0.5, 1.0][sample] if index < 3 else 0.0

    report = evaluate(
        {"base": lambda _index, _sample: 0.0, "step 1": checkpoint, "job": tuned}, count=10, samples=4, tuned="job"
    )
    assert [example.label for example in report.better] == ["job"] * 3 + ["step 1"] * 2
    assert [comparison.label for comparison in report.comparisons] == ["job", "step 1"]
    first = report.better[0]
    assert (first.gain, first.before_mean, first.after_mean) == pytest.approx((0.5, 0.0, 0.5))
    assert first.after[1] == 0.5, "the answer shown is typical of the mean, and not the best one"
    page = report.to_html()
    assert page.index("<b>job</b>") < page.index("<b>base</b>")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1_700_000_000 + 86_400 * n for n in range(40)], "2023-11-14 22:13 to 2023-11-24 22:13"),
        ([(1_700_000_000 + 86_400 * n) * 1000 for n in range(40)], "2023-11-14 22:13 to 2023-11-24 22:13"),
        ([f"2024-01-{n % 28 + 1:02}T00:00:00Z" for n in range(56)], "2024-01-01 00:00 to 2024-01-08 00:00"),
        ([(1_700_000_000 + 86_400 * n) * 10**9 for n in range(40)], "2023-11-14 22:13 to 2023-11-24 22:13"),
        ([1_000_000 * n for n in range(40)], "0 to 10000000"),
        ([123_456_789 + n for n in range(40)], "123456789 to 123456799"),
        ([n / 40 for n in range(40)], "0 to 0.25"),
        (["easy", "hard"] * 20, "easy"),
        ([10, 2] * 20, "2"),
    ],
)
def test_groups_have_readable_names(values: list[Any], expected: str) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"{n}"}], "field": value} for n, value in enumerate([*values, None])
    ]
    report = evaluate({"base": lambda _index, _sample: 0.5}, records=rows, by=("field",))
    assert report.groups[0].value == expected
    assert report.groups[-1].value == "missing"
    assert sum(group.prompts for group in report.groups) == len(rows)


def test_a_limit_samples_at_random() -> None:
    prompts = parse_prompts([{"messages": [{"role": "user", "content": f"{n}"}]} for n in range(100)])
    ten, fifteen, other = (sample_prompts(prompts, *given) for given in ((10, 0), (15, 0), (10, 1)))
    indices = [prompt.index for prompt in ten]
    assert indices == sorted(indices) != list(range(10))
    assert set(indices) < {prompt.index for prompt in fifteen}
    assert indices != [prompt.index for prompt in other]
    assert sample_prompts(prompts, 10, 0) == ten
    assert sample_prompts(prompts, None, 0) == sample_prompts(prompts, 100, 3) == prompts


@pytest.mark.parametrize("local", [False, True])
def test_text_page_and_json_contain_the_facts(local: bool) -> None:
    report = evaluate({"base": lambda _index, _sample: 0.5}, local_service=local)
    note = "on the local service: no model was trained; its answers know the references"
    for form in (" ".join(str(report).split()), report.to_html(), report.to_json()):
        for fact in ("test.jsonl, 30 records", "2026-01-01 00:00 UTC", "us-west-2", "temperature", "bedrock-rft"):
            assert fact in form
        assert (note in form) is local
