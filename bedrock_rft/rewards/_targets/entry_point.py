"""A Lambda function on the user's machine: its entry point found, and called as Lambda calls it."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn
from uuid import uuid4

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._runtime.reward import Reward

__all__ = ["Context", "EntryPoint", "call_handler", "load_handler", "raised"]

EntryPoint = Callable[[Any, Any], Any]
"""A Lambda entry point: event and context in, answer out."""

_ARN = "arn:aws:lambda:us-west-2:000000000000:function:local-reward"


@dataclass(frozen=True)
class Context:
    """As much of Lambda's context object as reward functions read."""

    aws_request_id: str
    deadline: float
    """On the clock of `time.monotonic`, seconds."""
    function_name: str = "local-reward"
    function_version: str = "$LATEST"
    invoked_function_arn: str = _ARN
    memory_limit_in_mb: int = 512
    log_group_name: str = "/aws/lambda/local-reward"
    log_stream_name: str = "local"

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is given up."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def load_handler(handler: EntryPoint | Reward | str) -> EntryPoint:
    """Find an entry point.

    Args:
        handler: a reward, the function itself, or where it is: `path/to/file.py:handler_name`. What stands there may be
            a reward as well.

    Raises:
        ConfigurationError: there is no such file or function, or it is none that Lambda could call.
    """
    if isinstance(handler, Reward):
        return handler.handler
    if not isinstance(handler, str):
        _check_callable(handler, "The reward handler")
        return handler
    path, colon, name = handler.rpartition(":")
    if not colon or not path.endswith(".py") or not name.isidentifier():
        raise ConfigurationError(f"The reward handler '{handler}' is not of the form 'path/to/file.py:handler_name'.")
    file = _file(path)
    entry = getattr(_module(file), name, None)
    if isinstance(entry, Reward):
        entry = entry.handler
    if entry is None:
        raise ConfigurationError(f"{file} has no '{name}'. Name the function that takes (event, context).")
    _check_callable(entry, f"'{name}' in {file}")

    def call(event: Any, context: Any) -> Any:
        # In Lambda the function's folder stays importable, for imports inside functions too.
        with _importable(file.parent):
            return entry(event, context)

    return call


def _file(path: str) -> Path:
    try:
        file = Path(path).expanduser().resolve()
        if file.is_file():
            return file
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"The reward handler's file '{path:.200}' cannot be found: {reason}.") from error
    raise ConfigurationError(f"The reward handler's file {file} does not exist.")


def call_handler(entry: EntryPoint, event: object, *, timeout: float) -> Any:
    """Call an entry point as Lambda would, with an event that went through JSON, and for `timeout` seconds at most.

    Raises:
        RewardError: it raised or took too long.
    """
    copy = json.loads(json.dumps(event))
    context = Context(str(uuid4()), time.monotonic() + timeout)
    answers: list[Any] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(entry(copy, context))
        except BaseException as error:  # noqa: BLE001 - sys.exit() in a reward must not end the thread in silence
            failures.append(error)

    # Nothing can stop a thread from outside. One that overruns is abandoned: it runs on as a daemon, its answer unread.
    thread = threading.Thread(target=work, name="local-reward", daemon=True)
    thread.start()
    thread.join(timeout)
    if failures:
        _raised(failures[0])
    if not answers:
        raise RewardError(
            f"The reward handler did not answer within {timeout:g} seconds. Make it faster, or raise its timeout.",
            code="timeout",
        )
    return answers[0]


def _raised(error: BaseException) -> NoReturn:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's own text is the user's code too
        text = "(its text cannot be shown)"
    kind = type(error).__name__
    said = f"{kind}: {sanitize_line(text, 500)}" if text else kind
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first is this module's
    if frames:
        said += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    raise raised(said, kind) from error


def raised(said: str, kind: str) -> RewardError:
    """The error for a handler that raised as a whole: `said` is the exception and its place, `kind` its type."""
    return RewardError(
        f"The reward handler raised {said}. One bad rollout must not fail a whole batch: catch it and score it 0.",
        code="raised",
        cause=kind,
    )


def _check_callable(entry: object, what: str) -> None:
    if not callable(entry):
        raise ConfigurationError(f"{what} is {type(entry).__name__}, not a function of (event, context).")
    call = type(entry).__call__
    if any(kind(each) for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction) for each in (entry, call)):
        raise ConfigurationError(f"{what} is async, which Lambda does not await. Make it an ordinary function.")
    try:
        signature = inspect.signature(entry)
    except ValueError:
        return  # some things that can be called do not say how
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise ConfigurationError(f"{what} must take (event, context): {error}.") from None


class _Fresh(SourceFileLoader):
    """Reads the source as it stands now, and leaves no `__pycache__` beside it."""

    def path_stats(self, path: Any) -> NoReturn:
        # Bytecode is matched by seconds and size: a reward edited within one second would run as it was before.
        raise OSError(f"no bytecode for {path}")


def _module(file: Path) -> ModuleType:
    name = f"_local_reward_{uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, file, loader=_Fresh(name, str(file)))
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{file} cannot be loaded as a Python file.")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look their module up by name.
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
