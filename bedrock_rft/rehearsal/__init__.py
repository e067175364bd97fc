"""Rehearse a run on this machine before it is billed.

`rehearse(dataset, reward)`, or `client.rehearse`, returns a `Rehearsal`: problems of the data and the reward, the
reward curve of a job on the local service, and the load on the reward function. Names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.rehearsal._curve import Curve
    from bedrock_rft.rehearsal._groups import Groups
    from bedrock_rft.rehearsal._load import Load
    from bedrock_rft.rehearsal._rehearse import rehearse
    from bedrock_rft.rehearsal._report import Rehearsal

_MODULE = {
    "Curve": "_curve",
    "Groups": "_groups",
    "Load": "_load",
    "Rehearsal": "_report",
    "rehearse": "_rehearse",
}

__all__ = ["Curve", "Groups", "Load", "Rehearsal", "rehearse"]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.rehearsal' has no attribute {name!r}")
    value = getattr(import_module(f"bedrock_rft.rehearsal.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
