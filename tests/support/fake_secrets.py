"""Fake secrets, and checks of everything that might print them."""

from __future__ import annotations

import base64
import copy
import dataclasses
import io
import json
import logging
import pickle
import pprint
import re
import traceback
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from typing import Any, cast
from urllib.parse import quote

import pytest
from botocore.credentials import Credentials
from pydantic import BaseModel

__all__ = [
    "IDENTITIES",
    "LONG",
    "PROXY",
    "SECRET",
    "SHORT",
    "TOKEN",
    "find_leaks",
    "find_secrets",
    "inspect_with_rich",
    "report_with_pytest",
    "short_term",
    "show_exception",
    "show_value",
]  # fmt: skip


def short_term(region: str = "us-west-2", stamp: datetime | None = None) -> str:
    """Return a short-term key like those of the AWS token generator: an encoded signed URL."""
    at = stamp or datetime.now(timezone.utc)
    url = (
        "bedrock.amazonaws.com/?Action=CallWithBearerToken&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Credential=ASIAFAKE00000001%2F{at:%Y%m%d}%2F{region}%2Fbedrock%2Faws4_request"
        f"&X-Amz-Date={at:%Y%m%dT%H%M%SZ}&X-Amz-Expires=43200&X-Amz-Signature={'5ec7e7' * 10}0123&Version=1"
    )
    return "bedrock-api-key-" + base64.b64encode(url.encode()).decode()


LONG = "ABSKfake9Long8Term7Key+6Zm9v/5YmFy4YmF63cXV12"
SHORT = short_term()
ACCESS_KEY = "AKIAFAKE00000001"
SECRET = "fake9Secret8Access7Key+/6Zm9v5YmFy4YmF63"
TOKEN = "fake9Session8Token7+/6Zm9v5YmFy4YmF63cXV1eA2" * 6 + "=="
PROXY = "fake9proxy8password7"

IDENTITIES: dict[str, Any] = {
    "long": lambda: {"api_key": LONG},
    "short": lambda: {"api_key": SHORT},
    "function": lambda: {"api_key": lambda: LONG},
    "aws": lambda: {"credentials": Credentials(ACCESS_KEY, SECRET, TOKEN)},
}
"""Functions that return client arguments, so that no frame of a test holds a secret."""

_PARTS = [
    *(secret[start : start + 20] for secret in (LONG, SECRET, PROXY, TOKEN) for start in (4, len(secret) - 20)),
    *(SHORT[start : start + 20] for start in (100, 200, 300)),  # the beginning is the same in all of these keys
]
_NEEDLES = [*_PARTS, *(spelled for part in _PARTS if (spelled := quote(part, safe="")) != part)]
_SIGNATURE = re.compile(r"Signature=[0-9a-f]{64}")


def find_secrets(text: str | bytes, also: Iterable[str] = ()) -> list[str]:
    """Return the parts of fake secrets, and the signatures, that a text contains."""
    content = text.decode("latin-1") if isinstance(text, bytes) else text
    return [needle for needle in (*_NEEDLES, *also) if needle in content] + _SIGNATURE.findall(content)


def show_value(thing: Any) -> Iterator[tuple[str, str | bytes]]:
    """Yield the name and the output of every way to print an object."""
    from rich.pretty import pretty_repr  # not at the start of every test process, which imports this module

    yield "repr", repr(thing)
    yield "str", str(thing)
    yield "format", f"{thing}"
    yield "%r", "%r" % (cast("object", thing),)  # noqa: UP031 - another way to print
    yield "list", str([cast("object", thing)])
    yield "dict", str(dict(a=(cast("object", thing),)))  # noqa: C408 - as short
    yield "pprint", pprint.pformat(thing)
    yield "rich", pretty_repr(thing, max_width=10_000)
    yield "IPython", _format_with_ipython(thing)
    yield "inspect", inspect_with_rich(thing)
    yield "json", _as_json(thing)
    if hasattr(thing, "__dict__"):
        fields: dict[str, Any] = dict(vars(thing))  # pyright: ignore[reportUnknownArgumentType]
        yield "vars", str(fields)
        yield "vars, rich", pretty_repr(fields, max_width=10_000)
        yield "vars, IPython", _format_with_ipython(fields)
    if hasattr(thing, "__dataclass_fields__"):
        yield "fields", str({each.name: getattr(thing, each.name) for each in dataclasses.fields(thing)})
        try:
            yield "asdict", str(dataclasses.asdict(thing))
        except TypeError as error:  # a secret cannot be copied
            yield "asdict", str(error)
    if isinstance(thing, BaseModel):
        yield "model_dump", str(thing.model_dump())
        yield "model_dump_json", thing.model_dump_json()
    for name, way in {"copy": copy.copy, "deepcopy": copy.deepcopy}.items():
        try:
            twin = way(thing)
        except Exception as error:  # noqa: BLE001 - any refusal is checked for secrets
            yield name, str(error)
        else:
            yield name, str(getattr(twin, "__dict__", twin))
    try:
        yield "pickle", pickle.dumps(thing)
    except Exception as error:  # noqa: BLE001 - any refusal is checked for secrets
        yield "pickle", str(error)


