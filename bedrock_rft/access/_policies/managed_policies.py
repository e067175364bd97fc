"""AWS managed policies that concern reinforcement fine-tuning, with the actions they allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.types.iam_actions import BEARER, FILES, INFERENCE, JOBS, MODELS


@dataclass(frozen=True)
class ManagedPolicy(ShortRepr):
    """An AWS managed policy.

    Attributes:
        name: name in the console.
        path: path before the name in its ARN.
        allows: allowed actions that concern reinforcement fine-tuning, with IAM wildcards.
        description: purpose and limits of the policy.
    """

    name: str
    path: str
    allows: tuple[str, ...]
    description: str

    def arn(self, partition: str = "aws") -> str:
        """Return the policy's ARN."""
        return f"arn:{partition}:iam::aws:policy/{self.path}{self.name}"

    def does_allow(self, action: str) -> bool:
        """Return whether the policy allows an action, such as `bedrock-mantle:CreateFile`, on any resource."""
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in self.allows)

    def missing(self, actions: Sequence[str] = (*FILES, *JOBS, INFERENCE, *MODELS)) -> tuple[str, ...]:
        """Return those of the actions, by default of `caller_policy`, that the policy does not allow."""
        return tuple(action for action in actions if not self.does_allow(action))

    def __str__(self) -> str:
        return f"{self.name}: {self.description}"


_READ = ("bedrock-mantle:Get*", "bedrock-mantle:List*")

MANAGED_POLICIES: tuple[ManagedPolicy, ...] = (
    ManagedPolicy(
        "AmazonBedrockMantleFullAccess",
        "",
        ("bedrock-mantle:*",),
        "Allows every operation in every project; the only managed policy that can create files and jobs. It does not "
        "allow to invoke the reward function.",
    ),
    ManagedPolicy(
        "AmazonBedrockMantleInferenceAccess",
        "",
        (*_READ, INFERENCE, BEARER),
        "Requests completions and reads everything, also with API keys. It cannot create or delete files, or create or "
        "cancel jobs.",
    ),
    ManagedPolicy(
        "AmazonBedrockMantleReadOnly",
        "",
        (*_READ, BEARER),
        "Reads everything, including the content of files. It cannot request completions.",
    ),
    ManagedPolicy(
        "AmazonBedrockLimitedAccess",
        "",
        (*_READ, INFERENCE, BEARER, "bedrock:Get*", "bedrock:List*", "bedrock:CallWithBearerToken",
         "bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"),
        "The default policy of a long-term API key: it requests completions and cannot create a file or a job. On an "
        "execution role it allows a judge to invoke any model.",
    ),
    ManagedPolicy(
        "AWSLambdaRole",
        "service-role/",
        ("lambda:InvokeFunction",),
        "Invokes every function of the account. `invoke_policy` names one function.",
    ),
    ManagedPolicy(
        "AWSLambdaBasicExecutionRole",
        "service-role/",
        ("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"),
        "Writes to every log group of the account. `execution_policy` names the function's own log group.",
    ),
)  # fmt: skip
"""AWS managed policies that concern reinforcement fine-tuning."""
