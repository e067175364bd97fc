"""What a training file must be, said before the service says it, and written where the user has something else.

`validate` checks in one streaming pass; `write` makes JSON lines of records and frames, `convert` of other formats,
and `split` makes a training and a validation file. Nothing here opens a socket.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bedrock_rft.datasets._bounds import Rules
    from bedrock_rft.datasets._convert import Format, convert
    from bedrock_rft.datasets._read import read
    from bedrock_rft.datasets._record import TrainingMessage, TrainingRecord
    from bedrock_rft.datasets._report import Lengths, Problem, Report
    from bedrock_rft.datasets._split import Split, split
    from bedrock_rft.datasets._validate import validate
    from bedrock_rft.datasets._write import Column, write

# An upload needs little of this, and should not pay for the rest.
_WHERE = {
    "_bounds": ("Rules",),
    "_convert": ("Format", "convert"),
    "_read": ("read",),
    "_record": ("TrainingMessage", "TrainingRecord"),
    "_report": ("Lengths", "Problem", "Report"),
    "_split": ("Split", "split"),
    "_validate": ("validate",),
    "_write": ("Column", "write"),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = [
    "Column",
    "Format",
    "Lengths",
    "Problem",
    "Report",
    "Rules",
    "Split",
    "TrainingMessage",
    "TrainingRecord",
    "convert",
    "read",
    "split",
    "validate",
    "write",
]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.datasets' has no attribute {name!r}")
    value = getattr(import_module(f"bedrock_rft.datasets.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
