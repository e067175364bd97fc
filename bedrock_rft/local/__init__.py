"""The service in a box: a rehearsal of reinforcement fine-tuning on this machine, with the user's own reward.

`LocalService` answers on a loopback port, `LocalTransport(Service(...))` in process. Nothing leaves the machine and
nothing is billed; every id begins with `local-`, so a rehearsal cannot pass for a paid job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.local._http.server import LocalService
    from bedrock_rft.local._service.service import Service
    from bedrock_rft.local._transport import LocalTransport

__all__ = ["LocalService", "LocalTransport", "Service"]

_HOMES = {
    "LocalService": "bedrock_rft.local._http.server",
    "LocalTransport": "bedrock_rft.local._transport",
    "Service": "bedrock_rft.local._service.service",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: rehearsing in process needs neither Starlette nor uvicorn.
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
