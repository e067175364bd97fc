"""Load a handler in a subprocess and respond to one event after another.

This file runs as a script, without the package, so it uses the standard library only. It reserves the standard streams,
so that nothing that a handler prints is mistaken for a response.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import inspect
import io
import json
import logging
import os
import sys
import time
import traceback

TYPE_CHECKING = False  # every process runs this file, so modules that it may not need are imported late
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, BinaryIO

_MAX_OUTPUT_CHARS = 4000


class LambdaContext:
    """The part of Lambda's context object that reward functions read."""

    function_name = "local-reward"
    function_version = "$LATEST"
    invoked_function_arn = "arn:aws:lambda:us-west-2:000000000000:function:local-reward"
    memory_limit_in_mb = 512
    log_group_name = "/aws/lambda/local-reward"
    log_stream_name = "local"

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self.rollout_errors: dict[str, str] = {}
        """The handler of this package adds why a rollout got the floor, by the id of the rollout."""

    @functools.cached_property
    def aws_request_id(self) -> str:
        """The id of the invocation."""
        from uuid import uuid4

        return str(uuid4())

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the timeout."""
        return max(0, int((self._deadline - time.monotonic()) * 1000))


class _StdoutHandler(logging.Handler):
    """Write log records to standard output, as Lambda's own handler does."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(f"{self.format(record)}\n")


class _RuntimeLibraries:
    """Import the libraries that every Lambda runtime has from the folders of this machine's installed packages."""

    names = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")

    def __init__(self, folders: list[str]) -> None:
        self._folders = folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Return the spec of one of the libraries, or None for every other module."""
        if path is not None or name not in self.names:
            return None
        return importlib.machinery.PathFinder.find_spec(name, self._folders, target)


def main(path: str, name: str, memory: int, folders: list[str]) -> None:
    """Load the handler, report the result, and respond to events until the input ends."""
    _limit_memory(memory)
    sys.meta_path.append(_RuntimeLibraries(folders))  # pyright: ignore[reportArgumentType] # a finder by its methods
    logging.getLogger().addHandler(_StdoutHandler())
    with _take_stream(0, os.O_RDONLY, "rb") as requests, _take_stream(1, os.O_WRONLY, "wb") as responses:
        entry, description = _load(path, name)
        _send(responses, description)
        for line in requests if entry is not None else ():
            request = json.loads(line)
            answer = _fingerprint(**request) if "names" in request else _respond(entry, **request)
            _send(responses, answer)


def _take_stream(descriptor: int, flags: int, mode: str) -> Any:
    """Return a standard stream and put the null device in its place."""
    own = os.fdopen(os.dup(descriptor), mode)
    null = os.open(os.devnull, flags)
    os.dup2(null, descriptor)
    os.close(null)
    return own


def _limit_memory(memory: int) -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    except (ImportError, ValueError, OSError):
        pass  # this platform has no such limits


def _load(path: str, name: str) -> tuple[Any, dict[str, Any]]:
    """Return the entry point and its description, or None and the reason why it cannot be loaded."""
    sys.path.insert(0, os.path.dirname(path))  # noqa: PTH120 - sys.path holds strings
    try:
        spec = importlib.util.spec_from_file_location("checked_reward", path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is not a Python file")  # noqa: TRY301 - reported below
        module = importlib.util.module_from_spec(spec)
        sys.modules["checked_reward"] = module
        spec.loader.exec_module(module)
        found = _attribute(module, name, os.path.basename(path))  # noqa: PTH119 - the path is a string
    except BaseException as error:  # noqa: BLE001 - the file may raise anything while it is loaded
        return None, _failure("load", error)
    is_reward = hasattr(found, "leaves") and hasattr(found, "handler")
    entry = found.handler if is_reward else found
    if not callable(entry):
        return None, {"failed": "load", "text": f"{name}: {signature_fault(entry)}"}
    folder = os.path.dirname(path)  # noqa: PTH120 - compared with strings
    return entry, {
        "ready": True,
        "reward": is_reward,
        "models": _models(folder, entry),
        "record": _record(entry),
        "wrong": signature_fault(entry),
    }


def _attribute(module: ModuleType, name: str, file: str) -> Any:
    """Return an attribute of the module. The error names the rewards and functions that could have been meant."""
    if hasattr(module, name):
        return getattr(module, name)
    names = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    known = [
        key
        for key, value in names.items()
        if hasattr(value, "leaves") or getattr(value, "__module__", "") == module.__name__
    ]
    raise AttributeError(f"{file} has no attribute {name!r}" + (f"; it has {', '.join(known[:5])}" if known else ""))


def signature_fault(entry: Any) -> str | None:
    """Return why Lambda could not call an entry point, or None."""
    if not callable(entry):
        return f"it is {type(entry).__name__}, not a function of (event, context)"
    call = type(entry).__call__
    if any(map(inspect.iscoroutinefunction, (entry, call))) or any(map(inspect.isasyncgenfunction, (entry, call))):
        return "it is async, which Lambda does not await; use def instead of async def"
    try:
        inspect.signature(entry).bind(None, None)
    except ValueError:
        return None  # some callables have no signature
    except TypeError as error:
        return f"it must take (event, context): {error}"
    return None


def _models(folder: str, entry: Any) -> list[str]:
    """Return the judge models of the handler's reward and of the rewards at the top level of modules in its folder."""
    values = [entry, getattr(entry, "reward", None)]
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folder) and not name.startswith("bedrock_rft"):
            values += vars(module).values()
    rewards = [value for value in values if hasattr(value, "leaves") and not isinstance(value, type)]
    found = [model for value in rewards for model in getattr(value, "models", ())]
    return list(dict.fromkeys(map(str, found)))


