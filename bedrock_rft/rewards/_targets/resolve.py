"""Where a reward is: here, in a file, in a package, or in Lambda."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._packaging.archive import Package
from bedrock_rft.rewards._runtime.handler import Handler
from bedrock_rft.rewards._runtime.reward import Reward
from bedrock_rft.rewards._targets.entry_point import load_handler
from bedrock_rft.rewards._targets.target import InProcessTarget, Target

__all__ = ["resolve_target", "reward_name", "split_reward_path"]


def resolve_target(reward: object, *, timeout: float | None, memory: int, client: Any) -> Target:
    """How to invoke whatever it is. Raises `ConfigurationError`."""
    limit = 300.0 if timeout is None else timeout
    arn = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    if isinstance(arn, str) and arn.startswith("arn:"):
        from bedrock_rft.rewards._targets.lambda_target import LambdaTarget, lambda_client

        return LambdaTarget(arn, lambda_client(client, arn, limit), timeout)
    if isinstance(reward, Package):
        from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

        return SubprocessTarget(reward.content, reward.handler, reward_name(reward), limit, memory)
    if isinstance(reward, (str, os.PathLike)):
        from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

        path, handler = split_reward_path(os.fspath(reward))
        return SubprocessTarget(path, handler, f"{path.name}:{handler}", limit, memory)
    if isinstance(reward, (Reward, Handler)) or callable(reward):
        return InProcessTarget(load_handler(reward), reward_name(reward), limit)
    raise ConfigurationError(
        f"A reward is a Reward, a handler, 'file.py:name', a Package, a Lambda's zip or an ARN, not "
        f"{type(reward).__name__}."
    )


def split_reward_path(text: str) -> tuple[Path, str]:
    """The file and the name in it. Raises `ConfigurationError` where there is no such file."""
    place, colon, name = text.rpartition(":")
    if not colon or "/" in name or "\\" in name:  # a drive's letter stands before a colon too
        place, name = text, ""
    path = Path(place).expanduser()
    if path.suffix not in (".py", ".zip") or (path.suffix == ".py" and not name.isidentifier()):
        raise ConfigurationError(f"The reward '{text}' is neither 'path/to/file.py:name' nor 'path/to/file.zip'.")
    if not path.is_file():
        raise ConfigurationError(f"There is no file {path}.")
    return path.resolve(), name or "lambda_function.lambda_handler"


def reward_name(reward: Any) -> str:
    """What a report calls it."""
    if isinstance(reward, Handler):
        return repr(reward.reward)
    if isinstance(reward, Package):
        return f"package of {reward.reward}"
    if isinstance(reward, (str, os.PathLike)):
        return os.fspath(reward)
    return str(getattr(reward, "arn", None) or getattr(reward, "__name__", None) or reward)[:200]
