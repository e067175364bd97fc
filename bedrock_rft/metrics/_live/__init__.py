"""Live views of a running job.

`client.jobs.watch(job)` is the way in. Nothing here opens a socket.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["Style"]

Style = Literal["auto", "terminal", "notebook", "plain", "json", "none"]
"""Kind of view.

`auto` is a panel in a notebook, a live one in a terminal that the extra 'rich' can draw on, and plain lines otherwise.
`json` is one object a line, and `none` shows nothing.
"""
