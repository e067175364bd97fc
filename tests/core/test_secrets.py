"""No secret is in the repr of an object, an error, a traceback with variables, a pickle, or in memory after closing."""

from __future__ import annotations

import asyncio
import gc
import pickle
import pprint
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest
from rich.pretty import pretty_repr
from support import fault_server as faults
from support.fake_secrets import (
    ACCESS_KEY,
    IDENTITIES,
    LONG,
    PROXY,
    SECRET,
    SHORT,
    TOKEN,
    find_leaks,
    find_secrets,
    report_with_pytest,
    short_term,
)
from support.fault_server import Faults
from support.scripts import run_python

import bedrock_rft
from bedrock_rft import AsyncClient, Client, SigV4Auth
from bedrock_rft._core.redaction import Secret
from bedrock_rft.errors import BedrockRFTError, ConfigurationError
from bedrock_rft.local import LocalService

MODEL = "openai.gpt-oss-20b"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
APIS = {"blocking": Client, "async": AsyncClient}
modes = pytest.mark.parametrize("mode", IDENTITIES)
either = pytest.mark.parametrize("mode", ["short", "aws"])
each_api = pytest.mark.parametrize("api", APIS)


@pytest.fixture
def server() -> Iterator[Faults]:
    with Faults() as found:
        yield found


def opened(server: Faults, mode: str, api: str = "blocking", **settings: Any) -> Any:
    given = {"base_url": server.base_url, "region": "us-west-2", "max_retries": 0, "timeout": 5.0, **settings}
    return APIS[api](**given, **IDENTITIES[mode]())


def closed(client: Any) -> None:
    if isinstance(client, AsyncClient):
        asyncio.run(client.close())
    else:
        client.close()


def reachable(root: Any) -> Iterator[Any]:
    """Return everything that attributes and containers of an object lead to, except code."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType, str, bytes, int, float)):
            continue
        seen.add(id(one))
        yield one
        waiting += list(getattr(one, "__dict__", {}).values())
        for kind in type(one).__mro__:
            slots = kind.__dict__.get("__slots__", ())
            names = (slots,) if isinstance(slots, str) else slots
            waiting += [getattr(one, name) for name in names if hasattr(one, name)]
        if isinstance(one, dict):
            waiting += list(one.values())  # pyright: ignore[reportUnknownArgumentType] - any object
        elif isinstance(one, (list, tuple, set, frozenset)):
            waiting += list(one)  # pyright: ignore[reportUnknownArgumentType] - any object


@modes
@each_api
def test_objects(server: Faults, mode: str, api: str) -> None:
    client = opened(server, mode, api)
    inner = client._session if api == "async" else client._async._session
    resources: dict[str, Any] = dict(client.openai.__class__.__dict__)
    for name, value in resources.items():
        if isinstance(value, cached_property):  # a resource; importing all of them takes seconds
            vars(client.openai)[name] = None
    if api == "blocking":
        client.models.list()
    named = [client, client.identity, client.files, client.jobs, client.openai, inner, inner.config, inner.transport]
    named += [inner.config.key, inner.config.aws, inner.transport._http]
    for thing in named:
        assert find_leaks(thing) == [], type(thing)
    for thing in reachable(client):
        if not type(thing).__module__.startswith(("botocore", "ssl", "threading")):
            assert find_secrets(f"{thing!r} {thing!s}") == [], type(thing)
    closed(client)


def test_a_signer() -> None:
    auth = SigV4Auth("us-west-2", **IDENTITIES["aws"]())
    assert find_leaks(auth) == []
    assert find_leaks(auth._aws) == []
    frozen = auth._aws.freeze()  # what botocore signs with; its own attributes are the secrets
    assert find_secrets(f"{frozen} {[frozen]} {pprint.pformat(frozen)} {pretty_repr(frozen)}") == []
    with pytest.raises(TypeError):
        pickle.dumps(frozen)
    assert find_leaks(frozen._asdict()) != []  # the proof can fail


def test_the_local_service() -> None:
    with LocalService() as service:
        keys = {*service.environment("aws").values(), *service.environment("api_key").values()}
        also = [key for key in keys if len(key) > 20 and "127.0.0.1" not in key]
        assert len(also) == 3
        for thing in (service, service._keys, service.service):
            assert find_leaks(thing, also) == []
        assert find_secrets(str(service.client_options("aws")), also) == []
        for thing in reachable(service):
            if not type(thing).__module__.startswith("botocore"):
                assert find_secrets(f"{thing!r} {thing!s}", also) == [], type(thing)


@modes
@each_api
def test_closing_drops_secrets(server: Faults, mode: str, api: str) -> None:
    """No object of a closed client has a secret, including closures and objects of the HTTP library."""
    client = opened(server, mode, api)
    if api == "blocking":
        list(client.models.list())
        client.openai.models.list()
    closed(client)
    assert client.identity.base_url
    assert repr(client)
    if api == "blocking":
        with pytest.raises(ConfigurationError, match="closed"):
            client.models.retrieve("m")
    gc.collect()
    held = list(everything(client))
    assert len(held) > 10
    assert not [text for text in held if find_secrets(text)]


def everything(root: Any) -> Iterator[str | bytes]:
    """Return every text that the garbage collector reaches from an object, except code."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (type, ModuleType, threading.Thread)):
            continue
        seen.add(id(one))
        if isinstance(one, (str, bytes)):
            yield one
        elif isinstance(one, FunctionType):
            waiting += [*(one.__closure__ or ()), one.__defaults__, one.__kwdefaults__]
        else:
            waiting += gc.get_referents(one)
        if isinstance(one, dict):
            waiting += dict.keys(one)  # pyright: ignore[reportUnknownArgumentType,reportUnknownMemberType] - any object


