"""The package has no import cycles, including imports in functions and for types only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bedrock_rft

Graph = dict[str, set[str]]


def test_the_package_has_no_import_cycles() -> None:
    assert import_cycles(import_graph(Path(bedrock_rft.__file__).parent)) == []


@pytest.mark.parametrize(
    ("files", "cycles"),
    [
        ({"a": "import pkg.b", "b": "import pkg.c", "c": ""}, []),
        ({"a": "import pkg.b", "b": "import pkg.a"}, [["pkg.a", "pkg.b"]]),
        ({"a": "from pkg import b", "b": "def f():\n    from . import a"}, [["pkg.a", "pkg.b"]]),
        ({"a": "if TYPE_CHECKING:\n    from .b import B", "b": "from pkg.a import A"}, [["pkg.a", "pkg.b"]]),
        ({"a": "import pkg.b", "b": "import_module('pkg.c')", "c": "import pkg.a"}, [["pkg.a", "pkg.b", "pkg.c"]]),
        # Importing a public name from a package imports the module that defines the name.
        ({"__init__": "from pkg.a import A", "a": "", "b": "from pkg import A"}, []),
        ({"__init__": "from pkg.a import A", "a": "import pkg.b", "b": "from pkg import A"}, [["pkg.a", "pkg.b"]]),
        ({"__init__": "from pkg.a import A", "a": "from pkg import TABLE"}, [["pkg", "pkg.a"]]),
        ({"__init__": "lazy_names(__name__, {'a': ('A',)})", "a": "from pkg import TABLE"}, [["pkg", "pkg.a"]]),
    ],
)
def test_the_check_finds_import_cycles(files: dict[str, str], cycles: list[list[str]], tmp_path: Path) -> None:
    package = tmp_path / "pkg"
    package.mkdir()
    for name, text in ({"__init__": ""} | files).items():
        (package / f"{name}.py").write_text(text, encoding="utf-8")
    assert import_cycles(import_graph(package)) == cycles


def import_graph(package: Path) -> Graph:
    """Return all modules of a package, each with the modules that it imports anywhere in its text."""
    trees = {_module_name(path, package): (path, ast.parse(path.read_bytes())) for path in package.rglob("*.py")}
    public = {
        name: {each.asname or each.name: str(node.module) for node in _imports_from(tree) for each in node.names}
        for name, (path, tree) in trees.items()
        if path.name == "__init__.py"
    }
    graph: Graph = {}
    for name, (path, tree) in trees.items():
        lazy = path.name == "__init__.py"
        parent = name if lazy else name.rpartition(".")[0]
        named = {*_imported(tree, parent), *_named_in_text(tree, parent, lazy=lazy)}
        imported = {_defining_module(module, attribute, set(trees), public) for module, attribute in named}
        graph[name] = (imported & set(trees)) - {name}
    return graph


def import_cycles(graph: Graph) -> list[list[str]]:
    """Return the groups of modules that import one another."""
    reached = {module: _reachable(module, graph) for module in graph}
    mutual = {module: frozenset(other for other in reached[module] if module in reached[other]) for module in graph}
    return sorted(sorted(group) for group in set(mutual.values()) if len(group) > 1)


def _reachable(module: str, graph: Graph) -> set[str]:
    found, waiting = set[str](), [module]
    while waiting:
        new = graph[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def _module_name(path: Path, package: Path) -> str:
    return ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")


def _imports_from(tree: ast.AST) -> Iterator[ast.ImportFrom]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))


def _imported(tree: ast.AST, parent: str) -> Iterator[tuple[str, str]]:
    """Return each imported module, with the name imported from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.name, "") for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parent.split(".")[: len(parent.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            yield from ((module, each.name) for each in node.names)


def _named_in_text(tree: ast.AST, parent: str, *, lazy: bool) -> Iterator[tuple[str, str]]:
    """Return texts that name modules to load: arguments of `import_module`, and all texts of a lazy package."""
    for node in ast.walk(tree):
        loads = lazy or (isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func))
        for text in ast.walk(node) if loads else ():
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield from ((text.value, ""), (f"{parent}.{text.value}", ""))


def _defining_module(module: str, name: str, modules: set[str], public: dict[str, dict[str, str]]) -> str:
    """Return the module that an import loads: a submodule, the definition of a public name, or the module itself."""
    if f"{module}.{name}" in modules:
        return f"{module}.{name}"
    home = public.get(module, {}).get(name)
    return module if home in {None, module} else _defining_module(str(home), name, modules, public)
