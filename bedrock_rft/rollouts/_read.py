"""`Rollouts`: iterate over recorded rollouts, follow new ones, and pass them to frames, reports and difficulty."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn
from bedrock_rft.datasets import Difficulty
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.rollout_log import clean_name
from bedrock_rft.rollouts._loading import Block, load_blocks
from bedrock_rft.rollouts._partitions import Period, Time, find_hours, list_files
from bedrock_rft.rollouts._record import Problem, Record, parse_block
from bedrock_rft.rollouts._source import File, Source, open_source

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from bedrock_rft.metrics import Metrics
    from bedrock_rft.rollouts._groups import Group
    from bedrock_rft.rollouts._report import RolloutReport
    from bedrock_rft.types import Event

_POLL = 2.0
_MAX_PROBLEMS = 1000


def read(
    location: str | os.PathLike[str],
    *,
    since: Time | None = None,
    until: Time | None = None,
    function: str | None = None,
    client: Any = None,
    follow: bool = False,
) -> Rollouts:
    """Return the recorded rollouts of a location. Reading starts when you iterate.

    ```python
    for record in rollouts.read("s3://bucket/rollouts", since="2026-11-28T14:00"):
        print(record.time, record.score, record.answer)
    ```

    Files are chosen by the date and the hour in their path before they are opened. Records are ordered by time, oldest
    first: exactly by hour, and within an hour if files were modified in the order in which they were written.

    Args:
        location: `s3://bucket/prefix`, a folder, or one file. It may be a part of a recording, such as
            `folder/function=grade/date=2026-11-28`.
        since: no records before this time: an aware datetime, Unix seconds, or ISO 8601 text, in UTC if it has no
            offset.
        until: only records before this time.
        function: only the records of this function.
        client: a `Client` or botocore's client for S3, to read from S3. By default botocore's own credentials are used.
        follow: True begins with the newest hour, or at `since`, and then waits for new files until `close()`.

    Raises:
        ConfigurationError: there is no such folder or file, or a time cannot be read.
    """
    return Rollouts(
        open_source(location, client), Period.parse(since, until), function and clean_name(function), follow=follow
    )


class Rollouts(Iterable[Record]):
    """Recorded rollouts of a location. Each iteration reads them again. Memory does not depend on their number.

    Attributes:
        location: the folder, file or `s3://` location.
        problems: the lines and files that the last iteration skipped because they are damaged, at most 1,000.
        skipped: the number of skipped lines and files.
    """

    def __init__(self, source: Source, period: Period, function: str | None, *, follow: bool = False) -> None:
        self.location = source.location
        self.problems: list[Problem] = []
        self.skipped = 0
        self._source, self._period, self._function, self._follow = source, period, function, follow
        self._closed, self._keep = threading.Event(), list[Callable[[Record], bool]]()

    def __repr__(self) -> str:
        period = "".join(f", {name}={time!r}" for name, time in self._period._asdict().items() if time)
        return sanitize_line(f"Rollouts({self.location!r}{period})", 180)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all iterations, also one that waits for new files in another thread."""
        self._closed.set()

    def filter(self, keep: Callable[[Record], bool]) -> Rollouts:
        """Return only those rollouts for which a function returns True, as in `filter(lambda record: record.error)`."""
        chosen = copy(self)
        chosen._keep = [*self._keep, keep]
        return chosen

    def difficulty(self, *, pass_mark: float = 1.0) -> Difficulty:
        """Return the difficulty of each prompt, for `datasets.select`. Rollouts whose reward failed are left out.

        A model learns during a job: for the difficulty before training, read the first step only, with `until=`.
        Memory grows with the number of rollouts, by about 40 bytes for each.

        Args:
            pass_mark: an answer passes if its score is at least this.

        Raises:
            ConfigurationError: there are no scored rollouts, or the rollouts are followed, which never ends.
        """
        from bedrock_rft.rollouts._difficulty import measure_difficulty

        return measure_difficulty(self._finite("measure the difficulty"), pass_mark, f"rollouts of {self.location}")

    def groups(self, *, gap: float = 60.0) -> Iterator[Group]:
        """Iterate over groups: the rollouts of one prompt in one step. Groups are recognised approximately.

        Rollouts with the same prompt hash form a group if they come from one invocation, or from invocations whose
        scoring ended at most `gap` seconds apart, because the service takes minutes for a step. Rollouts of the local
        service and of rehearsals, whose steps take milliseconds, need the same invocation. A recording with `sample`
        below 1 has incomplete groups. A group is yielded when an hour begins whose rollouts are too far away to belong
        to it, so the rollouts of about one hour are in memory, at most 200,000.

        Args:
            gap: the largest number of seconds between invocations of one group.

        Raises:
            ConfigurationError: the rollouts are followed, so that no group is known to be complete.
        """
        from bedrock_rft.rollouts._groups import group_records

        return group_records(self._finite("form groups"), gap)

    def report(
        self, events: Metrics | Iterable[Event] | None = None, *, fields: Sequence[str] = (), pass_mark: float = 1.0
    ) -> RolloutReport:
        """Read all rollouts once, and return a report: distributions, findings and examples.

        Memory does not depend on the number of rollouts. Texts are examined in a sample of 3,000 that is drawn at
        random with a fixed seed.

        ```python
        found = rollouts.read("s3://bucket/rollouts").report(client.jobs.events(job), fields=["topic"])
        found.to_html("report.html")
        ```

        Args:
            events: the events of the job, or its metrics, to align rollouts with steps by their times, approximately.
            fields: names of record fields whose values get pass rates of their own.
            pass_mark: a rollout passes if its reward is at least this.

        Raises:
            ConfigurationError: the rollouts are followed, which never ends.
        """
        from bedrock_rft.rollouts._report import rollout_report

        title = f"Rollouts of {self.location}"
        report = rollout_report(self._finite("report"), title, events=events, fields=fields, pass_mark=pass_mark)
        return replace(report, unreadable=self.skipped)

    def _finite(self, action: str) -> Self:
        if self._follow:
            raise ConfigurationError(f"follow=True never ends. Read the rollouts without follow= to {action}.")
        return self

    def __iter__(self) -> Iterator[Record]:
        for block in self._blocks():
            for record in self._records_in(block):
                if self._closed.is_set():
                    return
                yield record
        self._warn_of_problems()

    def _blocks(self) -> Iterator[Block]:
        """Yield the lines of all files, in blocks."""
        self.problems, self.skipped = [], 0
        for found in self._new_files() if self._follow else [self._files(self._period)]:
            yield from load_blocks(self._source, found, self._skip)

    def _warn_of_problems(self) -> None:
        if self.skipped:
            warn(
                f"{self.skipped:,} lines or files of {self.location} could not be read and were skipped, such as "
                f"{self.problems[0]}. The attribute 'problems' lists them."
            )

    def _records_in(self, block: Block) -> list[Record]:
        """Return the records of a block that the period and the function select."""
        records, problems = parse_block(block.text)
        for number, reason in problems:
            self._skip(block.file, block.lines_before + number, reason)
        if self._period == Period() and self._function is None and not self._keep:
            return records
        return [
            record
            for record in records
            if self._period.contains(record.time)
            and self._function in {None, record.function}
            and all(keep(record) for keep in self._keep)
        ]

    def to_pandas(self) -> pd.DataFrame:
        """Return a `pandas.DataFrame` with one row for each rollout.

        The columns are the keys of the record; `time` is a time in UTC. Each part and each metric has a column of its
        own, such as `parts.correct`. `reference` and `fields` are text: JSON, or the text itself. `truncated` is text.

        Raises:
            MissingExtraError: pandas is not installed (extra 'pandas').
        """
        from bedrock_rft.rollouts._frames import to_pandas

        return to_pandas(self._finite("export them"))

    def to_polars(self) -> pl.DataFrame:
        """Return a `polars.DataFrame` with the columns of `to_pandas`. Needs the extra 'polars'."""
        from bedrock_rft.rollouts._frames import to_polars

        return to_polars(self._finite("export them"))

    def to_parquet(self, path: str | os.PathLike[str]) -> int:
        """Write a Parquet file with the columns of `to_pandas`, in chunks, and return the number of rollouts.

        Raises:
            MissingExtraError: polars is not installed (extra 'polars').
            DatasetError: the file cannot be written.
        """
        from bedrock_rft.rollouts._frames import to_parquet

        return to_parquet(self._finite("export them"), path)

    def to_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Write one file of JSON lines, and return the number of rollouts. Raises `DatasetError` if that fails."""
        from bedrock_rft.rollouts._frames import to_jsonl

        return to_jsonl(self._finite("export them"), path)

    def to_csv(self, path: str | os.PathLike[str]) -> int:
        """Write comma-separated values, and return the number of rollouts. Needs no library.

        The columns are the keys of the record; values other than texts and numbers are JSON text.

        Raises:
            DatasetError: the file cannot be written.
        """
        from bedrock_rft.rollouts._frames import to_csv

        return to_csv(self._finite("export them"), path)

    def _files(self, period: Period) -> Iterator[tuple[str, File]]:
        return list_files(self._source, find_hours(self._source, period, self._function))

    def _new_files(self) -> Iterator[Iterator[tuple[str, File]]]:
        """Yield the files of the newest hour, or since the start of the period, then those that are added later."""
        period, seen = self._period, set[str]()
        newest = max(find_hours(self._source, period, self._function), default="")
        begin = newest if period.since is None else ""
        while not self._closed.is_set():
            if newest and (begin or seen):  # an invocation that began in the previous hour may still end
                before = datetime.fromisoformat(f"{newest}:00:00") - timedelta(hours=1)
                period = period._replace(since=max(f"{before:%Y-%m-%dT%H}", self._period.since or ""))
            files = [*self._files(period)]
            yield (one for one in files if one[0] >= begin and one[1].path not in seen)
            newest = max((hour for hour, _ in files), default=newest)
            seen, begin = {file.path for _, file in files}, ""
            self._closed.wait(_POLL)

    def _skip(self, file: File, line: int | None, reason: str) -> None:
        self.skipped += 1
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(Problem(self._source.url(file), line, reason))
