"""Compare the function of a deployed reward with the desired function, and plan the steps between."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import (
    MAX_SECONDS,
    ROLE_SECONDS,
    SHORT_SECONDS,
    Account,
    NotReadyError,
    cannot_assume,
    is_busy,
    is_too_early,
    retry_until_accepted,
)
from bedrock_rft.access._deployment.names import LOG_GROUPS, MANAGED, OWNER, ROLE_PATH, check_name, is_ours, tag_steps
from bedrock_rft.access._deployment.plan import PlannedStep, Step, describe_difference
from bedrock_rft.access._deployment.recording import VARIABLES
from bedrock_rft.access._policies.rft_policies import OBJECT_PREFIX
from bedrock_rft.errors import APIError, APIStatusError, ConfigurationError, ConflictError, NotFoundError
from bedrock_rft.rewards._packaging.archive import Package
from bedrock_rft.types.arn import LambdaArn

_CONFLICTS = frozenset(
    {"ResourceConflictException", "PreconditionFailedException", "EntityAlreadyExists", "ConcurrentModification"}
)
_PASS_ROLE = ("iam:PassRole",)
_MAX_REQUEST = 70_167_211
"""Lambda's limit on a request, in bytes, with the zip in base64."""
_MAX_SETTINGS = 64 * 1024
"""Upper limit of the bytes of all other parameters of a request."""
_MAX_MISSING = 10
"""Number of responses, in about 30 seconds, that mean that a function which is not found was deleted."""
_OTHER_NAME = "Choose another name=, or pass its ARN to jobs.create(reward=…)."
_DESCRIPTION = "Reward function for reinforcement fine-tuning on Amazon Bedrock, deployed with bedrock_rft"
_VARIABLES_CHANGE = f"environment variables of the recording: {', '.join(sorted(VARIABLES))}"
_UNMANAGED_SETTINGS = (
    "Environment",
    "Layers",
    "VpcConfig",
    "KMSKeyArn",
    "DeadLetterConfig",
    "TracingConfig",
    "EphemeralStorage",
    "FileSystemConfigs",
    "LoggingConfig",
    "ImageConfigResponse",
    "PackageType",
)
"""Settings that deploy leaves as they are, and that decide how a version runs."""


@dataclass(frozen=True)
class DesiredFunction:
    """The function that a deployment should have."""

    name: str
    arn: str
    package: Package
    role_arn: str
    timeout: int
    memory: int
    tags: Mapping[str, str]
    bucket: str | None = None
    relax_trust: Callable[[], object] | None = None
    variables: Mapping[str, str] | None = None
    """All environment variables, if some of them have to change."""

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that deploy manages, by Lambda's names."""
        return {
            **({} if self.variables is None else {"Environment": {"Variables": dict(self.variables)}}),
            "Runtime": self.package.runtime,
            "Handler": self.package.handler,
            "Timeout": self.timeout,
            "MemorySize": self.memory,
            "Role": self.role_arn,
        }

    @property
    def code(self) -> dict[str, Any]:
        """The settings that change with the zip."""
        return {"CodeSha256": self.package.code_sha256, "Architectures": [self.package.architecture]}

    @property
    def object_key(self) -> str | None:
        """The key of the package in S3; None if it fits into a request."""
        if fits_request(self.package):
            return None
        digest = base64.b64decode(self.package.code_sha256).hex()
        return f"{OBJECT_PREFIX}{self.name}/{digest}.zip"

    @property
    def code_parameters(self) -> dict[str, Any]:
        """The parameters that give Lambda the zip."""
        key = self.object_key
        return {"ZipFile": self.package.content} if key is None else {"S3Bucket": self.bucket, "S3Key": key}


@dataclass(frozen=True)
class Function:
    """The existing function."""

    settings: Mapping[str, Any]
    tags: Mapping[str, str]
    versions: tuple[Mapping[str, Any], ...] = ()
    """The configurations of the published versions, the newest first."""


def fits_request(package: Package) -> bool:
    """Return whether a request can hold a package."""
    return (len(package.content) + 2) // 3 * 4 + _MAX_SETTINGS <= _MAX_REQUEST


