"""IAM policies for reinforcement fine-tuning, each as narrow as its purpose allows.

Action names and resource types follow AWS's service authorization reference.
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
from bedrock_rft.types.iam_actions import BEARER, FILES, INFERENCE, JOBS, MODELS

__all__ = [
    "caller_policy",
    "deployer_policy",
    "documented_invoke_policy",
    "execution_policy",
    "invoke_policy",
    "trust_policy",
    "watcher_policy",
]

_LOGS = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")


def caller_policy(
    region: str,
    account: str | None = None,
    *,
    reward: str | None = None,
    project: str | None = None,
    models: Sequence[str] = (),
    api_key: bool | Literal["short-term"] = False,
) -> Policy:
    """Return the policy for an identity that uploads files, runs jobs and uses models.

    Args:
        region: AWS region of the jobs.
        account: account number, 12 digits. Default: the account of the reward function.
        reward: ARN of the reward function. The service invokes it with the permissions of the job's creator.
        project: id of the Bedrock project, or `*` for any. Default: the default project.
        models: models that may be trained. Default: all.
        api_key: True if requests use a Bedrock API key; `short-term` allows short-term keys only.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    number = account_of(account, reward)
    resource = (project_arn(region, number, project),)
    create, *others = JOBS
    model_limit: Condition = {"StringEquals": {"bedrock-mantle:Model": tuple(models)}} if models else {}
    statements = [
        Statement(sid="Files", action=FILES, resource=resource, reason="Upload, read, list and delete datasets."),
        Statement(
            sid="CreateJobs",
            action=(create,),
            resource=resource,
            condition=model_limit,
            reason=f"Start training jobs{', of these models only' if models else ''}.",
        ),
        Statement(
            sid="Jobs",
            action=tuple(others),
            resource=resource,
            reason="Read, list and cancel jobs; read their events and checkpoints.",
        ),
        Statement(
            sid="Inference",
            action=(INFERENCE, *MODELS),
            resource=resource,
            reason="List base and tuned models, and request completions.",
        ),
    ]
    if api_key:
        statements.append(_bearer_statement(short_term=api_key == "short-term"))
    if reward is not None:
        statements += invoke_policy(reward).statement
    return _policy(*statements)


def _policy(*statements: Statement) -> Policy:
    return Policy(statement=statements)


def _bearer_statement(*, short_term: bool) -> Statement:
    """Return the permission that requests with an API key need in addition; it supports no resource."""
    return Statement(
        sid="ApiKey",
        action=(BEARER,),
        resource=("*",),
        condition={"StringEquals": {"bedrock-mantle:BearerTokenType": "SHORT_TERM"}} if short_term else {},
        reason=f"Use a {'short-term ' if short_term else ''}API key; the action supports no resource but '*'.",
    )


def invoke_policy(reward: str) -> Policy:
    """Return the policy for an identity that invokes a reward function, through a job or a check.

    It names the function with and without a qualifier, so that its next version needs no new policy.

    Raises:
        ConfigurationError: `reward` is not the ARN of a Lambda function.
    """
    return _policy(
        Statement(
            sid="InvokeReward",
            action=("lambda:InvokeFunction",),
            resource=function_arns(reward),
            reason="Invoke this reward function, at any version.",
        )
    )


def watcher_policy(
    region: str, account: str, *, project: str | None = None, api_key: bool | Literal["short-term"] = False
) -> Policy:
    """Return a read-only policy: jobs with their events and checkpoints, and names of files and models.

    It leaves out `GetFile`, which also reads the content of files.

    Args:
        region: AWS region of the jobs.
        account: account number, 12 digits.
        project: id of the Bedrock project, or `*` for any. Default: the default project.
        api_key: True if requests use a Bedrock API key; `short-term` allows short-term keys only.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    resource = (project_arn(region, check_account(account), project),)
    _, get_job, list_jobs, _ = JOBS
    _, _, list_files, _ = FILES
    statements = [
        Statement(
            sid="WatchJobs",
            action=(get_job, list_jobs),
            resource=resource,
            reason="Read and list jobs; read their events and checkpoints.",
        ),
        Statement(
            sid="SeeNames",
            action=(list_files, *MODELS),
            resource=resource,
            reason="List files and models without reading the content of a file.",
        ),
    ]
    if api_key:
        statements.append(_bearer_statement(short_term=api_key == "short-term"))
    return _policy(*statements)


def execution_policy(reward: str, *, judges: Sequence[str] = ()) -> Policy:
    """Return the policy for the reward function's execution role: its own log and the judges it invokes.

    Args:
        reward: ARN of the reward function.
        judges: ids or ARNs of models or inference profiles in the function's region.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    group = log_group_arn(reward)
    arn = LambdaArn(reward)
    logs = Statement(
        sid="OwnLog",
        action=_LOGS,
        resource=(group, f"{group}:*"),
        reason="Write output to the function's own log group.",
    )
    return _policy(logs, *(judge_policy(judges, arn.region, arn.account).statement if judges else ()))


