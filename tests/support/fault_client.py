"""Who calls the server that misbehaves: either identity in either colour, and what must hold for every error."""

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
    "ACCESS_KEY", "ARN", "KEY", "MODEL", "SECRET", "TOKEN", "WAYS", "Caller", "Gate", "create", "ctrl_c",
    "examine", "signer",
]  # fmt: skip

E = TypeVar("E", bound=BedrockRFTError)
Operation = Callable[[Any], Any]

KEY = "fake-bedrock-key-0123456789"
SECRET = "fakeSecretKey+/0123456789"
TOKEN = "fakeSessionToken+/0123456789=="
ACCESS_KEY = "AKIAFAKE00000001"
ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"

WAYS = [(mode, colour) for mode in ("api_key", "aws") for colour in ("blocking", "async")]
"""Every identity in every colour."""

_HERE = str(Path(__file__).parents[1])


def create(client: Any) -> Any:
    """Create the job that these tests create."""
    return client.jobs.create(MODEL, training_file="file-1", reward=ARN)


@dataclass(frozen=True)
class Caller:
    """Calls a server as one kind of user."""

    server: Faults
    mode: str
    colour: str

    def __call__(self, *operations: Operation, **settings: Any) -> Any:
        """Do operations on one client, one after another; return what the last one answered, lists as lists."""
        given: dict[str, Any] = {"base_url": self.server.base_url, "region": "us-west-2", "timeout": 5.0, **settings}
        if self.mode == "api_key":
            given.setdefault("api_key", KEY)
        elif "profile" not in given:
            given.setdefault("credentials", Credentials(ACCESS_KEY, SECRET, TOKEN))
        if self.colour == "async":
            return asyncio.run(_soon(given, operations))
        with Client(**given) as client:
            return [_now(operation(client)) for operation in operations][-1]

    def fails(self, kind: type[E], *operations: Operation, **settings: Any) -> E:
        """The error that operations end with. It is one of ours, tells what it should, and no secret."""
        with pytest.raises(kind) as raised:
            self(*operations, **settings)
        error = raised.value
        examine(error)
        return error

    def check_identity(self) -> None:
        """Every request that arrived was made out to this service by this identity, with nothing left over."""
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
    """Lets in whom it knows, as the service does. It is a server's `guard`.

    Attributes:
        keys: API keys.
        credentials: by access key.
        off: how far its clock is from this machine's.
        dated: whether it says in its answers what time it has.
        entered: the key, or access key, of every request that was let in.
        refused: how many were not.
    """

    keys: set[str] = field(default_factory=set[str])
    credentials: dict[str, Credential] = field(default_factory=dict[str, Credential])
    off: timedelta = timedelta(0)
    dated: bool = True
    entered: list[str] = field(default_factory=list[str])
    refused: int = 0

    def __call__(self, request: Request) -> Fault | None:
        try:
            self.entered.append(self._who(request))
        except InvalidSignatureError as refused:
            self.refused += 1
            time = format_datetime(datetime.now(timezone.utc) + self.off, usegmt=True)
            said = {"__type": refused.code, "message": refused.message}
            return status(refused.status, said, {"Date": time} if self.dated else None)
        return None

    def _who(self, request: Request) -> str:
        kind, _, key = request.headers["authorization"].partition(" ")
        if kind != "Bearer":
            return signer(request, self.credentials, off=self.off)
        if key not in self.keys:
            raise InvalidSignatureError(401, "invalid_api_key", "The API key is not valid.")
        return key


def ctrl_c(then: Fault, *, after: float = 0.0) -> Fault:
    """Press Ctrl-C, a while after a request has arrived, and do something else with it meanwhile."""

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


async def _soon(settings: dict[str, Any], operations: tuple[Operation, ...]) -> Any:
    result: Any = None
    async with AsyncClient(**settings) as client:
        for operation in operations:
            result = operation(client)
            if hasattr(result, "__anext__"):
                result = [one async for one in result]
            elif inspect.isawaitable(result):
                result = await result
    return result


def _now(result: Any) -> Any:
    return list(result) if hasattr(result, "__next__") else result


def examine(error: BedrockRFTError) -> None:
    """What holds for every error."""
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
    shown = [str(error), repr(error), str(error.args), pickle.dumps(error).decode("latin-1"), *_told(error)]
    for secret in (KEY, SECRET, TOKEN):
        assert not [text for text in shown if secret in text]


def _fields(error: BedrockRFTError) -> dict[str, Any]:
    return {name: value for name, value in vars(error).items() if not name.startswith("__")}


def _told(error: BaseException) -> Iterator[str]:
    """Whatever a traceback with local variables would print, of an error and of what led to it."""
    cause: BaseException | None = error
    while cause is not None:
        yield repr(cause)
        yield "".join(traceback.format_exception(cause))
        for frame, _ in traceback.walk_tb(cause.__traceback__):
            if not frame.f_code.co_filename.startswith(_HERE):  # this test knows the secrets; the package must not say
                yield from (repr(value) for value in frame.f_locals.values())
        cause = cause.__cause__ or cause.__context__
