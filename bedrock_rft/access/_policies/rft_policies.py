"""The policies that reinforcement fine-tuning needs, each no wider than its purpose.

Action names and resource types are those of AWS's service authorization reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bedrock_rft.access._policies.arns import (
    account_of,
    check_account,
    check_boundary,
    function_arns,
    log_group_arn,
    project_arn,
    role_arn,
)
from bedrock_rft.access._policies.judge_policies import judge_policy
from bedrock_rft.access._policies.policy import Condition, Policy, Statement
from bedrock_rft.types.arn import LambdaArn

__all__ = [
    "BEARER",
    "FILES",
    "INFERENCE",
    "JOBS",
    "LOGS",
    "MODELS",
    "caller_policy",
    "deployer_policy",
    "documented_invoke_policy",
    "execution_policy",
    "invoke_policy",
    "trust_policy",
    "watcher_policy",
]

FILES = tuple(f"bedrock-mantle:{name}" for name in ("CreateFile", "GetFile", "ListFiles", "DeleteFile"))
JOBS = tuple(
    f"bedrock-mantle:{name}"
    for name in ("CreateFineTuningJob", "GetFineTuningJob", "ListFineTuningJobs", "CancelFineTuningJob")
)
MODELS = ("bedrock-mantle:GetModel", "bedrock-mantle:ListModels")
INFERENCE = "bedrock-mantle:CreateInference"
BEARER = "bedrock-mantle:CallWithBearerToken"
LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")


def caller_policy(
    region: str,
    account: str | None = None,
    *,
    reward: str | None = None,
    project: str | None = None,
    models: Sequence[str] = (),
    api_key: bool | Literal["short-term"] = False,
) -> Policy:
    """For whoever uploads files, runs jobs and asks the models.

    Args:
        region: where the jobs run.
        account: the 12 digits; the reward function's where it is left out.
        reward: the ARN of the reward function. Jobs that invoke it are made with the caller's own permissions.
        project: the Bedrock project; the default one where it is left out, any for `*`.
        models: the only ones that may be trained, where they are to be limited.
        api_key: whether calls are made with a Bedrock API key; `short-term` allows those alone.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    number = account_of(account, reward)
    on = (project_arn(region, number, project),)
    create, *others = JOBS
    limit: Condition = {"StringEquals": {"bedrock-mantle:Model": tuple(models)}} if models else {}
    found = [
        Statement(sid="Files", action=FILES, resource=on, why="Data sets are uploaded, looked up and deleted."),
        Statement(
            sid="CreateJobs",
            action=(create,),
            resource=on,
            condition=limit,
            why=f"Training is started{', on these models alone' if models else ''}.",
        ),
        Statement(
            sid="Jobs",
            action=tuple(others),
            resource=on,
            why="Jobs are followed, with their events and checkpoints, listed and cancelled.",
        ),
        Statement(
            sid="Inference",
            action=(INFERENCE, *MODELS),
            resource=on,
            why="Base and tuned models are listed, compared and used.",
        ),
    ]
    if api_key:
        found.append(_bearer(short_term=api_key == "short-term"))
    if reward is not None:
        found += invoke_policy(reward).statement
    return _policy(*found)


def _policy(*statements: Statement) -> Policy:
    return Policy(statement=statements)


def _bearer(*, short_term: bool) -> Statement:
    """Calls with an API key need a permission of their own, which knows no resource."""
    return Statement(
        sid="ApiKey",
        action=(BEARER,),
        resource=("*",),
        condition={"StringEquals": {"bedrock-mantle:BearerTokenType": "SHORT_TERM"}} if short_term else {},
        why=f"Calls come with a {'short-term ' if short_term else ''}API key; the action knows no resource but '*'.",
    )


def invoke_policy(reward: str) -> Policy:
    """For whoever has a reward function invoked: a job of theirs, or a check.

    It names the one function, with and without a qualifier, so that its next version needs no new policy.

    Raises:
        ConfigurationError: it is not the ARN of a function.
    """
    return _policy(
        Statement(
            sid="InvokeReward",
            action=("lambda:InvokeFunction",),
            resource=function_arns(reward),
            why="The job invokes this one reward function, at any of its versions.",
        )
    )


