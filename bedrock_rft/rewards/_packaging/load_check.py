"""Load a package as Lambda would, in a clean process, and compare its values with the notebook's."""

from __future__ import annotations

import io
import json
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError, RewardError
from bedrock_rft.rewards._packaging import value_fingerprint
from bedrock_rft.rewards._packaging.imports import LAMBDA_MODULES
from bedrock_rft.rewards._targets.subprocess_target import SubprocessTarget, clean_environment

__all__ = ["can_load", "changed_names", "load_package"]

_MEMORY = 2048
_TIMEOUT = 30.0


def can_load(brought: Iterable[str], *, runtime: str, processor: str) -> bool:
    """Return whether files of requirements can be loaded here: machine code has to be for this platform."""
    native = any(name.endswith(".so") or ".so." in name for name in brought)
    here = (f"python{sys.version_info.major}.{sys.version_info.minor}", sys.platform, platform.machine())
    return not native or here == (runtime, "linux", processor)


def load_package(content: bytes, handler: str, *, direct: bool) -> Sequence[str]:
    """Load a zip and return the ids of the models that its judges call."""
    process = SubprocessTarget(content, handler, "package", _TIMEOUT, _MEMORY)
    try:
        description = process.start()
    except RewardError as error:
        missing = re.search(r"No module named '(\w+)", error.message)
        if missing is not None and missing.group(1) in LAMBDA_MODULES:  # Lambda has it, this environment does not
            return ()
        raise ConfigurationError(f"The package cannot be loaded. {error.message}") from error
    finally:
        process.close()
    name = handler.rpartition(".")[2]
    if direct and description.get("reward"):
        raise ConfigurationError(
            f"'{name}' is a reward, which Lambda cannot call. Write {name} = ….handler in its file."
        )
    if description.get("wrong"):
        raise ConfigurationError(f"Lambda could not call '{name}': {sanitize_line(str(description['wrong']))}.")
    return [str(model) for model in description.get("models", ())]


def changed_names(content: bytes, module: str, fingerprints: Mapping[str, str]) -> list[str]:
    """Return the names whose values in the package differ from those in the notebook."""
    with tempfile.TemporaryDirectory(prefix="package-", ignore_cleanup_errors=True) as folder:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(folder)
        paths = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
        try:
            done = subprocess.run(  # noqa: S603 - the package that was just built
                [sys.executable, "-I", "-B", "-S", str(value_fingerprint.__file__)],
                input=json.dumps([folder, module, list(fingerprints), paths]),
                env=clean_environment(folder),
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return []
    if done.returncode:
        return []
    found: dict[str, str] = json.loads(done.stdout.rpartition("\n")[2])
    return [name for name, fingerprint in fingerprints.items() if found.get(name, fingerprint) != fingerprint]
