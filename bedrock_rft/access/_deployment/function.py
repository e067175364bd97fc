"""The function of a deployed reward: what it should be, what it is, and the steps between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import LOGS, MANAGED, OWNER, is_ours
from bedrock_rft.access._deployment.plan import Step, Work, difference
from bedrock_rft.access._deployment.polling import LONGEST, patiently, until
from bedrock_rft.errors import APIError, APIStatusError, ConfigurationError, ConflictError
from bedrock_rft.rewards._packaging.archive import Package

__all__ = [
    "Function",
    "FunctionWanted",
    "foreign_function",
    "function_work",
    "is_conflict",
    "look_at_function",
    "removal",
]

_CONFLICTS = frozenset(
    {"ResourceConflictException", "PreconditionFailedException", "EntityAlreadyExists", "ConcurrentModification"}
)

_ELSEWHERE = "Choose another name=, or pass its ARN to jobs.create(reward=…) as it is."
_DESCRIPTION = "Reward function for reinforcement fine-tuning on Amazon Bedrock, deployed with bedrock_rft"


@dataclass(frozen=True)
class FunctionWanted:
    """What the function should be.

    Attributes:
        name: its name.
        arn: without a qualifier.
        package: what runs in it.
        role_arn: what it runs as.
        timeout: seconds that an invocation may take.
        memory: megabytes.
        tags: what it is marked with.
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
        """What is set, by Lambda's names. Everything else of a function is left as it is found."""
        return {
            "Runtime": self.package.runtime,
            "Handler": self.package.handler,
            "Timeout": self.timeout,
            "MemorySize": self.memory,
            "Role": self.role_arn,
        }

    @property
    def code(self) -> dict[str, Any]:
        """What comes with the zip."""
        return {"CodeSha256": self.package.code_sha256, "Architectures": [self.package.architecture]}


@dataclass(frozen=True)
class Function:
    """What the function is: its settings, its tags, and the newest version, where there is one."""

    now: Mapping[str, Any]
    tags: Mapping[str, str]
    published: Mapping[str, Any] | None


def look_at_function(account: Account, name: str, *, versions: bool = True) -> Function | None:
    """The function as it is; None where there is none."""
    found = account.look("lambda", "GetFunction", FunctionName=name)
    if found is None:
        return None
    now, tags = found["Configuration"], found.get("Tags")
    del found  # a signed address of the code is in it
    if not tags:  # they are left out where they may not be seen; asked for by themselves, the denial says so
        tags = account.ask("lambda", "ListTags", Resource=account.function_arn(name)).get("Tags", {})
    listed = account.every("lambda", "ListVersionsByFunction", "Versions", FunctionName=name) if versions else ()
    numbered = [one for one in listed if str(one.get("Version")).isdigit()]
    return Function(now, tags, max(numbered, key=lambda one: int(one["Version"]), default=None))


def foreign_function(arn: str, owner: str, advice: str) -> ConfigurationError:
    """What is said of a function that has the name and was not made here."""
    return ConfigurationError(
        f"The function {sanitize_line(arn, 300)} was not made by deploying '{owner}': it has no tag {MANAGED}=reward with "
        f"{OWNER}={owner}. It is left alone. {advice}"
    )


def function_work(account: Account, seen: Function | None, wanted: FunctionWanted) -> list[Work]:
    """The steps from what is there to a published version of what should be. The last one answers with the version.

    Raises:
        ConfigurationError: there is a function of this name that is not ours.
    """
    if seen is None:
        told = ", ".join(f"{name}: {value}" for name, value in wanted.settings.items() if name != "Role")
        details = (_size(wanted), told)
        step = Step("create", "function", wanted.arn, details, ("lambda:CreateFunction", "lambda:TagResource", *_PASS))
        return [Work(step, lambda: _create(account, wanted)), _publication(account, wanted)]
    if not is_ours(seen.tags, wanted.name):
        raise foreign_function(wanted.arn, wanted.name, _ELSEWHERE)
    works = [*_code_work(account, seen, wanted), *_settings_work(account, seen, wanted)]
    changed = bool(works)
    missing = {key: value for key, value in wanted.tags.items() if seen.tags.get(key) != value}
    if missing:
        step = Step("change", "function", wanted.arn, (f"tags: {', '.join(missing)}",), ("lambda:TagResource",))
        tags = dict(wanted.tags)
        works.append(Work(step, lambda: account.ask("lambda", "TagResource", Resource=wanted.arn, Tags=tags)))
    if not works:
        works.append(Work(Step("leave", "function", wanted.arn)))
    published = seen.published
    if changed or published is None or _differences(published, {**wanted.code, **wanted.settings}):
        works.append(_publication(account, wanted))
    else:
        works.append(Work(Step("leave", "version", f"{wanted.arn}:{published['Version']}"), lambda: published))
    return works


