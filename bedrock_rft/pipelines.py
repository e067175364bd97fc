"""Submit, poll and collect a job as functions without local state: JSON in, JSON out, safe to repeat.

They suit AWS Step Functions and other orchestrators. Each takes a client and an event, and returns the event with more
fields. `examples/pipeline/` has Lambda handlers and a state machine.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol, cast

from bedrock_rft.errors import BedrockRFTError, ConfigurationError

__all__ = ["collect", "poll", "submit"]

_REQUIRED = ("name", "model", "training_file", "reward")
_OPTIONAL = ("validation_file", "hyperparameters", "metadata")


class _Client(Protocol):
    """A `Client`."""

    @property
    def jobs(self) -> Any: ...


def submit(client: _Client, event: Mapping[str, Any]) -> dict[str, Any]:
    """Create the job of an event, or find it by its name.

    Args:
        client: a `Client`.
        event: `name`, `model`, `training_file` (an id) and `reward` (an ARN); optionally `validation_file`,
            `hyperparameters` and `metadata`. The name makes it safe to repeat: a job with it is never created again.

    Returns:
        The event with `job`, the id, and the fields of `poll`.

    Raises:
        AmbiguousCreateError: the job may exist; the same event, submitted again later, finds it if it does.
        ConfigurationError: a field is missing or invalid, or the name belongs to a job that differs.
    """
    missing = [field for field in _REQUIRED if not event.get(field)]
    if missing:
        reason = " A name is needed to find the job again." if "name" in missing else ""
        raise ConfigurationError(f"The event has no {', '.join(missing)}.{reason}")
    arguments = {field: event[field] for field in (*_REQUIRED, *_OPTIONAL) if event.get(field) is not None}
    return _state(event, client.jobs.create(**arguments))


def poll(client: _Client, event: Mapping[str, Any]) -> dict[str, Any]:
    """Read the state of the job of an event.

    Args:
        client: a `Client`.
        event: `job`, the id.

    Returns:
        The event with `status`, `done`, `succeeded`, `fine_tuned_model` and `error`.
    """
    return _state(event, client.jobs.retrieve(_job(event)))


def collect(client: _Client, event: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the results of the job of an event. It can be repeated; nothing is changed.

    Args:
        client: a `Client`.
        event: `job`, the id; optionally `by`, `validation` or `reward`, the score by which a checkpoint is chosen.

    Returns:
        The event with the fields of `poll`, `record` (see `client.jobs.record`, without downloads) and
        `best_checkpoint`, which is None if no checkpoint has a score.
    """
    job = client.jobs.retrieve(_job(event))
    try:
        best = client.jobs.rank_checkpoints(job, by=event.get("by", "validation"))[0]
        chosen = {
            "model": best.checkpoint.fine_tuned_model_checkpoint,
            "step": best.checkpoint.step_number,
            "score": best.score,
            "basis": best.basis,
        }
    except ConfigurationError as error:
        chosen = {"model": None, "reason": str(error)}
    record = client.jobs.record(job, download=False).to_dict()
    return _json({**_state(event, job), "best_checkpoint": chosen, "record": record})


def _job(event: Mapping[str, Any]) -> str:
    job = event.get("job")
    if not isinstance(job, str) or not job:
        raise ConfigurationError("The event has no 'job', the id that submit returned.")
    return job


def _state(event: Mapping[str, Any], job: Any) -> dict[str, Any]:
    error = job.error.message if job.status == "failed" and job.error else None
    return _json(
        {
            **event,
            "job": job.id,
            "status": job.status,
            "done": job.is_terminal,
            "succeeded": job.status == "succeeded",
            "fine_tuned_model": job.fine_tuned_model,
            "error": error,
        }
    )


def _json(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain JSON values, or raise `BedrockRFTError` if an event has others."""
    try:
        return cast("dict[str, Any]", json.loads(json.dumps(values, allow_nan=False)))
    except (TypeError, ValueError) as error:
        raise BedrockRFTError(f"The event is not JSON: {error}") from None
