"""Modules that importing the package loads, and the length of modules."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bedrock_rft

ROOT = Path(bedrock_rft.__file__).parent
MAX_LINES = 450  # a longer module may need splitting


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_is_short_and_has_a_docstring(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text)), "a module says what it is for"


def test_the_package_exports_few_names() -> None:
    private = [path.name for path in ROOT.iterdir() if path.name.startswith("_") and not path.name.startswith("__")]
    assert len(private) <= 6, private


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - runs a fixed script
    return done.stdout


def test_importing_the_package_imports_no_dependencies() -> None:
    heavy = "{'openai', 'httpx', 'httpx2', 'botocore', 'pydantic', 'tenacity', 'asyncio', 'ssl'}"
    assert run(f"import sys, bedrock_rft; print({heavy} & set(sys.modules))").strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [
        ("api_key='k'", {"bedrock_rft._transport.sigv4", "botocore"}),
        ("credentials=Frozen()", {"bedrock_rft._transport.openai", "openai"}),
    ],
)
def test_only_the_chosen_transport_is_imported(arguments: str, absent: set[str]) -> None:
    code = (
        "import sys\nfrom bedrock_rft import Client\n"
        "class Frozen:\n    def get_frozen_credentials(self): ...\n"
        f"Client('us-west-2', {arguments}).close()\nprint({absent!r} & set(sys.modules))"
    )
    assert run(code).strip() == "set()"


def test_every_public_name_can_be_imported() -> None:
    for name in bedrock_rft.__all__:
        assert getattr(bedrock_rft, name) is not None
        assert name in dir(bedrock_rft)
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = bedrock_rft.Nonsense
