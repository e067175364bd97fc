"""A reward brought into Lambda: look, plan, carry out, and look again where somebody else was faster."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bedrock_rft._auth.config import Config
from bedrock_rft._core.findings import escape_html
from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.function import (
    Function,
    FunctionWanted,
    function_work,
    is_conflict,
    look_at_function,
)
from bedrock_rft.access._deployment.names import check_name, check_tags
from bedrock_rft.access._deployment.plan import Plan, Step, Work
from bedrock_rft.access._deployment.role import RoleWanted, look_at_role, role_work
from bedrock_rft.access._policies.arns import check_boundary
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.errors import APIStatusError, ConfigurationError, RewardError
from bedrock_rft.rewards._packaging.archive import Package
from bedrock_rft.types.arn import LambdaArn

if TYPE_CHECKING:
    from bedrock_rft.rewards._checking.report import Report

__all__ = ["DeployedReward", "Deployment", "deployed"]

_ATTEMPTS = 4
_KNOWN = 10.0
"""Seconds after which what a role may do is known everywhere, as a rule."""

_LONGEST_TIMEOUT = 900
_MEMORY = (128, 10_240)
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/(?:[\x21-\x7e]+/)?[\w+=,.@-]{1,64}", re.ASCII)


@dataclass(frozen=True)
class DeployedReward:
    """A reward that is a function in Lambda now. `jobs.create(reward=…)` takes it.

    Attributes:
        arn: of the published version, which never changes.
        name: what it was deployed as.
        version: its number.
        role_arn: what it runs as.
        code_sha256: of the zip, in base64, as Lambda tells it.
        plan: what was done for it.
        report: what the check found, where it was checked.
    """

    arn: LambdaArn
    name: str
    version: str
    role_arn: str
    code_sha256: str
    plan: Plan = field(repr=False)
    report: Report | None = field(default=None, repr=False)

    @property
    def changed(self) -> bool:
        """Whether anything had to be done."""
        return self.plan.changes

    def __str__(self) -> str:
        return f"{self.arn}: {self.plan.verdict}" + (f"\n{self.report}" if self.report is not None else "")

    def _repr_html_(self) -> str:
        shown = self.report._repr_html_() if self.report is not None else ""
        return f"<div><p><b>{escape_html(self.arn)}</b></p>{self.plan._repr_html_()}{shown}</div>"


@dataclass(frozen=True)
class Deployment:
    """What is to be deployed, checked before anything is sent.

    Attributes:
        name: of the function.
        package: what runs in it.
        timeout: seconds that an invocation may take; None for what the package asks for.
        memory: megabytes; None for what the package asks for.
        models: judges beside those of the package.
        tags: beside this package's own.
        role_arn: of a role that is there already; None makes one.
        permissions_boundary: the ARN of the policy beyond which the role may do nothing; None leaves what is there.

    Raises:
        ConfigurationError: something of it is nothing that Lambda or IAM takes.
    """

    name: str
    package: Package
    timeout: int | None = None
    memory: int | None = None
    models: Sequence[str] = ()
    tags: Mapping[str, str] | None = None
    role_arn: str | None = None
    permissions_boundary: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_tags(self.tags, self.name)
        _within("timeout", self.timeout, 1, _LONGEST_TIMEOUT, "seconds")
        _within("memory", self.memory, *_MEMORY, "megabytes")
        if isinstance(self.models, str):
            raise ConfigurationError(f"models takes a list of model ids: ['{sanitize_line(self.models, 80)}'].")
        if self.role_arn is not None and not (isinstance(self.role_arn, str) and _ROLE.fullmatch(self.role_arn)):
            raise ConfigurationError(
                f"role_arn is {sanitize_line(repr(self.role_arn), 120)}; a role's is arn:aws:iam::123456789012:role/NAME."
            )
        if self.permissions_boundary is None:
            return
        if self.role_arn is not None:
            raise ConfigurationError(
                "permissions_boundary is for the role that is made here; that of role_arn is used as it is. Pass one."
            )
        check_boundary(self.permissions_boundary)

    @classmethod
    def of(cls, reward: object, options: Mapping[str, Any], **settings: Any) -> Deployment:
        """Package a reward, unless it is a package; the other arguments are the attributes above.

        Raises:
            ConfigurationError: it cannot be packaged, or a setting makes no sense.
        """
        check_name(settings["name"])
        if not isinstance(reward, Package):
            from bedrock_rft.rewards._packaging.package import package

            reward = package(reward, models=settings["models"], **options)
        return cls(package=reward, **settings)

    @property
    def judges(self) -> tuple[str, ...]:
        """The models that the function may ask, once each."""
        return tuple(dict.fromkeys([*self.package.models, *self.models]))

    @property
    def seconds(self) -> int:
        """How long an invocation may take."""
        return self.timeout or self.package.timeout

    def plan(self, account: Account) -> Plan:
        """What would be done. Nothing is changed. Raises `APIError` and `ConfigurationError`."""
        return self._drawn(account)[0]

    def carry_out(self, account: Account) -> DeployedReward:
        """Do it, and publish a version. What was done before is left, so it may be run again at any time.

        Raises:
            APIError: a call failed, or the function does not become ready.
            ConfigurationError: a function or role of that name was not made here.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            plan, works, role_arn = self._drawn(account)
            try:
                version = _carried_out(works)
            except APIStatusError as error:
                if not is_conflict(error) or attempt == _ATTEMPTS:
                    raise
                log.info("deploying %s: somebody else changed it; looking again (%s)", self.name, error)
                continue
            arn = LambdaArn(f"{account.function_arn(self.name)}:{version}")
            steps = (*plan.steps[:-1], replace(plan.steps[-1], name=str(arn)))
            done = replace(plan, steps=steps, done=True)
            return DeployedReward(arn, self.name, version, role_arn, self.package.code_sha256, done)
        raise AssertionError  # the last attempt returns or raises

    def _drawn(self, account: Account) -> tuple[Plan, list[Work], str]:
        """What is there, and what is to be done about it."""
        tags = check_tags(self.tags, self.name)
        boundary = self.permissions_boundary
        if boundary is not None and boundary.split(":")[4] not in (account.id, "aws"):
            raise ConfigurationError(
                f"permissions_boundary is {sanitize_line(boundary, 300)}, of another account than the function's, {account.id}."
            )
        role = RoleWanted.of(account, self.name, judges=self.judges, tags=tags, boundary=boundary)
        role_arn = self.role_arn or role.arn
        function = FunctionWanted(
            self.name,
            account.function_arn(self.name),
            self.package,
            role_arn,
            self.seconds,
            self.memory or self.package.memory,
            tags,
        )
        account.about(function.arn, role_arn, boundary)
        seen = look_at_function(account, self.name)
        later = function_work(account, seen, function)
        if self.role_arn is None:
            works = [*role_work(account, look_at_role(account, role.name), role), *later]
            policies: tuple[tuple[str, Policy], ...] = (
                ("What the role may do", role.permissions),
                ("Who may take it", role.trust),
            )
        else:
            works = [_given_role(account, self.role_arn, self.judges, role, seen), *later]
            policies = ()
        facts = (*account.facts, ("reward", self.package.reward), ("code", self.package.code_sha256))
        plan = Plan(f"Deploy {self.name}", tuple(work.step for work in works), policies, facts)
        return plan, works, role_arn


