"""One call, at most one job: the marker that tells our job from any other, and the look before a leap."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import PAGE, AsyncResource, limited, segment
from bedrock_rft._transport.transport import Request
from bedrock_rft.errors import (
    AmbiguousCreateError,
    APIConnectionError,
    APIError,
    APIStatusError,
    BadRequestError,
    BedrockRFTError,
    ConfigurationError,
    NotFoundError,
    RateLimitError,
    RedirectRefusedError,
)
from bedrock_rft.types.jobs import CreateJob, Job

__all__ = ["JOBS", "MARKER", "check_metadata", "check_name", "create", "find"]

JOBS = "/fine_tuning/jobs"

MARKER = "bedrock_rft_marker"
"""The metadata key under which a job carries its marker."""

_OTHERS = 15  # of sixteen
_KEY, _VALUE = 64, 512
_LOOKS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds: a list may lag behind by some
_LOOKING = 60.0  # seconds after which no further look begins, though every one had to wait for a slow service
_WINDOW = 600.0  # seconds that two clocks may differ
_UNCLEAR = frozenset({408, 409})
_SERVER_SIDE = 500


def check_name(name: str | None) -> str:
    """The marker for a name, or a new one. Raises `ConfigurationError`."""
    if name is None:
        from uuid import uuid4  # dear to load, and most clients create nothing

        return str(uuid4())
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", name):
        raise ConfigurationError("name must be 1 to 128 letters, digits, dots, colons, dashes or underscores.")
    return name


def check_metadata(metadata: Mapping[str, str] | None, marker: str) -> dict[str, str]:
    """The metadata with the marker in it. Raises `ConfigurationError` for what the service would refuse."""
    own = dict(metadata or {})
    if len(own) > _OTHERS:
        raise ConfigurationError(f"metadata has {len(own)} entries; {_OTHERS} are free beside the SDK's own marker.")
    for key, value in own.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigurationError("metadata maps strings to strings.")
        if not 0 < len(key) <= _KEY or len(value) > _VALUE:
            raise ConfigurationError(f"metadata keys have 1 to {_KEY} characters and values up to {_VALUE}.")
        if key == MARKER:
            raise ConfigurationError(f"'{MARKER}' is the SDK's own metadata key. To find a job again, give name=….")
    return {**own, MARKER: marker}


async def create(jobs: AsyncResource, body: CreateJob, *, marker: str) -> Job:
    """Send the body once, and find out what became of it where the answer does not say.

    Raises:
        AmbiguousCreateError: a job may exist; nothing was sent again.
        APIError: the service refused, or nothing reached it.
    """
    began = time.time()
    # A crash between here and the answer leaves a job behind that only this line lets anybody find.
    log.info("creating a fine-tuning job with the marker %s", marker)
    call = Request("POST", JOBS, json=body.sent(), headers={"Idempotency-Key": marker})
    try:
        return await jobs._send(call, Job)
    except APIError as error:
        if _unclear(error):
            lost = error
        elif isinstance(error, BadRequestError) and "metadata" in f"{error.param} {error.message}":
            lost = None
        else:
            raise
    if lost is None:
        return await _create_bare(jobs, body, marker, began)
    # Outside the handler: errors of the look are no consequence of the lost answer.
    found = await _look(jobs, body, marker, began)
    if found is None:
        raise _ambiguous(body, marker, began, lost) from lost
    log.warning("the answer to creating job %s was lost (%s); found it by its marker", found.id, type(lost).__name__)
    return found


async def _create_bare(jobs: AsyncResource, body: CreateJob, marker: str, began: float) -> Job:
    """Create it without metadata, which the service refused. Without a marker no job can be told for ours."""
    warn_once(
        "The service refused the metadata of a job; it is created without, and cannot be found again by its name."
    )
    bare = {key: value for key, value in body.sent().items() if key != "metadata"}
    try:
        return await jobs._send(Request("POST", JOBS, json=bare, headers={"Idempotency-Key": marker}), Job)
    except APIError as error:
        if not _unclear(error):
            raise
        raise _ambiguous(body, marker, began, error) from error


async def find(
    jobs: AsyncResource, marker: str, *, model: str | None = None, training_file: str | None = None, since: float = 0.0
) -> Job | None:
    """The job that carries a marker, read afresh; None where the list shows none.

    Args:
        jobs: what asks.
        marker: the marker, or the name a job was created with.
        model: only a job for this model can be it.
        training_file: only a job on this file can be it.
        since: Unix seconds before which it cannot have been created.
    """
    older = 0
    async for job in jobs._pages(JOBS, Job, limited(None)):
        older = older + 1 if job.created_at is not None and job.created_at < since - _WINDOW else 0
        if older > PAGE:
            return None  # newest first, as OpenAI lists them: what follows is older still
        stated = (job.metadata or {}).get(MARKER)
        fits = (model is None or job.model in {"", model}) and (
            training_file is None or job.training_file in {"", training_file}
        )
        # An item of a list may be stale or lack its metadata, so a job itself is asked before it is told apart.
        if stated == marker or (stated is None and not job.metadata and fits and not older):
            try:
                itself = await jobs._send(Request("GET", f"{JOBS}/{segment(job, 'job')}"), Job)
            except NotFoundError:
                continue
            if marker in {stated, (itself.metadata or {}).get(MARKER)}:
                return itself
    return None


async def _look(jobs: AsyncResource, body: CreateJob, marker: str, began: float) -> Job | None:
    transport, started = jobs._session.transport, time.monotonic()
    for pause in _LOOKS:
        await transport.sleep(pause)
        if time.monotonic() - started > _LOOKING:
            break
        try:
            found = await find(jobs, marker, model=body.model, training_file=body.training_file, since=began)
        except BedrockRFTError as error:
            log.debug("could not look for a job: %s", error)
            continue
        if found is not None:
            return found
    return None


def _unclear(error: APIError) -> bool:
    """Whether the service may have made the job although it did not say so."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        # By status, since a proxy's words may read like a refusal. Only throttling says that nothing was done.
        return (error.status in _UNCLEAR or error.status >= _SERVER_SIDE) and not isinstance(error, RateLimitError)
    return not isinstance(error, RedirectRefusedError)


def _ambiguous(body: CreateJob, marker: str, began: float, why: APIError) -> AmbiguousCreateError:
    return AmbiguousCreateError(
        f"A job for {sanitize_line(body.model, 200)} may or may not exist: no job id was returned ({sanitize_line(str(why), 800)}). It "
        f"was not sent again. Look once more with client.jobs.find({marker!r}) before you create another. Its training "
        f"file is {sanitize_line(body.training_file, 200)}.",
        marker=marker,
        training_file=body.training_file,
        since=began,
    )
