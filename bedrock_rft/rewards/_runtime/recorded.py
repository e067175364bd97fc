"""Add the recording of rollouts to an entry point of any kind."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.rollout import LOG_ERROR_METRIC
from bedrock_rft.rewards._runtime.rollout_log import RolloutLog, ScoredEntry, read_score, record_invocation


@dataclass(frozen=True)
class RecordedFunction:
    """A Lambda entry point that is not a `Handler`, whose rollouts are recorded after it returned its results."""

    function: Callable[[Any, Any], Any]
    record: RolloutLog

    def __call__(self, event: Any, context: Any = None) -> Any:
        results = self.function(event, context)
        if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
            return results
        try:
            items = {item["id"]: item for item in results}
            entries = (event,) if hasattr(event, "keys") else event
            scored = [ScoredEntry(entry, read_score(items[entry["id"]])) for entry in entries]
        except (TypeError, LookupError, ValueError, AttributeError):
            return results  # not results that the service accepts
        failed = not record_invocation(self.record, scored, context)
        metric = {"name": LOG_ERROR_METRIC, "value": float(failed), "type": "Metric"}
        return [{**item, "metrics_list": [*(item.get("metrics_list") or ()), metric]} for item in results]


def recorded(entry: Any, log: RolloutLog) -> Any:
    """Return the entry point of a reward, a `Handler` or a function of (event, context) that records its rollouts."""
    handler = entry.handler if hasattr(entry, "leaves") else entry
    return replace(handler, record=log) if isinstance(handler, Handler) else RecordedFunction(handler, log)
