"""Metrics have each step once, lose nothing, and are equal in every format."""

# matplotlib leaves its keyword arguments without types.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import csv
import io
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.metric_curves import STEPS, healthy, job, metrics

from bedrock_rft import ConfigurationError, Event, TrainingMetrics
from bedrock_rft.errors import MissingExtraError
from bedrock_rft.metrics import Metrics, compare
from bedrock_rft.metrics._html import ticks
from bedrock_rft.metrics._series import extent, is_validation, panels, smooth, sparkline, thin

NAMES = [
    "critic_rewards_mean",
    "actor_entropy",
    "actor_grad_norm",
    "response_length_mean",
    "critic_advantages_mean",
    "actor_pg_loss",
]
HOSTILE = "<script>document.title='ran'</script><img src=http://other.example/x>\x1b[31m\u202e"


def event(kind: str = "metrics", **data: Any) -> Event:
    return Event.model_validate({"id": "e", "type": kind, "data": data})


def run(seed: int = 0, **fields: Any) -> Metrics:
    return metrics(healthy(seed), job(**fields), checkpoints=(17, 34, 51, 67))


def bad() -> Metrics:
    """Return metrics with NaN, infinities, validation, text and hostile names."""
    steps = healthy()
    steps[20] |= {"actor_grad_norm": math.nan, "critic_rewards_mean": math.inf}
    steps[21] |= {HOSTILE: 0.5, "phase": HOSTILE, "parts": {"a": [1]}}
    for step in steps[7::8]:
        step["validation_rewards_mean"] = 0.5 + step["step"] / 200
    return metrics(steps, job(f"ftjob-{HOSTILE}"), checkpoints=(17,))


# Metrics as a sequence


def test_metrics_are_a_sequence_of_steps() -> None:
    found = run()
    assert len(found) == STEPS
    assert [step.step for step in found[-3:]] == [65, 66, 67]
    assert isinstance(found[-3:], Metrics)
    assert found[-3:].job == found.job
    assert found[0].critic_rewards_mean == healthy()[0]["critic_rewards_mean"]
    assert list(found) == [found[place] for place in range(STEPS)]
    assert list(found.names) == NAMES
    assert found.total_steps == STEPS


def test_events_about_one_step_are_merged() -> None:
    events = [
        event(step=2, critic_rewards_mean=0.2),
        event("message", step=9),
        event(step=1, critic_rewards_mean=0.1, actor_entropy=0.6),
        event(note="no step"),
        event(step=1, critic_rewards_mean=0.15, validation_reward=0.4, new=[1]),
        event("validation_metrics", step=2, critic_rewards_mean=0.3),
    ]
    found = Metrics.of(events)
    assert [step.step for step in found] == [1, 2, None]
    assert found[0].critic_rewards_mean == 0.15  # the newest counts
    assert found[0].actor_entropy == 0.6
    assert found[0].model_extra == {"validation_reward": 0.4, "new": [1]}
    assert found[1].critic_rewards_mean == 0.2  # what another type measured does not pass for the training's
    assert found[1].model_extra == {"validation_critic_rewards_mean": 0.3}
    assert found[2].model_extra == {"note": "no step"}
    assert found.validation_names == ("validation_reward", "validation_critic_rewards_mean")


@pytest.mark.parametrize(
    "name", ["val_loss", "valid_reward_mean", "validation/reward", "eval-score", "full_valid_loss"]
)
def test_validation_metrics_are_recognised_by_a_prefix(name: str) -> None:
    assert is_validation(name)
    assert not any(map(is_validation, [*NAMES, "value_loss", "evaluations", "validity", "tests_passed"]))


@pytest.mark.parametrize(
    ("name", "home"),
    [
        ("validation_rewards_mean", "reward"),
        ("val/critic_rewards_mean", "reward"),
        ("valid_reward", "reward"),
        ("eval_response_length", "response length (tokens)"),
        ("validation_speed", "validation_speed"),
    ],
)
def test_validation_metrics_share_a_panel_with_their_training_metric(name: str, home: str) -> None:
    steps = healthy()
    steps[3][name] = 0.5
    (panel,) = [each for each in panels([("a", metrics(steps))]) if any(curve.validation for curve in each.curves)]
    assert panel.title == home


