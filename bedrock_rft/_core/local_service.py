"""Recognise the local service, which trains no model, by its ids."""

from __future__ import annotations

REHEARSAL = "a rehearsal on the local service: no model was trained and nothing is billed"
ANSWERS = "the local service or a rehearsal, and not a model, gave these answers"


def is_local(identifier: str) -> bool:
    """Return whether the id of a file, job, checkpoint or model is one of the local service's."""
    return identifier.startswith("local-")
