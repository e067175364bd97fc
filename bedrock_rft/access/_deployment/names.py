"""Names and tags of deployed functions and roles."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.plan import PlannedStep
from bedrock_rft.access._policies.arns import check_text
from bedrock_rft.errors import ConfigurationError

if TYPE_CHECKING:
    from bedrock_rft.access._deployment.account import Account

ROLE_PATH = "/bedrock-rft/"
"""The path of every role that is created, so that a deployer's policy can name them all."""

POLICY = "bedrock-rft"
"""Name of the single inline policy on the role of a deployed function."""

MANAGED, OWNER, GIVEN_TAGS = "bedrock-rft:managed", "bedrock-rft:name", "bedrock-rft:tags"
"""Tags of a deployment: `reward`, the name it was deployed under, and hashes of the names of the user's tags."""

LOG_GROUPS = "/aws/lambda/"

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}", re.ASCII)
_MAX_ROLE_NAME = 64
_DIGEST = 8
_MAX_TAGS = 47  # AWS allows 50 tags, of which three are the package's
_KEY_HASH = 5  # hexadecimal digits; 47 of them fit into one tag
_KEY = re.compile(r"[\w\s.:/=+\-@]{1,128}")
_VALUE = re.compile(r"[\w\s.:/=+\-@]{0,256}")


def check_name(name: object) -> str:
    """Return a name that Lambda accepts. Raises `ConfigurationError`."""
    advice = "; a function's name is 1 to 64 letters, digits, '-' and '_', such as 'my-reward'."
    return check_text("name", name, _NAME, advice)


def role_name(name: str, region: str) -> str:
    """Return the name of the execution role: the function's name and region, because roles have no region."""
    # IAM accepts 64 characters; a longer name is cut and gets a digest, so that it stays unique.
    whole = f"{name}-{region}"
    if len(whole) <= _MAX_ROLE_NAME:
        return whole
    digest = hashlib.sha256(whole.encode()).hexdigest()[:_DIGEST]
    return f"{name[: _MAX_ROLE_NAME - len(region) - _DIGEST - 2]}-{region}-{digest}"


def check_tags(tags: Mapping[str, str] | None, name: str) -> dict[str, str]:
    """Validate the user's tags, and return them with the tags of a deployment. Raises `ConfigurationError`."""
    user_tags = dict(tags or {})
    if len(user_tags) > _MAX_TAGS:
        raise ConfigurationError(
            f"tags has {len(user_tags)} entries; {_MAX_TAGS} are possible in addition to the package's own."
        )
    folded = [str(key).casefold() for key in user_tags]
    if len({*folded}) < len(folded):
        equal_keys = [key for key in user_tags if folded.count(str(key).casefold()) > 1]
        raise ConfigurationError(
            f"tags: {sanitize_line(', '.join(map(str, equal_keys)), 200)} differ in case only, and IAM takes them for "
            "one. Keep one of them."
        )
    for key, value in user_tags.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise ConfigurationError("tags must map text to text, such as {'team': 'research'}.")
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value):
            raise ConfigurationError(
                f"AWS does not accept the tag {sanitize_line(key, 60)!r}. Use letters, digits, spaces and _.:/=+-@, "
                "1 to 128 for the key and at most 256 for the value."
            )
        if key.lower().startswith(("aws:", "bedrock-rft:")):
            raise ConfigurationError(f"The tag {sanitize_line(key, 60)!r} begins with a reserved prefix.")
    record = {GIVEN_TAGS: "".join(sorted(map(_hash_key, user_tags)))} if user_tags else {}
    return {**user_tags, **record, MANAGED: "reward", OWNER: name}


def tag_steps(
    account: Account, service: str, arn: str, current: Mapping[str, str], target: Mapping[str, str]
) -> list[PlannedStep]:
    """Return the steps that set the tags of a function or a role, and that remove only tags of earlier deployments."""
    if service == "iam":
        kind, noun, resource = "role", "Role", {"RoleName": arn.rpartition("/")[2]}
    else:
        kind, noun, resource = "function", "Resource", {"Resource": arn}
    record = current.get(GIVEN_TAGS, "")
    earlier = {record[start : start + _KEY_HASH] for start in range(0, len(record), _KEY_HASH)}
    changes = [key for key, value in target.items() if current.get(key) != value]
    outdated = [key for key in current if key not in target and (key == GIVEN_TAGS or _hash_key(key) in earlier)]
    tags: Any = dict(target) if service == "lambda" else [{"Key": key, "Value": target[key]} for key in target]

    steps: list[PlannedStep] = []
    if changes:
        detail, call = f"tags: {', '.join(changes)}", f"{service}:Tag{noun}"
        steps.append(account.plan_step("change", kind, arn, [detail], call, **resource, Tags=tags))
    if outdated:
        detail, call = f"tags no longer given: {', '.join(outdated)}", f"{service}:Untag{noun}"
        steps.append(account.plan_step("change", kind, arn, [detail], call, **resource, TagKeys=outdated))
    return steps


def is_ours(tags: Mapping[str, str], name: str) -> bool:
    """Return whether the tags mark something that was created by deploying a reward under this name."""
    return tags.get(MANAGED) == "reward" and tags.get(OWNER) == name


def _hash_key(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:_KEY_HASH]
