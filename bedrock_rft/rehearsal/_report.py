"""What a rehearsal found: will the run learn, what will it ask of the reward, and what to mend first."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedrock_rft._core.findings import Finding, Findings, clip, wrap, write_text
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets import Report as Data
from bedrock_rft.evaluation import Evaluation
from bedrock_rft.metrics import Metrics
from bedrock_rft.metrics._spark import sparkline
from bedrock_rft.rehearsal._curve import Curve
from bedrock_rft.rehearsal._groups import Groups
from bedrock_rft.rehearsal._load import Load
from bedrock_rft.rewards import Report

__all__ = ["Rehearsal"]

_SPARKS = 32


@dataclass(frozen=True)
class Rehearsal(Findings):
    """What a rehearsal found. Print it, let a notebook show it, or write it with `to_html` and `to_json`.

    Attributes:
        target: the reward.
        data: what `datasets.validate` found.
        reward: what `rewards.check` found; None where the data could not be read.
        records: how many there are.
        rehearsed: how many of them the job was rehearsed on.
        settings: the hyperparameters that were given.
        metrics: of the rehearsed job; None where there was none.
        curve: its rewards; None where it took no step.
        load: what the real run will ask of the reward; None where the reward was never called.
        evaluation: of the base model, where it was asked.
        base: its answers, prompt by prompt.
    """

    target: str = ""
    data: Data | None = None
    reward: Report | None = None
    records: int = 0
    rehearsed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metrics: Metrics | None = None
    curve: Curve | None = None
    load: Load | None = None
    evaluation: Evaluation | None = None
    base: Groups | None = None

    @property
    def first(self) -> tuple[Finding, ...]:
        """What to mend, in this order: errors before warnings; of each the data, the reward, the run."""
        return self.errors + self.warnings

    @property
    def notice(self) -> str:
        """What this is, and what it is not."""
        asked = self.evaluation is not None
        return (
            "This is a rehearsal: no model was trained. The job ran on this machine, with a stand-in for the model and "
            f"the reward itself{'; the base model was asked as well' if asked else ''}."
        )

    def facts(self) -> Sequence[tuple[str, str]]:
        """What was looked at, and what the run will be."""
        found = [("data", f"{self.records:,} records, {self.data.verdict}")] if self.data is not None else []
        if self.reward is not None:
            right, wrong = (self.reward.scores.get(kind) for kind in ("right", "wrong"))
            scores = f"; right answers score {right.mean:.3f}" if right else ""
            scores += f", wrong ones {wrong.mean:.3f}" if right and wrong else ""
            found.append(("reward", f"{self.target}: {self.reward.verdict}{scores}"))
        if self.load is not None:
            found.append(("run", self._steps(self.load)))
        if self.curve is not None:
            on = f" (on {self.rehearsed:,} of the records)" if self.rehearsed < self.records else ""
            bars = sparkline(self.curve.rewards, _SPARKS)
            found.append(("rehearsal", f"{bars}  {self.curve.first:.2f} to {self.curve.last:.2f}{on}"))
            found.append(("signal", f"{self.curve.teaching:.0%} of the prompts had answers that differ in score"))
        if self.load is not None:
            load = self.load
            found.append(("calls", f"{load.calls:,} of the reward, up to {load.calls_at_once:,} at once"))
            each = f"{load.said(load.call_seconds)} each, {load.said(load.total_seconds)} in all"
            found.append(("time", f"about {each}; {load.timeout:g} s are allowed"))
        if self.evaluation is not None and self.base is not None:
            one = self.evaluation.models[0]
            tokens = f"{one.prompt_tokens + one.completion_tokens:,} tokens"
            found.append(("base model", f"{one.label}: {one.score}, {one.answers:,} answers, {tokens}"))
            found.append(("", str(self.base)))
        return found

    def _steps(self, load: Load) -> str:
        epochs = f"{load.n_epochs} epoch{'s' * (load.n_epochs > 1)}"
        left = [name for name in ("n_epochs", "batch_size") if name not in self.settings]
        assumed = f"; {' and '.join(left)} assumed" if left else ""
        return f"{load.steps:,} steps: {epochs}, {load.batch_size} prompts a step{assumed}"

    def __str__(self) -> str:
        facts = self.facts()
        wide = max((len(name) for name, _ in facts), default=0)
        lines = [clip(f"{sanitize_line(self.title)}: {self.verdict}"), *wrap(self.notice)]
        for name, value in facts:
            room = " " * (wide + 4)
            first, *rest = wrap(f"{sanitize_line(value)}", indent=room, further=room)
            lines += [f"  {name:<{wide}}  {first.strip()}", *rest]
        if self.first:
            lines.append("Mend first")
        for place, finding in enumerate(self.first, 1):
            lines += wrap(f"{place}. {finding.level}: {finding}")
        for finding in self.findings[len(self.first) :]:
            lines += wrap(f"{finding.level + ':':<8} {finding}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """The findings, the figures and the curve as plain JSON values."""
        load, base = self.load, self.base
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
            "teaching": self.curve.teaching if self.curve is not None else None,
            "load": None
            if load is None
            else {**vars(load), "steps": load.steps, "rollouts": load.rollouts}
            | {"calls": load.calls, "calls_at_once": load.calls_at_once, "call_seconds": load.call_seconds},
            "base": None if base is None else {"mean": base.mean, "teaching": base.teaching, "mastered": base.mastered},
            "evaluation": self.evaluation.to_dict() if self.evaluation is not None else None,
        }

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A page that stands alone, without scripts, written to `path` where one is given."""
        from bedrock_rft.rehearsal._page import page

        return write_text(page(self), path)

    def _repr_html_(self) -> str:
        from bedrock_rft.rehearsal._page import fragment

        return fragment(self)
