"""IAM policies for reinforcement fine-tuning, each as narrow as its purpose allows.

Action names and resource types follow AWS's service authorization reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

from bedrock_rft._auth.endpoint import check_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._policies.arns import (
    check_account,
    check_boundary,
    function_arns,
    log_group_arn,
    model_arn,
    partition,
    profile_arn,
    project_arn,
    resolve_account,
    role_arn,
)
from bedrock_rft.access._policies.policy import Condition, Policy, Statement, Texts
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.arn import LambdaArn
from bedrock_rft.types.iam_actions import BEARER, FILES, INFERENCE, JOBS, MODELS

_MODEL = re.compile(r"[A-Za-z0-9*?][A-Za-z0-9.:*?_-]{0,255}", re.ASCII)


def caller_policy(
    region: str,
    account: str | None = None,
    *,
    reward: str | None = None,
    project: str | None = None,
    models: Sequence[str] | str = (),
    api_key: bool | Literal["short-term"] = False,
) -> Policy:
    """Return the policy for an identity that uploads files, runs jobs and uses models.

    Args:
        region: AWS region of the jobs.
        account: account number, 12 digits. Default: the account of the reward function.
        reward: ARN of the reward function. The service invokes it with the permissions of the job's creator.
        project: id of the Bedrock project, or `*` for any. Default: the default project.
        models: models that may be trained; `*` and `?` are wildcards. Default: all.
        api_key: True if requests use a Bedrock API key; `short-term` allows short-term keys only.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    resource = (project_arn(region, resolve_account(account, reward), project),)
    condition = model_condition(models)
    creation = f"Start training jobs{', of these models only' if condition else ''}."
    return _policy(
        _statement("Files", FILES, resource, "Upload, read, list and delete datasets."),
        _statement("CreateJobs", JOBS[:1], resource, creation, condition),
        _statement("Jobs", JOBS[1:], resource, "Read, list and cancel jobs; read their events and checkpoints."),
        _statement("Inference", (INFERENCE, *MODELS[:2]), resource, "List models, and request completions of them."),
        *_key_statements(api_key),
        *(invoke_policy(reward).statement if reward is not None else ()),
    )


def model_condition(models: Sequence[str] | str) -> Condition:
    """Return the condition that limits jobs to these models, empty without models, or raise for an invalid id."""
    names = (models,) if isinstance(models, str) else tuple(models)
    for name in names:
        if not isinstance(name, str) or not _MODEL.fullmatch(name):
            raise ConfigurationError(
                f"models: {sanitize_line(repr(name), 80)} is not the id of a model. Example: 'openai.gpt-oss-20b'."
            )
    operator = "StringLike" if any(set(name) & {"*", "?"} for name in names) else "StringEquals"
    return {operator: {"bedrock-mantle:Model": names}} if names else {}


def invoke_policy(reward: str) -> Policy:
    """Return the policy for an identity that invokes a reward function, through a job or a check.

    The policy names the function with and without a qualifier, so that its next version needs no new policy.

    Raises:
        ConfigurationError: `reward` is not the ARN of a Lambda function.
    """
    reason = "Invoke this reward function, at any version."
    return _policy(_statement("InvokeReward", ("lambda:InvokeFunction",), function_arns(reward), reason))


