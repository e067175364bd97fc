"""Compare the service with the facts of docs/service-facts.md, by the smallest real sequence of requests."""

from __future__ import annotations

import json
import re
import secrets
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, cast
from urllib.parse import quote, urlsplit

from bedrock_rft._auth.identity import Identity
from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft._resources.files import Files
from bedrock_rft._resources.jobs import Jobs
from bedrock_rft._transport.transport import Request, Response, run_sync
from bedrock_rft.errors import (
    APIStatusError,
    BedrockRFTError,
    BedrockRFTWarning,
    ConfigurationError,
    JobCancelledError,
    JobFailedError,
)
from bedrock_rft.types.files import File
from bedrock_rft.types.jobs import Job

_ROW = re.compile(
    r"^\| ([a-z0-9-]+) \| (documented|observed|unknown) \| (.+?) \| [^|]*\| ?(upload|job|) ?\|$", re.MULTILINE
)
_RECORDS = 100
_JOBS = "/fine_tuning/jobs"
_CANCEL_SECONDS = 60.0
_UNRELATED_STATUSES = {401, 403, 408, 429, *range(500, 600)}
"""Statuses that show a missing permission or a busy service, not another behaviour."""
_FILE = ({"id", "object", "bytes", "created_at", "filename", "purpose", "status"}, {"status_details", "expires_at"})
_LIST = ({"object", "data", "has_more"}, {"first_id", "last_id"})
_JOB_FIELDS = {"id", "object", "status", "created_at", "model", "training_file", "method"}
_OPENAI_JOB_FIELDS = {
    "finished_at", "fine_tuned_model", "validation_file", "metadata", "error", "trained_tokens", "estimated_finish",
    "hyperparameters", "integrations", "organization_id", "result_files", "seed",
}  # fmt: skip
_EVENT = ({"id", "object", "created_at", "level", "message", "type", "data"}, set[str]())
_ERROR = ({"code", "message", "param", "type"}, set[str]())


class _Client(Protocol):
    """The parts of `Client` that are used here, because this layer must not import the class."""

    files: Files
    jobs: Jobs

    @property
    def identity(self) -> Identity: ...

    def request(self, method: str, path: str, *, query: Any = None, json: Any = None) -> Response: ...


@dataclass(frozen=True)
class LiveReport(Findings):
    """Differences between the service and the facts of `docs/service-facts.md`, without details of the account.

    The code of a finding is the id of a fact. A fact that holds, or that was unknown and is now observed, is `ok`; a
    difference is a `warning`; a fact that could not be compared is `unknown`. An `error` is a request that failed, or
    something that was left behind.

    Attributes:
        service: Amazon Bedrock, a custom endpoint, or the local service, whose differences say nothing about Bedrock.
        base_url: the endpoint.
        region: AWS region of the requests.
        date: day of the check, in UTC.
    """

    service: str = ""
    base_url: str = ""
    region: str = ""
    date: str = ""

    def facts(self) -> list[tuple[str, str]]:
        """Return service, endpoint, region, date and version as names and values."""
        names = ("service", "base_url", "region", "date")
        return [*((name.replace("base_url", "endpoint"), getattr(self, name)) for name in names), ("sdk", __version__)]


def live_check(
    client: _Client, *, create_job: bool = False, reward: str | None = None, model: str = "openai.gpt-oss-20b"
) -> LiveReport:
    """Compare the service with the facts of `docs/service-facts.md`; report each difference.

    The check lists models, files and jobs, uploads a file with 100 records, reads it, and deletes it. None of these
    requests has a published price. The file is always deleted, or the report has an error that names it.

    Args:
        client: a `Client`.
        create_job: also create one job, read it, cancel it, and wait up to a minute for its end. Whether a cancelled
            job is billed is not known.
        reward: ARN of the reward function of that job.
        model: base model of that job.

    Raises:
        ConfigurationError: `create_job` without a reward. All other problems are in the report.
    """
    if create_job and not reward:
        raise ConfigurationError("create_job needs a reward: pass reward='arn:aws:lambda:…'.")
    log = _RequestLog(client)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BedrockRFTWarning)  # the report shows an unknown status or model
        log.run(reward if create_job else None, model)
    identity = client.identity
    host = urlsplit(identity.base_url).hostname or identity.base_url
    service = "Amazon Bedrock" if host.endswith((".api.aws", ".amazonaws.com")) else "a custom endpoint"
    if is_local(log.file_id):
        service = "the local service, not Amazon Bedrock"
    return LiveReport(
        f"Live check of {service}",
        (*log.problems, *_compare(log, with_job=create_job)),
        service=service,
        base_url=identity.base_url,
        region=identity.region,
        date=f"{datetime.now(timezone.utc):%Y-%m-%d}",
    ).redacted()


