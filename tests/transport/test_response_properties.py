"""Any response is parsed, or raises an exception of this package."""

from __future__ import annotations

import base64
import itertools
import json
import logging
import math
import pickle
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.fake_secrets import IDENTITIES, SECRET, SHORT, find_secrets
from support.fault_server import Exchange, Faults, always

from bedrock_rft import Client, ConfigurationError, Event, File, Job, LambdaArn
from bedrock_rft._auth import api_key as keys
from bedrock_rft._auth import endpoint
from bedrock_rft._auth.config import Config, resolve
from bedrock_rft._core.redaction import Secret
from bedrock_rft._transport.retry import backoff_seconds, is_retryable, is_throttled
from bedrock_rft._transport.status_errors import map_status_error, parse_response, retry_after
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIError, APIResponseError
from bedrock_rft.local import LocalService
from bedrock_rft.types import Page
from bedrock_rft.types.errors import ErrorEnvelope

T = TypeVar("T")

thorough = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
brief = settings(thorough, max_examples=25)

text = st.text(max_size=40)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=10
)
NAMES = [
    "id", "object", "status", "created_at", "finished_at", "error", "code", "message", "param", "type", "__type",
    "Message", "data", "has_more", "first_id", "last_id", "method", "reinforcement", "grader", "hyperparameters",
    "metadata", "step", "critic_rewards_mean", "bytes", "filename", "training_file", "level", "lambda", "function",
]  # fmt: skip
shaped = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8),
    max_leaves=20,
)
bodies = st.binary(max_size=200) | (anything | shaped).map(lambda value: json.dumps(value).encode())
headers = st.dictionaries(
    st.sampled_from(["x-request-id", "retry-after", "date", "content-type", "x-amzn-errortype", "location"]),
    st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60),
)
CALL = Request("GET", "/models", repeatable=True)


@pytest.fixture(scope="module")
def config() -> Config:
    return resolve(region="us-west-2", base_url="http://127.0.0.1:9/v1", **IDENTITIES["long"]())


# Responses


@thorough
@given(body=bodies, kind=st.sampled_from([Job, File, Event, Page[Event], Page[Job], ErrorEnvelope]))
@example(body=b"\xff\xfe{}", kind=Job)
@example(body=b"[" * 5000, kind=Page[Event])
@example(body=b'{"id": "\\ud800"}', kind=Job)
@example(body=b'{"created_at": 1e400}', kind=Job)
def test_any_body_is_parsed_or_has_no_value(body: bytes, kind: Any) -> None:
    try:
        found = kind.read(body)
    except ValueError:
        return
    assert isinstance(found, kind)
    found.model_dump_json()
    assert pickle.loads(pickle.dumps(found)) is not None  # noqa: S301 - pickled here


@thorough
@given(body=bodies, status=st.sampled_from([200, 201, 204]), top=headers)
@example(body=b'{"id": ""}', status=200, top={})
def test_any_success_is_parsed_or_raises_a_response_error(
    config: Config, body: bytes, status: int, top: dict[str, str]
) -> None:
    try:
        job = parse_response(Job, Response(status, top, body), CALL, config)
    except APIResponseError as error:
        check_message(error)
    else:
        assert job.id


@thorough
@given(body=bodies, status=st.integers(300, 599), top=headers)
@example(body=f"Bearer {SHORT} {SECRET}".encode(), status=401, top={"x-request-id": f"Bearer {SHORT}"})
@example(body=b"<!doctype html><title>\x1b[31m\r\nlog in</title>", status=502, top={})
@example(body=b'{"error": {"code": "\\u0000", "message": "\\n\\u001b"}}', status=400, top={})
@example(body=b"\x00\t\x00", status=400, top={})
@example(body=b"", status=302, top={"location": "http://[::1"})
def test_any_error_response_raises_a_printable_error(
    config: Config, body: bytes, status: int, top: dict[str, str]
) -> None:
    error = map_status_error(Response(status, top, body), CALL, config)
    check_message(error)
    assert find_secrets(str(error).replace(SECRET, "")) == []


