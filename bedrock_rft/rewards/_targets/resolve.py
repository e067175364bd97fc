"""Resolve a reward that the user passed (object, file, package or ARN) into a target."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.archive import Package
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.entry_point import InProcessTarget
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget
from bedrock_rft.rewards._targets.target import Target

_DEFAULT_TIMEOUT = 300.0
_SHOWN_CHARS = 120


def resolve_target(reward: object, *, timeout: float | None, memory: int, client: Any) -> Target:
    """Return the target for a reward, without invoking it; `check` describes the arguments."""
    limit = _DEFAULT_TIMEOUT if timeout is None else timeout
    arn = lambda_arn(reward)
    if arn is not None:
        from bedrock_rft.rewards._targets.lambda_target import LambdaTarget

        return LambdaTarget(arn, client, timeout)
    if isinstance(reward, Package):
        return SubprocessTarget(reward.content, reward.handler, reward_name(reward), limit, memory)
    if isinstance(reward, (str, os.PathLike)):
        path, handler = split_reward_path(os.fspath(reward))
        return SubprocessTarget(path, handler, f"{path.name}:{handler}", limit, memory)
    if isinstance(reward, (Reward, Handler)) or callable(reward):
        return InProcessTarget(reward, reward_name(reward), limit)
    raise ConfigurationError(
        f"The reward is of type {type(reward).__name__}. Pass a Reward, a handler, 'file.py:name', a Package, the zip "
        "of a Lambda function, or an ARN."
    )


def lambda_arn(reward: object) -> str | None:
    """Return the ARN if the reward is a deployed function, else None."""
    arn = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    return arn if isinstance(arn, str) and arn.startswith("arn:") else None


def load_gold(text: str) -> Callable[[Mapping[str, Any]], str]:
    """Return the function that `path/to/file.py:name` names, for `gold=`. The folder of the file stays importable."""
    path, name = split_reward_path(text, "gold")
    sys.path.insert(0, str(path.parent))
    # Dataclasses and pickle look up their module by name. Bytecode is not used, because it may come from the file
    # before an edit within the same second.
    module = sys.modules[f"_gold_{path.stem}"] = ModuleType(f"_gold_{path.stem}")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), path, "exec"), vars(module))  # noqa: S102 - the user's own file
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigurationError(f"{path} has no function '{name}'. Name a function that takes a record.")
    return cast("Callable[[Mapping[str, Any]], str]", function)


def split_reward_path(text: str, label: str = "The reward") -> tuple[Path, str]:
    """Split `path/to/file.py:name` into the file and the name. Raise `ConfigurationError` if there is no such file."""
    location, colon, name = text.rpartition(":")
    if not colon or "/" in name or "\\" in name:  # the colon after a drive letter is not a separator
        location, name = text, ""
    shown = sanitize_line(text, _SHOWN_CHARS)
    if "\n" in text:
        raise ConfigurationError(
            f"{label} is text of several lines, not a path: '{shown}'. Save it as a file and pass 'file.py:name', "
            "or pass the function itself."
        )
    if not location.endswith((".py", ".zip")) or (location.endswith(".py") and not name.isidentifier()):
        raise ConfigurationError(f"{label} '{shown}' is neither 'path/to/file.py:name' nor 'path/to/file.zip'.")
    try:
        path = Path(location).expanduser()
        missing = not path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, a null character, or an unknown home directory
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"{label} '{shown}' cannot be read: {reason}.") from None
    if missing:
        raise ConfigurationError(
            f"There is no file '{sanitize_line(str(path), _SHOWN_CHARS)}' for {label[0].lower()}{label[1:]}."
        )
    return path.resolve(), name or "lambda_function.lambda_handler"


def reward_name(reward: Any) -> str:
    """Return the name that reports use for a reward."""
    if isinstance(reward, Handler):
        return repr(reward.reward)
    if isinstance(reward, Package):
        return f"package of {reward.reward}"
    if isinstance(reward, (str, os.PathLike)):
        return sanitize_line(os.fspath(reward), _SHOWN_CHARS)
    return str(getattr(reward, "arn", None) or getattr(reward, "__name__", None) or reward)[:200]
