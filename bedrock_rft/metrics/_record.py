"""The record of a run: everything that is needed to repeat it and to judge it later."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from bedrock_rft._core.findings import JsonReport, write_text
from bedrock_rft._core.json_types import is_object
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

_VERSION = 1


@dataclass(frozen=True)
class RunRecord(JsonReport):
    """The record of one run. `client.jobs.create_raw(record.request)` repeats it.

    Attributes:
        job: id, status, times and tuned model.
        request: the body that creates the same job again, without its name.
        files: id, SHA-256, size, number of records and validation verdict of the training file and of the validation
            file, as far as they are known.
        reward: ARN and the SHA-256 of its package in base64, as Lambda reports it.
        metrics: steps, first and last rewards, checkpoints, and the verdict on the run's health.
        evaluation: the evaluation, if one was given.
        cost: time and cost, as ranges.
        software: versions of this package and of the OpenAI SDK.
        service: region and endpoint, with a `note` if it is the local service.
        unknown: what could not be recorded, and why.
    """

    job: Mapping[str, Any]
    request: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    reward: Mapping[str, Any]
    metrics: Mapping[str, Any]
    evaluation: Mapping[str, Any] | None
    cost: Mapping[str, Any] | None
    software: Mapping[str, str]
    service: Mapping[str, str]
    unknown: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values, as `load` reads them."""
        return {"bedrock_rft_record": _VERSION, **super().to_dict()}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> RunRecord:
        """Read a record that `to_json` wrote. Raises `ConfigurationError` if the file is not a record."""
        name = sanitize_line(os.fspath(path), 200)
        try:
            content: Any = json.loads(Path(path).read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"{name} cannot be read: {sanitize_line(str(error), 200)}") from None
        fields = content if is_object(content) else {}
        if fields.pop("bedrock_rft_record", None) != _VERSION or not is_object(fields.get("request")):
            raise ConfigurationError(f"{name} is not the record of a run, as RunRecord.to_json writes it.")
        try:
            unknown: tuple[str, ...] = tuple(fields.pop("unknown", ()))
            return cls(**fields, unknown=unknown)
        except TypeError:
            raise ConfigurationError(f"{name} is a record whose fields differ from those of this version.") from None

    def to_markdown(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the record as Markdown, and write it to `path` if given. Raises `DatasetError` if that fails."""
        lines = [f"# Run {_format_cell(self.job.get('id'))}", ""]
        lines += [f"Note: {_format_cell(self.service['note'])}", ""] if "note" in self.service else []
        for title, part in (
            ("Job", self.job),
            ("Request", _flatten(self.request)),
            *((f"{name.capitalize()} file", values) for name, values in self.files.items()),
            ("Reward", self.reward),
            ("Metrics", _metric_rows(self.metrics)),
            ("Evaluation", _model_scores(self.evaluation)),
            ("Cost", _flatten(self.cost or {})),
            ("Software", self.software),
            ("Service", self.service),
        ):
            rows = [
                f"| {_format_cell(key)} | {_format_cell(value)} |"
                for key, value in part.items()
                if value not in (None, "", [])
            ]
            lines += [f"## {title}", "", "| | |", "|---|---|", *rows, ""] if rows else []
        if self.unknown:
            lines += ["## Not recorded", "", *(f"- {_format_cell(each)}" for each in self.unknown), ""]
        lines += ["## Repeat", "", "```sh", "bedrock-rft jobs create --from record.json --new", "```", ""]
        return write_text("\n".join(lines), path)

    def __str__(self) -> str:
        return self.to_markdown()


def _format_cell(value: object) -> str:
    """Return a value for a cell of a table, so that text of the service cannot add rows or markup."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list, tuple)) else str(value)
    escaped = sanitize_line(text, 400)
    for mark in ("\\", "|", "`", "<", "[", "*", "_"):
        escaped = escaped.replace(mark, f"\\{mark}")
    return escaped


def _metric_rows(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metrics, with names that say which steps the mean rewards are of."""
    size = metrics.get("rewards_averaged")
    steps = "step" if size == 1 else f"{size} steps"
    names = {f"{end}_rewards_mean": f"mean reward of the {end} {steps}" for end in ("first", "last")}
    return {names.get(name, name): value for name, value in metrics.items() if name != "rewards_averaged"}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flatten(cast("Mapping[str, Any]", value), f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def _model_scores(evaluation: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the score of each model, with its interval."""
    models: list[Mapping[str, Any]] = list((evaluation or {}).get("models") or [])
    return {str(one.get("label")): one.get("score") for one in models}
