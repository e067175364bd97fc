"""What stands before the rehearsal's door: a look at every head, a deadline for it, and room for the next.

uvicorn's protocol reads what HTTP allows; this one reads less, since nobody honest sends the rest. A head is held back
until all of it is there, is looked at once, and goes on only where it can be read in one way. A peer that stalls loses
its place: by a clock, and at once where the places are taken.

An answer may come before its question's end. Where little of the question is still to come, it is dropped as it comes,
and the next head begins where it ends, which the guard counts for itself. Where much may come, or nobody can say how
much, the answer says that it is the connection's last, and what comes is not heard, but let come: a connection closed
on a peer that still sends is reset, and the answer lost.
"""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any, cast

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from bedrock_rft.local._http.head import END, LARGEST_HEAD, body_length, fault

__all__ = ["Guarded"]

_HEAD = 10.0  # seconds from the first byte, or from the connection, to the end of the head
_STUCK = 60.0  # seconds in which a peer reads nothing of an answer
_HEARD_OUT = 10.0  # seconds that a peer may go on sending what has its answer
_DROPPED = 64 << 10  # bytes of it that are worth a connection
_MOST = 1000  # connections
_SPARE = 128  # files that the rest of the process may open


def places() -> int:
    """How many connections there is room for."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return _MOST
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _MOST if soft == resource.RLIM_INFINITY else max(_SPARE // 2, min(_MOST, soft - _SPARE))


class Guarded(H11Protocol):
    """uvicorn's protocol behind a look at every head, and with an end to everything a peer can leave unfinished."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._stuck: asyncio.TimerHandle | None = None
        self._rest = 0  # bytes of the body that are still to come
        self._deaf = False
        self.app, self._app = cast("Any", self._answer), self.app
        self._served = False
        self._since = self.loop.time()

    # From the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Take a place, from a stalled peer where none is free."""
        super().connection_made(transport)
        if len(self.connections) > places():
            peers = cast("set[Guarded]", self.connections)
            there = [one for one in peers if not one.transport.is_closing()]
            waiting = [one for one in there if one.waits and one is not self]
            if len(there) > places():
                min(waiting, key=lambda one: (one._served, one._since), default=self).transport.abort()
        self._arm(_HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the clocks with the connection."""
        self._disarm()
        self._unstick()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Hold a head back until it is whole, and let it pass where it is sound."""
        if self._deaf:
            return
        if self._drops:
            data = self._drop(data)
            if not data:
                return
        if self.conn.their_state is not h11.IDLE:
            self._pass(data)
            return
        if not self._head and self._timer is None:
            self._unset_keepalive_if_required()
            self._arm(_HEAD)
        looked = max(len(self._head) - len(END), 0)
        self._head += data if self._head else data.lstrip(b"\r\n")
        end = self._head.find(END, looked)
        if (end if end >= 0 else len(self._head)) > LARGEST_HEAD:
            self._refuse(431, f"The head is larger than {LARGEST_HEAD} bytes.")
        elif end >= 0:
            whole, self._head = bytes(self._head), bytearray()
            self._disarm()
            head = whole[: end + len(END)]
            wrong = fault(head)
            if wrong is None:
                self._rest = len(head) + body_length(head)
                self._pass(whole)
            else:
                self._refuse(*wrong)

    def eof_received(self) -> bool:  # type: ignore[override] # as asyncio has it
        """Answer a peer that has said all it will say."""
        answering = self.conn.their_state in {h11.DONE, h11.MUST_CLOSE} and not self._deaf
        if answering and self.cycle is not None:
            self.cycle.keep_alive = False
        return answering

    def pause_writing(self) -> None:
        """A peer that does not read has some time to begin."""
        super().pause_writing()
        self._unstick()
        self._stuck = self.loop.call_later(_STUCK, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads."""
        self._unstick()
        super().resume_writing()

    # From uvicorn

    def shutdown(self) -> None:
        """Let what is being answered end; nobody waits for what has not wholly come."""
        if self.waits or self.conn.their_state is h11.SEND_BODY:
            self.transport.abort()
        else:
            super().shutdown()

    def _unsupported_upgrade_warning(self) -> None:
        """A request to speak something else is answered as if it had not asked."""

    def send_400_response(self, msg: str) -> None:
        """Refuse what went wrong behind the head: a body whose chunks are none."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            self._refuse(400, msg)
        else:
            self.transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request, and before it for the rest of this one."""
        self._served = True
        self._since = self.loop.time()
        if self._deaf:
            return
        if self._drops:
            self.flow.resume_reading()
            self._arm(_HEARD_OUT, abort=True)
        else:
            super().on_response_complete()

    def close(self) -> None:
        """End the connection, once its peer has said what it began to say."""
        if self.conn.their_state is h11.SEND_BODY:
            self._hear_out()
        else:
            self.transport.close()

    # Within

    @property
    def waits(self) -> bool:
        """Whether nothing is being answered here."""
        return self._deaf or self._drops or self.conn.their_state is h11.IDLE

    @property
    def _drops(self) -> bool:
        """Whether what comes is the rest of a request that has its answer."""
        return self.conn.our_state is h11.DONE and self.conn.their_state is h11.SEND_BODY

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have a request answered, and say so where the answer is the last here."""
        self.cycle.transport = cast("asyncio.Transport", _Parting(self))

        async def said(message: Message) -> None:
            if message["type"] == "http.response.start" and self._ends_with(message["status"]):
                message = {**message, "headers": [*message["headers"], CLOSE_HEADER]}
            await send(message)

        await self._app(scope, receive, said)

    def _ends_with(self, status: int) -> bool:
        """Whether an answer that begins now, of this status, is the last here."""
        if not self.cycle.keep_alive:
            return True
        if self.conn.their_state is not h11.SEND_BODY:
            return False
        # Who waits for leave to send a body may send it or not, once there is an answer without the leave.
        unsure = self.conn.they_are_waiting_for_100_continue or status == HTTPStatus.REQUEST_TIMEOUT
        return unsure or self._rest > _DROPPED

    def _pass(self, data: bytes) -> None:
        if self.conn.their_state in {h11.IDLE, h11.SEND_BODY}:
            self._rest -= len(data)
            super().data_received(data)
            data = self.conn.trailing_data[0]
        if data and self.conn.their_state is not h11.SEND_BODY and self.cycle is not None and not self._deaf:
            # A second request behind the first: no client of ours sends one, and its head was not looked at.
            self.cycle.keep_alive = False

    def _drop(self, data: bytes) -> bytes:
        """Let the rest of an answered request pass, and return what is behind it."""
        if self._rest <= 0:  # h11 would count otherwise than we do: then nothing behind it is what it seems
            self.transport.abort()
            return b""
        rest, data = data[: self._rest], data[self._rest :]
        self._pass(rest)  # uvicorn drops it, and is ready for the next request with its end
        if not self._drops:
            self._disarm()
            super().on_response_complete()
        return data

    def _refuse(self, status: int, message: str) -> None:
        phrase = HTTPStatus(status).phrase
        error = {"code": "validation_error", "message": message, "param": None, "type": "invalid_request_error"}
        body = json.dumps({"error": error})
        self.transport.write(
            f"HTTP/1.1 {status} {phrase}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Connection: close\r\n\r\n{body}".encode()
        )
        self._hear_out()

    def _hear_out(self) -> None:
        """End the answer, and hear nothing of what still comes."""
        self._deaf = True
        self._head.clear()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._unset_keepalive_if_required()
        self.flow.resume_reading()
        self._arm(_HEARD_OUT, abort=True)
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _arm(self, seconds: float, *, abort: bool = False) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self.transport.abort if abort else self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _unstick(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None

    def _late(self) -> None:
        self._timer = None
        if self._head:
            self._refuse(408, "The head did not come in time.")
        else:
            self.transport.abort()


class _Parting:
    """What an answer is written to: uvicorn closes it behind the last one, and the guard decides what that means."""

    def __init__(self, guard: Guarded) -> None:
        self.write = guard.transport.write
        self.is_closing = guard.transport.is_closing
        self.close = guard.close
