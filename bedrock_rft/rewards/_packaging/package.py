"""A reward packaged for Lambda: the sources that were named, what they need, and nothing else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards import _MODULE_BY_NAME
from bedrock_rft.rewards._packaging.archive import LARGEST_UNZIPPED, Package, checked_name, zipped
from bedrock_rft.rewards._packaging.entry_writer import HEAD, of_function, of_reward
from bedrock_rft.rewards._packaging.imports import refuse_imports
from bedrock_rft.rewards._packaging.load_check import loadable, loaded
from bedrock_rft.rewards._packaging.requirements import ARCHITECTURES, pinned, vendored
from bedrock_rft.rewards._packaging.secret_scan import refuse_names, refuse_secrets
from bedrock_rft.rewards._runtime.graders.unit_tests import PassesTests
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.resolve import reward_name, split_reward_path

__all__ = ["RUNTIMES", "package"]

RUNTIMES = ("python3.13", "python3.14", "python3.12", "python3.11", "python3.10")
"""What Lambda runs of what this package runs on; the first is the usual one."""

_ENTRY = "lambda_function.py"
_SECONDS = 300
_MEMORY = 512
_MOST_MEMORY = 10_240


@dataclass(frozen=True)
class _Sources:
    """What a reward comes to: files by name, what Lambda calls, and what it needs beside it."""

    files: Mapping[str, bytes]
    handler: str = "lambda_function.lambda_handler"
    requirements: Sequence[str] = ()
    models: Sequence[str] = ()
    timeout: int = _SECONDS
    memory: int = _MEMORY
    direct: bool = field(default=False)
    """Whether Lambda calls the user's own name, which then has to be a handler."""


def package(
    reward: object,
    *,
    include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
    requirements: Sequence[str] = (),
    models: Sequence[str] = (),
    allow: Sequence[str] = (),
    runtime: str = "python3.13",
    architecture: str = "x86_64",
) -> Package:
    """Make a Lambda's zip of a reward, and load it in a clean process.

    Of a reward that was written in a notebook or a script only its functions go in, with what they refer to: imports,
    constants and helpers at the top level. They are taken as they are written; no value of this process is. A module or
    a file goes in whole. Then come the part of this package that scores, where it is used, and what is named here.
    Built twice, the bytes are the same.

    Args:
        reward: a reward, a `Handler`, a function of (event, context), a module with a `lambda_handler`, or
            `path/to/file.py:name`.
        include: further files, each by its path, relative ones under that path too; or names in the zip with paths.
        requirements: releases to install beside it, each as `name==version`, with everything that they need.
        models: ids of models that its code asks by itself; those of its judges are found.
        allow: what only looks like a secret, or like a path of this machine, each as the error that refused it names
            it: the file, the kind, and a sum of the text, so that nothing else of the file is let through.
        runtime: Lambda's name of a Python, from 3.10 on.
        architecture: `x86_64` or `arm64`.

    Returns:
        The zip, with the settings that belong to it.

    Raises:
        ConfigurationError: something cannot be carried, is missing, looks like a secret, or does not load; it is named.
    """
    _check_settings(runtime, architecture, {"requirements": requirements, "allow": allow})
    sources = _sources(reward)
    own = {**sources.files}
    for name, content in _included(include).items():
        if name.casefold() in {known.casefold() for known in own}:
            raise ConfigurationError(
                f"'{name}' is in the package already. Give it another name: include={{name: path}}."
            )
        own[name] = content
    for name in own:
        _check_name(name)
    wanted = pinned([*requirements, *(one for one in sources.requirements if not _named(one, requirements))])
    brought = vendored(wanted, runtime=runtime, architecture=architecture)
    texts = {name: _text(name, content) for name, content in own.items() if name.endswith(".py")}
    if refuse_imports(texts, [*own, *brought], _ours()):
        own.update(_runtime())
    refuse_secrets(own, allow=allow)
    both = next((name for name in own if name in brought), None)
    if both is not None:
        raise ConfigurationError(f"'{both}' is a file of a requirement too. Rename yours.")
    content, files = zipped({**brought, **own})
    asked: Sequence[str] = ()
    if loadable(brought, runtime=runtime, processor=ARCHITECTURES[architecture]):
        asked = loaded(content, sources.handler, direct=sources.direct)
    found = tuple(dict.fromkeys([*sources.models, *asked, *models]))
    return Package(
        content,
        sources.handler,
        runtime,
        architecture,
        files,
        reward_name(reward),
        found,
        wanted,
        sources.timeout,
        sources.memory,
    )


def _check_settings(runtime: str, architecture: str, lists: Mapping[str, object]) -> None:
    if runtime not in RUNTIMES:
        raise ConfigurationError(f"runtime is '{runtime}'; Lambda's are {', '.join(sorted(RUNTIMES))}.")
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(f"architecture is '{architecture}'; Lambda's are {' and '.join(ARCHITECTURES)}.")
    for name, given in lists.items():
        if isinstance(given, str):
            raise ConfigurationError(f"{name} is a list, such as ['{sanitize_line(given, 80)}'].")


