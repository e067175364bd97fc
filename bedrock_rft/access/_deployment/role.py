"""Compare the execution role of a deployed reward with the desired role, and plan the steps between."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import MANAGED, OWNER, POLICY, ROLE_PATH, is_ours, role_name, tag_steps
from bedrock_rft.access._deployment.plan import Action, PlannedStep, Step
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.access._policies.rft_policies import execution_policy, trust_policy
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rewards._runtime.rollout_log import RolloutLog

_DESCRIPTION = "Execution role of a reward function for reinforcement fine-tuning on Amazon Bedrock"


@dataclass(frozen=True)
class DesiredRole:
    """The execution role that a deployment should have."""

    owner: str
    name: str
    arn: str
    trust: Policy
    permissions: Policy
    tags: Mapping[str, str]
    boundary: str | None = None

    @property
    def relaxed_trust(self) -> Policy:
        """The trust policy for every function of the account, which Lambda accepts in any case."""
        return trust_policy(self.arn.split(":")[4])


def desired_role(
    account: Account,
    owner: str,
    judges: Sequence[str],
    record: RolloutLog | None,
    tags: Mapping[str, str],
    boundary: str | None,
) -> DesiredRole:
    """Return the role for a function of this name: it may write its log and rollouts, and invoke its judges."""
    function, name = account.function_arn(owner), role_name(owner, account.region)
    recording: dict[str, Any] = {"record": record.location, "kms_key": record.kms_key} if record else {}
    permissions = execution_policy(function, judges=judges, **recording)
    trust = trust_policy(account.id, reward=function)
    return DesiredRole(owner, name, account.role_arn(ROLE_PATH, name), trust, permissions, tags, boundary)


@dataclass(frozen=True)
class Role:
    """The existing execution role."""

    arn: str
    trust: dict[str, Any]
    permissions: dict[str, Any] | None
    tags: Mapping[str, str]
    others: tuple[str, ...] = ()
    boundary: str | None = None


def find_role(account: Account, name: str) -> Role | None:
    """Return the existing role, or None if it does not exist."""
    found = account.get_or_none("iam", "GetRole", expect=("Role",), RoleName=name)
    if found is None:
        return None
    role = found["Role"]
    names = list(account.list_all("iam", "ListRolePolicies", "PolicyNames", RoleName=name))
    attached = account.list_all("iam", "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name)
    inline = None
    if POLICY in names:
        policy = {"RoleName": name, "PolicyName": POLICY}
        inline = account.get_or_none("iam", "GetRolePolicy", expect=("PolicyDocument",), **policy)
    command = f"aws iam {{}} --role-name {name} {{}}"
    others = [command.format("delete-role-policy", f"--policy-name {each}") for each in names if each != POLICY]
    others += [command.format("detach-role-policy", f"--policy-arn {each['PolicyArn']}") for each in attached]
    return Role(
        role["Arn"],
        role.get("AssumeRolePolicyDocument") or {},
        inline and inline["PolicyDocument"],
        {tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
        tuple(others),
        role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    )


def unmanaged_role_error(arn: str, owner: str) -> ConfigurationError:
    """Return the error for a role of this name that `deploy` did not create."""
    return ConfigurationError(
        f"The role {sanitize_line(arn, 300)} was not created by deploying '{owner}': it has no tags {MANAGED}=reward "
        f"and {OWNER}={owner}. Nothing was changed. Deploy under another name, or pass role_arn= to use your own role."
    )


def role_steps(account: Account, found: Role | None, desired: DesiredRole) -> list[PlannedStep]:
    """Return the steps that create the role, or change it to the desired role."""
    if found is None:
        return [_creation_step(account, desired), _policy_step(account, desired, "create")]
    if not is_ours(found.tags, desired.owner):
        raise unmanaged_role_error(found.arn, desired.owner)
    planned = _role_change_steps(account, found, desired)
    if not planned:
        details = (
            [f"its permissions boundary stays: {found.boundary}"] if found.boundary and not desired.boundary else []
        )
        if found.trust == desired.relaxed_trust.document():
            details.append("its trust policy has no aws:SourceArn")
        planned.append(PlannedStep(Step("leave", "role", found.arn, tuple(details))))
    if found.permissions is None:
        planned.append(_policy_step(account, desired, "create"))
    elif found.permissions != desired.permissions.document():
        planned.append(_policy_step(account, desired, "change", _policy_changes(found, desired)))
    else:
        planned.append(PlannedStep(Step("leave", "policy", POLICY)))
    if found.others:
        others = ("not attached by deploy, so they stay. To remove them:", *found.others)
        planned.append(PlannedStep(Step("leave", "policies", "others", others)))
    return planned


def _role_change_steps(account: Account, found: Role, desired: DesiredRole) -> list[PlannedStep]:
    def change(detail: str, operation: str, **parameters: Any) -> PlannedStep:
        call = f"iam:{operation}"
        return account.plan_step("change", "role", found.arn, [detail], call, RoleName=desired.name, **parameters)

    planned: list[PlannedStep] = []
    if found.trust not in (desired.trust.document(), desired.relaxed_trust.document()):
        document = desired.trust.json(indent=None)
        planned.append(change("trust policy", "UpdateAssumeRolePolicy", PolicyDocument=document))
    planned += tag_steps(account, "iam", found.arn, found.tags, desired.tags)
    if desired.boundary is not None and desired.boundary != found.boundary:
        detail = f"permissions boundary: {found.boundary or 'none'} → {desired.boundary}"
        planned.append(change(detail, "PutRolePermissionsBoundary", PermissionsBoundary=desired.boundary))
    return planned


def relax_trust(account: Account, desired: DesiredRole) -> Step:
    """Let Lambda assume the role for every function of the account, and return the step that reports it."""
    # Lambda may be unable to assume a role with `aws:SourceArn`, which AWS documents for other cases only.
    document = desired.relaxed_trust.json(indent=None)
    account.call_when_ready("iam", "UpdateAssumeRolePolicy", RoleName=desired.name, PolicyDocument=document)
    detail = "trust policy: without aws:SourceArn, because Lambda could not assume the role with it"
    return Step("change", "role", desired.arn, (detail,), ("iam:UpdateAssumeRolePolicy",))


def delete_role_steps(account: Account, name: str, found: Role) -> list[PlannedStep]:
    """Return the steps that delete a role."""
    if found.others:
        raise ConfigurationError(
            f"The role {sanitize_line(found.arn, 300)} has policies that deploy did not attach. Nothing was deleted. "
            f"Remove them first: {'; '.join(sanitize_line(command, 300) for command in found.others)}."
        )
    role = {"RoleName": name}
    policy = account.plan_step("delete", "policy", POLICY, (), "iam:DeleteRolePolicy", **role, PolicyName=POLICY)
    deletion = account.plan_step("delete", "role", found.arn, (), "iam:DeleteRole", **role)
    return [deletion] if found.permissions is None else [policy, deletion]


def _creation_step(account: Account, desired: DesiredRole) -> PlannedStep:
    role: dict[str, Any] = {
        "RoleName": desired.name,
        "Path": ROLE_PATH,
        "AssumeRolePolicyDocument": desired.trust.json(indent=None),
        "Description": _DESCRIPTION,
        "Tags": [{"Key": key, "Value": value} for key, value in desired.tags.items()],
    }
    details = ["if Lambda cannot assume it, its trust policy is changed once to the one without aws:SourceArn"]
    needs = ["iam:CreateRole", "iam:TagRole", "iam:UpdateAssumeRolePolicy"]
    if desired.boundary:
        details.append(f"permissions boundary: {desired.boundary}")
        needs.append("iam:PutRolePermissionsBoundary")
        role["PermissionsBoundary"] = desired.boundary
    step = Step("create", "role", desired.arn, tuple(details), tuple(needs))
    return PlannedStep(step, lambda: account.call("iam", "CreateRole", **role))


def _policy_step(account: Account, desired: DesiredRole, action: Action, details: Sequence[str] = ()) -> PlannedStep:
    policy = {"PolicyName": POLICY, "PolicyDocument": desired.permissions.json(indent=None)}
    return account.plan_step(action, "policy", POLICY, details, "iam:PutRolePolicy", RoleName=desired.name, **policy)


def _policy_changes(found: Role, desired: DesiredRole) -> tuple[str, ...]:
    """Describe the permissions that the policy gains and loses."""
    statements: Any = (found.permissions or {}).get("Statement", ())
    present = _index_by_content(
        [cast("dict[str, Any]", statements)] if isinstance(statements, dict) else list(statements)
    )
    wanted = _index_by_content(desired.permissions.document()["Statement"])
    gained = [f"gains {_describe_statement(statement)}" for key, statement in wanted.items() if key not in present]
    lost = [f"loses {_describe_statement(statement)}" for key, statement in present.items() if key not in wanted]
    return (*gained, *lost)


def _index_by_content(statements: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {json.dumps(statement, sort_keys=True): statement for statement in statements}


def _describe_statement(statement: Mapping[str, Any]) -> str:
    def join_values(value: Any) -> str:
        return value if isinstance(value, str) else ", ".join(map(str, value or ()))

    return f"{join_values(statement.get('Action'))} on {join_values(statement.get('Resource'))}"