def test_steps_without_a_number_are_counted() -> None:
    nameless = metrics([{"critic_rewards_mean": 0.1}, {}, {"critic_rewards_mean": 0.3}])
    assert nameless.series("critic_rewards_mean") == ((1.0, 0.1), (3.0, 0.3))
    mixed = metrics([{"step": 5, "critic_rewards_mean": 0.1}, {"critic_rewards_mean": 0.3}])
    assert mixed.series("critic_rewards_mean") == ((5.0, 0.1),)


def test_a_metric_with_the_name_of_a_method_is_a_metric() -> None:
    assert metrics([{"step": 1, "model_dump": 2.0, "copy": 3.0}]).series("copy") == ((1.0, 3.0),)
    assert "model_dump" in metrics([{"step": 1, "model_dump": 2.0}]).names


# Formats


def test_csv_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    text = bad().to_csv(path)
    assert path.read_text(encoding="utf-8") == text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == STEPS
    for row, step in zip(rows, bad(), strict=True):
        assert int(row["step"]) == step.step
        assert float(row["actor_entropy"]) == step.actor_entropy  # to the last digit
    assert (rows[20]["actor_grad_norm"], rows[20]["critic_rewards_mean"]) == ("nan", "inf")
    assert (rows[0][HOSTILE], rows[21][HOSTILE]) == ("", "0.5")
    assert rows[21]["phase"] == HOSTILE
    assert json.loads(rows[21]["parts"]) == {"a": [1]}


def test_frames_have_a_row_for_each_step() -> None:
    wide: Any = bad().to_pandas()
    assert list(wide["step"]) == list(range(1, STEPS + 1))
    assert wide["step"].dtype == "int64"
    assert wide["critic_rewards_mean"].iloc[20] == math.inf
    assert list(wide["phase"].isna()) == [place != 21 for place in range(STEPS)]
    other = bad().to_polars()
    assert other.height == STEPS
    assert other["actor_entropy"].to_list() == list(wide["actor_entropy"])
    assert other["parts"].to_list()[21] == '{"a": [1]}'
    whole: Any = metrics([{"step": None, "total_steps": 3}, {"step": 2, "total_steps": 3}]).to_pandas()
    assert list(map(str, whole[["step", "total_steps"]].dtypes)) == ["Int64", "int64"]


KINDS: list[Any] = [None, True, 0, 3, 2**80, -0.5, 1e308, -1e308, 5e-324, math.nan, math.inf, "", HOSTILE, [1], {}]
STEP = st.dictionaries(
    st.sampled_from(["a", "step", "total_steps", "run", "validation_reward", *NAMES[:3]]), st.sampled_from(KINDS)
)


@given(st.lists(STEP, max_size=4))
def test_any_metrics_can_be_shown_and_converted(steps: list[dict[str, Any]]) -> None:
    found = Metrics(tuple(TrainingMetrics.salvage(step) for step in steps))
    both = compare(found, found)
    assert len(list(csv.reader(io.StringIO(both.to_csv(), newline="")))) == 1 + 2 * len(steps)
    assert len(both.to_pandas()) == both.to_polars().height == 2 * len(steps)
    for shown in (found._repr_html_(), both._repr_html_()):
        Checker().check(shown)
        assert not re.search(r"='[^']*(nan|inf)", shown)
    assert all(len(line) <= 80 for line in f"{found}\n{both}".splitlines())


class Checker(HTMLParser):
    """Checks that every tag is closed in order."""

    def check(self, text: str) -> None:
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        assert tag not in {"script", "img", "iframe", "object", "link"}
        assert not [name for name, _ in attrs if name.startswith("on") or name in {"src", "href"}]
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    ("call", "module", "extra"),
    [("plot", "matplotlib", "plot"), ("to_pandas", "pandas", "pandas"), ("to_polars", "polars", "polars")],
)
def test_a_missing_library_names_its_command(
    call: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "bedrock_rft.metrics._plot", raising=False)
    for name in (module, f"{module}.axes"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=re.escape(f"pip install 'bedrock_rft[{extra}]'")):
        getattr(run(), call)()


