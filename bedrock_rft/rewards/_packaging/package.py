"""Package a reward for Lambda: the given sources and their requirements, and nothing else."""

from __future__ import annotations

import os
import platform
import re
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft._core.version import __version__
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._batch.recorder import resolve_record
from bedrock_rft.rewards._packaging import value_fingerprint
from bedrock_rft.rewards._packaging.archive import LARGEST_UNZIPPED, Package, build_zip, validate_file_name
from bedrock_rft.rewards._packaging.entry_writer import (
    Sources,
    write_file_sources,
    write_function_sources,
    write_reward_sources,
)
from bedrock_rft.rewards._packaging.imports import LAMBDA_MODULES, check_imports, decode_source
from bedrock_rft.rewards._packaging.requirements import (
    ARCHITECTURES,
    install_requirements,
    pin_requirements,
    requirement_name,
)
from bedrock_rft.rewards._packaging.secret_scan import check_file_name, check_secrets
from bedrock_rft.rewards._packaging.value_fingerprint import fingerprint_names
from bedrock_rft.rewards._runtime import PUBLIC_NAMES
from bedrock_rft.rewards._runtime.graders.unit_tests import PassesTests
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._runtime.rollout_log import RolloutLog
from bedrock_rft.rewards._targets.resolve import reward_name, split_reward_path
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

RUNTIMES = ("python3.13", "python3.14", "python3.12", "python3.11", "python3.10")
"""Lambda runtimes that this package supports; the first is the default."""

_ENTRY_FILE = "lambda_function.py"
_MAX_MEMORY = 10_240
_LOAD_MEMORY, _LOAD_TIMEOUT = 2048, 30.0


def package(
    reward: object,
    *,
    include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]] = (),
    requirements: Sequence[str] = (),
    models: Sequence[str] = (),
    allow: Sequence[str] = (),
    runtime: str = "python3.13",
    architecture: str = "x86_64",
    record: RolloutLog | str | None = None,
) -> Package:
    """Build the zip of a Lambda function for a reward, and load it in a clean process.

    For a reward that was written in a notebook or a script, the package contains its functions and the top-level
    imports, constants and helpers that they refer to, as source text. The package contains no values of this process.
    In a notebook, these statements have to give the values that the names have now. A module or a file is packaged
    whole. The scoring part of bedrock_rft is added if it is used. Two builds give the same bytes.

    Args:
        reward: a reward, a `Handler`, a function of (event, context), a module with a `lambda_handler`, or
            `path/to/file.py:name`.
        include: further files: paths, of which relative ones are kept in the zip, or a mapping of names in the zip to
            paths.
        requirements: releases to install, each as `name==version`, with all their dependencies.
        models: ids of models that the code itself calls; the models of judges are found automatically.
        allow: texts that only look like a secret or like a path of this machine, each by its name in the error: the
            file, the kind, and a checksum of the text.
        runtime: a Lambda runtime, `python3.10` or later.
        architecture: `x86_64` or `arm64`.
        record: where and how the function records the rollouts that it scores, or only the location,
            `s3://bucket/prefix`. By default, the handler's own setting applies, which is to record nothing.

    Returns:
        The zip, with its settings.

    Raises:
        ConfigurationError: something cannot be packaged, is missing, looks like a secret, or cannot be loaded. The
            message names it.
    """
    _check_settings(runtime, architecture, {"requirements": requirements, "allow": allow})
    log = resolve_record(record)
    if log is not None and log.bucket is None:
        raise ConfigurationError(
            f"record is the folder {sanitize_line(log.location, 200)}, and files that a function writes in Lambda are "
            "lost. Pass s3://bucket/prefix."
        )
    sources = _collect_sources(reward, log)
    own = {**sources.files}
    for name, content in _collect_included(include).items():
        if name.casefold() in {known.casefold() for known in own}:
            raise ConfigurationError(
                f"The package already has a file '{name}'. Give your file another name: include={{name: path}}."
            )
        own[name] = content
    for name in own:
        _check_name(name)
    named = set(map(requirement_name, requirements))
    extra = (one for one in sources.requirements if requirement_name(one) not in named)
    pinned = pin_requirements([*requirements, *extra])
    brought = install_requirements(pinned, runtime=runtime, architecture=architecture)
    texts = {name: decode_source(name, content) for name, content in own.items() if name.endswith(".py")}
    uses_runtime = check_imports(texts, [*own, *brought], _packaged_modules())
    check_secrets(own, allow=allow)
    if uses_runtime:
        own.update(runtime_files())
    conflict = next((name for name in own if name in brought), None)
    if conflict is not None:
        raise ConfigurationError(f"A requirement also has a file '{conflict}'. Rename your file.")
    content, files = build_zip({**brought, **own})
    found: Mapping[str, Any] = {}
    if _can_load(brought, runtime=runtime, processor=ARCHITECTURES[architecture]):
        found = _load_package(content, sources)
    all_models = tuple(dict.fromkeys([*sources.models, *map(str, found.get("models", ())), *models]))
    return Package(
        content,
        sources.handler,
        runtime,
        architecture,
        files,
        reward_name(reward),
        all_models,
        pinned,
        sources.timeout,
        sources.memory,
        RolloutLog(**found["record"]) if found.get("record") else sources.record,
    )