def _sources(reward: object) -> _Sources:
    if isinstance(reward, (Reward, Handler)):
        handler = reward if isinstance(reward, Handler) else Handler(reward)
        total = cast("Reward", handler.reward)
        tests = [leaf for leaf in total.leaves if isinstance(leaf, PassesTests)]
        memory = min(_MOST_MEMORY, _MEMORY + sum(leaf.memory for leaf in tests))
        seconds = 3 * _SECONDS if tests else _SECONDS
        files = _encoded(of_reward(handler))
        return _Sources(
            files,
            requirements=total.requirements,
            models=total.models,
            timeout=seconds,
            memory=memory,
        )
    if isinstance(reward, ModuleType):
        if not hasattr(reward, "lambda_handler") or not isinstance(reward.__file__, str):
            raise ConfigurationError(
                f"The module '{reward.__name__}' is no file with a 'lambda_handler'. Package 'path/to/file.py:name'."
            )
        return _of_file(Path(reward.__file__), "lambda_handler")
    if isinstance(reward, str) and reward.startswith("arn:"):
        raise ConfigurationError("A function in Lambda is packaged already. Package what it was made of.")
    if isinstance(reward, (str, os.PathLike)):
        path, name = split_reward_path(os.fspath(reward))
        if path.suffix != ".py":
            raise ConfigurationError(f"{path.name} is packaged already. Package the sources that it was made of.")
        return _of_file(path, name)
    if callable(reward):
        return _Sources(_encoded(of_function(reward)))
    raise ConfigurationError(
        f"A reward is a Reward, a Handler, a function, a module or 'file.py:name', not {type(reward).__name__}."
    )


def _of_file(path: Path, name: str) -> _Sources:
    if path.suffix != ".py":
        raise ConfigurationError(f"'{path.name}' is no Python file.")
    if path.name == _ENTRY:
        return _Sources({_ENTRY: _read(path, path.name)}, f"lambda_function.{name}", direct=True)
    entry = (
        f"{HEAD}from importlib import import_module\n\n"
        f"lambda_handler = import_module({path.stem!r}).{name}\n"
        'if hasattr(lambda_handler, "leaves"):  # a reward stands for its handler\n'
        "    lambda_handler = lambda_handler.handler\n"
    )
    return _Sources({_ENTRY: entry.encode(), path.name: _read(path, path.name)})


def _included(include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]]) -> dict[str, bytes]:
    """Further files by their names in the zip."""
    if isinstance(include, (str, os.PathLike)):
        raise ConfigurationError(f"include is a list of files, such as ['{os.fspath(include)}'].")
    if isinstance(include, Mapping):
        given = cast("Mapping[str, str | os.PathLike[str]]", include)
        return {checked_name(name): _read(Path(path), name) for name, path in given.items()}
    named: dict[str, Path] = {}
    for path in map(Path, include):
        name = path.name if path.is_absolute() else path.as_posix()
        if name in named:
            raise ConfigurationError(f"Two files of include are named '{name}'. Name them: include={{name: path}}.")
        named[name] = path
    return {checked_name(name): _read(path, name) for name, path in named.items()}


def _read(path: Path, name: str) -> bytes:
    refuse_names(name)
    refuse_names(path.name)
    links = [path] if path.is_absolute() else [path, *path.parents]
    if any(link.is_symlink() for link in links):
        raise ConfigurationError(f"'{path}' is a link, or in a folder that is one. Name the file itself.")
    try:
        if path.is_dir():
            raise ConfigurationError(f"'{path}' is a folder. Name the files that are to be packaged, one by one.")
        if path.stat().st_size > LARGEST_UNZIPPED:
            raise ConfigurationError(f"'{path}' is larger than Lambda takes. Leave it out.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"'{path}' cannot be packaged: {reason}.") from error


def _check_name(name: str) -> None:
    refuse_names(checked_name(name))
    top = name.split("/", maxsplit=1)[0].removesuffix(".py")
    if top.casefold() == "bedrock_rft" or (name != _ENTRY and top in sys.stdlib_module_names):
        raise ConfigurationError(f"'{name}' would stand in for the module '{top}' in the Lambda. Rename it.")


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no Python: it is not written in UTF-8.") from error


def _encoded(files: Mapping[str, str]) -> dict[str, bytes]:
    return {name: text.encode() for name, text in files.items()}


def _named(requirement: str, requirements: Sequence[str]) -> bool:
    return any(re.split(r"[\[=]", one.strip())[0].lower() == requirement.lower() for one in requirements)


@cache
def _runtime() -> dict[str, bytes]:
    """Return the files of `rewards/_runtime`, with the two package files above it."""
    package = Path(__file__).parents[2]
    paths = [package / "rewards" / "__init__.py", *sorted((package / "rewards" / "_runtime").rglob("*.py"))]
    found = {path.relative_to(package.parent).as_posix(): path.read_bytes().replace(b"\r\n", b"\n") for path in paths}
    found["bedrock_rft/__init__.py"] = (
        f'"""The part of bedrock_rft {__version__} that scores. It needs the standard library alone."""\n'.encode()
    )
    return found


def _ours() -> dict[str, set[str]]:
    """Return the importable modules of the runtime, each with its public names; an empty set allows any name."""
    public = {name for name, module in _MODULE_BY_NAME.items() if module.startswith("_runtime.")}
    inner = {name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): set[str]() for name in _runtime()}
    del inner["bedrock_rft"]
    return {**inner, "bedrock_rft.rewards": public | {"_runtime"}}
