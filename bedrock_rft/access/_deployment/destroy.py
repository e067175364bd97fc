"""Delete the function and the role of a deployment, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from bedrock_rft.access._deployment.account import Account
from bedrock_rft.access._deployment.function import delete_function_steps, find_function, foreign_function
from bedrock_rft.access._deployment.names import ROLE_PATH, check_name, is_ours, role_name
from bedrock_rft.access._deployment.plan import Plan, PlannedStep, Step
from bedrock_rft.access._deployment.role import delete_role_steps, find_role
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.types.arn import LambdaArn

__all__ = ["deployment_name", "destroy", "plan_destruction"]


def deployment_name(reward: object, region: str) -> str:
    """Return the name of a deployment that is given as a deployed reward, an ARN or a name."""
    text = reward if isinstance(reward, str) else getattr(reward, "arn", None)
    if not isinstance(text, str) or not text.startswith("arn:"):
        return check_name(text)
    arn = LambdaArn(text)
    if arn.region != region:
        raise ConfigurationError(
            f"{arn} is in {arn.region}, but this client is in {region}. Make a client for {arn.region}."
        )
    return check_name(arn.name)


def plan_destruction(account: Account, name: str) -> Plan:
    """Return what `destroy` would delete. Nothing is changed. Raises as `destroy`."""
    return _plan(account, name, _planned_steps(account, name))


def destroy(account: Account, name: str) -> Plan:
    """Delete a function, its versions, its role and the role's policy, if they were created by deploying this name.

    Missing parts are no error, so it can be repeated at any time.
    """
    planned = _planned_steps(account, name)
    for step in planned:
        if step.run is not None:
            step.run()
    return replace(_plan(account, name, planned), done=True)


def _plan(account: Account, name: str, planned: list[PlannedStep]) -> Plan:
    return Plan(f"Destroy {name}", tuple(step.step for step in planned), facts=account.facts)


def _planned_steps(account: Account, name: str) -> list[PlannedStep]:
    arn, role = account.function_arn(name), role_name(name, account.region)
    account.set_subject(arn, account.role_arn(ROLE_PATH, role))
    function = find_function(account, name, versions=False)
    if function is not None and not is_ours(function.tags, name):
        raise foreign_function(arn, name, "Delete it yourself if you want it deleted.")
    found = find_role(account, role)
    if function is not None:
        planned = delete_function_steps(account, name)
    else:
        planned = [PlannedStep(Step("leave", "function", arn, ("does not exist",)))]
    if found is None:
        planned.append(PlannedStep(Step("leave", "role", account.role_arn(ROLE_PATH, role), ("does not exist",))))
    elif is_ours(found.tags, name):
        planned += delete_role_steps(account, role, found)
    else:
        planned.append(PlannedStep(Step("leave", "role", found.arn, ("not created by deploy",))))
    return planned