def test_secrets_do_not_compare(server: Faults) -> None:
    """Secrets compare and hash by identity, because equality and hashes would reveal their values."""
    for mode in IDENTITIES:
        one, other = opened(server, mode), opened(server, mode)
        for name in ("key", "aws"):
            kept, twin = (getattr(client._async._session.config, name) for client in (one, other))
            if kept is not None:
                assert kept == kept  # noqa: PLR0124 - to itself alone
                assert kept != twin
                assert hash(kept) != hash(twin)
        closed(one)
        closed(other)
    assert Secret(LONG) != Secret(LONG)
    alike: Any = LONG
    assert Secret(LONG) != alike
    assert hash(Secret(LONG)) != hash(LONG)


GONE = """
import asyncio, gc, sys
from botocore.credentials import Credentials
from bedrock_rft import AsyncClient, BedrockRFTError, Client

url, *backwards = sys.argv[1:]  # read from behind, they are found nowhere but where they are used

def settings(mode):
    _, key, *triple = (word[::-1] for word in backwards)
    who = {"api_key": key} if mode == "api_key" else {"credentials": Credentials("AKIAFAKE00000001", *triple)}
    return {"base_url": url, "region": "us-west-2", **who}

def used(mode):
    with Client(**settings(mode)) as client:
        list(client.models.list())
        client.files.upload(b'{"a": 1}', validate=False)
        job = client.jobs.create("openai.gpt-oss-20b", training_file="file-1",
                                 reward="arn:aws:lambda:us-west-2:123456789012:function:reward")
        client.jobs.wait(job, poll_interval=0.01)
        try:
            client.request("GET", "/nowhere")
        except BedrockRFTError:
            pass
        client.openai.models.list()

async def soon(mode):
    async with AsyncClient(**settings(mode)) as client:
        await client.models.retrieve("m")

def held():
    gc.collect()
    gc.unfreeze()  # the objects of modules that were imported before this program began
    needles = a, b, c, d = [word[::-1][4:24] for word in backwards]
    waiting, seen = gc.get_objects(), set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or one is needles or one is waiting or one is seen:
            continue
        seen.add(id(one))
        if issubclass(type(one), (str, bytes)):  # not isinstance, which loads what OpenAI's lazy proxies refer to
            text = one if isinstance(one, str) else one.decode("latin-1")
            if len(text) > 20 and (a in text or b in text or c in text or d in text):
                yield text[:7]
        else:
            waiting += gc.get_referents(one)
        if issubclass(type(one), dict):
            waiting += dict.keys(one)  # which the collector leaves out where they are texts

for mode in ("api_key", "aws"):
    used(mode)
    asyncio.run(soon(mode))
kept = {backwards[0][::-1]: 1}
print(sorted(held()))
"""


