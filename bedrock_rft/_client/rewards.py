"""`client.rewards`: deploy reward functions to Lambda and destroy them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from bedrock_rft._resources.base import AsyncResource, Items, Resource, blocking, checked_arguments, iterate_sync
from bedrock_rft._resources.jobs import AsyncJobs
from bedrock_rft._transport.transport import run_sync
from bedrock_rft.errors import APIError, ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft.access import DeployedReward, LogLine, LogLines, Plan
    from bedrock_rft.access._deployment.deploy import Deployment
    from bedrock_rft.access._deployment.logs import LogReader
    from bedrock_rft.rewards import RolloutLog
    from bedrock_rft.rollouts import Rollouts
    from bedrock_rft.rollouts._partitions import Time
    from bedrock_rft.types import Job, LambdaArn


class AsyncRewards(AsyncResource):
    """`client.rewards`: reward functions in Lambda."""

    async def plan(
        self,
        reward: object,
        *,
        name: str,
        timeout: int | None = None,
        memory: int | None = None,
        models: Sequence[str] = (),
        requirements: Sequence[str] = (),
        include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
        allow: Sequence[str] = (),
        runtime: str = "python3.13",
        architecture: str = "x86_64",
        record: RolloutLog | str | None = None,
        role_arn: str | None = None,
        permissions_boundary: str | None = None,
        bucket: str | None = None,
        keep_versions: int | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Plan:
        """Return what `deploy` would create, change and keep, with the IAM actions and policies. Nothing is changed.

        ```python
        print(client.rewards.plan(correct, name="my-reward"))
        ```

        The arguments are those of `deploy`.

        Raises:
            ConfigurationError: the reward cannot be packaged, AWS would not accept a setting, there are no AWS
                credentials, the bucket of `record` cannot be used, or a function or role that has this name was not
                created by `deploy`.
            APIError: a call failed.
        """
        from bedrock_rft.access._deployment.deploy import plan_deployment

        deployment = await self._prepare(
            reward,
            {"requirements": requirements, "include": include, "allow": allow, "runtime": runtime,
             "architecture": architecture, "record": record},
            name=name, timeout=timeout, memory=memory, models=models, tags=tags, role_arn=role_arn,
            permissions_boundary=permissions_boundary, bucket=bucket, keep_versions=keep_versions,
        )  # fmt: skip
        return await self._session.transport.run(lambda: plan_deployment(self._session.config, deployment))

    @checked_arguments
    async def deploy(
        self,
        reward: object,
        *,
        name: str,
        dataset: str | os.PathLike[str] | Iterable[Any] | None = None,
        check: bool = True,
        gold: Callable[[Mapping[str, Any]], str] | None = None,
        timeout: int | None = None,
        memory: int | None = None,
        models: Sequence[str] = (),
        requirements: Sequence[str] = (),
        include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
        allow: Sequence[str] = (),
        runtime: str = "python3.13",
        architecture: str = "x86_64",
        record: RolloutLog | str | None = None,
        role_arn: str | None = None,
        permissions_boundary: str | None = None,
        bucket: str | None = None,
        keep_versions: int | None = None,
        tags: Mapping[str, str] | None = None,
        plan: None = None,
    ) -> DeployedReward:
        """Deploy a reward to Lambda with its own execution role, and return the value to pass to `jobs.create`.

        ```python
        reward = client.rewards.deploy(correct, name="my-reward", dataset="train.jsonl")
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=reward)
        ```

        The reward is packaged, its function and role are created or updated, a version is published, and the version is
        invoked with the records as a job would. You can call `deploy` again: an interrupted deployment is completed,
        and if nothing differs, nothing is changed or published. A function or role that has this name but was not
        created by `deploy` is left unchanged, and the call raises `ConfigurationError`. Lambda and IAM are called with
        the client's AWS credentials; a client with an API key uses botocore's credential chain.

        Args:
            reward: a reward, a handler, a function, a module or `path/to/file.py:name`, as `rewards.package` takes
                them; or a package.
            name: the name of the function: up to 64 letters, digits, `-` and `_`. The name of the role is derived.
            dataset: records, or the path of a file of records, to check the deployed function with.
            check: False skips the check.
            gold: a function that returns the right answer to a record, as in `rewards.check`.
            timeout: seconds that an invocation may take, 1 to 900; by default the package's, usually 300.
            memory: megabytes, 128 to 10,240; by default the package's, usually 512.
            models: ids of models that the function may invoke, in addition to those of its judges.
            requirements: packages to install with the reward, each as `name==version`.
            include: further files to package.
            allow: text that looks like a secret but is not, as in `rewards.package`.
            runtime: Lambda's name of a Python version.
            architecture: `x86_64` or `arm64`.
            record: where and how the function records the rollouts that it scores, or only the location,
                `s3://bucket/prefix` with a bucket of this account and region. By default, the handler's setting
                applies.
            role_arn: the ARN of an execution role to use unchanged; by default a role is created.
            permissions_boundary: the ARN of the permissions boundary of the created role, if your organisation requires
                a boundary; by default the present boundary stays.
            bucket: the name of an S3 bucket of the account, in the function's region. A package that is too large for a
                request to Lambda, above 50 MB, is uploaded to this bucket.
            keep_versions: the number of versions to keep. Older versions are deleted, except those that a running job
                or an alias uses. By default all stay.
            tags: tags for the function and the role. Tags that only an earlier deployment gave are removed.
            plan: removed; use `client.rewards.plan`.

        Raises:
            ConfigurationError: the reward cannot be packaged, AWS would not accept a setting, there are no AWS
                credentials, the bucket of `record` cannot be used, or a function or role that has this name was not
                created by `deploy`.
            RewardError: the reward is deployed, and the check found errors; `.report` has them.
            PermissionDeniedError: an IAM action is missing; the message names it and a policy that allows it.
            APIError: another call failed.
        """
        from bedrock_rft.access._deployment.deploy import deploy as deploy_reward

        if plan is not None:
            raise ConfigurationError("deploy(plan=…) was removed. Use client.rewards.plan(reward, name=…).")
        deployment = await self._prepare(
            reward,
            {"requirements": requirements, "include": include, "allow": allow, "runtime": runtime,
             "architecture": architecture, "record": record},
            name=name, timeout=timeout, memory=memory, models=models, tags=tags, role_arn=role_arn,
            permissions_boundary=permissions_boundary, bucket=bucket, keep_versions=keep_versions,
        )  # fmt: skip
        records = dataset if check else None
        return await self._session.transport.run(
            lambda: deploy_reward(self._session.config, deployment, self, dataset=records, gold=gold)
        )

    async def _prepare(self, reward: object, options: Mapping[str, Any], **settings: Any) -> Deployment:
        """Package a reward and validate the settings. If old versions are to be deleted, find those of running jobs."""
        from bedrock_rft.access._deployment.deploy import Deployment

        deployment = await self._session.transport.run(lambda: Deployment.of(reward, options, **settings))
        if deployment.keep_versions is None:
            return deployment
        advice = "Nothing was changed, because a running job may need a version. Leave out keep_versions= to keep all."
        jobs = [job async for job in self._running_jobs(deployment.name, advice)]
        return replace(deployment, used=[job.reward.qualifier or "" for job in jobs if job.reward is not None])

    async def plan_destroy(self, reward: object) -> Plan:
        """Return what `destroy` would delete. Nothing is changed. Arguments and errors are those of `destroy`."""
        return await self._destroy(reward, carry_out=False)

    @checked_arguments
    async def destroy(self, reward: object, *, force: bool = False, plan: None = None) -> Plan:
        """Delete the function that `deploy` created, with all its versions, and its role.

        You can call `destroy` again: missing parts are not an error. The log stays, because it holds the function's
        output; the plan names the command that deletes it.

        Args:
            reward: the value that `deploy` returned, its ARN, or its name.
            force: True deletes the function even if a running job needs it.
            plan: removed; use `client.rewards.plan_destroy`.

        Returns:
            The steps that were taken.

        Raises:
            ConfigurationError: the function was not created by deploying that name, a running job needs it, or its role
                has policies that `deploy` did not attach.
            APIError: a call failed.
        """
        if plan is not None:
            raise ConfigurationError("destroy(plan=…) was removed. Use client.rewards.plan_destroy(reward).")
        if not force:
            name = self._name(reward)
            advice = "Nothing was deleted, because a running job may need the function. force=True skips this check."
            async for job in self._running_jobs(name, advice):
                raise ConfigurationError(
                    f"Job {job.id} is {job.status} and needs the function '{name}'. Nothing was deleted. Wait for "
                    "the job, cancel it, or pass force=True."
                )
        return await self._destroy(reward, carry_out=True)

    async def _destroy(self, reward: object, *, carry_out: bool) -> Plan:
        from bedrock_rft.access._deployment.account import Account
        from bedrock_rft.access._deployment.deploy import destroy

        config, name = self._session.config, self._name(reward)
        return await self._session.transport.run(lambda: destroy(Account(config), name, carry_out=carry_out))

    def _name(self, reward: object) -> str:
        """Return the name of a deployment."""
        from bedrock_rft.access._deployment.deploy import deployment_name

        return deployment_name(reward, self._session.config.region)

    async def retrieve(self, name: str) -> LambdaArn:
        """Return the ARN of the newest version of a function, as `jobs.create` takes it.

        Args:
            name: the `name` that `deploy` got.

        Raises:
            ConfigurationError: there is no function of that name, or no version was published.
            APIError: a call failed.
        """
        from bedrock_rft.access._deployment.account import Account
        from bedrock_rft.access._deployment.function import newest_version

        config = self._session.config
        return await self._session.transport.run(lambda: newest_version(Account(config, for_job=True), name))

    @overload
    async def logs(self, reward: object, *, since: float = 3600.0, follow: Literal[False] = False) -> LogLines: ...

    @overload
    async def logs(self, reward: object, *, since: float = 3600.0, follow: Literal[True]) -> AsyncIterator[LogLine]: ...

    async def logs(
        self, reward: object, *, since: float = 3600.0, follow: bool = False
    ) -> LogLines | AsyncIterator[LogLine]:
        """Return the log of a deployed reward from CloudWatch, oldest line first. The log lags behind by seconds.

        ```python
        print(client.rewards.logs("my-reward").summary())
        for line in client.rewards.logs("my-reward", follow=True):
            print(line.message)
        ```

        Args:
            reward: the value that `deploy` returned, its ARN, or its name.
            since: the number of seconds to look back.
            follow: True yields the lines, and then new lines as they arrive, until you stop iterating.

        Returns:
            The lines as a list, whose `summary()` has invocations, errors, time-outs, durations, memory and cold
            starts, with what to change. With `follow`, an iterator of lines.

        Raises:
            PermissionDeniedError: the identity lacks `logs:FilterLogEvents`.
            APIError: a call failed.
        """
        from bedrock_rft.access._deployment.account import Account
        from bedrock_rft.access._deployment.logs import LogReader

        config, transport, name = self._session.config, self._session.transport, self._name(reward)
        reader = await transport.run(lambda: LogReader(Account(config), name, since))
        return self._follow_log(reader) if follow else await transport.run(reader.read)

    async def _follow_log(self, reader: LogReader) -> AsyncIterator[LogLine]:
        from bedrock_rft.access._deployment.logs import POLL_SECONDS

        while True:
            for line in await self._session.transport.run(reader.read):
                yield line
            await self._session.transport.sleep(POLL_SECONDS)

    async def rollouts(
        self,
        source: object,
        *,
        job: Job | str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        follow: bool = False,
    ) -> Rollouts:
        """Return the rollouts that a reward recorded. They are read when you iterate over them; reading blocks.

        ```python
        for record in client.rewards.rollouts("my-reward", job=job):
            print(record.time, record.score, record.answer)
        ```

        Args:
            source: the value that `deploy` returned, its ARN, or its name; or the location of recorded rollouts, as
                `bedrock_rft.rollouts.read` takes it.
            job: a job, or its id: only rollouts of the time in which the job ran. The records do not name their job, so
                records of other jobs with the same reward at that time are included.
            since: no records before this time: an aware datetime, Unix seconds, or ISO 8601 text.
            until: only records before this time.
            follow: True begins with the newest hour, or at `since`, and then waits for new files.

        Raises:
            ConfigurationError: the function does not record rollouts, or there is no such folder.
            APIError: a call failed.
        """
        from bedrock_rft._client.rollouts import find_rollouts

        return await find_rollouts(self, self._session, source, job, since=since, until=until, follow=follow)

    async def _running_jobs(self, name: str, advice: str) -> AsyncIterator[Job]:
        """Yield the jobs that have not ended and need the function."""
        region = self._session.config.region
        try:
            async for job in AsyncJobs(self._session).list():
                arn = job.reward
                if not job.is_terminal and arn is not None and (arn.name, arn.region) == (name, region):
                    yield job
        except APIError as error:
            error.args = (f"{error} {advice}",)
            raise


class Rewards(Resource):
    """`client.rewards`: reward functions in Lambda."""

    plan = blocking(AsyncRewards.plan)
    deploy = blocking(AsyncRewards.deploy)
    plan_destroy = blocking(AsyncRewards.plan_destroy)
    destroy = blocking(AsyncRewards.destroy)
    retrieve = blocking(AsyncRewards.retrieve)
    rollouts = blocking(AsyncRewards.rollouts)

    @overload
    def logs(self, reward: object, *, since: float = 3600.0, follow: Literal[False] = False) -> LogLines: ...

    @overload
    def logs(self, reward: object, *, since: float = 3600.0, follow: Literal[True]) -> Iterator[LogLine]: ...

    def logs(self, reward: object, *, since: float = 3600.0, follow: bool = False) -> LogLines | Iterator[LogLine]:
        lines: Any = run_sync(self._async.logs(reward, since=since, follow=follow))
        return cast("LogLines", lines) if not follow else Items(iterate_sync(lines), "Rewards.logs()")

    logs.__doc__ = AsyncRewards.logs.__doc__