def removal(account: Account, name: str) -> list[Work]:
    """The steps that take a function of ours away, with all of its versions."""
    arn = account.function_arn(name)
    step = Step("delete", "function", arn, ("with all of its versions",), ("lambda:DeleteFunction",))
    group = f"{LOGS}{name}"
    kept = Step(
        "leave",
        "log",
        group,
        (
            "Lambda made it, and what the function wrote is in it. To delete it:",
            f"aws logs delete-log-group --region {account.region} --log-group-name {group}",
        ),
    )
    return [Work(step, lambda: account.look("lambda", "DeleteFunction", FunctionName=name)), Work(kept)]


_PASS = ("iam:PassRole",)


def _code_work(account: Account, seen: Function, wanted: FunctionWanted) -> list[Work]:
    found = _differences(seen.now, wanted.code)
    if not found:
        return []

    def do() -> object:
        _settled(account, wanted.name)
        asked = {"ZipFile": wanted.package.content, "Architectures": [wanted.package.architecture]}
        patiently(lambda: account.ask("lambda", "UpdateFunctionCode", FunctionName=wanted.name, **asked), _is_busy)
        return _sound(_settled(account, wanted.name))

    return [Work(Step("change", "code", wanted.arn, (_size(wanted), *found), ("lambda:UpdateFunctionCode",)), do)]


def _settings_work(account: Account, seen: Function, wanted: FunctionWanted) -> list[Work]:
    found = _differences(seen.now, wanted.settings)
    if not found:
        return []
    settings = wanted.settings

    def do() -> object:
        _settled(account, wanted.name)
        patiently(
            lambda: account.ask("lambda", "UpdateFunctionConfiguration", FunctionName=wanted.name, **settings),
            lambda error: _is_busy(error) or _is_early(error),
        )
        return _sound(_settled(account, wanted.name))

    needs = ("lambda:UpdateFunctionConfiguration", *(_PASS if seen.now.get("Role") != wanted.role_arn else ()))
    return [Work(Step("change", "settings", wanted.arn, found, needs), do)]


def _create(account: Account, wanted: FunctionWanted) -> object:
    asked = {
        "FunctionName": wanted.name,
        **wanted.settings,
        "Architectures": [wanted.package.architecture],
        "Code": {"ZipFile": wanted.package.content},
        "Description": _DESCRIPTION,
        "Tags": dict(wanted.tags),
    }
    patiently(lambda: account.ask("lambda", "CreateFunction", **asked), _is_early)
    return _sound(_settled(account, wanted.name))


def _publication(account: Account, wanted: FunctionWanted) -> Work:
    def do() -> object:
        now = _sound(_settled(account, wanted.name))
        revision = {"RevisionId": now["RevisionId"]} if now.get("RevisionId") else {}
        asked = {"FunctionName": wanted.name, "CodeSha256": wanted.package.code_sha256, **revision}
        made = account.ask("lambda", "PublishVersion", **asked)
        published = _sound(_settled(account, wanted.name, str(made["Version"])))
        if published.get("CodeSha256") != wanted.package.code_sha256:
            raise ConflictError(
                f"Version {made['Version']} of {wanted.name} is that of a deployment at the same time. Run it again.",
                status=409,
                code="ResourceConflictException",
            )
        return published

    return Work(Step("create", "version", f"{wanted.arn}:…", needs=("lambda:PublishVersion",)), do)


def _settled(account: Account, name: str, version: str | None = None) -> dict[str, Any]:
    """The settings of a function, or of a version, once nothing changes any more."""
    which = {"FunctionName": name, **({"Qualifier": version} if version else {})}

    def look() -> dict[str, Any] | None:
        now = account.look("lambda", "GetFunctionConfiguration", **which)
        going_on = now is None or now.get("State") == "Pending" or now.get("LastUpdateStatus") == "InProgress"
        return None if going_on else now

    found = until(look)
    if found is None:
        raise APIError(f"The function {name} is not ready after {LONGEST:.0f} s. Run it again: it goes on from here.")
    return found


def _sound(now: dict[str, Any]) -> dict[str, Any]:
    """The same settings. Raises `APIError` where Lambda could not bring the function about."""
    for status, reason in (("State", "StateReason"), ("LastUpdateStatus", "LastUpdateStatusReason")):
        if now.get(status) == "Failed":
            why = sanitize_line(
                str(now.get(reason) or now.get(f"{reason}Code") or "Lambda did not say why"), 600
            ).rstrip(".")
            raise APIError(
                f"The function {now['FunctionName']} failed: {why}. Mend that and deploy again; where that does not "
                "help, destroy it first."
            )
    return now


def _differences(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> tuple[str, ...]:
    """What is not as it should be."""
    return tuple(difference(name, now.get(name), value) for name, value in wanted.items() if now.get(name) != value)


def is_conflict(error: APIStatusError) -> bool:
    """Whether somebody else was faster, or still is at it."""
    return error.code in _CONFLICTS or "codesha256" in error.message.lower()


def _is_busy(error: APIStatusError) -> bool:
    return error.code == "ResourceConflictException"


def _is_early(error: APIStatusError) -> bool:
    """A role that was just made is not known everywhere at once."""
    return error.code == "InvalidParameterValueException" and "assume" in error.message


def _size(wanted: FunctionWanted) -> str:
    package = wanted.package
    return f"{len(package.files)} files, {len(package.content):,} bytes, {package.architecture}"
