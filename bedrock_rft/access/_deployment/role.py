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
    response = account.get_or_none("iam", "GetRole", expect=("Role",), RoleName=name)
    if response is None:
        return None
    role = response["Role"]
    names = list(account.list_all("iam", "ListRolePolicies", "PolicyNames", RoleName=name))
    managed_policies = account.list_all("iam", "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name)
    inline = None
    if POLICY in names:
        policy = {"RoleName": name, "PolicyName": POLICY}
        inline = account.get_or_none("iam", "GetRolePolicy", expect=("PolicyDocument",), **policy)
    command = f"aws iam {{}} --role-name {name} {{}}"
    commands = [command.format("delete-role-policy", f"--policy-name {each}") for each in names if each != POLICY]
    commands += [command.format("detach-role-policy", f"--policy-arn {each['PolicyArn']}") for each in managed_policies]
    return Role(
        role["Arn"],
        role.get("AssumeRolePolicyDocument") or {},
        inline and inline["PolicyDocument"],
        {tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
        tuple(commands),
        role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    )


def unmanaged_role_error(arn: str, owner: str) -> ConfigurationError:
    """Return the error for a role of this name that `deploy` did not create."""
    return ConfigurationError(
        f"The role {sanitize_line(arn, 300)} was not created by deploying '{owner}': it has no tags {MANAGED}=reward "
        f"and {OWNER}={owner}. Nothing was changed. Deploy under another name, or pass role_arn= to use your own role."
    )


def role_steps(account: Account, role: Role | None, target: DesiredRole) -> list[PlannedStep]:
    """Return the steps that create the role, or change it to the desired role."""
    if role is None:
        return [_creation_step(account, target), _policy_step(account, target, "create")]
    if not is_ours(role.tags, target.owner):
        raise unmanaged_role_error(role.arn, target.owner)
    planned_steps = _role_change_steps(account, role, target)
    if not planned_steps:
        details = [f"its permissions boundary stays: {role.boundary}"] if role.boundary and not target.boundary else []
        if role.trust == target.relaxed_trust.document():
            details.append("its trust policy has no aws:SourceArn")
        planned_steps.append(PlannedStep(Step("leave", "role", role.arn, tuple(details))))
    if role.permissions is None:
        planned_steps.append(_policy_step(account, target, "create"))
    elif role.permissions != target.permissions.document():
        planned_steps.append(_policy_step(account, target, "change", _policy_changes(role, target)))
    else:
        planned_steps.append(PlannedStep(Step("leave", "policy", POLICY)))
    if role.others:
        details_of_others = ("not attached by deploy, so they stay. To remove them:", *role.others)
        planned_steps.append(PlannedStep(Step("leave", "policies", "others", details_of_others)))
    return planned_steps


def _role_change_steps(account: Account, role: Role, target: DesiredRole) -> list[PlannedStep]:
    def change(detail: str, operation: str, **parameters: Any) -> PlannedStep:
        call = f"iam:{operation}"
        return account.plan_step("change", "role", role.arn, [detail], call, RoleName=target.name, **parameters)

    planned_steps: list[PlannedStep] = []
    if role.trust not in (target.trust.document(), target.relaxed_trust.document()):
        document = target.trust.json(indent=None)
        planned_steps.append(change("trust policy", "UpdateAssumeRolePolicy", PolicyDocument=document))
    planned_steps += tag_steps(account, "iam", role.arn, role.tags, target.tags)
    if target.boundary is not None and target.boundary != role.boundary:
        detail = f"permissions boundary: {role.boundary or 'none'} → {target.boundary}"
        planned_steps.append(change(detail, "PutRolePermissionsBoundary", PermissionsBoundary=target.boundary))
    return planned_steps


def relax_trust(account: Account, target: DesiredRole) -> Step:
    """Let Lambda assume the role for every function of the account, and return the step that reports it."""
    # Lambda may be unable to assume a role with `aws:SourceArn`, which AWS documents for other cases only.
    document = target.relaxed_trust.json(indent=None)
    account.call_when_ready("iam", "UpdateAssumeRolePolicy", RoleName=target.name, PolicyDocument=document)
    detail = "trust policy: without aws:SourceArn, because Lambda could not assume the role with it"
    return Step("change", "role", target.arn, (detail,), ("iam:UpdateAssumeRolePolicy",))


def delete_role_steps(account: Account, name: str, existing_role: Role) -> list[PlannedStep]:
    """Return the steps that delete a role."""
    if existing_role.others:
        raise ConfigurationError(
            f"The role {sanitize_line(existing_role.arn, 300)} has policies that deploy did not attach. Nothing was "
            f"deleted. Remove them first: {'; '.join(sanitize_line(command, 300) for command in existing_role.others)}."
        )
    role = {"RoleName": name}
    policy = account.plan_step("delete", "policy", POLICY, (), "iam:DeleteRolePolicy", **role, PolicyName=POLICY)
    deletion = account.plan_step("delete", "role", existing_role.arn, (), "iam:DeleteRole", **role)
    return [deletion] if existing_role.permissions is None else [policy, deletion]


def _creation_step(account: Account, target: DesiredRole) -> PlannedStep:
    role: dict[str, Any] = {
        "RoleName": target.name,
        "Path": ROLE_PATH,
        "AssumeRolePolicyDocument": target.trust.json(indent=None),
        "Description": _DESCRIPTION,
        "Tags": [{"Key": key, "Value": value} for key, value in target.tags.items()],
    }
    details = ["if Lambda cannot assume it, its trust policy is changed once to one without aws:SourceArn"]
    needs = ["iam:CreateRole", "iam:TagRole", "iam:UpdateAssumeRolePolicy"]
    if target.boundary:
        details.append(f"permissions boundary: {target.boundary}")
        needs.append("iam:PutRolePermissionsBoundary")
        role["PermissionsBoundary"] = target.boundary
    step = Step("create", "role", target.arn, tuple(details), tuple(needs))
    return PlannedStep(step, lambda: account.call("iam", "CreateRole", **role))


def _policy_step(account: Account, target: DesiredRole, action: Action, details: Sequence[str] = ()) -> PlannedStep:
    policy = {"PolicyName": POLICY, "PolicyDocument": target.permissions.json(indent=None)}
    return account.plan_step(action, "policy", POLICY, details, "iam:PutRolePolicy", RoleName=target.name, **policy)


def _policy_changes(role: Role, target: DesiredRole) -> tuple[str, ...]:
    """Describe the permissions that the policy gains and loses."""
    statements: Any = (role.permissions or {}).get("Statement", ())
    current_statements = _index_by_content(
        [cast("dict[str, Any]", statements)] if isinstance(statements, dict) else list(statements)
    )
    target_statements = _index_by_content(target.permissions.document()["Statement"])
    gained = [
        f"gains {_describe_statement(statement)}"
        for key, statement in target_statements.items()
        if key not in current_statements
    ]
    lost = [
        f"loses {_describe_statement(statement)}"
        for key, statement in current_statements.items()
        if key not in target_statements
    ]
    return (*gained, *lost)


def _index_by_content(statements: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {json.dumps(statement, sort_keys=True): statement for statement in statements}


def _describe_statement(statement: Mapping[str, Any]) -> str:
    def join_values(value: Any) -> str:
        return value if isinstance(value, str) else ", ".join(map(str, value or ()))

    return f"{join_values(statement.get('Action'))} on {join_values(statement.get('Resource'))}"
