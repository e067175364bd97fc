"""Check the bucket that a deployed reward records its rollouts in, before a deployment and for the doctor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.plan import PlannedStep, Step
from bedrock_rft.errors import BedrockRFTError, ConfigurationError, NotFoundError, PermissionDeniedError
from bedrock_rft.rewards._runtime.rollout_log import PACKAGE_HASH_VARIABLE, RolloutLog

LOCATION_VARIABLE = "BEDROCK_RFT_ROLLOUT_LOG"
"""Environment variable of a deployed function with the location of its rollouts; the doctor reads it."""

VARIABLES = frozenset({LOCATION_VARIABLE, PACKAGE_HASH_VARIABLE})

Verdict = Literal["ok", "error", "unknown"]


def inspect_bucket(
    head_bucket: Callable[..., Mapping[str, Any] | str], bucket: str, account: str, region: str
) -> tuple[Verdict, str]:
    """Return whether a bucket exists in an account and region, and why; `head_bucket` returns a response or failure."""
    response = head_bucket(Bucket=bucket, ExpectedBucketOwner=account)
    if isinstance(response, Mapping):
        bucket_region = sanitize_line(str(response.get("BucketRegion") or ""), 40)
        if bucket_region == region:
            return "ok", f"in {region}, of account {account}"
        reason = f"its region is {bucket_region or 'not known'}, and the function's is {region}"
        return ("error" if bucket_region else "unknown"), reason
    if response == "not_found":
        return "error", "it does not exist"
    if response == "denied":
        if isinstance(head_bucket(Bucket=bucket), Mapping):
            return "error", f"it does not belong to the function's account, {account}"
        return "unknown", "s3:ListBucket on it is denied, or it belongs to another account"
    return "unknown", response


def recording_steps(account: Account, record: RolloutLog | None, name: str) -> list[PlannedStep]:
    """Return a step that describes the bucket, or raise `ConfigurationError` if the function cannot write to it."""
    if record is None or record.bucket is None:
        return []

    def head_bucket(**parameters: Any) -> Mapping[str, Any] | str:
        try:
            return account.call("s3", "HeadBucket", **parameters)
        except NotFoundError:
            return "not_found"
        except PermissionDeniedError:
            return "denied"
        except BedrockRFTError as error:
            return str(error)

    account.refuse_real_account("s3")
    verdict, reason = inspect_bucket(head_bucket, record.bucket, account.id, account.region)
    if verdict == "error":
        raise ConfigurationError(
            f"record is {record.location}, and the bucket {record.bucket} cannot be used: {reason}. Nothing was "
            f"created. Pass a bucket of account {account.id} in {account.region}."
        )
    share = "all rollouts" if record.sample >= 1 else f"{record.sample:.2%} of the rollouts"
    details = [
        f"{' and '.join(record.include) or 'no texts'} of {share} will be stored in {rollout_location(record, name)}",
        "everyone with read access to the bucket can read them",
        f"encrypted with {record.kms_key or 'the default of the bucket'}",
        f"the bucket: {reason}" if verdict == "ok" else f"its region and owner could not be checked: {reason}",
    ]
    return [PlannedStep(Step("leave", "bucket", record.bucket, tuple(details)))]


def rollout_location(record: RolloutLog, name: str) -> str:
    """Return the part of the location that holds the rollouts of one function."""
    return f"s3://{record.bucket}/{record.prefix}function={name}/"


def merge_variables(settings: Mapping[str, Any], record: RolloutLog | None, code_sha256: str) -> dict[str, str] | None:
    """Return the function's environment variables with those of the recording; None if no variable changes."""
    # None if Lambda does not show the variables, because an update would replace all of them.
    environment: Mapping[str, Any] = settings.get("Environment") or {}
    current: Mapping[str, str] = environment.get("Variables") or {}
    target = {name: value for name, value in current.items() if name not in VARIABLES}
    if record is not None:
        target |= {LOCATION_VARIABLE: record.location, PACKAGE_HASH_VARIABLE: code_sha256}
    return None if target == current or "Error" in environment else target
