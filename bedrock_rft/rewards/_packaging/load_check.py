"""A package loaded as Lambda would load it: in a clean process, with nothing but the standard library."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable, Sequence

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._packaging.imports import AWS
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget

__all__ = ["loadable", "loaded"]

_MEMORY = 2048
_SECONDS = 30.0


def loadable(brought: Iterable[str], *, runtime: str, processor: str) -> bool:
    """Whether files of requirements can be loaded here: machine code only where it is for a machine like this."""
    native = any(name.endswith(".so") or ".so." in name for name in brought)
    here = (f"python{sys.version_info.major}.{sys.version_info.minor}", sys.platform, platform.machine())
    return not native or here == (runtime, "linux", processor)


def loaded(content: bytes, handler: str, *, direct: bool) -> Sequence[str]:
    """Load a zip, and say which models its rewards ask.

    Args:
        content: the zip.
        handler: as `module.name`.
        direct: whether Lambda calls what stands there itself, which then has to be a handler.

    Raises:
        ConfigurationError: it cannot be loaded, or Lambda could not call what it found.
    """
    process = SubprocessTarget(content, handler, "package", _SECONDS, _MEMORY)
    try:
        said = process.start()
    except RewardError as error:
        absent = re.search(r"No module named '(\w+)", error.message)
        if absent is not None and absent.group(1) in AWS:  # it is in Lambda, and not here
            return ()
        raise ConfigurationError(f"The package does not load by itself. {error.message}") from error
    finally:
        process.close()
    name = handler.rpartition(".")[2]
    if direct and said.get("reward"):
        raise ConfigurationError(
            f"'{name}' is a reward, which Lambda cannot call itself. Write {name} = ….handler in its file."
        )
    if said.get("wrong"):
        raise ConfigurationError(f"Lambda could not call '{name}': {sanitize_line(str(said['wrong']))}.")
    return [str(model) for model in said.get("models", ())]
