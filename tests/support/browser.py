"""Open a page in headless Chromium and return its document, its requests and a screenshot."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["Seen", "open_page"]

_FLAGS = (
    "--headless",
    "--no-sandbox",  # as root, which containers use, it runs only without a sandbox
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--virtual-time-budget=1000",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no request leaves the machine
)


@dataclass(frozen=True)
class Seen:
    """A page as a browser rendered it.

    Attributes:
        dom: the document after its scripts have run, as HTML.
        requests: every address that the page requested, failed ones included; not its own.
        picture: a PNG of it.
    """

    dom: str
    requests: tuple[str, ...]
    picture: Path


def open_page(html: str, folder: Path, *, width: int = 900, height: int = 1200, dark: bool = False) -> Seen:
    """Open a page, given as HTML, in a browser with an empty profile. Skip the test if there is no browser."""
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if chromium is None:
        pytest.skip("Chromium is not installed: Debian's package is chromium")
    page, log, picture = folder / "page.html", folder / "net.json", folder / "page.png"
    page.write_text(html, encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - opens a generated page
        [
            chromium,
            *_FLAGS,
            *(["--force-dark-mode"] if dark else []),
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},{height}",
            f"--log-net-log={log}",
            f"--screenshot={picture}",
            "--dump-dom",
            page.resolve().as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return Seen(done.stdout.decode(), _asked(json.loads(log.read_text(encoding="utf-8"))), picture)


def _asked(log: dict[str, Any]) -> tuple[str, ...]:
    start = log["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    made = [event.get("params", {}) for event in log["events"] if event["type"] == start]
    # Requests of the browser itself, such as for updates, have no origin.
    return tuple(each["url"] for each in made if "url" in each and each.get("initiator") != "not an origin")
