"""The browser used by the tests detects scripts, requests and errors."""

from __future__ import annotations

from pathlib import Path

from support.browser import open_page


def test_scripts_and_requests_of_a_page_are_recorded(tmp_path: Path) -> None:
    page = "<title>no</title><img src='http://other.example/x.png'><p>a<script>document.title = 'ran'</script>"
    seen = open_page(page, tmp_path)
    assert seen.requests == ("http://other.example/x.png",)
    assert "<title>ran</title>" in seen.dom
    assert seen.picture.read_bytes().startswith(b"\x89PNG")
