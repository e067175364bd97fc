"""Clients that call the faulty server, with both identities, sync and async, and checks of every error."""

from __future__ import annotations

import asyncio
import copy
import hashlib
import inspect
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from botocore.credentials import Credentials

from bedrock_rft import AsyncClient, Client
from bedrock_rft.errors import APIError, APIResponseError, APIStatusError, BedrockRFTError
from bedrock_rft.local._http.signature import Credential, InvalidSignatureError, verify
from support.fault_server import Exchange, Fault, Faults, Request, status

__all__ = [
    "ACCESS_KEY",
    "ARN",
    "KEY",
    "MODEL",
    "SECRET",
    "TOKEN",
    "WAYS",
    "Caller",
    "Gate",
    "check_error",
    "create",
    "ctrl_c",
    "signer",
]  # fmt: skip

E = TypeVar("E", bound=BedrockRFTError)
Operation = Callable[[Any], Any]

KEY = "fake-bedrock-key-0123456789"
SECRET = "fakeSecretKey+/0123456789"
TOKEN = "fakeSessionToken+/0123456789=="
ACCESS_KEY = "AKIAFAKE00000001"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"

WAYS = [(mode, client_kind) for mode in ("api_key", "aws") for client_kind in ("sync", "async")]
"""Both identities, each with the sync and the async client."""

_HERE = str(Path(__file__).parents[1])


def create(client: Any) -> Any:
    """Create the job that these tests create."""
    return client.jobs.create(MODEL, training_file="file-1", reward=ARN)


@dataclass(frozen=True)
class Caller:
    """Caller of a server, with one identity and one kind of client."""

    server: Faults
    mode: str
    client_kind: str

    def __call__(self, *operations: Operation, **settings: Any) -> Any:
        """Run operations on one client, one after another; return the last result, iterators as lists."""
        given: dict[str, Any] = {"base_url": self.server.base_url, "region": "us-west-2", "timeout": 5.0, **settings}
        if self.mode == "api_key":
            given.setdefault("api_key", KEY)
        elif "profile" not in given:
            given.setdefault("credentials", Credentials(ACCESS_KEY, SECRET, TOKEN))
        if self.client_kind == "async":
            return asyncio.run(_run_async(given, operations))
        with Client(**given) as client:
            return [_list_result(operation(client)) for operation in operations][-1]

    def fails(self, kind: type[E], *operations: Operation, **settings: Any) -> E:
        """Return the error that operations raise, after checking its content."""
        with pytest.raises(kind) as raised:
            self(*operations, **settings)
        error = raised.value
        check_error(error)
        return error

    def check_identity(self) -> None:
        """Check that every request arrived with this identity."""
        for request in self.server.requests:
            if self.mode == "api_key":
                assert request.headers["authorization"] == f"Bearer {KEY}"
                continue
            signer(request, {ACCESS_KEY: Credential(ACCESS_KEY, SECRET, TOKEN)})


def signer(request: Request, known: Mapping[str, Credential], *, off: timedelta = timedelta(0)) -> str:
    """Return the access key that signed a request. Raises `InvalidSignatureError`."""
    url = urlsplit(request.target)
    return verify(
        request.method,
        url.path.encode(),
        url.query.encode(),
        list(request.headers.items()),
        hashlib.sha256(request.body).hexdigest(),
        lookup=known.get,
        region="us-west-2",
        now=datetime.now(timezone.utc) + off,
    )


@dataclass
class Gate:
    """Check of identities, for a server's `guard`; it refuses unknown ones as the service does.

    Attributes:
        keys: accepted API keys.
        credentials: credentials by access key.
        off: difference between its clock and this machine's.
        dated: send the Date header with refusals.
        entered: the key, or access key, of every request that was let in.
        refused: number of refused requests.
    """

    keys: set[str] = field(default_factory=set[str])
    credentials: dict[str, Credential] = field(default_factory=dict[str, Credential])
    off: timedelta = timedelta(0)
    dated: bool = True
    entered: list[str] = field(default_factory=list[str])
    refused: int = 0

    def __call__(self, request: Request) -> Fault | None:
        try:
            self.entered.append(self._identify(request))
        except InvalidSignatureError as refused:
            self.refused += 1
            time = format_datetime(datetime.now(timezone.utc) + self.off, usegmt=True)
            said = {"__type": refused.code, "message": refused.message}
            return status(refused.status, said, {"Date": time} if self.dated else None)
        return None

    def _identify(self, request: Request) -> str:
        kind, _, key = request.headers["authorization"].partition(" ")
        if kind != "Bearer":
            return signer(request, self.credentials, off=self.off)
        if key not in self.keys:
            raise InvalidSignatureError(401, "invalid_api_key", "The API key is not valid.")
        return key


def ctrl_c(then: Fault, *, after: float = 0.0) -> Fault:
    """Return a fault that sends SIGINT a while after a request has arrived, during another fault."""

    def press() -> None:
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)

    def fault(exchange: Exchange) -> None:
        timer = threading.Timer(after, press)
        timer.start()
        then(exchange)
        timer.join()

    return fault


async def _run_async(settings: dict[str, Any], operations: tuple[Operation, ...]) -> Any:
    result: Any = None
    async with AsyncClient(**settings) as client:
        for operation in operations:
            result = operation(client)
            if hasattr(result, "__anext__"):
                result = [one async for one in result]
            elif inspect.isawaitable(result):
                result = await result
    return result


def _list_result(result: Any) -> Any:
    return list(result) if hasattr(result, "__next__") else result


def check_error(error: BedrockRFTError) -> None:
    """Check the rules for every error."""
    assert 20 < len(str(error)) <= 2000
    assert "\n" not in str(error).splitlines()[0]
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    assert _fields(twin) == _fields(error) == _fields(copy.copy(error))
    if isinstance(error, APIError):
        assert error.attempts >= 1
        assert error.elapsed >= 0
        assert f"{error.method} {error.path}" in str(error)
    if isinstance(error, (APIStatusError, APIResponseError)) and error.request_id:
        assert f"HTTP {error.status}" in str(error)
    shown = [str(error), repr(error), str(error.args), pickle.dumps(error).decode("latin-1"), *_traceback_texts(error)]
    for secret in (KEY, SECRET, TOKEN):
        assert not [text for text in shown if secret in text]


def _fields(error: BedrockRFTError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


def _traceback_texts(error: BaseException) -> Iterator[str]:
    """Yield the texts of a traceback with local variables, for an error and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield repr(cause)
        yield "".join(traceback.format_exception(cause))
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            if not frame.f_code.co_filename.startswith(_HERE):  # frames of tests hold the secrets
                yield from (repr(value) for value in frame.f_locals.values())
        cause = cause.__cause__ or cause.__context__
