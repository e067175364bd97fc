"""Collect the training steps from events: each step once, with all its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bedrock_rft.types.events import Event, TrainingMetrics

__all__ = ["field", "merged", "numbers"]

_METRICS = "metrics"


def numbers(event: Event) -> TrainingMetrics | None:
    """Return the metrics of an event, or None.

    The service is known to send events of type `metrics`. Where it sends others, `validation_metrics` say, what they
    measure goes by its own name, so that it cannot pass for the training's.
    """
    if event.type == _METRICS or event.data is None or not event.type.endswith(_METRICS):
        return event.metrics
    prefix = event.type.removesuffix(_METRICS).strip("_.-/ ")
    said = {
        name if name in {"step", "total_steps"} else f"{prefix}_{name}": value
        for name, value in _said(event.data).items()
    }
    return TrainingMetrics.model_validate(said)


def merged(events: Iterable[Event], known: Iterable[TrainingMetrics] = ()) -> tuple[TrainingMetrics, ...]:
    """Return the steps in events, oldest first: each step once, in order, then metrics without a step.

    What several events say about one step is put together; where they differ, the newest counts. Steps that are known
    already count as the oldest.
    """
    found = [*known, *(metrics for event in events if (metrics := numbers(event)) is not None)]
    steps: dict[int, TrainingMetrics] = {}
    for metrics in found:
        if metrics.step is not None:
            earlier = steps.get(metrics.step)
            steps[metrics.step] = metrics if earlier is None else _both(earlier, metrics)
    return (*(steps[step] for step in sorted(steps)), *(metrics for metrics in found if metrics.step is None))


def field(step: TrainingMetrics, name: str) -> Any:
    """Return the value of a metric by name, including undocumented names, or None."""
    extra = step.model_extra or {}
    return extra[name] if name in extra else getattr(step, name) if name in TrainingMetrics.model_fields else None


def _both(earlier: TrainingMetrics, later: TrainingMetrics) -> TrainingMetrics:
    return TrainingMetrics.model_validate({**_said(earlier), **_said(later)})


def _said(metrics: TrainingMetrics) -> dict[str, Any]:
    return {name: value for name, value in metrics if value is not None}