def watcher_policy(
    region: str, account: str, *, project: str | None = None, api_key: bool | Literal["short-term"] = False
) -> Policy:
    """Return a read-only policy for jobs with their events and checkpoints, and for the names of files and models.

    The policy leaves out `GetFile`, which also reads the content of files.

    Args:
        region: AWS region of the jobs.
        account: account number, 12 digits.
        project: id of the Bedrock project, or `*` for any. Default: the default project.
        api_key: True if requests use a Bedrock API key; `short-term` allows short-term keys only.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    resource = (project_arn(region, check_account(account), project),)
    reason = "List files and models without reading the content of a file."
    return _policy(
        _statement("WatchJobs", JOBS[1:3], resource, "Read and list jobs; read their events and checkpoints."),
        _statement("SeeNames", (FILES[2], *MODELS[:2]), resource, reason),
        *_key_statements(api_key),
    )


def doctor_policy(
    region: str,
    account: str | None = None,
    *,
    reward: str | None = None,
    project: str | None = None,
    api_key: bool | Literal["short-term"] = False,
) -> Policy:
    """Return the read-only policy for an identity that runs the doctor. Without it, results are `unknown`.

    The policy allows reading every role of the account, because the roles of the caller and of the function are not
    known beforehand.

    Args:
        region: AWS region of the jobs.
        account: account number, 12 digits. Default: the account of the reward function.
        reward: ARN of the reward function. Default: every function of the account.
        project: as for `caller_policy`.
        api_key: as for `caller_policy`.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    number = resolve_account(account, reward)
    place = f"arn:{partition(region)}"
    functions = function_arns(reward) if reward is not None else (f"{place}:lambda:{region}:{number}:function:*",)
    names = ("GetFunctionConfiguration", "GetFunctionConcurrency", "GetFunctionUrlConfig", "GetPolicy")
    roles, users = (f"{place}:iam::{number}:role/*",), (f"{place}:iam::{number}:user/*",)
    keys = (f"{place}:kms:{LambdaArn(reward).region if reward is not None else region}:{number}:key/*",)
    profiles = tuple(f"{place}:bedrock:*:{number}:{kind}inference-profile/*" for kind in ("", "application-"))
    simulate = "Simulate the permissions of the caller and of the function's role."
    network = "Read the routes of the function's VPC; these actions accept only the resource '*'."
    routing = "Read the regions of the inference profiles of its judges."
    return _policy(
        _statement("Models", MODELS[1:2], (project_arn(region, number, project),), "List the models."),
        _statement("Simulate", ("iam:SimulatePrincipalPolicy",), (*roles, *users), simulate),
        _statement("ReadRoles", ("iam:GetRole", "iam:ListAttachedRolePolicies"), roles, "Read these roles."),
        _statement("ReadFunction", _actions("lambda", names), functions, "Read the function's settings."),
        _statement("ReadKey", ("kms:DescribeKey",), keys, "Read the state of its KMS key."),
        _statement("ReadNetwork", ("ec2:DescribeVpcEndpoints", "ec2:DescribeRouteTables"), ("*",), network),
        _statement("ReadProfiles", ("bedrock:GetInferenceProfile",), profiles, routing),
        *_key_statements(api_key),
    )


def execution_policy(
    reward: str, *, judges: Sequence[str] = (), record: str | None = None, kms_key: str | None = None
) -> Policy:
    """Return the policy for the reward function's execution role, which writes its log and invokes its judges.

    Args:
        reward: ARN of the reward function.
        judges: ids or ARNs of models or inference profiles in the function's region.
        record: `s3://bucket/prefix` that the function records its rollouts in.
        kms_key: ARN of the KMS key that encrypts the rollouts; by default the bucket's encryption does.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    group, arn = log_group_arn(reward), LambdaArn(reward)
    actions = ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
    logs = _statement("OwnLog", actions, (group, f"{group}:*"), "Write output to the function's own log group.")
    rollouts = _record_statements(arn, record, kms_key) if record is not None else ()
    return _policy(logs, *rollouts, *(judge_policy(judges, arn.region, arn.account).statement if judges else ()))


def _record_statements(arn: LambdaArn, record: str, kms_key: str | None) -> Iterator[Statement]:
    from bedrock_rft.rewards._runtime.rollout_log import RolloutLog

    try:
        log = RolloutLog(record, kms_key=kms_key)
    except ValueError as error:
        raise ConfigurationError(f"record: {error}.") from None
    if log.bucket is None:
        raise ConfigurationError(f"record is {sanitize_line(record, 200)}. Pass s3://bucket/prefix.")
    objects = f"arn:{arn.aws_partition}:s3:::{log.bucket}/{log.prefix}function={arn.name}/*"
    reason = "Store the rollouts that the function scores, with prompts and answers, but not read or delete them."
    yield _statement("Rollouts", ("s3:PutObject",), (objects,), reason)
    if kms_key is not None:
        yield _statement("RolloutKey", ("kms:GenerateDataKey",), (kms_key,), "Encrypt these rollouts with this key.")


def trust_policy(account: str | None = None, *, reward: str | None = None) -> Policy:
    """Return the trust policy for the execution role: only Lambda may assume it, only for this account.

    Args:
        account: account number, 12 digits. Default: the account of the reward function.
        reward: ARN of the reward function, to allow the role for this function only.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    condition: Condition = {"StringEquals": {"aws:SourceAccount": resolve_account(account, reward)}}
    if reward is not None:
        condition = {**condition, "ArnLike": {"aws:SourceArn": function_arns(reward)}}
    reason = f"Only Lambda assumes this role, and only for {'this function' if reward else 'this account'}."
    principal = {"Service": "lambda.amazonaws.com"}
    action = ("sts:AssumeRole",)
    sid = "LambdaOnly"
    return _policy(Statement(sid=sid, principal=principal, action=action, condition=condition, reason=reason))


