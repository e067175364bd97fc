"""Policies that AWS manages: what they allow of what reinforcement fine-tuning needs, and what they do not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bedrock_rft.access._policies.rft_policies import BEARER, FILES, INFERENCE, JOBS, MODELS

__all__ = ["MANAGED_POLICIES", "ManagedPolicy"]


@dataclass(frozen=True)
class ManagedPolicy:
    """A policy that AWS manages.

    Attributes:
        name: as the console shows it.
        path: what stands before the name in its ARN.
        allows: the actions that matter here, with IAM's wildcards.
        says: what it is for, and what it is not enough for.
    """

    name: str
    path: str
    allows: tuple[str, ...]
    says: str

    def arn(self, partition: str = "aws") -> str:
        """Of the policy, to attach it by."""
        return f"arn:{partition}:iam::aws:policy/{self.path}{self.name}"

    def does_allow(self, action: str) -> bool:
        """Whether it allows an action, such as `bedrock-mantle:CreateFile`, on whatever resource."""
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in self.allows)

    def missing(self, actions: Sequence[str] = (*FILES, *JOBS, INFERENCE, *MODELS)) -> tuple[str, ...]:
        """Those of some actions, a caller's unless others are given, that it does not allow."""
        return tuple(action for action in actions if not self.does_allow(action))

    def __str__(self) -> str:
        return f"{self.name}: {self.says}"


_LOOK = ("bedrock-mantle:Get*", "bedrock-mantle:List*")

MANAGED_POLICIES: tuple[ManagedPolicy, ...] = (
    ManagedPolicy(
        "AmazonBedrockMantleFullAccess",
        "",
        ("bedrock-mantle:*",),
        "Everything the endpoint serves, in every project: the only managed policy that can create files and jobs. "
        "It does not allow the reward function to be invoked.",
    ),
    ManagedPolicy(
        "AmazonBedrockMantleInferenceAccess",
        "",
        (*_LOOK, INFERENCE, BEARER),
        "Asks models and reads everything, with API keys as well. It cannot create, cancel or delete files and jobs.",
    ),
    ManagedPolicy(
        "AmazonBedrockMantleReadOnly",
        "",
        (*_LOOK, BEARER),
        "Reads everything, the content of files included, and asks no model.",
    ),
    ManagedPolicy(
        "AmazonBedrockLimitedAccess",
        "",
        (*_LOOK, INFERENCE, BEARER, "bedrock:Get*", "bedrock:List*", "bedrock:CallWithBearerToken",
         "bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"),
        "What a long-term API key gets by default: it asks models, and cannot create a file or a job. On an execution "
        "role it lets a judge ask any model.",
    ),
    ManagedPolicy(
        "AWSLambdaRole",
        "service-role/",
        ("lambda:InvokeFunction",),
        "Invokes every function of the account. `invoke_policy` names the one.",
    ),
    ManagedPolicy(
        "AWSLambdaBasicExecutionRole",
        "service-role/",
        ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
        "Writes to every log group of the account. `execution_policy` names the function's own.",
    ),
)  # fmt: skip
"""By name, with the actions that matter here."""
