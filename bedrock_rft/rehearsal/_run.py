"""Run one job, from upload to its end, on the local service in this process, and measure its reward."""

from __future__ import annotations

import math
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft._auth.config import config_for_transport
from bedrock_rft._resources.base import Session
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft.errors import RewardError
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.local._service.service import PayloadShape
from bedrock_rft.metrics import Metrics
from bedrock_rft.rewards._batch.recorder import RolloutRecorder, score_and_record
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.types import Job
from bedrock_rft.types.jobs import hyperparameters_of

GROUP_SIZE = 8
"""Assumed number of answers to each prompt; the service does not document its number."""
INVOCATION_SIZE = 16
"""Assumed number of rollouts per invocation of the reward function; the service does not document its number."""

_FUNCTION = "arn:aws:lambda:us-west-2:000000000000:function:rehearsal"
_MODEL = "openai.gpt-oss-20b"
_EARLY = 0.25  # share of the run in which the policy is still close to the untuned one
_NO_IDENTITY = ("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle", "region", "project")
_ROLLOUT_ID = re.compile(r"local-step-(\d+)-(\d+)")


class Recorder:
    """A reward function that measures another reward function: seconds, rollouts, and scores by step and prompt."""

    def __init__(self, entry: EntryPoint, rollouts: RolloutRecorder | None = None) -> None:
        self._entry, self._rollouts = entry, rollouts
        self.scores: defaultdict[tuple[int, int], list[float]] = defaultdict(list)
        self.rollouts = 0
        self.slowest = self.seconds = 0.0

    def __call__(self, event: Any, context: Any) -> Any:
        started = time.perf_counter()
        result = self._entry(event, context)
        duration = time.perf_counter() - started
        entries = cast("Sequence[Mapping[str, Any]]", event)
        self.rollouts += len(entries)
        self.seconds += duration
        self.slowest = max(self.slowest, duration)
        with suppress(RewardError):  # the local service reports an invalid result
            ids = [entry["id"] for entry in entries]
            for rollout in score_and_record(result, entries, ids, self._rollouts, duration):
                if match := _ROLLOUT_ID.fullmatch(rollout.id):
                    step, number = map(int, match.groups())
                    self.scores[step, number // GROUP_SIZE].append(rollout.score)
        return result

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score."""
        scores = [score for group in self.scores.values() for score in group] or [0.0]
        return min(scores), max(scores)


@dataclass(frozen=True)
class RehearsedJob:
    """A job that ran on the local service, with the metrics of its steps and the measured reward function."""

    job: Job
    metrics: Metrics
    recorder: Recorder

    def hyperparameter(self, name: str) -> int:
        """Return the named hyperparameter of the job as an int."""
        return int(hyperparameters_of(self.job)[name])

    @property
    def early_groups(self) -> list[Sequence[float]]:
        """The scores of the answers to each prompt in the first quarter of the run."""
        steps = max(1, math.ceil(len(self.metrics) * _EARLY / self.hyperparameter("n_epochs")))
        return [scores for (step, _), scores in sorted(self.recorder.scores.items()) if step <= steps]


def run_local_job(
    records: Sequence[Mapping[str, Any]],
    entry: EntryPoint,
    hyperparameters: Mapping[str, Any],
    *,
    timeout: float,
    seed: int,
    payload: PayloadShape = "metadata",
    wrap_text: bool = False,
    rollouts: RolloutRecorder | None = None,
    gold: Callable[[Mapping[str, Any]], str] | None = None,
) -> RehearsedJob:
    """Run a job on the local service. `timeout` limits the seconds of one invocation of the reward function."""
    recorder = Recorder(entry, rollouts)
    with Service(
        reward=recorder,
        seed=seed,
        minimum_records=1,
        group_size=GROUP_SIZE,
        invocation_size=INVOCATION_SIZE,
        reward_timeout=timeout,
        payload=payload,
        wrap_text=wrap_text,
        gold=gold,
    ) as service:
        transport = LocalTransport(service)
        config = config_for_transport(transport, timeout=60.0, max_retries=2, **dict.fromkeys(_NO_IDENTITY))
        session = Session(transport, config)
        files, jobs = Files(AsyncFiles(session)), Jobs(AsyncJobs(session))
        file = files.upload(records, filename="rehearsal.jsonl", validate=False)  # the rehearsal has validated them
        job = jobs.create(_MODEL, training_file=file, reward=_FUNCTION, hyperparameters=hyperparameters)
        job = jobs.wait(job, poll_interval=0.02, raise_on_failure=False)
        return RehearsedJob(job, jobs.metrics(job), recorder)
