"""Recorded rollouts: the prompts, answers and scores that a reward function recorded while a job ran.

`rollouts.read("s3://bucket/prefix")`, or a folder, iterates over `Record` in time order. The modules behind the names
are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft.rollouts._groups import Group
    from bedrock_rft.rollouts._read import Rollouts, read
    from bedrock_rft.rollouts._record import Problem, Record
    from bedrock_rft.rollouts._report import RolloutReport

__all__ = ["Group", "Problem", "Record", "RolloutReport", "Rollouts", "read"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_groups": ("Group",),
        "_read": ("Rollouts", "read"),
        "_record": ("Problem", "Record"),
        "_report": ("RolloutReport",),
    },
)
