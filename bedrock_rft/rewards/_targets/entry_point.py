"""Load the entry point of a reward function and call it as Lambda does."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn, cast
from uuid import uuid4

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.handler_errors import raised_error

__all__ = ["EntryPoint", "LambdaContext", "call_handler", "load_gold", "load_handler"]

EntryPoint = Callable[[Any, Any], Any]
"""A Lambda entry point: takes the event and the context, returns the result."""

_ASYNC = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
_ARN = "arn:aws:lambda:us-west-2:000000000000:function:local-reward"


@dataclass(frozen=True)
class LambdaContext:
    """The part of Lambda's context object that reward functions read."""

    aws_request_id: str
    deadline: float
    """Seconds on the clock of `time.monotonic`."""
    function_name: str = "local-reward"
    function_version: str = "$LATEST"
    invoked_function_arn: str = _ARN
    memory_limit_in_mb: int = 512
    log_group_name: str = "/aws/lambda/local-reward"
    log_stream_name: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def load_handler(handler: EntryPoint | Reward | str) -> EntryPoint:
    """Return the entry point of a reward.

    Args:
        handler: a reward, a function of (event, context), or `path/to/file.py:handler_name`, which may name either.

    Raises:
        ConfigurationError: there is no such file or function, or Lambda could not call it.
    """
    if isinstance(handler, Reward):
        return handler.handler
    if not isinstance(handler, str):
        _check_callable(handler, "The reward handler")
        return handler
    file, entry = _load_object(handler, "The reward handler")
    if isinstance(entry, Reward):
        entry = entry.handler
    if entry is None:
        raise ConfigurationError(
            f"{file} has no '{handler.rpartition(':')[2]}'. Name the function of (event, context)."
        )
    _check_callable(entry, f"'{handler.rpartition(':')[2]}' in {file}")

    def call(event: Any, context: Any) -> Any:
        # Lambda keeps the function's folder importable, also for imports inside functions.
        with _importable(file.parent):
            return entry(event, context)

    return call


def load_gold(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Return the function that `path/to/file.py:name` names, for `gold=`.

    Raises:
        ConfigurationError: there is no such file or function.
    """
    file, function = _load_object(text, "gold")
    if not callable(function):
        name = text.rpartition(":")[2]
        raise ConfigurationError(f"{file} has no function '{name}'. Name a function that takes a record.")
    return cast("Callable[[Mapping[str, Any]], str]", function)


def _load_object(text: str, subject: str) -> tuple[Path, Any]:
    """Load `path/to/file.py:name` and return the file with the object, or None if it has no such name."""
    path, colon, name = text.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise ConfigurationError(f"{subject} '{text}' is not of the form 'path/to/file.py:name'.")
    file = _find_file(path)
    return file, getattr(_load_module(file), name, None)


def _find_file(path: str) -> Path:
    try:
        file = Path(path).expanduser().resolve()
        if file.is_file():
            return file
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"The reward handler's file '{path:.200}' cannot be found: {reason}.") from error
    raise ConfigurationError(f"The reward handler's file {file} does not exist.")


def call_handler(entry: EntryPoint, event: object, *, timeout: float) -> Any:
    """Call an entry point as Lambda does: with a copy of the event made through JSON, and with a timeout.

    Args:
        entry: the entry point.
        event: a JSON value.
        timeout: seconds after which the call is abandoned.

    Raises:
        RewardError: the function raised, or exceeded the timeout.
    """
    copy = json.loads(json.dumps(event))
    context = LambdaContext(str(uuid4()), time.monotonic() + timeout)
    results: list[Any] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(entry(copy, context))
        except BaseException as error:  # noqa: BLE001 - sys.exit() too must be reported
            failures.append(error)

    # A thread cannot be stopped. One that exceeds the timeout continues as a daemon, and its result is not read.
    thread = threading.Thread(target=run, name="local-reward", daemon=True)
    thread.start()
    thread.join(timeout)
    if failures:
        _raise_reward_error(failures[0])
    if not results:
        raise RewardError(
            f"The reward handler did not answer within {timeout:g} seconds. Make it faster, or raise its timeout.",
            code="timeout",
        )
    return results[0]


def _raise_reward_error(error: BaseException) -> NoReturn:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - __str__ is the user's code too
        text = "(its text cannot be shown)"
    name = type(error).__name__
    description = f"{name}: {sanitize_line(text, 500)}" if text else name
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first frame is this module's
    if frames:
        description += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    raise raised_error(description, name) from error


def _check_callable(entry: object, subject: str) -> None:
    if not callable(entry):
        raise ConfigurationError(f"{subject} is {type(entry).__name__}, not a function of (event, context).")
    call = type(entry).__call__
    if any(is_async(code) for is_async in _ASYNC for code in (entry, call)):
        raise ConfigurationError(f"{subject} is async, which Lambda does not await. Make it an ordinary function.")
    try:
        signature = inspect.signature(entry)
    except ValueError:
        return  # some callables have no signature
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(f"{subject} must take (event, context): {error}.") from None


class _UncachedLoader(SourceFileLoader):
    """Load the current source and write no `__pycache__`."""

    def path_stats(self, path: Any) -> NoReturn:
        # Cached bytecode is matched by seconds and size, so an edit within one second would not take effect.
        raise OSError(f"no bytecode for {path}")


def _load_module(file: Path) -> ModuleType:
    name = f"_local_reward_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_UncachedLoader(name, str(file)))
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look up their module by name.
    sys.modules[name] = module
    try:
        with _importable(file.parent):
            spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigurationError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    return module


@contextlib.contextmanager
def _importable(folder: Path) -> Generator[None, None, None]:
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(entry)