def _record(entry: Any) -> dict[str, Any] | None:
    """Return the settings of the handler's recording that a deployment needs."""
    record = getattr(entry, "record", None)
    names = ("location", "sample", "include", "kms_key")
    return {name: getattr(record, name) for name in names} if hasattr(record, "max_chars") else None


def _fingerprint(fingerprint_module_path: str, module: str, names: list[str]) -> dict[str, Any]:
    """Run `value_fingerprint.py` in this process, and return the fingerprints of named values of a loaded module."""
    import runpy

    try:
        fingerprint_names = runpy.run_path(fingerprint_module_path)["fingerprint_names"]
        return {"result": fingerprint_names(vars(sys.modules[module]), names)}
    except Exception:  # noqa: BLE001 - the values are the user's objects
        return {"result": {}}


def _respond(entry: Any, event: Any, seconds: float) -> dict[str, Any] | bytes:
    streams, output = (sys.stdout, sys.stderr), io.StringIO()
    sys.stdout = sys.stderr = output  # Lambda logs both
    context = LambdaContext(seconds)
    try:
        result = entry(event, context)
    except BaseException as error:  # noqa: BLE001 - sys.exit() in a reward is reported too
        return {**_failure("raised", error), "printed": output.getvalue()[:_MAX_OUTPUT_CHARS]}
    finally:
        sys.stdout, sys.stderr = streams
    printed = output.getvalue()[:_MAX_OUTPUT_CHARS]
    if inspect.iscoroutine(result):
        result.close()
        return {"kind": "coroutine", "printed": printed}
    if hasattr(result, "__next__") or hasattr(result, "__anext__"):
        return {"kind": "generator", "printed": printed}
    if isinstance(result, bytes):
        return {"kind": "bytes", "printed": printed}
    try:
        response = {"result": result, "printed": printed, "errors": context.rollout_errors}
        return json.dumps(response, default=convert_decimal).encode()
    except BaseException as error:  # noqa: BLE001 - objects may raise anything while they are encoded
        return {"failed": "not_json", "text": f"{type(error).__name__}: {error}"[:500], "printed": printed}


def convert_decimal(value: object) -> float:
    """Convert a `Decimal` to a float, as Lambda's runtime does for JSON. Raise `TypeError` for other types."""
    from decimal import Decimal

    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _failure(code: str, error: BaseException) -> dict[str, Any]:
    return {"failed": code, "text": describe_exception(error)}


def describe_exception(error: BaseException) -> str:
    """Return the type and the text of an exception, and the file and line that raised it."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if not frame.filename.startswith("<")]
    place = f" ({os.path.basename(own[-1].filename)}, line {own[-1].lineno})" if own else ""  # noqa: PTH119
    try:
        text = f"{type(error).__name__}: {error}".rstrip(": ")
    except Exception:  # noqa: BLE001 - __str__ is the user's code too
        text = type(error).__name__
    return text[:500] + place


def _send(responses: BinaryIO, message: dict[str, Any] | bytes) -> None:
    responses.write(message if isinstance(message, bytes) else json.dumps(message).encode())
    responses.write(b"\n")
    responses.flush()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