def test_reading_and_showing_metrics_loads_no_plotting_library() -> None:
    code = (
        "import sys; from bedrock_rft.metrics import Metrics; from bedrock_rft.types import Event\n"
        "event = Event.model_validate({'type': 'metrics', 'data': {'step': 1, 'critic_rewards_mean': 0.5}})\n"
        "run = Metrics.of([event]); str(run); run._repr_html_(); run.to_csv()\n"
        "print({'pandas', 'polars', 'numpy', 'matplotlib', 'IPython', 'rich', 'httpx', 'openai'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    assert done.stdout.strip() == "set()"


# Plots and text


def test_the_table_fits_a_terminal_and_has_no_control_characters() -> None:
    text = str(bad())
    lines = text.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    assert "  checkpoints at steps 17" in lines[1:3]
    (grad,) = [line for line in lines if "actor_grad_norm" in line]
    assert "!" in grad.split()[-1]  # the step that is not a number
    assert str(Metrics()) == "a run, no steps yet"
    assert repr(run()) == "Metrics(job='ftjob-1', steps=67, checkpoints=4)"


def test_a_sparkline_rises_with_its_values() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(range(800), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 7], 8, unicode=False) == "_#"
    assert sparkline([5, 5, 5], 8) == "▄▄▄"
    assert sparkline([1, math.nan, 2], 8) == "▁!█"
    assert sparkline([], 8) == ""


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=60), st.integers(1, 20))
def test_a_sparkline_has_its_width(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) == min(len(values), width)


def test_an_advantage_of_zero_has_no_panel_and_a_reward_of_zero_has_one() -> None:
    names = ("critic_rewards_mean", "critic_advantages_mean")
    flat = [TrainingMetrics.model_validate({"step": place, **dict.fromkeys(names, 1e-17)}) for place in (1, 2)]
    page = Metrics(tuple(flat))._repr_html_()
    assert ("<figcaption>reward" in page, "<figcaption>advantage" in page) == (True, False)
    assert len(Metrics(tuple(flat)).plot().axes) == 1
    table = str(Metrics(tuple(flat)))
    assert "critic_advantages_mean" in table
    assert "1e-17" not in table
    moved = TrainingMetrics.model_validate({"step": 3, **dict.fromkeys(names, 0.25)})
    assert "<figcaption>advantage" in Metrics((*flat, moved))._repr_html_()


@pytest.mark.parametrize("true", [0.0, 0.5, 519.0])
def test_rounding_errors_are_a_flat_line(true: float) -> None:
    noise = [true + (1 + abs(true)) * 1e-16 * (place * 7 % 5 - 2) for place in range(30)]
    steps = [{"step": place, "critic_rewards_mean": value} for place, value in enumerate(noise)]
    found = Metrics(tuple(TrainingMetrics.model_validate(step) for step in steps))
    assert set(sparkline(noise, 30)) == {"▄"}
    page = found._repr_html_()
    heights = {float(pair.split(",")[1]) for line in re.findall(r"points='([^']+)'", page) for pair in line.split()}
    assert len(heights) == 1
    assert "e-1" not in page
    low, high = found.plot().axes[0].get_ylim()
    assert high - low > 0.05 + abs(true) / 100


def test_small_changes_are_a_curve() -> None:
    assert extent([0.0, 2e-9]) == (0.0, 2e-9)
    assert extent([1.0, 1.0 + 1e-8]) == (1.0, 1.0 + 1e-8)
    assert extent([-1e-9, 1e-9]) == (0.0, 0.0)
    assert extent([]) is None
    assert extent([-1e300, 1e300]) == (-1e300, 1e300)


