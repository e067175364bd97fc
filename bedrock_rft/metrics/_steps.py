"""Collect the training steps from events: each step once, with all its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bedrock_rft.types.events import Event, TrainingMetrics

__all__ = ["event_metrics", "merge_steps", "metric_value", "step_times"]

_METRICS = "metrics"


def event_metrics(event: Event) -> TrainingMetrics | None:
    """Return the metrics of an event, or None.

    The service is known to send events of type `metrics`. Metrics of another type, such as `validation_metrics`, get
    its prefix, so they cannot be mistaken for those of training.
    """
    if event.type == _METRICS or event.data is None or not event.type.endswith(_METRICS):
        return event.metrics
    prefix = event.type.removesuffix(_METRICS).strip("_.-/ ")
    values = _values(event.data)
    return TrainingMetrics.model_validate(
        {name if name in {"step", "total_steps"} else f"{prefix}_{name}": value for name, value in values.items()}
    )


def merge_steps(events: Iterable[Event], known: Iterable[TrainingMetrics] = ()) -> tuple[TrainingMetrics, ...]:
    """Return the steps in events, oldest first: each step once, in order, then metrics without a step.

    Several events about one step are merged, and the newest value of a metric counts. Known steps are the oldest.
    """
    found = [*known, *(metrics for event in events if (metrics := event_metrics(event)) is not None)]
    steps: dict[int, TrainingMetrics] = {}
    for metrics in found:
        if metrics.step is not None:
            earlier = steps.get(metrics.step)
            steps[metrics.step] = (
                TrainingMetrics.model_validate(_values(earlier) | _values(metrics)) if earlier else metrics
            )
    return (*(steps[step] for step in sorted(steps)), *(metrics for metrics in found if metrics.step is None))


def step_times(events: Iterable[Event]) -> tuple[tuple[int, float], ...]:
    """Return the step and the Unix time of each event with metrics that has both."""
    found = ((event_metrics(event), event.created_at) for event in events)
    return tuple((one.step, at) for one, at in found if one is not None and one.step is not None and at is not None)


def metric_value(step: TrainingMetrics, name: str) -> Any:
    """Return the value of a metric by name, including undocumented names, or None."""
    extra = step.model_extra or {}
    return extra[name] if name in extra else getattr(step, name) if name in TrainingMetrics.model_fields else None


def _values(metrics: TrainingMetrics) -> dict[str, Any]:
    return {name: value for name, value in metrics if value is not None}
