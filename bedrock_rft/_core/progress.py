"""Progress bars of tqdm."""

from __future__ import annotations

import sys
from typing import Any


def in_notebook() -> bool:
    """Check if the code runs in a notebook kernel. IPython in a terminal does not count."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and getattr(ipython.get_ipython(), "kernel", None) is not None


def tqdm_bar(label: str, total: int | None, done: int = 0) -> Any:
    """Return a bar if a terminal or notebook can show it and tqdm is installed, else None. `total` may be None."""
    notebook = in_notebook()
    # Use standard output in notebooks, which show standard error in red. pythonw has no standard error.
    stream: Any = sys.stdout if notebook else sys.stderr
    if stream is None or not (notebook or stream.isatty()):
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    interval = 0.5 if notebook else 0.1
    return tqdm(
        desc=label, total=total, initial=done, leave=False, dynamic_ncols=True, file=stream, mininterval=interval
    )