def find_function(account: Account, name: str, *, versions: bool = True) -> Function | None:
    """Return the existing function, or None if it does not exist."""
    response = account.get_or_none("lambda", "GetFunction", FunctionName=name, expect=("Configuration",))
    if response is None:
        return None
    settings, tags = response["Configuration"], response.get("Tags")
    del response  # the response holds a signed URL of the code
    if not tags:  # GetFunction leaves out tags that the caller may not see; ListTags fails with a reason
        tags = account.call_when_ready("lambda", "ListTags", Resource=account.function_arn(name)).get("Tags", {})
    versions_found = (
        account.list_all("lambda", "ListVersionsByFunction", "Versions", FunctionName=name) if versions else ()
    )
    numbered = [version for version in versions_found if str(version.get("Version")).isdigit()]
    return Function(settings, tags, tuple(sorted(numbered, key=lambda version: -int(version["Version"]))))


def newest_version(account: Account, name: str) -> LambdaArn:
    """Return the ARN of the newest version of a function. Raises `ConfigurationError` if there is none."""
    arn = account.function_arn(check_name(name))
    account.set_subject(arn, "")
    function = find_function(account, name)
    if function is None or not function.versions:
        missing_object = "function" if function is None else "published version of the function"
        raise ConfigurationError(f"There is no {missing_object} '{name}' in {account.region}. Deploy it first.")
    return LambdaArn(f"{arn}:{function.versions[0]['Version']}")


