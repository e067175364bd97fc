"""A reward written down again as Python: the entry point of its Lambda, and the sources that it needs."""

from __future__ import annotations

import dataclasses
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FunctionType
from typing import Any, NoReturn, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.module_slice import sliced
from bedrock_rft.rewards._packaging.module_source import Source, source_of
from bedrock_rft.rewards._runtime.function import Function
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Clip, Gate, Leaf, Named, Reward, Sum, Weighted

__all__ = ["HEAD", "of_function", "of_reward"]

HEAD = f'"""The entry point of a reward function for Lambda, written by bedrock_rft {__version__}."""\n\n'
_OURS = "bedrock_rft.rewards"


def of_reward(handler: Handler) -> dict[str, str]:
    """The sources of a reward's Lambda, by file name.

    Raises:
        ConfigurationError: something in it cannot be written down; it is named.
    """
    writer = _Writer()
    total = writer.expression(cast("Reward", handler.reward))
    lines = [f"import {module}" for module in writer.sources.modules]
    lines.append(f"from {_OURS} import {', '.join(sorted({'Handler', *writer.imports}))}")
    settings = f"floor={_literal(handler.floor, 'floor')}, concurrency={handler.concurrency}"
    lines += ["", *writer.lines, f"lambda_handler = Handler({total}, {settings})"]
    return {"lambda_function.py": HEAD + "\n".join(lines) + "\n", **writer.sources.files()}


def of_function(function: Callable[..., Any]) -> dict[str, str]:
    """The sources of a function of (event, context), by file name. Raises as `of_reward`."""
    sources = _Sources()
    name = sources.function(function)
    module = name.partition(".")[0]
    return {"lambda_function.py": f"{HEAD}import {module}\n\nlambda_handler = {name}\n", **sources.files()}


