"""Concurrent work on an event loop and in threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future, wait
from typing import Any, TypeVar

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
    return await asyncio.wrap_future(_start_thread(work))


def run_coroutine(create: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine from synchronous code; in a new thread if this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(create())
    loop = asyncio.new_event_loop()
    task = loop.create_task(create())

    def run() -> T:
        try:
            return loop.run_until_complete(task)
        finally:
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()

    future = _start_thread(run)
    try:
        while not future.done():
            wait([future], _WAKE_SECONDS)  # some systems do not wake a waiting thread for a signal
    except BaseException:  # an interrupt in a notebook must stop the requests
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        wait([future])
        raise
    return future.result()


def _start_thread(work: Callable[[], T]) -> Future[T]:
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()  # a cancelled task does not cancel the thread's future

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised again in the waiting thread or task
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, name="bedrock-rft-evaluation", daemon=True).start()
    return future