def test_no_secret_is_in_memory_after_its_client_is_gone(server: Faults) -> None:
    """Search everything that the process refers to, including caches and keys, after its clients are gone."""
    control = "control" * 5
    backwards = [secret[::-1] for secret in (control, LONG, SECRET, TOKEN)]
    done = run_python("-c", GONE, server.base_url, *backwards)
    assert done.stderr == ""
    assert {header.partition(" ")[0] for header in (one.headers["authorization"] for one in server.requests)} == {
        "Bearer",
        "AWS4-HMAC-SHA256",
    }
    assert done.stdout == "['control']\n"  # a dict's key, which was kept to be found


def test_a_client_cannot_be_pickled(server: Faults) -> None:
    for mode in IDENTITIES:
        client = opened(server, mode)
        with pytest.raises(TypeError):
            pickle.dumps(client)
        closed(client)


# Errors


def create(client: Any) -> Any:
    return client.jobs.create(MODEL, training_file="file-1", reward=ARN)


def upload(client: Any) -> Any:
    return client.files.upload(b'{"a": 1}\n' * 100, validate=False)


def broken_upload(client: Any) -> Any:
    def progress(_sent: int, _total: int) -> None:
        raise LookupError("the caller's own")

    return client.files.upload(b'{"a": 1}\n' * 100, validate=False, progress=progress)


def interrupted_upload(client: Any) -> Any:
    def progress(_sent: int, _total: int) -> None:
        raise KeyboardInterrupt

    return client.files.upload(b'{"a": 1}\n' * 100, validate=False, progress=progress)


def models(client: Any) -> Any:
    return client.models.list()


def wait(client: Any) -> Any:
    return client.jobs.wait("ftjob-1", poll_interval=0.01, timeout=0.3)


def follow(client: Any) -> Any:
    return client.jobs.follow("ftjob-1", poll_interval=0.01, timeout=0.3)


def chat(client: Any) -> Any:
    return client.openai.with_options(timeout=1.0).chat.completions.create(
        model="m", messages=[{"role": "user", "content": "hello"}]
    )


ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def streamed(client: Any) -> Any:
    if isinstance(client, AsyncClient):
        return _streamed(client)
    return list(client.openai.chat.completions.create(**ASKED))


async def _streamed(client: Any) -> Any:
    return [chunk async for chunk in await client.openai.chat.completions.create(**ASKED)]


def broken_off(exchange: faults.Exchange) -> None:
    """Send a stream that ends in the middle of an event."""
    exchange.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    exchange.write(b'9\r\ndata: {"i\r\n')
    exchange.reset()


def echo(exchange: faults.Exchange) -> None:
    """Respond with the request, as some proxies do."""
    headers = dict(exchange.request.headers)
    exchange.send(403, f"Refused: {headers}".encode(), {"x-request-id": headers["authorization"]})


def echo_json(exchange: faults.Exchange) -> None:
    said = " ".join(f"{name}:{value}" for name, value in exchange.request.headers.items())
    faults.status(401, {"error": {"code": "InvalidSignatureException", "message": f"The request was {said}"}})(exchange)


FAULTS: dict[str, tuple[Callable[[Any], Any], tuple[str, str, Any]]] = {
    "401": (models, ("GET", "/models", faults.status(401, {"error": {"code": "invalid_api_key", "message": "no"}}))),
    "403 echoed": (models, ("GET", "/models", echo)),
    "401 echoed": (models, ("GET", "/models", echo_json)),
    "500": (models, ("GET", "/models", faults.status(500, b"no"))),
    "HTML": (models, ("GET", "/models", faults.html(200))),
    "no JSON": (models, ("GET", "/models", faults.status(200, b"{"))),
    "redirect": (models, ("GET", "/models", faults.status(307, b"", {"Location": "http://evil.example/?k=v"}))),
    "reset": (models, ("GET", "/models", faults.reset)),
    "half an answer": (models, ("GET", "/models", faults.reset_midway)),
    "bad chunks": (models, ("GET", "/models", faults.bad_chunks)),
    "not HTTP": (models, ("GET", "/models", faults.raw(b"\x16\x03\x01\r\n\r\n"))),
    "timeout": (models, ("GET", "/models", faults.slow(0.6))),
    "upload reset": (upload, ("POST", "/files", faults.reset)),
    "upload refused": (upload, ("POST", "/files", faults.status(403, b"no"))),
    "upload broken by its caller": (broken_upload, ("POST", "/files", faults.answer)),
    "upload interrupted": (interrupted_upload, ("POST", "/files", faults.answer)),
    "create, refused": (create, ("POST", "/fine_tuning/jobs", faults.status(400, b"no"))),
    "create, ambiguous": (create, ("POST", "/fine_tuning/jobs", faults.reset)),
    "wait, no such job": (wait, ("GET", "/fine_tuning/jobs/.*", faults.status(404, b"no"))),
    "wait, down": (wait, ("GET", "/fine_tuning/jobs/.*", faults.reset)),
    "follow, down": (follow, ("GET", "/fine_tuning/jobs/.*", faults.status(503, b"no"))),
    "inference, 401": (chat, ("POST", "/chat/completions", faults.status(401, b"no"))),
    "inference, broken off": (streamed, ("POST", "/chat/completions", broken_off)),
    "inference, reset": (chat, ("POST", "/chat/completions", faults.reset)),
}


