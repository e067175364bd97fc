"""Lambda handlers of a pipeline for AWS Step Functions: submit, poll and collect.

Deploy three functions with this file and the package, one for each handler, and start the state machine of
`state_machine.json` with an event such as

    {"name": "run-1", "model": "openai.gpt-oss-20b", "training_file": "file-…", "reward": "arn:aws:lambda:…"}

Their role needs the policy that `bedrock-rft policy caller` prints. No function waits: the state machine does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bedrock_rft import Client, pipelines


def submit(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Create the job, or find it by its name."""
    del context
    with Client() as client:
        return pipelines.submit(client, event)


def poll(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Read the state of the job."""
    del context
    with Client() as client:
        return pipelines.poll(client, event)


def collect(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Collect the record and the best checkpoint."""
    del context
    with Client() as client:
        return pipelines.collect(client, event)