def _carried_out(works: Sequence[Work]) -> str:
    """Do it, step by step, and return the number of the version, which the last step answers with."""
    version: Any = None
    for work in works:
        version = work.do() if work.do is not None else None
    return str(version["Version"])


def _given_role(account: Account, arn: str, judges: Sequence[str], own: RoleWanted, seen: Function | None) -> Work:
    """A role of the user's: nothing is asked about it, and nothing changed."""
    if arn.split(":")[4] != account.id:
        raise ConfigurationError(
            f"role_arn is {sanitize_line(arn, 300)}, of another account than the function's, {account.id}."
        )
    details = ["yours: it is used as it is"]
    if judges:
        details.append(f"it needs bedrock:InvokeModel on {', '.join(map(sanitize_line, judges))}")
    if seen is not None and seen.now.get("Role") == own.arn:
        details.append(f"{own.arn} is used no longer; destroy takes it away")
    return Work(Step("leave", "role", arn, tuple(details)))


def _within(name: str, value: object, least: int, most: int, unit: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ConfigurationError(
            f"{name} is {sanitize_line(repr(value), 40)}; Lambda takes {least} to {most} whole {unit}."
        )


def deployed(config: Config, wanted: Deployment, client: object, *, dataset: Any, plan: bool) -> DeployedReward | Plan:
    """Plan it, or carry it out and try it on records.

    Raises:
        APIError: a call failed.
        ConfigurationError: there are no AWS credentials, or something of that name was not made here.
        RewardError: it is deployed, and the check found errors.
    """
    account = Account(config)
    if plan:
        return wanted.plan(account)
    made = wanted.carry_out(account)
    if dataset is None:
        return made
    from bedrock_rft.rewards._checking.check import check

    if wanted.judges and any(step.kind in {"role", "policy"} and step.action != "leave" for step in made.plan.steps):
        time.sleep(_KNOWN)
    report = check(made, dataset, timeout=wanted.seconds, client=client)
    if not report.ok:
        raise RewardError(
            f"{made.arn} is deployed, but its check found {report.verdict}: {report.errors[0]} No job should use it. "
            "The report is in .report; check=False deploys without a check.",
            code=report.errors[0].code,
            report=report,
        )
    return replace(made, report=report)
