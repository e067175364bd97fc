"""Rehearse a run on this machine before it is billed.

`rehearse(dataset, reward)`, or `client.rehearse`, returns a `Rehearsal`: problems of the data and the reward, the
reward curve of a job on the local service, and the load on the reward function. Names are loaded when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft.rehearsal._figures import Curve, Groups, Load
    from bedrock_rft.rehearsal._rehearse import rehearse
    from bedrock_rft.rehearsal._report import Rehearsal

__all__ = ["Curve", "Groups", "Load", "Rehearsal", "rehearse"]

__getattr__, __dir__ = lazy_names(
    __name__, {"_figures": ("Curve", "Groups", "Load"), "_rehearse": ("rehearse",), "_report": ("Rehearsal",)}
)
