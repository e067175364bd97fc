"""The other end of a check: loads a handler in a process of its own, and answers one event after another.

Run as a script, without the package, and therefore of the standard library alone. It takes its
standard streams for itself, so that nothing a handler prints can be taken for its answer.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import logging
import os
import sys
import time
import traceback
from decimal import Decimal
from typing import Any, BinaryIO

_SHOWN = 4000


class Context:
    """As much of Lambda's context object as reward functions read."""

    function_name = log_group_name = log_stream_name = "checked-reward"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-west-2:000000000000:function:checked-reward"
    aws_request_id = "check"
    memory_limit_in_mb = 512

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is given up."""
        return max(0, int((self._until - time.monotonic()) * 1000))


class _Log(logging.Handler):
    """Writes where prints go, as Lambda's own handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"{self.format(record)}\n")


def main(path: str, name: str, memory: int) -> None:
    """Load, say so, and answer until nothing is asked any more."""
    _limit(memory)
    logging.getLogger().addHandler(_Log())
    with _apart(0, os.O_RDONLY, "rb") as questions, _apart(1, os.O_WRONLY, "wb") as answers:
        entry, said = _loaded(path, name)
        _tell(answers, said)
        for line in questions if entry is not None else ():
            task = json.loads(line)
            _tell(answers, _answer(entry, task["event"], task["seconds"]))


def _apart(descriptor: int, how: int, mode: str) -> Any:
    """A standard stream for this module alone; the handler finds nothing in its place."""
    own = os.fdopen(os.dup(descriptor), mode)
    nothing = os.open(os.devnull, how)
    os.dup2(nothing, descriptor)
    os.close(nothing)
    return own


def _limit(memory: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # there are no such limits here


def _loaded(path: str, name: str) -> tuple[Any, dict[str, Any]]:
    """The entry point and what it is, or None and what is wrong with it."""
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - strings, as sys.path has them
    try:
        spec = importlib.util.spec_from_file_location("checked_reward", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")  # noqa: TRY301 - told like all others
        module = importlib.util.module_from_spec(spec)
        sys.modules["checked_reward"] = module
        spec.loader.exec_module(module)
        found = getattr(module, name)
    except BaseException as error:  # noqa: BLE001 - whatever a file does as it is loaded is to be told
        return None, _failed("load", error)
    # A reward stands for its handler.
    is_reward = hasattr(found, "leaves") and hasattr(found, "handler")
    entry = found.handler if is_reward else found
    if not callable(entry):
        text = f"{name} is {type(entry).__name__}, not a function of (event, context)"
        return None, {"failed": "load", "text": text}
    folder = os.path.dirname(path)  # noqa: PTH120 - as above
    said = {"ready": True, "reward": is_reward, "models": _models(folder, entry), "wrong": _wrong(entry)}
    return entry, said


def _wrong(entry: Any) -> str | None:
    """Why Lambda could not call it, where that shows without calling."""
    call = type(entry).__call__
    if any(map(inspect.iscoroutinefunction, (entry, call))) or any(map(inspect.isasyncgenfunction, (entry, call))):
        return "it is async, which Lambda does not await; make it an ordinary function"
    try:
        inspect.signature(entry).bind(None, None)
    except ValueError:
        return None  # some things that can be called do not say how
    except TypeError as error:
        return f"it must take (event, context): {error}"
    return None


def _models(folder: str, entry: Any) -> list[str]:
    """The models that rewards ask: the handler's own, and those that the files beside it keep at their top level."""
    kept = [entry, getattr(entry, "reward", None)]
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder) and not name.startswith("bedrock_rft"):
            kept += vars(module).values()
    rewards = [value for value in kept if hasattr(value, "leaves") and not isinstance(value, type)]
    found = [model for value in rewards for model in getattr(value, "models", ())]
    return list(dict.fromkeys(map(str, found)))


def _answer(entry: Any, event: Any, seconds: float) -> dict[str, Any] | bytes:
    held, said = sys.stdout, io.StringIO()
    sys.stdout = said
    try:
        result = entry(event, Context(seconds))
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a reward is one of the things that are looked for
        return {**_failed("raised", error), "printed": said.getvalue()[:_SHOWN]}
    finally:
        sys.stdout = held
    printed = said.getvalue()[:_SHOWN]
    if inspect.iscoroutine(result):
        result.close()
        return {"kind": "coroutine", "printed": printed}
    if hasattr(result, "__next__") or hasattr(result, "__anext__"):
        return {"kind": "generator", "printed": printed}
    if isinstance(result, bytes):
        return {"kind": "bytes", "printed": printed}
    try:
        return json.dumps({"result": result, "printed": printed}, default=_decimal).encode()
    except BaseException as error:  # noqa: BLE001 - objects may raise what they like as they are spelled
        return {"failed": "not_json", "text": f"{type(error).__name__}: {error}"[:500], "printed": printed}


def _decimal(value: object) -> float:
    # Lambda's own runtime does this one conversion.
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _failed(code: str, error: BaseException) -> dict[str, Any]:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if not frame.filename.startswith("<")]
    place = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""  # noqa: PTH119
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception:  # noqa: BLE001 - an exception's own text is the user's code too
        text = type(error).__name__
    return {"failed": code, "text": text[:500] + place}


def _tell(answers: BinaryIO, said: dict[str, Any] | bytes) -> None:
    answers.write(said if isinstance(said, bytes) else json.dumps(said).encode())
    answers.write(b"\n")
    answers.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