def check_message(error: APIError) -> None:
    said = str(error)
    assert 0 < len(said) <= 2000
    assert not [each for each in said if ord(each) < 32 or 127 <= ord(each) < 160 or each in "\u2028\u2029"]
    assert str(pickle.loads(pickle.dumps(error))) == said  # noqa: S301 - pickled here


@thorough
@given(stated=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40) | st.floats().map(str))
@example(stated="9" * 400)
@example(stated="Thu, 01 Jan 1970 00:00:00 GMT")
@example(stated="Fri, 31 Dec 9999 23:59:59 -2359")
@example(stated="٣")
def test_retry_after_is_not_negative_or_none(stated: str) -> None:
    for status in (429, 503):
        reply = Response(status, {"retry-after": stated}, b"")
        found = retry_after(reply)
        assert found is None or (0 < found < math.inf)
        assert 0 <= backoff_seconds(reply, 3) < math.inf
        assert is_retryable(CALL, reply, 1) == (found is None or found <= 120)
        assert is_throttled(reply) == (status == 429)


@thorough
@given(seconds=st.integers(1, 10**6))
def test_retry_after_as_a_date_equals_seconds(seconds: int) -> None:
    then = datetime.now(timezone.utc) + timedelta(seconds=seconds + 0.5)
    found = retry_after(Response(429, {"retry-after": format_datetime(then, usegmt=True)}, b""))
    assert found is not None or seconds == 1
    assert abs((found or 0) - seconds) < 2


# Pages


class ScriptedTransport:
    """A transport that returns a given response."""

    region = "us-west-2"

    def __init__(self, answers: list[bytes]) -> None:
        self.answers = iter(answers)
        self.asked = 0

    async def send(self, call: Request) -> Response:
        assert call.method == "GET"
        self.asked += 1
        return Response(200, {}, next(self.answers, b'{"data": []}'))

    async def sleep(self, seconds: float) -> None:
        pass

    async def run(self, work: Callable[[], T]) -> T:
        return work()

    async def close(self) -> None:
        pass

    def openai(self, *, max_retries: int, blocking: bool) -> Any:
        raise NotImplementedError


ids = st.sampled_from(["a", "b", "c", "d", "", "../x", "e\n"])
events = st.fixed_dictionaries(
    {}, optional={"id": ids, "created_at": st.integers(0, 3), "message": text, "data": anything, "type": text}
)
pages = st.fixed_dictionaries(
    {}, optional={"data": st.lists(events, max_size=4), "has_more": st.booleans(), "last_id": ids, "object": text}
)


@thorough
@given(answers=st.lists(pages, max_size=6))
@example(answers=[{"data": [{"id": "a"}], "has_more": True}] * 6)
def test_pages_of_any_shape_end_without_repeating_items(answers: list[Any]) -> None:
    carrier = ScriptedTransport([json.dumps(page).encode() for page in answers])
    with Client(transport=carrier) as client:
        try:
            found = list(client.jobs.events("j"))
        except APIResponseError:
            assert any("data" not in page for page in answers)
            return
    named = [event.id for event in found if event.id]
    assert len(named) == len(set(named))
    assert carrier.asked <= len(answers) + 1
    data: list[dict[str, Any]] = answers[0].get("data", []) if answers else []
    first = [event.get("id", "") for event in data]
    assert set(first) - {""} <= set(named)
    assert [event.id for event in found].count("") >= first.count("")


# Arguments

ARNS = st.from_regex(r"arn:aws[a-z-]*:lambda:[a-z0-9-]*:\d*:function:\S*", fullmatch=True)


@thorough
@given(
    given_=st.text(max_size=80) | st.from_regex(r"arn:aws[a-z-]*:lambda:[a-z0-9-]*:\d*:function:\S*", fullmatch=True)
)
def test_any_text_is_a_valid_arn_or_is_refused(given_: str) -> None:
    try:
        arn = LambdaArn(given_)
    except ConfigurationError:
        return
    parts = ["arn", arn.aws_partition, "lambda", arn.region, arn.account, "function", arn.name]
    assert ":".join([*parts, *([arn.qualifier] if arn.qualifier else [])]) == given_
    assert LambdaArn(str(arn)) == arn


