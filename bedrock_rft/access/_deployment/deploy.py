"""Deploy a reward to Lambda, and destroy it.

If another deployer changes the function at the same time, a deployment is compared and planned again.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bedrock_rft._auth.config import Config
from bedrock_rft._core.findings import escape_html
from bedrock_rft._core.log import log
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.access._deployment.account import MAX_CONFLICTS, Account, retry_until_accepted
from bedrock_rft.access._deployment.cloudformation import build_template
from bedrock_rft.access._deployment.function import (
    DesiredFunction,
    Function,
    delete_function_steps,
    find_function,
    fits_request,
    function_steps,
    is_conflict,
    prune_steps,
    unmanaged_function_error,
)
from bedrock_rft.access._deployment.names import ROLE_PATH, check_name, check_tags, is_ours, role_name
from bedrock_rft.access._deployment.plan import Plan, PlannedStep, Step
from bedrock_rft.access._deployment.recording import merge_variables, recording_steps, rollout_location
from bedrock_rft.access._deployment.role import (
    DesiredRole,
    delete_role_steps,
    desired_role,
    find_role,
    relax_trust,
    role_steps,
)
from bedrock_rft.access._policies.arns import ROLE_ARN, check_boundary, check_text
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.errors import APIStatusError, ConfigurationError, RewardError
from bedrock_rft.rewards._packaging.archive import LARGEST, Package
from bedrock_rft.types.arn import LambdaArn

if TYPE_CHECKING:
    from bedrock_rft.rewards._checking.report import Report

_PERMISSION_DELAY = 10.0
"""Seconds after which a change of a role's permissions is usually effective."""

_MAX_TIMEOUT = 900
_MEMORY = (128, 10_240)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)