def write_sources(reward: object, folder: Path) -> None:
    """Write the sources of a reward that is an object, with `lambda_function.lambda_handler`, into a folder."""
    sources = _collect_sources(reward)
    for name, content in sources.files.items():
        (folder / name).write_bytes(content)
    if sources.notebooks:
        process = SubprocessTarget(folder / _ENTRY_FILE, "lambda_handler", "sources", _LOAD_TIMEOUT, _LOAD_MEMORY)
        with closing(process), suppress(RewardError):  # loading them again reports the same error
            process.start()
            _compare_notebooks(process, sources)


def _check_settings(runtime: str, architecture: str, lists: Mapping[str, object]) -> None:
    if runtime not in RUNTIMES:
        raise ConfigurationError(
            f"runtime is '{runtime}', which is not supported. Use one of {', '.join(sorted(RUNTIMES))}."
        )
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(f"architecture is '{architecture}'. Use {' or '.join(ARCHITECTURES)}.")
    for name, given in lists.items():
        if isinstance(given, str):
            raise ConfigurationError(f"{name} must be a list, such as ['{sanitize_line(given, 80)}'].")


def _collect_sources(reward: object, record: RolloutLog | None = None) -> Sources:
    if isinstance(reward, (Reward, Handler)):
        handler = reward if isinstance(reward, Handler) else Handler(reward)
        handler = handler if record is None else replace(handler, record=record)
        total = cast("Reward", handler.reward)
        tests = [leaf for leaf in total.leaves if isinstance(leaf, PassesTests)]
        written = write_reward_sources(handler)
        return replace(
            written,
            requirements=total.requirements,
            models=total.models,
            timeout=3 * written.timeout if tests else written.timeout,
            memory=min(_MAX_MEMORY, written.memory + sum(leaf.memory for leaf in tests)),
            record=handler.record,
        )
    if isinstance(reward, ModuleType):
        if not hasattr(reward, "lambda_handler") or not isinstance(reward.__file__, str):
            raise ConfigurationError(
                f"The module '{reward.__name__}' is not a file with a 'lambda_handler'. Package 'path/to/file.py:name'."
            )
        return _from_file(Path(reward.__file__), "lambda_handler", record)
    if isinstance(reward, str) and reward.startswith("arn:"):
        raise ConfigurationError("A deployed function is already packaged. Package the sources of the function.")
    if isinstance(reward, (str, os.PathLike)):
        path, name = split_reward_path(os.fspath(reward))
        if path.suffix != ".py":
            raise ConfigurationError(f"{path.name} is already a package. Package the sources of the package.")
        return _from_file(path, name, record)
    if callable(reward):
        return replace(write_function_sources(reward, record), record=record)
    raise ConfigurationError(
        f"The reward is of type {type(reward).__name__}. Pass a Reward, a Handler, a function, a module or "
        "'file.py:name'."
    )


def _from_file(path: Path, name: str, record: RolloutLog | None) -> Sources:
    if path.suffix != ".py":
        raise ConfigurationError(f"'{path.name}' is not a Python file.")
    if path.name == _ENTRY_FILE:
        if record is not None:
            raise ConfigurationError(
                f"record= cannot change {_ENTRY_FILE}, which is the entry point itself. Write Handler(…, "
                "record=RolloutLog(…)) in that file, or rename the file."
            )
        return Sources({_ENTRY_FILE: _read(path, path.name)}, f"lambda_function.{name}", direct=True)
    stem = path.stem.replace(".", "_")  # a dot would separate a package from a module
    written = write_file_sources(stem, name, record)
    return replace(written, files={**written.files, f"{stem}.py": _read(path, path.name)}, record=record)


def _collect_included(
    include: Iterable[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str]],
) -> dict[str, bytes]:
    """Return the further files by their names in the zip."""
    if isinstance(include, (str, os.PathLike)):
        raise ConfigurationError(f"include must be a list of files, such as ['{os.fspath(include)}'].")
    if isinstance(include, Mapping):
        given = cast("Mapping[str, str | os.PathLike[str]]", include)
        return {validate_file_name(name): _read_included(Path(path), name) for name, path in given.items()}
    named: dict[str, Path] = {}
    for path in map(Path, include):
        name = path.name if path.is_absolute() else path.as_posix()
        if name in named:
            raise ConfigurationError(
                f"Two files of include are named '{name}'. Give each another name: include={{name: path}}."
            )
        named[name] = path
    return {validate_file_name(name): _read_included(path, name) for name, path in named.items()}