class _Sources:
    """The modules that are taken along, in part: which names of which."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[str, Source, list[str]]] = {}

    @property
    def modules(self) -> list[str]:
        return sorted(module for module, *_ in self._found.values())

    def files(self) -> dict[str, str]:
        return {f"{module}.py": sliced(source, names) for module, source, names in self._found.values()}

    def source(self, space: Mapping[str, Any], what: str) -> Source:
        return self._entry(space, what)[1]

    def name(self, space: Mapping[str, Any], name: str) -> str:
        """Take a name along, and say how it is reached."""
        module, _, names = self._entry(space, f"'{sanitize_line(name)}'")
        if name not in names:
            names.append(name)
        return f"{module}.{name}"

    def function(self, function: object) -> str:
        """Take a function along that stands at the top level of its module."""
        if not isinstance(function, FunctionType):
            _refuse(f"{_shown(function)} is no function with a source; write a function with def that calls it")
        name, space = function.__name__, function.__globals__
        if function.__code__.co_freevars:
            free = ", ".join(f"'{sanitize_line(one)}'" for one in function.__code__.co_freevars)
            _refuse(
                f"{_shown(function)} uses {free} of the function around it, which cannot be carried; move it to the "
                "top level of a file and package 'path/to/file.py:name'"
            )
        if "<locals>" in function.__qualname__ or not name.isidentifier():
            _refuse(
                f"{_shown(function)} does not stand at the top level of its module; move it there, with def, or to a "
                "file, and package 'path/to/file.py:name'"
            )
        source = self.source(space, _shown(function))
        known = space.get(name)
        if name not in source.bindings or (known is not function and getattr(known, "function", None) is not function):
            _refuse(
                f"'{sanitize_line(name)}' stands for something else since the reward was made; make the reward again"
            )
        reached = self.name(space, name)
        return reached if known is function else f"{reached}.function"

    def place(self, reward: Reward, space: Mapping[str, Any]) -> str | None:
        """How a reward is reached that has a name at the top level of its module; None where it has none."""
        if not any(value is reward for value in list(space.values())):
            return None
        source = self.source(space, _shown(reward))
        names = [name for name in source.bindings if space.get(name) is reward and not re.fullmatch(r"_\d*", name)]
        return self.name(space, names[0]) if names else None

    def _entry(self, space: Mapping[str, Any], what: str) -> tuple[str, Source, list[str]]:
        if id(space) not in self._found:
            source = source_of(space, what)
            stem = "source_" + (re.sub(r"\W", "_", source.module, flags=re.ASCII).strip("_") or "module")
            taken = {module for module, *_ in self._found.values()}
            module = next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in taken)
            self._found[id(space)] = (module, source, [])
        return self._found[id(space)]


class _Writer:
    """Writes a reward as an expression, with a line for each of its leaves."""

    def __init__(self) -> None:
        self.sources = _Sources()
        self.imports: set[str] = set()
        self.lines: list[str] = []
        self._names: dict[int, str] = {}

    def expression(self, reward: Reward) -> str:
        """Python that makes the reward again. One that occurs twice is made once."""
        if id(reward) not in self._names:
            if not isinstance(reward, Leaf):
                return self._composed(reward)
            name = f"part_{len(self._names) + 1}"
            self.lines.append(f"{name} = {self._leaf(reward)}")
            self._names[id(reward)] = name
        return self._names[id(reward)]

    def _composed(self, reward: Reward) -> str:
        if isinstance(reward, Weighted):
            return f"{_literal(reward.weight, 'a weight')} * {self._inner(reward.reward)}"
        if isinstance(reward, Sum):
            return " + ".join(map(self._inner, reward.terms))
        if isinstance(reward, Clip):
            return f"{self._inner(reward.reward)}.clip({_literal(reward.low, 'low')}, {_literal(reward.high, 'high')})"
        if isinstance(reward, Named):
            return f"{self._inner(reward.reward)}.named({reward.name!r})"
        if isinstance(reward, Gate):
            settings = {"at_least": reward.at_least, "otherwise": reward.otherwise, "lazy": reward.lazy}
            spelled = ", ".join(f"{name}={_literal(value, name)}" for name, value in settings.items())
            return f"{self._inner(reward.reward)}.gate({self.expression(reward.by)}, {spelled})"
        return self._named(reward) or _refuse(
            f"{_shown(reward)} has no name at the top level of its module; give it one, or write it into a file"
        )

    def _inner(self, reward: Reward) -> str:
        written = self.expression(reward)
        return written if written.isidentifier() else f"({written})"

    def _leaf(self, leaf: Leaf) -> str:
        if isinstance(leaf, Function):
            return self._function(leaf)
        kind = type(leaf)
        if kind.__module__.startswith(f"{_OURS}."):
            self.imports.add(kind.__name__)
            return f"{kind.__name__}({_settings(leaf)})"
        if (named := self._named(leaf)) is not None:
            return named
        space = getattr(sys.modules.get(kind.__module__), "__dict__", {})
        if not dataclasses.is_dataclass(leaf) or space.get(kind.__name__) is not kind:
            _refuse(f"{_shown(leaf)} has no name at the top level of its module; give it one, or write it into a file")
        return f"{self.sources.name(space, kind.__name__)}({_settings(leaf)})"

    def _function(self, leaf: Function) -> str:
        named = self._named(leaf)
        if named is not None:
            return named
        self.imports.add("reward")
        settings = f"name={leaf.name!r}" + (f", weights={_literal(leaf.weights, 'weights')}" if leaf.weights else "")
        return f"reward({settings})({self.sources.function(leaf.function)})"

    def _named(self, reward: Reward) -> str | None:
        """How it is reached where it has a name of its own in the module that it was written in."""
        written = reward.function if isinstance(reward, Function) else type(reward)
        if isinstance(written, FunctionType):
            return self.sources.place(reward, written.__globals__)
        module = getattr(written, "__module__", None) or type(written).__module__
        return self.sources.place(reward, getattr(sys.modules.get(str(module)), "__dict__", {}))


def _settings(leaf: Leaf) -> str:
    found: list[str] = []
    for one in dataclasses.fields(cast("Any", leaf)):
        value = getattr(leaf, one.name)
        usual = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        if one.init and (type(value) is not type(usual) or value != usual):
            found.append(f"{one.name}={_literal(value, f'{one.name} of {type(leaf).__name__}')}")
    return ", ".join(found)


def _literal(value: Any, what: str) -> str:
    """A plain value as Python."""
    if value is None or isinstance(value, (bool, str, bytes)):
        return repr(value)
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, float) and math.isfinite(value):
        return repr(float(value))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast] # pyright needs it
        return f"{{{', '.join(f'{_literal(key, what)}: {_literal(one, what)}' for key, one in pairs)}}}"
    if isinstance(value, (list, tuple)):
        items = [_literal(one, what) for one in cast("Iterable[Any]", value)]
        return f"[{', '.join(items)}]" if isinstance(value, list) else f"({', '.join(items)}{',' * (len(items) == 1)})"
    return _refuse(
        f"{what} is {type(value).__name__}, which cannot be written down; use plain values, or write it into a file"
    )


def _shown(value: object) -> str:
    name = getattr(value, "name", None) or getattr(value, "__qualname__", None) or type(value).__qualname__
    return f"'{sanitize_line(str(name), 80)}'"


def _refuse(why: str) -> NoReturn:
    raise ConfigurationError(f"The reward cannot be packaged: {why}.")
