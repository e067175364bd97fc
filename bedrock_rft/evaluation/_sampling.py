"""Sample answers from the service concurrently, with retries, and with as many requests as the service accepts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeAlias

from typing_extensions import Self

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.connection_errors import map_connection_error
from bedrock_rft._transport.retry import backoff_seconds, is_retryable, is_throttled
from bedrock_rft._transport.status_errors import map_status_error, retry_after
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import APIError, APIResponseError, BadRequestError
from bedrock_rft.evaluation._concurrency import gather_or_cancel, run_in_thread
from bedrock_rft.evaluation._questions import Question
from bedrock_rft.evaluation._resume_file import Answer

Sampler: TypeAlias = Callable[[Question], Awaitable[Answer]]
"""Function that sends one question once. It raises `APIError`, or `UnsuccessfulResponse`, which may be retried."""

_REQUEST = Request("POST", "/chat/completions", repeatable=True)
_ATTEMPTS = 8
_MAX_REFUSALS = 20
"""If this many questions are rejected and none was answered, the cause is the request and not the questions."""
_BUSY_SECONDS = 600.0
"""Time for which one question is retried while the service is over capacity."""
_NO_CAPACITY = 503
_DECREASE = 0.7
_DECREASE_INTERVAL = 1.0  # seconds; throttled responses within it count once


class UnsuccessfulResponse(Exception):  # noqa: N818 - not an error yet: it may be retried
    """A response of the service that contains no answer."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response
        self.busy = is_throttled(response) or response.status == _NO_CAPACITY


class AdaptiveLimiter:
    """Concurrency limit that drops when the service throttles requests and recovers slowly (AIMD)."""

    def __init__(self, maximum: int) -> None:
        self._maximum = maximum
        self.limit = float(maximum)
        self._active = 0
        self._paused_until = 0.0
        self._decreased_at = -_DECREASE_INTERVAL
        self._condition = asyncio.Condition()

    async def __aenter__(self) -> Self:
        async with self._condition:
            await self._condition.wait_for(lambda: self._active < max(1, int(self.limit)))
            self._active += 1
        while (pause := self._paused_until - time.monotonic()) > 0:  # noqa: ASYNC110 - the pause may be extended
            await asyncio.sleep(pause)
        return self

    async def __aexit__(self, *_: object) -> None:
        async with self._condition:
            self._active -= 1
            self._condition.notify_all()

    def increase(self) -> None:
        """Raise the limit a little after a successful request."""
        self.limit = min(self._maximum, self.limit + 1 / self.limit)

    def decrease(self, pause: float = 0.0) -> None:
        """Lower the limit after a throttled request, and start no request for `pause` seconds."""
        now = time.monotonic()
        self._paused_until = max(self._paused_until, now + pause)
        if now - self._decreased_at >= _DECREASE_INTERVAL:
            self._decreased_at = now
            self.limit = max(1.0, self.limit * _DECREASE)


def chat_sampler(
    client: Any, config: Config, sampling: Mapping[str, Any], timeout: float, *, blocking: bool
) -> Sampler:
    """Return a sampler that sends questions through an `OpenAI` (blocking, in threads) or `AsyncOpenAI` client."""
    chat = client.with_options(max_retries=0, timeout=timeout).chat.completions

    async def sample(question: Question) -> Answer:
        import openai

        fields: dict[str, Any] = {"model": question.model.id, "messages": question.prompt.messages, **sampling}
        if isinstance(seed := sampling.get("seed"), int):
            fields["seed"] = seed + question.sample  # with the same seed, all samples of a prompt might be equal
        try:
            completion = await (run_in_thread(lambda: chat.create(**fields)) if blocking else chat.create(**fields))
        except openai.APIStatusError as error:
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            response = Response(error.response.status_code, headers, error.response.content)
            raise UnsuccessfulResponse(response) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise map_connection_error(cause, _REQUEST, config, None)  # noqa: B904 - it sets the cause
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise APIResponseError(f"POST /chat/completions: the response is not a chat completion: {error}") from None
        return _parse_completion(completion)

    return sample


def _parse_completion(completion: Any) -> Answer:
    choices = getattr(completion, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise APIResponseError("POST /chat/completions: the response has no choice.")
    usage = getattr(completion, "usage", None)
    return Answer(
        text=choices[0].message.content or "",
        finish_reason=choices[0].finish_reason,
        prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
    )


async def sample_all(
    questions: Iterator[Question],
    sampler: Sampler,
    config: Config,
    limiter: AdaptiveLimiter,
    workers: int,
    on_answer: Callable[[Question, Answer], None],
    on_refusal: Callable[[Question, APIError], None],
) -> None:
    """Send all questions, at most `workers` at a time. Raise an `APIError` that affects every question."""
    answered, refused = 0, 0

    async def work() -> None:
        nonlocal answered, refused
        for question in questions:
            try:
                answer = await _sample_with_retries(question, sampler, config, limiter)
            except (BadRequestError, APIResponseError) as error:
                refused += 1
                if not answered and refused >= _MAX_REFUSALS:
                    raise
                on_refusal(question, error)
            else:
                answered += 1
                on_answer(question, answer)

    await gather_or_cancel(work() for _ in range(workers))


async def _sample_with_retries(
    question: Question, sampler: Sampler, config: Config, limiter: AdaptiveLimiter
) -> Answer:
    """Send a question until it is answered. The number of failures and the time of throttling are limited."""
    import tenacity

    failures = 0

    async def attempt() -> Answer:
        async with limiter:
            try:
                answer = await sampler(question)
            except UnsuccessfulResponse as error:
                if error.busy:
                    # All requests pause only if the service names the seconds.
                    limiter.decrease(retry_after(error.response) or 0.0)
                raise
            limiter.increase()
            return answer

    def should_retry(state: tenacity.RetryCallState) -> bool:
        nonlocal failures
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, UnsuccessfulResponse) and error.busy:
            return (state.seconds_since_start or 0.0) <= _BUSY_SECONDS and is_retryable(_REQUEST, error.response, 1)
        if not isinstance(error, (APIError, UnsuccessfulResponse)):
            return False
        failures += 1
        # A response that cannot be parsed may be retried here, because a question changes nothing on the server.
        retryable = isinstance(error, APIResponseError) or is_retryable(_REQUEST, _outcome(error), 1)
        return failures < _ATTEMPTS and retryable

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        busy = isinstance(error, UnsuccessfulResponse) and error.busy
        return 0.0 if error is None else backoff_seconds(_outcome(error), failures + busy)

    retrying = tenacity.AsyncRetrying(retry=should_retry, wait=pause, sleep=asyncio.sleep, reraise=True)
    try:
        answer: Answer = await retrying(attempt)
    except (APIError, UnsuccessfulResponse) as error:
        final = error if isinstance(error, APIError) else map_status_error(error.response, _REQUEST, config)
        final.method, final.path, final.attempts = _REQUEST.method, _REQUEST.path, max(1, failures)
        raise final from None
    return answer


def _outcome(error: BaseException) -> Response | BaseException:
    return error.response if isinstance(error, UnsuccessfulResponse) else error
