"""Record the rollouts that are scored on this machine, in the format of a reward function in Lambda."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from uuid import uuid4

from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.rollout_log import (
    Origin,
    RolloutLog,
    ScoredEntry,
    Source,
    clean_name,
    describe_error,
    read_score,
)
from bedrock_rft.rewards._targets.handler_response import ScoredRollout, parse_response, parse_scores

Recording = RolloutLog | str | os.PathLike[str] | None
"""Where and how to record: the settings, or only the location."""

_REQUESTS: Mapping[Source, str] = {
    "local_service": "local",
    "rehearsal": "rehearse",
    "evaluation": "evaluate",
    "score": "score",
}


def resolve_record(record: Recording) -> RolloutLog | None:
    """Return the settings of a recording. Raises `ConfigurationError` if they are invalid."""
    if record is not None and not isinstance(record, (RolloutLog, str, os.PathLike)):
        raise ConfigurationError(
            f"record has the type {type(record).__name__}. Pass a RolloutLog, a folder or s3://bucket/prefix."
        )
    try:
        return RolloutLog(os.fspath(record)) if isinstance(record, (str, os.PathLike)) else record
    except ValueError as error:
        raise ConfigurationError(f"record: {error}.") from None


@dataclass(frozen=True)
class RolloutRecorder:
    """Recorder of batches under the name of their reward."""

    log: RolloutLog
    source: Source
    function: str
    request: str  # the beginning of request ids; that of answers of the local service begins with `local-`

    @classmethod
    def of(cls, record: Recording, source: Source, name: str, *, local: bool = False) -> RolloutRecorder | None:
        """Return the recorder for a reward's name or ARN, or None if nothing is recorded."""
        log = resolve_record(record)
        if log is None:
            return None
        if log.bucket is None:
            try:
                Path(log.location).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"record: cannot use '{log.location}': {error.strerror}.") from error
        name = name.split(":")[6] if name.startswith("arn:") else name.replace(":", ".")
        return cls(log, source, clean_name(name), f"{'local-' * local}{_REQUESTS[source]}")

    def write(
        self,
        entries: Sequence[Mapping[str, Any]],
        response: Sequence[Any],
        ids: Sequence[str],
        seconds: float,
        models: Sequence[str] = (),
    ) -> None:
        """Record the rollouts of a batch with the valid response, its ids, the seconds of scoring, and the models.

        A failure to record is a warning.
        """
        items: dict[str, Mapping[str, Any]] = {item["id"]: item for item in response}
        all_models: Sequence[str | None] = models or [None] * len(ids)
        scored = [
            ScoredEntry(entry, read_score(items[name]), seconds / len(ids), model)
            for entry, name, model in zip(entries, ids, all_models, strict=True)
        ]
        request = f"{self.request}-{uuid4().hex}"
        try:
            self.log.write(Origin(self.function, self.source, request, datetime.now(timezone.utc)), scored)
        except Exception as error:  # noqa: BLE001 - scores are worth more than their record, and `redact` is the user's
            warn_once(f"Rollouts could not be recorded in {self.log.location}: {describe_error(error)}")


def score_and_record(
    result: object,
    entries: Sequence[Mapping[str, Any]],
    ids: Sequence[str],
    recorder: RolloutRecorder | None,
    seconds: float = 0.0,
    models: Sequence[str] = (),
) -> list[ScoredRollout]:
    """Return the scores in the result of a handler, and record them. Raise `RewardError` if the result is invalid."""
    response = parse_response(result)
    scores = parse_scores(response, ids)
    if recorder is not None:
        recorder.write(entries, response, ids, seconds, models)
    return scores
