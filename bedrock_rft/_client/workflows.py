"""What the door opens: each wing when it is first asked for, with the client's own session."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from bedrock_rft._client.rewards import AsyncRewards, Rewards
from bedrock_rft._resources.base import AsyncResource, Resource, blocking

if TYPE_CHECKING:
    from typing import TypeAlias

    import openai

    from bedrock_rft.evaluation import Evaluation, Thresholds
    from bedrock_rft.rehearsal import Rehearsal
    from bedrock_rft.types import Checkpoint, Hyperparameters, Job, Model

    Asked: TypeAlias = str | Job | Checkpoint | Model

__all__ = ["AsyncWings", "Wings"]


class AsyncWings(AsyncResource):
    """What an async client can do beyond the service's own operations."""

    def _set_up(self, *, blocking: bool) -> None:
        self._blocking = blocking
        self._inference: Any = None

    @property
    def openai(self) -> openai.AsyncOpenAI:
        """A ready `openai.AsyncOpenAI` for inference, on the same endpoint and with the same identity."""
        if self._inference is None:
            session = self._session
            self._inference = session.transport.openai(max_retries=session.config.max_retries, blocking=self._blocking)
        return cast("openai.AsyncOpenAI", self._inference)

    @property
    def rewards(self) -> AsyncRewards:
        """Reward functions in Lambda: deployed, and taken away again."""
        return AsyncRewards(self._session)

    async def evaluate(
        self,
        dataset: str | os.PathLike[str] | Iterable[Any],
        *,
        models: Asked | Iterable[Asked] | Mapping[str, Asked],
        reward: Any,
        samples: int = 1,
        limit: int | None = None,
        sampling: Mapping[str, Any] | None = None,
        by: Sequence[str] = (),
        pass_mark: float = 1.0,
        concurrency: int = 16,
        timeout: float = 120.0,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[str, int, int], None] = True,
        seed: int = 0,
        thresholds: Thresholds | None = None,
        reward_range: tuple[float, float] = (0.0, 1.0),
    ) -> Evaluation:
        """Ask models the prompts of a data set, score the answers with a reward, and compare.

        ```python
        report = client.evaluate("test.jsonl", models=["openai.gpt-oss-20b", job], reward=correct, samples=4)
        print(report)
        report.to_html("report.html")
        ```

        Every sample is one request through `client.openai`. Throttling and lost connections are waited out, with fewer
        requests at once. A question that the service does not take is counted as failed, and nowhere else.

        Args:
            dataset: a path, or records as `datasets.write` takes them. Not one the models were trained on.
            models: ids, jobs, checkpoints; or a mapping from labels to these. The first is what others are compared
                with.
            reward: what the answers are scored by, as in training: a reward, a handler, `path/to/file.py:name`, the zip
                of a Lambda, or the ARN of a deployed function or anything with an `.arn`, which is invoked with AWS
                credentials. It scores answers as they come.
            samples: answers to each prompt.
            limit: the number of prompts to use, chosen at random with `seed`; a larger limit includes a smaller one's.
            sampling: further fields of each request, such as `{"temperature": 0.7, "max_completion_tokens": 1024}`. To
                a `seed` the number of the sample is added.
            by: record fields to group the results by; numbers of many values are put into quarters.
            pass_mark: an answer passes if its score is at least this, for pass@k.
            concurrency: requests at once, as long as the service takes them.
            timeout: seconds for one request.
            resume: a file in which answers and scores are kept as they come. Run again with it, nothing that was
                answered is asked again, also with more models, samples or prompts; a reward that has changed since
                scores anew.
            progress: True shows a tqdm bar (extra 'progress') on a terminal or in a notebook, and otherwise logs a line
                every 30 seconds; a function is called with the stage (`asked` or `scored`), the number done and the
                total; False shows nothing.
            seed: random seed for choosing prompts, for the bootstrap and for the permutation test.
            thresholds: when a base model is too weak or too good to train, as shares of `reward_range`.
            reward_range: lowest and highest score of the reward. A missing answer counts as the lowest one.

        Raises:
            APIError: something concerns every question: a model that does not exist, a permission that is missing.
            RewardError: the reward cannot score, or cannot be reached. Where only some answers cannot be scored, the
                report counts them.
            DatasetError: there is nothing to ask.
            ConfigurationError: an argument makes no sense, or the file to resume from cannot be used.
        """
        from bedrock_rft.evaluation._evaluate import Settings, run

        settings = Settings(
            samples,
            concurrency,
            sampling,
            limit,
            by,
            pass_mark,
            resume,
            progress,
            seed,
            thresholds,
            reward_range,
        )
        return await run(dataset, models, reward, self, settings, timeout=timeout)

    async def rehearse(
        self,
        dataset: str | os.PathLike[str] | Iterable[Any],
        *,
        reward: Any,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        limit: int | None = None,
        model: str = "openai.gpt-oss-20b",
        samples: int = 0,
        prompts: int = 32,
        sampling: Mapping[str, Any] | None = None,
        concurrency: int = 16,
        resume: str | os.PathLike[str] | None = None,
        progress: bool | Callable[[str, int, int], None] = True,
        seed: int = 0,
        gold: Callable[[Mapping[str, Any]], str] | None = None,
        payload: Literal["metadata", "top_level"] = "metadata",
        wrap_text: bool = False,
    ) -> Rehearsal:
        """Rehearse a run on this machine before it is billed; see `bedrock_rft.rehearsal.rehearse`.

        ```python
        print(client.rehearse("train.jsonl", reward=correct, hyperparameters={"n_epochs": 1, "batch_size": 16}))
        ```

        No model is trained. Without `samples` nothing is sent to the service. A deployed reward is invoked with this
        client's AWS credentials.

        Args:
            dataset: a path, or records.
            reward: a reward, a handler, a file, a zip, or a deployed function, as for `rewards.check`.
            hyperparameters: the hyperparameters of the planned job.
            limit: the maximum number of records that the job runs on; by default 400, or enough for 25 steps.
            model: the base model.
            samples: answers of the base model to each of `prompts` prompts; their tokens are billed.
            prompts: number of prompts for the base model.
            sampling: further fields of each request to the base model.
            concurrency: requests at once.
            resume: a file that keeps answers, as for `evaluate`.
            progress: progress of the sampling, as for `evaluate`.
            seed: random seed for choosing records and for training.
            gold: returns the right answer to a record, as for `rewards.check`.
            payload: position of the reference answer in a rollout: under `metadata`, or at the top level.
            wrap_text: send a reference answer that is a string as `{"text": …}`.

        Raises:
            DatasetError: there are no records.
            ConfigurationError: the reward does not exist, or an argument is invalid.
            APIError: the base model cannot be sampled.
        """
        from bedrock_rft.rehearsal._rehearse import Plan, run

        plan = Plan(
            hyperparameters,
            limit,
            model,
            samples,
            prompts,
            sampling,
            concurrency,
            resume,
            progress,
            seed,
            gold,
            payload,
            wrap_text,
        )
        return await run(self, dataset, reward, plan)


class Wings(Resource):
    """What a blocking client can do beyond the service's own operations."""

    @property
    def rewards(self) -> Rewards:
        """Reward functions in Lambda: deployed, and taken away again."""
        return Rewards(self._async.rewards)

    @property
    def openai(self) -> openai.OpenAI:
        """A ready `openai.OpenAI` for inference, on the same endpoint and with the same identity."""
        return cast("openai.OpenAI", self._async.openai)

    evaluate = blocking(AsyncWings.evaluate)
    rehearse = blocking(AsyncWings.rehearse)