@given(st.floats(-1e290, 1e290), st.floats(0, 1e290))
@example(1.0, 2.220446049250313e-16)  # next to each other
@example(0.0, 0.3)  # 3 * 0.1 is more
def test_ticks_lie_between_their_bounds(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert len(found) <= 6
    assert found == sorted(set(found))
    assert all(low <= at <= low + span for at in found)


def test_a_thinned_curve_keeps_its_spikes() -> None:
    curve = [(float(step), math.sin(step)) for step in range(10_000)]
    curve[7_777] = (7_777.0, 50.0)
    few = thin(curve)
    assert len(few) <= 400
    assert (7_777.0, 50.0) in few
    assert list(few) == sorted(few)


def test_smoothing_is_a_moving_average() -> None:
    line = [(float(step), 2.0 * step) for step in range(48)]
    even = smooth(line)
    assert [value for _, value in even[10:-10]] == pytest.approx([value for _, value in line[10:-10]])
    assert [step for step, _ in even] == [step for step, _ in line]
    assert smooth(line[:10]) == ()


def test_a_plot_has_a_panel_for_each_metric_and_marks_checkpoints() -> None:
    from matplotlib.figure import Figure

    figure = run().plot()
    assert isinstance(figure, Figure)
    axes = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in axes] == [
        "reward",
        "entropy (nats)",
        "gradient norm",
        "response length (tokens)",
        "advantage",
        "policy loss",
    ]
    assert figure.get_suptitle() == "ftjob-1, succeeded, step 67 of 67, openai.gpt-oss-20b"
    marks = [list(line.get_xdata()) for line in axes[0].lines if line.get_marker() == "^"]  # type: ignore[arg-type] # an array
    assert marks == [[17], [34], [51], [67]]


def test_a_plot_accepts_any_metric_name(tmp_path: Path) -> None:
    steps = [{"step": step, "$\\frac{$": 1.0, "_hidden": 2.0, "<b>": math.nan} for step in (1, 2)]
    figure = metrics(steps, job("ftjob-$x^$")).plot()
    figure.savefig(tmp_path / "run.png")
    assert figure._repr_png_() == (tmp_path / "run.png").read_bytes()  # type: ignore[attr-defined] # for notebooks
    Metrics().plot().savefig(tmp_path / "none.png")


# Comparisons


def test_runs_are_labelled_with_differing_hyperparameters() -> None:
    both = run(0, name="ftjob-1", rate=0.3).compare(run(1, name="ftjob-2", rate=1.0))
    assert [label for label, _ in both.runs] == [
        "learning_rate_multiplier 0.3 (ftjob-1)",
        "learning_rate_multiplier 1.0 (ftjob-2)",
    ]
    assert [label for label, _ in compare(run(), run()).runs] == ["ftjob-1", "ftjob-1 #2"]
    assert [label for label, _ in compare(run(), run(1), labels=("a", "b")).runs] == ["a", "b"]
    with pytest.raises(ConfigurationError, match="2 jobs and 1 labels"):
        compare(run(), run(), labels=["a"])
    with pytest.raises(ConfigurationError, match="takes Metrics"):
        compare("ftjob-1")  # type: ignore[arg-type] # an invalid value


def test_a_comparison_converts_all_runs() -> None:
    both = compare(run(), metrics([{"step": 1, "run": "theirs"}], job("ftjob-2")))
    frame: Any = both.to_pandas()
    assert list(frame["run_"]) == ["ftjob-1"] * STEPS + ["ftjob-2"]
    assert frame["run"].iloc[-1] == "theirs"
    assert both.to_polars().height == both.to_csv().count("\n") - 1 == STEPS + 1
    assert str(both).splitlines()[2].split() == ["ftjob-2", "no", "rewards"]
    figure = compare(run(0), run(1)).plot()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ftjob-1", "ftjob-1 #2", "checkpoint"]
    assert len([line for line in figure.axes[0].lines if line.get_marker() != "^"]) == 4  # as they are, and smoothed
    assert "ftjob-1 #2" in compare(run(), run())._repr_html_()