def _format_with_ipython(thing: Any) -> str:
    from IPython.lib import pretty

    untyped: Any = pretty
    return str(untyped.pretty(thing, max_width=10_000))


def _as_json(thing: Any) -> str:
    """Render an object by its attributes, a few levels deep, as error reporters do."""

    def expand(each: Any, depth: int) -> Any:
        if depth and isinstance(each, dict):
            items: dict[Any, Any] = dict(each)  # pyright: ignore[reportUnknownArgumentType]
            return {str(name): expand(value, depth - 1) for name, value in items.items()}
        if depth and isinstance(each, (list, tuple)):
            values: list[Any] = list(each)  # pyright: ignore[reportUnknownArgumentType]
            return [expand(value, depth - 1) for value in values]
        if depth and hasattr(each, "__dict__") and not isinstance(each, type):
            return expand(vars(each), depth - 1)
        return str(each)

    return json.dumps(expand(thing, 6))


def inspect_with_rich(thing: Any) -> str:
    """Return the output of `rich.inspect` for the attributes. Methods would be slow, and have only signatures."""
    from rich import inspect
    from rich.console import Console

    class UnframedConsole(Console):
        """Print the content of a panel, because padding its lines to their greatest width is slow."""

        def print(self, *parts: Any, **_: Any) -> None:
            super().print(*[part.__rich__().renderable for part in parts])

    file = io.StringIO()
    inspect(thing, console=UnframedConsole(file=file, width=10_000), private=True, dunder=True, docs=False)
    return file.getvalue()


def show_exception(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    """Yield the name and the output of every way to print an exception: chain, frames and local variables."""
    from rich.pretty import pretty_repr
    from rich.traceback import Traceback

    yield from show_value(error)
    yield "notes", str(getattr(error, "__notes__", ()))
    yield "traceback", "".join(traceback.format_exception(error))
    whole = traceback.TracebackException.from_exception(error, capture_locals=True)
    yield "locals", "".join(whole.format())
    # The content of a rich traceback without the source lines, because highlighting them is slow.
    trace = Traceback.extract(
        type(error), error, error.__traceback__, show_locals=True, locals_max_length=1000, locals_max_string=100_000
    )
    for stack in trace.stacks:
        yield "rich", f"{stack.exc_type}: {stack.exc_value} {getattr(stack, 'notes', ())}"
        for frame in stack.frames:
            for name, value in (frame.locals or {}).items():
                yield f"rich local {name} of {frame.name}", value.render(max_width=10_000)
    stream = io.StringIO()
    logging.Handler.format(
        logging.StreamHandler(stream),
        logging.LogRecord("x", 40, "x", 1, "x", (), (type(error), error, error.__traceback__)),
    )
    cause: BaseException | None = error
    while cause is not None:
        yield f"vars of {type(cause).__name__}", pretty_repr(vars(cause), max_width=10_000)
        cause = cause.__cause__ or cause.__context__


def report_with_pytest(error: BaseException) -> str:
    """Return the output of `pytest -l` for a failed test. It is slow, because it reads much source."""
    kept: Any = pytest.ExceptionInfo
    return str(kept.from_exception(error).getrepr(showlocals=True, truncate_locals=False))


def find_leaks(thing: Any, also: Iterable[str] = ()) -> list[str]:
    """Return a line for each way to print an object that shows secrets, with the secrets."""
    shown = show_exception(thing) if isinstance(thing, BaseException) else show_value(thing)
    return [f"{name}: {', '.join(found)}" for name, text in shown if (found := find_secrets(text, also))]