def _read_included(path: Path, name: str) -> bytes:
    folders = path.absolute().parents[:-2]  # links at the top, such as /tmp of macOS, are the system's
    linked = next((folder for folder in folders if folder.is_symlink()), None)
    if linked is not None:
        raise ConfigurationError(f"'{path}' is in '{linked}', which is a symbolic link. Name the file itself.")
    return _read(path, name)


def _read(path: Path, name: str) -> bytes:
    check_file_name(name)
    check_file_name(path.name)
    if path.is_symlink():
        raise ConfigurationError(f"'{path}' is a symbolic link. Name the file itself.")
    try:
        if path.is_dir():
            raise ConfigurationError(f"'{path}' is a folder. Name each of its files that the reward needs.")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe or a device may block, or never end
            raise ConfigurationError(f"'{path}' is not a regular file. Name a file.")
        if status.st_size > LARGEST_UNZIPPED:
            raise ConfigurationError(f"'{path}' is larger than Lambda's limit. Leave the file out.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigurationError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"'{path}' cannot be read: {reason}.") from error


def _check_name(name: str) -> None:
    check_file_name(validate_file_name(name))
    top = name.split("/", maxsplit=1)[0].removesuffix(".py")
    if top.casefold() == "bedrock_rft" or (name != _ENTRY_FILE and top in sys.stdlib_module_names):
        raise ConfigurationError(f"'{name}' would hide the module '{top}' in Lambda. Rename the file.")


def _can_load(brought: Iterable[str], *, runtime: str, processor: str) -> bool:
    """Return whether files of requirements can be loaded on this machine: machine code must be for this platform."""
    native = any(name.endswith(".so") or ".so." in name for name in brought)
    here = (f"python{sys.version_info.major}.{sys.version_info.minor}", sys.platform, platform.machine())
    return not native or here == (runtime, "linux", processor)


def _load_package(content: bytes, sources: Sources) -> Mapping[str, Any]:
    """Load a zip, compare its values with those of the notebook, and return its models and its recording."""
    process = SubprocessTarget(content, sources.handler, "package", _LOAD_TIMEOUT, _LOAD_MEMORY)
    try:
        description = process.start()
        _compare_notebooks(process, sources)
    except RewardError as error:
        missing = re.search(r"No module named '(\w+)", error.message)
        if missing is not None and missing.group(1) in LAMBDA_MODULES:  # Lambda has it, this environment does not
            return {}
        raise ConfigurationError(f"The package cannot be loaded. {error.message}") from error
    finally:
        process.close()
    name = sources.handler.rpartition(".")[2]
    if sources.direct and description.get("reward"):
        raise ConfigurationError(
            f"'{name}' is a reward, which Lambda cannot call. Write {name} = ….handler in its file."
        )
    if description.get("wrong"):
        raise ConfigurationError(f"Lambda could not call '{name}': {sanitize_line(str(description['wrong']))}.")
    return description


def _compare_notebooks(process: SubprocessTarget, sources: Sources) -> None:
    """Raise `ConfigurationError` if a name has another value in the started process than in the notebook."""
    for module, (space, names) in sources.notebooks.items():
        in_notebook = fingerprint_names(space, names)
        in_process = process.fingerprint_names(value_fingerprint.__file__, module, [*in_notebook])
        changed = [
            name for name, fingerprint in in_notebook.items() if in_process.get(name, fingerprint) != fingerprint
        ]
        if changed:
            shown = ", ".join(f"'{sanitize_line(name)}'" for name in changed)
            raise ConfigurationError(
                f"The reward cannot be packaged: the statements of the notebook that make {shown} give other values "
                "when they are run again, because something changed the values later or they depend on earlier values. "
                "Assign the values that the reward needs in one cell, or write the reward into a file and package "
                "'path/to/file.py:name'."
            )


@cache
def runtime_files() -> dict[str, bytes]:
    """Return the files of `rewards/_runtime`, with the two package files above it."""
    package = Path(__file__).parents[2]
    paths = [package / "rewards" / "__init__.py", *sorted((package / "rewards" / "_runtime").rglob("*.py"))]
    found = {path.relative_to(package.parent).as_posix(): path.read_bytes().replace(b"\r\n", b"\n") for path in paths}
    found["bedrock_rft/__init__.py"] = (
        f'"""The scoring part of bedrock_rft {__version__}. It needs the standard library only."""\n'.encode()
    )
    return found


def _packaged_modules() -> dict[str, set[str]]:
    """Return the importable modules of the runtime, each with its public names; an empty set allows any name."""
    public = {name for names in PUBLIC_NAMES.values() for name in names}
    inner = {
        name.removesuffix(".py").removesuffix("/__init__").replace("/", "."): set[str]() for name in runtime_files()
    }
    del inner["bedrock_rft"]
    return {**inner, "bedrock_rft.rewards": public | {"_runtime"}}
