"""IAM actions of the service's operations, declared once for error messages, policies and the doctor.

Source: AWS service authorization reference, Amazon Bedrock Mantle.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["BEARER", "FILES", "INFERENCE", "JOBS", "MODELS", "OPERATIONS", "SERVICE_PREFIX", "Operation", "action_for"]

SERVICE_PREFIX = "bedrock-mantle"


@dataclass(frozen=True)
class Operation:
    """An HTTP operation and the IAM action that it needs.

    Attributes:
        method: the HTTP method.
        route: regular expression for the whole path.
        action: the IAM action.
    """

    method: str
    route: str
    action: str


def _operation(method: str, route: str, name: str) -> Operation:
    return Operation(method, route, f"{SERVICE_PREFIX}:{name}")


_CREATE_FILE = _operation("POST", r"/files", "CreateFile")
_GET_FILE = _operation("GET", r"/files/.*", "GetFile")
_LIST_FILES = _operation("GET", r"/files", "ListFiles")
_DELETE_FILE = _operation("DELETE", r"/files/.*", "DeleteFile")
_CREATE_JOB = _operation("POST", r"/fine_tuning/jobs", "CreateFineTuningJob")
_GET_JOB = _operation("GET", r"/fine_tuning/jobs/.*", "GetFineTuningJob")
_LIST_JOBS = _operation("GET", r"/fine_tuning/jobs", "ListFineTuningJobs")
_CANCEL_JOB = _operation("POST", r"/fine_tuning/jobs/[^/]*/cancel", "CancelFineTuningJob")
_GET_MODEL = _operation("GET", r"/models/.*", "GetModel")
_LIST_MODELS = _operation("GET", r"/models", "ListModels")
_CREATE_INFERENCE = _operation("POST", r"/(chat/completions|responses)", "CreateInference")

OPERATIONS = (
    _CREATE_FILE,
    _GET_FILE,
    _LIST_FILES,
    _DELETE_FILE,
    _CREATE_JOB,
    _GET_JOB,
    _LIST_JOBS,
    _CANCEL_JOB,
    _GET_MODEL,
    _LIST_MODELS,
    _CREATE_INFERENCE,
)
FILES = tuple(operation.action for operation in (_CREATE_FILE, _GET_FILE, _LIST_FILES, _DELETE_FILE))
JOBS = tuple(operation.action for operation in (_CREATE_JOB, _GET_JOB, _LIST_JOBS, _CANCEL_JOB))
MODELS = tuple(operation.action for operation in (_GET_MODEL, _LIST_MODELS))
INFERENCE = _CREATE_INFERENCE.action
BEARER = f"{SERVICE_PREFIX}:CallWithBearerToken"
"""Needed by every request with an API key, in addition to the operation's own action."""


def action_for(method: str, path: str) -> str | None:
    """Return the IAM action that a request needs; None for an unknown operation."""
    for operation in OPERATIONS:
        if operation.method == method and re.fullmatch(operation.route, path):
            return operation.action
    return None
