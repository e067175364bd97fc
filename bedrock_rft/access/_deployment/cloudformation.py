"""Write a deployment as a CloudFormation template, for people who may not create roles themselves."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from bedrock_rft.access._deployment.names import LOG_GROUPS, POLICY, ROLE_PATH
from bedrock_rft.access._deployment.recording import merge_variables

if TYPE_CHECKING:
    from bedrock_rft.access._deployment.function import DesiredFunction
    from bedrock_rft.access._deployment.role import DesiredRole

_DIGEST = 12


def build_template(function: DesiredFunction, role: DesiredRole | None) -> dict[str, Any]:
    """Return the template of a function, its log group, a version, and its role unless the role is the user's."""
    # The logical name of the version has the hash of the code, so changed code publishes a new version; earlier ones
    # stay.
    package, tags = function.package, [{"Key": key, "Value": value} for key, value in sorted(function.tags.items())]
    variables = merge_variables({}, package.record, package.code_sha256)
    digest = base64.b64decode(package.code_sha256).hex()
    resources: dict[str, Any] = {
        "LogGroup": {
            "Type": "AWS::Logs::LogGroup",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {"LogGroupName": f"{LOG_GROUPS}{function.name}"},
        },
        "Function": {
            "Type": "AWS::Lambda::Function",
            "DependsOn": ["LogGroup"],
            "Properties": {
                "FunctionName": function.name,
                "Handler": package.handler,
                "Runtime": package.runtime,
                "Architectures": [package.architecture],
                "Timeout": function.timeout,
                "MemorySize": function.memory,
                "Role": {"Fn::GetAtt": ["Role", "Arn"]} if role is not None else function.role_arn,
                "Code": {"S3Bucket": {"Ref": "Bucket"}, "S3Key": {"Ref": "Key"}},
                "Tags": tags,
                **({"Environment": {"Variables": variables}} if variables else {}),
            },
        },
        f"Version{digest[:_DIGEST]}": {
            "Type": "AWS::Lambda::Version",
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {"FunctionName": {"Ref": "Function"}, "CodeSha256": package.code_sha256},
        },
    }
    if role is not None:
        boundary = {"PermissionsBoundary": role.boundary} if role.boundary else {}
        resources["Role"] = {
            "Type": "AWS::IAM::Role",
            "Properties": {
                "RoleName": role.name,
                "Path": ROLE_PATH,
                "AssumeRolePolicyDocument": role.trust.document(),
                "Policies": [{"PolicyName": POLICY, "PolicyDocument": role.permissions.document()}],
                "Tags": tags,
                **boundary,
            },
        }
    bucket = {"Default": function.bucket} if function.bucket else {}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"The reward function {function.name} for reinforcement fine-tuning on Amazon Bedrock",
        "Parameters": {
            "Bucket": {"Type": "String", "Description": "The bucket of the zip, in the same region", **bucket},
            "Key": {
                "Type": "String",
                "Description": "The key of the zip",
                "Default": f"bedrock-rft/{function.name}/{digest}.zip",
            },
        },
        "Resources": resources,
        "Outputs": {
            "RewardArn": {
                "Description": "The ARN to pass as reward",
                "Value": {"Ref": f"Version{digest[:_DIGEST]}"},
            }
        },
    }
