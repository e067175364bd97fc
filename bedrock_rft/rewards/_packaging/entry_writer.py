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
from bedrock_rft.rewards._packaging.module_slice import ModuleSource, raise_unpackageable, read_source, slice_module
from bedrock_rft.rewards._runtime.formula import Formula
from bedrock_rft.rewards._runtime.function import Function
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Combined, Leaf, Reward
from bedrock_rft.rewards._runtime.rollout_log import RolloutLog
from bedrock_rft.rewards._runtime.trl import TrlReward

DOCSTRING = f'"""Entry point of a reward function for Lambda, written by bedrock_rft {__version__}."""\n'
_PACKAGE = "bedrock_rft.rewards"


@dataclass(frozen=True)
class Sources:
    """The files of a Lambda function, and the settings, requirements and models that its reward needs."""

    files: dict[str, bytes]
    handler: str = "lambda_function.lambda_handler"
    requirements: Sequence[str] = ()
    models: Sequence[str] = ()
    timeout: int = 300
    memory: int = 512
    record: RolloutLog | None = None
    direct: bool = False  # Lambda calls the user's own object, which then has to be a handler
    notebooks: dict[str, tuple[Mapping[str, Any], list[str]]] = field(
        default_factory=dict[str, "tuple[Mapping[str, Any], list[str]]"]
    )
    """By module: a notebook's global names, and the names whose values have to be the same in the package."""


def write_reward_sources(handler: Handler) -> Sources:
    """Write the sources for a reward."""
    writer = _Writer()
    total = writer.render_source(cast("Reward", handler.reward))
    settings = f"floor={_literal(handler.floor, 'floor')}, concurrency={handler.concurrency}"
    if handler.record is not None:
        settings += f", record={writer.render_record(handler.record)}"
    imports = [f"import {module}" for module in sorted(module for module, *_ in writer.modules.values())]
    imports.append(f"from {_PACKAGE} import {', '.join(sorted({'Handler', *writer.imports}))}")
    return writer.write([*imports, "", *writer.lines, f"lambda_handler = Handler({total}, {settings})"])


def write_file_sources(module: str, name: str, record: RolloutLog | None) -> Sources:
    """Write the entry point for a reward, a handler or a function in a file, and the sources that `record` needs."""
    writer = _Writer()
    entry = f"import_module({module!r}).{name}"
    if record is not None:
        lines = writer.render_recorded(entry, record)
        return writer.write(["from importlib import import_module", *lines])
    lines = [
        f"lambda_handler = {entry}",
        'if hasattr(lambda_handler, "leaves"):  # a reward; Lambda needs its handler',
        "    lambda_handler = lambda_handler.handler",
    ]
    return writer.write(["from importlib import import_module", "", *lines])


def write_function_sources(function: Callable[..., Any], record: RolloutLog | None = None) -> Sources:
    """Write the sources for a function of (event, context). Raises as `write_reward_sources`."""
    writer = _Writer()
    name = writer.add_function(function)
    if record is not None:
        return writer.write(writer.render_recorded(name, record))
    return writer.write([f"import {name.partition('.')[0]}", "", f"lambda_handler = {name}"])


