"""Questions asked of the service, many at once, each until it is answered or cannot be."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar

from bedrock_rft._auth.config import Config
from bedrock_rft._transport.connection_errors import disarm, lost
from bedrock_rft._transport.retry import delay, throttled, worth
from bedrock_rft._transport.status_errors import refusal, retry_after
from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import (
    APIError,
    APIResponseError,
    BadRequestError,
)
from bedrock_rft.evaluation._journal import Answer
from bedrock_rft.evaluation._lanes import Lanes
from bedrock_rft.evaluation._questions import Question

__all__ = ["Ask", "apart", "ask_all", "asker", "crowd", "in_thread", "together"]

T = TypeVar("T")

Ask: TypeAlias = Callable[[Question], Awaitable[Answer]]
"""Asks once. Raises `APIError`; what is worth another try is decided by the caller."""

_CALL = Request("POST", "/chat/completions", repeatable=True)
_ATTEMPTS = 8
_GLANCE = 0.2
_HOPELESS = 20
"""Questions that are refused, with none answered, until it is the asking that is wrong and not a question."""
_PATIENCE = 600.0
"""Seconds for which one question is put off where the service has too much to do."""


def asker(client: Any, config: Config, sampling: Mapping[str, Any], timeout: float, *, blocking: bool) -> Ask:
    """How one question is asked through OpenAI's own client.

    Args:
        client: an `OpenAI` or an `AsyncOpenAI`.
        config: for what an error says.
        sampling: further fields of the request, such as `temperature`.
        timeout: seconds for one request.
        blocking: whether it is an `OpenAI`, whose calls go into threads.
    """
    chat = client.with_options(max_retries=0, timeout=timeout).chat.completions

    async def ask(question: Question) -> Answer:
        import openai

        wanted: dict[str, Any] = {"model": question.model.id, "messages": question.prompt.messages, **sampling}
        if isinstance(seed := sampling.get("seed"), int):
            wanted["seed"] = seed + question.sample  # with the same one, every sample may be the same
        try:
            found = await (in_thread(lambda: chat.create(**wanted)) if blocking else chat.create(**wanted))
        except openai.APIStatusError as error:
            raise _Refused(_reply(error)) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            raise lost(cause, _CALL, config, None) from disarm(cause, None)
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise APIResponseError(f"POST /chat/completions: the answer is no chat completion: {error}") from None
        return _answer(found)

    return ask


class _Refused(Exception):  # noqa: N818 - a reply on its way to whoever decides about it
    """A reply that is not a success."""

    def __init__(self, reply: Response) -> None:
        super().__init__()
        self.reply = reply


def _reply(error: Any) -> Response:
    response = error.response
    return Response(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def _answer(found: Any) -> Answer:
    choices = getattr(found, "choices", None)
    if not choices or getattr(choices[0], "message", None) is None:
        raise APIResponseError("POST /chat/completions: the answer holds no choice.")
    usage = getattr(found, "usage", None)
    return Answer(
        text=choices[0].message.content or "",
        finish_reason=choices[0].finish_reason,
        prompt_tokens=getattr(usage, "prompt_tokens", 0) or 0,
        completion_tokens=getattr(usage, "completion_tokens", 0) or 0,
    )


async def ask_all(
    questions: Iterator[Question],
    ask: Ask,
    config: Config,
    lanes: Lanes,
    *,
    workers: int,
    answered: Callable[[Question, Answer], None],
    failed: Callable[[Question, APIError], None],
) -> None:
    """Ask everything, `workers` at a time at most.

    Args:
        questions: what is asked; taken one by one, so that there may be very many.
        ask: asks once.
        config: for what an error says.
        lanes: how many at once.
        workers: the most that are under way.
        answered: is told of every answer.
        failed: is told of a question that the service does not take, such as one that is too long.

    Raises:
        APIError: something that concerns every question, such as a model that does not exist or a missing permission.
    """
    went, refused = 0, 0

    async def work() -> None:
        nonlocal went, refused
        for question in questions:
            try:
                answer = await _until_answered(question, ask, config, lanes)
            except (BadRequestError, APIResponseError) as error:
                refused += 1
                if not went and refused >= _HOPELESS:
                    raise
                failed(question, error)
            else:
                went += 1
                answered(question, answer)

    await crowd(work, workers)


async def crowd(work: Callable[[], Coroutine[Any, Any, None]], size: int) -> None:
    """Do the same `size` times over at once. The first that fails ends all of them, and is raised."""
    await together([work() for _ in range(size)])


async def together(works: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do several things at once. The first that fails ends all of them, and is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _until_answered(question: Question, ask: Ask, config: Config, lanes: Lanes) -> Answer:
    began, attempt = time.monotonic(), 0
    while True:
        async with lanes:
            try:
                answer = await ask(question)
            except _Refused as refused:
                outcome: Response | APIError = refused.reply
            except APIError as error:
                outcome = error
            else:
                lanes.answered()
                return answer
            pause = delay(outcome, attempt + 1)
            busy = isinstance(outcome, Response) and (throttled(outcome) or outcome.status == _NO_CAPACITY)
            if busy:
                # Only where the service names a time is it meant for everybody.
                lanes.refused(retry_after(outcome) or 0.0 if isinstance(outcome, Response) else 0.0)
        attempt += 0 if busy else 1
        late = time.monotonic() - began > _PATIENCE if busy else attempt >= _ATTEMPTS
        if late or not (_again(outcome) or worth(_CALL, outcome, 1)):
            raise _error(outcome, config, attempt) from None
        await asyncio.sleep(pause)


_NO_CAPACITY = 503


def _again(outcome: Response | APIError) -> bool:
    """What is worth another try here and nowhere else: a garbled answer to a question that changes nothing."""
    return isinstance(outcome, APIResponseError)


def _error(outcome: Response | APIError, config: Config, attempts: int) -> APIError:
    error = refusal(outcome, _CALL, config) if isinstance(outcome, Response) else outcome
    error.method, error.path, error.attempts = _CALL.method, _CALL.path, max(1, attempts)
    return error


async def in_thread(work: Callable[[], T]) -> T:
    """Do blocking work in a thread of its own, which nothing waits for: Ctrl-C need not outlast a slow answer."""
    loop, done = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def settle(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - raised again where it is waited for
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name="bedrock-rft-evaluation", daemon=True).start()
    result: T = await done
    return result


def apart(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine from ordinary code, beside an event loop where this thread runs one already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work())
    loop = asyncio.new_event_loop()
    task = loop.create_task(work())
    done: list[T] = []
    failures: list[BaseException] = []
    over = threading.Event()  # a thread whose `join` was interrupted counts as ended, though it goes on

    def run() -> None:
        try:
            done.append(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001 - raised again where it belongs
            failures.append(error)
        finally:
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()
                over.set()

    threading.Thread(target=run, name="bedrock-rft-evaluation", daemon=True).start()
    try:
        while not over.wait(_GLANCE):
            pass  # not every system wakes a thread that waits for another when a signal comes
    except BaseException:  # an interrupt, in a notebook: what runs aside must not go on asking
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        over.wait()
        raise
    if failures:
        raise failures[0]
    return done[0]
