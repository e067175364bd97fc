"""The execution role of a deployed reward: what it should be, what it is, and the steps between."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.names import MANAGED, OWNER, POLICY, ROLE_PATH, is_ours, role_name
from bedrock_rft.access._deployment.plan import Step, Work
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.access._policies.rft_policies import execution_policy, trust_policy
from bedrock_rft.errors import ConfigurationError

__all__ = ["Role", "RoleWanted", "deletion", "foreign_role", "look_at_role", "role_work"]

_DESCRIPTION = "Execution role of a reward function for reinforcement fine-tuning on Amazon Bedrock"


@dataclass(frozen=True)
class RoleWanted:
    """What the role should be.

    Attributes:
        owner: the name of the deployment.
        name: the role's own.
        arn: the same with its account and path.
        trust: who may take it.
        permissions: what it may do.
        tags: what it is marked with.
        boundary: the ARN of the policy beyond which it may do nothing; None where whatever is there stays.
    """

    owner: str
    name: str
    arn: str
    trust: Policy
    permissions: Policy
    tags: Mapping[str, str]
    boundary: str | None = None

    @classmethod
    def of(
        cls,
        account: Account,
        owner: str,
        *,
        judges: Sequence[str],
        tags: Mapping[str, str],
        boundary: str | None = None,
    ) -> RoleWanted:
        """The role for a function of this name: its own log, its judges, and nothing else."""
        function = account.function_arn(owner)
        name = role_name(owner, account.region)
        return cls(
            owner,
            name,
            account.role_arn(ROLE_PATH, name),
            trust_policy(account.id, reward=function),
            execution_policy(function, judges=judges),
            tags,
            boundary,
        )


@dataclass(frozen=True)
class Role:
    """What the role is.

    Attributes:
        arn: its own, whose path may be another.
        trust: who may take it, as a document.
        permissions: the policy that is put here, as a document; None where it is not there.
        tags: what it is marked with.
        others: policies that it has beside that one, as they are taken off again.
        boundary: the ARN of the policy beyond which it may do nothing; None where it has none.
    """

    arn: str
    trust: dict[str, Any]
    permissions: dict[str, Any] | None
    tags: Mapping[str, str]
    others: tuple[str, ...] = ()
    boundary: str | None = None


def look_at_role(account: Account, name: str) -> Role | None:
    """The role as it is; None where there is none."""
    found = account.look("iam", "GetRole", RoleName=name)
    if found is None:
        return None
    role = found["Role"]
    names = list(account.every("iam", "ListRolePolicies", "PolicyNames", RoleName=name))
    attached = account.every("iam", "ListAttachedRolePolicies", "AttachedPolicies", RoleName=name)
    put = account.look("iam", "GetRolePolicy", RoleName=name, PolicyName=POLICY) if POLICY in names else None
    others = [f"aws iam delete-role-policy --role-name {name} --policy-name {one}" for one in names if one != POLICY]
    others += [f"aws iam detach-role-policy --role-name {name} --policy-arn {one['PolicyArn']}" for one in attached]
    return Role(
        role["Arn"],
        _document(role.get("AssumeRolePolicyDocument")),
        None if put is None else _document(put["PolicyDocument"]),
        {tag["Key"]: tag["Value"] for tag in role.get("Tags", ())},
        tuple(others),
        role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
    )


def foreign_role(arn: str, owner: str) -> ConfigurationError:
    """What is said of a role that has the name and was not made here."""
    return ConfigurationError(
        f"The role {sanitize_line(arn, 300)} was not made by deploying '{owner}': it has no tag {MANAGED}=reward with "
        f"{OWNER}={owner}. It is left alone. Deploy under another name, or pass role_arn= to use a role of your own."
    )


def role_work(account: Account, seen: Role | None, wanted: RoleWanted) -> list[Work]:
    """The steps from what is there to what should be. Raises `ConfigurationError` for a role that is not ours."""
    if seen is None:
        return [_creation(account, wanted), _put(account, wanted, Step("create", "policy", POLICY, needs=_PUT))]
    if not is_ours(seen.tags, wanted.owner):
        raise foreign_role(seen.arn, wanted.owner)
    works: list[Work] = []
    missing = {key: value for key, value in wanted.tags.items() if seen.tags.get(key) != value}
    if seen.trust != wanted.trust.document():
        step = Step("change", "role", seen.arn, ("who may take it",), ("iam:UpdateAssumeRolePolicy",))
        works.append(Work(step, lambda: _trusted(account, wanted)))
    if missing:
        step = Step("change", "role", seen.arn, (f"tags: {', '.join(missing)}",), ("iam:TagRole",))
        works.append(Work(step, lambda: _tagged(account, wanted)))
    if wanted.boundary is not None and wanted.boundary != seen.boundary:
        moved = f"permissions boundary: {seen.boundary or 'none'} → {wanted.boundary}"
        works.append(Work(Step("change", "role", seen.arn, (moved,), (_BOUND,)), lambda: _bounded(account, wanted)))
    if not works:
        kept = (f"its permissions boundary stays: {seen.boundary}",) if seen.boundary and not wanted.boundary else ()
        works.append(Work(Step("leave", "role", seen.arn, kept)))
    if seen.permissions is None:
        works.append(_put(account, wanted, Step("create", "policy", POLICY, needs=_PUT)))
    elif seen.permissions != wanted.permissions.document():
        works.append(_put(account, wanted, Step("change", "policy", POLICY, _changed(seen, wanted), _PUT)))
    else:
        works.append(Work(Step("leave", "policy", POLICY)))
    if seen.others:
        details = ("not put there by deploy, and left. To take off:", *seen.others)
        works.append(Work(Step("leave", "policies", "others", details)))
    return works


def deletion(account: Account, name: str, seen: Role) -> list[Work]:
    """The steps that take a role of ours away.

    Raises:
        ConfigurationError: somebody gave it further policies, which would have to be taken off it first.
    """
    if seen.others:
        raise ConfigurationError(
            f"The role {sanitize_line(seen.arn, 300)} has policies that were not put there by deploy. Nothing was deleted. "
            f"Take them off first: {'; '.join(sanitize_line(one, 300) for one in seen.others)}."
        )
    works: list[Work] = []
    if seen.permissions is not None:
        step = Step("delete", "policy", POLICY, needs=("iam:DeleteRolePolicy",))
        gone = {"RoleName": name, "PolicyName": POLICY}
        works.append(Work(step, lambda: account.look("iam", "DeleteRolePolicy", **gone)))
    step = Step("delete", "role", seen.arn, needs=("iam:DeleteRole",))
    works.append(Work(step, lambda: account.look("iam", "DeleteRole", RoleName=name)))
    return works


_PUT = ("iam:PutRolePolicy",)
_BOUND = "iam:PutRolePermissionsBoundary"


def _creation(account: Account, wanted: RoleWanted) -> Work:
    def do() -> object:
        return account.ask(
            "iam",
            "CreateRole",
            RoleName=wanted.name,
            Path=ROLE_PATH,
            AssumeRolePolicyDocument=wanted.trust.json(indent=None),
            Description=_DESCRIPTION,
            Tags=[{"Key": key, "Value": value} for key, value in wanted.tags.items()],
            **({"PermissionsBoundary": wanted.boundary} if wanted.boundary else {}),
        )

    details = (f"permissions boundary: {wanted.boundary}",) if wanted.boundary else ()
    needs = ("iam:CreateRole", "iam:TagRole", *([_BOUND] if wanted.boundary else []))
    return Work(Step("create", "role", wanted.arn, details, needs), do)


def _put(account: Account, wanted: RoleWanted, step: Step) -> Work:
    def do() -> object:
        document = wanted.permissions.json(indent=None)
        return account.ask("iam", "PutRolePolicy", RoleName=wanted.name, PolicyName=POLICY, PolicyDocument=document)

    return Work(step, do)


def _trusted(account: Account, wanted: RoleWanted) -> object:
    document = wanted.trust.json(indent=None)
    return account.ask("iam", "UpdateAssumeRolePolicy", RoleName=wanted.name, PolicyDocument=document)


def _tagged(account: Account, wanted: RoleWanted) -> object:
    tags = [{"Key": key, "Value": value} for key, value in wanted.tags.items()]
    return account.ask("iam", "TagRole", RoleName=wanted.name, Tags=tags)


def _bounded(account: Account, wanted: RoleWanted) -> object:
    return account.ask("iam", "PutRolePermissionsBoundary", RoleName=wanted.name, PermissionsBoundary=wanted.boundary)


def _changed(seen: Role, wanted: RoleWanted) -> tuple[str, ...]:
    """What the policy gains and loses."""
    there: Any = (seen.permissions or {}).get("Statement", ())
    listed: list[dict[str, Any]] = [there] if isinstance(there, dict) else list(there)
    now = {json.dumps(one, sort_keys=True): one for one in listed}
    then = {json.dumps(one, sort_keys=True): one for one in wanted.permissions.document()["Statement"]}
    gained = [f"gains {_told(one)}" for key, one in then.items() if key not in now]
    lost = [f"loses {_told(one)}" for key, one in now.items() if key not in then]
    return (*gained, *lost)


def _told(statement: Mapping[str, Any]) -> str:
    def listed(value: Any) -> str:
        return value if isinstance(value, str) else ", ".join(map(str, value or ()))

    return f"{listed(statement.get('Action'))} on {listed(statement.get('Resource'))}"


def _document(found: Any) -> dict[str, Any]:
    """A policy as IAM gives it back: an object, or one that is written down and escaped."""
    return json.loads(unquote(found)) if isinstance(found, str) else dict(found or {})
