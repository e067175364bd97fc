"""The lock file pins everything in pyproject.toml by hash, and names no index."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements-ci.lock").read_text()
RELEASE = (ROOT / ".ci" / "release.lock").read_text()


def asked() -> list[Requirement]:
    """Return every dependency of the package, its extras and its build."""
    text = (ROOT / "pyproject.toml").read_text()
    tables = text[: text.index("\n[tool.")]
    lists = re.findall(r"(?ms)^(?:requires|dependencies|[\w-]+) = \[\n?(.*?)\]$", tables)
    plain = [re.sub(r"(?m)#.*$", "", inner) for inner in lists]
    found = [quoted for inner in plain for quoted in re.findall(r'"([^"]+)"', inner)]
    return [Requirement(each) for each in found if re.match(r"[\w.\[\],-]+\s*([<>=!~]|$)", each)]


def test_the_lock_file_pins_every_dependency() -> None:
    pins: dict[str, set[Version]] = {}
    for name, version in re.findall(r"(?m)^([\w.-]+)(?:\[[\w,]+\])?==([\w.!+]+)", LOCK):
        pins.setdefault(canonicalize_name(name), set()).add(Version(version))
    wanted = [each for each in asked() if each.specifier or each.name == "hatchling"]
    assert {"openai", "httpx", "botocore", "pydantic", "tenacity", "pytest", "ruff", "hatchling"} <= {
        each.name for each in wanted
    }
    stale = [
        str(each)
        for each in wanted
        if not any(map(each.specifier.contains, pins.get(canonicalize_name(each.name), ())))
    ]
    assert stale == [], "run `make lock`"


@pytest.mark.parametrize("lock", [LOCK, RELEASE], ids=["checks", "release"])
def test_every_pin_has_hashes_and_no_address(lock: str) -> None:
    pins = len(re.findall(r"(?m)^[\w.-]+(?:\[[\w,]+\])?==", lock))
    hashed = len(re.findall(r"(?m)^[\w.-]+(?:\[[\w,]+\])?==.*\\\n    --hash=sha256:[0-9a-f]{64}", lock))
    assert pins == hashed > 50
    assert not re.search(r"(?i)https?://|file:|--(extra-)?index-url|--find-links|@", lock)


def test_distributions_are_built_with_the_tool_that_is_tested() -> None:
    [pin] = re.findall(r"(?m)^hatchling==\S+", RELEASE)
    assert pin in LOCK
