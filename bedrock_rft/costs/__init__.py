"""Prices, estimates and costs of runs: as ranges, each with its basis.

`client.estimate` returns an `Estimate` before a run, and `client.jobs.metrics(job).cost()` a `Cost` while the job runs
and afterwards. Prices are published figures that may be out of date; `Prices.load` reads other prices from a file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft.costs._estimate import Estimate, Item
    from bedrock_rft.costs._inventory import Asset, Inventory
    from bedrock_rft.costs._job_cost import Cost
    from bedrock_rft.costs._pace import Pace
    from bedrock_rft.costs._prices import Price, Prices
    from bedrock_rft.costs._ranges import Range

__all__ = ["Asset", "Cost", "Estimate", "Inventory", "Item", "Pace", "Price", "Prices", "Range"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_estimate": ("Estimate", "Item"),
        "_inventory": ("Asset", "Inventory"),
        "_job_cost": ("Cost",),
        "_pace": ("Pace",),
        "_prices": ("Price", "Prices"),
        "_ranges": ("Range",),
    },
)
