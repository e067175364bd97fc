"""Responses are parsed in every known format and in possible future ones."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from support.fault_client import ARN, KEY, MODEL, SECRET, TOKEN, WAYS, Caller
from support.fault_server import Exchange, Faults, always, close, html, status

from bedrock_rft._transport import retry as _retry
from bedrock_rft.errors import (
    APIResponseError,
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    ConflictError,
    InternalServerError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
)

JOBS = "/fine_tuning/jobs"
JOB = f"{JOBS}/ftjob-1"
# The client and the other parameters are tried in pairs: they do not depend on each other above the transport.
pytestmark = pytest.mark.pairwise(identity=True)
row = pytest.mark.row
LONG_TERM = "ABSKZmFrZS1sb25nLXRlcm0ta2V5"


@pytest.fixture(autouse=True)
def _shorten_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_retry, "_FIRST", 0.01)


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


@pytest.fixture(params=WAYS, ids="-".join)
def caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, *request.param)
    yield caller
    caller.check_identity()


@pytest.fixture(params=["api_key", "aws"])
def sync_caller(request: pytest.FixtureRequest, server: Faults) -> Iterator[Caller]:
    caller = Caller(server, request.param, "sync")
    yield caller
    caller.check_identity()


def models(client: Any) -> Any:
    return client.models.list()


def retrieve(client: Any) -> Any:
    return client.jobs.retrieve("ftjob-1")


def jobs(client: Any) -> Any:
    return client.jobs.list()


# Envelopes.

WORDS = "The service's own words."
ENVELOPES: dict[str, tuple[object, dict[str, str]]] = {
    "nested": ({"error": {"code": "a_code", "message": WORDS, "param": "model", "type": "some_error"}}, {}),
    "flat": ({"code": "a_code", "message": WORDS}, {}),
    "AWS": ({"__type": "com.amazon.coral.service#a_code", "message": WORDS}, {}),
    "AWS, bare": ({"__type": "a_code", "Message": WORDS}, {}),
    "header": ({"message": WORDS}, {"x-amzn-errortype": "a_code:http://internal.amazon.com/coral/"}),
    "AWS id": ({"code": "a_code", "message": WORDS}, {"x-request-id": "", "x-amzn-requestid": "req-1"}),
    "other types": ({"error": {"code": "a_code", "message": WORDS, "param": 7, "type": {"a": 1}, "new": []}}, {}),
}


@row("S403d")
@pytest.mark.parametrize(("body", "headers"), ENVELOPES.values(), ids=ENVELOPES)
def test_every_error_format_is_parsed(caller: Caller, body: object, headers: dict[str, str]) -> None:
    caller.server.script("GET", "/models", always(status(400, body, headers)))
    error = caller.fails(BadRequestError, models)
    assert (error.status, error.code, error.request_id) == (400, "a_code", "req-1")
    for part in ("GET /models", "HTTP 400 a_code", WORDS, "req-1"):
        assert part in str(error)


BODIES = [
    b"",
    b"null",
    b"[]",
    b'"words"',
    b"7",
    b"{",
    b"\xff\xfe\x00",
    b'{"error": null}',
    b'{"error": "words"}',
    b"{}",
]


@row("S500d")
@pytest.mark.parametrize("code", [400, 403, 404, 500, 503])
@pytest.mark.parametrize("body", BODIES)
def test_an_error_without_a_known_format_is_raised_by_its_status(sync_caller: Caller, code: int, body: bytes) -> None:
    sync_caller.server.script("GET", "/models", always(status(code, body)))
    error = sync_caller.fails(APIStatusError, models)
    assert (error.status, error.request_id) == (code, "req-1")
    assert "req-1" in str(error)


@row("S403d")
def test_the_error_code_is_read_from_the_header(caller: Caller) -> None:
    caller.server.script("GET", "/models", always(status(403, b"", {"x-amzn-ErrorType": "AccessDeniedException:"})))
    assert caller.fails(PermissionDeniedError, models).code == "AccessDeniedException"


def test_an_html_error_page_is_reduced_to_its_title(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(html(403, title="\n Blocked \x1b[31mby policy")))
    message = str(sync_caller.fails(PermissionDeniedError, models))
    assert "an HTML page titled 'Blocked \\x1b[31mby policy'" in message
    assert "xxx" not in message


def test_a_long_message_is_cut_and_the_advice_kept(sync_caller: Caller) -> None:
    sync_caller.server.script(
        "GET", "/models", always(status(429, {"message": "long " * 5000}, {"Retry-After": "3600"}))
    )
    message = str(sync_caller.fails(RateLimitError, models))
    assert message.endswith(
        "The service asks for a pause of 3600 s. Send fewer requests, or ask AWS for a higher quota."
    )


def test_an_empty_404_suggests_a_wrong_path(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(status(404)))
    message = str(sync_caller.fails(NotFoundError, models))
    assert "wrong path" in message
    assert sync_caller.server.base_url in message


# The code comes before the status.


@pytest.mark.parametrize(
    ("code", "body", "kind"),
    [
        (401, {"error": {"code": "access_denied", "message": "No."}}, PermissionDeniedError),
        (401, {"error": {"type": "permission_denied_error", "message": "No."}}, PermissionDeniedError),
        (400, {"__type": "AccessDeniedException", "message": "No."}, PermissionDeniedError),
        (401, {"message": "x is not authorized to perform: bedrock-mantle:GetFile"}, PermissionDeniedError),
        (401, {"error": {"code": "invalid_api_key", "message": "Invalid bearer token"}}, AuthenticationError),
        (403, {"error": {"code": "invalid_api_key", "message": "No."}}, AuthenticationError),
        (403, {"__type": "InvalidSignatureException", "message": "No."}, AuthenticationError),
        (403, {"__type": "UnrecognizedClientException", "message": "No."}, AuthenticationError),
        (400, {"__type": "x#ExpiredTokenException", "message": "No."}, AuthenticationError),
        (401, {"error": {"code": "some_new_code", "message": "No."}}, AuthenticationError),
        (403, {"error": {"code": "some_new_code", "message": "No."}}, PermissionDeniedError),
        (400, {"__type": "ResourceNotFoundException", "message": "No."}, NotFoundError),
        (400, {"__type": "ThrottlingException", "message": "No."}, RateLimitError),
        (503, {"error": {"type": "rate_limit_error", "message": "No."}}, RateLimitError),
        (500, {"__type": "ValidationException", "message": "No."}, BadRequestError),
        (400, {"error": {"code": "validation_error", "message": "No."}}, BadRequestError),
        (401, {"error": {"code": None, "type": "invalid_request_error", "message": "No."}}, AuthenticationError),
        (409, {"error": {"code": "conflict", "message": "No."}}, ConflictError),
        (507, {"error": {"code": 507, "message": "No."}}, InternalServerError),
    ],
)
def test_the_error_code_takes_precedence_over_the_status(
    sync_caller: Caller, code: int, body: object, kind: type[APIStatusError]
) -> None:
    sync_caller.server.script("GET", "/models", always(status(code, body)))
    error = sync_caller.fails(APIStatusError, models)
    assert type(error) is kind
    assert error.status == code


@row("A06")
def test_the_error_for_an_expired_token_says_how_to_renew_it(sync_caller: Caller) -> None:
    said = {"__type": "ExpiredTokenException", "message": "The security token included in the request is expired"}
    sync_caller.server.script("GET", "/models", always(status(403, said)))
    message = str(sync_caller.fails(AuthenticationError, models))
    assert "expired" in message
    assert "aws sso login" in message
    assert len(sync_caller.server.requests) <= 2


@pytest.mark.parametrize("mode", ["api_key", "aws"])
@pytest.mark.parametrize("off", [-600, 600])
def test_the_error_for_a_wrong_clock_reports_the_difference(server: Faults, mode: str, off: int) -> None:
    sync_caller = Caller(server, mode, "sync")  # signs with the corrected clock

    said = {"__type": "InvalidSignatureException", "message": "Signature expired or not yet current."}

    def refuse(exchange: Exchange) -> None:
        status(403, {**said, "message": "No match."}, {"Date": formatdate(time.time() + off, usegmt=True)})(exchange)

    sync_caller.server.script("GET", "/models", always(refuse))
    message = str(sync_caller.fails(AuthenticationError, models))
    assert "clock differs" in message
    assert len(sync_caller.server.requests) <= 2


@row("A10")
def test_without_a_date_the_error_suggests_checking_the_clock(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(status(401, {"__type": "InvalidSignatureException"})))
    assert "check this machine's clock" in str(sync_caller.fails(AuthenticationError, models))


# Denials.

DATA = b'{"messages": [{"role": "user", "content": "2 + 2"}], "reference_answer": "4"}\n' * 100
DENIED = {"error": {"code": "access_denied", "type": "permission_denied_error", "message": "You may not."}}
ROUTES: list[tuple[str, str, Callable[[Any], Any], str]] = [
    ("POST", "/files", lambda c: c.files.upload(DATA), "CreateFile"),
    ("GET", "/files", lambda c: c.files.list(), "ListFiles"),
    ("GET", "/files/f", lambda c: c.files.retrieve("f"), "GetFile"),
    ("GET", "/files/f/content", lambda c: c.files.content("f"), "GetFile"),
    ("DELETE", "/files/f", lambda c: c.files.delete("f"), "DeleteFile"),
    ("POST", JOBS, lambda c: c.jobs.create(MODEL, training_file="f", reward=ARN), "CreateFineTuningJob"),
    ("GET", JOBS, jobs, "ListFineTuningJobs"),
    ("GET", JOB, retrieve, "GetFineTuningJob"),
    ("GET", f"{JOB}/events", lambda c: c.jobs.events("ftjob-1"), "GetFineTuningJob"),
    ("GET", f"{JOB}/checkpoints", lambda c: c.jobs.checkpoints("ftjob-1"), "GetFineTuningJob"),
    ("POST", f"{JOB}/cancel", lambda c: c.jobs.cancel("ftjob-1"), "CancelFineTuningJob"),
    ("GET", "/models", models, "ListModels"),
    ("GET", "/models/m", lambda c: c.models.retrieve("m"), "GetModel"),
    ("POST", "/responses", lambda c: c.request("POST", "/responses", json={}), "CreateInference"),
]


@pytest.mark.parametrize(("method", "path", "operation", "action"), ROUTES, ids=[f"{r[0]} {r[1]}" for r in ROUTES])
@pytest.mark.parametrize("code", [401, 403])
def test_a_denial_names_the_missing_action_and_its_resource(
    sync_caller: Caller, code: int, method: str, path: str, operation: Any, action: str
) -> None:
    sync_caller.server.script(method, path, always(status(code, DENIED)))
    error = sync_caller.fails(PermissionDeniedError, operation)
    assert error.action == f"bedrock-mantle:{action}"
    assert error.resource == "arn:aws:bedrock-mantle:us-west-2:*:project/default"
    source = "api_key=" if sync_caller.mode == "api_key" else "credentials="
    for part in (
        f"Allow bedrock-mantle:{action} on {error.resource} to",
        source,
        "You may not.",
        f"HTTP {code} access_denied",
    ):
        assert part in str(error)
    assert len(sync_caller.server.requests) == 1


def test_a_denial_quotes_action_and_resource_from_the_services_message(sync_caller: Caller) -> None:
    resource = "arn:aws:bedrock-mantle:us-west-2:123456789012:project/proj_1"
    said = (
        "User: arn:aws:iam::123456789012:user/x is not authorized to perform: bedrock-mantle:CallWithBearerToken on "
        f"resource: {resource} because no identity-based policy allows the bedrock-mantle:CallWithBearerToken action"
    )
    sync_caller.server.script("GET", "/models", always(status(403, {"code": "AccessDenied", "message": said})))
    error = sync_caller.fails(PermissionDeniedError, models)
    assert (error.action, error.resource) == ("bedrock-mantle:CallWithBearerToken", resource)
    assert f"Allow {error.action} on {resource} to" in str(error)


@pytest.mark.parametrize("mode", ["api_key", "aws"])
def test_a_denial_names_the_project_and_the_partition(server: Faults, mode: str) -> None:
    sync_caller = Caller(server, mode, "sync")
    sync_caller.server.script("GET", "/models", always(status(403, DENIED)))
    error = sync_caller.fails(PermissionDeniedError, models, project="proj_1", region="us-gov-west-1")
    assert error.resource == "arn:aws-us-gov:bedrock-mantle:us-gov-west-1:*:project/proj_1"


@pytest.mark.parametrize(("path", "operation"), [("/files", ROUTES[0][2]), (JOBS, ROUTES[5][2])])
def test_a_denial_explains_the_limits_of_a_long_term_key(server: Faults, path: str, operation: Any) -> None:
    server.script("POST", path, always(status(403, DENIED)))
    message = str(Caller(server, "api_key", "sync").fails(PermissionDeniedError, operation, api_key=LONG_TERM))
    assert "long-term" in message
    assert "AmazonBedrockLimitedAccess" in message
    assert LONG_TERM not in message


def test_other_denials_do_not_mention_long_term_keys(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", "/models", always(status(403, DENIED)))
    assert "long-term" not in str(sync_caller.fails(PermissionDeniedError, models))
    sync_caller.server.script("GET", JOB, always(status(403, DENIED)))
    assert "long-term" not in str(sync_caller.fails(PermissionDeniedError, retrieve))


# Echoes of secrets.


@row("S401e")
@pytest.mark.parametrize("code", [200, 400, 401, 403, 500])
@pytest.mark.parametrize("shape", ["nested", "flat", "text", "page"])
def test_a_secret_in_a_response_is_redacted(caller: Caller, code: int, shape: str) -> None:
    def echo(exchange: Exchange) -> None:
        sent = exchange.request.headers
        wrong = sent["authorization"] + "\n" + f"x-amz-security-token:{sent.get('x-amz-security-token')}"
        bare = sent["authorization"].removeprefix("Bearer ") if caller.mode == "api_key" else ""
        said = f"The string should have been '{wrong}' for {bare}."[-200 - len(bare) :]
        bodies: dict[str, object] = {
            "nested": {"error": {"code": "x", "message": said}},
            "flat": {"message": said},
            "text": said.encode(),
            "page": f"<html><title>{said}</title>".encode(),
        }
        status(code, bodies[shape])(exchange)

    caller.server.script("GET", JOB, always(echo))
    with pytest.raises(APIResponseError if code == 200 else APIStatusError) as raised:
        caller(retrieve, max_retries=0)
    shown = f"{raised.value} {raised.value!r} {pickle.dumps(raised.value)!r} {vars(raised.value)}"
    assert "****" in shown
    for secret in (KEY, SECRET, TOKEN):
        assert secret not in shown


# Future formats.


def reply(caller: Caller, path: str, body: object) -> None:
    caller.server.script("GET", path, always(status(200, body)))


@row("V02")
def test_an_unknown_status_is_passed_through(caller: Caller) -> None:
    reply(caller, JOB, {"id": "ftjob-1", "status": "pausing"})
    job = caller(retrieve)
    assert job.status == "pausing"
    assert not job.is_terminal


@row("V03")
def test_a_job_without_optional_fields_is_parsed(caller: Caller) -> None:
    reply(caller, JOB, {"id": "ftjob-1"})
    job = caller(retrieve)
    assert (job.status, job.model, job.method, job.fine_tuned_model, job.created_at) == ("", "", None, None, None)


@row("V01")
def test_unknown_fields_are_kept(caller: Caller) -> None:
    reply(caller, JOB, {"id": "ftjob-1", "new": {"a": [1]}, "newer": None})
    assert caller(retrieve).model_extra == {"new": {"a": [1]}, "newer": None}


@row("V05")
@pytest.mark.parametrize("odd", [7, -1.5, "text", [], [1], {}, {"a": 1}, True, None])
@pytest.mark.parametrize(
    "name", ["status", "model", "created_at", "method", "error", "metadata", "fine_tuned_model", "training_file"]
)
def test_a_field_of_another_type_does_not_affect_other_fields(sync_caller: Caller, name: str, odd: object) -> None:
    reply(sync_caller, JOB, {"id": "ftjob-1", "seed": 4, name: odd})
    job = sync_caller(retrieve)
    assert job.id == "ftjob-1"
    assert (job.model_extra or {})["seed"] == 4
    assert str(job)


@row("V04")
@pytest.mark.parametrize("body", [{"status": "running"}, {"id": None}, {"id": 7}, {"id": {}}, {"error": {}}])
def test_a_job_without_an_id_raises(sync_caller: Caller, body: object) -> None:
    reply(sync_caller, JOB, body)
    sync_caller.fails(APIResponseError, retrieve)


@row("V06")
def test_an_empty_list_is_empty(sync_caller: Caller) -> None:
    reply(sync_caller, JOBS, {"data": []})
    assert sync_caller(jobs) == []


@row("V06")
@pytest.mark.parametrize(
    "body",
    [
        {},
        {"data": None},
        {"data": None, "has_more": True},
        {"data": [1, 2]},
        {"data": [{"no": "id"}]},
        {"data": ["a"], "has_more": False},
        {"data": {}},
        {"data": 7, "has_more": True},
        {"object": "list"},
    ],
)
def test_a_response_without_readable_items_raises(sync_caller: Caller, body: object) -> None:
    """If the response counted as an empty list, a search by name would create a second job."""
    reply(sync_caller, JOBS, body)
    sync_caller.fails(APIResponseError, jobs)


@row("V11")
def test_invalid_list_items_are_skipped(caller: Caller) -> None:
    reply(caller, JOBS, {"data": [None, {"id": "a"}, 7, {"no": "id"}, {"id": "b"}], "has_more": False})
    assert [job.id for job in caller(jobs)] == ["a", "b"]


@row("V07")
def test_an_empty_error_is_not_a_failure(sync_caller: Caller) -> None:
    reply(sync_caller, JOB, {"id": "ftjob-1", "status": "succeeded", "error": {}})
    assert sync_caller(lambda client: client.jobs.wait("ftjob-1")).status == "succeeded"


@row("V08")
@pytest.mark.parametrize("value", ["auto", None, 4, 0.5])
def test_hyperparameters_of_any_scalar_are_kept(sync_caller: Caller, value: object) -> None:
    method = {"type": "reinforcement", "reinforcement": {"hyperparameters": {"n_epochs": value, "new": value}}}
    reply(sync_caller, JOB, {"id": "ftjob-1", "method": method})
    found = sync_caller(retrieve).method.reinforcement.hyperparameters
    assert found.n_epochs == value
    assert found.model_extra["new"] == value


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_hyperparameter_of_an_unknown_shape_does_not_affect_others(sync_caller: Caller, value: object) -> None:
    method = {"type": "reinforcement", "reinforcement": {"hyperparameters": {"n_epochs": value, "batch_size": 4}}}
    reply(sync_caller, JOB, {"id": "ftjob-1", "method": method})
    found = sync_caller(retrieve).method.reinforcement.hyperparameters
    assert (found.n_epochs, found.batch_size) == (None, 4)


@row("V10")
def test_unknown_methods_and_graders_are_kept(sync_caller: Caller) -> None:
    method = {
        "type": "evolution",
        "evolution": {"population": 7},
        "reinforcement": {"grader": {"type": "oracle", "oracle": {"name": "Delphi"}}},
    }
    reply(sync_caller, JOB, {"id": "ftjob-1", "method": method, "new": {"field": [1]}})
    job = sync_caller(retrieve)
    assert job.method.type == "evolution"
    assert job.method.model_extra == {"evolution": {"population": 7}}
    assert job.method.reinforcement.grader.type == "oracle"
    assert job.method.reinforcement.grader.model_extra == {"oracle": {"name": "Delphi"}}
    assert job.reward is None
    assert job.model_extra == {"new": {"field": [1]}}


@row("V12")
def test_a_stream_with_unknown_keys_and_no_end_marker_is_read(sync_caller: Caller) -> None:
    chunk = (
        '{"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "new": {"k": 1}, '
        '"choices": [{"index": 0, "delta": {"content": "%s", "odd": 1}, "finish_reason": null, "more": []}]}'
    )
    body = "".join(f"data: {chunk % word}\n\n" for word in ("Hel", "lo")).encode()
    sync_caller.server.script("POST", "/chat/completions", [status(200, body, {"Content-Type": "text/event-stream"})])

    def chat(client: Any) -> str:
        with client.openai.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
        ) as stream:
            return "".join(part.choices[0].delta.content for part in stream)

    assert sync_caller(chat) == "Hello"
    sync_caller.check_identity()


@row("P25")
def test_two_calls_get_their_own_responses(sync_caller: Caller) -> None:
    sync_caller.server.script("GET", JOB, [status(200, {"id": "ftjob-1", "status": "running"}), close])
    sync_caller.server.add_job(statuses=["succeeded"])
    assert sync_caller(retrieve, retrieve).status == "succeeded"
