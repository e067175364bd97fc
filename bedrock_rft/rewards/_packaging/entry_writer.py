"""Write a reward as Python source: the entry point of its Lambda function, and the sources that it needs."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.module_slice import slice_module
from bedrock_rft.rewards._packaging.module_source import ModuleSource, read_source
from bedrock_rft.rewards._runtime.formula import Formula
from bedrock_rft.rewards._runtime.function import Function
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Combined, Leaf, Reward
from bedrock_rft.rewards._runtime.trl import TrlReward

__all__ = ["DOCSTRING", "Sources", "write_function_sources", "write_reward_sources"]

DOCSTRING = f'"""Entry point of a reward function for Lambda, written by bedrock_rft {__version__}."""\n\n'
_PACKAGE = "bedrock_rft.rewards"


@dataclass(frozen=True)
class Sources:
    """Sources of a Lambda function, the handler setting, and the settings that the reward needs.

    Attributes:
        files: the contents by name.
        direct: whether Lambda calls the user's own object, which then has to be a handler.
        notebooks: for each module written from a notebook, the notebook's global names and the names whose values have
            to be the same in the package.
    """

    files: dict[str, bytes]
    handler: str = "lambda_function.lambda_handler"
    requirements: Sequence[str] = ()
    models: Sequence[str] = ()
    timeout: int = 300
    memory: int = 512
    direct: bool = False
    notebooks: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = field(
        default_factory=dict[str, "tuple[Mapping[str, Any], tuple[str, ...]]"]
    )


def write_reward_sources(handler: Handler) -> Sources:
    """Write the sources for a reward."""
    writer = _Writer()
    total = writer.render_source(cast("Reward", handler.reward))
    lines = [f"import {module}" for module in writer.sources.modules]
    lines.append(f"from {_PACKAGE} import {', '.join(sorted({'Handler', *writer.imports}))}")
    settings = f"floor={_literal(handler.floor, 'floor')}, concurrency={handler.concurrency}"
    lines += ["", *writer.lines, f"lambda_handler = Handler({total}, {settings})"]
    return writer.sources.write(DOCSTRING + "\n".join(lines) + "\n")


def write_function_sources(function: Callable[..., Any]) -> Sources:
    """Write the sources for a function of (event, context). Raises as `write_reward_sources`."""
    sources = _Modules()
    name = sources.add_function(function)
    module = name.partition(".")[0]
    return sources.write(f"{DOCSTRING}import {module}\n\nlambda_handler = {name}\n")


class _Modules:
    """The modules of which parts are packaged, with the names that are needed."""

    def __init__(self) -> None:
        self._modules: dict[int, tuple[str, ModuleSource, list[str]]] = {}

    @property
    def modules(self) -> list[str]:
        return sorted(module for module, *_ in self._modules.values())

    def write(self, entry: str) -> Sources:
        """Return the files, with the entry point."""
        written = Sources({"lambda_function.py": entry.encode()})
        for module, source, names in self._modules.values():
            part = slice_module(source, names)
            written.files[f"{module}.py"] = part.text.encode()
            if source.notebook:
                written.notebooks[module] = (source.space, part.comparable)
        return written

    def source(self, space: Mapping[str, Any], label: str) -> ModuleSource:
        return self._entry(space, label)[1]

    def add_name(self, space: Mapping[str, Any], name: str) -> str:
        """Add a name of a module, and return the expression for it."""
        module, _, names = self._entry(space, f"'{sanitize_line(name)}'")
        if name not in names:
            names.append(name)
        return f"{module}.{name}"

    def add_function(self, function: object) -> str:
        """Add a function at the top level of its module, and return the expression for it."""
        if not isinstance(function, FunctionType):
            _raise(f"{_label(function)} is not a function with source code; write a function with def that calls it")
        name, space = function.__name__, function.__globals__
        if function.__code__.co_freevars:
            free = ", ".join(f"'{sanitize_line(name)}'" for name in function.__code__.co_freevars)
            _raise(
                f"{_label(function)} uses {free} of the enclosing function, which cannot be packaged; move it to the "
                "top level of a file and package 'path/to/file.py:name'"
            )
        if "<locals>" in function.__qualname__ or not name.isidentifier():
            _raise(
                f"{_label(function)} is not at the top level of its module; move it there, with def, or to a file, "
                "and package 'path/to/file.py:name'"
            )
        source = self.source(space, _label(function))
        current = space.get(name)
        if name not in source.bindings or (
            current is not function and getattr(current, "function", None) is not function
        ):
            _raise(f"'{sanitize_line(name)}' was assigned again after the reward was made; make the reward again")
        expression = self.add_name(space, name)
        return expression if current is function else f"{expression}.function"

    def find_name(self, reward: Reward, space: Mapping[str, Any]) -> str | None:
        """Return the expression for a reward that has a name at the top level of its module, or None."""
        if not any(value is reward for value in list(space.values())):
            return None
        source = self.source(space, _label(reward))
        names = [name for name in source.bindings if space.get(name) is reward and not re.fullmatch(r"_\d*", name)]
        return self.add_name(space, names[0]) if names else None

    def _entry(self, space: Mapping[str, Any], label: str) -> tuple[str, ModuleSource, list[str]]:
        if id(space) not in self._modules:
            source = read_source(space, label)
            stem = "source_" + (re.sub(r"\W", "_", source.module, flags=re.ASCII).strip("_") or "module")
            taken = {module for module, *_ in self._modules.values()}
            module = next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in taken)
            self._modules[id(space)] = (module, source, [])
        return self._modules[id(space)]


class _Writer:
    """Writes a reward as an expression, with a statement for each of its leaves."""

    def __init__(self) -> None:
        self.sources = _Modules()
        self.imports: set[str] = set()
        self.lines: list[str] = []
        self._names: dict[int, str] = {}

    def render_source(self, reward: Reward) -> str:
        """Return Python code that makes the reward. A reward that occurs twice is made once."""
        if id(reward) not in self._names:
            if isinstance(reward, Combined):
                if isinstance(reward, Formula):
                    self.imports.add("Formula")
                return reward.render_source(self.render_source)
            if not isinstance(reward, Leaf):
                return self._existing_name(reward) or _raise_nameless(reward)
            name = f"part_{len(self._names) + 1}"
            self.lines.append(f"{name} = {self._write_leaf(reward)}")
            self._names[id(reward)] = name
        return self._names[id(reward)]

    def _write_leaf(self, leaf: Leaf) -> str:
        if isinstance(leaf, Function):
            return self._write_function(leaf)
        kind = type(leaf)
        if kind.__module__.startswith(f"{_PACKAGE}."):
            self.imports.add(kind.__name__)
            return f"{kind.__name__}({_settings(leaf)})"
        if (named := self._existing_name(leaf)) is not None:
            return named
        space = getattr(sys.modules.get(kind.__module__), "__dict__", {})
        if not dataclasses.is_dataclass(leaf) or space.get(kind.__name__) is not kind:
            _raise_nameless(leaf)
        return f"{self.sources.add_name(space, kind.__name__)}({_settings(leaf)})"

    def _write_function(self, leaf: Function) -> str:
        named = self._existing_name(leaf)
        if named is not None:
            return named
        if isinstance(leaf, TrlReward):
            self.imports.add("from_trl")
            settings = f"name={leaf.name!r}, conversational={leaf.conversational!r}"
            return f"from_trl({self.sources.add_function(leaf.function)}, {settings})"
        self.imports.add("reward")
        settings = f"name={leaf.name!r}" + (f", weights={_literal(leaf.weights, 'weights')}" if leaf.weights else "")
        return f"reward({settings})({self.sources.add_function(leaf.function)})"

    def _existing_name(self, reward: Reward) -> str | None:
        """Return the expression for a reward that has a name in the module in which it was written, or None."""
        origin = reward.function if isinstance(reward, Function) else type(reward)
        if isinstance(origin, FunctionType):
            return self.sources.find_name(reward, origin.__globals__)
        module = getattr(origin, "__module__", None) or type(origin).__module__
        return self.sources.find_name(reward, getattr(sys.modules.get(str(module)), "__dict__", {}))


def _settings(leaf: Leaf) -> str:
    kind = type(leaf).__name__
    return ", ".join(f"{name}={_literal(value, f'{name} of {kind}')}" for name, value in leaf.settings().items())


def _literal(value: Any, label: str) -> str:
    """Write a plain value as Python."""
    if value is None or isinstance(value, (bool, str, bytes)):
        return repr(value)
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast] # pyright needs it
        return f"{{{', '.join(f'{_literal(key, label)}: {_literal(one, label)}' for key, one in pairs)}}}"
    if isinstance(value, (list, tuple)):
        items = [_literal(one, label) for one in cast("Iterable[Any]", value)]
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)}{',' * (len(items) == 1)})"
    return _raise(
        f"{label} is of type {type(value).__name__}, which cannot be written as source; use plain values, or write it "
        "into a file"
    )


def _label(value: object) -> str:
    name = getattr(value, "name", None) or getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"'{sanitize_line(str(name), 80)}'"


def _raise_nameless(reward: Reward) -> NoReturn:
    _raise(
        f"{_label(reward)} has no name at the top level of its module; assign it to a name there, or write it into a "
        "file"
    )


def _raise(reason: str) -> NoReturn:
    raise ConfigurationError(f"The reward cannot be packaged: {reason}.")
