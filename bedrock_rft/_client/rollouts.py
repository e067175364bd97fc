"""Find the recorded rollouts of a deployed reward, a location, or the time of a job."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from bedrock_rft._resources.base import Session
from bedrock_rft._resources.jobs import AsyncJobs
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.deploy import deployment_name
from bedrock_rft.access._deployment.recording import LOCATION_VARIABLE
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rollouts import Rollouts, read
from bedrock_rft.types import Job


async def find_rollouts(
    client: Any, session: Session, source: object, job: Job | str | None, **options: Any
) -> Rollouts:
    """Return the rollouts that `client.rewards.rollouts` describes."""
    if job is not None:
        if options["since"] is not None or options["until"] is not None:
            raise ConfigurationError("Pass job= or since= and until=, not both: a job sets both times.")
        found = await AsyncJobs(session).retrieve(job if isinstance(job, str) else job.id)
        options |= {"since": found.created_at, "until": None if found.finished_at is None else found.finished_at + 1}

    def find() -> Rollouts:
        if _is_location(source):
            return read(cast("str", source), client=client, **options)
        with _naming_path(source):
            function = deployment_name(source, session.config.region)
            account = Account(session.config)
        location = _recording_location(account, source, function)
        return read(location, function=function, client=client, **options)

    return await session.transport.run(find)


@contextmanager
def _naming_path(source: object) -> Generator[None]:
    """Add to the error for a name that it is no path either, because it may be a mistyped one."""
    try:
        yield
    except ConfigurationError as error:
        if isinstance(source, str) and not source.startswith("arn:"):
            text = f"There is no file or folder '{source}', and no deployed reward of this name was found"
            error.args = (f"{text}: {error.message}",)
        raise


def _is_location(source: object) -> bool:
    if not isinstance(source, str):
        return isinstance(source, os.PathLike)
    return not source.startswith("arn:") and ("/" in source or os.sep in source or Path(source).exists())


def _recording_location(account: Account, source: object, name: str) -> str:
    function = source if isinstance(source, str) else getattr(source, "arn", name)
    account.set_subject(account.function_arn(name), "")
    settings = account.call("lambda", "GetFunctionConfiguration", FunctionName=str(function))
    environment: Mapping[str, Any] = settings.get("Environment") or {}
    variables: Mapping[str, str] = environment.get("Variables") or {}
    if variables.get(LOCATION_VARIABLE):
        return variables[LOCATION_VARIABLE]
    if environment.get("Error"):
        raise ConfigurationError(
            f"Lambda does not show the environment variables of {name}, which name the location of its rollouts "
            "(kms:Decrypt may be denied). Pass the location instead: s3://bucket/prefix."
        )
    raise ConfigurationError(
        f"The function {name} does not record rollouts: it has no variable {LOCATION_VARIABLE}. Deploy it with "
        "record='s3://bucket/prefix', or pass the location of the rollouts."
    )
