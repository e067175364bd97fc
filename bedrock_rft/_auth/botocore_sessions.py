"""botocore sessions whose profile is chosen here, so that a stale AWS_PROFILE affects nothing that does not use it."""

from __future__ import annotations

import os
from typing import Any

# botocore's own order.
_VARIABLES = ("AWS_DEFAULT_PROFILE", "AWS_PROFILE")


def environment_profile() -> tuple[str, str] | None:
    """Return the variable that names a profile, and the profile. An empty variable counts as not set."""
    for variable in _VARIABLES:
        name = os.environ.get(variable, "").strip()
        if name:
            return variable, name
    return None


def existing_profile() -> str | None:
    """Return the profile that the environment names, if it exists."""
    named = environment_profile()
    if named is None or named[1] not in new_session().available_profiles:
        return None
    return named[1]


def new_session(profile: str | None = None) -> Any:
    """Return a botocore session with a profile, or with the default one. The environment does not choose it."""
    from botocore.session import Session

    return Session(profile=profile, session_vars={"profile": (None, None, None, None)})
