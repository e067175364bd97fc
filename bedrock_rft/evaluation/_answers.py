"""`read_answers`: the answers that an evaluation stored, with their records, to score them again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from bedrock_rft.datasets import read
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.evaluation._questions import parse_models, parse_prompts, plan_questions
from bedrock_rft.evaluation._resume_file import ResumeFile


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
        models: its models, or some of them.
        samples: its number of samples.
        sampling: its `sampling`; answers that were sampled otherwise are left out.

    Yields:
        For each stored answer the record, with `answer`, `model` (the label) and `sample`, prompt by prompt.

    Raises:
        ConfigurationError: the file does not exist, has other content, or is in use by an evaluation.
        DatasetError: the dataset has no prompts.
    """
    if not Path(resume).expanduser().is_file():
        raise ConfigurationError(f"There is no file {os.fspath(resume)}. Pass the one that resume= named.")
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
