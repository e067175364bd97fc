"""Amazon resource names: written in one place, in the partition of their region."""

from __future__ import annotations

import functools
import re
from typing import Any

from bedrock_rft._auth.botocore_sessions import new_session
from bedrock_rft._auth.endpoint import SERVICE, check_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.arn import LambdaArn

__all__ = [
    "account_of",
    "check_account",
    "check_boundary",
    "function_arns",
    "log_group",
    "log_group_arn",
    "model_arn",
    "partition",
    "profile_arn",
    "project_arn",
    "role_arn",
]

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_PROJECT = re.compile(r"[A-Za-z0-9_.*-]{1,256}", re.ASCII)
_ROLE = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)
_BOUNDARY = re.compile(
    r"arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/([\x21-\x7e]{1,511}/)?[A-Za-z0-9+=,.@_-]{1,128}", re.ASCII
)
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/([\x21-\x7e]{1,511}/)?[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)


@functools.cache
def partition(region: str) -> str:
    """The partition of a region, as botocore knows it: `aws`, `aws-us-gov`, …; `aws` for one that it does not know."""
    from botocore.exceptions import UnknownRegionError
    session: Any = new_session()
    try:
        return str(session.get_partition_for_region(region))
    except UnknownRegionError:
        return "aws"


def check_account(account: object) -> str:
    """Return the twelve digits of an account. Raises `ConfigurationError`."""
    if not isinstance(account, str) or not _ACCOUNT.fullmatch(account):
        raise ConfigurationError("account must be the 12 digits of an AWS account, as text: '123456789012'.")
    return account


def account_of(account: str | None, reward: str | None) -> str:
    """The account that was given, else the reward function's. Raises `ConfigurationError` where there is neither."""
    if account is None and reward is None:
        raise ConfigurationError("account is missing: give the 12 digits of the account, or the ARN of the reward.")
    return check_account(LambdaArn(reward).account if account is None and reward else account)


def project_arn(region: str, account: str, project: str | None) -> str:
    """Of a Bedrock project; None is the default one."""
    name = project or "default"
    if not _PROJECT.fullmatch(name):
        raise ConfigurationError(
            f"project is the id of a Bedrock project, such as 'proj_123', not {sanitize_line(name, 60)!r}."
        )
    return f"arn:{partition(check_region(region, 'region'))}:{SERVICE}:{region}:{account}:project/{name}"


def function_arns(reward: str) -> tuple[str, str]:
    """Of a function without a qualifier, and with any."""
    arn = LambdaArn(reward)
    bare = f"arn:{arn.aws_partition}:lambda:{arn.region}:{arn.account}:function:{arn.name}"
    return bare, f"{bare}:*"


def log_group(reward: str) -> str:
    """The name of the log group that Lambda writes for a function."""
    return f"/aws/lambda/{LambdaArn(reward).name}"


def log_group_arn(reward: str) -> str:
    """Of the log group that Lambda writes for a function."""
    arn = LambdaArn(reward)
    return f"arn:{arn.aws_partition}:logs:{arn.region}:{arn.account}:log-group:{log_group(reward)}"


def role_arn(role: str, reward: str) -> str:
    """Of a role in the account of a function, from its name; an ARN stays as it is."""
    if role.startswith("arn:"):
        if _ROLE_ARN.fullmatch(role):
            return role
    elif _ROLE.fullmatch(role):
        arn = LambdaArn(reward)
        return f"arn:{arn.aws_partition}:iam::{arn.account}:role/{role}"
    raise ConfigurationError(f"role is the name or the ARN of an IAM role, not {sanitize_line(role, 80)!r}.")


def check_boundary(boundary: object) -> str:
    """Return the ARN of a managed policy, the user's or AWS's own. Raises `ConfigurationError`."""
    if not isinstance(boundary, str) or not _BOUNDARY.fullmatch(boundary):
        raise ConfigurationError(
            f"permissions_boundary is {sanitize_line(repr(boundary), 120)}; it is the ARN of a managed policy, "
            "arn:aws:iam::123456789012:policy/NAME."
        )
    return boundary


def model_arn(region: str, model: str, *, anywhere: bool = False) -> str:
    """Of a foundation model, which belongs to no account; `anywhere` names it in every region of the partition."""
    return f"arn:{partition(region)}:bedrock:{'*' if anywhere else region}::foundation-model/{model}"


def profile_arn(region: str, account: str, profile: str) -> str:
    """Of a cross-region inference profile."""
    return f"arn:{partition(region)}:bedrock:{region}:{account}:inference-profile/{profile}"
