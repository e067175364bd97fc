"""Select the live view for a style."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from typing import TextIO, get_args

from bedrock_rft._core.progress import in_notebook
from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.metrics._live import Style
from bedrock_rft.metrics._live.lines import Json, Plain, View


def view(style: Style, file: TextIO | None) -> View:
    """Return the view for a style. Raises `ConfigurationError` or `MissingExtraError` if it cannot be shown."""
    if style not in get_args(Style):
        raise ConfigurationError(f"style must be one of {', '.join(get_args(Style))}.")
    if style == "auto":
        style = "notebook" if file is None and in_notebook() else _style_for(file or sys.stdout)
    if style == "notebook":
        try:
            from bedrock_rft.metrics._live.notebook import Notebook
        except ImportError:
            raise ConfigurationError("style='notebook' needs IPython: pip install ipython") from None
        return Notebook()
    if style == "terminal":
        try:
            from bedrock_rft.metrics._live.terminal import Terminal
        except ImportError:
            raise MissingExtraError("style='terminal'", "rich") from None
        return Terminal(file or sys.stdout)
    return {"plain": Plain, "json": Json, "none": View}[style](file or sys.stdout)


def _style_for(stream: TextIO | None) -> Style:
    try:
        terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    except ValueError:  # the stream is closed
        terminal = False
    return "terminal" if terminal and find_spec("rich") is not None else "plain"
