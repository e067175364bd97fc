"""Compare the function of a deployed reward with the desired one, and plan the steps between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import LOG_GROUPS, MANAGED, OWNER, is_ours, outdated_tags
from bedrock_rft.access._deployment.plan import PlannedStep, Step, describe_difference
from bedrock_rft.access._deployment.retry import MAX_SECONDS, is_too_early, poll, retry_until_accepted
from bedrock_rft.errors import APIError, APIStatusError, ConfigurationError, ConflictError, NotFoundError
from bedrock_rft.rewards._packaging.archive import Package

__all__ = [
    "DesiredFunction",
    "Function",
    "delete_function_steps",
    "find_function",
    "foreign_function",
    "function_steps",
    "is_conflict",
]

_CONFLICTS = frozenset(
    {"ResourceConflictException", "PreconditionFailedException", "EntityAlreadyExists", "ConcurrentModification"}
)
_PASS_ROLE = ("iam:PassRole",)
_OTHER_NAME = "Choose another name=, or pass its ARN to jobs.create(reward=…) as it is."
_DESCRIPTION = "Reward function for reinforcement fine-tuning on Amazon Bedrock, deployed with bedrock_rft"
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
    """The function as it should be.

    Attributes:
        name: its name.
        arn: its ARN without a qualifier.
        package: its code.
        role_arn: its execution role.
        timeout: seconds that an invocation may take.
        memory: megabytes.
        tags: all of its tags.
    """

    name: str
    arn: str
    package: Package
    role_arn: str
    timeout: int
    memory: int
    tags: Mapping[str, str]

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that deploy manages, by Lambda's names."""
        return {
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


@dataclass(frozen=True)
class Function:
    """The function as it is.

    Attributes:
        settings: the configuration of `$LATEST`.
        tags: its tags.
        published: the configuration of the newest version; None if there is none.
    """

    settings: Mapping[str, Any]
    tags: Mapping[str, str]
    published: Mapping[str, Any] | None


def find_function(account: Account, name: str, *, versions: bool = True) -> Function | None:
    """Return the function as it is, or None if it does not exist."""
    found = account.find("lambda", "GetFunction", FunctionName=name, expect=("Configuration",))
    if found is None:
        return None
    settings, tags = found["Configuration"], found.get("Tags")
    del found  # it holds a signed URL of the code
    if not tags:  # GetFunction leaves them out if the caller may not see them; ListTags is denied with a reason
        tags = account.call_existing("lambda", "ListTags", Resource=account.function_arn(name)).get("Tags", {})
    listed = account.list_all("lambda", "ListVersionsByFunction", "Versions", FunctionName=name) if versions else ()
    numbered = [version for version in listed if str(version.get("Version")).isdigit()]
    return Function(settings, tags, max(numbered, key=lambda version: int(version["Version"]), default=None))


def foreign_function(arn: str, owner: str, advice: str) -> ConfigurationError:
    """Return the error for a function that has the name and was not created by deploying it."""
    return ConfigurationError(
        f"The function {sanitize_line(arn, 300)} was not created by deploying '{owner}': it has no tags "
        f"{MANAGED}=reward and {OWNER}={owner}. Nothing was changed. {advice}"
    )


def function_steps(account: Account, found: Function | None, desired: DesiredFunction) -> list[PlannedStep]:
    """Return the steps from what exists to a published version; the last one returns the version's configuration.

    Raises:
        ConfigurationError: there is a function of this name that deploy did not create.
    """
    if found is None:
        settings = ", ".join(f"{name}: {value}" for name, value in desired.settings.items() if name != "Role")
        details = (_describe_size(desired), settings)
        step = Step(
            "create", "function", desired.arn, details, ("lambda:CreateFunction", "lambda:TagResource", *_PASS_ROLE)
        )
        return [PlannedStep(step, lambda: _create(account, desired)), _publish_step(account, desired)]
    if not is_ours(found.tags, desired.name):
        raise foreign_function(desired.arn, desired.name, _OTHER_NAME)
    planned = [*_code_steps(account, found, desired), *_settings_steps(account, found, desired)]
    changed = bool(planned)
    planned += _tag_steps(account, found, desired)
    if not planned:
        planned.append(PlannedStep(Step("leave", "function", desired.arn)))
    return [*planned, _version_step(account, found, desired, changed=changed)]


def _version_step(account: Account, found: Function, desired: DesiredFunction, *, changed: bool) -> PlannedStep:
    published = found.published
    if changed or published is None:
        return _publish_step(account, desired)
    outdated = _outdated_settings(found, published, desired)
    if outdated:
        return _publish_step(account, desired, outdated)
    step = Step("leave", "version", f"{desired.arn}:{published['Version']}")
    return PlannedStep(step, lambda: published)


def delete_function_steps(account: Account, name: str) -> list[PlannedStep]:
    """Return the steps that delete a function with all of its versions."""
    step = Step(
        "delete", "function", account.function_arn(name), ("with all of its versions",), ("lambda:DeleteFunction",)
    )
    group = f"{LOG_GROUPS}{name}"
    log = Step(
        "leave",
        "log",
        group,
        (
            "Lambda created it, and it holds the function's output. To delete it:",
            f"aws logs delete-log-group --region {account.region} --log-group-name {group}",
        ),
    )
    return [
        PlannedStep(step, lambda: account.delete("lambda", "DeleteFunction", FunctionName=name)),
        PlannedStep(log),
    ]


def is_conflict(error: APIStatusError) -> bool:
    """Return whether another deployer changed the same resources in the meantime."""
    return error.code in _CONFLICTS or "codesha256" in error.message.lower()


def _outdated_settings(found: Function, published: Mapping[str, Any], desired: DesiredFunction) -> tuple[str, ...]:
    """Describe how the newest version differs from the desired one, without values that may be secret."""
    version = published["Version"]
    managed = _differences(published, {**desired.code, **desired.settings})
    others = [name for name in _UNMANAGED_SETTINGS if _comparable(found.settings, name) != _comparable(published, name)]
    return (*managed, *(f"{name}: not as in version {version}" for name in others))


def _comparable(settings: Mapping[str, Any], name: str) -> Any:
    value: Any = settings.get(name)
    if name == "Layers":
        return [layer.get("Arn") for layer in value or ()]
    if name == "VpcConfig":
        return {key: sorted(value[key]) for key in ("SubnetIds", "SecurityGroupIds") if value and value.get(key)}
    if name == "LoggingConfig":
        return {key: text for key, text in cast("Mapping[str, Any]", value or {}).items() if key != "LogGroup"}
    return value or None


def _code_steps(account: Account, found: Function, desired: DesiredFunction) -> list[PlannedStep]:
    differences = _differences(found.settings, desired.code)
    if not differences:
        return []

    def run() -> object:
        _wait_until_settled(account, desired.name)
        code = {"ZipFile": desired.package.content, "Architectures": [desired.package.architecture]}
        account.call_existing("lambda", "UpdateFunctionCode", FunctionName=desired.name, **code)
        return _check_state(_wait_until_settled(account, desired.name))

    details = (_describe_size(desired), *differences)
    return [PlannedStep(Step("change", "code", desired.arn, details, ("lambda:UpdateFunctionCode",)), run)]


def _settings_steps(account: Account, found: Function, desired: DesiredFunction) -> list[PlannedStep]:
    differences = _differences(found.settings, desired.settings)
    if not differences:
        return []

    def run() -> object:
        _wait_until_settled(account, desired.name)
        account.call_existing("lambda", "UpdateFunctionConfiguration", FunctionName=desired.name, **desired.settings)
        return _check_state(_wait_until_settled(account, desired.name))

    new_role = found.settings.get("Role") != desired.role_arn
    needs = ("lambda:UpdateFunctionConfiguration", *(_PASS_ROLE if new_role else ()))
    return [PlannedStep(Step("change", "settings", desired.arn, differences, needs), run)]


def _tag_steps(account: Account, found: Function, desired: DesiredFunction) -> list[PlannedStep]:
    planned: list[PlannedStep] = []
    missing = [key for key, value in desired.tags.items() if found.tags.get(key) != value]
    outdated = outdated_tags(found.tags, desired.tags)
    if missing:
        step = Step("change", "function", desired.arn, (f"tags: {', '.join(missing)}",), ("lambda:TagResource",))
        tags = dict(desired.tags)
        planned.append(
            PlannedStep(step, lambda: account.call_existing("lambda", "TagResource", Resource=desired.arn, Tags=tags))
        )
    if outdated:
        details = (f"tags no longer given: {', '.join(outdated)}",)
        step = Step("change", "function", desired.arn, details, ("lambda:UntagResource",))
        planned.append(
            PlannedStep(
                step,
                lambda: account.call_existing("lambda", "UntagResource", Resource=desired.arn, TagKeys=outdated),
            )
        )
    return planned


def _create(account: Account, desired: DesiredFunction) -> object:
    parameters: dict[str, Any] = {
        "FunctionName": desired.name,
        **desired.settings,
        "Architectures": [desired.package.architecture],
        "Code": {"ZipFile": desired.package.content},
        "Description": _DESCRIPTION,
        "Tags": dict(desired.tags),
    }
    retry_until_accepted(lambda: account.call("lambda", "CreateFunction", **parameters), is_too_early)
    return _check_state(_wait_until_settled(account, desired.name))


def _publish_step(account: Account, desired: DesiredFunction, reasons: tuple[str, ...] = ()) -> PlannedStep:
    def run() -> object:
        settings = _check_state(_wait_until_settled(account, desired.name))
        revision = {"RevisionId": settings["RevisionId"]} if settings.get("RevisionId") else {}
        parameters: dict[str, Any] = {
            "FunctionName": desired.name,
            "CodeSha256": desired.package.code_sha256,
            **revision,
        }
        made = retry_until_accepted(
            lambda: account.call("lambda", "PublishVersion", expect=("Version",), **parameters),
            lambda error: isinstance(error, NotFoundError),
        )
        published = _check_state(_wait_until_settled(account, desired.name, str(made["Version"])))
        if published.get("CodeSha256") != desired.package.code_sha256:
            raise ConflictError(
                f"Version {made['Version']} of {desired.name} has the code of another deployment that ran at the same "
                "time. Run it again.",
                status=409,
                code="ResourceConflictException",
            )
        return published

    return PlannedStep(Step("create", "version", f"{desired.arn}:…", reasons, ("lambda:PublishVersion",)), run)


def _wait_until_settled(account: Account, name: str, version: str | None = None) -> dict[str, Any]:
    """Return the settings of a function or a version once Lambda has stopped changing it."""
    qualifier = {"Qualifier": version} if version else {}

    def fetch() -> dict[str, Any] | None:
        settings = account.find(
            "lambda", "GetFunctionConfiguration", expect=("FunctionName",), FunctionName=name, **qualifier
        )
        if settings is None or settings.get("State") == "Pending" or settings.get("LastUpdateStatus") == "InProgress":
            return None
        return settings

    found = poll(fetch)
    if found is None:
        raise APIError(
            f"The function {name} is not ready after {MAX_SECONDS:.0f} s. Run it again; finished steps are not "
            "repeated."
        )
    return found


def _check_state(settings: dict[str, Any]) -> dict[str, Any]:
    """Return the same settings. Raises `APIError` if Lambda could not create or update the function."""
    for status, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if settings.get(status) == "Failed":
            text = str(settings.get(reason) or settings.get(f"{reason}Code") or "Lambda gave no reason")
            raise APIError(
                f"The function {settings['FunctionName']} failed: {sanitize_line(text, 600).rstrip('.')}. Correct "
                "that and deploy again; if it still fails, destroy it first."
            )
    return settings


def _differences(settings: Mapping[str, Any], desired: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(
        describe_difference(name, settings.get(name), value)
        for name, value in desired.items()
        if settings.get(name) != value
    )


def _describe_size(desired: DesiredFunction) -> str:
    package = desired.package
    return f"{len(package.files)} files, {len(package.content):,} bytes, {package.architecture}"
