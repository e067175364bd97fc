"""Run one job, from upload to its end, on the local service in this process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._auth.config import config_for_transport
from bedrock_rft._resources.base import Session
from bedrock_rft._resources.files import AsyncFiles, Files
from bedrock_rft._resources.jobs import AsyncJobs, Jobs
from bedrock_rft.local import LocalTransport, Service
from bedrock_rft.local._service.service import PayloadShape
from bedrock_rft.metrics import Metrics
from bedrock_rft.rehearsal._recorder import Recorder
from bedrock_rft.rewards._targets.entry_point import EntryPoint
from bedrock_rft.types import Job

__all__ = ["GROUP_SIZE", "INVOCATION_SIZE", "RehearsedJob", "run_local_job"]

GROUP_SIZE = 8
"""Answers to each prompt; the service's own number is not documented."""
INVOCATION_SIZE = 16
"""Rollouts per invocation of the reward function; the service's own number is not documented."""

_FUNCTION = "arn:aws:lambda:us-west-2:000000000000:function:rehearsal"
_MODEL = "openai.gpt-oss-20b"
_EARLY = 0.25  # share of the run in which the policy is still close to the untuned one
_NO_IDENTITY = ("api_key", "profile", "credentials", "auth", "base_url", "ca_bundle", "region", "project")


@dataclass(frozen=True)
class RehearsedJob:
    """A job that ran on the local service.

    Attributes:
        job: the job after its end.
        metrics: the metrics of its steps.
        recorder: the measured invocations of the reward function.
    """

    job: Job
    metrics: Metrics
    recorder: Recorder

    @property
    def n_epochs(self) -> int:
        """Passes over the records."""
        return int(self._hyperparameter("n_epochs"))

    @property
    def batch_size(self) -> int:
        """Prompts per step."""
        return int(self._hyperparameter("batch_size"))

    def _hyperparameter(self, name: str) -> Any:
        method = self.job.method
        hyperparameters = method.reinforcement.hyperparameters if method and method.reinforcement else None
        return getattr(hyperparameters, name)

    @property
    def early_groups(self) -> list[Sequence[float]]:
        """The scores of the answers to each prompt in the first quarter of the run."""
        return self.recorder.groups(max(1, math.ceil(len(self.metrics) * _EARLY / self.n_epochs)))


def run_local_job(
    records: Sequence[Mapping[str, Any]],
    entry: EntryPoint,
    hyperparameters: Mapping[str, Any],
    *,
    timeout: float,
    seed: int,
    payload: PayloadShape = "metadata",
    wrap_text: bool = False,
    gold: Callable[[Mapping[str, Any]], str] | None = None,
) -> RehearsedJob:
    """Run a job on the local service.

    Args:
        records: the training records.
        entry: the reward function.
        hyperparameters: the hyperparameters of the job.
        timeout: seconds that an invocation of the reward function may take.
        seed: random seed of the training.
        payload: position of the reference answer in a rollout.
        wrap_text: send a reference answer that is a string as `{"text": …}`.
        gold: returns the right answer to a record.
    """
    recorder = Recorder(entry, GROUP_SIZE)
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