def watcher_policy(
    region: str, account: str, *, project: str | None = None, api_key: bool | Literal["short-term"] = False
) -> Policy:
    """For whoever only looks on: jobs with their events and checkpoints, and names of files and models.

    `GetFile` also opens the content of files, so it is not in here. Raises `ConfigurationError`.
    """
    on = (project_arn(region, check_account(account), project),)
    look = ("bedrock-mantle:GetFineTuningJob", "bedrock-mantle:ListFineTuningJobs")
    found = [
        Statement(sid="WatchJobs", action=look, resource=on, why="Jobs, their events and checkpoints are followed."),
        Statement(
            sid="SeeNames",
            action=("bedrock-mantle:ListFiles", *MODELS),
            resource=on,
            why="Files and models are listed, and no file is opened.",
        ),
    ]
    if api_key:
        found.append(_bearer(short_term=api_key == "short-term"))
    return _policy(*found)


def execution_policy(reward: str, *, judges: Sequence[str] = ()) -> Policy:
    """For the reward function itself, attached to its execution role: its own log, and the judges it asks.

    Args:
        reward: the function's ARN.
        judges: ids of models or inference profiles, or their ARNs, in the function's region.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    group = log_group_arn(reward)
    arn = LambdaArn(reward)
    logs = Statement(
        sid="OwnLog",
        action=LOGS,
        resource=(group, f"{group}:*"),
        why="Lambda writes what the function prints into the function's own log group.",
    )
    more = judge_policy(judges, arn.region, arn.account).statement if judges else ()
    return _policy(logs, *more)


def trust_policy(account: str | None = None, *, reward: str | None = None) -> Policy:
    """For the execution role: Lambda alone may assume it, and only for this account.

    Args:
        account: the 12 digits; the reward function's where it is left out.
        reward: the function's ARN, to let Lambda assume the role for that function alone.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    condition: Condition = {"StringEquals": {"aws:SourceAccount": account_of(account, reward)}}
    if reward is not None:
        condition = {**condition, "ArnLike": {"aws:SourceArn": function_arns(reward)}}
    return _policy(
        Statement(
            sid="LambdaOnly",
            principal={"Service": ("lambda.amazonaws.com",)},
            action=("sts:AssumeRole",),
            condition=condition,
            why=f"Lambda alone becomes this role, for {'this function' if reward else 'this account'} alone.",
        )
    )


def deployer_policy(reward: str, *, role: str, permissions_boundary: str | None = None) -> Policy:
    """For whoever deploys a reward function: this function, and its execution role, alone.

    Args:
        reward: the ARN that the function has, or will have.
        role: the name or the ARN of its execution role.
        permissions_boundary: the ARN of the policy beyond which roles may do nothing, where there has to be one: then
            the role can be made, and be given a policy, only within it.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    names = role_arn(role, reward)
    on = function_arns(reward)
    make = (
        "CreateFunction",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
        "PublishVersion",
        "TagResource",
        "UntagResource",
    )
    look = ("GetFunction", "GetFunctionConfiguration", "ListVersionsByFunction", "ListTags")
    made: tuple[str, ...] = ("CreateRole", "PutRolePolicy")  # what IAM can hold to a boundary
    roles = ("UpdateAssumeRolePolicy", "TagRole", "UntagRole", "DeleteRolePolicy", "DeleteRole")
    within: Condition = {}
    if permissions_boundary is not None:
        made = (*made, "PutRolePermissionsBoundary")
        within = {"StringEquals": {"iam:PermissionsBoundary": check_boundary(permissions_boundary)}}
    seen = ("GetRole", "GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies")
    bounded: tuple[Statement, ...] = ()
    if within:
        why = "The role is made, and given its policy, within this boundary alone."
        actions = tuple(f"iam:{name}" for name in made)
        bounded = (Statement(sid="RoleWithin", action=actions, resource=(names,), condition=within, why=why),)
    return _policy(
        Statement(
            sid="Deploy",
            action=tuple(f"lambda:{name}" for name in (*make, *look, "DeleteFunction")),
            resource=on,
            why="The function is created, updated, published as a version, and taken away again.",
        ),
        Statement(sid="Check", action=("lambda:InvokeFunction",), resource=on, why="It is tried once deployed."),
        Statement(
            sid="Role",
            action=tuple(f"iam:{name}" for name in (*(() if within else made), *roles, *seen)),
            resource=(names,),
            why="The function runs as a role of its own, which is made with it and goes with it.",
        ),
        *bounded,
        Statement(
            sid="PassRole",
            action=("iam:PassRole",),
            resource=(names,),
            condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
            why="The role is handed to Lambda, and to no other service.",
        ),
    )


def documented_invoke_policy(function: str) -> Policy:
    """AWS's own example for reward functions, exactly: a function of this name in any account and region.

    It is wider than a job needs: `invoke_policy` names the one function.
    """
    return _policy(
        Statement(
            action=("lambda:InvokeFunction",),
            resource=(f"arn:aws:lambda:*:*:function:{function}",),
            why="AWS's example: a function of this name in every region and account.",
        )
    )
