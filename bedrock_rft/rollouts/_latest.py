"""The latest rollouts of a location, for the view of a running job."""

from __future__ import annotations

import os
from typing import Any

from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.rollouts._loading import load_blocks
from bedrock_rft.rollouts._partitions import Period, find_hours, list_files
from bedrock_rft.rollouts._record import Record, parse_block
from bedrock_rft.rollouts._source import Source, open_source

_SHOWN = 3


class LatestRollouts:
    """Up to three rollouts of the newest files: with the lowest, a middle and the highest reward.

    `problem` is the reason why the rollouts could not be read, or empty.
    """

    def __init__(self, location: str | os.PathLike[str], client: Any) -> None:
        self.problem = ""
        self._location, self._client = location, client
        self._source: Source | None = None
        self._newest: tuple[str, str] = ("", "")
        self._records: tuple[Record, ...] = ()

    def __call__(self) -> tuple[Record, ...]:
        """Return the rollouts. If the location cannot be read yet, the next call tries again."""
        try:
            source = self._source = self._source or open_source(self._location, self._client)
            hours = find_hours(source, Period(self._newest[0] or None), None)
            files = [*list_files(source, {max(hours): hours[max(hours)]})] if hours else []
            if files and (files[-1][0], files[-1][1].path) != self._newest:
                found: list[Record] = []
                for one in files[: -_SHOWN - 1 : -1]:  # newest first; an invocation may have one rollout
                    if len(found) < _SHOWN:
                        blocks = load_blocks(source, iter([one]), lambda _file, _line, _reason: None)
                        found += [record for block in blocks for record in parse_block(block.text)[0]]
                records = sorted(found, key=lambda record: record.score)
                places = {0, len(records) // 2, len(records) - 1} if records else set[int]()
                self._records = tuple(records[place] for place in sorted(places))
                self._newest = (files[-1][0], files[-1][1].path)
            self.problem = ""
        except (BedrockRFTError, OSError) as error:
            self.problem = str(error)
        return self._records
