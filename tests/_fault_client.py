"""Who calls the server that misbehaves: either identity in either colour, and what must hold for every error."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import hashlib
import inspect
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
from _fault_server import Faults
from botocore.credentials import Credentials

from bedrock_rft import AsyncClient, Client
from bedrock_rft.errors import APIError, APIResponseError, APIStatusError, BedrockRFTError
from bedrock_rft.local._signature import Credential, verify

__all__ = ["ACCESS_KEY", "ARN", "KEY", "MODEL", "SECRET", "TOKEN", "WAYS", "Caller", "create", "interrupted"]

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

_HERE = str(Path(__file__).parent)


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
        else:
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
            url = urlsplit(request.target)
            verify(
                request.method,
                url.path.encode(),
                url.query.encode(),
                list(request.headers.items()),
                hashlib.sha256(request.body).hexdigest(),
                lookup={ACCESS_KEY: Credential(ACCESS_KEY, SECRET, TOKEN)}.get,
                region="us-west-2",
                now=datetime.now(timezone.utc),
            )


@contextlib.contextmanager
def interrupted(seconds: float) -> Generator[None, None, None]:
    """Press Ctrl-C after a while, unless it is over by then."""
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        timer.cancel()
        timer.join()


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