class _NotSeenError(Exception):
    """No response was received for a request, so what the response would have shown is unknown."""


@dataclass
class _RequestLog:
    """Sends the requests, and keeps each response, or the reason why there is none, under a name."""

    client: _Client
    file_id: str = ""
    last: str = ""
    name: str = field(default_factory=lambda: f"live-check-{secrets.token_hex(4)}.jsonl")
    content: bytes = field(default_factory=lambda: b"".join(map(_encode_record, range(_RECORDS))))
    problems: list[Finding] = field(default_factory=list[Finding])
    responses: dict[str, Response | Exception] = field(default_factory=dict[str, "Response | Exception"])

    def __getitem__(self, name: str) -> Response:
        self.last = name
        response = self.responses.get(name, _NotSeenError("an earlier request failed"))
        if isinstance(response, Exception):
            raise response
        return response

    def run(self, reward: str | None, model: str) -> None:
        self.get("models", "/models")
        self.get("jobs", _JOBS, limit=200)
        self.send("missing", "/files/file-live-check-does-not-exist")
        self.send("wrong path", "/live-check-does-not-exist")
        file = None
        try:
            remedy = f"If `bedrock-rft files list` shows {self.name}, delete it."
            with self.step("the file could not be uploaded", remedy):
                file = self.client.files.upload(self.content, filename=self.name)
                self.file_id = file.id
                path = _object_path("/files", file)
                self.get("file", path)
                self.get("files", "/files", purpose="fine-tune", limit=100, order="desc")
                self.get("one file", "/files", purpose="fine-tune", limit=1)
                self.get("content", f"{path}/content")
            if file is not None and reward is not None:
                self.run_job(file, reward, model)
        finally:
            self.delete(file)

    def get(self, name: str, path: str, method: str = "GET", **query: Any) -> None:
        try:
            self.responses[name] = self.client.request(method, path, query=query)
        except BedrockRFTError as error:
            self.responses[name] = error

    def send(self, name: str, path: str) -> None:
        """Send a request that should fail, once, and keep the response of any status."""
        try:
            transport = cast("Any", self.client)._async._session.transport
            response = run_sync(transport.send(Request("GET", path)))
            is_busy = response.status in _UNRELATED_STATUSES - {403}
            self.responses[name] = _NotSeenError(f"HTTP {response.status}") if is_busy else response
        except BedrockRFTError as error:
            self.responses[name] = error

    @contextmanager
    def step(self, failure: str, remedy: str = "") -> Generator[None]:
        try:
            yield
        except BedrockRFTError as error:
            self.problems.append(Finding("error", "request", failure[0].upper() + failure[1:], error.message, remedy))

    def run_job(self, file: File, reward: str, model: str) -> None:
        """Create one job, read it and cancel it."""
        job: Job | None = None
        try:
            with self.step("the job could not be created", "If `bedrock-rft jobs list` shows it, cancel it."):
                job = self.client.jobs.create(
                    model, training_file=file, reward=reward, hyperparameters={"n_epochs": 1, "batch_size": 4},
                    metadata={"purpose": "live-check"},
                )  # fmt: skip
                self.get("job", _object_path(_JOBS, job))
                self.get("job list", _JOBS, limit=100)
        finally:
            if job is not None:
                with self.step("the job could not be cancelled", f"Cancel it: `bedrock-rft jobs cancel {job.id}`"):
                    self.cancel(job)
                self.get("events", f"{_object_path(_JOBS, job)}/events")
                self.get("ended job", _object_path(_JOBS, job))

    def cancel(self, job: Job) -> None:
        try:
            self.client.jobs.cancel(job)
            self.client.jobs.wait(job, timeout=_CANCEL_SECONDS, poll_interval=2)
        except (JobCancelledError, JobFailedError):
            pass  # the comparison shows the status
        except BedrockRFTError:
            if not self.client.jobs.retrieve(job).is_terminal:
                raise

    def delete(self, file: File | None) -> None:
        """Delete the file, and any other that a repeated or lost upload left under its name."""
        if file is not None:
            remedy = f"Delete it: `bedrock-rft files delete {file.id}`"
            with self.step(f"the file {self.name} may still exist", remedy):
                self.get("deleted", _object_path("/files", file), "DELETE")
                _ = self["deleted"]  # raises the error of that request
                self.send("gone", _object_path("/files", file))
                if isinstance(gone := self.responses["gone"], Response) and gone.ok:
                    raise BedrockRFTError("The file can still be read after the request that deletes it.")
        remedy = f"If `bedrock-rft files list` shows files named {self.name}, delete them."
        with self.step("the list of files could not be read", remedy):
            file_ids = {each.id for each in self.client.files.list(purpose="fine-tune") if each.filename == self.name}
            if isinstance(self.responses.get("deleted"), Response):
                self.responses["listed after"] = Response(200, {}, json.dumps(self.file_id in file_ids).encode())
            for other in file_ids - {self.file_id}:
                self.client.files.delete(other)


