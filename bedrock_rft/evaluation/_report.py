"""The report of an evaluation: data, text, and a self-contained HTML page without scripts."""

from __future__ import annotations

import functools
import json
import math
import operator
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedrock_rft._core.findings import (
    Findings,
    clip,
    escape_html,
    fact_lines,
    facts_html,
    finding_lines,
    findings_html,
)
from bedrock_rft._core.tables import Markup, format_table, html_lines, html_table
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.datasets import Difficulty
from bedrock_rft.datasets._difficulty import FieldValue
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._results import Comparison, Example, Group, ModelResult
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

_BAR_WIDTH, _BAR_HEIGHT = 200, 10
_PREVIEW_CHARACTERS = 90
_LOCAL_NOTE = "on the local service: no model was trained; its answers know the references"
_STYLE = """
.rft-eval{font:14px/1.5 system-ui,sans-serif;max-width:60rem}
.rft-eval table{border-collapse:collapse;margin:.5rem 0;font:inherit}
.rft-eval th,.rft-eval td{padding:.2rem .7rem .2rem 0;text-align:left;vertical-align:top;border-bottom:1px solid #8884}
.rft-eval td.n,.rft-eval th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.rft-eval pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;font:12px/1.45 ui-monospace,monospace}
.rft-eval .pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,18rem),1fr));gap:1rem}
.rft-eval summary{cursor:pointer;white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.rft-eval summary span{opacity:.65}
.rft-eval details[open]{margin:.3rem 0 1rem}
"""


