"""Models of the endpoint."""

from __future__ import annotations

from bedrock_rft.types._payload import Id, Payload

OPERATIONS = (("GET", r"/models/.*", "GetModel"), ("GET", r"/models", "ListModels"))
"""HTTP method, regular expression for the whole path, and IAM action of each operation."""

KNOWN_MODELS = frozenset({"openai.gpt-oss-20b", "qwen.qwen3-32b"})
"""Models documented for reinforcement fine-tuning. The list will grow, so other names only give a warning."""


class Model(Payload):
    """A model (`GET /models/{id}`)."""

    id: Id
    object: str = "model"
    created: int | None = None
    """Unix seconds."""
    owned_by: str | None = None
