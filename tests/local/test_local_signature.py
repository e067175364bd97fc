"""The signature check with AWS's published examples, with botocore as the signer, and with invalid signatures."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft.local._http import signature as _signature
from bedrock_rft.local._http.signature import (
    Credential,
    InvalidSignatureError,
    verify,
    verify_short_term_key,
)

Headers = list[tuple[str, str]]

EMPTY = hashlib.sha256().hexdigest()
CREDENTIAL = Credential("LOCALEXAMPLE", "a secret/+=", "a token/+==")
SCOPE = "LOCALEXAMPLE/20250101/us-west-2/bedrock-mantle/aws4_request"
HOST = "127.0.0.1:8080"


def signed(
    method: str = "GET",
    target: str = "/v1/models",
    body: bytes = b"",
    *,
    service: str = "bedrock-mantle",
    custom: str = "1",
) -> Headers:
    """Return the headers that botocore sends."""
    request: Any = AWSRequest(
        method=method, url=f"http://{HOST}{target}", data=body, headers={"Host": HOST, "X-Custom": custom}
    )
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body).hexdigest()
    credentials = Credentials(CREDENTIAL.access_key, CREDENTIAL.secret_key, CREDENTIAL.token)
    signer: Any = SigV4Auth(credentials, service, "us-west-2")
    signer.add_auth(request)
    return list(request.headers.items())


def check(headers: Headers, method: str = "GET", target: str = "/v1/models", body: bytes = b"", **other: Any) -> str:
    parts = urlsplit(target)
    settings: dict[str, Any] = {
        "lookup": {CREDENTIAL.access_key: CREDENTIAL}.get,
        "region": "us-west-2",
        "now": datetime.now(timezone.utc),
        **other,
    }
    digest = hashlib.sha256(body).hexdigest()
    return verify(method, parts.path.encode(), parts.query.encode(), headers, digest, **settings)


def changed(headers: Headers, name: str, value: str | None) -> Headers:
    kept = [(key, old) for key, old in headers if key.lower() != name.lower()]
    return kept if value is None else [*kept, (name, value)]


def nobody(_key: str) -> None:
    return None


def refusal(headers: Headers, **other: Any) -> InvalidSignatureError:
    with pytest.raises(InvalidSignatureError) as caught:
        check(headers, **other)
    return caught.value


UNRESERVED = b"-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# AWS's published test suite for Signature Version 4: its key, its date, its service.
SUITE: dict[str, tuple[str, bytes, bytes, Headers, str]] = {
    "get-vanilla": (
        "GET", b"/", b"", [],
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "post-vanilla": (
        "POST", b"/", b"", [],
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "get-slash-dot-slash": (
        "GET", b"/./", b"", [],
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-relative-relative": (
        "GET", b"/example1/example2/../..", b"", [],
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    "get-slashes": (
        "GET", b"//example//", b"", [],
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", b"/", b"Param2=value2&Param1=value1", [],
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-unreserved": (
        "GET", b"/",
        UNRESERVED + b"=" + UNRESERVED,
        [],
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-header-key-duplicate": (
        "GET", b"/", b"", [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-trim": (
        "GET", b"/", b"", [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')],
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUITE)
def test_aws_published_examples(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method, path, query, extra, signature = SUITE[name]
    monkeypatch.setattr(_signature, "SERVICE", "service")
    names = ";".join(sorted({"host", "x-amz-date", *(key.lower() for key, _ in extra)}))
    scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
    headers = [
        ("Host", "example.amazonaws.com"),
        *extra,
        ("X-Amz-Date", "20150830T123600Z"),
        ("Authorization", f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature={signature}"),
    ]
    key = Credential("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
    now = datetime(2015, 8, 30, 12, 36, tzinfo=timezone.utc)
    assert (
        verify(method, path, query, headers, EMPTY, lookup=lambda _: key, region="us-east-1", now=now) == "AKIDEXAMPLE"
    )


def test_signatures_of_botocore_are_valid() -> None:
    assert check(signed()) == CREDENTIAL.access_key
    assert check(signed("POST", "/v1/files?a=b", b"body"), "POST", "/v1/files?a=b", b"body") == CREDENTIAL.access_key


@pytest.mark.parametrize("path", ["/v1/models/local-ft:a:step-1", "/v1/models/local-ft%3Aa", "/v1/x/a,b;c=d@e!"])
def test_a_path_with_characters_that_may_stay_raw_is_verified_as_it_is_signed(path: str) -> None:
    assert check(signed(target=path), target=path) == CREDENTIAL.access_key
    assert refusal(signed(target=path), target=f"{path}x").status == 401


segment = st.text(min_size=1, max_size=8).filter(lambda text: text not in {".", ".."})
value = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@given(
    path=st.lists(segment, max_size=4),
    query=st.lists(st.tuples(segment, st.text(max_size=6)), max_size=4),
    header=value,
    body=st.binary(max_size=30),
    method=st.sampled_from(["GET", "POST", "DELETE"]),
)
def test_signer_and_verifier_agree(
    path: list[str], query: list[tuple[str, str]], header: str, body: bytes, method: str
) -> None:
    target = "/v1/" + "/".join(quote(part.encode("utf-8", "replace"), safe="") for part in path)
    pairs = [
        f"{quote(a.encode('utf-8', 'replace'), safe='')}={quote(b.encode('utf-8', 'replace'), safe='')}"
        for a, b in query
    ]
    target += "?" + "&".join(pairs) if pairs else ""
    headers = signed(method, target, body, custom=header)
    assert check(headers, method, target, body) == CREDENTIAL.access_key
    with pytest.raises(InvalidSignatureError):
        check(headers, method, target + ("&" if pairs else "?") + "more=1", body)
    with pytest.raises(InvalidSignatureError):
        check(headers, method, target, body + b"!")


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256", "x-custom"])
def test_a_changed_header_is_refused(name: str) -> None:
    headers = signed()
    assert refusal(changed(headers, name, "something else")).status in {401, 403}
    assert refusal(changed(headers, name, None)).status == 401


def test_another_method_path_or_query_is_refused() -> None:
    headers = signed()
    for other in ({"method": "DELETE"}, {"target": "/v1/files"}, {"target": "/v1/models?limit=1"}):
        assert "does not match the signature you provided" in refusal(headers, **other).message


def test_another_service_is_named() -> None:
    refused = refusal(signed(service="mantle"))
    assert refused.status == 401
    assert refused.message == "Credential should be scoped to correct service: 'bedrock-mantle'."


def test_another_region_is_refused() -> None:
    assert "scoped to a valid region, not 'us-west-2'" in refusal(signed(), region="us-east-1").message


def test_an_unknown_key_and_a_wrong_secret_are_refused() -> None:
    assert refusal(signed(), lookup=nobody).code == "UnrecognizedClientException"
    other = Credential(CREDENTIAL.access_key, "another secret", CREDENTIAL.token)
    assert refusal(signed(), lookup={CREDENTIAL.access_key: other}.get).status == 401


@pytest.mark.parametrize("minutes", [-6, 6])
def test_clocks_may_differ_by_five_minutes(minutes: int) -> None:
    now = datetime.now(timezone.utc) + timedelta(minutes=minutes)
    refused = refusal(signed(), now=now)
    assert refused.status == 403
    assert refused.code == "InvalidSignatureException"
    assert ("Signature expired" if minutes > 0 else "Signature not yet current") in refused.message
    assert check(signed(), now=datetime.now(timezone.utc) + timedelta(minutes=minutes * 0.7)) == CREDENTIAL.access_key


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic dXNlcjpwYXNz",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request",
        "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=00",
        "AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature=",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=x-amz-date;host, Signature=00",
        "AWS4-HMAC-SHA256 Signature=1, Signature=2, Credential=a/b/c/d/aws4_request, SignedHeaders=host",
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=\udcff, Signature=\udcff",
    ],
)
def test_malformed_authorization_headers_are_refused(authorization: str | None) -> None:
    assert refusal(changed(signed(), "Authorization", authorization)).status == 401


def test_malformed_dates_are_refused() -> None:
    for stamp in ("20251399T000000Z", "yesterday", "２０２５０１０１T000000Z", ""):
        assert refusal(changed(signed(), "X-Amz-Date", stamp)).status == 401


def test_a_credential_shows_no_secret() -> None:
    assert repr(CREDENTIAL) == "Credential('LOCALEXAMPLE')"


# Short-term API keys


def minted(
    credential: Credential = CREDENTIAL, region: str = "us-west-2", expiry: timedelta = timedelta(hours=1)
) -> str:
    """Return a key as AWS's own generator makes it."""
    from aws_bedrock_token_generator import provide_token

    class Provider:
        def load(self) -> Any:
            return Credentials(credential.access_key, credential.secret_key, credential.token)

    provider: Any = Provider()
    key: str = provide_token(region, provider, expiry)
    return key