def failure(client: Any, operation: Callable[[Any], Any]) -> BaseException:
    """Return the exception that an operation raises."""
    try:
        if isinstance(client, AsyncClient):
            asyncio.run(_soon(client, operation))
        else:
            result = operation(client)
            if hasattr(result, "__next__"):
                list(result)
    except BaseException as error:  # noqa: BLE001 - an interruption too
        return error
    raise AssertionError("nothing was raised")


async def _soon(client: AsyncClient, operation: Callable[[Any], Any]) -> None:
    async with client:
        result = operation(client)
        if hasattr(result, "__anext__"):
            async for _ in result:
                pass
        else:
            await result


def test_a_secret_in_a_frame_would_be_seen() -> None:
    def leaky() -> None:
        kept = {"header": LONG}
        raise LookupError(len(kept))

    with pytest.raises(LookupError) as raised:
        leaky()
    assert {each.split(":")[0] for each in find_leaks(raised.value)} >= {"locals", "rich local kept of leaky"}
    assert find_secrets(report_with_pytest(raised.value)) != []


# Pairwise: each fault with both APIs and both identities, each API with each identity; not every combination.
PAIRS = [
    (case, *pair)
    for number, case in enumerate(FAULTS)
    for pair in zip(APIS, ("short", "aws") if number % 2 else ("aws", "short"), strict=True)
]