@thorough
@given(
    partition=st.sampled_from(["aws", "aws-us-gov", "aws-cn"]),
    region=st.sampled_from(["us-west-2", "us-gov-west-1", "cn-north-1", "ap-southeast-5"]),
    account=st.from_regex(r"[0-9]{12}", fullmatch=True),
    name=st.from_regex(r"[a-zA-Z0-9_-]{1,64}", fullmatch=True),
    qualifier=st.none() | st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True) | st.just("$LATEST"),
)
def test_an_arn_keeps_its_parts(partition: str, region: str, account: str, name: str, qualifier: str | None) -> None:
    whole = f"arn:{partition}:lambda:{region}:{account}:function:{name}" + (f":{qualifier}" if qualifier else "")
    arn = LambdaArn(whole)
    assert (arn.aws_partition, arn.region, arn.account, arn.name) == (partition, region, account, name)
    assert arn.qualifier == qualifier


@thorough
@given(inside=st.binary(max_size=120) | st.text(max_size=120).map(lambda given_: given_.encode("utf-8", "replace")))
@example(inside=b"?X-Amz-Credential=a/b/us-west-2&X-Amz-Date=20260101T000000Z&X-Amz-Expires=99999999999999999999")
@example(inside=b"?X-Amz-Credential=a/b&X-Amz-Date=20260101T000000Z&X-Amz-Expires=1")
def test_short_term_keys_with_any_content_are_parsed_or_refused(inside: bytes) -> None:
    wrapped = base64.b64encode(inside).decode()
    for spelled in (wrapped, wrapped.rstrip("="), inside.decode("latin-1")):
        about = keys.parse_key(f"bedrock-api-key-{spelled}")
        assert about.kind == "short-term"
        assert about.expires_at is None or about.expires_at.tzinfo is not None


@thorough
@given(since=st.integers(0, 2 * 10**9), lasting=st.integers(1, 43200))
def test_the_expiry_of_a_short_term_key_is_parsed(since: int, lasting: int) -> None:
    made = datetime(2020, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=since)
    url = (
        f"bedrock.amazonaws.com/?X-Amz-Credential=A%2F{made:%Y%m%d}%2Feu-west-1%2Fbedrock%2Faws4_request"
        f"&X-Amz-Date={made:%Y%m%dT%H%M%SZ}&X-Amz-Expires={lasting}"
    )
    about = keys.parse_key("bedrock-api-key-" + base64.b64encode(url.encode()).decode())
    assert about.region == "eu-west-1"
    assert about.expires_at is not None
    assert about.expires_at - made == timedelta(seconds=lasting)


@thorough
@given(key=st.text(max_size=60) | st.binary(max_size=10) | st.integers())
def test_a_key_is_valid_in_a_header_or_is_refused(key: Any) -> None:
    try:
        found = keys.validate_key(Secret(key), "api_key").reveal()
    except ConfigurationError as error:
        said = str(error)
        assert len(str(key)) < 12 or str(key) not in said
    else:
        assert found.isascii()
        assert found.isprintable()
        assert not set(found) & set(" \r\n\t")


@thorough
@given(url=text | st.from_regex(r"https?://[a-zA-Z0-9.@:%\[\]-]{1,30}(/[\w./?#%-]{0,20})?", fullmatch=True))
@example(url="https://bedrock-mantle.us-west-2.api.aws@evil.example/v1")
@example(url="http://[::1]:8080/v1")
def test_an_address_is_safe_or_is_refused(url: str) -> None:
    try:
        found = endpoint.base_url(url, "base_url")
    except ConfigurationError:
        return
    assert endpoint.base_url(found, "base_url") == found
    assert "@" not in found
    assert found.startswith("https://") or endpoint.is_loopback(endpoint._host_name(found))


# Streams, as `client.openai` reads them


