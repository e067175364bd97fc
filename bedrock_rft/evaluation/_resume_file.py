"""Store answers and scores in memory and in a file, from which an interrupted evaluation resumes."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bedrock_rft._core.file_lock import try_lock
from bedrock_rft._core.warnings import warn_once
from bedrock_rft.datasets import read
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._questions import parse_models, parse_prompts, plan_questions
from bedrock_rft.rewards._runtime.rollout import ERROR_METRIC


@dataclass(frozen=True)
class Answer:
    """An answer of a model, with the reason why generation ended, such as `stop` or `length`."""

    text: str
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class AnswerScore:
    """The score of an answer, with the values of `metrics_list` by name."""

    score: float
    parts: Mapping[str, float] = field(default_factory=dict[str, float])


class ResumeFile:
    """Answers and scores by question key. With a path, also JSON lines that only the owner can read."""

    def __init__(self, path: str | os.PathLike[str] | None, scorer: str) -> None:
        """Open or create a file. Raises `ConfigurationError` if it has other content or is in use."""
        self.answers: dict[str, Answer] = {}
        self.scores: dict[str, AnswerScore] = {}
        self._scorer = scorer
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        if path is None:
            return
        self._path = Path(path).expanduser()
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
        try:
            self._descriptor = os.open(self._path, flags, 0o600)
            self._lock_file(self._descriptor)
            self._load(self._descriptor)
        except OSError as error:
            self.close()
            reason = error.strerror or error
            raise ConfigurationError(
                f"resume: cannot use {self._path}: {reason}. Name a file in an existing, writable folder."
            ) from error
        except BaseException:
            self.close()
            raise

    def add_answer(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self.answers[key] = answer
        self._write({"answered": key, **asdict(answer)})

    def add_score(self, key: str, score: AnswerScore) -> None:
        """Keep a score. If the reward raised, its floor score is not written, so that the next run tries again."""
        self.scores[key] = score
        if not score.parts.get(ERROR_METRIC):
            self._write({"scored": key, "by": self._scorer, "score": score.score, "parts": dict(score.parts)})

    def close(self) -> None:
        """Close the file, which releases its lock."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _write(self, line: Mapping[str, Any]) -> None:
        data = json.dumps(line).encode() + b"\n"
        with self._lock:
            while self._descriptor is not None and data:
                # Usually one write is enough. On a full disk, an error must end the run before another line is written
                # after an incomplete line.
                try:
                    data = data[os.write(self._descriptor, data) :]
                except OSError as error:
                    raise ConfigurationError(
                        f"resume: cannot write {self._path}: {error.strerror or error}. The file keeps its answers. "
                        "Free some space, then run the evaluation again with the same file."
                    ) from error

    def _lock_file(self, descriptor: int) -> None:
        """Lock the file until it is closed, without waiting."""
        locked = try_lock(descriptor)
        if locked is False:
            raise ConfigurationError(
                f"resume: {self._path} is in use by another evaluation, and both would pay for the same answers. "
                "Wait until the other evaluation has ended, or name another file."
            )
        if locked is None:
            warn_once(f"{self._path} is on a file system without locks; use it for one evaluation at a time.")

    def _load(self, descriptor: int) -> None:
        with os.fdopen(os.dup(descriptor), "rb") as opened:
            data = opened.read()
        complete = data.rfind(b"\n") + 1
        if complete < len(data):
            os.ftruncate(descriptor, complete)  # the writing process died within a line
        for number, line in enumerate(data[:complete].split(b"\n")[:-1], 1):
            try:
                self._load_line(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                raise ConfigurationError(
                    f"resume: line {number} of {self._path} was not written by an evaluation. Name another file."
                ) from None

    def _load_line(self, line: Any) -> None:
        if "answered" in line:
            known = {name: line[name] for name in Answer.__dataclass_fields__ if name in line}
            self.answers[str(line["answered"])] = Answer(**known)
        elif line["by"] == self._scorer:
            self.scores[str(line["scored"])] = AnswerScore(float(line["score"]), dict(line["parts"]))


def read_answers(
    resume: str | os.PathLike[str],
    dataset: object,
    *,
    models: Any,
    samples: int = 1,
    sampling: Mapping[str, Any] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield the records of a dataset with the answers that an evaluation stored, for `rewards.score`.

    ```python
    answers = read_answers("evaluation.jsonl", "test.jsonl", models=["openai.gpt-oss-20b"], samples=4)
    scores = [one.score for one in rewards.score(reward, answers)]
    ```

    Args:
        resume: the file that `client.evaluate(resume=…)` wrote.
        dataset: the dataset of the evaluation.
        models: the models of the evaluation, or some of them.
        samples: the number of samples of the evaluation.
        sampling: the `sampling` of the evaluation. Answers that were sampled with other settings are left out.

    Yields:
        For each stored answer the record, with `answer`, `model` (the label) and `sample`, prompt by prompt.

    Raises:
        ConfigurationError: the file does not exist, has other content, or is in use by an evaluation.
        DatasetError: the dataset has no prompts.
    """
    if not Path(resume).expanduser().is_file():
        raise ConfigurationError(f"There is no file {os.fspath(resume)}. Pass the resume= file of the evaluation.")
    with closing(ResumeFile(resume, "")) as kept:
        answers = kept.answers
    for question in plan_questions(parse_prompts(read(dataset)), parse_models(models), samples, sampling or {}):
        answer = answers.get(question.key)
        if answer is not None:
            prompt = question.prompt
            yield {
                **prompt.fields,
                "messages": prompt.messages,
                "reference_answer": prompt.reference,
                "answer": answer.text,
                "model": question.model.label,
                "sample": question.sample,
            }
