"""The HTTP library that the installed OpenAI SDK uses: httpx2 with openai 3, httpx with openai 2.

Both transports use it, so that one HTTP library is loaded in a process. The two have the same interface.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

_LIBRARIES = ("httpx", "httpx2")
_FIRST_WITH_HTTPX2 = 3


@functools.cache
def http_library() -> ModuleType:
    """Return httpx or httpx2, whichever the installed OpenAI SDK uses."""
    major = _openai_major() if "openai" not in sys.modules else None
    if major is not None:
        return importlib.import_module("httpx2" if major >= _FIRST_WITH_HTTPX2 else "httpx")
    import openai

    return library_of(openai.DefaultHttpxClient)


def _openai_major() -> int | None:
    """Return the major version of the OpenAI SDK from its files: importing it takes longer than a signed request."""
    spec = importlib.util.find_spec("openai")
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("_version.py").read_text(encoding="utf-8")
    except OSError:  # a frozen application
        return None
    version = re.search(r'__version__ = "(\d+)\.', text)
    return int(version[1]) if version else None


def library_of(value: Any) -> ModuleType:
    """Return the HTTP library that a class, or the class of an object, comes from."""
    kind: type[Any] = value if isinstance(value, type) else type(value)
    for base in kind.__mro__:
        name = base.__module__.partition(".")[0]
        if name in _LIBRARIES:
            return sys.modules[name]
    raise TypeError(f"{kind.__qualname__} belongs neither to httpx nor to httpx2.")
