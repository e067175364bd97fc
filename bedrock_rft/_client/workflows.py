"""Features beyond the service's operations, each imported when it is first used."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, cast

from bedrock_rft._client.rewards import AsyncRewards, Rewards
from bedrock_rft._resources.base import AsyncResource, Resource, blocking

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from typing import TypeAlias

    import openai

    from bedrock_rft.costs import Estimate, Inventory, Prices
    from bedrock_rft.datasets import Difficulty
    from bedrock_rft.evaluation import Evaluation, Thresholds
    from bedrock_rft.rehearsal import Rehearsal
    from bedrock_rft.rewards import RolloutLog
    from bedrock_rft.types import Checkpoint, Hyperparameters, Job, Model

    ModelInput: TypeAlias = str | Job | Checkpoint | Model


class AsyncWorkflows(AsyncResource):
    """Workflows of `AsyncClient`: inference, rewards, evaluation, rehearsal, estimates."""

    _blocking = False

    @cached_property
    def openai(self) -> openai.AsyncOpenAI:
        """Return an `openai.AsyncOpenAI` with the endpoint and the identity of this client."""
        session = self._session
        client: openai.AsyncOpenAI = session.transport.openai(
            max_retries=session.config.max_retries, blocking=self._blocking
        )
        return client

    @property
    def rewards(self) -> AsyncRewards:
        """Return `client.rewards`: reward functions in Lambda."""
        return AsyncRewards(self._session)

    async def evaluate(
        self,
        dataset: str | os.PathLike[str] | Iterable[Any],
        *,
        models: ModelInput | Iterable[ModelInput] | Mapping[str, ModelInput],
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
        executor: Executor | None = None,
        record: RolloutLog | str | os.PathLike[str] | None = None,
    ) -> Evaluation:
        """Sample models on the prompts of a dataset, score the answers with a reward, and compare the models.

        ```python
        report = client.evaluate("test.jsonl", models=["openai.gpt-oss-20b", job], reward=correct, samples=4)
        print(report)
        report.to_html("report.html")
        ```

        Every sample is one request through `client.openai`. Throttled requests and lost connections are retried, with
        fewer requests at once. A prompt that the service rejects is counted as failed.

        Args:
            dataset: a path, or records as `datasets.write` takes them. Use prompts that the models were not trained on.
            models: ids, jobs or checkpoints; or a mapping from labels to these. Each further model is compared with the
                first model.
            reward: scores the answers: a reward, a handler, `path/to/file.py:name`, a Lambda zip, or the ARN of a
                deployed function or an object with an `arn`, which is invoked with AWS credentials.
            samples: answers for each prompt.
            limit: evaluate a random sample of this many prompts, drawn with `seed`.
            sampling: additional fields of each request, such as `{"temperature": 0.7, "max_completion_tokens": 1024}`.
                The number of the sample is added to a `seed`.
            by: record fields to group the results by. Numbers with many values are grouped in quarters.
            pass_mark: an answer passes if its score is at least this, for pass@k.
            concurrency: maximum number of requests at once.
            timeout: seconds for one request.
            resume: a file that stores answers and scores as they arrive. With the same file, an interrupted evaluation
                resumes without repeating requests, also with more models, samples or prompts. If the reward changed,
                the answers are scored again.
            progress: True shows a tqdm bar (extra 'progress') or logs the progress; a function receives
                (stage, done, total), with the stages `asked` and `scored`; False shows nothing.
            seed: random seed for `limit` and for the statistics.
            thresholds: limits for the advice on a base model that is too weak or too good; see
                `bedrock_rft.evaluation.Thresholds`.
            reward_range: smallest and largest value of the reward. Advice is given only for means within it.
            executor: scores the answers, as in `rewards.score`: a process pool, or the executor of a Dask cluster.
            record: a folder or `s3://bucket/prefix` in which to record the scored answers, or a `RolloutLog`. The
                records do not name the model; use a folder for each model.

        Raises:
            APIError: a problem that affects every request, such as an unknown model or a missing permission.
            RewardError: the reward cannot be invoked or fails for every answer. The report counts single failures.
            DatasetError: the dataset has no prompts.
            ConfigurationError: an argument is invalid, or the file to resume from cannot be used.
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
            executor,
            record,
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
        reward_range: tuple[float, float] = (0.0, 1.0),
        difficulty: Difficulty | str | os.PathLike[str] | None = None,
        record: RolloutLog | str | os.PathLike[str] | None = None,
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
            limit: the maximum number of records that the job runs on, chosen by the seed; by default 400, or enough for
                25 steps. The load on the reward is worked out for all records.
            model: the base model.
            samples: answers of the base model to each of `prompts` prompts; their tokens are billed. 0 samples none.
            prompts: number of prompts for the base model, chosen by the seed.
            sampling: further fields of each request to the base model.
            concurrency: requests at once.
            resume: a file that keeps answers, as for `evaluate`.
            progress: progress of the sampling, as for `evaluate`.
            seed: random seed for choosing records and for training.
            gold: returns the right answer to a record, as for `rewards.check`.
            payload: position of the reference answer in a rollout: under `metadata`, or at the top level.
            wrap_text: send a reference answer that is a string as `{"text": …}`.
            reward_range: the lowest and the highest score of the reward, by which the base model is judged.
            difficulty: the difficulty of the prompts for the base model, or a file that `Difficulty.to_json` wrote,
                instead of `samples`.
            record: a folder or `s3://bucket/prefix` in which to record the rollouts of the rehearsal, or a
                `RolloutLog`; answers of the base model are recorded too.

        Raises:
            DatasetError: there are no records.
            ConfigurationError: the reward does not exist, or an argument is invalid.
            APIError: the base model cannot be sampled.
        """
        from bedrock_rft.rehearsal._rehearse import Plan, load_difficulty, run

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
            reward_range,
            load_difficulty(difficulty),
            record,
        )
        return await run(self, dataset, reward, plan)

    async def estimate(
        self,
        dataset: str | os.PathLike[str] | Iterable[Any],
        *,
        reward: Any = None,
        hyperparameters: Hyperparameters | Mapping[str, Any] | None = None,
        model: str = "openai.gpt-oss-20b",
        evaluation: int = 100,
        samples: int = 1,
        reward_seconds: float | tuple[float, float] | None = None,
        memory: int | None = None,
        answer_tokens: int | tuple[int, int] | None = None,
        prices: Prices | None = None,
        history: bool = True,
    ) -> Estimate:
        """Estimate a run before it starts: steps, rollouts, invocations, tokens, training hours and cost, as ranges.

        ```python
        print(client.estimate("train.jsonl", reward=correct, hyperparameters={"n_epochs": 1, "batch_size": 16}))
        ```

        Nothing is uploaded or created. The pace is measured from the events of up to five finished jobs of this account
        with this model. Without such a job the pace is assumed, and the estimate lists the assumption.

        Args:
            dataset: a path, or records.
            reward: a reward on this machine is timed on a few records. A deployed reward, and a reward that calls a
                model, is not invoked.
            hyperparameters: the hyperparameters of the planned job.
            model: the base model.
            evaluation: prompts that the base and the tuned model answer afterwards; 0 for no evaluation.
            samples: answers to each of these prompts.
            reward_seconds: seconds to score one rollout in Lambda, or the lowest and the highest number, instead of
                timing the reward.
            memory: megabytes of the function; by default the package's, or 512.
            answer_tokens: tokens of one answer, or the lowest and the highest; by default an assumption.
            prices: prices to use; by default `Prices.load()`.
            history: False does not read finished jobs, so nothing is sent.

        Raises:
            DatasetError: there are no records, or they cannot be read.
            ConfigurationError: an argument is invalid, or the prices cannot be read.
        """
        from bedrock_rft.rehearsal._estimate import estimate_run

        return await estimate_run(
            self,
            dataset,
            reward=reward,
            hyperparameters=hyperparameters,
            model=model,
            evaluation=evaluation,
            samples=samples,
            reward_seconds=reward_seconds,
            memory=memory,
            answer_tokens=answer_tokens,
            prices=prices,
            history=history,
        )

    async def inventory(
        self, *, checkpoints: bool = True, functions: bool = True, prices: Prices | None = None
    ) -> Inventory:
        """List files, jobs, tuned models, checkpoints and functions, with age, size, monthly cost, and how to delete.

        Nothing is deleted. Functions are those that `client.rewards.deploy` created in this region; listing them needs
        AWS credentials with `lambda:ListFunctions` and `lambda:ListTags`. `Inventory.incomplete`
        names what could not be listed because a permission is missing.

        Args:
            checkpoints: False lists no checkpoints, and avoids one request for each job.
            functions: False lists no functions, and does not call Lambda.
            prices: prices to use; by default `Prices.load()`.

        Raises:
            APIError: files or jobs cannot be listed.
            ConfigurationError: the prices cannot be read.
        """
        from bedrock_rft._client.inventory import collect

        return await collect(self, checkpoints=checkpoints, functions=functions, prices=prices)


class Workflows(Resource):
    """Workflows of `Client`: inference, rewards, evaluation, rehearsal, estimates."""

    @property
    def rewards(self) -> Rewards:
        """Return `client.rewards`: reward functions in Lambda."""
        return Rewards(self._async.rewards)

    @property
    def openai(self) -> openai.OpenAI:
        """Return an `openai.OpenAI` with the endpoint and the identity of this client."""
        return cast("openai.OpenAI", self._async.openai)

    evaluate = blocking(AsyncWorkflows.evaluate)
    rehearse = blocking(AsyncWorkflows.rehearse)
    estimate = blocking(AsyncWorkflows.estimate)
    inventory = blocking(AsyncWorkflows.inventory)