@pytest.mark.parametrize(("case", "api", "mode"), PAIRS)
def test_errors(server: Faults, case: str, api: str, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources import create_job as _create
    from bedrock_rft._resources import wait as _watch

    monkeypatch.setattr(_create, "_SEARCH_DELAYS", (0.0, 0.01))
    monkeypatch.setattr(_watch, "_REJECTION_PERIOD", 0.05)
    operation, (method, path, fault) = FAULTS[case]
    server.script(method, path, faults.always(fault))
    client = opened(server, mode, api, timeout=0.3 if case == "timeout" else 2.0)
    error = failure(client, operation)
    assert find_leaks(error, signatures(server)) == []
    if case in {"401 echoed", "create, ambiguous", "upload refused", "wait, down"}:
        assert find_secrets(report_with_pytest(error), signatures(server)) == []
    if "inference" not in case and "by its caller" not in case and "interrupted" not in case:
        assert isinstance(error, BedrockRFTError)
    closed(client)


def signatures(server: Faults) -> list[str]:
    """Return parts of the signatures that were sent."""
    sent = [request.headers.get("authorization", "") for request in server.requests]
    return [header[-40:] for header in sent if "Signature=" in header]


@either
@each_api
def test_a_refused_connection_and_an_unknown_certificate(mode: str, api: str) -> None:
    nobody = Faults(up=False)
    client = opened(nobody, mode, api)
    assert find_leaks(failure(client, models)) == []
    closed(client)
    nobody.__exit__()
    with Faults() as plain:  # speaks HTTP where TLS is expected
        client = opened(plain, mode, api, base_url=plain.base_url.replace("http:", "https:"))
        error = failure(client, models)
        assert isinstance(error, BedrockRFTError)
        assert find_leaks(error) == []
        closed(client)


@either
def test_cancelled_tasks(server: Faults, mode: str) -> None:
    server.script("GET", "/models", faults.always(faults.slow(2)))

    async def cancelled() -> BaseException:
        async with opened(server, mode, "async") as client:
            task = asyncio.create_task(client.request("GET", "/models"))
            await asyncio.sleep(0.2)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError as error:
                return error
        raise AssertionError("not cancelled")

    assert find_leaks(asyncio.run(cancelled())) == []


@either
@each_api
@pytest.mark.parametrize("behaviour", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"nonsense\r\n\r\n"])
def test_proxy_passwords(mode: str, api: str, behaviour: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            try:
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        peer.recv(65536)
                        peer.sendall(behaviour)
            except OSError:
                pass

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{PROXY}@127.0.0.1:{listener.getsockname()[1]}")
    kind: Any = APIS[api]
    client = kind("us-west-2", max_retries=0, timeout=2.0, **IDENTITIES[mode]())
    assert find_leaks(client) == []
    inner = client._session if api == "async" else client._async._session
    for thing in reachable(inner.transport._http):
        if not isinstance(thing, (bytes, str, dict)):
            assert find_secrets(repr(thing)) == [], type(thing)
    error = failure(client, models)
    assert isinstance(error, BedrockRFTError)
    assert find_leaks(error) == []
    closed(client)
    listener.close()


class Provider:
    """Credentials that print themselves, as those of a user may, and that can fail."""

    def __init__(self, fails: bool = False) -> None:
        self.access_key, self.secret_key, self.token = ACCESS_KEY, SECRET, TOKEN
        self.fails = fails

    def __repr__(self) -> str:
        return f"Provider({self.secret_key})"

    def get_frozen_credentials(self) -> Any:
        if self.fails:
            raise RuntimeError("the vault is sealed")
        return self


class Half(Provider):
    def get_frozen_credentials(self) -> Any:
        half = Provider()
        half.access_key = ""
        return half


SETTINGS: dict[str, Callable[[], dict[str, Any]]] = {
    "a bad key": lambda: {"api_key": f"{LONG} {LONG}"},
    "a quoted key": lambda: {"api_key": f'"{LONG}"'},
    "a key with its word": lambda: {"api_key": f"Bearer {LONG}"},
    "a key in bytes": lambda: {"api_key": LONG.encode()},
    "an expired key": lambda: {"api_key": short_term(stamp=__import__("datetime").datetime(2020, 1, 1))},
    "a key for elsewhere": lambda: {"api_key": SHORT, "region": "us-east-1", "base_url": None},
    "two identities": lambda: {"api_key": LONG, "credentials": Provider()},
    "a key and its opposite": lambda: {"api_key": LONG, "auth": "aws"},
    "no such region": lambda: {"api_key": LONG, "region": "not a region"},
    "no such time": lambda: {"api_key": LONG, "timeout": -1},
    "no such project": lambda: {"credentials": Provider(), "project": "a\nb"},
    "a password in the address": lambda: {"api_key": LONG, "base_url": f"https://user:{PROXY}@host.example/v1"},
    "credentials that are none": lambda: {"credentials": {"secret": SECRET}},
    "a missing bundle": lambda: {"credentials": Provider(), "ca_bundle": "/nowhere"},
}


@each_api
@pytest.mark.parametrize("case", SETTINGS)
def test_refused_settings(case: str, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment has secrets too."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", LONG)
    monkeypatch.setenv("SOMEBODY_ELSES_SECRET", PROXY)
    error = refused(APIS[api], case)
    assert find_leaks(error) == []


def refused(kind: Any, case: str) -> BaseException:
    try:
        kind(**{"region": "us-west-2", **SETTINGS[case]()})
    except BedrockRFTError as error:
        return error
    raise AssertionError("nothing was raised")


def test_refused_settings_of_the_signer() -> None:
    with pytest.raises(ConfigurationError) as raised:
        SigV4Auth("no region", credentials=Provider())
    assert find_leaks(raised.value) == []


FAILING: dict[str, Callable[[], dict[str, Any]]] = {
    "sealed": lambda: {"credentials": Provider(fails=True)},
    "half": lambda: {"credentials": Half()},
    "an odd key": lambda: {"api_key": lambda: f"{LONG} {LONG}"},
    "an expired key": lambda: {"api_key": lambda: short_term(stamp=__import__("datetime").datetime(2020, 1, 1))},
}


@each_api
@pytest.mark.parametrize("case", FAILING)
def test_identities_that_fail_later(server: Faults, case: str, api: str) -> None:
    client = APIS[api]("us-west-2", base_url=server.base_url, max_retries=0, **FAILING[case]())
    error = failure(client, models)
    assert isinstance(error, BedrockRFTError)
    assert find_leaks(error) == []
    closed(client)


def test_tls_is_always_verified() -> None:
    assert ssl.create_default_context().verify_mode == ssl.CERT_REQUIRED
    assert "verify=False" not in "".join(path.read_text() for path in Path(bedrock_rft.__file__).parent.rglob("*.py"))
