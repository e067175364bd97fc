"""What a deployment made, taken away again, and only that."""

from __future__ import annotations

from dataclasses import replace

from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.function import foreign_function, look_at_function, removal
from bedrock_rft.access._deployment.names import ROLE_PATH, check_name, is_ours, role_name
from bedrock_rft.access._deployment.plan import Plan, Step, Work
from bedrock_rft.access._deployment.role import deletion, look_at_role
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.arn import LambdaArn

__all__ = ["destroy", "named"]


def named(reward: object, region: str) -> str:
    """The name of a deployment that is given as itself, by its ARN or by its name.

    Raises:
        ConfigurationError: it is none of these, or a function of another region.
    """
    text = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    if not isinstance(text, str) or not text.startswith("arn:"):
        return check_name(text)
    arn = LambdaArn(text)
    if arn.region != region:
        raise ConfigurationError(f"{arn} is in {arn.region}, this client in {region}. Make a client for that region.")
    return check_name(arn.name)


def destroy(account: Account, name: str, *, plan: bool) -> Plan:
    """Take away a function, its versions, its role and its policy, where they were made by deploying this name.

    What is not there any more is no error, so it may be run again at any time.

    Raises:
        APIError: a call failed.
        ConfigurationError: the function was not made here, or its role was given more policies.
    """
    works = _works(account, name)
    drawn = Plan(f"Destroy {name}", tuple(work.step for work in works), facts=account.facts)
    if plan:
        return drawn
    for work in works:
        if work.do is not None:
            work.do()
    return replace(drawn, done=True)


def _works(account: Account, name: str) -> list[Work]:
    arn, role = account.function_arn(name), role_name(name, account.region)
    account.about(arn, account.role_arn(ROLE_PATH, role))
    function = look_at_function(account, name, versions=False)
    if function is not None and not is_ours(function.tags, name):
        raise foreign_function(arn, name, "Delete it yourself, if that is what you want.")
    seen = look_at_role(account, role)
    works = removal(account, name) if function is not None else [Work(Step("leave", "function", arn, ("not there",)))]
    if seen is None:
        works.append(Work(Step("leave", "role", account.role_arn(ROLE_PATH, role), ("not there",))))
    elif is_ours(seen.tags, name):
        works += deletion(account, role, seen)
    else:
        works.append(Work(Step("leave", "role", seen.arn, ("not made by deploy",))))
    return works