def deployer_policy(
    reward: str, *, role: str, permissions_boundary: str | None = None, bucket: str | None = None
) -> Policy:
    """Return the policy for an identity that deploys a reward function and its execution role.

    Args:
        reward: ARN that the function has or will have.
        role: name or ARN of its execution role.
        permissions_boundary: ARN of the permissions boundary that the role must have. Without that boundary the role
            can then neither be created nor get a policy.
        bucket: name of the S3 bucket through which large packages go, as `client.rewards.deploy` takes it.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    roles, functions = (role_arn(role, reward),), function_arns(reward)
    boundary_actions: Texts = (
        "iam:CreateRole",
        "iam:PutRolePolicy",
    )  # the actions that support iam:PermissionsBoundary
    boundary: Condition = {}
    if permissions_boundary is not None:
        boundary_actions = (*boundary_actions, "iam:PutRolePermissionsBoundary")
        boundary = {"StringEquals": {"iam:PermissionsBoundary": check_boundary(permissions_boundary)}}
    role_actions = (*(() if boundary else boundary_actions), *_actions("iam", _CHANGE_ROLE))
    changes = "Create, update and delete the function's own execution role."
    statements = [
        _statement("Deploy", _actions("lambda", _DEPLOY), functions, "Create, publish and delete the function."),
        _statement("Check", ("lambda:InvokeFunction",), functions, "Invoke the function to check it."),
        _statement("ReadLog", ("logs:FilterLogEvents",), (f"{log_group_arn(reward)}:*",), "Read the function's log."),
        _statement("Role", role_actions, roles, changes),
    ]
    if boundary:
        reason = "Create the role and write its policy only with this permissions boundary."
        statements.append(_statement("RoleWithin", boundary_actions, roles, reason, boundary))
    if bucket is not None:
        objects = (f"arn:{LambdaArn(reward).aws_partition}:s3:::{bucket}/{OBJECT_PREFIX}{LambdaArn(reward).name}/*",)
        reason = "Upload packages that are too large for a request, for Lambda to read."
        statements.append(_statement("Packages", ("s3:PutObject", "s3:GetObject"), objects, reason))
    pass_condition: Condition = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    reason = "Pass the role to Lambda and to no other service."
    return _policy(*statements, _statement("PassRole", ("iam:PassRole",), roles, reason, pass_condition))


OBJECT_PREFIX = "bedrock-rft/"
"""The beginning of the keys of packages in S3."""

_DEPLOY = (
    "CreateFunction", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "TagResource",
    "UntagResource", "GetFunction", "GetFunctionConfiguration", "ListVersionsByFunction", "ListAliases", "ListTags",
    "DeleteFunction",
)  # fmt: skip
_CHANGE_ROLE = (
    "UpdateAssumeRolePolicy", "TagRole", "UntagRole", "DeleteRolePolicy", "DeleteRole", "GetRole", "GetRolePolicy",
    "ListRolePolicies", "ListAttachedRolePolicies",
)  # fmt: skip


def documented_invoke_policy(function: str) -> Policy:
    """Return AWS's documented example: a function of this name in every account and region, without its versions.

    The example is wider than a job needs, and does not cover the ARN of a version; `invoke_policy` names one function
    with its versions.
    """
    reason = "AWS's example: invoke a function of this name in every region and account."
    resource = (f"arn:aws:lambda:*:*:function:{function}",)
    return _policy(Statement(action=("lambda:InvokeFunction",), resource=resource, reason=reason))


def _key_statements(api_key: object) -> tuple[Statement, ...]:
    """Return the statement that requests with an API key need in addition. Its action supports no resource."""
    if api_key is not True and api_key is not False and api_key != "short-term":
        raise ConfigurationError(
            f"api_key is {sanitize_line(repr(api_key), 40)}. Pass True for any API key, 'short-term' for short-term "
            "keys only, or False."
        )
    if not api_key:
        return ()
    short = api_key == "short-term"
    reason = f"Use a {'short-term ' if short else ''}API key; the action supports no resource but '*'."
    condition: Condition = {"StringEquals": {"bedrock-mantle:BearerTokenType": "SHORT_TERM"}} if short else {}
    return (_statement("ApiKey", (BEARER,), ("*",), reason, condition),)


def _statement(sid: str, action: Texts, resource: Texts, reason: str, condition: Condition | None = None) -> Statement:
    return Statement(sid=sid, action=action, resource=resource, condition=condition or {}, reason=reason)


def _actions(service: str, names: Sequence[str]) -> Texts:
    return tuple(f"{service}:{name}" for name in names)


def _policy(*statements: Statement) -> Policy:
    return Policy(statement=statements)


INVOKE = "bedrock:InvokeModel"

# Cross-region inference profiles put a geography before the model id.
_PROFILE = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.(?P<model>.+)", re.ASCII)
_JUDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,255}", re.ASCII)
_PROFILE_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):(?P<account>([0-9]{12})?):(application-)?inference-profile/"
    r"(?P<id>[\x21-\x7e]+)",
    re.ASCII,
)
_OTHER = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:[a-z-]+/[\x21-\x7e]+", re.ASCII)


def judge_policy(models: Sequence[str], region: str, account: str | None = None) -> Policy:
    """Return the policy to invoke these judge models only. The action covers Converse as well.

    An inference profile also needs its model in every region that it may route to; the policy allows the model through
    the profile only.

    Args:
        models: ids or ARNs of models or inference profiles; the ARN of a profile may leave out its account.
        region: AWS region from which the models are invoked.
        account: account number, 12 digits; needed for inference profiles.

    Raises:
        ConfigurationError: an argument is invalid.
    """
    check_region(region, "region")
    if isinstance(models, str) or not models:
        raise ConfigurationError(
            "models is empty or a single text. Pass a list of model ids: ['amazon.nova-lite-v1:0']."
        )
    model_arns: list[str] = []
    profiles: dict[str, str] = {}  # each with its model
    for model in models:
        arn = _PROFILE_ARN.fullmatch(model)
        profile_match = _PROFILE.fullmatch(arn["id"] if arn else model)
        if arn is not None or profile_match is not None:
            place, profile = (arn["region"], arn["id"]) if arn else (region, model)
            full_arn = model if arn and arn["account"] else profile_arn(place, check_account(account), profile)
            # An application profile does not name its model.
            profiles[full_arn] = model_arn(region, profile_match["model"] if profile_match else "*", anywhere=True)
        elif _OTHER.fullmatch(model):
            model_arns.append(model)
        elif _JUDGE.fullmatch(model):
            model_arns.append(model_arn(region, model))
        else:
            raise ConfigurationError(
                f"models: {sanitize_line(repr(model), 80)} is neither the id nor the ARN of a Bedrock model. Example: "
                "'amazon.nova-lite-v1:0'."
            )
    action = (INVOKE,)
    statements: list[Statement] = []
    if model_arns:
        statements.append(_statement("Judges", action, tuple(model_arns), "Invoke these judge models."))
    if profiles:
        reason = "Invoke judge models through these inference profiles."
        statements.append(_statement("JudgeProfiles", action, tuple(profiles), reason))
        reason = "A profile chooses the region, so its model is allowed everywhere, only through the profile."
        condition: Condition = {"ArnEquals": {"bedrock:InferenceProfileArn": tuple(profiles)}}
        profile_models = tuple(dict.fromkeys(profiles.values()))
        statements.append(_statement("ModelsOfProfiles", action, profile_models, reason, condition))
    return _policy(*statements)


def documented_judge_policy() -> Policy:
    """Return AWS's documented example: every foundation model in every region.

    The example is wider than a judge needs; `judge_policy` names the models.
    """
    reason = "AWS's example: invoke every foundation model, in every region."
    resource = ("arn:aws:bedrock:*:*:foundation-model/*",)
    return _policy(Statement(action=(INVOKE,), resource=resource, reason=reason))
