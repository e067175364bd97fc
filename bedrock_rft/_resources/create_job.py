"""Create a job at most once: a marker in its metadata identifies it if the response is lost."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.warnings import warn_once
from bedrock_rft._resources.base import PAGE, AsyncResource, page_query, segment
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
from bedrock_rft.types.jobs import MARKER, CreateJob, Job

JOBS = "/fine_tuning/jobs"

_MAX_ENTRIES = 15  # the service allows sixteen, one of which is the marker
_MAX_KEY, _MAX_VALUE = 64, 512  # characters
_SEARCH_DELAYS = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds; lists may lag behind
_SEARCH_TIMEOUT = 60.0  # seconds after which no further search starts
_CLOCK_SKEW = 600.0  # seconds that the clocks of client and service may differ
_AMBIGUOUS_STATUS = frozenset({408, 409})
_SERVER_SIDE = 500


def check_name(name: str | None) -> str:
    """Return the marker for a name, or a new marker. Raise `ConfigurationError` for an invalid name."""
    if name is None:
        from uuid import uuid4  # slow to import, and most clients create no job

        return str(uuid4())
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}", name):
        raise ConfigurationError("name must be 1 to 128 letters, digits, dots, colons, dashes or underscores.")
    return name


def check_metadata(metadata: Mapping[str, str] | None, marker: str) -> dict[str, str]:
    """Return the metadata with the marker. Raise `ConfigurationError` if it is invalid."""
    own = dict(metadata or {})
    if len(own) > _MAX_ENTRIES:
        raise ConfigurationError(
            f"metadata has {len(own)} entries; at most {_MAX_ENTRIES} are allowed, because the SDK adds a marker."
        )
    for key, value in own.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"The keys of metadata must be strings, not {type(key).__name__}.")
        if not isinstance(value, str):
            kind = type(value).__name__
            raise ConfigurationError(
                f"The values of metadata must be strings; the value of {sanitize_line(key, 100)!r} is {kind}."
            )
        if not 0 < len(key) <= _MAX_KEY or len(value) > _MAX_VALUE:
            raise ConfigurationError(f"metadata keys have 1 to {_MAX_KEY} characters and values up to {_MAX_VALUE}.")
        if key == MARKER:
            raise ConfigurationError(f"'{MARKER}' is reserved for the SDK. Use name=… to find a job again.")
    return {**own, MARKER: marker}


async def create(jobs: AsyncResource, body: CreateJob, *, marker: str) -> Job:
    """Send the request once. If its outcome is unclear, search for the job, and raise `AmbiguousCreateError`."""
    began = time.time()
    # If the process crashes before the response arrives, only this log line allows finding the job.
    log.info("creating a fine-tuning job with the marker %s", marker)
    fields = body.sent()
    while True:
        request = Request("POST", JOBS, json=fields, headers={"Idempotency-Key": marker})
        try:
            return await jobs._send(request, Job)
        except APIError as error:
            lost = error
        # Search after the `except` block, because errors of the search are not caused by the lost response.
        if _may_have_created_job(lost):
            found = await _search(jobs, body, marker, began) if "metadata" in fields else None
            if found is None:
                raise _ambiguous_error(body, marker, began, lost) from lost
            text = (
                "the response to the request that creates a job was lost (%s); job %s was found by the marker in its "
                "metadata"
            )
            log.warning(text, type(lost).__name__, found.id)
            return found
        if not isinstance(lost, BadRequestError) or "metadata" not in f"{lost.param} {lost.message}":
            raise lost
        if fields.pop("metadata", None) is None:
            raise lost
        warn_once(
            "The service rejected the metadata of a job. The job is created without metadata, so it cannot be found by "
            "its name."
        )


async def find(
    jobs: AsyncResource, marker: str, *, model: str | None = None, training_file: str | None = None, since: float = 0.0
) -> Job | None:
    """Return the job with a marker, created after `since` (Unix seconds) for this model and file, or None."""
    older = 0
    async for job in jobs._pages(JOBS, Job, page_query(None)):
        older = older + 1 if job.created_at is not None and job.created_at < since - _CLOCK_SKEW else 0
        if older > PAGE:
            return None  # lists are ordered newest first, so all further jobs are older
        stated = (job.metadata or {}).get(MARKER)
        fits = (model is None or job.model in {"", model}) and (
            training_file is None or job.training_file in {"", training_file}
        )
        # A list item may be stale or lack its metadata, so the job itself is fetched.
        if stated == marker or (stated is None and not job.metadata and fits and not older):
            try:
                current = await jobs._send(Request("GET", f"{JOBS}/{segment(job, 'job')}"), Job)
            except NotFoundError:
                continue
            if marker in {stated, (current.metadata or {}).get(MARKER)}:
                return current
    return None


async def _search(jobs: AsyncResource, body: CreateJob, marker: str, began: float) -> Job | None:
    transport, started = jobs._session.transport, time.monotonic()
    for pause in _SEARCH_DELAYS:
        await transport.sleep(pause)
        if time.monotonic() - started > _SEARCH_TIMEOUT:
            break
        try:
            found = await find(jobs, marker, model=body.model, training_file=body.training_file, since=began)
        except BedrockRFTError as error:
            log.debug("could not search for a job: %s", error)
            continue
        if found is not None:
            return found
    return None


def _may_have_created_job(error: APIError) -> bool:
    """Check if the service may have created the job although the request failed."""
    if isinstance(error, APIConnectionError):
        return error.sent
    if isinstance(error, APIStatusError):
        # The status decides, because the text may come from a proxy. Only throttling guarantees that nothing was
        # created.
        ambiguous = error.status in _AMBIGUOUS_STATUS or error.status >= _SERVER_SIDE
        return ambiguous and not isinstance(error, RateLimitError)
    return not isinstance(error, RedirectRefusedError)


def _ambiguous_error(body: CreateJob, marker: str, began: float, why: APIError) -> AmbiguousCreateError:
    return AmbiguousCreateError(
        f"A job for {sanitize_line(body.model, 200)} may or may not have been created: no job id was returned "
        f"({sanitize_line(str(why), 800)}). The request was not repeated. Search with client.jobs.find({marker!r}) "
        f"before you create another job. The training file is {sanitize_line(body.training_file, 200)}.",
        marker=marker,
        training_file=body.training_file,
        since=began,
    )
