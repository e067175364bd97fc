"""The local service: an emulator of reinforcement fine-tuning on this machine, with your own reward function.

`LocalService` listens on a loopback port; `LocalTransport(Service(...))` runs in this process. Nothing leaves the
machine and nothing is billed. Every id begins with `local-`, so that no job can be mistaken for a billed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft.local._http.server import LocalService
    from bedrock_rft.local._service.service import Service
    from bedrock_rft.local._transport import LocalTransport

__all__ = ["LocalService", "LocalTransport", "Service"]

# The names are loaded lazily, because a service without a port needs neither Starlette nor uvicorn.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_http.server": ("LocalService",),
        "_service.service": ("Service",),
        "_transport": ("LocalTransport",),
    },
)
