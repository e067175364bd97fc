"""Protocol of live views, and their selection."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import Any, Protocol, TextIO, get_args

from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.metrics._live import Style
from bedrock_rft.metrics._live.state import Change, State

__all__ = ["View", "view"]


class View(Protocol):
    """View of a running job."""

    def show(self, state: State, change: Change) -> None:
        """Show the state after a poll."""
        ...

    def leave(self, job: str) -> None:
        """Print that the job is still running and how to resume."""
        ...

    def close(self) -> None:
        """End the view and keep its last output."""
        ...


def view(style: Style, file: TextIO | None) -> View:
    """Return the view for a style; `auto` depends on the output.

    Raises:
        ConfigurationError: there is no such style.
        MissingExtraError: the style needs a library that is not installed.
    """
    if style not in get_args(Style):
        raise ConfigurationError(f"style must be one of {', '.join(get_args(Style))}.")
    stream = file if file is not None else sys.stdout
    if style == "auto":
        style = _suitable(stream, given=file is not None)
    if style == "terminal":
        return _terminal(stream, forced=True)
    if style == "notebook":
        return _notebook()
    from bedrock_rft.metrics._live.lines import Json, Nothing, Plain

    return {"plain": Plain, "json": Json, "none": Nothing}[style](stream)


def _suitable(stream: TextIO, *, given: bool) -> Style:
    if not given and _in_notebook():
        return "notebook"
    if stream.isatty() and os.environ.get("TERM") != "dumb":
        return "terminal" if find_spec("rich") is not None else "plain"
    return "plain"


def _in_notebook() -> bool:
    """Check if the code runs in a notebook kernel. IPython in a terminal has none."""
    module: Any = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return getattr(shell, "kernel", None) is not None


def _terminal(stream: TextIO, *, forced: bool) -> View:
    try:
        from bedrock_rft.metrics._live.terminal import Terminal
    except ImportError:
        raise MissingExtraError("style='terminal'", "rich") from None
    return Terminal(stream, forced=forced)


def _notebook() -> View:
    try:
        from bedrock_rft.metrics._live.notebook import Notebook
    except ImportError:
        raise ConfigurationError("style='notebook' needs IPython: pip install ipython") from None
    return Notebook()
