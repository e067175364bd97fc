"""Invoke the user's reward function as the service does: batches of rollouts in, one score for each out.

How the service handles an invalid result is not known, so every invalid result is an error here.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.rewards import Package, Reward
from bedrock_rft.rewards._targets.entry_point import EntryPoint, call_handler, load_handler
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores
from bedrock_rft.rewards._targets.resolve import reward_name, split_reward_path
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

__all__ = ["RewardFunction", "SampledAnswer"]

_log = logging.getLogger("bedrock_rft.local.reward")

_MAX_TIMEOUT = 900  # seconds; Lambda's limit
_MAX_EVENT_BYTES = 6 << 20  # Lambda's limit for a synchronous invocation
_MEMORY_MB = 10_240  # Lambda's limit


@dataclass(frozen=True)
class SampledAnswer:
    """One answer to one prompt.

    Attributes:
        id: the id of the rollout; unique within a call of `RewardFunction.score`.
        record: the prompt, with the reference answer and the other fields of its line.
        answer: the text of the model.
    """

    id: str
    record: Record
    answer: str


class RewardFunction:
    """A reward that scores batches of rollouts.

    A file runs in a subprocess, whose output is logged. A function or a `Reward` given in Python runs in this
    process, because it may share state with the program.

    Attributes:
        last_metrics: the mean of each named value in the `metrics_list` of the last call of `score`.
    """

    def __init__(
        self,
        handler: EntryPoint | Reward | Package | str | os.PathLike[str],
        *,
        payload: Literal["metadata", "top_level"] = "metadata",
        wrap_text: bool = False,
        invocation_size: int = 16,
        timeout: float = 300.0,
    ) -> None:
        """Load the handler.

        Args:
            handler: a reward, a function of `(event, context)`, `path/to/file.py:handler_name`, the zip of a Lambda
                function, or a package.
            payload: position of the reference answer and further fields: under `metadata`, as documented, or at the top
                level, as AWS's sample reads them.
            wrap_text: send a reference answer that is a string as `{"text": …}`, as AWS's sample reads it.
            invocation_size: rollouts per invocation; the service's own number is not known.
            timeout: seconds that an invocation may take, at most 900.

        Raises:
            ConfigurationError: the handler cannot be loaded, or a setting is invalid.
        """
        if payload not in ("metadata", "top_level"):
            raise ConfigurationError(f"payload is '{payload}'; it must be 'metadata' or 'top_level'.")
        if invocation_size < 1:
            raise ConfigurationError(f"invocation_size is {invocation_size}; it must be at least 1.")
        if not 0 < timeout <= _MAX_TIMEOUT:
            raise ConfigurationError(
                f"timeout is {timeout}; Lambda allows more than 0 and at most {_MAX_TIMEOUT} seconds."
            )
        self.last_metrics: dict[str, float] = {}
        self._process: SubprocessTarget | None = None
        self._entry: EntryPoint | None = None
        if isinstance(handler, (str, os.PathLike, Package)):
            self._process = _start_process(cast("Any", handler), timeout)
        else:
            self._entry = load_handler(handler)
        self._nested = payload == "metadata"
        self._wrap_text = wrap_text
        self._size = invocation_size
        self._timeout = timeout

    def score(self, answers: Sequence[SampledAnswer]) -> list[float]:
        """Return the scores of answers, in their order.

        Raises:
            RewardError: the handler raised, exited or timed out, an event was too large, or the result is not one score
                for each answer.
        """
        scores: list[float] = []
        metrics: dict[str, list[float]] = {}
        for start in range(0, len(answers), self._size):
            batch = answers[start : start + self._size]
            event = [self._event_entry(answer) for answer in batch]
            _check_size(event)
            result = parse_response(self._invoke(event))
            for score in parse_scores(result, [answer.id for answer in batch]):
                scores.append(score.score)
                for name, value in score.metrics.items():
                    metrics.setdefault(name, []).append(value)
        self.last_metrics = {name: sum(values) / len(values) for name, values in metrics.items()}
        return scores

    def close(self) -> None:
        """End the subprocess of a reward in a file."""
        if self._process is not None:
            self._process.close()

    def _invoke(self, event: list[dict[str, Any]]) -> Any:
        if self._entry is not None:
            return call_handler(self._entry, event, timeout=self._timeout)
        assert self._process is not None  # noqa: S101 - one of the two is set
        outcome = self._process.invoke(event)
        for line in outcome.printed.splitlines():
            _log.info("%s: %s", self._process.name, line)
        if outcome.error is not None:
            raise outcome.error
        return outcome.result

    def _event_entry(self, answer: SampledAnswer) -> dict[str, Any]:
        record = answer.record
        fields = dict(record.extras)
        if record.has_reference:
            wrap = self._wrap_text and isinstance(record.reference_answer, str)
            fields["reference_answer"] = {"text": record.reference_answer} if wrap else record.reference_answer
        messages = [*record.messages, {"role": "assistant", "content": answer.answer}]
        own = {"id": answer.id, "messages": messages}
        # The service's fields win over the record's: a record's `id` is not the rollout's.
        return {**own, "metadata": fields} if self._nested else {**fields, **own}


def _start_process(handler: Package | str | os.PathLike[str], timeout: float) -> SubprocessTarget:
    name = reward_name(handler)
    source: Path | bytes
    if isinstance(handler, Package):
        source, entry = handler.content, handler.handler
    else:
        try:
            source, entry = split_reward_path(os.fspath(handler))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigurationError(f"The reward file in '{name:.200}' cannot be found: {reason}.") from error
        name = f"{source.name}:{entry}"
    # Like a function in Lambda it has the environment of its host, which may hold the credentials of a judge.
    target = SubprocessTarget(source, entry, name, timeout, _MEMORY_MB, environment=os.environ)
    try:
        loaded = target.start()
    except RewardError as error:
        target.close()
        raise ConfigurationError(error.message) from error
    if loaded.get("wrong"):
        target.close()
        raise ConfigurationError(f"The reward '{name}' cannot be invoked by Lambda: {loaded['wrong']}.")
    return target


def _check_size(event: list[dict[str, Any]]) -> None:
    size = len(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > _MAX_EVENT_BYTES:
        raise RewardError(
            f"The event of {len(event)} rollouts has {size:,} bytes. Lambda refuses an event of more than "
            f"{_MAX_EVENT_BYTES:,} bytes. Shorten the records or the answers.",
            code="too_large",
        )
