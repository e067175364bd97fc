"""Models that a reward asks for their opinion: which of them its function may invoke, and nothing else."""

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

# Of inference profiles that spread calls over regions, the part before the model's own id.
_PROFILE = re.compile(r"(us|us-gov|eu|apac|jp|au|ca|global)\.(?P<model>.+)", re.ASCII)
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]{0,255}", re.ASCII)
_PROFILE_ARN = re.compile(
    r"arn:aws[a-z-]*:bedrock:(?P<region>[a-z0-9-]+):(?P<account>([0-9]{12})?):(application-)?inference-profile/"
    r"(?P<id>[\x21-\x7e]+)",
    re.ASCII,
)
_OTHER = re.compile(r"arn:aws[a-z-]*:bedrock:[a-z0-9-]+:([0-9]{12})?:[a-z-]+/[\x21-\x7e]+", re.ASCII)


def judge_policy(models: Sequence[str], region: str, account: str | None = None) -> Policy:
    """For a reward that asks models: exactly these. Converse is allowed by the same action.

    An inference profile needs its models as well, in whichever region it sends a call to: they are allowed through
    the profile alone.

    Args:
        models: ids of models or inference profiles, or ARNs; a profile's may leave out its account.
        region: where they are asked.
        account: the 12 digits, for inference profiles.

    Raises:
        ConfigurationError: an argument makes no sense.
    """
    check_region(region, "region")
    if isinstance(models, str) or not models:
        raise ConfigurationError("models takes a list of model ids, at least one: ['amazon.nova-lite-v1:0'].")
    direct: list[str] = []
    profiles: list[str] = []
    behind: list[str] = []
    for model in models:
        if (arn := _PROFILE_ARN.fullmatch(model)) is not None:
            named = _PROFILE.fullmatch(arn["id"])  # one of the account's own does not say which model is behind it
            whole = model if arn["account"] else profile_arn(arn["region"], check_account(account), arn["id"])
            profiles.append(whole)
            behind.append(model_arn(region, named["model"] if named else "*", anywhere=True))
        elif (match := _PROFILE.fullmatch(model)) is not None:
            profiles.append(profile_arn(region, check_account(account), model))
            behind.append(model_arn(region, match["model"], anywhere=True))
        elif _OTHER.fullmatch(model):
            direct.append(model)
        elif _MODEL.fullmatch(model):
            direct.append(model_arn(region, model))
        else:
            raise ConfigurationError(
                f"{sanitize_line(repr(model), 80)} is neither the id nor the ARN of a model on Bedrock."
            )
    action = (INVOKE,)
    found: list[Statement] = []
    if direct:
        why = "The reward asks these models."
        found.append(Statement(sid="Judges", action=action, resource=tuple(direct), why=why))
    if profiles:
        why = "The reward asks models through these inference profiles."
        found.append(Statement(sid="JudgeProfiles", action=action, resource=tuple(profiles), why=why))
        found.append(
            Statement(
                sid="ModelsOfProfiles",
                action=action,
                resource=tuple(dict.fromkeys(behind)),
                condition={"ArnEquals": {"bedrock:InferenceProfileArn": tuple(profiles)}},
                why="A profile picks the region, so its models are allowed in each, through the profile alone.",
            )
        )
    return Policy(statement=tuple(found))


def documented_judge_policy() -> Policy:
    """AWS's own example for judges, exactly: every foundation model in every region.

    It is wider than a judge needs: `judge_policy` names the models.
    """
    statement = Statement(
        action=(INVOKE,),
        resource=("arn:aws:bedrock:*:*:foundation-model/*",),
        why="AWS's example: every foundation model, in every region.",
    )
    return Policy(statement=(statement,))
