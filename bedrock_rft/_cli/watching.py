"""Watch several jobs at once."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from bedrock_rft._core.output import write

_TRACKERS = {"mlflow": "MLflow", "wandb": "WeightsAndBiases", "tensorboard": "TensorBoard"}
_JOIN = 0.2  # seconds after which Ctrl-C is noticed


class _LabelledStream:
    """A stream that puts the number of a job before each line."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.encoding = getattr(sys.stdout, "encoding", "utf-8")

    def write(self, text: str) -> int:
        write(sys.stdout, f"{self._label}{text}")
        return len(text)

    def flush(self) -> None:
        """Do nothing: each line was flushed."""

    def isatty(self) -> bool:
        """Return False: several panels would cover each other."""
        return False


def watch_jobs(
    client: Any, job_ids: Sequence[str], style: str, trackers: Sequence[str], options: dict[str, Any]
) -> tuple[list[Any], list[Any]]:
    """Show jobs until they end. Return the jobs, and the errors of jobs whose time limit passed."""
    from bedrock_rft import trackers as package
    from bedrock_rft.errors import BedrockRFTWarning, WaitTimeoutError

    if style != "none":  # the view shows the alarms
        warnings.filterwarnings("ignore", r"Job \S+: (The limit|80 %|The job was not cancelled)", BedrockRFTWarning)
    ended: dict[str, Any] = {}
    late: list[Any] = []

    def watch(job: str, **view: Any) -> None:
        try:
            made = [getattr(package, _TRACKERS[name])() for name in trackers]
            ended[job] = client.jobs.watch(job, trackers=made, advice=False, **view, **options)
        except WaitTimeoutError as error:
            ended[job] = error.job
            late.append(error)

    if len(job_ids) == 1:
        watch(job_ids[0], style=style)
    else:
        style = "plain" if style in {"auto", "terminal"} else style
        if style == "plain":
            for place, job in enumerate(job_ids, 1):
                write(sys.stdout, f"[{place}] is {job}\n")
        labels = [f"[{place}] " if style == "plain" else "" for place in range(1, len(job_ids) + 1)]
        streams: list[Any] = [_LabelledStream(label) for label in labels]
        pairs = zip(job_ids, streams, strict=True)
        _run_together([partial(watch, job, style=style, file=stream) for job, stream in pairs])
    return [ended[job] for job in job_ids], late


def _run_together(tasks: Sequence[Callable[[], None]]) -> None:
    """Run functions in threads, and raise the first error. Ctrl-C abandons the threads."""
    failures: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not failures:
        for thread in threads:
            thread.join(_JOIN)
    if failures:
        raise failures[0]
