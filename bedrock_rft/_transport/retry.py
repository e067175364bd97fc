"""What is worth another try, written once.

| answer or event                         | GET, DELETE, cancel, upload | creating a job         |
|-----------------------------------------|-----------------------------|------------------------|
| nothing was sent (refused, DNS, …)      | again                       | again                  |
| connection lost, or timed out           | again                       | raised: it is unclear  |
| 429, or a code that says throttling     | again                       | again: not carried out |
| 408, 500, 502, 503, 504                 | again                       | raised: it is unclear  |
| 409                                     | GET and DELETE once more    | raised                 |
| certificate refused, any other status   | raised                      | raised                 |

Delays are fully jittered, 0.5 s doubling to 8 s (20 s for throttling). Where nothing was sent half of each is certain,
so that three attempts outlast the restart of a service. `Retry-After` is honoured up to 120 s; a longer one is raised
at once. A budget for the whole client keeps many threads from tripling an outage.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bedrock_rft._auth.config import Config
from bedrock_rft._core.log import log
from bedrock_rft._transport.status_errors import body, kind, refusal, retry_after
from bedrock_rft._transport.transport import Request, Response, Transport
from bedrock_rft.errors import APIConnectionError, APIError, RateLimitError

if TYPE_CHECKING:
    import tenacity

__all__ = ["Budget", "exchange"]

LONGEST_WAIT = 120.0
_FIRST, _CAP, _CAP_THROTTLED = 0.5, 8.0, 20.0
_AGAIN = frozenset({408, 500, 502, 503, 504})
_CONFLICT = 409


class Budget:
    """Tokens for retries, shared by all calls of a client: 5 a retry, 1 back for each success."""

    def __init__(self, tokens: int = 500) -> None:
        self._most = self._tokens = tokens
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Pay for a retry, where there is enough."""
        with self._lock:
            if self._tokens < _PRICE:
                return False
            self._tokens -= _PRICE
            return True

    def earn(self) -> None:
        """A call succeeded."""
        with self._lock:
            self._tokens = min(self._most, self._tokens + 1)


_PRICE = 5


def throttled(reply: Response) -> bool:
    """Whether a reply says that the service took no part of the request for now."""
    return not reply.ok and kind(reply, body(reply)) is RateLimitError


def worth(call: Request, outcome: Response | BaseException, attempt: int) -> bool:
    """Whether a call may and should be sent again."""
    if isinstance(outcome, APIConnectionError):
        # What was never sent cannot have done anything. A certificate that was refused stays refused.
        return outcome.reason != "certificate" and (call.may_repeat or not outcome.sent)
    if isinstance(outcome, BaseException) or outcome.ok:
        return False
    if (retry_after(outcome) or 0.0) > LONGEST_WAIT:
        return False
    if throttled(outcome):
        return True
    if outcome.status == _CONFLICT:
        return call.method in {"GET", "DELETE"} and attempt == 1
    return outcome.status in _AGAIN and call.may_repeat


def delay(outcome: Response | BaseException, attempt: int) -> float:
    """Seconds before the next attempt: what the service asked for, else jitter."""
    asked = retry_after(outcome) if isinstance(outcome, Response) else None
    if asked is not None:
        return asked
    cap = _CAP_THROTTLED if isinstance(outcome, Response) and throttled(outcome) else _CAP
    longest = min(cap, _FIRST * 2 ** (attempt - 1))
    unsent = isinstance(outcome, APIConnectionError) and not outcome.sent
    return random.uniform(longest / 2 if unsent else 0, longest)  # noqa: S311 - jitter


async def exchange(
    transport: Transport,
    call: Request,
    config: Config,
    budget: Budget,
    *,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> Response:
    """Send a call, as often as it is worth it.

    Args:
        transport: what sends it.
        call: what to send.
        config: how often, and what an error should say of identity and endpoint.
        budget: what retries cost.
        sleep: how time passes between attempts, where it is not to be as the transport has it.

    Raises:
        APIError: it did not succeed; `.attempts` and `.elapsed` say what it took.
    """
    began = time.monotonic()
    first = await _outcome(transport, call)
    if isinstance(first, Response) and first.ok:
        # As nearly always: what is set up below to try again costs a tenth of a call.
        return _noted(first, call, budget)
    tries = _Tries(transport, call, config, budget, made=first)
    try:
        reply = await tries.go(sleep or transport.sleep)
    except APIError as error:
        raise _told(error, call, tries.attempts, began) from error.__cause__
    if not reply.ok:
        log.debug("%s %s: HTTP %d (request %s)", call.method, call.path, reply.status, reply.request_id)
        raise _told(refusal(reply, call, config), call, tries.attempts, began)
    return _noted(replace(reply, attempts=tries.attempts), call, budget)


async def _outcome(transport: Transport, call: Request) -> Response | APIError:
    try:
        return await transport.send(call)
    except APIError as error:
        return error


@dataclass
class _Tries:
    """The attempts at one call whose first one did not succeed."""

    transport: Transport
    call: Request
    config: Config
    budget: Budget
    made: Response | APIError
    attempts: int = 1
    _begun: bool = False

    async def go(self, sleep: Callable[[float], Awaitable[None]]) -> Response:
        import tenacity  # only where something is tried again: it brings asyncio, which a call can spare

        retrying = tenacity.AsyncRetrying(
            retry=lambda _: self._again(),
            wait=lambda _: delay(self.made, self.attempts),
            sleep=sleep,
            before_sleep=self._note,
            reraise=True,
        )
        reply: Response = await retrying(self._attempt)
        return reply

    async def _attempt(self) -> Response:
        if self._begun:
            self.attempts += 1
            self.made = await _outcome(self.transport, self.call)
        self._begun = True
        if isinstance(self.made, Response):
            return self.made
        raise self.made

    def _again(self) -> bool:
        call, attempts = self.call, self.attempts
        return worth(call, self.made, attempts) and attempts <= self.config.max_retries and self.budget.take()

    def _note(self, state: tenacity.RetryCallState) -> None:
        pause = state.next_action.sleep if state.next_action else 0.0
        log.debug("%s %s: attempt %d failed, again in %.2f s", self.call.method, self.call.path, self.attempts, pause)


def _noted(reply: Response, call: Request, budget: Budget) -> Response:
    log.debug("%s %s: HTTP %d (request %s)", call.method, call.path, reply.status, reply.request_id)
    budget.earn()
    return reply


def _told(error: APIError, call: Request, attempts: int, began: float) -> APIError:
    error.method, error.path = call.method, call.path
    error.attempts, error.elapsed = attempts, time.monotonic() - began
    return error