def trust_policy(account: str | None = None, *, reward: str | None = None) -> Policy:
    """Return the trust policy for the execution role: only Lambda may assume it, only for this account.

    Args:
        account: account number, 12 digits. Default: the account of the reward function.
        reward: ARN of the reward function, to allow the role for this function only.

    Raises:
        ConfigurationError: an argument is invalid.
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
            reason=f"Only Lambda assumes this role, and only for {'this function' if reward else 'this account'}.",
        )
    )


def deployer_policy(reward: str, *, role: str, permissions_boundary: str | None = None) -> Policy:
    """Return the policy for an identity that deploys a reward function and its execution role.

    Args:
        reward: ARN that the function has or will have.
        role: name or ARN of its execution role.
        permissions_boundary: ARN of the permissions boundary that the role must have. Without that boundary the role
            can then neither be created nor get a policy.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    role_resource = (role_arn(role, reward),)
    functions = function_arns(reward)
    write_actions = (
        "CreateFunction",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
        "PublishVersion",
        "TagResource",
        "UntagResource",
    )
    read_actions = ("GetFunction", "GetFunctionConfiguration", "ListVersionsByFunction", "ListTags")
    bounded_actions: tuple[str, ...] = ("CreateRole", "PutRolePolicy")  # these support iam:PermissionsBoundary
    role_actions = ("UpdateAssumeRolePolicy", "TagRole", "UntagRole", "DeleteRolePolicy", "DeleteRole")
    boundary: Condition = {}
    if permissions_boundary is not None:
        bounded_actions = (*bounded_actions, "PutRolePermissionsBoundary")
        boundary = {"StringEquals": {"iam:PermissionsBoundary": check_boundary(permissions_boundary)}}
    role_reads = ("GetRole", "GetRolePolicy", "ListRolePolicies", "ListAttachedRolePolicies")
    within_boundary: tuple[Statement, ...] = ()
    if boundary:
        reason = "Create the role and write its policy only with this permissions boundary."
        actions = tuple(f"iam:{name}" for name in bounded_actions)
        within_boundary = (
            Statement(sid="RoleWithin", action=actions, resource=role_resource, condition=boundary, reason=reason),
        )
    return _policy(
        Statement(
            sid="Deploy",
            action=tuple(f"lambda:{name}" for name in (*write_actions, *read_actions, "DeleteFunction")),
            resource=functions,
            reason="Create, update, publish and delete the function.",
        ),
        Statement(
            sid="Check",
            action=("lambda:InvokeFunction",),
            resource=functions,
            reason="Invoke the function to check it.",
        ),
        Statement(
            sid="Role",
            action=tuple(
                f"iam:{name}" for name in (*(() if boundary else bounded_actions), *role_actions, *role_reads)
            ),
            resource=role_resource,
            reason="Create, update and delete the function's own execution role.",
        ),
        *within_boundary,
        Statement(
            sid="PassRole",
            action=("iam:PassRole",),
            resource=role_resource,
            condition={"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}},
            reason="Pass the role to Lambda and to no other service.",
        ),
    )


def documented_invoke_policy(function: str) -> Policy:
    """Return AWS's documented example: a function of this name in every account and region.

    It is wider than a job needs; `invoke_policy` names one function.
    """
    return _policy(
        Statement(
            action=("lambda:InvokeFunction",),
            resource=(f"arn:aws:lambda:*:*:function:{function}",),
            reason="AWS's example: invoke a function of this name in every region and account.",
        )
    )