@dataclass(frozen=True)
class Evaluation(Findings):
    """Result of an evaluation. Print it, display it in a notebook, or write it with `to_html` and `to_json`.

    Attributes:
        reward: name of the reward.
        prompts: number of prompts.
        samples: number of answers per prompt and model.
        pass_mark: an answer passes if its score is at least this.
        reward_range: lowest and highest score of the reward, as given.
        models: results of the models, in the order of the arguments.
        comparisons: each further model compared with the first model; the final model of a job comes first.
        groups: results by record field.
        better: prompts whose mean score rose most, those of the tuned model first.
        worse: prompts whose mean score fell most, those of the tuned model first.
        resumed: answers taken from the resume file.
        dataset: name of the dataset and number of records used.
        date: start of the evaluation in UTC, such as `2026-01-31 09:05 UTC`.
        region: AWS region of the endpoint.
        sampling: request fields given with `sampling`.
        seed: random seed of sampling, resampling and permutations.
        versions: version of this package and of the OpenAI SDK, by name.
        local_service: True if the answers came from the local service, which trains no model.
        prompt_hashes: hash of each prompt by its position in the dataset, as in recorded rollouts.
        record_fields: further fields of each record that are numbers, booleans or short texts, by position.
    """

    reward: str = ""
    prompts: int = 0
    samples: int = 0
    pass_mark: float = 1.0
    reward_range: tuple[float, float] = (0.0, 1.0)
    models: tuple[ModelResult, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    groups: tuple[Group, ...] = ()
    better: tuple[Example, ...] = ()
    worse: tuple[Example, ...] = ()
    resumed: int = 0
    dataset: str = ""
    date: str = ""
    region: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seed: int = 0
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    local_service: bool = False
    prompt_hashes: Mapping[int, str] = field(default_factory=dict[int, str])
    record_fields: Mapping[int, Mapping[str, FieldValue]] = field(default_factory=dict[int, Mapping[str, FieldValue]])
    _derived = (*Findings._derived, "note")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Evaluation:
        """Read a report that `to_json` wrote.

        Raises:
            ConfigurationError: the file cannot be read, or is not such a report.
        """
        from pydantic import TypeAdapter, ValidationError  # slow to import

        name = sanitize_line(os.fspath(path), 200)
        try:
            fields: Any = json.loads(Path(path).read_bytes())
            fields = {name: value for name, value in fields.items() if name not in cls._derived}
            kind = TypeAdapter(cls)
            try:
                return kind.validate_python(fields)
            except ValidationError as misfit:
                for error in misfit.errors(include_url=False):
                    if error["type"] == "float_type" and error["input"] is None:  # a number that was not finite
                        *parents, last = error["loc"]
                        functools.reduce(operator.getitem, parents, fields)[last] = math.nan
                return kind.validate_python(fields)
        except OSError as error:
            raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from None
        except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
            raise ConfigurationError(f"{name} is not a report of an evaluation that to_json wrote.") from None

    def facts(self) -> Sequence[tuple[str, str]]:
        """Return names and values that identify the evaluation."""
        sampling = ", ".join(f"{name}={value}" for name, value in self.sampling.items())
        facts = [
            ("reward", self.reward),
            ("dataset", self.dataset),
            ("date", self.date),
            ("region", self.region),
            ("sampling", sampling or "the service's defaults"),
            ("versions", ", ".join(f"{name} {version}" for name, version in self.versions.items())),
            ("note", self.note),
        ]
        return [(name, value) for name, value in facts if value]

    def difficulty(self, model: str | None = None) -> Difficulty:
        """Return the difficulty of each prompt for a model, for `datasets.select`. Missing answers are left out.

        Args:
            model: the label or the id of a model; by default the first model.

        Raises:
            ConfigurationError: there is no such model, it has no scored answer, or the report was saved by a version
                that did not keep the prompts.
        """
        found = [one for one in self.models if model in (None, one.label, one.model)]
        if not found:
            known = ", ".join(one.label for one in self.models) or "none"
            raise ConfigurationError(f"The report has no model '{sanitize_line(str(model), 200)}'; it has: {known}.")
        rewards: dict[str, list[float]] = {}
        fields: dict[str, Mapping[str, FieldValue]] = {}
        for index, scores in found[0].scores.items():
            if index not in self.prompt_hashes:
                raise ConfigurationError("The report was saved by an earlier version without prompts. Evaluate again.")
            rewards.setdefault(self.prompt_hashes[index], []).extend(scores)
            fields.setdefault(self.prompt_hashes[index], self.record_fields.get(index, {}))
        origin = f"{found[0].label} on {self.dataset}"
        return Difficulty.from_rewards(
            rewards, fields=fields, pass_mark=self.pass_mark, origin=origin, local_service=self.local_service
        )

    @property
    def note(self) -> str:
        """A warning if the answers come from the local service; otherwise empty."""
        return _LOCAL_NOTE if self.local_service else ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of the reward's parts; `reward_error` only if there were errors."""
        names = dict.fromkeys(name for model in self.models for name in model.parts)
        return tuple(
            name for name in names if name != ERROR_METRIC or any(model.parts.get(name) for model in self.models)
        )

    def __str__(self) -> str:
        lines = [clip(sanitize_line(self.title)), *fact_lines(self.facts())]
        lines += ["", *format_table(_model_rows(self, page=False)), *[""][: len(self.comparisons)]]
        for comparison in self.comparisons:
            difference = comparison.difference
            text = f"{comparison.label} against {comparison.base}: {difference.interval:+}, p {difference.p_text}"
            counts = f"better on {difference.better:,}, worse on {difference.worse:,}, equal on {difference.equal:,}"
            lines += [clip(f"  {sanitize_line(text)}"), f"    {counts}"]
        for rows in (_part_rows(self), _group_rows(self)):
            lines += ["", *format_table(rows)] if rows[1:] else []
        return "\n".join([*lines, "", *finding_lines(self.findings)])

    def _repr_html_(self) -> str:
        findings = findings_html((finding.level, str(finding)) for finding in self.findings)
        return (
            f"<div class='rft-eval'><style>{_STYLE}</style><h2>{escape_html(self.title)}</h2>{facts_html(self.facts())}"
            f"<p>An answer passes if its reward is at least {self.pass_mark:g}.</p>"
            f"<ul>{findings}</ul>"
            + html_table("", _model_rows(self, page=True))
            + html_table("Compared", _comparison_rows(self.comparisons))
            + html_table("Parts of the reward", _part_rows(self))
            + html_table("By field", _group_rows(self))
            + _html_examples("Better", self.better)
            + _html_examples("Worse", self.worse)
            + "</div>"
        )


def _model_rows(report: Evaluation, *, page: bool) -> list[list[str]]:
    """Return the table of models. The page has a bar for each interval, and room for more columns."""
    models = report.models
    ks = sorted({k for model in models for k in model.pass_at})
    if not page:
        ks = ks[:1] + ks[1:][-1:]
    missing = any(model.failed for model in models)
    extra = [*["missing", "mean with missing"] * missing]
    low = min([report.reward_range[0], *(model.score.low for model in models if model.answers)])
    high = max([report.reward_range[1], *(model.score.high for model in models if model.answers)])
    head = ["model", "mean", "" if page else "95 % interval", *(f"pass@{k}" for k in ks)]
    rows = [[*head, "answers", *extra, "tokens in", "tokens out"] if page else [*head, "tokens", *extra]]
    for model in models:
        score = model.score
        interval = _draw_interval(model, low, high) if page else f"[{score.low:.3f}, {score.high:.3f}]"
        row = [model.label, _format_score(score.value), interval if model.answers else ""]
        row += [f"{model.pass_at[k]:.1%}" if k in model.pass_at else "" for k in ks]
        if missing:
            extra = [f"{model.failed:,} ({model.missing_share:.0%})", _format_score(model.score_with_missing.value)]
        if page:
            row += [f"{model.answers:,}", *extra, f"{model.prompt_tokens:,}", f"{model.completion_tokens:,}"]
        else:
            row += [f"{model.prompt_tokens + model.completion_tokens:,}", *extra]
        rows.append(row)
    return rows


def _comparison_rows(comparisons: Sequence[Comparison]) -> list[list[str]]:
    rows = [["paired difference", "mean and 95 % interval", "p (Holm)", "verdict", "better", "worse", "equal"]]
    for comparison in comparisons:
        difference = comparison.difference
        names = f"{comparison.label} against {comparison.base}"
        counts = (f"{count:,}" for count in (difference.better, difference.worse, difference.equal))
        rows.append([names, f"{difference.interval:+}", difference.p_text, comparison.verdict, *counts])
    return rows


def _part_rows(report: Evaluation) -> list[list[str]]:
    labels, means = [model.label for model in report.models], [model.parts for model in report.models]
    rows = [[name, *(_format_score(parts.get(name, math.nan)) for parts in means)] for name in report.parts]
    return [["part of the reward", *labels], *rows]


def _group_rows(report: Evaluation) -> list[list[str]]:
    rows = [["field", "prompts", *(model.label for model in report.models)]]
    for group in report.groups:
        means = map(_format_score, group.means.values())
        rows.append([f"{group.field} = {group.value}", f"{group.prompts:,}", *means])
    return rows


def _format_score(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"


def _draw_interval(model: ModelResult, lowest: float, highest: float) -> Markup:
    """Draw a mean with its interval on the reward's scale."""
    score = model.score
    scale = _BAR_WIDTH / (highest - lowest)
    low, value, high = ((edge - lowest) * scale for edge in (score.low, score.value, score.high))
    label = f"mean {score.value:.3f}, 95 % interval {score.low:.3f} to {score.high:.3f}"
    middle = _BAR_HEIGHT / 2 + 3
    return Markup(
        f"<svg width='{_BAR_WIDTH}' height='{_BAR_HEIGHT + 6}' role='img' aria-label='{label}'><title>{label}</title>"
        f"<rect x='0' y='3' width='{_BAR_WIDTH}' height='{_BAR_HEIGHT}' fill='#8883'/>"
        f"<rect x='0' y='3' width='{value:.1f}' height='{_BAR_HEIGHT}' fill='#1f77b4'/>"
        f"<line x1='{low:.1f}' x2='{high:.1f}' y1='{middle}' y2='{middle}' stroke='currentColor' stroke-width='2'/>"
        "</svg>"
    )


def _html_examples(title: str, examples: Iterable[Example]) -> str:
    items: list[str] = []
    for example in examples:
        sides = "".join(
            f"<div><p><b>{escape_html(label)}</b> mean {average:.3f}, this answer {score:.3f}</p>"
            f"<pre>{html_lines(text)}</pre></div>"
            for label, average, (text, score) in (
                (example.label, example.after_mean, example.after),
                (example.base, example.before_mean, example.before),
            )
        )
        items.append(
            f"<details{' open' * (not items)}><summary>prompt {example.index + 1}, {escape_html(example.label)}: "
            f"{example.gain:+.3f} <span>{escape_html(example.prompt[:_PREVIEW_CHARACTERS])}</span></summary>"
            f"<p><b>Prompt</b></p><pre>{html_lines(example.prompt)}</pre>"
            f"<p><b>Reference</b></p><pre>{html_lines(example.reference)}</pre>"
            f"<div class='pair'>{sides}</div></details>"
        )
    return f"<h3>{title}</h3>{''.join(items)}" if items else ""