def _object_path(parent: str, one: File | Job) -> str:
    return f"{parent}/{quote(one.id, safe='')}"


def _encode_record(number: int) -> bytes:
    question = [{"role": "user", "content": f"What is {number} plus 1? Answer with the number."}]
    return json.dumps({"messages": question, "reference_answer": str(number + 1)}).encode() + b"\n"


Observation = tuple[bool | None, str]
"""Whether a fact holds, or None if the fact was unknown; and a description of what the service did."""


def _compare(log: _RequestLog, *, with_job: bool) -> Iterator[Finding]:
    """Yield a finding for each fact that this run compares."""
    for fact, kind, text, request_kind in _ROW.findall(_facts_page()):
        if not request_kind or (request_kind == "job" and not with_job):
            continue
        sentence = text.replace("`", "")
        try:
            holds, value = _CHECKS[fact](log)
        except (BedrockRFTError, _NotSeenError) as error:
            if not isinstance(error, APIStatusError) or error.status in _UNRELATED_STATUSES:
                yield Finding("unknown", fact, f"Could not be compared: {sentence}", str(error))
                continue
            holds, value = False, f"HTTP {error.status}, {error.message}"
        except Exception as error:  # noqa: BLE001 - a response of another form is a difference, not a fault
            detail = "" if isinstance(error, ValueError) else f" ({type(error).__name__}: {error})"
            holds, value = False, f"{_describe_body(log[log.last])}{detail}"
        reason = f"Seen: {sanitize_line(value, 300)}"
        if kind == "unknown" and holds is None:
            yield Finding("ok", fact, f"Not documented: {sentence}", reason)
        elif holds:
            yield Finding("ok", fact, sentence if text[0] == "`" else sentence[0].upper() + sentence[1:], reason)
        else:
            yield Finding("warning", fact, f"Differs ({kind}): {sentence}", reason, f"Report it as {fact}.")


def _facts_page() -> str:
    packaged = Path(__file__).with_name("service-facts.md")
    page = packaged if packaged.exists() else Path(__file__).parents[2] / "docs" / packaged.name
    return page.read_text(encoding="utf-8")


def _expect_fields(item: Any, known: tuple[set[str], set[str]]) -> Observation:
    """Compare the fields of an object with those that it must have and those that it may have."""
    required, optional = known
    missing, further = sorted(required - set(item)), sorted(set(item) - required - optional)
    parts = [f"missing {', '.join(missing)}" * bool(missing), f"further {', '.join(further)}" * bool(further)]
    return not missing and not further, "; ".join(filter(None, parts)) or "these fields"


def _describe_body(response: Response) -> str:
    """Describe the type and the fields of a body, without values."""
    try:
        body = response.json()
    except ValueError:
        return f"{len(response.content)} bytes that are not JSON" if response.content else "an empty body"
    if isinstance(body, dict):
        return f"an object with {', '.join(sorted(cast('dict[str, Any]', body))) or 'no fields'}"
    return "an array" if isinstance(body, list) else f"the JSON value {json.dumps(body)}"


def _id_form(value: object) -> str:
    """Describe the form of an id: each part that has a digit, or six or more letters, is replaced by its length."""
    return re.sub(r"[A-Za-z]*\d\w*|[A-Za-z]{6,}", lambda run: f"<{len(run[0])} characters>", str(value))


def _expect(value: object, expected: object) -> Observation:
    return value == expected, repr(value) if value == expected else f"{value!r}, not {expected!r}"


def _ids(response: Response) -> list[Any]:
    return [item["id"] for item in response.json()["data"]]


def _first_item(response: Response) -> Any:
    items = response.json()["data"]
    if not items:
        raise _NotSeenError("the list is empty")
    return items[0]


def _check_models(log: _RequestLog) -> Observation:
    missing = {"openai.gpt-oss-20b", "qwen.qwen3-32b"} - set(_ids(log["models"]))
    return not missing, f"without {', '.join(sorted(missing))}" if missing else "both"