@dataclass(frozen=True)
class DeployedReward(ShortRepr):
    """A reward that runs as a function in Lambda. `jobs.create(reward=…)` takes it.

    Attributes:
        arn: the ARN of the published version, which never changes.
        name: the name that it was deployed under.
        version: the number of the version.
        role_arn: the ARN of the function's execution role.
        code_sha256: the SHA-256 digest of the zip in base64, as Lambda reports it.
        plan: the steps that were carried out.
        report: the report of the check; None if there was no check.
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
        """True if anything was created, changed or deleted."""
        return self.plan.changes

    def __str__(self) -> str:
        return f"{self.arn}: {self.plan.verdict}" + (f"\n{self.report}" if self.report is not None else "")

    def _repr_html_(self) -> str:
        report_html = self.report._repr_html_() if self.report is not None else ""
        return f"<div><p><b>{escape_html(self.arn)}</b></p>{self.plan._repr_html_()}{report_html}</div>"


@dataclass(frozen=True)
class Deployment:
    """The settings of a deployment, validated before anything is sent."""

    name: str
    package: Package
    timeout: int | None = None
    memory: int | None = None
    models: Sequence[str] = ()
    tags: Mapping[str, str] | None = None
    role_arn: str | None = None
    permissions_boundary: str | None = None
    bucket: str | None = None
    keep_versions: int | None = None
    used: Collection[str] = ()

    def __post_init__(self) -> None:
        check_name(self.name)
        check_tags(self.tags, self.name)
        _check_range("timeout", self.timeout, 1, _MAX_TIMEOUT, "seconds")
        _check_range("memory", self.memory, *_MEMORY, "megabytes")
        keep = self.keep_versions
        if keep is not None and (isinstance(keep, bool) or not isinstance(keep, int) or keep < 1):
            raise ConfigurationError(
                f"keep_versions is {sanitize_line(repr(keep), 40)}. Pass a whole number, 1 or more."
            )
        if self.bucket is not None:
            check_text("bucket", self.bucket, _BUCKET, ". Pass the name of an S3 bucket in the region of the function.")
        if self.bucket is None and not fits_request(self.package):
            raise ConfigurationError(
                f"The package has {len(self.package.content) / 1024**2:.0f} MB; Lambda accepts zips of at most "
                f"{LARGEST // 1024**2} MB in a request. Nothing was created. Pass bucket=, the name of an S3 bucket "
                "for the package, or package fewer requirements or files."
            )
        if self.package.record is not None and self.package.record.bucket is None:
            raise ConfigurationError(
                f"record is the folder {sanitize_line(self.package.record.location, 200)}, and files of a function in "
                "Lambda are lost. Nothing was created. Pass s3://bucket/prefix."
            )
        if isinstance(self.models, str):
            raise ConfigurationError(f"models takes a list of model ids: ['{sanitize_line(self.models, 80)}'].")
        if self.role_arn is not None:
            advice = "; the ARN of a role has the form arn:aws:iam::123456789012:role/NAME."
            check_text("role_arn", self.role_arn, ROLE_ARN, advice)
        if self.permissions_boundary is None:
            return
        if self.role_arn is not None:
            raise ConfigurationError(
                "permissions_boundary= is for a role that deploy creates, and the role of role_arn= is not changed. "
                "Pass one of the two."
            )
        check_boundary(self.permissions_boundary)

    @classmethod
    def of(cls, reward: object, options: Mapping[str, Any], **settings: Any) -> Deployment:
        """Return a deployment of a reward, which is packaged unless it is a package already."""
        check_name(settings["name"])
        if isinstance(reward, Package) and options.get("record") is not None:
            raise ConfigurationError("record= cannot change a package. Pass it to rewards.package.")
        if not isinstance(reward, Package):
            from bedrock_rft.rewards._packaging.package import package

            reward = package(reward, models=settings["models"], **options)
        return cls(package=reward, **settings)

    @property
    def judges(self) -> tuple[str, ...]:
        """The models that the function may invoke, once each."""
        return tuple(dict.fromkeys([*self.package.models, *self.models]))

    @property
    def seconds(self) -> int:
        """Seconds that an invocation may take."""
        return self.timeout or self.package.timeout


def plan_deployment(config: Config, deployment: Deployment) -> Plan:
    """Return what `deploy` would do. Nothing is changed."""
    return _compare(Account(config, for_job=True), deployment, [])[0]


def deploy(
    config: Config,
    deployment: Deployment,
    client: object,
    *,
    dataset: Any = None,
    gold: Callable[[Mapping[str, Any]], str] | None = None,
) -> DeployedReward:
    """Create or update the function and its role, publish a version, and check it with records.

    You can call it again at any time: finished steps are not repeated.
    """
    deployed = _carry_out(Account(config, for_job=True), deployment)
    if dataset is None:
        return deployed
    from bedrock_rft.rewards._checking.check import check

    permissions_changed = any(
        step.kind in {"role", "policy"} and step.action != "leave" for step in deployed.plan.steps
    )
    if (deployment.judges or deployment.package.record) and permissions_changed:
        time.sleep(_PERMISSION_DELAY)
    report = check(deployed, dataset, timeout=deployment.seconds, client=client, gold=gold)
    if not report.ok:
        raise RewardError(
            f"{deployed.arn} is deployed, but its check found {report.verdict}: {report.errors[0]} Do not use it in a "
            "job. The report is in .report; check=False deploys without a check.",
            code=report.errors[0].code,
            report=report,
        )
    return replace(deployed, report=report)


def _carry_out(account: Account, deployment: Deployment) -> DeployedReward:
    def attempt() -> DeployedReward:
        relaxed: list[Step] = []
        plan, planned_steps, role_arn = _compare(account, deployment, relaxed)
        steps: list[Step] = []
        version = ""
        try:
            for each in planned_steps:
                result: Any = each.run()
                steps.append(each.step)
                if each.step.kind == "version" and result is not None:
                    version = str(result["Version"])
                    steps[-1] = replace(each.step, name=f"{account.function_arn(deployment.name)}:{version}")
        except APIStatusError as error:
            if is_conflict(error):
                text = "deploying %s: another process changed the function; retrying with a new plan (%s)"
                log.info(text, deployment.name, error)
            raise
        arn = LambdaArn(f"{account.function_arn(deployment.name)}:{version}")
        done = replace(plan, steps=(*relaxed, *steps), done=True)
        return DeployedReward(arn, deployment.name, version, role_arn, deployment.package.code_sha256, done)

    return retry_until_accepted(attempt, is_conflict, math.inf, MAX_CONFLICTS)


def _compare(account: Account, deployment: Deployment, relaxed: list[Step]) -> tuple[Plan, list[PlannedStep], str]:
    """Return the plan, its steps, and the ARN of the execution role. Relaxing a trust policy adds to `relaxed`."""
    tags = check_tags(deployment.tags, deployment.name)
    boundary = deployment.permissions_boundary
    if boundary is not None and boundary.split(":")[4] not in (account.id, "aws"):
        raise ConfigurationError(
            f"permissions_boundary is {sanitize_line(boundary, 300)}, of another account than the function's, "
            f"{account.id}."
        )
    record = deployment.package.record
    role = desired_role(account, deployment.name, deployment.judges, record, tags, boundary)
    role_arn = deployment.role_arn or role.arn
    function = DesiredFunction(
        deployment.name,
        account.function_arn(deployment.name),
        deployment.package,
        role_arn,
        deployment.seconds,
        deployment.memory or deployment.package.memory,
        tags,
        deployment.bucket,
        None if deployment.role_arn else lambda: relaxed.append(relax_trust(account, role)),
    )
    account.set_subject(function.arn, role_arn, boundary, deployment.bucket)
    bucket = recording_steps(account, record, deployment.name)
    function_found = find_function(account, deployment.name)
    variables = merge_variables(
        function_found.settings if function_found else {}, record, deployment.package.code_sha256
    )
    function = replace(function, variables=variables)
    function_plan = function_steps(account, function_found, function)
    if (keep := deployment.keep_versions) is not None:
        publishes = function_plan[-1].step.action == "create"
        function_plan += prune_steps(
            account, function_found, deployment.name, keep, deployment.used, publishes=publishes
        )
    policies: tuple[tuple[str, Policy], ...] = ()
    if deployment.role_arn is None:
        role_plan = role_steps(account, find_role(account, role.name), role)
        policies = (("Permissions of the role", role.permissions), ("Trust policy of the role", role.trust))
    else:
        role_plan = [_own_role_step(account, deployment, deployment.role_arn, role, function_found)]
    planned_steps = [*bucket, *role_plan, *function_plan]
    facts = (*account.description, ("reward", deployment.package.reward), ("code", deployment.package.code_sha256))
    template = build_template(function, role if deployment.role_arn is None else None)
    plan = Plan(
        f"Deploy {deployment.name}", tuple(step.step for step in planned_steps), policies, facts, template=template
    )
    return plan, planned_steps, role_arn


def _own_role_step(
    account: Account, deployment: Deployment, arn: str, created: DesiredRole, function: Function | None
) -> PlannedStep:
    """Return the step for a role of the user, which is neither read nor changed."""
    if arn.split(":")[4] != account.id:
        raise ConfigurationError(
            f"role_arn is {sanitize_line(arn, 300)}, of another account than the function's, {account.id}."
        )
    details = ["your own role, not changed"]
    if deployment.judges:
        details.append(f"it needs bedrock:InvokeModel on {', '.join(map(sanitize_line, deployment.judges))}")
    if deployment.package.record is not None:
        details.append(f"it needs s3:PutObject on {rollout_location(deployment.package.record, deployment.name)}*")
    if function is not None and function.settings.get("Role") == created.arn:
        details.append(f"{created.arn} is no longer used; destroy deletes it")
    return PlannedStep(Step("leave", "role", arn, tuple(details)))


def _check_range(name: str, value: object, least: int, most: int, unit: str) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ConfigurationError(
            f"{name} is {sanitize_line(repr(value), 40)}; Lambda takes {least} to {most} whole {unit}."
        )


def deployment_name(reward: object, region: str) -> str:
    """Return the name of a deployment, given a deployed reward, an ARN or a name."""
    text = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    if not isinstance(text, str) or not text.startswith("arn:"):
        return check_name(text)
    arn = LambdaArn(text)
    if arn.region != region:
        raise ConfigurationError(
            f"{arn} is in {arn.region}, but this client is in {region}. Make a client for {arn.region}."
        )
    return check_name(arn.name)


def destroy(account: Account, name: str, *, carry_out: bool) -> Plan:
    """Delete a function, its versions, its role and the role's policy, if they were created by deploying this name.

    Missing parts are not an error, so you can call it again at any time. Without `carry_out`, nothing is changed.
    """
    planned_steps = _deletion_steps(account, name)
    for step in planned_steps if carry_out else ():
        step.run()
    return Plan(
        f"Destroy {name}", tuple(step.step for step in planned_steps), facts=account.description, done=carry_out
    )


def _deletion_steps(account: Account, name: str) -> list[PlannedStep]:
    arn, role = account.function_arn(name), role_name(name, account.region)
    account.set_subject(arn, account.role_arn(ROLE_PATH, role))
    function = find_function(account, name, versions=False)
    if function is not None and not is_ours(function.tags, name):
        raise unmanaged_function_error(arn, name, "Delete it yourself if you want it deleted.")
    existing_role = find_role(account, role)
    if function is not None:
        planned_steps = delete_function_steps(account, name)
    else:
        planned_steps = [PlannedStep(Step("leave", "function", arn, ("does not exist",)))]
    if existing_role is None:
        planned_steps.append(PlannedStep(Step("leave", "role", account.role_arn(ROLE_PATH, role), ("does not exist",))))
    elif is_ours(existing_role.tags, name):
        planned_steps += delete_role_steps(account, role, existing_role)
    else:
        planned_steps.append(PlannedStep(Step("leave", "role", existing_role.arn, ("not created by deploy",))))
    return planned_steps
