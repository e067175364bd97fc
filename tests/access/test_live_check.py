"""The live check reports each difference of a service, is stopped by none, and leaves nothing behind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from support.command import ARN, command, score

from bedrock_rft import Client, ConfigurationError
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.access import LiveReport, live_check
from bedrock_rft.access._live_check import _CHECKS
from bedrock_rft.errors import APIConnectionError, JobCancelledError
from bedrock_rft.local import LocalService, LocalTransport, Service

FILE_ARN = "arn:aws:bedrock:us-west-2:123456789012:file/"
PAGE = Path(__file__).parents[2] / "docs" / "service-facts.md"
FACTS = re.findall(
    r"^\| ([a-z0-9-]+) \| (\w+) \| .* \| ?(upload|job|) ?\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
)

Change = Callable[[Request, Response], Response | None]


class Differing(LocalTransport):
    """The local service, whose responses a function changes, and which refuses some routes."""

    def __init__(self, service: Service, change: Change, refused: str = "") -> None:
        super().__init__(service)
        self.change = change
        self.refused = refused
        self.sent: list[str] = []

    async def send(self, call: Request) -> Response:
        self.sent.append(f"{call.method} {call.path}")
        if re.fullmatch(self.refused, self.sent[-1]):
            return Response(403, {}, b'{"error": {"code": "access_denied", "message": "no"}}')
        response = await super().send(call)
        changed = self.change(call, response)
        return response if changed is None else changed


def on(route: str, edit: Callable[[Any], Any]) -> Change:
    """Change the JSON of the successful responses of a route."""

    def change(request: Request, response: Response) -> Response | None:
        if not re.fullmatch(route, f"{request.method} {request.path}") or not response.ok:
            return None
        body = json.loads(response.content)
        return Response(response.status, response.headers, json.dumps(edit(body)).encode())

    return change


def answered(route: str, status: int, content: bytes = b"{}") -> Change:
    def change(request: Request, response: Response) -> Response | None:
        is_it = re.fullmatch(route, f"{request.method} {request.path}")
        return Response(status, response.headers, content) if is_it else None

    return change


def without_headers(_: Request, response: Response) -> Response:
    return Response(response.status, {}, response.content)


def unchanged(_: Request, __: Response) -> None:
    return None


@pytest.fixture(scope="module")
def running() -> Iterator[Service]:
    with Service(reward=score, pace=0.5) as service:
        yield service


def run(
    service: Service, change: Change = unchanged, *, refused: str = "", **settings: Any
) -> tuple[LiveReport, Differing]:
    transport = Differing(service, change, refused)
    with Client(transport=transport, max_retries=0) as client:
        report = live_check(client, **settings)
    with Client(transport=LocalTransport(service)) as client:
        for file in client.files.list():  # what a faulty service refused to delete
            client.files.delete(file)
    return report, transport


def different(report: LiveReport) -> set[str]:
    return {finding.code for finding in report.findings if finding.level in {"warning", "error"}}


def test_every_compared_fact_has_a_check() -> None:
    ids = [fact for fact, _, _ in FACTS]
    assert len(ids) == len(set(ids)) > 50
    assert {fact for fact, _, compared in FACTS if compared} == set(_CHECKS)


def test_the_local_service_is_named_and_left_as_it_was(running: Service) -> None:
    with Client(transport=LocalTransport(running)) as client:
        report = live_check(client)
        assert list(client.files.list()) == []
        assert list(client.jobs.list()) == []
    assert str(report).startswith("Live check of the local service, not Amazon Bedrock: ok\n")
    assert {finding.code for finding in report.findings} == {fact for fact, _, extent in FACTS if extent == "upload"}
    assert "an unknown" not in str(report.unknown)
    status = next(finding for finding in report.findings if finding.code == "file-status")
    assert status.summary.startswith("Not documented: the status of a file")
    assert status.reason == "Seen: 'processed'"


def test_one_job_is_created_and_cancelled(running: Service) -> None:
    report, transport = run(running, create_job=True, reward=ARN)
    assert {finding.code for finding in report.findings} == {fact for fact, _, compared in FACTS if compared}
    assert different(report) == set()
    assert transport.sent.count("POST /fine_tuning/jobs") == transport.sent.count("POST /files") == 1
    with Client(transport=LocalTransport(running)) as client:
        assert [job.status for job in client.jobs.list()] == ["cancelled"]
    assert "123456789012" not in str(report)


def test_a_job_needs_a_reward(running: Service) -> None:
    with Client(transport=LocalTransport(running)) as client, pytest.raises(ConfigurationError, match="needs a reward"):
        live_check(client, create_job=True)


def new(status: str) -> str:
    return status if status == "cancelled" else f"new {status}"


def drop(*names: str) -> Callable[[Any], Any]:
    return lambda body: {name: value for name, value in body.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (on("GET /files/local-[^/]+", lambda body: {**body, "owner": "x"}), {"file-fields"}),
        (on("GET /files/local-[^/]+", drop("bytes")), {"file-fields", "file-bytes"}),
        (on("GET /files/local-[^/]+", drop("status")), {"file-fields", "file-status"}),
        (on("GET /files/local-[^/]+", lambda _: []), {"file-fields", "file-bytes", "file-name", "file-retrieved"}),
        (on("GET /files", lambda body: {"items": body["data"], "next": None}), {"list-form", "list-limit"}),
        (on("GET /files", lambda body: {**body, "data": body["data"] * 2}), {"list-limit"}),
        (on("GET /models", lambda body: {**body, "data": []}), {"models-listed"}),
        (answered("GET /files/.*/content", 200), {"file-content"}),
        (answered("GET /files/.*/content", 404), {"file-content"}),
        (answered("GET /files/.*/content", 405, b""), {"file-content"}),
        (answered("GET /files", 422), {"list-form", "list-limit"}),
        (answered("GET /fine_tuning/jobs", 400), {"jobs-limit"}),
        (answered("GET /files/file-live-check.*", 404, b""), {"error-form"}),
        (answered("GET /files/file-live-check.*", 403, b'{"code": "x"}'), {"error-form", "missing-file"}),
        (answered("GET /live-check.*", 404, b"<html>"), {"wrong-path"}),
        (on("DELETE .*", lambda body: {**body, "deleted": 1}), set[str]()),
        (on("DELETE .*", drop("object")), {"file-deleted"}),
        (answered("DELETE .*", 405, b""), {"file-deleted"}),
        (answered("DELETE .*", 204, b""), {"file-deleted"}),
        (without_headers, {"request-id"}),
        (answered("GET .*", 503), set[str]()),
    ],
)  # fmt: skip
def test_each_difference_is_reported_and_stops_nothing(running: Service, change: Change, facts: set[str]) -> None:
    report, transport = run(running, change)
    assert facts <= different(report), str(report)
    assert different(report) - facts <= {"request", "file-id", "file-status", "file-expiry", "file-listed"}, str(report)
    assert len(report.findings) >= sum(extent == "upload" for _, _, extent in FACTS)
    assert any(sent.startswith("DELETE /files/local-") for sent in transport.sent)


@pytest.mark.parametrize(
    ("change", "fact", "seen"),
    [
        (on("GET /files", lambda body: {"items": body["data"]}), "list-limit", "an object with items ("),
        (on("GET /files", lambda body: body["data"]), "list-form", "an array"),
        (answered("GET /files/local-[^/]+", 200, b"<a>"), "file-bytes", "3 bytes that are not JSON"),
        (on("GET /files/local-[^/]+", lambda body: {**body, "url": "//ada:key@x/"}), "file-fields", "further url"),
        (answered("GET /live-check.*", 403, b"no"), "wrong-path", "'HTTP 403 with 2 bytes', not"),
        (answered("GET /models", 404, b""), "models-listed", "HTTP 404"),
        (answered("DELETE .*", 202, b""), "file-deleted", "an empty body"),
        (on("DELETE .*", lambda body: {**body, "id": "x"}), "file-deleted", "{'id': 'another', "),
    ],
)  # fmt: skip
def test_a_difference_is_described(running: Service, change: Change, fact: str, seen: str) -> None:
    report, _ = run(running, change)
    (found,) = [finding.reason for finding in report.findings if finding.code == fact]
    assert found.startswith(f"Seen: {seen}")
    assert "ada:key" not in str(report)


class WithoutEffect(LocalTransport):
    """The local service, which confirms deletions and cancellations, and does neither."""

    async def send(self, call: Request) -> Response:
        if call.method == "DELETE" or call.path.endswith("/cancel"):
            return await super().send(Request("GET", call.path.removesuffix("/cancel")))
        return await super().send(call)


def test_deletion_and_cancellation_without_effect_are_errors(running: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedrock_rft.access._live_check._CANCEL_SECONDS", 0.2)
    with Client(transport=WithoutEffect(running)) as client:
        report = live_check(client, create_job=True, reward=ARN)
    with Client(transport=LocalTransport(running)) as client:
        (file,) = client.files.list()
        (job,) = [job for job in client.jobs.list() if not job.is_terminal]
        client.jobs.cancel(job)
        with pytest.raises(JobCancelledError):
            client.jobs.wait(job, poll_interval=0.02)
        client.files.delete(file)
    assert [(finding.summary, finding.remedy) for finding in report.errors] == [
        ("The job could not be cancelled", f"Cancel it: `bedrock-rft jobs cancel {job.id}`"),
        (f"The file {file.filename} may still exist", f"Delete it: `bedrock-rft files delete {file.id}`"),
    ]


class WithArns(LocalTransport):
    """The local service, whose ids are ARNs."""

    async def send(self, call: Request) -> Response:
        response = await super().send(replace(call, path=call.path.replace(quote(FILE_ARN, safe=""), "")))
        return replace(response, content=response.content.replace(b'"local-file', f'"{FILE_ARN}local-file'.encode()))


def test_ids_may_be_arns(running: Service) -> None:
    with Client(transport=WithArns(running)) as client:
        report = live_check(client)
        assert list(client.files.list()) == []
    assert different(report) == set()
    assert "123456789012" not in str(report)
    assert "arn:aws" in next(finding.reason for finding in report.findings if finding.code == "file-id")


def test_a_file_that_cannot_be_found_again_is_named(running: Service) -> None:
    def change(request: Request, response: Response) -> Response | None:
        if request.path != "/files":
            return None
        content = response.content.replace(b'"filename"', b'"name"')
        return replace(response, content=content if request.method == "GET" else content.replace(b'"id"', b'"key"'))

    report, _ = run(running, change)
    (found,) = report.errors
    assert re.fullmatch(r"If `bedrock-rft files list` shows live-check-\w+\.jsonl, delete it\.", found.remedy)


@pytest.mark.parametrize(
    ("change", "facts"),
    [
        (on("GET .*/jobs/[^/]+", lambda body: {**body, "status": new(body["status"])}), {"job-status"}),
        (on("GET .*/jobs/[^/]+", drop("method", "metadata")), {"job-fields", "job-grader", "job-metadata"}),
        (on("GET .*/events", lambda body: {**body, "data": [{"id": "e", "text": "started"}]}), {"event-fields"}),
        (on("GET .*/jobs", lambda body: {**body, "data": []}), {"job-listed"}),
    ],
)  # fmt: skip
def test_differences_of_a_job(running: Service, change: Change, facts: set[str]) -> None:
    report, transport = run(running, change, create_job=True, reward=ARN)
    assert facts <= different(report), str(report)
    assert different(report) - facts <= {"job-cancelled", "event-order"}
    assert transport.sent.count("POST /fine_tuning/jobs") == 1
    with Client(transport=LocalTransport(running)) as client:
        assert {job.status for job in client.jobs.list()} == {"cancelled"}


def test_a_file_whose_upload_response_was_lost_is_deleted(running: Service) -> None:
    def lost(request: Request, _: Response) -> None:
        if (request.method, request.path) == ("POST", "/files"):
            raise APIConnectionError("The connection was closed.")

    transport = Differing(running, lost)
    with Client(transport=transport, max_retries=0) as client:
        report = live_check(client)
        assert list(client.files.list()) == []
    assert [(finding.summary, finding.code) for finding in report.errors] == [
        ("The file could not be uploaded", "request")
    ]
    assert {finding.code for finding in report.unknown} >= {"file-fields", "file-content", "file-deleted"}


def test_an_interrupted_check_cancels_its_job_and_deletes_its_file(running: Service) -> None:
    interrupted: list[str] = []

    def interrupt(request: Request, _: Response) -> None:
        if re.fullmatch("GET /fine_tuning/jobs/local-[^/]+", f"{request.method} {request.path}") and not interrupted:
            interrupted.append(request.path)
            raise KeyboardInterrupt

    with Client(transport=Differing(running, interrupt)) as client, pytest.raises(KeyboardInterrupt):
        live_check(client, create_job=True, reward=ARN)
    with Client(transport=LocalTransport(running)) as client:
        assert {job.status for job in client.jobs.list()} == {"cancelled"}
        assert list(client.files.list()) == []


def test_what_is_left_behind_is_named(running: Service) -> None:
    report, _ = run(running, refused="DELETE .*|POST .*/cancel", create_job=True, reward=ARN)
    assert sorted(re.sub("local-[a-z]+-[0-9a-f]+", "ID", finding.remedy) for finding in report.errors) == [
        "Cancel it: `bedrock-rft jobs cancel ID`",
        "Delete it: `bedrock-rft files delete ID`",
    ]
    with Client(transport=LocalTransport(running)) as client:
        for job in client.jobs.list():
            if not job.is_terminal:
                client.jobs.cancel(job)


def test_a_job_that_may_exist_is_named(running: Service) -> None:
    def lost(request: Request, _: Response) -> Response | None:
        if (request.method, request.path) == ("POST", "/fine_tuning/jobs"):
            raise APIConnectionError("The connection was closed.")
        return Response(200, {}, b'{"data": [], "has_more": false}') if request.path == "/fine_tuning/jobs" else None

    report, transport = run(running, lost, create_job=True, reward=ARN)
    assert transport.sent.count("POST /fine_tuning/jobs") == 1
    assert "jobs list` shows it, cancel it." in report.errors[0].remedy
    with Client(transport=LocalTransport(running)) as client:
        for job in client.jobs.list():
            if not job.is_terminal:
                client.jobs.cancel(job)


def test_a_service_that_only_fails_shows_nothing(running: Service) -> None:
    report, _ = run(running, answered(".*", 500, b""))
    assert {finding.level for finding in report.findings if finding.code != "request"} == {"unknown"}


def test_the_command(service: LocalService, client: Client) -> None:
    assert service.region
    before = {file.id for file in client.files.list()}  # other tests of this process use the same service
    done = command("doctor", "--live")
    assert done.code == 0
    assert done.out.startswith("Live check of the local service, not Amazon Bedrock: ok\n")
    assert "?limit=1 returns at most one item" in done.out
    assert {file.id for file in client.files.list()} == before
    assert "needs --live and --reward" in command("doctor", "--create-job").err
    asked = command("doctor", "--live", "--create-job", "--reward", ARN)
    assert asked.code == 2
    assert "Whether a cancelled job is billed is not known." in " ".join(asked.err.split())
