"""IAM actions of the service's operations, declared once for error messages, policies and the doctor.

Source: AWS service authorization reference, Amazon Bedrock Mantle.
"""

from __future__ import annotations

import re

SERVICE_PREFIX = "bedrock-mantle"

# HTTP method, regular expression for the whole path, and IAM action of each operation.
_FILES = (
    ("POST", r"/files", "CreateFile"),
    ("GET", r"/files/.*", "GetFile"),
    ("GET", r"/files", "ListFiles"),
    ("DELETE", r"/files/.*", "DeleteFile"),
)
_JOBS = (
    ("POST", r"/fine_tuning/jobs", "CreateFineTuningJob"),
    ("GET", r"/fine_tuning/jobs/.*", "GetFineTuningJob"),
    ("GET", r"/fine_tuning/jobs", "ListFineTuningJobs"),
    ("POST", r"/fine_tuning/jobs/[^/]*/cancel", "CancelFineTuningJob"),
)
_MODELS = (("GET", r"/models/.*", "GetModel"), ("GET", r"/models", "ListModels"))
_INFERENCE = ("POST", r"/(chat/completions|responses)", "CreateInference")

FILES = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in _FILES)
JOBS = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in _JOBS)
MODELS = tuple(f"{SERVICE_PREFIX}:{action}" for _, _, action in _MODELS)
INFERENCE = f"{SERVICE_PREFIX}:{_INFERENCE[2]}"
BEARER = f"{SERVICE_PREFIX}:CallWithBearerToken"
"""Needed by every request with an API key, in addition to the operation's own action."""


def action_for(method: str, path: str) -> str | None:
    """Return the IAM action that a request needs; None for an unknown operation."""
    for operation, route, action in (*_FILES, *_JOBS, *_MODELS, _INFERENCE):
        if operation == method and re.fullmatch(route, path):
            return f"{SERVICE_PREFIX}:{action}"
    return None
