"""An independent verifier accepts every signature; requests to another origin are not signed."""

from __future__ import annotations

import asyncio
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from botocore.credentials import Credentials
from hypothesis import example, given
from hypothesis import strategies as st

from bedrock_rft import Client, ConfigurationError, SigV4Auth
from bedrock_rft.local import LocalService
from bedrock_rft.local._http.signature import Credential, InvalidSignatureError, verify

HOST = "http://127.0.0.1:9"
BASE = f"{HOST}/v1"
KEY, SECRET, TOKEN = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "session/token+with=odd~characters"


def verify_request(
    request: httpx.Request, body: bytes, *, token: str | None = TOKEN, now: datetime | None = None
) -> str:
    """Verify the raw target and headers of a request, and return the access key."""
    path, _, query = request.url.raw_path.partition(b"?")
    return verify(
        request.method,
        path,
        query,
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw],
        hashlib.sha256(body).hexdigest(),
        lookup={KEY: Credential(KEY, SECRET, token)}.get,
        region="us-west-2",
        now=now or datetime.now(timezone.utc),
    )


def verifying_transport(accepted: list[bytes], **options: Any) -> httpx.MockTransport:
    """Return a transport that verifies each request, and responds with 200 or the verifier's error."""

    def answer(request: httpx.Request) -> httpx.Response:
        body = request.read()
        try:
            verify_request(request, body, **options)
        except InvalidSignatureError as refused:
            return httpx.Response(refused.status, json={"error": {"code": refused.code, "message": refused.message}})
        accepted.append(body)
        return httpx.Response(200, json={})

    return httpx.MockTransport(answer)


def make_auth(token: str | None = TOKEN) -> SigV4Auth:
    return SigV4Auth("us-west-2", credentials=Credentials(KEY, SECRET, token), base_url=BASE)


OPTIONAL = "!$&'()*+,;=:@"  # allowed in a path unescaped or escaped

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
header_names = st.from_regex(r"x-[a-z][a-z0-9-]{0,15}", fullmatch=True).filter(
    lambda name: not name.startswith("x-amz")
)
header_values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
tokens = st.none() | st.from_regex(r"[A-Za-z0-9+/=]{1,200}", fullmatch=True)


@given(
    method=st.sampled_from(["GET", "POST", "DELETE"]),
    segments=st.lists(text.filter(lambda part: part not in {"", ".", ".."} and "/" not in part), max_size=4),
    query=st.lists(st.tuples(text, text), max_size=5),
    headers=st.dictionaries(header_names, header_values, max_size=4),
    body=st.binary(max_size=200),
    token=tokens,
)
@example("GET", ["a b", "ü+%2F*~'()"], [("b", "2"), ("a", "1"), ("a", "0"), ("", "x"), ("c", "")], {}, b"", None)
@example("POST", ["x"], [("q", "1+1 =2&3?"), ("Q", "é")], {"x-odd": "  a   b  ", "x-empty": ""}, b"\x00", "t" * 200)
def test_every_signed_request_is_accepted(
    method: str,
    segments: list[str],
    query: list[tuple[str, Any]],
    headers: dict[str, str],
    body: bytes,
    token: str | None,
) -> None:
    accepted: list[bytes] = []
    path = "/v1/" + "/".join(quote(part, safe=OPTIONAL) for part in segments)
    with httpx.Client(auth=make_auth(token), transport=verifying_transport(accepted, token=token)) as http:
        response = http.request(method, HOST + path, params=query, headers=headers, content=body)
    assert response.status_code == 200, response.text
    assert accepted == [body]


@pytest.mark.parametrize("path", ["/v1//models/", "/v1/./models", "/v1/files/../models//", "/..", "//", "/v1/%2e%2e/a"])
def test_empty_and_dot_segments_are_signed_as_the_service_reads_them(path: str) -> None:
    accepted: list[bytes] = []
    with httpx.Client(auth=make_auth(), transport=verifying_transport(accepted)) as http:
        request = http.build_request("GET", HOST)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert http.send(request).status_code == 200
    assert accepted == [b""]


