"""Rewards as the client has them: deployed into Lambda, and taken away again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from bedrock_rft._resources.base import AsyncResource, Resource, blocking
from bedrock_rft._resources.jobs import AsyncJobs
from bedrock_rft.errors import APIError, ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft.access import DeployedReward, Plan

__all__ = ["AsyncRewards", "Rewards"]

_ENDED = frozenset({"succeeded", "failed", "cancelled"})


class AsyncRewards(AsyncResource):
    """`client.rewards`: reward functions in Lambda."""

    @overload
    async def deploy(
        self,
        reward: object,
        *,
        name: str,
        dataset: str | os.PathLike[str] | Iterable[Any] | None = None,
        check: bool = True,
        plan: Literal[False] = False,
        timeout: int | None = None,
        memory: int | None = None,
        models: Sequence[str] = (),
        requirements: Sequence[str] = (),
        include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
        allow: Sequence[str] = (),
        runtime: str = "python3.13",
        architecture: str = "x86_64",
        role_arn: str | None = None,
        permissions_boundary: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> DeployedReward: ...

    @overload
    async def deploy(
        self,
        reward: object,
        *,
        name: str,
        dataset: str | os.PathLike[str] | Iterable[Any] | None = None,
        check: bool = True,
        plan: Literal[True],
        timeout: int | None = None,
        memory: int | None = None,
        models: Sequence[str] = (),
        requirements: Sequence[str] = (),
        include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
        allow: Sequence[str] = (),
        runtime: str = "python3.13",
        architecture: str = "x86_64",
        role_arn: str | None = None,
        permissions_boundary: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Plan: ...

    async def deploy(
        self,
        reward: object,
        *,
        name: str,
        dataset: str | os.PathLike[str] | Iterable[Any] | None = None,
        check: bool = True,
        plan: bool = False,
        timeout: int | None = None,
        memory: int | None = None,
        models: Sequence[str] = (),
        requirements: Sequence[str] = (),
        include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
        allow: Sequence[str] = (),
        runtime: str = "python3.13",
        architecture: str = "x86_64",
        role_arn: str | None = None,
        permissions_boundary: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> DeployedReward | Plan:
        """Bring a reward into Lambda, with a role of its own, and return what a job takes.

        ```python
        print(client.rewards.deploy(correct, name="my-reward", plan=True))  # what would be made, and why
        reward = client.rewards.deploy(correct, name="my-reward", dataset="train.jsonl")
        job = client.jobs.create("openai.gpt-oss-20b", training_file=file, reward=reward)
        ```

        The reward is packaged; its function and role are created or updated, a version is published, and it is invoked
        with the records as a job would. Run it again: what is as it should be is left, and where nothing changed there
        is no new version. What was interrupted is completed. A function or role of that name that was not made here is
        left alone. Lambda and IAM are asked with the client's AWS credentials; where it has an API key, with those that
        botocore's chain finds.

        Args:
            reward: a reward, a handler, a function, a module or `path/to/file.py:name`, as `rewards.package` takes
                them; or a package.
            name: of the function: up to 64 letters, digits, `-` and `_`. The role's is made from it.
            dataset: records to check the deployed function with, or the path of a file of them.
            check: False deploys without the check.
            plan: True returns what would be done, and changes nothing.
            timeout: seconds that an invocation may take, 1 to 900; else as the package says, 300 as a rule.
            memory: megabytes, 128 to 10,240; else as the package says, 512 as a rule.
            models: ids of models that the function may ask, beside those of its judges.
            requirements: releases to install beside it, each as `name==version`.
            include: further files.
            allow: what only looks like a secret, as `rewards.package` takes it.
            runtime: Lambda's name of a Python.
            architecture: `x86_64` or `arm64`.
            role_arn: an execution role that is there already. It is used as it is; else one is made.
            permissions_boundary: the ARN of a managed policy beyond which that role may do nothing, where your
                organisation requires one. It is set where it is another; left out, what is there stays.
            tags: for the function and the role.

        Raises:
            ConfigurationError: it cannot be packaged, something is nothing that AWS takes, there are no AWS
                credentials, or something of that name was not made here.
            RewardError: it is deployed, and the check found errors; `.report` has them.
            PermissionDeniedError: an IAM action is missing; it is named, with a policy that allows it.
            APIError: another call failed.
        """
        from bedrock_rft.access._deployment.deploy import Deployment, plan_deployment
        from bedrock_rft.access._deployment.deploy import deploy as deploy_reward

        options = {
            "requirements": requirements,
            "include": include,
            "allow": allow,
            "runtime": runtime,
            "architecture": architecture,
        }
        config, run = self._session.config, self._session.transport.run

        def work() -> DeployedReward | Plan:
            wanted = Deployment.of(
                reward,
                options,
                name=name,
                timeout=timeout,
                memory=memory,
                models=models,
                tags=tags,
                role_arn=role_arn,
                permissions_boundary=permissions_boundary,
            )
            if plan:
                return plan_deployment(config, wanted)
            return deploy_reward(config, wanted, self, dataset=dataset if check else None)

        return await run(work)

    async def destroy(self, reward: object, *, plan: bool = False, force: bool = False) -> Plan:
        """Take away what `deploy` made: the function with all its versions, and its role. Nothing else.

        It may be run again: what is not there any more is no error. The log stays, since what the function wrote is in
        it; the plan names the command that deletes it.

        Args:
            reward: what `deploy` returned, its ARN, or its name.
            plan: True returns what would be done, and changes nothing.
            force: True does not look whether a job that is still running needs the function.

        Returns:
            What was done, or would be.

        Raises:
            ConfigurationError: the function was not made by deploying that name, a running job needs it, or its role
                has policies that were not put there by `deploy`.
            APIError: a call failed.
        """
        from bedrock_rft.access._deployment.account import Account
        from bedrock_rft.access._deployment.destroy import deployment_name, destroy, plan_destruction

        config, run = self._session.config, self._session.transport.run
        name = deployment_name(reward, config.region)
        if not plan and not force:
            await self._refuse_used(name)
        act = plan_destruction if plan else destroy
        return await run(lambda: act(Account(config), name))

    async def _refuse_used(self, name: str) -> None:
        """A job whose reward function is gone fails, and what it cost is lost."""
        region = self._session.config.region
        try:
            async for job in AsyncJobs(self._session).list():
                arn = job.reward
                if job.status not in _ENDED and arn is not None and (arn.name, arn.region) == (name, region):
                    raise ConfigurationError(
                        f"Job {job.id} is {job.status} and needs the function '{name}'. Nothing was deleted. Wait for "
                        "it, cancel it, or pass force=True."
                    )
        except APIError as error:
            error.args = (
                f"{error} Nothing was deleted: whether a job needs it is not known. force=True does not ask.",
            )
            raise


class Rewards(Resource):
    """`client.rewards`: reward functions in Lambda."""

    deploy = blocking(AsyncRewards.deploy)
    destroy = blocking(AsyncRewards.destroy)
