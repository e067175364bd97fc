"""IAM actions of the service's operations, for error messages, policies and the doctor.

The module of a payload declares the operations on it and their actions, as `OPERATIONS`.

Source: AWS service authorization reference, Amazon Bedrock Mantle.
"""

from __future__ import annotations

import re

from bedrock_rft.types import files, jobs, models

SERVICE_PREFIX = "bedrock-mantle"

_INFERENCE = ("POST", r"/(chat/completions|responses)", "CreateInference")

FILES = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in files.OPERATIONS)
JOBS = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in jobs.OPERATIONS)
MODELS = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in models.OPERATIONS)
INFERENCE = f"{SERVICE_PREFIX}:{_INFERENCE[2]}"
BEARER = f"{SERVICE_PREFIX}:CallWithBearerToken"
"""The action that every request with an API key needs, in addition to the action of the operation."""


def action_for(method: str, path: str) -> str | None:
    """Return the IAM action that a request needs; None for an unknown operation."""
    for operation, route, action in (*files.OPERATIONS, *jobs.OPERATIONS, *models.OPERATIONS, _INFERENCE):
        if operation == method and re.fullmatch(route, path):
            return f"{SERVICE_PREFIX}:{action}"
    return None