@pytest.mark.parametrize("change", ["method", "path", "query", "header", "token", "body", "date"])
def test_every_change_after_signing_is_refused(change: str) -> None:
    sent: list[httpx.Request] = []

    def keep(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    with httpx.Client(auth=make_auth(), transport=httpx.MockTransport(keep)) as http:
        http.post(f"{BASE}/files", params={"a": "1"}, headers={"OpenAI-Project": "proj_a"}, content=b"body")
    request, body = sent[0], b"body"
    assert verify_request(request, body) == KEY
    if change == "method":
        request.method = "PUT"
    elif change == "path":
        request.url = request.url.copy_with(path="/v1/other")
    elif change == "query":
        request.url = request.url.copy_set_param("a", "2")
    elif change == "header":
        request.headers["OpenAI-Project"] = "proj_b"
    elif change == "token":
        request.headers["X-Amz-Security-Token"] = "another"
    elif change == "date":
        request.headers["X-Amz-Date"] = "20200101T000000Z"
    with pytest.raises(InvalidSignatureError):
        verify_request(request, b"other" if change == "body" else body)


def stream() -> Iterator[bytes]:
    yield from (b"a" * 70_000, b"b" * 3)


async def stream_async() -> AsyncIterator[bytes]:
    for chunk in stream():
        yield chunk


def test_streamed_bodies_are_signed_with_their_hash() -> None:
    accepted: list[bytes] = []
    with httpx.Client(auth=make_auth(), transport=verifying_transport(accepted)) as http:
        assert http.post(f"{BASE}/files", content=stream()).status_code == 200
        files = {"file": ("a.jsonl", io.BytesIO(b"{}\n"), "application/jsonl")}
        assert http.post(f"{BASE}/files", data={"purpose": "fine-tune"}, files=files).status_code == 200
    assert accepted[0] == b"".join(stream())
    assert b"{}\n" in accepted[1]


@pytest.mark.anyio
async def test_async_streamed_bodies_are_signed_with_their_hash() -> None:
    accepted: list[bytes] = []
    async with httpx.AsyncClient(auth=make_auth(), transport=verifying_transport(accepted)) as http:
        assert (await http.post(f"{BASE}/files", content=stream_async())).status_code == 200
        assert (await http.get(f"{BASE}/models")).status_code == 200
    assert accepted == [b"".join(stream()), b""]


def test_signing_works_over_sockets_in_other_clients() -> None:
    with LocalService() as service:
        options = service.client_options()
        auth = SigV4Auth(options["region"], credentials=options["credentials"], base_url=options["base_url"])
        assert auth.base_url == service.base_url
        with httpx.Client(base_url=auth.base_url, auth=auth) as http:
            assert http.get("/models").json()["object"] == "list"
            assert http.get("/files", params={"purpose": "a b+c'*~é"}).status_code == 200
            assert http.post("/files", content=stream(), headers={"content-type": "text/x"}).status_code == 415

        async def asked() -> int:
            async with httpx.AsyncClient(base_url=auth.base_url, auth=auth) as other:
                return (await other.get("/models")).status_code

        assert asyncio.run(asked()) == 200


def test_a_request_to_another_origin_is_not_signed() -> None:
    with httpx.Client(auth=make_auth(), transport=verifying_transport([])) as http:
        for url in ("http://127.0.0.1:10/v1/models", "https://127.0.0.1:9/v1/models", "http://localhost:9/v1/models"):
            with pytest.raises(ConfigurationError, match="Refusing to sign"):
                http.get(url)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_a_wrong_clock_is_corrected_from_the_response(minutes: int) -> None:
    accepted: list[int] = []
    theirs = timedelta(minutes=minutes)

    def answer(request: httpx.Request) -> httpx.Response:
        now = datetime.now(timezone.utc) + theirs
        try:
            verify_request(request, request.read(), now=now)
        except InvalidSignatureError as refused:
            return httpx.Response(
                refused.status, headers={"Date": format_datetime(now, usegmt=True)}, text=refused.message
            )
        accepted.append(1)
        return httpx.Response(200)

    with httpx.Client(auth=make_auth(), transport=httpx.MockTransport(answer)) as http:
        assert [http.get(f"{BASE}/models").status_code for _ in range(2)] == [200, 200]
    assert len(accepted) == 2


@pytest.mark.anyio
async def test_a_wrong_clock_is_corrected_for_all_concurrent_requests() -> None:
    barrier = asyncio.Barrier(6) if hasattr(asyncio, "Barrier") else None
    theirs = timedelta(hours=1)

    async def answer(request: httpx.Request) -> httpx.Response:
        now = datetime.now(timezone.utc) + theirs
        try:
            verify_request(request, await request.aread(), now=now)
        except InvalidSignatureError:
            if barrier is not None:
                await barrier.wait()  # all are refused before the first is signed again
            return httpx.Response(403, headers={"Date": format_datetime(now, usegmt=True)})
        return httpx.Response(200)

    async with httpx.AsyncClient(auth=make_auth(), transport=httpx.MockTransport(answer)) as http:
        answers = await asyncio.gather(*(http.get(f"{BASE}/models") for _ in range(6)))
    assert [one.status_code for one in answers] == [200] * 6


def test_a_header_outside_ascii_is_sent_unsigned() -> None:
    accepted: list[bytes] = []
    with httpx.Client(auth=make_auth(), transport=verifying_transport(accepted)) as http:
        assert http.get(f"{BASE}/models", headers=[(b"x-name", "é".encode())]).status_code == 200


def test_the_old_date_of_a_cached_response_does_not_change_the_clock() -> None:
    requests: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request.headers["x-amz-date"])
        return httpx.Response(403, headers={"Date": "Mon, 01 Jan 2024 00:00:00 GMT", "Age": "600"})

    with httpx.Client(auth=make_auth(), transport=httpx.MockTransport(answer)) as http:
        assert http.get(f"{BASE}/models").status_code == 403
    assert len(requests) == 1
    assert not requests[0].startswith("2024")


class Rotating:
    """A provider of rotated credentials; the old ones are revoked."""

    def __init__(self) -> None:
        self.asked = 0

    def get_frozen_credentials(self) -> Any:
        self.asked += 1
        return Credentials("AKIDOLD" if self.asked == 1 else KEY, SECRET, TOKEN)


def test_rotated_credentials_are_used_at_once() -> None:
    provider = Rotating()

    def answer(request: httpx.Request) -> httpx.Response:
        try:
            verify_request(request, request.read())
        except InvalidSignatureError:
            return httpx.Response(403, json={"__type": "ExpiredTokenException", "message": "The token has expired"})
        return httpx.Response(200)

    auth = SigV4Auth("us-west-2", credentials=provider, base_url=BASE)
    with httpx.Client(auth=auth, transport=httpx.MockTransport(answer)) as http:
        assert http.get(f"{BASE}/models").status_code == 200
        assert http.get(f"{BASE}/models").status_code == 200
    assert provider.asked >= 3


def test_no_log_shows_a_token(caplog: pytest.LogCaptureFixture) -> None:
    with LocalService() as service, caplog.at_level(logging.DEBUG):
        options = service.client_options()
        with Client(**options) as client:
            list(client.models.list())
        credentials = options["credentials"]
        assert caplog.text
        assert credentials.token not in caplog.text
        assert credentials.secret_key not in caplog.text