def deployed_functions(account: Account, used_arns: Collection[str]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the name and the settings of each function of a deployment; jobs use those in `used_arns`."""
    # Read the tags only of these functions and of those with the role of a deployment: there may be thousands of
    # others.
    names = {arn.split(":")[6] for arn in used_arns if arn.count(":") >= 6}  # noqa: PLR2004 - the parts of an ARN
    functions: list[tuple[str, Mapping[str, Any]]] = []
    for each in account.list_all("lambda", "ListFunctions", "Functions"):
        if ROLE_PATH not in str(each.get("Role", "")) and each.get("FunctionName") not in names:
            continue
        response = (
            account.get_or_none("lambda", "ListTags", Resource=each["FunctionArn"]) or {}
        )  # the function may be gone
        tags = response.get("Tags", {})
        if tags.get(MANAGED) == "reward":
            functions.append((str(tags.get(OWNER) or each.get("FunctionName")), each))
    return functions


def unmanaged_function_error(arn: str, owner: str, advice: str) -> ConfigurationError:
    """Return the error for a function of this name that `deploy` did not create."""
    return ConfigurationError(
        f"The function {sanitize_line(arn, 300)} was not created by deploying '{owner}': it has no tags "
        f"{MANAGED}=reward and {OWNER}={owner}. Nothing was changed. {advice}"
    )


def function_steps(account: Account, function: Function | None, target: DesiredFunction) -> list[PlannedStep]:
    """Return the steps that create or update the function and publish a version.

    The last step waits until Lambda has carried out the others, raises if Lambda could not, and returns the
    configuration of the version.
    """
    if function is None:
        hidden = ("Role", "Environment")
        settings = ", ".join(f"{name}: {value}" for name, value in target.settings.items() if name not in hidden)
        details = (_describe_size(target), settings)
        needs = ("lambda:CreateFunction", "lambda:TagResource", *_PASS_ROLE)
        step = Step("create", "function", target.arn, details, needs)
        creation = PlannedStep(step, lambda: _create(account, target))
        return [*_upload_steps(account, target), creation, _publish_step(account, target)]
    if not is_ours(function.tags, target.name):
        raise unmanaged_function_error(target.arn, target.name, _OTHER_NAME)
    changes = [*_code_steps(account, function, target), *_settings_steps(account, function, target)]
    planned_steps = [*changes, *tag_steps(account, "lambda", target.arn, function.tags, target.tags)]
    if not planned_steps:
        planned_steps.append(PlannedStep(Step("leave", "function", target.arn)))
    newest = function.versions[0] if function.versions else None
    outdated = () if changes or newest is None else _outdated_settings(function, newest, target)
    if changes or newest is None or outdated:
        return [*planned_steps, _publish_step(account, target, outdated)]
    version_step = Step("leave", "version", f"{target.arn}:{newest['Version']}")
    return [*planned_steps, PlannedStep(version_step, lambda: newest)]


def prune_steps(
    account: Account, function: Function | None, name: str, keep: int, used_arns: Collection[str], *, publishes: bool
) -> list[PlannedStep]:
    """Return the steps that delete old versions, except those that a running job or an alias uses."""
    surplus = [str(version["Version"]) for version in (function.versions if function else ())[keep - publishes :]]
    if not surplus:
        return []
    aliases: dict[str, str] = {}
    for alias in account.list_all("lambda", "ListAliases", "Aliases", FunctionName=name):
        routing: Mapping[str, Any] = alias.get("RoutingConfig") or {}
        weighted: Mapping[str, float] = routing.get("AdditionalVersionWeights") or {}
        aliases.update(dict.fromkeys((str(alias["FunctionVersion"]), *weighted), str(alias["Name"])))
    planned_steps: list[PlannedStep] = []
    for version in surplus:
        arn = f"{account.function_arn(name)}:{version}"
        if version in used_arns or version in aliases:
            reason = "a running job uses it" if version in used_arns else f"the alias {aliases[version]} uses it"
            planned_steps.append(PlannedStep(Step("leave", "version", arn, (reason,))))
            continue
        target = {"FunctionName": name, "Qualifier": version}
        planned_steps.append(account.plan_step("delete", "version", arn, (), "lambda:DeleteFunction", **target))
    return planned_steps


def _upload_steps(account: Account, target: DesiredFunction) -> list[PlannedStep]:
    """Return the step that puts a package into S3, if it is too large for a request."""
    key = target.object_key
    if key is None:
        return []
    details = (f"{len(target.package.content):,} bytes, too many for a request; Lambda copies it, and it stays",)
    step = Step("create", "object", f"s3://{target.bucket}/{key}", details, ("s3:PutObject", "s3:GetObject"))
    parameters: dict[str, Any] = {"Bucket": target.bucket, "Key": key, "ExpectedBucketOwner": account.id}
    return [PlannedStep(step, lambda: account.call("s3", "PutObject", Body=target.package.content, **parameters))]


def delete_function_steps(account: Account, name: str) -> list[PlannedStep]:
    """Return the steps that delete a function with all of its versions."""
    arn, group = account.function_arn(name), f"{LOG_GROUPS}{name}"
    details = (
        "Lambda created it, and it holds the function's output. To delete it:",
        f"aws logs delete-log-group --region {account.region} --log-group-name {group}",
    )
    whole = ("with all of its versions",)
    deletion = account.plan_step("delete", "function", arn, whole, "lambda:DeleteFunction", FunctionName=name)
    return [deletion, PlannedStep(Step("leave", "log", group, details))]


def is_conflict(error: APIStatusError) -> bool:
    """Return whether another deployer changed or deleted the same resources in the meantime."""
    deleted = isinstance(error, NotFoundError) and error.path not in {"/lambda/CreateFunction", "/s3/PutObject"}
    return deleted or error.code in _CONFLICTS or "codesha256" in error.message.lower()


def _outdated_settings(function: Function, newest: Mapping[str, Any], target: DesiredFunction) -> tuple[str, ...]:
    """Describe how the newest version differs from the desired function, without values that may be secret."""
    version = newest["Version"]
    managed = _differences(newest, {**target.code, **target.settings})
    changed_settings = [
        name
        for name in _UNMANAGED_SETTINGS
        if _comparable_value(function.settings, name) != _comparable_value(newest, name)
    ]
    return (*managed, *(f"{name}: not as in version {version}" for name in changed_settings))


def _comparable_value(settings: Mapping[str, Any], name: str) -> Any:
    value: Any = settings.get(name)
    if name == "Layers":
        return [layer.get("Arn") for layer in value or ()]
    if name == "VpcConfig":
        return {key: sorted(value[key]) for key in ("SubnetIds", "SecurityGroupIds") if value and value.get(key)}
    if name == "LoggingConfig":
        return {key: text for key, text in cast("Mapping[str, Any]", value or {}).items() if key != "LogGroup"}
    return value or None


def _code_steps(account: Account, function: Function, target: DesiredFunction) -> list[PlannedStep]:
    differences = _differences(function.settings, target.code)
    if not differences:
        return []

    def apply() -> object:
        _wait_until_settled(account, target.name)
        code = {**target.code_parameters, "Architectures": [target.package.architecture]}
        account.call_when_ready("lambda", "UpdateFunctionCode", FunctionName=target.name, **code)
        return _settings_when_ready(account, target.name)

    details = (_describe_size(target), *differences)
    step = Step("change", "code", target.arn, details, ("lambda:UpdateFunctionCode",))
    return [*_upload_steps(account, target), PlannedStep(step, apply)]


def _settings_steps(account: Account, function: Function, target: DesiredFunction) -> list[PlannedStep]:
    changes = {name: value for name, value in target.settings.items() if function.settings.get(name) != value}
    if not changes:
        return []

    def apply() -> None:
        _wait_until_settled(account, target.name)
        update = partial(account.call, "lambda", "UpdateFunctionConfiguration", FunctionName=target.name, **changes)
        _call_with_role(target, lambda: retry_until_accepted(update, is_busy))

    needs = ("lambda:UpdateFunctionConfiguration", *(_PASS_ROLE if "Role" in changes else ()))
    return [PlannedStep(Step("change", "settings", target.arn, _differences(function.settings, changes), needs), apply)]


def _create(account: Account, target: DesiredFunction) -> None:
    parameters: dict[str, Any] = {
        "FunctionName": target.name,
        **target.settings,
        "Architectures": [target.package.architecture],
        "Code": target.code_parameters,
        "Description": _DESCRIPTION,
        "Tags": dict(target.tags),
    }
    _call_with_role(target, lambda: account.call("lambda", "CreateFunction", **parameters))


def _call_with_role(target: DesiredFunction, call: Callable[[], object]) -> None:
    """Call Lambda until it can assume the role. The trust policy of a created role is relaxed once."""
    relax = target.relax_trust
    try:
        retry_until_accepted(call, is_too_early, ROLE_SECONDS if relax is None else SHORT_SECONDS)
    except APIStatusError as error:
        if relax is None or not is_too_early(error):
            raise
        if cannot_assume(error):
            relax()
        retry_until_accepted(call, is_too_early, MAX_SECONDS - SHORT_SECONDS)


def _publish_step(account: Account, target: DesiredFunction, reasons: tuple[str, ...] = ()) -> PlannedStep:
    def apply() -> object:
        parameters: dict[str, Any] = {"FunctionName": target.name, "CodeSha256": target.package.code_sha256}
        revision = _settings_when_ready(account, target.name).get("RevisionId")
        parameters.update({"RevisionId": revision} if revision else {})
        publish = partial(account.call, "lambda", "PublishVersion", expect=("Version",), **parameters)
        version = retry_until_accepted(publish, lambda error: isinstance(error, NotFoundError))
        published = _settings_when_ready(account, target.name, str(version["Version"]))
        if published.get("CodeSha256") != target.package.code_sha256:
            raise ConflictError(
                f"Version {version['Version']} of {target.name} has the code of another deployment that ran at the "
                "same time. Run it again.",
                status=409,
                code="ResourceConflictException",
            )
        return published

    return PlannedStep(Step("create", "version", f"{target.arn}:…", reasons, ("lambda:PublishVersion",)), apply)


def _wait_until_settled(account: Account, name: str, version: str | None = None) -> dict[str, Any]:
    """Return the settings of a function or a version once Lambda has stopped changing it."""
    parameters: dict[str, Any] = {"FunctionName": name, **({"Qualifier": version} if version else {})}
    missing = 0

    def fetch() -> dict[str, Any]:
        settings = account.call("lambda", "GetFunctionConfiguration", expect=("FunctionName",), **parameters)
        if settings.get("State") == "Pending" or settings.get("LastUpdateStatus") == "InProgress":
            raise NotReadyError(
                f"The function {name} is not ready after {MAX_SECONDS:.0f} s. Run it again; finished steps are not "
                "repeated."
            )
        return settings

    def is_waiting(error: APIError) -> bool:
        nonlocal missing
        missing += isinstance(error, NotFoundError)
        return isinstance(error, NotReadyError) or (isinstance(error, NotFoundError) and missing <= _MAX_MISSING)

    return retry_until_accepted(fetch, is_waiting, kind=APIError)


def _settings_when_ready(account: Account, name: str, version: str | None = None) -> dict[str, Any]:
    """Return the settings as `_wait_until_settled` does, or raise `APIError` if Lambda could not make the change."""
    settings = _wait_until_settled(account, name, version)
    for status, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if settings.get(status) == "Failed":
            text = str(settings.get(reason) or settings.get(f"{reason}Code") or "Lambda gave no reason")
            raise APIError(
                f"The function {settings['FunctionName']} failed: {sanitize_line(text, 600).rstrip('.')}. Correct "
                "that and deploy again; if it still fails, destroy it first."
            )
    return settings


def _differences(settings: Mapping[str, Any], target: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        _VARIABLES_CHANGE if name == "Environment" else describe_difference(name, settings.get(name), value)
        for name, value in target.items()
        if settings.get(name) != value
    )


def _describe_size(target: DesiredFunction) -> str:
    package = target.package
    return f"{len(package.files)} files, {len(package.content):,} bytes, {package.architecture}"
