"""One job from upload to its end, on the local service in this process, with the user's own reward."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._auth.config import carried
from bedrock_rft._resources.base import Session
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.metrics import Metrics
from bedrock_rft.rehearsal._recorder import Recorder
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.types import Job

__all__ = ["GROUP_SIZE", "INVOCATION_SIZE", "Rehearsed", "rehearsed"]

GROUP_SIZE = 8
"""Answers to each prompt; the service's own number is not documented."""
INVOCATION_SIZE = 16
"""Rollouts in one call of the reward; the service's own number is not documented."""

_FUNCTION = "arn:aws:lambda:us-west-2:000000000000:function:rehearsal"
_MODEL = "openai.gpt-oss-20b"
_EARLY = 0.25
_NO_IDENTITY = ("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle", "region", "project")


@dataclass(frozen=True)
class Rehearsed:
    """A job that was run here.

    Attributes:
        job: as it ended.
        metrics: of its steps.
        recorder: what it asked of the reward.
    """

    job: Job
    metrics: Metrics
    recorder: Recorder

    @property
    def n_epochs(self) -> int:
        """Passes over the records."""
        return int(self._setting("n_epochs"))

    @property
    def batch_size(self) -> int:
        """Prompts per step."""
        return int(self._setting("batch_size"))

    def _setting(self, name: str) -> Any:
        method = self.job.method
        settings = method.reinforcement.hyperparameters if method and method.reinforcement else None
        return getattr(settings, name)

    @property
    def groups(self) -> list[Sequence[float]]:
        """The scores of the answers to each prompt, before much was learned."""
        return self.recorder.groups(max(1, math.ceil(len(self.metrics) * _EARLY / self.n_epochs)))


def rehearsed(
    records: Sequence[Mapping[str, Any]],
    entry: EntryPoint,
    hyperparameters: Mapping[str, Any],
    *,
    timeout: float,
    seed: int,
) -> Rehearsed:
    """Run a job on records.

    Args:
        records: of the training file.
        entry: the reward.
        hyperparameters: of the job.
        timeout: seconds that a call of the reward may take.
        seed: of the training.
    """
    recorder = Recorder(entry, GROUP_SIZE)
    with Service(
        reward=recorder,
        seed=seed,
        minimum_records=1,
        group_size=GROUP_SIZE,
        invocation_size=INVOCATION_SIZE,
        reward_timeout=timeout,
    ) as service:
        transport = LocalTransport(service)
        config = carried(transport, timeout=60.0, max_retries=2, **dict.fromkeys(_NO_IDENTITY))
        session = Session(transport, config)
        files, jobs = Files(AsyncFiles(session)), Jobs(AsyncJobs(session))
        file = files.upload(records, filename="rehearsal.jsonl", validate=False)  # it has been, and is said
        job = jobs.create(_MODEL, training_file=file, reward=_FUNCTION, hyperparameters=hyperparameters)
        job = jobs.wait(job, poll_interval=0.02, raise_on_failure=False)
        return Rehearsed(job, jobs.metrics(job), recorder)