def _check_request_ids(log: _RequestLog) -> Observation:
    received = [set(one.headers) for one in log.responses.values() if isinstance(one, Response)]
    if not received:
        raise _NotSeenError("every request failed")
    counts = {name: sum(name in headers for headers in received) for name in ("x-request-id", "x-amzn-requestid")}
    summary = ", ".join(f"{name} in {count} of {len(received)} responses" for name, count in counts.items() if count)
    return bool(summary), summary or f"neither in {len(received)} responses"


def _check_grader(log: _RequestLog) -> Observation:
    grader = log["job"].json()["method"]["reinforcement"]["grader"]
    return grader["type"] == "lambda" and ":lambda:" in grader["lambda"]["function"], json.dumps(grader)


def _check_event_order(log: _RequestLog) -> Observation:
    times = [event["created_at"] for event in log["events"].json()["data"]]
    if len(set(times)) < 2:  # noqa: PLR2004 - two events of different times
        raise _NotSeenError("there are no two events of different times")
    orders = {"newest first": sorted(times, reverse=True), "oldest first": sorted(times), "mixed": times}
    return None, next(name for name, order in orders.items() if order == times)


_CHECKS: Mapping[str, Callable[[_RequestLog], Observation]] = {
    "models-listed": _check_models,
    "list-form": lambda log: _expect_fields(log["files"].json(), _LIST),
    "list-limit": lambda log: (
        len(_ids(log["one file"])) <= 1, f"{len(_ids(log['one file']))} of at least {len(_ids(log['files']))} items"
    ),
    "jobs-limit": lambda log: (True, f"HTTP {log['jobs'].status}"),
    "request-id": _check_request_ids,
    "error-form": lambda log: _expect_fields(log["missing"].json()["error"], _ERROR),
    "missing-file": lambda log: _expect(log["missing"].status, 404),
    "wrong-path": lambda log: _expect(
        f"HTTP {log['wrong path'].status} with {len(log['wrong path'].content)} bytes", "HTTP 404 with 0 bytes"
    ),
    "file-fields": lambda log: _expect_fields(log["file"].json(), _FILE),
    "file-id": lambda log: (None, _id_form(log["file"].json()["id"])),
    "file-status": lambda log: (None, repr(log["file"].json()["status"])),
    "file-bytes": lambda log: _expect(log["file"].json()["bytes"], len(log.content)),
    "file-name": lambda log: _expect(
        [log["file"].json()[name] for name in ("filename", "purpose")], [log.name, "fine-tune"]
    ),
    "file-retrieved": lambda log: (log["file"].json()["id"] == log.file_id, f"HTTP {log['file'].status}"),
    "file-listed": lambda log: (
        None, "listed" if log.file_id in (ids := _ids(log["files"])) else f"not among the first {len(ids)} files"
    ),
    "file-content": lambda log: (
        (same := log["content"].content == log.content),
        f"{len(log['content'].content)} bytes, {'the same' if same else f'not the {len(log.content)} bytes sent'}",
    ),
    "file-expiry": lambda log: (None, f"expires_at is {log['file'].json().get('expires_at', 'missing')}"),
    "file-deleted": lambda log: _expect(
        {**log["deleted"].json(), "id": "its id" if log["deleted"].json().get("id") == log.file_id else "another"},
        {"id": "its id", "object": "file", "deleted": True},
    ),
    "file-gone": lambda log: _expect(log["gone"].status, 404),
    "file-unlisted": lambda log: (None, "listed" if log["listed after"].json() else "not listed"),
    "job-fields": lambda log: _expect_fields(log["job"].json(), (_JOB_FIELDS, _OPENAI_JOB_FIELDS)),
    "job-id": lambda log: (None, _id_form(log["job"].json()["id"])),
    "job-status": lambda log: (
        log["job"].json()["status"] in {"validating_files", "queued", "running"}, repr(log["job"].json()["status"])
    ),
    "job-grader": _check_grader,
    "job-metadata": lambda log: _expect(log["job"].json()["metadata"].get("purpose"), "live-check"),
    "job-listed": lambda log: (
        log["job"].json()["id"] in _ids(log["job list"]), f"{len(_ids(log['job list']))} jobs"
    ),
    "job-cancelled": lambda log: _expect(log["ended job"].json()["status"], "cancelled"),
    "event-fields": lambda log: _expect_fields(_first_item(log["events"]), _EVENT),
    "event-order": _check_event_order,
}  # fmt: skip
