"""Rewards: written as functions of one rollout, checked before a run, and put into a Lambda.

What runs in the Lambda is the standard library only. Each name is loaded when it is first used.
"""

from __future__ import annotations

# What type checkers know by this name; importing `typing` for it would cost a Lambda's cold start.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from bedrock_rft.rewards._function import reward
    from bedrock_rft.rewards._handler import Handler
    from bedrock_rft.rewards._reward import Reward
    from bedrock_rft.rewards._rollout import Rollout
    from bedrock_rft.rewards._score import Score

_WHERE = {
    "_handler": ("Handler",),
    "_function": ("reward",),
    "_reward": ("Reward",),
    "_rollout": ("Rollout",),
    "_score": ("Score",),
}
_MODULE = {name: module for module, names in _WHERE.items() for name in names}

__all__ = ["Handler", "Reward", "Rollout", "Score", "reward"]


def __getattr__(name: str) -> Any:
    """Load a name when it is first used (PEP 562)."""
    module = _MODULE.get(name)
    if module is None:
        raise AttributeError(f"module 'bedrock_rft.rewards' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"bedrock_rft.rewards.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