class _Writer:
    """Write a reward as Python source.

    There is a statement for each part that does not combine others, an expression that combines the parts, and the
    modules that the reward needs.
    """

    def __init__(self) -> None:
        self.modules: dict[int, tuple[str, ModuleSource, list[str]]] = {}
        """By the id of its global names, a module's name in the package, its source, and the names that are needed."""
        self.imports: set[str] = set()  # the names of this package that the entry point needs
        self.lines: list[str] = []
        self._names: dict[int, str] = {}

    def write(self, lines: Iterable[str]) -> Sources:
        """Return the files: the entry point with these lines, and the needed parts of modules."""
        written = Sources({"lambda_function.py": "\n".join([DOCSTRING, *lines, ""]).encode()})
        for module, source, names in self.modules.values():
            text, compared = slice_module(source, names)
            written.files[f"{module}.py"] = text.encode()
            if source.notebook:
                written.notebooks[module] = (source.space, compared)
        return written

    def render_source(self, reward: Reward) -> str:
        """Return Python code that makes the reward. If a reward occurs twice, the code makes it once."""
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

    def render_record(self, record: RolloutLog) -> str:
        """Return Python code that makes the settings of the recording."""
        self.imports.add("RolloutLog")
        settings = {one.name: getattr(record, one.name) for one in dataclasses.fields(record)}
        redact = settings.pop("redact")
        written = [f"{name}={_literal(value, f'{name} of RolloutLog')}" for name, value in settings.items()]
        written.append(f"redact={self.add_function(redact) if callable(redact) else _literal(redact, 'redact')}")
        return f"RolloutLog({', '.join(written)})"

    def render_recorded(self, entry: str, record: RolloutLog) -> list[str]:
        """Return the imports and the statement for an entry point that records the rollouts of another entry point."""
        settings = self.render_record(record)
        return [
            *(f"import {module}" for module in sorted(module for module, *_ in self.modules.values())),
            f"from {_PACKAGE} import RolloutLog",
            f"from {_PACKAGE}._runtime.recorded import recorded",
            "",
            f"lambda_handler = recorded({entry}, {settings})",
        ]

    def _write_leaf(self, leaf: Leaf) -> str:
        kind = type(leaf)
        own = kind.__module__.startswith(f"{_PACKAGE}.")
        if own and not isinstance(leaf, Function):
            self.imports.add(kind.__name__)
            return f"{kind.__name__}({_settings(leaf)})"
        if (named := self._existing_name(leaf)) is not None:
            return named
        if isinstance(leaf, TrlReward):
            self.imports.add("from_trl")
            settings = f"name={leaf.name!r}, conversational={leaf.conversational!r}"
            return f"from_trl({self.add_function(leaf.function)}, {settings})"
        if isinstance(leaf, Function):
            self.imports.add("reward")
            weights = f", weights={_literal(leaf.weights, 'weights')}" if leaf.weights else ""
            return f"reward(name={leaf.name!r}{weights})({self.add_function(leaf.function)})"
        space = getattr(sys.modules.get(kind.__module__), "__dict__", {})
        if not dataclasses.is_dataclass(leaf) or space.get(kind.__name__) is not kind:
            _raise_nameless(leaf)
        return f"{self._add_name(space, kind.__name__)}({_settings(leaf)})"

    def _existing_name(self, reward: Reward) -> str | None:
        """Return the expression for a reward that has a name at the top level of its module, or None."""
        origin = reward.function if isinstance(reward, Function) else type(reward)
        if isinstance(origin, FunctionType):
            space = origin.__globals__
        else:
            module = getattr(origin, "__module__", None) or type(origin).__module__
            space = getattr(sys.modules.get(str(module)), "__dict__", {})
        if not any(value is reward for value in list(space.values())):
            return None
        source = self._module(space, _label(reward))[1]
        names = [name for name in source.bindings if space.get(name) is reward and not re.fullmatch(r"_\d*", name)]
        return self._add_name(space, names[0]) if names else None

    def add_function(self, function: object) -> str:
        """Add a function, which must be at the top level of its module, and return the expression that refers to it."""
        if not isinstance(function, FunctionType):
            raise_unpackageable(
                f"{_label(function)} is not a function with source code; write a function with def that calls it"
            )
        name, space = function.__name__, function.__globals__
        if function.__code__.co_freevars:
            free = ", ".join(f"'{sanitize_line(name)}'" for name in function.__code__.co_freevars)
            raise_unpackageable(
                f"{_label(function)} uses {free} of the enclosing function, which cannot be packaged; move the "
                "function to the top level of a file and package 'path/to/file.py:name'"
            )
        if "<locals>" in function.__qualname__ or not name.isidentifier():
            raise_unpackageable(
                f"{_label(function)} is not at the top level of its module; define the function there with def, or in "
                "a file, and package 'path/to/file.py:name'"
            )
        source, current = self._module(space, _label(function))[1], space.get(name)
        if name not in source.bindings or not any(
            one is function for one in (current, getattr(current, "function", 0))
        ):
            raise_unpackageable(
                f"'{sanitize_line(name)}' was assigned again after the reward was made; make the reward again"
            )
        expression = self._add_name(space, name)
        return expression if current is function else f"{expression}.function"

    def _add_name(self, space: Mapping[str, Any], name: str) -> str:
        """Add a name of a module, and return the expression for it."""
        module, _, names = self._module(space, f"'{sanitize_line(name)}'")
        if name not in names:
            names.append(name)
        return f"{module}.{name}"

    def _module(self, space: Mapping[str, Any], label: str) -> tuple[str, ModuleSource, list[str]]:
        if id(space) not in self.modules:
            source = read_source(space, label)
            stem = "source_" + (re.sub(r"\W", "_", source.module, flags=re.ASCII).strip("_") or "module")
            taken = {module for module, *_ in self.modules.values()}
            module = next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in taken)
            self.modules[id(space)] = (module, source, [])
        return self.modules[id(space)]


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
    return raise_unpackageable(
        f"{label} is of type {type(value).__name__}, which cannot be written as source; use plain values, or write the "
        "reward into a file"
    )


def _label(value: object) -> str:
    name = getattr(value, "name", None) or getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"'{sanitize_line(str(name), 80)}'"


def _raise_nameless(reward: Reward) -> NoReturn:
    raise_unpackageable(
        f"{_label(reward)} has no name at the top level of its module; assign the reward to a top-level name, or write "
        "it into a file"
    )
