"""Concurrent work on an event loop and in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from anyio.from_thread import start_blocking_portal

T = TypeVar("T")

_WAKE_SECONDS = 0.2


async def gather_or_cancel(coroutines: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines concurrently. The first failure cancels all others and is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run_in_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a new daemon thread, so that Ctrl-C does not wait for a slow response."""
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a cancelled task does not cancel the thread's future

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting task
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="bedrock-rft-evaluation", daemon=True).start()
    return await asyncio.wrap_future(future)


def run_coroutine(create: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine from synchronous code; in a new thread if this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(create())
    with start_blocking_portal() as portal:  # an interrupt in a notebook ends it, which cancels the requests
        future: Future[T] = portal.start_task_soon(create)
        while not future.done():
            wait([future], _WAKE_SECONDS)  # some systems do not wake a waiting thread for a signal
    return future.result()
