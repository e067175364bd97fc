"""Every way in which an invocation in Lambda can fail is an outcome, with the advice that fits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from support.lambda_server import ARN, ScriptedLambda, reply

from bedrock_rft import RewardError
from bedrock_rft.rewards._targets.lambda_target import LambdaTarget
from bedrock_rft.rewards._targets.target import CONNECTION_LOST, Outcome, invoke_until_accepted

Respond = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-0123456789")


def invoked(respond: Respond, *, read_timeout: float = 5.0, timeout: int | None = 60) -> Outcome:
    """Invoke a function whose endpoint responds like this, by botocore's own client."""
    with ScriptedLambda(respond, timeout=timeout) as server:
        session: Any = botocore.session.Session()
        client = session.create_client(
            "lambda",
            region_name="us-west-2",
            endpoint_url=server.url,
            config=Config(read_timeout=read_timeout, retries={"total_max_attempts": 1}),
        )
        target = LambdaTarget(ARN, client, None)
        try:
            return target.invoke([{"id": "1"}])
        finally:
            target.close()


def closed(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


def cut_off(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("content-length", "100")
    request.end_headers()
    request.wfile.write(b"[{")
    request.close_connection = True


def cut_off_in_the_head(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"HTTP/1.1 200 OK\r\nx-amz")
    request.close_connection = True


def silent(request: BaseHTTPRequestHandler) -> None:
    time.sleep(1.0)
    request.close_connection = True


def silent_in_the_body(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("content-length", "100")
    request.end_headers()
    request.wfile.write(b"[{")
    request.wfile.flush()
    silent(request)


def not_http(request: BaseHTTPRequestHandler) -> None:
    request.wfile.write(b"hello\r\n\r\n")
    request.close_connection = True


def bad_chunks(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("transfer-encoding", "chunked")
    request.end_headers()
    request.wfile.write(b"zz\r\n")
    request.close_connection = True


def responding(status: int, body: bytes, **headers: str) -> Respond:
    return lambda request: reply(request, status, body, {name.replace("_", "-"): v for name, v in headers.items()})


def service_error(status: int, code: str, message: str) -> Respond:
    body = json.dumps({"Type": "User", "message": message}).encode()
    return responding(status, body, x_amzn_ErrorType=code)


def function_error(name: str, message: str) -> Respond:
    body = json.dumps({"errorType": name, "errorMessage": message}).encode()
    return responding(200, body, x_amz_function_error="Unhandled")


@pytest.mark.parametrize(
    ("respond", "code", "words"),
    [
        (closed, "busy", "The connection was lost; check the network"),
        (cut_off, "busy", "The connection was lost"),
        (cut_off_in_the_head, "busy", "The connection was lost"),
        (responding(200, b""), "busy", "The connection was lost"),
        (not_http, "busy", "The connection was lost"),
        (bad_chunks, "busy", "The connection was lost"),
        (silent, "timeout", "There was no response, although its own timeout is 60 s"),
        (silent_in_the_body, "timeout", "There was no response, although its own timeout is 60 s"),
        (responding(200, b"<html>log in</html>"), "not_invoked", "begins with '<html>log in</html>'. A proxy may"),
        (responding(200, b"\xff\xfe\x00"), "not_invoked", "A proxy may have sent it"),
        (responding(200, b"x", content_encoding="gzip"), "", "could not be invoked"),
        (responding(502, b"<html>bad gateway</html>"), "", "could not be invoked"),
        (responding(407, b""), "not_invoked", "could not be invoked"),
        (service_error(429, "TooManyRequestsException", "Rate Exceeded."), "busy", "limits concurrent invocations"),
        (service_error(409, "ResourceConflictException", "The function is being updated"), "busy", "being updated"),
        (service_error(502, "ResourceNotReadyException", "not ready"), "busy", "try again in a minute"),
        (service_error(502, "EC2ThrottledException", "throttled"), "busy", "limits how fast functions join a VPC"),
        (responding(403, b"<html>Forbidden</html>"), "not_invoked", "a proxy may have sent it"),
        (responding(404, b"{}"), "not_invoked", "a proxy may have sent it"),
        (
            responding(500, b"[1]"),
            "not_invoked",
            "UnreadableResponse: the response has a form",
        ),
        (service_error(502, "EC2UnexpectedException", "try again"), "busy", "EC2UnexpectedException"),
        (service_error(500, "ServiceException", "internal"), "busy", "ServiceException"),
        (
            service_error(403, "AccessDeniedException", "no"),
            "not_invoked",
            "Allow lambda:InvokeFunction on the function",
        ),
        (service_error(404, "ResourceNotFoundException", "no"), "not_invoked", "its qualifier and its region"),
        (service_error(403, "ExpiredTokenException", "expired"), "not_invoked", "Renew the AWS credentials"),
        (service_error(502, "KMSDisabledException", "disabled"), "", "KMS key is enabled"),
        (service_error(413, "RequestEntityTooLargeException", "too large"), "not_invoked", "at most 6 MB"),
        (service_error(413, "RequestTooLargeException", "too large"), "not_invoked", "at most 6 MB"),
        (responding(413, b"<html>413</html>"), "not_invoked", "at most 6 MB"),
        (responding(200, b"[" * 100_000), "not_invoked", "not JSON"),
        (
            function_error("Runtime.OutOfMemory", "out of memory"),
            "out_of_memory",
            "Deploy the function with more memory=",
        ),
        (function_error("Runtime.ExitError", "exited with error: signal: killed"), "out_of_memory", "memory="),
        (function_error("Runtime.ExitError", "exited with error: exit status 3"), "died", "Look for os._exit"),
        (function_error("Runtime.ImportModuleError", "No module named 'numpy'"), "not_loaded", "requirements="),
        (function_error("Runtime.UserCodeSyntaxError", "Syntax error"), "not_loaded", "Correct the syntax"),
        (function_error("Runtime.HandlerNotFound", "Handler 'x' missing"), "not_loaded", "handler setting"),
        (function_error("Runtime.MalformedHandlerName", "Bad handler"), "not_loaded", "handler setting"),
        (function_error("Runtime.MarshalError", "set is not JSON"), "not_json", "Convert scores with float"),
        (function_error("Function.ResponseSizeTooLarge", "exceeded"), "too_large", "at most 6 MB"),
        (function_error("Sandbox.Timedout", "Task timed out after 3.00 seconds"), "timeout", "raise its timeout="),
        (function_error("Sandbox.Failure", "went wrong"), "died", "See the function's log in CloudWatch"),
        (function_error("KeyError", "'x'"), "raised", "catch the exception and score the rollout 0"),
        (responding(200, b"[]", x_amz_function_error="Unhandled"), "raised", "an error"),
        (responding(200, b"null", x_amz_function_error="Unhandled"), "raised", "an error"),
    ],
)
def test_a_failed_invocation_is_an_outcome_with_advice(respond: Respond, code: str, words: str) -> None:
    read_timeout = 0.4 if respond in (silent, silent_in_the_body) else 5.0
    outcome = invoked(respond, read_timeout=read_timeout)
    assert outcome.error is not None
    assert outcome.result is None
    assert words in outcome.error.message
    assert "fake-secret" not in outcome.error.message
    assert "\n" not in outcome.error.message
    if code:
        assert outcome.error.code == code, outcome.error.message
    assert (outcome.error.cause == CONNECTION_LOST) == ("connection was lost" in outcome.error.message)


@pytest.mark.parametrize("body", [b"{}", b"null", b"[]", b"7"])
def test_an_unusual_result_is_a_result(body: bytes) -> None:
    outcome = invoked(responding(200, body, x_amz_log_result="no base64!"))
    assert outcome.error is None
    assert outcome.result == json.loads(body)


def test_without_access_to_the_settings_the_limits_of_lambda_apply() -> None:
    with ScriptedLambda(silent, timeout=None) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        target = LambdaTarget(ARN, None, None)
        assert (target.own_timeout, target.timeout) == (None, 300.0)
        assert target._client.meta.config.read_timeout == 915.0
        target.close()


def test_the_read_timeout_is_that_of_the_function_and_a_margin() -> None:
    with ScriptedLambda(silent, timeout=120) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        target = LambdaTarget(ARN, None, 10.0)
        assert (target.own_timeout, target.timeout) == (120.0, 10.0)
        assert target._client.meta.config.read_timeout == 135.0
        assert target._client.meta.config.tcp_keepalive is True
        target.close()


class FlakyTarget:
    """Fails with an error a number of times before it returns a result."""

    name, arn, timeout, fingerprint = "flaky", None, 1.0, ""

    def __init__(self, failures: int, **error: Any) -> None:
        self.failures, self.error, self.calls = failures, RewardError("failed", **error), 0

    def invoke(self, event: object) -> Outcome:
        self.calls += 1
        return Outcome(event, 0.0, error=self.error if self.calls <= self.failures else None)

    def close(self) -> None:
        pass


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(_: float) -> None:
        pass

    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)


@pytest.mark.usefixtures("instant")
def test_a_busy_function_is_invoked_again_and_a_lost_connection_a_few_times() -> None:
    busy = FlakyTarget(12, code="busy")
    assert invoke_until_accepted(busy, 7).unwrap() == 7
    assert busy.calls == 13
    lost = FlakyTarget(12, code="busy", cause=CONNECTION_LOST)
    with pytest.raises(RewardError):
        invoke_until_accepted(lost, 7).unwrap()
    assert lost.calls == 5
    broken = FlakyTarget(1, code="raised")
    with pytest.raises(RewardError):
        invoke_until_accepted(broken, 7).unwrap()
    assert broken.calls == 1
