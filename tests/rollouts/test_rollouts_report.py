"""The report finds each behaviour, raises no alarm for healthy runs, and says what it does not know."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.live_runs import events
from support.metric_curves import healthy
from support.rollout_families import BEGAN, BEHAVIOURS, HEALTHY, Case, generate
from support.rollout_files import Behaviour, write_rollouts

from bedrock_rft import rollouts
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rollouts import Record, RolloutReport, _tally
from bedrock_rft.rollouts._features import extract_features
from bedrock_rft.rollouts._report import rollout_report
from bedrock_rft.rollouts._tally import Tally, Timeline


def alarms(report: RolloutReport) -> set[str]:
    return {finding.code for finding in (*report.errors, *report.warnings)}


def unknown(report: RolloutReport) -> set[str]:
    return {finding.code for finding in report.unknown}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return generate(HEALTHY["format kept from the start"], steps=12)


def test_a_pass_mark_that_is_not_a_number_is_refused(records: list[Record]) -> None:
    with pytest.raises(ConfigurationError, match="pass_mark is nan"):
        rollout_report(records, "title", pass_mark=float("nan"))


@pytest.mark.parametrize(("code", "make"), BEHAVIOURS.values(), ids=BEHAVIOURS)
def test_each_behaviour_is_found_with_examples(code: str, make: Callable[[Case], None]) -> None:
    steps = 14 if code == "parts_diverge" else 10  # a part that does not rise takes longer to be known
    report = rollout_report(generate(make, seed=1, steps=steps), "a run")
    assert code in alarms(report)
    assert alarms(report) <= {code, "parts_diverge"}
    finding = next(finding for finding in report.findings if finding.code == code)
    assert finding.reason
    assert finding.remedy
    assert (code in report.examples) != (code in {"part_constant", "part_dominates"})


def test_a_rehearsal_is_named_first_and_nothing_is_said_about_a_model() -> None:
    copied = generate(BEHAVIOURS["one long answer"][1], seed=1, steps=10)
    cut = generate(BEHAVIOURS["cut at a limit"][1], seed=1, steps=10)
    assert "the model has collapsed" in str(rollout_report(copied, "a run"))
    for source, request in (("rehearsal", "rehearse-1"), ("local_service", "local-1")):
        report, other = (
            rollout_report([replace(one, source=source, request_id=request) for one in made], "a run")
            for made in (copied, cut)
        )
        assert report.rehearsed == report.rollouts
        assert report.facts()[0][0] == "note"
        assert "the local service or a rehearsal, and not a model, gave these answers" in report.to_html()
        assert "copied_answers" in alarms(report)
        assert "collapsed" not in str(report)
        worthless = [replace(one, score=0.0, source=source, request_id=request) for one in copied]
        assert "copied_answers" in unknown(rollout_report(worthless, "a run"))
        assert "cut_off" in unknown(other)
        assert "The service limits" not in str(other)
        head, *_ = str(report).split("\n\n")
        assert "  note " in head
        assert "  scoring " in head  # wrapped facts do not move other facts below the tables
    assert rollout_report(copied, "a run").rehearsed == 0


def test_the_models_of_answers_are_named(records: list[Record]) -> None:
    mixed = [replace(one, model=f"model-{place % 2}") for place, one in enumerate(records)]
    facts = dict(rollout_report(mixed, "a run").facts())
    assert facts["models"].startswith("answers of 2 models, which the figures do not separate: model-0 (")
    assert "models" not in dict(rollout_report(records, "a run").facts())


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_runs_raise_no_alarm(name: str) -> None:
    report = rollout_report(generate(HEALTHY[name], seed=1, steps=10), "a run")
    assert alarms(report) == set()
    expected = {"multiple choice": {"reward_length", "language_switch"}, "a third recorded": {"no_signal"}}
    assert unknown(report) == expected.get(name, set())


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [("length_hack", "reward_length"), ("collapsed", "copied_answers"), ("no_signal", "no_signal"),
     ("errors", "reward_errors"), ("cut_off", "cut_off"), ("healthy", None)],
)  # fmt: skip
def test_recorded_files_are_judged(behaviour: Behaviour, code: str | None, tmp_path: Path) -> None:
    write_rollouts(tmp_path, steps=9, groups=12, samples=8, behaviour=behaviour)
    report = rollouts.read(tmp_path).report()
    assert code in alarms(report) if code else alarms(report) == set()
    assert report.ok is (behaviour not in {"no_signal", "errors"})


# What it says


def test_figures_of_a_run(records: list[Record]) -> None:
    report = rollout_report(records, "a run", pass_mark=0.9)
    assert (report.rollouts, report.groups, report.group_size) == (12 * 96, 144, 8)
    assert report.prompts == len({record.prompt_hash for record in records})
    assert report.mean == pytest.approx(sum(record.score for record in records) / len(records))
    assert report.pass_rate == pytest.approx(sum(record.score >= 0.9 for record in records) / len(records))
    assert sum(period.rollouts for period in report.periods) == report.rollouts
    for period in report.periods:
        assert sum(period.histogram) == period.rollouts
    assert report.first == BEGAN.timestamp()
    assert set(report.parts) == {"correct", "format"}
    assert report.parts["correct"].correlation == pytest.approx(1, abs=0.05)
    assert len(report.slowest) == 10
    assert len(report.sample) == 1000
    counts = Counter(one.time for one in report.sample)
    assert len(counts) == 12, "not the first 1,000"
    assert max(counts.values()) - min(counts.values()) < 25
    assert [one.time for one in report.sample] == sorted(one.time for one in report.sample)
    assert report.hardest[0].pass_rate <= report.easiest[0].pass_rate


def test_the_report_is_the_same_each_time_and_is_plain_json(records: list[Record]) -> None:
    first, second = (rollout_report(records, "a run").to_json() for _ in range(2))
    assert first == second
    found = json.loads(first)
    assert found["verdict"] == "ok"
    assert "sample" not in found
    assert found["examples"] == {}


def test_the_text_fits_a_terminal(records: list[Record]) -> None:
    text = str(rollout_report(records, "a run" * 30, fields=["none"]))
    assert max(map(len, text.splitlines())) <= 80
    assert "part of the reward" in text
    assert "2026-11-28 14:03" in text


def test_pass_rates_by_field_and_steps_of_the_job(records: list[Record]) -> None:
    known = [replace(record, fields={"level": "hard" if place % 3 else "easy"}) for place, record in enumerate(records)]
    log = [
        event.model_copy(update={"created_at": int(BEGAN.timestamp()) + 600 * place + 5})
        for place, event in enumerate(events(healthy(steps=12)))
    ]
    report = rollout_report(known, "a run", events=log, fields=["level"], pass_mark=0.9)
    assert [(rate.name, rate.rollouts) for rate in report.fields["level"]] == [("hard", 768), ("easy", 384)]
    assert [step.rollouts for step in report.steps] == [96] * 12
    assert [step.step for step in report.steps] == list(range(1, 13))
    assert report.steps[0].mean == pytest.approx(sum(record.score for record in records[:96]) / 96)
    assert report.steps[0].reported is not None
    assert "step (by time)" in str(report)


def test_events_that_share_seconds_do_not_align_steps(records: list[Record]) -> None:
    log = [event.model_copy(update={"created_at": int(BEGAN.timestamp())}) for event in events(healthy(steps=12))]
    assert rollout_report(records, "a run", events=log).steps == ()


# What it does not know


def test_too_few_rollouts_are_not_judged(records: list[Record]) -> None:
    report = rollout_report(records[:90], "a run")
    assert unknown(report) == {"too_few"}
    assert report.rollouts == 90
    assert unknown(rollout_report([replace(record, prompt_hash=None) for record in records], "a run")) == {"too_few"}
    empty = rollout_report([], "a run")
    assert unknown(empty) == {"no_rollouts"}
    assert "no_rollouts" in empty.to_json()
    assert "There are no rollouts" in empty.to_html()


def test_texts_that_were_not_recorded_are_not_judged(records: list[Record]) -> None:
    report = rollout_report([replace(record, answer=None, prompt=None) for record in records], "a run")
    assert unknown(report) == {"no_answers"}
    assert "not recorded" in report.to_html()


def test_answers_that_the_record_cut_are_not_called_cut_off(records: list[Record]) -> None:
    cut = [replace(record, answer=(record.answer or "")[:40], truncated=("answer",)) for record in records]
    assert "cut_off" in unknown(rollout_report(cut, "a run"))


def test_a_correlation_that_prompts_alone_cause_is_not_reported() -> None:
    """Give hard prompts long answers and low rewards; within a group nothing varies but the noise."""
    made = generate(HEALTHY["grows longer"], seed=3, steps=10)
    between = Tally(1.0).read(made).correlation("length and reward")
    assert between is not None
    assert between.low < 0 < between.high


# Bounds


def test_prompts_beyond_the_limit_are_counted_by_their_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tally, "MOST_PROMPTS", 32)
    made = generate(HEALTHY["multiple choice"], steps=12)
    tally = Tally(1.0).read(made)
    assert len(tally.prompts) == 32
    assert 0.6 < tally.prompt_count / len({record.prompt_hash for record in made}) < 1.6
    for key, sums in tally.prompts.items():  # complete, although prompts came and went
        assert sums.rollouts == sum(record.prompt_hash == key for record in made)


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.floats(-50, 50)), min_size=1, max_size=300),
    st.integers(1, 12),
)
def test_a_timeline_keeps_sums_however_often_it_is_coarsened(points: list[tuple[float, float]], most: int) -> None:
    timeline = Timeline()
    for at, score in points:
        timeline.add(at, [(("rollouts", ""), 1), (("score", ""), score)])
        timeline.add_score(at, score)
    periods = timeline.merge(most)
    assert len(timeline.periods) <= 128
    assert len(periods) <= most
    assert sum(sums["score", ""] for *_, sums in periods) == pytest.approx(sum(score for _, score in points), abs=1e-6)
    counted = {key: amount for *_, sums in periods for key, amount in sums.items() if key[0] == "histogram"}
    assert sum(sums.get(key, 0) for *_, sums in periods for key in counted) == len(points)
    for number in timeline.periods:
        assert 0 <= number * timeline.width <= 1e6


# Features


@pytest.mark.parametrize(
    ("answer", "tag"),
    [("<think>so it goes", "<think>"), ("<think>so</think> 4", ""), ("```python\nx = 1", "```"), ("```\nx\n```", ""),
     ("a <THINK> b", "<think>"), ("x < y > z", ""), ("</think> 4", ""), ("<answer>4</answer> <answer>5", "<answer>")],
)  # fmt: skip
def test_unclosed_tags_and_fences(answer: str, tag: str) -> None:
    assert extract_features(answer, "").unclosed == tag


@pytest.mark.parametrize(
    ("answer", "is_empty"),
    [
        ("<answer></answer>", True),
        ("<answer> ... </answer>", True),
        ("<answer>your answer here</answer>", True),
        (r"so \boxed{}", True),
        ("####", True),
        ("The answer is", True),
        ("```python\n```", True),
        ("<answer>4</answer>", False),
        (r"\boxed{4}", False),
        ("#### 4", False),
        ("The answer is 4.", False),
        ("<think></think> 4", False),
    ],
)
def test_markers_around_nothing(answer: str, is_empty: bool) -> None:
    assert bool(extract_features(answer, "").empty_marker) is is_empty


@pytest.mark.parametrize(
    ("text", "language"),
    [("We add the numbers, and that is the sum of both, so it is for you.", "English"),
     ("Der Wert ist die Summe, und das ist nicht schwer mit der Formel.", "German"),
     ("我们先计算第一个数字。答案是 4", "Han or Kana"), ("Ответ равен сумме чисел", "Cyrillic"), ("42", ""),
     ("The value of α is the sum of the parts, and that is for the proof.", "English")],
)  # fmt: skip
def test_languages(text: str, language: str) -> None:
    assert extract_features(text, "").language == language
