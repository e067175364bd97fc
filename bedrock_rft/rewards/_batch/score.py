"""`score`: score any number of answers, in order, on any executor, and resume an interrupted call."""

from __future__ import annotations

import hashlib
import json
import operator
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, cast
from uuid import uuid4

from bedrock_rft._core.progress import tqdm_bar
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._batch.entries import read_entries
from bedrock_rft.rewards._batch.recorder import Recording, RolloutRecorder
from bedrock_rft.rewards._batch.worker import Result, ScoringTask, close_targets, score_entries
from bedrock_rft.rewards._targets.resolve import lambda_arn, resolve_target

_BATCH_CHARACTERS = 1_000_000
"""Maximum characters in a batch: even at four bytes each, the event stays below Lambda's 6 MB."""
_BATCHES_AHEAD = 64
_LAMBDA_BATCH, _LOCAL_BATCH = 16, 64
_LAMBDA_INVOCATIONS = 8
_LONGEST_TIMEOUT = 900.0


@dataclass(frozen=True)
class ScoredAnswer(ShortRepr):
    """The score of one answer.

    Attributes:
        index: the position of the row, from 0.
        id: the id of the row, or `row-N`.
        score: the score; None if the handler returned none for the answer. It is the floor if the reward raised.
        parts: the values of `metrics_list` by name. `reward_error` is 1 if the reward raised and gave its floor.
        error: why there is no score, or why the score is the floor; None if the reward scored the answer.
    """

    index: int
    id: str
    score: float | None
    parts: Mapping[str, float]
    error: str | None = None


def score(
    reward: object,
    rows: Iterable[Any] | str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    resume: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    timeout: float | None = None,
    memory: int = 1024,
    client: Any = None,
    progress: bool | Callable[[int], None] | None = None,
    record: Recording = None,
) -> Iterator[ScoredAnswer]:
    """Score given answers without a job, in the order of the rows.

    Rows are read lazily, and results are yielded as soon as they are ready.

    ```python
    with ProcessPoolExecutor(2) as pool:
        for scored in rewards.score("reward.py:lambda_handler", "answers.jsonl", executor=pool, resume="scores.jsonl"):
            print(scored.id, scored.score)
    ```

    Args:
        reward: as for `check`: a reward, a handler, `path/to/file.py:name`, a package, a zip, or a deployed function.
        rows: rollouts, records with an `answer`, pairs of a record and an answer, recorded rollouts, or rollouts as
            the service sends them; or the path of a JSON-lines file of these, or of a folder of recorded rollouts.
        executor: runs the batches: any `concurrent.futures.Executor`, such as a process pool or the executor of a Dask
            cluster (`dask.distributed.Client(…).get_executor()`). The reward is pickled for other processes. By default
            batches run in this thread, and in eight threads if the reward is in Lambda.
        resume: a file of JSON lines that stores the results in order. With the same file, rows and reward, an
            interrupted call continues after the last stored result, and returns the stored results too. Use a file in
            one call at a time.
        batch_size: the number of answers in an invocation; by default 64, and 16 in Lambda.
        timeout: seconds that an invocation may take; by default the deployed function's own, or 900.
        memory: megabytes that a file may use.
        client: a `Client` or botocore's client for Lambda, to invoke a deployed function; it cannot be used with
            processes. By default botocore's own credentials are used.
        progress: a function that is called after each batch with the number of results so far; or True for a tqdm bar
            on a terminal or in a notebook.
        record: a folder or `s3://bucket/prefix` in which to record the scored answers, or a `RolloutLog`. Stored
            results are not recorded again, and answers without a score are not recorded.

    Raises:
        ConfigurationError: there is no such reward, a row has no answer, the reward cannot be pickled, or the file to
            resume from belongs to other rows or another reward.
        RewardError: the reward cannot score at all, or a worker process ended.
    """
    arn = lambda_arn(reward)
    size = batch_size if batch_size is not None else _LOCAL_BATCH if arn is None else _LAMBDA_BATCH
    if isinstance(size, bool) or size < 1:
        raise ConfigurationError(f"batch_size is {batch_size!r}. Use a whole number of at least 1.")
    limit = _LONGEST_TIMEOUT if timeout is None and arn is None else timeout
    task = ScoringTask(uuid4().hex, reward, limit, memory, client)
    check_pickle(task, executor)
    probe = resolve_target(
        reward, timeout=limit, memory=memory, client=client
    )  # raises for mistakes before the first row is read
    fingerprint = f"{probe.name} {probe.fingerprint}" if resume is not None else ""
    task = replace(task, recorder=RolloutRecorder.of(record, "score", probe.arn or probe.name))
    probe.close()
    return _score(task, rows, executor, resume, fingerprint, size, progress or None, in_lambda=arn is not None)


