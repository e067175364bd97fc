"""List the functions that deployments created."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import MANAGED, OWNER, ROLE_PATH


@dataclass(frozen=True)
class DeployedFunction(ShortRepr):
    """A function that a deployment created: its ARN without a version, bytes, and Unix seconds of its last change."""

    arn: str
    name: str
    size: int | None
    changed_at: float | None


def list_deployed(account: Account, used: Collection[str]) -> list[DeployedFunction]:
    """Return the functions of the region with the tags of a deployment; `used` are ARNs of functions that jobs use."""
    # Only tags of these, and of roles with the path of deployments, are read: an account may have thousands of others.
    names = {arn.split(":")[6] for arn in used if arn.count(":") >= 6}  # noqa: PLR2004 - the parts of an ARN
    found: list[DeployedFunction] = []
    for each in account.list_all("lambda", "ListFunctions", "Functions"):
        if ROLE_PATH not in str(each.get("Role", "")) and each.get("FunctionName") not in names:
            continue
        arn = str(each["FunctionArn"])
        response = account.get_or_none("lambda", "ListTags", Resource=arn) or {}  # it may have been deleted meanwhile
        tags = response.get("Tags", {})
        if tags.get(MANAGED) == "reward":
            name = str(tags.get(OWNER) or each.get("FunctionName"))
            found.append(DeployedFunction(arn, name, each.get("CodeSize"), _seconds(each.get("LastModified"))))
    return found


def _seconds(text: object) -> float | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        return None
