"""The local service: an emulator of reinforcement fine-tuning on this machine, with your own reward function.

`LocalService` listens on a loopback port; `LocalTransport(Service(...))` runs in process. Nothing leaves the machine
and nothing is billed. Every id begins with `local-`, so that no job can be mistaken for a billed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.local._http.server import LocalService
    from bedrock_rft.local._service.service import Service
    from bedrock_rft.local._transport import LocalTransport

__all__ = ["LocalService", "LocalTransport", "Service"]

_MODULES = {
    "LocalService": "bedrock_rft.local._http.server",
    "LocalTransport": "bedrock_rft.local._transport",
    "Service": "bedrock_rft.local._service.service",
}


def __getattr__(name: str) -> Any:
    # Lazy, because running in process needs neither Starlette nor uvicorn.
    if name in _MODULES:
        from importlib import import_module

        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
