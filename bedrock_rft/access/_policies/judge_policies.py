"""IAM policies for rewards that invoke judge models."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bedrock_rft._auth.endpoint import check_region
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._policies.arns import check_account, model_arn, profile_arn
from bedrock_rft.access._policies.policy import Policy, Statement
from bedrock_rft.errors import ConfigurationError

__all__ = ["INVOKE", "documented_judge_policy", "judge_policy"]

INVOKE = "bedrock:InvokeModel"

# Cross-region inference profiles put a geography before the model id.
_PROFILE = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.(?P<model>.+)", re.ASCII)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,255}", re.ASCII)
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
    direct: list[str] = []
    profiles: list[str] = []
    profile_models: list[str] = []
    for model in models:
        if (arn := _PROFILE_ARN.fullmatch(model)) is not None:
            named = _PROFILE.fullmatch(arn["id"])  # an application profile does not name its model
            full_arn = model if arn["account"] else profile_arn(arn["region"], check_account(account), arn["id"])
            profiles.append(full_arn)
            profile_models.append(model_arn(region, named["model"] if named else "*", anywhere=True))
        elif (match := _PROFILE.fullmatch(model)) is not None:
            profiles.append(profile_arn(region, check_account(account), model))
            profile_models.append(model_arn(region, match["model"], anywhere=True))
        elif _OTHER.fullmatch(model):
            direct.append(model)
        elif _MODEL.fullmatch(model):
            direct.append(model_arn(region, model))
        else:
            raise ConfigurationError(
                f"models: {sanitize_line(repr(model), 80)} is neither the id nor the ARN of a Bedrock model. Example: "
                "'amazon.nova-lite-v1:0'."
            )
    action = (INVOKE,)
    statements: list[Statement] = []
    if direct:
        reason = "Invoke these judge models."
        statements.append(Statement(sid="Judges", action=action, resource=tuple(direct), reason=reason))
    if profiles:
        reason = "Invoke judge models through these inference profiles."
        statements.append(Statement(sid="JudgeProfiles", action=action, resource=tuple(profiles), reason=reason))
        statements.append(
            Statement(
                sid="ModelsOfProfiles",
                action=action,
                resource=tuple(dict.fromkeys(profile_models)),
                condition={"ArnEquals": {"bedrock:InferenceProfileArn": tuple(profiles)}},
                reason="A profile chooses the region, so its model is allowed everywhere, only through the profile.",
            )
        )
    return Policy(statement=tuple(statements))


def documented_judge_policy() -> Policy:
    """Return AWS's documented example: every foundation model in every region.

    It is wider than a judge needs; `judge_policy` names the models.
    """
    statement = Statement(
        action=(INVOKE,),
        resource=("arn:aws:bedrock:*:*:foundation-model/*",),
        reason="AWS's example: invoke every foundation model, in every region.",
    )
    return Policy(statement=(statement,))