def _score(
    task: ScoringTask,
    rows: object,
    executor: Executor | None,
    resume: str | os.PathLike[str] | None,
    fingerprint: str,
    size: int,
    progress: Literal[True] | Callable[[int], None] | None,
    *,
    in_lambda: bool,
) -> Iterator[ScoredAnswer]:
    with ExitStack() as stack:
        stack.callback(close_targets, task.key)
        stored = (
            None if resume is None else stack.enter_context(closing(_ScoreFile(Path(resume).expanduser(), fingerprint)))
        )
        if executor is None and in_lambda:
            executor = stack.enter_context(ThreadPoolExecutor(_LAMBDA_INVOCATIONS))
        entries = read_entries(rows)
        index = 0
        if progress is True:
            progress = _bar(rows, stack)
        for entry in entries if stored is not None else ():
            found = cast("_ScoreFile", stored).next_result(index, entry)
            if found is None:
                entries = chain([entry], entries)
                break
            yield found
            index += 1
        for batch, results in _run(task, _batches(entries, size), executor):
            scored = [
                ScoredAnswer(index + place, str(entry.get("id", "")), *result)
                for place, (entry, result) in enumerate(zip(batch, results, strict=True))
            ]
            if stored is not None:
                stored.add(batch, scored)
            index += len(batch)
            yield from scored
            if progress is not None:
                progress(index)


def _bar(rows: object, stack: ExitStack) -> Callable[[int], None] | None:
    """Return a function that shows the number of results in a bar; None if nothing would show it."""
    total = None if isinstance(rows, str) else operator.length_hint(rows) or None
    bar = tqdm_bar("scored", total)
    if bar is None:
        return None
    stack.callback(bar.close)
    return lambda count: bar.update(count - bar.n)


def _run(
    task: ScoringTask, batches: Iterator[list[dict[str, Any]]], executor: Executor | None
) -> Iterator[tuple[list[dict[str, Any]], list[Result]]]:
    """Yield each batch with its results, in order. With an executor, some batches run in advance."""
    if executor is None:
        for batch in batches:
            yield batch, score_entries(task, batch)
        return
    pending: deque[tuple[list[dict[str, Any]], Future[list[Result]]]] = deque()
    try:
        while True:
            ahead = [*islice(batches, _BATCHES_AHEAD - len(pending))]
            pending += [(batch, executor.submit(score_entries, task, batch)) for batch in ahead]
            if not pending:
                return
            yield pending[0][0], pending[0][1].result()
            pending.popleft()
    except BrokenExecutor as error:
        raise worker_error(error) from error
    finally:
        for _, future in pending:
            future.cancel()


def worker_error(error: BrokenExecutor) -> RewardError:
    """Return the error for an executor whose worker ended."""
    return RewardError(
        f"A worker process ended while it scored answers: {sanitize_line(str(error), 300)} Look for a crash or for "
        "too little memory, then run again with a new executor; with resume= it continues from the stored results.",
        code="died",
    )


def _batches(entries: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    characters = 0
    for entry in entries:
        length = len(json.dumps(entry, ensure_ascii=False, default=repr))
        if batch and (len(batch) == size or characters + length > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(entry)
        characters += length
    if batch:
        yield batch


def check_pickle(task: ScoringTask, executor: Executor | None) -> None:
    """Raise `ConfigurationError` if the workers are processes and the reward cannot be pickled for them."""
    if not isinstance(executor, ProcessPoolExecutor):
        return
    try:
        pickle.dumps(task)
    except Exception as error:
        raise ConfigurationError(
            f"The reward cannot be sent to other processes: {sanitize_line(str(error), 200)}. Write it into a file, "
            "and pass 'path/to/file.py:name'."
        ) from error


class _ScoreFile:
    """The results in a file: one line that identifies the reward, then one for each row, in order."""

    def __init__(self, path: Path, fingerprint: str) -> None:
        self._path, header = path, {"scored_by": fingerprint}
        try:
            path.touch(mode=0o600)
            self._file = path.open("r+b")
        except OSError as error:
            raise ConfigurationError(f"resume: cannot use {path}: {error.strerror}.") from error
        try:
            present = self._read()
        except ConfigurationError:
            self.close()
            raise
        if present is None:
            self._write([header])
        elif present != header:
            self.close()
            raise ConfigurationError(
                f"resume: {path} has scores of another reward, or the reward's code or settings changed. "
                "Name another file."
            )

    def close(self) -> None:
        self._file.close()

    def next_result(self, index: int, entry: Mapping[str, Any]) -> ScoredAnswer | None:
        """Return the stored result of a row, or None after the last result."""
        line = self._read()
        if line is None:
            return None
        try:
            row = line.pop("row")
            found = ScoredAnswer(**line)
        except (KeyError, TypeError):
            row, found = "", ScoredAnswer(-1, "", None, {})
        if row != _digest(entry) or found.index != index:
            raise ConfigurationError(
                f"resume: {self._path} has the score of another row at position {index}. Pass the same rows in the "
                "same order, or name another file."
            )
        return found

    def add(self, batch: Sequence[Mapping[str, Any]], scored: Sequence[ScoredAnswer]) -> None:
        """Store results before they are returned."""
        self._write([{**vars(one), "row": _digest(entry)} for entry, one in zip(batch, scored, strict=True)])

    def _read(self) -> dict[str, Any] | None:
        """Return the next line. Remove a last line that is incomplete because the process ended."""
        place = self._file.tell()
        line = self._file.readline()
        try:
            if line.endswith(b"\n"):
                return dict(cast("Mapping[str, Any]", json.loads(line)))
        except (ValueError, TypeError, RecursionError):
            raise ConfigurationError(f"resume: {self._path} was not written by score(). Name another file.") from None
        self._file.seek(place)
        self._file.truncate()
        return None

    def _write(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._file.write("".join(json.dumps(line) + "\n" for line in lines).encode())
        self._file.flush()


def _digest(entry: Mapping[str, Any]) -> str:
    text = json.dumps(entry, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
