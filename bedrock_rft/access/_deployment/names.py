"""What a deployment is called, and how it is known as this package's own: names, tags, and their rules."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

__all__ = ["LOGS", "MANAGED", "OWNER", "POLICY", "ROLE_PATH", "check_name", "check_tags", "is_ours", "role_name"]

ROLE_PATH = "/bedrock-rft/"
"""Of every role that is made here, so that a deployer's policy can name them all."""

POLICY = "bedrock-rft"
"""The name of the one inline policy of such a role."""

MANAGED, OWNER = "bedrock-rft:managed", "bedrock-rft:name"
"""The tags by which a deployment knows its own: `reward`, and the name that it was deployed under."""

LOGS = "/aws/lambda/"

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_LONGEST_ROLE = 64
_DIGEST = 8
_MOST_TAGS = 48  # of the 50 that AWS takes; two are ours
_KEY = re.compile(r"[\w\s.:/=+\-@]{1,128}")
_VALUE = re.compile(r"[\w\s.:/=+\-@]{0,256}")


def check_name(name: object) -> str:
    """Return a name that Lambda takes. Raises `ConfigurationError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"name is {sanitize_line(repr(name), 80)}; a function's is 1 to 64 letters, digits, '-' and '_': 'my-reward'."
        )
    return name


def role_name(name: str, region: str) -> str:
    """The execution role's: roles belong to no region, so that of the function is in it.

    IAM takes 64 characters. What would be longer is cut, and told apart by a digest.
    """
    whole = f"{name}-{region}"
    if len(whole) <= _LONGEST_ROLE:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{name[: _LONGEST_ROLE - len(region) - _DIGEST - 2]}-{region}-{digest}"


def check_tags(tags: Mapping[str, str] | None, name: str) -> dict[str, str]:
    """The tags of a deployment: the user's, and those that say whose it is. Raises `ConfigurationError`."""
    given = dict(tags or {})
    if len(given) > _MOST_TAGS:
        raise ConfigurationError(f"tags has {len(given)} entries; AWS takes {_MOST_TAGS} beside the two made here.")
    for key, value in given.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigurationError("tags are text: {'team': 'research'}.")
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"The tag {sanitize_line(key, 60)!r} is none that AWS takes: letters, digits, spaces and _.:/=+-@, a key of 1 "
                "to 128 and a value of at most 256 characters."
            )
        if key.lower().startswith(("aws:", "bedrock-rft:")):
            raise ConfigurationError(f"The tag {sanitize_line(key, 60)!r} begins with a prefix that is taken.")
    return {**given, MANAGED: "reward", OWNER: name}


def is_ours(tags: Mapping[str, str], name: str) -> bool:
    """Whether something was made by deploying a reward under this name."""
    return tags.get(MANAGED) == "reward" and tags.get(OWNER) == name
