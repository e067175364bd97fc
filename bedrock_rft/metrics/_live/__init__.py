"""Live views of a running job, which `client.jobs.watch` shows."""

from __future__ import annotations

from typing import Literal

__all__ = ["Style"]

Style = Literal["auto", "terminal", "notebook", "plain", "json", "none"]
"""Kind of view.

`auto` is a panel in a notebook, a live one in a terminal that the extra 'rich' can draw on, and plain lines otherwise.
`json` is one object a line, and `none` shows nothing.
"""
