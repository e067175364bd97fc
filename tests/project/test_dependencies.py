"""The package declares every distribution that it imports."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import bedrock_rft

PACKAGE = Path(bedrock_rft.__file__).parent
PYPROJECT = PACKAGE.parent / "pyproject.toml"

# Modules from a distribution with another name.
# pydantic pins its core; openai requires jiter.
DISTRIBUTIONS = {"mlflow": "mlflow-skinny", "pydantic_core": "pydantic", "jiter": "openai"}
# Modules that are used only if the user has them for another reason.
OPTIONAL = {
    "IPython": "shows a view in a notebook, which runs in it",
    "httpx2": "the HTTP library of openai 3",
    "pyarrow": "reads a user's Parquet file",
}


def declared() -> set[str]:
    """Return the names of the dependencies and of the extras that users install."""
    text = PYPROJECT.read_text(encoding="utf-8")
    project = text[text.index("\ndependencies = [") : text.index("\n[tool.")]
    lines = [re.sub(r"#.*", "", line) for line in project.splitlines()]
    users = "\n".join(lines).partition("\ntest = [")[0]
    return {canonicalize_name(Requirement(each).name) for each in re.findall(r'"([^"]+)"', users)}


def imports(path: Path) -> Iterator[str]:
    """Yield the top-level names of the modules that a file imports, with `import_module` as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            name = node.args[0]
            if isinstance(name, ast.Constant) and isinstance(name.value, str):
                yield name.value.partition(".")[0]


@cache
def imported() -> dict[str, str]:
    """Return one file for each module that is neither Python's nor the package's."""
    own = sys.stdlib_module_names | {"bedrock_rft"}
    files = sorted(PACKAGE.rglob("*.py"))
    return {name: str(path.relative_to(PACKAGE)) for path in files for name in imports(path) if name not in own}


def test_every_import_is_declared() -> None:
    names = declared()
    assert {"openai", "httpx", "tqdm", "mlflow-skinny"} <= names
    assert "pytest" not in names
    missing = {
        name: path
        for name, path in imported().items()
        if name not in OPTIONAL and canonicalize_name(DISTRIBUTIONS.get(name, name)) not in names
    }
    assert missing == {}


@pytest.mark.parametrize("name", OPTIONAL)
def test_every_optional_import_is_used(name: str) -> None:
    assert name in imported()
