"""The report of a rehearsal, as text, JSON and HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_rft._core.findings import (
    Finding,
    Findings,
    clip,
    escape_html,
    fact_lines,
    facts_html,
    finding_lines,
    findings_html,
    wrap,
)
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs import Estimate
from bedrock_rft.costs._ranges import format_hours, format_money
from bedrock_rft.datasets import Difficulty
from bedrock_rft.datasets import Report as DataReport
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.metrics import Metrics
from bedrock_rft.metrics._series import sparkline
from bedrock_rft.rehearsal._figures import Curve, Groups, Load, format_duration
from bedrock_rft.rewards import Report as RewardReport

_SPARKLINE_WIDTH = 32
_BASE_FIGURES = ("mean", "signal_share", "signal_interval", "solved_share", "samples", "group_size")
_STYLE = """
.rft-rehearsal{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-rehearsal .n{border-left:3px solid #d9730d;padding:.3rem .8rem;margin:.6rem 0}
.rft-rehearsal table{font:inherit}
.rft-rehearsal summary{cursor:pointer}
"""


@dataclass(frozen=True)
class Rehearsal(Findings):
    """The findings of a rehearsal. Print it, let a notebook show it, or write it with `to_html` and `to_json`.

    Attributes:
        target: the name of the reward.
        data: the report of `datasets.validate`.
        reward: the report of `rewards.check`; None if the data could not be read.
        records: number of records.
        rehearsed: number of records that the job ran on.
        settings: the hyperparameters that were given.
        metrics: the metrics of the rehearsed job; None if no job was rehearsed.
        curve: the rewards of the rehearsed job; None if it took no step.
        load: the load of the planned run on the reward; None if the reward was never invoked.
        evaluation: the evaluation of the base model, if requested.
        base: the scores of the base model's answers by prompt.
        difficulty: the difficulty of the sampled prompts for the base model; None if it is not known.
        estimate: hours and cost of the planned run, as `client.estimate` calculates them, with an assumed pace; None if
            the reward was never invoked.
    """

    target: str = ""
    data: DataReport | None = None
    reward: RewardReport | None = None
    records: int = 0
    rehearsed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Metrics | None = None
    curve: Curve | None = None
    load: Load | None = None
    evaluation: Evaluation | None = None
    base: Groups | None = None
    difficulty: Difficulty | None = None
    estimate: Estimate | None = None

    @property
    def first(self) -> tuple[Finding, ...]:
        """The findings to fix: errors before warnings, and within each the data, the reward, the run."""
        return self.errors + self.warnings

    @property
    def notice(self) -> str:
        """Text that names the limits of a rehearsal."""
        base = "; the base model was sampled as well" if self.evaluation is not None else ""
        if self.evaluation is not None and self.evaluation.local_service:
            base = "; the base model's answers come from the local service and know the references"
        elif self.difficulty is not None and self.difficulty.local_service:
            base = "; the difficulty was measured on the local service or in a rehearsal, not on the base model"
        return (
            "This is a rehearsal: no model was trained. The job ran on this machine, with a local policy instead of "
            f"the model and with your reward function{base}. A rehearsal cannot judge learning rates: a higher "
            "learning_rate_multiplier always looks better in a rehearsal."
        )

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return the names and values that are shown above the findings."""
        rows = [("data", f"{self.data.records:,} records, {self.data.verdict}")] if self.data is not None else []
        if self.reward is not None:
            right, wrong = (self.reward.scores.get(kind) for kind in ("right", "wrong"))
            scores = f"; right answers score {right.mean:.3f}" if right else ""
            scores += f", wrong ones {wrong.mean:.3f}" if right and wrong else ""
            rows.append(("reward", f"{self.target}: {self.reward.verdict}{scores}"))
        if self.load is not None:
            load, epochs = self.load, self.load.n_epochs
            missing = [name for name in ("n_epochs", "batch_size") if name not in self.settings]
            prompts = min(load.batch_size, load.records)
            steps = f"{load.steps:,} step{'s' * (load.steps > 1)}: {epochs} epoch{'s' * (epochs > 1)}"
            steps += f", {prompts:,} prompt{'s' * (prompts > 1)} a step"
            defaults = f"; default{'s' * (len(missing) > 1)} for {' and '.join(missing)}" if missing else ""
            rows.append(("run", steps + defaults))
        if self.curve is not None:
            part = f" (on {self.rehearsed:,} of the records)" if self.rehearsed < self.records else ""
            bars = sparkline(self.curve.rewards, _SPARKLINE_WIDTH)
            means = f"mean reward {self.curve.first:.2f} at the start, {self.curve.last:.2f} at the end"
            rows.append(("rehearsal", f"{means}{part}  {bars}"))
            share = f"{self.curve.signal_share:.0%} of the prompts had answers that differ in score"
            rows.append(("signal", f"local policy: {share}"))
        if self.load is not None:
            load = self.load
            at_once = f"up to {load.calls_at_once:,} at once"
            rows.append(("calls", f"{load.calls:,} invocations of the reward function, {at_once}"))
            slowest, total = format_duration(load.call_seconds), format_duration(load.total_seconds)
            slowest = f"slowest invocation about {slowest} of {load.timeout:g} s allowed"
            rows.append(("time", f"{slowest}; {total} in all"))
        if self.estimate is not None:
            rows.append(("money", f"{_format_money(self.estimate)}; pace and billing of hours are not published"))
        if self.evaluation is not None and self.base is not None:
            model = self.evaluation.models[0]
            tokens = f"{model.prompt_tokens + model.completion_tokens:,} tokens"
            rows.append(("base model", f"{model.label}: {model.score}, {model.answers:,} answers, {tokens}"))
            rows.append(("", str(self.base)))
        elif self.difficulty is not None and self.base is not None:
            name = "difficulty" if self.difficulty.local_service else "base model"
            rows.append((name, f"{self.difficulty.origin}: {self.difficulty.pass_rate} of the answers pass"))
            rows += [("", self.difficulty.note)] if self.difficulty.note else []
            rows.append(("", str(self.base)))
        if self.difficulty is not None:
            rows += _selection_row(self.difficulty)
        return rows

    def __str__(self) -> str:
        lines = [clip(f"{sanitize_line(self.title)}: {self.verdict}"), *wrap(self.notice), *fact_lines(self.facts())]
        lines += ["Fix first"] if self.first else []
        for number, finding in enumerate(self.first, 1):
            lines += wrap(f"{number}. {finding.level}: {finding}")
        return "\n".join([*lines, *finding_lines(self.findings[len(self.first) :])])

    def to_dict(self) -> dict[str, Any]:
        """Return the findings, the numbers and the curve as plain JSON values."""
        return {
            "title": self.title,
            "notice": self.notice,
            "verdict": self.verdict,
            "ok": self.ok,
            "findings": [vars(finding) for finding in self.findings],
            "target": self.target,
            "records": self.records,
            "rehearsed": self.rehearsed,
            "settings": dict(self.settings),
            "rewards": [*self.curve.rewards] if self.curve is not None else [],
            "signal_share": self.curve.signal_share if self.curve is not None else None,
            "load": self.load and self.load.to_dict(),
            "base": self.base and {name: getattr(self.base, name) for name in _BASE_FIGURES},
            "evaluation": self.evaluation.to_dict() if self.evaluation is not None else None,
            "estimate": self.estimate.to_dict() if self.estimate is not None else None,
        }

    def _repr_html_(self) -> str:
        # The curve is drawn below.
        facts = [(name, value) for name, value in self.facts() if name != "rehearsal"]
        found = [(finding.level, str(finding)) for finding in self.findings]
        first, rest = found[: len(self.first)], found[len(self.first) :]
        parts = [
            f"<h2>{escape_html(self.title)}: {escape_html(self.verdict)}</h2>",
            f"<p class='n'>{escape_html(self.notice)}</p>",
            f"<h3>Fix first</h3><ol>{findings_html(first)}</ol>" if first else "",
            facts_html(facts),
            f"<ul>{findings_html(rest)}</ul>" if rest else "",
            self._render_curve(),
        ]
        if self.evaluation is not None:
            parts.append("<details><summary>Answers of the base model</summary>")
            parts.append(f"{self.evaluation._repr_html_()}</details>")
        return f"<div class='rft-rehearsal'><style>{_STYLE}</style>{''.join(parts)}</div>"

    def _render_curve(self) -> str:
        if self.curve is None:
            return ""
        from bedrock_rft.metrics._html import STYLE, charts
        from bedrock_rft.types import TrainingMetrics

        part = f" on {self.rehearsed:,} of {self.records:,} records" if self.rehearsed < self.records else ""
        # Entropy, lengths and gradients are the local policy's own, and say nothing about a real run.
        rewards = [
            TrainingMetrics(step=step, critic_rewards_mean=reward) for step, reward in enumerate(self.curve.rewards, 1)
        ]
        drawn = charts([("", Metrics(tuple(rewards)))])
        return f"<h3>The rehearsed job{part}</h3><div class='rft-run'><style>{STYLE}</style>{drawn}</div>"


def _format_money(cost: Estimate) -> str:
    """Return the known cost, and the parts that it covers or lacks."""
    total, hours = format_money(cost.total, cost.currency), format_hours(cost.hours)
    missing = [item.name.replace(", ", " of the ") for item in cost.items if item.money is None and not item.monthly]
    if missing:
        return f"about {total} without {', '.join(missing)}, whose prices are not known; {hours} of training"
    return f"about {total} for {hours} of training, the reward function and an evaluation"


def _selection_row(table: Difficulty) -> Sequence[tuple[str, str]]:
    """Return the row on the prompts that `datasets.select` would keep, if it would drop any."""
    before, after = table.signal(low=0, high=1), table.signal(low=0.1, high=0.9)
    if before is None or after is None or after.prompts == before.prompts:
        return []
    kept = f"{after.prompts:,} of {before.prompts:,} sampled prompts have a pass rate of 0.1 to 0.9"
    return [("select", f"{kept}; groups without signal: {before.no_signal:.0%} of all, {after.no_signal:.0%} of these")]
