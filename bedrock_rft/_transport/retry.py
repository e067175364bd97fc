"""Decide which failed requests are sent again, and send them.

| response or event                       | GET, DELETE, cancel, upload | creating a job         |
|-----------------------------------------|-----------------------------|------------------------|
| nothing was sent (refused, DNS, …)      | retried                     | retried                |
| connection lost, or timed out           | retried                     | raised: outcome unknown|
| 429, or an error code of throttling     | retried                     | retried: not carried out|
| 408, 500, 502, 503, 504                 | retried                     | raised: outcome unknown|
| 409                                     | GET and DELETE, once        | raised                 |
| bad certificate or header, other status | raised                      | raised                 |

Delays have full jitter, 0.5 s doubling to 8 s (20 s for throttling). If nothing was sent, half of each delay is fixed,
so that three attempts outlast the restart of a service. `Retry-After` is honoured up to 120 s; if the service asks for
more, the error is raised at once. A retry budget for the whole client limits the load of many threads during an outage.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from bedrock_rft._auth.config import Config
from bedrock_rft._core.log import log
from bedrock_rft._transport.status_errors import error_class, map_status_error, parse_error_body, retry_after
from bedrock_rft._transport.transport import Request, Response, Transport
from bedrock_rft.errors import APIConnectionError, APIError, RateLimitError

MAX_RETRY_AFTER = 120.0
_FIRST, _CAP, _CAP_THROTTLED = 0.5, 8.0, 20.0
_RETRIED_STATUSES = frozenset({408, 500, 502, 503, 504})
_CONFLICT = 409
_RETRY_PRICE = 5


class RetryBudget:
    """Tokens for retries, shared by all requests of a client. A retry costs 5 tokens; a success returns 1."""

    def __init__(self, tokens: int = 500) -> None:
        self._capacity = self._tokens = tokens
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take the tokens of one retry from the budget. Return False, and take none, if there are too few."""
        with self._lock:
            if self._tokens < _RETRY_PRICE:
                return False
            self._tokens -= _RETRY_PRICE
            return True

    def earn(self) -> None:
        """Return a token after a request that succeeded."""
        with self._lock:
            self._tokens = min(self._capacity, self._tokens + 1)


def is_throttled(response: Response) -> bool:
    """Return True if the service rejected a request because there were too many requests."""
    return not response.ok and error_class(response, parse_error_body(response)) is RateLimitError


def is_retryable(request: Request, outcome: Response | BaseException, attempt: int) -> bool:
    """Return True if sending a request again, after `attempt` attempts, is safe and may succeed."""
    if isinstance(outcome, APIConnectionError):
        # A request that was not sent had no effect. A rejected certificate or header stays rejected.
        return outcome.reason not in {"certificate", "header"} and (request.may_repeat or not outcome.sent)
    if isinstance(outcome, BaseException) or outcome.ok:
        return False
    if (retry_after(outcome) or 0.0) > MAX_RETRY_AFTER:
        return False
    if is_throttled(outcome):
        return True
    if outcome.status == _CONFLICT:
        return request.method in {"GET", "DELETE"} and attempt == 1
    return outcome.status in _RETRIED_STATUSES and request.may_repeat


def backoff_seconds(outcome: Response | BaseException, attempt: int) -> float:
    """Return the seconds to wait before the next attempt: the service's `Retry-After`, or exponential with jitter."""
    requested = retry_after(outcome) if isinstance(outcome, Response) else None
    if requested is not None:
        return requested
    cap = _CAP_THROTTLED if isinstance(outcome, Response) and is_throttled(outcome) else _CAP
    longest = min(cap, _FIRST * 2 ** (attempt - 1))
    unsent = isinstance(outcome, APIConnectionError) and not outcome.sent
    return random.uniform(longest / 2 if unsent else 0, longest)  # noqa: S311 - jitter


async def send_with_retries(
    transport: Transport,
    request: Request,
    config: Config,
    budget: RetryBudget,
    *,
    sleep: Callable[[float], Awaitable[None]] | None = None,
) -> Response:
    """Send a request, and retry it while a retry is safe and may succeed. `sleep` replaces the transport's `sleep`."""
    started, attempts = time.monotonic(), 1
    outcome = await _attempt(transport, request)
    if isinstance(outcome, APIError) or not outcome.ok:  # setting up tenacity would add a tenth to every request
        outcome, attempts = await _retry(outcome, transport, request, config, budget, sleep or transport.sleep)
    if isinstance(outcome, APIError):
        raise _add_attempts(outcome, request, attempts, started) from outcome.__cause__
    log.debug("%s: HTTP %d (request %s)", request.summary, outcome.status, outcome.request_id)
    if not outcome.ok:
        raise _add_attempts(map_status_error(outcome, request, config), request, attempts, started)
    budget.earn()
    return outcome if attempts == 1 else replace(outcome, attempts=attempts)


async def _attempt(transport: Transport, request: Request) -> Response | APIError:
    try:
        return await transport.send(request)
    except APIError as error:
        return error


async def _retry(
    first: Response | APIError,
    transport: Transport,
    request: Request,
    config: Config,
    budget: RetryBudget,
    sleep: Callable[[float], Awaitable[None]],
) -> tuple[Response | APIError, int]:
    """Return the last outcome of a request whose first attempt failed, and the number of attempts."""
    import tenacity  # imports asyncio

    outcomes, attempts = [first], 1

    async def attempt() -> Response | APIError:
        return outcomes.pop() if outcomes else await _attempt(transport, request)

    def may_retry(outcome: Response | APIError) -> bool:
        return is_retryable(request, outcome, attempts) and attempts <= config.max_retries and budget.take()

    def pause(state: Any) -> float:
        nonlocal attempts
        seconds = backoff_seconds(state.outcome.result(), attempts)
        log.debug("%s: attempt %d failed, next attempt in %.2f s", request.summary, attempts, seconds)
        attempts += 1
        return seconds

    # Exceptions that `attempt` raises are not retried: they are interruptions, or errors of this package.
    retrying = tenacity.AsyncRetrying(retry=tenacity.retry_if_result(may_retry), wait=pause, sleep=sleep)
    return await retrying(attempt), attempts


def _add_attempts(error: APIError, request: Request, attempts: int, started: float) -> APIError:
    error.method, error.path = request.method, request.path
    error.attempts, error.elapsed = attempts, time.monotonic() - started
    return error