class Streaming:
    """A server with a scripted response to a chat request."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.server = Faults()
        self.server.script("POST", "/chat/completions", always(self._answer))

    def _answer(self, exchange: Exchange) -> None:
        exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in self.pieces:
            if piece:
                exchange.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        exchange.write(b"0\r\n\r\n")


@pytest.fixture(scope="module", params=["long", "aws"])
def streaming(request: pytest.FixtureRequest) -> Iterator[tuple[Streaming, Any]]:
    made = Streaming()
    given_: dict[str, Any] = {"region": "us-west-2", "base_url": made.server.base_url, **IDENTITIES[request.param]()}
    with made.server, Client(**given_) as client:
        yield made, client.openai


lines_end = st.sampled_from(["\n", "\r\n"])
extras = st.sampled_from(["", ": comment", "event: message", "id: 7", "retry: 10", "unknown: field", ": \u2028"])


@brief
@given(
    said=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=8),
    end=lines_end,
    extra=extras,
    space=st.sampled_from(["", " "]),
    done=st.booleans(),
    unknown=st.dictionaries(st.sampled_from(["new", "x-y"]), st.none() | st.integers() | text, max_size=2),
    cuts=st.lists(st.integers(0, 4000), max_size=12),
)
def test_a_stream_has_the_same_content_however_it_is_split(
    streaming: tuple[Streaming, Any],
    said: list[str],
    end: str,
    extra: str,
    space: str,
    done: bool,
    unknown: dict[str, Any],
    cuts: list[int],
) -> None:
    server, client = streaming
    blocks: list[str] = []
    for part in said:
        chunk = {
            "id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", **unknown,
            "choices": [{"index": 0, "delta": {"content": part, **unknown}, "finish_reason": None}],
        }  # fmt: skip
        lines = [*([extra] if extra else []), f"data:{space}{json.dumps(chunk, ensure_ascii=False, allow_nan=False)}"]
        blocks.append(end.join(lines) + end * 2)
    if done:
        blocks.append(f"data: [DONE]{end * 2}")
    body = "".join(blocks).encode()
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    server.pieces = [body[start:stop] for start, stop in itertools.pairwise(places)]
    chunks = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "?"}], stream=True)
    assert [chunk.choices[0].delta.content for chunk in chunks] == said


# The local service


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    with LocalService() as found:
        yield found


def requests(service: LocalService) -> Callable[[list[tuple[int, bytes, str]]], bytes]:
    """Return a function that damages a valid request by overwriting, inserting or deleting pieces."""
    host = service.base_url.split("/")[2]
    key = service.client_options("api_key")["api_key"]
    sound = (
        f"POST /v1/fine_tuning/jobs HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        '{"model": "m" }'
    ).encode()

    def damaged(how: list[tuple[int, bytes, str]]) -> bytes:
        content = sound
        for place, piece, way in how:
            at = place % len(content) if content else 0
            after = at if way == "insert" else at + len(piece)
            content = content[:at] + (b"" if way == "delete" else piece) + content[after:]
        return content

    return damaged


ways = st.sampled_from(["insert", "write", "delete"])
pieces = st.binary(min_size=1, max_size=6) | st.sampled_from(
    [
        b"\r\n",
        b"\n",
        b"\r",
        b"\x00",
        b": ",
        b" ",
        b"\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
    ]
)
damage = st.lists(st.tuples(st.integers(0, 400), pieces, ways), min_size=1, max_size=4)


@thorough
@given(how=damage, noise=st.none() | st.binary(max_size=200))
def test_the_local_service_works_after_any_request(
    service: LocalService, caplog: pytest.LogCaptureFixture, how: list[tuple[int, bytes, str]], noise: bytes | None
) -> None:
    host, port = service.base_url.split("/")[2].split(":")
    sound = requests(service)
    with caplog.at_level(logging.ERROR), socket.create_connection((host, int(port)), timeout=10) as peer:
        answer = b""
        try:
            peer.sendall(sound(how) if noise is None else noise)
            peer.shutdown(socket.SHUT_WR)
            while chunk := peer.recv(65536):
                answer += chunk
        except ConnectionError:
            pass
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    for word in (b"Traceback", b".py", b"File "):
        assert word not in answer
    assert caplog.records == []
    with socket.create_connection((host, int(port)), timeout=10) as peer:
        peer.sendall(sound([]))
        assert peer.recv(65536).startswith(b"HTTP/1.1 400")
