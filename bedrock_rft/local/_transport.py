"""The rehearsal as a carrier: a call becomes a reply without a socket between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, TypeVar

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIConnectionError
from bedrock_rft.local._service.service import Service

__all__ = ["LocalTransport"]

T = TypeVar("T")

_LONGEST_SLEEP = 0.02  # seconds
_URL = "http://local.invalid/v1"


class LocalTransport:
    """A `Transport` into a service in the same process: `Client(transport=LocalTransport(service))`.

    It serves both colours and never suspends but in `sleep`, and there only where an event loop runs and `blocking` is
    false. Closing it does not close the service, which may serve other clients.

    Attributes:
        service: what answers.
        base_url: what stands for an address where one is shown; no host is called that.
        region: the region the service claims to be in.
    """

    base_url = _URL

    def __init__(self, service: Service, *, blocking: bool = True) -> None:
        """Take a service.

        Args:
            service: what answers.
            blocking: False for an `AsyncClient`: sleeping then leaves the event loop to others.
        """
        self.service = service
        self.blocking = blocking

    @property
    def region(self) -> str:
        """The region the service claims to be in."""
        return self.service.region

    async def send(self, call: Request) -> Response:
        """Answer at once. Raises `APIConnectionError` where the service is closed."""
        if self.service.closed:
            raise APIConnectionError(
                "The service in this process is closed. Keep it open while its clients work.", sent=False
            )
        reply = self.service.handle(call)
        if call.upload is not None:
            call.upload.report(call.upload.length)
        if call.sink is not None and reply.ok and reply.content:
            call.sink.restart()
            call.sink.write(reply.content)
            return Response(reply.status, reply.headers, b"")
        return reply

    async def sleep(self, seconds: float) -> None:
        """Let a moment pass, 20 ms at most: a rehearsal answers as soon as it can, so there is nothing to wait for."""
        moment = min(seconds, _LONGEST_SLEEP)
        if self.blocking:
            time.sleep(moment)  # noqa: ASYNC251 - the blocking colour has no loop to leave to others
        else:
            await asyncio.sleep(moment)

    async def run(self, work: Callable[[], T]) -> T:
        """Do the work here: nothing of a rehearsal takes long."""
        return work()

    async def close(self) -> None:
        """Nothing is held: the service belongs to whoever made it."""

    def openai(self, *, max_retries: int, blocking: bool | None = None) -> Any:
        """An `openai.OpenAI`, or an `AsyncOpenAI` where `blocking` is false, that asks the service in this process."""
        from bedrock_rft.local._openai import client

        return client(
            self.service, _URL, max_retries=max_retries, blocking=self.blocking if blocking is None else blocking
        )
