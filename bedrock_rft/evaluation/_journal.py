"""Answers and scores on disk as they come, so that a run that is broken off asks nothing twice."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from bedrock_rft._core.warnings import warn_once
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._lock import hold
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC

__all__ = ["Answer", "Journal", "Scored"]


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        text: the answer.
        finish_reason: why it ended, such as `stop` or `length`.
        prompt_tokens: of the question.
        completion_tokens: of the answer.
    """

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Scored:
    """What the reward said of an answer.

    Attributes:
        score: the reward.
        parts: what is in `metrics_list`.
    """

    score: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])


class Journal:
    """What has been answered and scored; with a path, also on disk, one line each, readable by its owner alone.

    Questions are kept under their keys, so a run with more models, prompts or samples takes over what it can.
    """

    def __init__(self, path: str | os.PathLike[str] | None, scorer: str) -> None:
        """Open or begin one.

        Args:
            path: of the file; None keeps everything in memory.
            scorer: names the reward. Scores that another one gave are not taken over.

        Raises:
            ConfigurationError: the file cannot be opened, is something else, or another evaluation is using it.
        """
        self.answers: dict[str, Answer] = {}
        self.scores: dict[str, Scored] = {}
        self._scorer = scorer
        self._lock = threading.Lock()
        self._file: int | None = None
        self._place: Path | None = None
        if path is None:
            return
        self._place = place = Path(path).expanduser()
        try:
            self._file = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
            self._only_one(place, self._file)
            self._take_over(place, self._file)
        except OSError as error:
            self.close()
            raise ConfigurationError(f"{place} cannot be used to resume from: {error.strerror or error}.") from error
        except BaseException:
            self.close()
            raise

    def answered(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self.answers[key] = answer
        self._write({"answered": key, **asdict(answer)})

    def scored(self, key: str, scored: Scored) -> None:
        """Keep a score; one that is only the floor, since the reward raised, not for another run."""
        self.scores[key] = scored
        if scored.parts.get(ERROR_METRIC):
            return
        self._write({"scored": key, "by": self._scorer, "score": scored.score, "parts": dict(scored.parts)})

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        with self._lock:
            while self._file is not None and data:
                # In one piece as a rule; where the disk is full, what follows a broken line must not be taken for one.
                try:
                    data = data[os.write(self._file, data) :]
                except OSError as error:
                    raise ConfigurationError(
                        f"{self._place} cannot be written: {error.strerror or error}. What it holds so far is kept; "
                        "make room, and run again with it."
                    ) from error

    def _only_one(self, place: Path, file: int) -> None:
        held = hold(file)
        if held is False:
            raise ConfigurationError(
                f"{place} is in use: another evaluation writes to it, and both would ask, and pay for, the same "
                "questions. Wait until that one has ended, then run again, or name another file to resume from."
            )
        if held is None:
            warn_once(f"{place} is on a file system without locks; use it for one evaluation at a time.")

    def _take_over(self, place: Path, file: int) -> None:
        with os.fdopen(os.dup(file), "rb") as opened:
            data = opened.read()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(file, whole)  # the process that wrote it died in the middle of a line
        for number, line in enumerate(data[:whole].split(b"\n")[:-1], 1):
            try:
                self._read(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise ConfigurationError(
                    f"{place}, line {number}, is no line of an evaluation; name another file to resume from."
                ) from None

    def _read(self, line: Any) -> None:
        fields = cast("dict[str, Any]", line)
        if "answered" in fields:
            key = str(fields.pop("answered"))
            known = {name: fields[name] for name in Answer.__dataclass_fields__ if name in fields}
            self.answers[key] = Answer(**known)
        elif fields["by"] == self._scorer:
            self.scores[str(fields["scored"])] = Scored(float(fields["score"]), dict(fields["parts"]))
