"""Amazon resource names in the partition of their region."""

from __future__ import annotations

import functools
import re
from typing import Any

from bedrock_rft._auth.aws_credentials import new_session
from bedrock_rft._auth.endpoint import SERVICE, check_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.arn import LambdaArn

_ACCOUNT = re.compile(r"[0-9]{12}", re.ASCII)
_PROJECT = re.compile(r"[A-Za-z0-9_.*-]{1,256}", re.ASCII)
_ROLE = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)
_BOUNDARY = re.compile(
    r"arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/([\x21-\x7e]{1,511}/)?[A-Za-z0-9+=,.@_-]{1,128}", re.ASCII
)
ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/([\x21-\x7e]{1,511}/)?[A-Za-z0-9+=,.@_-]{1,64}", re.ASCII)


@functools.cache
def partition(region: str) -> str:
    """Return a region's partition, such as `aws` or `aws-us-gov`; `aws` if botocore does not know the region."""
    from botocore.exceptions import UnknownRegionError

    session: Any = new_session()
    try:
        return str(session.get_partition_for_region(region))
    except UnknownRegionError:
        return "aws"


def check_text(name: str, value: object, pattern: re.Pattern[str], advice: str) -> str:
    """Return `value` if it is text that matches the whole pattern, or raise `ConfigurationError` with `advice`."""
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ConfigurationError(f"{name} is {sanitize_line(repr(value), 120)}{advice}")
    return value


def check_account(account: object) -> str:
    """Return a valid account number. Raises `ConfigurationError`."""
    return check_text("account", account, _ACCOUNT, ". Pass the 12 digits of an AWS account as text: '123456789012'.")


def resolve_account(account: str | None, reward: str | None) -> str:
    """Return `account`, or else the account of the reward function. Raises `ConfigurationError` if both are None."""
    if account is None and reward is None:
        raise ConfigurationError(
            "account is missing. Pass the 12 digits of the account, or the ARN of the reward function as reward=."
        )
    return check_account(LambdaArn(reward).account if account is None and reward else account)


def project_arn(region: str, account: str, project: str | None) -> str:
    """Return the ARN of a Bedrock project; None is the default project."""
    advice = ". Pass the id of a Bedrock project, such as 'proj_123'."
    name = check_text("project", project or "default", _PROJECT, advice)
    return f"arn:{partition(check_region(region, 'region'))}:{SERVICE}:{region}:{account}:project/{name}"


def function_arns(reward: str) -> tuple[str, str]:
    """Return the ARN of a function without a qualifier, and a pattern for all its qualifiers."""
    arn = LambdaArn(reward)
    bare = f"arn:{arn.aws_partition}:lambda:{arn.region}:{arn.account}:function:{arn.name}"
    return bare, f"{bare}:*"


def log_group_arn(reward: str) -> str:
    """Return the ARN of a function's log group."""
    arn = LambdaArn(reward)
    return f"arn:{arn.aws_partition}:logs:{arn.region}:{arn.account}:log-group:/aws/lambda/{arn.name}"


def role_arn(role: str, reward: str) -> str:
    """Return the ARN of a role, given its ARN, or its name in the account of the function `reward`.

    Raises `ConfigurationError` if `role` is neither.
    """
    if role.startswith("arn:"):
        if ROLE_ARN.fullmatch(role):
            return role
    elif _ROLE.fullmatch(role):
        arn = LambdaArn(reward)
        return f"arn:{arn.aws_partition}:iam::{arn.account}:role/{role}"
    raise ConfigurationError(f"role is {sanitize_line(role, 80)!r}. Pass the name or the ARN of an IAM role.")


def check_boundary(boundary: object) -> str:
    """Return a valid ARN of a managed policy. Raises `ConfigurationError`."""
    advice = ". Pass the ARN of a managed policy: arn:aws:iam::123456789012:policy/NAME."
    return check_text("permissions_boundary", boundary, _BOUNDARY, advice)


def model_arn(region: str, model: str, *, anywhere: bool = False) -> str:
    """Return the ARN of a foundation model, with `anywhere` in every region of the partition."""
    return f"arn:{partition(region)}:bedrock:{'*' if anywhere else region}::foundation-model/{model}"


def profile_arn(region: str, account: str, profile: str) -> str:
    """Return the ARN of a cross-region inference profile."""
    return f"arn:{partition(region)}:bedrock:{region}:{account}:inference-profile/{profile}"
