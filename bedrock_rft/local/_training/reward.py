"""Invoke the user's reward function as the service does: it gets batches of rollouts, and returns a score for each.

How the service handles an invalid result is not known, so every invalid result is an error here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.local._training.dataset import Record
from bedrock_rft.rewards import Package, Reward
from bedrock_rft.rewards._batch.recorder import Recording, RolloutRecorder
from bedrock_rft.rewards._packaging.package import write_sources
from bedrock_rft.rewards._targets.entry_point import EntryPoint, InProcessTarget
from bedrock_rft.rewards._targets.handler_response import parse_response, parse_scores
from bedrock_rft.rewards._targets.resolve import reward_name, split_reward_path
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

_log = logging.getLogger("bedrock_rft.local.reward")

_MAX_TIMEOUT = 900  # seconds; Lambda's limit
_MAX_EVENT_BYTES = 6 << 20  # Lambda's limit for a synchronous invocation
_MEMORY_MB = 10_240  # Lambda's limit


@dataclass(frozen=True)
class SampledAnswer:
    """An answer to a prompt. `id` is unique within a call of `RewardFunction.score`."""

    id: str
    record: Record
    answer: str


class RewardFunction:
    """A reward that scores batches of rollouts.

    Files and packages run in a subprocess. Reward objects run in this process until `isolate` is called.
    """

    def __init__(
        self,
        handler: EntryPoint | Reward | Package | str | os.PathLike[str],
        payload: Literal["metadata", "top_level"] = "metadata",
        wrap_text: bool = False,
        invocation_size: int = 16,
        timeout: float = 300.0,
        record: Recording = None,
        name: str | None = None,
    ) -> None:
        """Load the handler, or raise `ConfigurationError`. `Service` describes the arguments."""
        if payload not in ("metadata", "top_level"):
            raise ConfigurationError(f"payload is '{payload}'; it must be 'metadata' or 'top_level'.")
        if invocation_size < 1:
            raise ConfigurationError(f"invocation_size is {invocation_size}; it must be at least 1.")
        if not 0 < timeout <= _MAX_TIMEOUT:
            raise ConfigurationError(f"timeout is {timeout}; Lambda allows more than 0 and at most 900 seconds.")
        self._nested = payload == "metadata"
        self._wrap_text = wrap_text
        self._size = invocation_size
        self._timeout = timeout
        self._resources = contextlib.ExitStack()
        self._object: EntryPoint | Reward | None = None
        self._shared_reason: str | None = None
        self._target: InProcessTarget | SubprocessTarget
        if isinstance(handler, Package):
            self._target = self._start_target(handler.content, handler.handler, reward_name(handler))
        elif isinstance(handler, (str, os.PathLike)):
            file, entry = split_reward_path(os.fspath(handler))
            self._target = self._start_target(file, entry, f"{file.name}:{entry}")
        else:
            self._object = handler
            self._target = InProcessTarget(handler, reward_name(handler), timeout)
        self._recorder = RolloutRecorder.of(record, "local_service", name or self._target.name)

    def isolate(self) -> str | None:
        """Run a reward object in a subprocess from now on; return the reason if its sources cannot be loaded."""
        if self._object is None:
            return self._shared_reason
        handler, self._object = self._object, None
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="reward-")))
        try:
            write_sources(handler, folder)
            # Extend the path, so that the reward finds the modules that this process finds, unlike a package.
            paths = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - sys.path holds strings
            lines = ("import sys", f"sys.path += {paths!r}", "from lambda_function import lambda_handler", "")
            (folder / "entry.py").write_text("\n".join(lines), encoding="utf-8")
            self._target = self._start_target(folder / "entry.py", "lambda_handler", reward_name(handler))
        except (ConfigurationError, OSError) as error:
            self._shared_reason = str(error)
        return self._shared_reason

    def score(self, answers: Sequence[SampledAnswer]) -> list[float]:
        """Return the scores of answers, in their order. Raise `RewardError` if an answer gets no score."""
        scores: list[float] = []
        for start in range(0, len(answers), self._size):
            batch = answers[start : start + self._size]
            event = [self._event_entry(answer) for answer in batch]
            _check_size(event)
            began = time.perf_counter()
            result = parse_response(self._invoke(event))
            seconds = time.perf_counter() - began
            ids = [answer.id for answer in batch]
            scores += [score.score for score in parse_scores(result, ids)]
            if self._recorder is not None:
                self._recorder.write(event, result, ids, seconds)
        return scores

    def close(self) -> None:
        """End the subprocess."""
        self._resources.close()

    def _start_target(self, source: Path | bytes, entry: str, name: str) -> SubprocessTarget:
        # The subprocess gets the environment, as in Lambda, because it may hold the credentials of a judge.
        target = SubprocessTarget(source, entry, name, self._timeout, _MEMORY_MB, environment=os.environ)
        self._resources.callback(target.close)
        try:
            description = target.start()
        except RewardError as error:
            self.close()
            raise ConfigurationError(error.message) from error
        if description.get("wrong"):
            self.close()
            raise ConfigurationError(f"The reward '{name}' cannot be invoked by Lambda: {description['wrong']}.")
        return target

    def _invoke(self, event: list[dict[str, Any]]) -> Any:
        outcome = self._target.invoke(event)
        for line in outcome.printed.splitlines():
            _log.info("%s: %s", self._target.name, line)
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
        service_fields = {"id": answer.id, "messages": messages}
        # The service's fields replace the record's, because a record's `id` is not the id of the rollout.
        return {**service_fields, "metadata": fields} if self._nested else {**fields, **service_fields}


def _check_size(event: list[dict[str, Any]]) -> None:
    size = len(json.dumps(event, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    if size > _MAX_EVENT_BYTES:
        raise RewardError(
            f"The event of {len(event)} rollouts has {size:,} bytes. Lambda refuses an event of more than "
            f"{_MAX_EVENT_BYTES:,} bytes. Shorten the records or the answers.",
            code="too_large",
        )