def check_key(key: str, **settings: Any) -> str:
    options: dict[str, Any] = {
        "lookup": {CREDENTIAL.access_key: CREDENTIAL}.get,
        "region": "us-west-2",
        "now": datetime.now(timezone.utc),
        **settings,
    }
    return verify_short_term_key(key, **options)


def test_a_short_term_key_of_a_known_credential_is_valid() -> None:
    assert check_key(minted()) == CREDENTIAL.access_key
    permanent = Credential("LOCALOTHER", "secret")
    assert check_key(minted(permanent), lookup={permanent.access_key: permanent}.get) == permanent.access_key


def test_other_short_term_keys_are_refused() -> None:
    good = minted()
    later = datetime.now(timezone.utc) + timedelta(hours=2)
    text = base64.b64decode(good.removeprefix("bedrock-api-key-")).decode()

    def encoded(changed: str) -> str:
        return "bedrock-api-key-" + base64.b64encode(changed.encode()).decode()

    cases: list[tuple[str, dict[str, Any]]] = [
        (good, {"now": later}),
        (good, {"region": "us-east-1"}),
        (good, {"lookup": nobody}),
        (minted(Credential(CREDENTIAL.access_key, "another secret", CREDENTIAL.token)), {}),
        (minted(Credential(CREDENTIAL.access_key, CREDENTIAL.secret_key, "another token")), {}),
        (encoded(text.replace("X-Amz-Expires=3600", "X-Amz-Expires=36000")), {}),
        (encoded(text.replace("CallWithBearerToken", "Other")), {}),
        (encoded(text.replace("bedrock.amazonaws.com", "sts.amazonaws.com")), {}),
        (encoded(text.partition("&X-Amz-Signature")[0]), {}),
        (encoded(text + "&More=1"), {}),
        ("bedrock-api-key-", {}),
        ("bedrock-api-key-%%%", {}),
        ("bedrock-api-key-w6k=", {}),
    ]
    for key, options in cases:
        with pytest.raises(InvalidSignatureError) as caught:
            check_key(key, **options)
        assert caught.value.status == 401
        assert caught.value.code == "invalid_api_key"
