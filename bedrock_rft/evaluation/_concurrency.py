"""Concurrent work on an event loop and in threads."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

__all__ = ["gather_or_cancel", "run_coroutine", "run_in_thread", "run_workers"]

T = TypeVar("T")

_WAKE_SECONDS = 0.2
_THREAD_NAME = "bedrock-rft-evaluation"


async def run_workers(work: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    """Run the same coroutine function `count` times concurrently. The first failure cancels all and is raised."""
    await gather_or_cancel([work() for _ in range(count)])


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, None]]) -> None:
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
    loop, future = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

    def set_outcome(result: Any, error: BaseException | None) -> None:
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001 - raised again in the awaiting task
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed, so no task awaits the result
            loop.call_soon_threadsafe(set_outcome, result, error)

    threading.Thread(target=run, name=_THREAD_NAME, daemon=True).start()
    result: T = await future
    return result


def run_coroutine(create: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine from synchronous code; in a new thread if this thread already runs an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(create())
    loop = asyncio.new_event_loop()
    task = loop.create_task(create())
    results: list[T] = []
    failures: list[BaseException] = []
    finished = threading.Event()  # `Thread.join` may report an interrupted thread as ended while it still runs

    def run() -> None:
        try:
            results.append(loop.run_until_complete(task))
        except BaseException as error:  # noqa: BLE001 - raised again in the calling thread
            failures.append(error)
        finally:
            try:
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()
                finished.set()

    threading.Thread(target=run, name=_THREAD_NAME, daemon=True).start()
    try:
        while not finished.wait(_WAKE_SECONDS):
            pass  # some systems do not wake a waiting thread for a signal
    except BaseException:  # an interrupt in a notebook must stop the requests
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(task.cancel)
        finished.wait()
        raise
    if failures:
        raise failures[0]
    return results[0]
