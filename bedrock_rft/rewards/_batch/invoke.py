"""`invoke`: send one batch to a reward as the service does, and return the raw response with the scores."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, cast

from bedrock_rft._core.findings import write_text
from bedrock_rft._core.text import ShortRepr
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._batch.entries import read_entries
from bedrock_rft.rewards._batch.recorder import score_and_record
from bedrock_rft.rewards._targets.handler_response import ScoredRollout
from bedrock_rft.rewards._targets.resolve import resolve_target


@dataclass(frozen=True)
class Invocation(ShortRepr):
    """One invocation of a reward.

    Attributes:
        target: the name of the reward.
        event: the rollouts that were sent.
        response: the returned value, unchanged; None if the invocation failed.
        scores: the score of each rollout, with `id`, `score` and the `metrics` by name; empty if there is an error.
        seconds: the duration.
        printed: the function's output, as far as it is known and shortened.
        error: why there are no scores, or None.
    """

    target: str
    event: list[dict[str, Any]]
    response: Any
    scores: tuple[ScoredRollout, ...]
    seconds: float
    printed: str = ""
    error: RewardError | None = None

    def raise_for_error(self) -> None:
        """Raise the error, if there is one."""
        if self.error is not None:
            raise self.error

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the invocation as JSON text, and write it to `path` if given."""
        fields: dict[str, Any] = {**vars(self), "scores": [asdict(one) for one in self.scores]}
        fields["error"] = None if self.error is None else {"code": self.error.code, "message": str(self.error)}
        return write_text(json.dumps(fields, indent=2, ensure_ascii=False, default=repr), path)


def invoke(
    reward: object,
    rollouts: Iterable[Any] | Mapping[str, Any] | str | os.PathLike[str],
    *,
    timeout: float | None = None,
    memory: int = 1024,
    client: Any = None,
) -> Invocation:
    """Send one batch of rollouts to a reward as the service does.

    ```python
    rewards.invoke("reward.py:lambda_handler", [Rollout.of("2 + 2?", "4", reference="4")]).scores[0].score
    ```

    Args:
        reward: as for `check`: a reward, a handler, `path/to/file.py:name`, a package, a zip, or a deployed function.
        rollouts: rollouts, records with an `answer`, pairs of a record and an answer, or rollouts as the service sends
            them; or the path of a JSON-lines file of these. A single mapping counts as a batch of one.
        timeout: seconds that the invocation may take; by default the deployed function's own, or 300.
        memory: megabytes that a file may use.
        client: a `Client`, or botocore's client for Lambda; by default botocore's own credentials invoke a function.

    Raises:
        ConfigurationError: there is no such reward, or a rollout has no answer. A failure of the reward itself is not
            raised, but is the `error` of the result.
    """
    event = list(read_entries(cast("object", [rollouts] if isinstance(rollouts, Mapping) else rollouts)))
    with closing(resolve_target(reward, timeout=timeout, memory=memory, client=client)) as target:
        outcome = target.invoke(event)
    scores: tuple[ScoredRollout, ...] = ()
    error = None
    try:
        scores = tuple(score_and_record(outcome.unwrap(), event, [str(entry["id"]) for entry in event], None))
    except RewardError as raised:
        error = raised
    return Invocation(target.name, event, outcome.result, scores, outcome.seconds, outcome.printed, error)
