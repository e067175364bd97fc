"""The picture of the house, held against the code: imports point down, wings are opened by the door alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bedrock_rft

ROOT = Path(bedrock_rft.__file__).parent
FLOORS = {
    0: {"errors", "types", "_version", "_secret", "_log", "_findings", "_warn"},
    1: {
        "_aws",
        "_config",
        "_credentials",
        "_endpoint",
        "_identity",
        "_keys",
        "_keysource",
        "datasets",
        "live",
        "metrics",
        "trackers",
    },
    2: {
        "_connect",
        "_deadline",
        "_inference",
        "_lost",
        "_openai",
        "_receive",
        "_refusal",
        "_retry",
        "_signing",
        "_sigv4",
        "_transport",
        "_upload",
        "_wire",
    },
    3: {"_create", "_events", "_files", "_jobs", "_models", "_resource", "_runs", "_watch"},
    4: {"_client", "_rewards", "_wings", "__init__", "__main__"},
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names}
# What each wing may stand on, and which other wings it may use. Rewards run inside a Lambda; their check asks Lambda.
WINGS = {"rewards": 1, "access": 2, "local": 2, "evaluation": 2, "rehearsal": 3}
BESIDE = {
    "rewards": set[str](),
    "access": {"rewards"},
    "local": {"rewards"},
    "evaluation": {"rewards"},
    "rehearsal": {"rewards", "local", "evaluation"},
}
DOORS = {"_wings", "_rewards"}
CARRIERS = {"_openai", "_sigv4"}
LONGEST = 320  # lines: more is perhaps two ideas


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    """The module or package at the top level that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms a file imports from, lazily or not; what is for type checkers alone does not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            names = [
                f"{node.module}.{alias.name}" if node.module == "bedrock_rft" else str(node.module)
                for alias in node.names
            ]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("bedrock_rft.")}
    return found


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    here = room(path)
    highest = WINGS.get(here, FLOOR.get(here))
    assert highest is not None, f"{here} has no floor: add it to the picture"
    for other in imports(path) - {here}:
        if path.name == "__main__.py" and other == "Client":
            continue  # a command is a program: it comes in by the door, as its users' do
        if other in WINGS:
            assert here in DOORS or other in BESIDE.get(here, set()), f"{here} opens the wing {other}"
            continue
        assert FLOOR.get(other, 9) <= highest, f"{here} (floor {highest}) imports {other} (floor {FLOOR.get(other)})"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_one_idea_a_module(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(ast.parse(text)), "a module says its idea first"


def test_only_one_place_imports_a_carrier() -> None:
    importers = {room(path) for path in modules() if imports(path) & CARRIERS}
    assert importers == {"_connect"}


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in modules():
        graph.setdefault(room(path), set()).update(imports(path) - {room(path)})

    def visit(node: str, trail: tuple[str, ...]) -> None:
        assert node not in trail, f"a circle of imports: {' → '.join((*trail, node))}"
        for other in graph.get(node, set()):
            visit(other, (*trail, node))

    for start in graph:
        visit(start, ())


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return done.stdout


def test_importing_the_package_loads_nothing() -> None:
    heavy = "{'openai', 'httpx', 'httpx2', 'botocore', 'pydantic', 'tenacity', 'asyncio', 'ssl'}"
    assert run(f"import sys, bedrock_rft; print({heavy} & set(sys.modules))").strip() == "set()"


@pytest.mark.parametrize(
    ("arguments", "absent"),
    [("api_key='k'", {"bedrock_rft._sigv4", "botocore"}), ("credentials=Frozen()", {"bedrock_rft._openai", "openai"})],
)
def test_only_the_chosen_carrier_is_loaded(arguments: str, absent: set[str]) -> None:
    code = (
        "import sys\nfrom bedrock_rft import Client\n"
        "class Frozen:\n    def get_frozen_credentials(self): ...\n"
        f"Client('us-west-2', {arguments}).close()\nprint({absent!r} & set(sys.modules))"
    )
    assert run(code).strip() == "set()"


def test_every_public_name_is_there() -> None:
    for name in bedrock_rft.__all__:
        assert getattr(bedrock_rft, name) is not None
        assert name in dir(bedrock_rft)
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = bedrock_rft.Nonsense
