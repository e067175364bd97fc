"""The inventory of an account: files, jobs, tuned models, checkpoints and reward functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bedrock_rft._core.findings import JsonReport, wrap
from bedrock_rft._core.local_service import is_local
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.costs._ranges import Range, add, format_money

_DAY = 86_400
_SHOWN = 20  # assets of each kind to print


@dataclass(frozen=True)
class Asset(JsonReport):
    """One resource in the account.

    Attributes:
        kind: `file`, `job`, `model`, `checkpoint` or `function`.
        id: the id or the ARN of the resource.
        name: the name of the file, or the base model; empty if unknown.
        created_at: Unix seconds; None if unknown.
        size: bytes; None if unknown.
        monthly: cost of each month; None if it is not published.
        delete: how to delete the resource; empty if it cannot be deleted.
        note: facts to know before you delete the resource; may be empty.
    """

    kind: str
    id: str
    name: str = ""
    created_at: float | None = None
    size: int | None = None
    monthly: Range | None = None
    delete: str = ""
    note: str = ""

    def age(self, now: float) -> float | None:
        """Return the age of the resource in days at `now` (Unix seconds); None if unknown."""
        return max(0.0, now - self.created_at) / _DAY if self.created_at is not None else None


@dataclass(frozen=True)
class Inventory(JsonReport):
    """Files, jobs, tuned models, checkpoints and functions of an account. Print it, or write it with `to_json`.

    Attributes:
        assets: all resources.
        now: the time of the listing in Unix seconds.
        currency: the currency of all amounts, such as `USD`.
        incomplete: resources that could not be listed, each with the reason.
        basis: the origin of the prices.
    """

    assets: tuple[Asset, ...]
    now: float
    currency: str
    incomplete: tuple[str, ...] = ()
    basis: tuple[str, ...] = ()

    @property
    def monthly(self) -> Range:
        """Return the known cost of each month."""
        return add(asset.monthly for asset in self.assets if asset.monthly is not None)

    @property
    def deletable(self) -> tuple[Asset, ...]:
        """Return the assets that can be deleted and are not known to be needed."""
        return tuple(asset for asset in self.assets if asset.delete and not asset.note.startswith("needed"))

    def of(self, kind: str) -> Sequence[Asset]:
        """Return the assets of a kind; see `Asset.kind`."""
        return tuple(asset for asset in self.assets if asset.kind == kind)

    def to_dict(self) -> dict[str, Any]:
        """Return the inventory as JSON values."""
        assets = [{**asset.to_dict(), "age_days": asset.age(self.now)} for asset in self.assets]
        found = {**super().to_dict(), "assets": assets, "monthly": self.monthly.to_dict()}
        del found["now"]
        return found

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(asset.kind for asset in self.assets))
        counts = ", ".join(f"{len(self.of(kind)):,} {kind}{'s' * (len(self.of(kind)) != 1)}" for kind in kinds)
        money = f"{format_money(self.monthly, self.currency)} a month as far as known"
        if any(is_local(asset.id) for asset in (*self.of("file"), *self.of("job"))):
            money = "on the local service, where nothing is billed"
        lines = [*wrap(f"Inventory: {counts or 'nothing'}; {money}", indent="", next_indent="  ")]
        for kind in kinds:
            found = self.of(kind)
            for asset in found[:_SHOWN]:
                age = asset.age(self.now)
                facts = [
                    sanitize_line(asset.name, 60),
                    f"{age:,.0f} days" if age is not None else "",
                    f"{asset.size:,} bytes" if asset.size is not None else "",
                    f"{format_money(asset.monthly, self.currency)} a month" if asset.monthly is not None else "",
                ]
                shown = ", ".join(filter(None, facts))
                lines += wrap(f"{kind} {sanitize_line(asset.id, 120)}  {'; '.join(filter(None, [shown, asset.note]))}")
                lines += [f"      delete: {sanitize_line(asset.delete, 160)}"] if asset.delete else []
            if len(found) > _SHOWN:
                lines.append(f"  … and {len(found) - _SHOWN:,} more of kind {kind}; see to_dict()")
        lines += [line for each in self.incomplete for line in wrap(f"not listed: {sanitize_line(each)}")]
        return "\n".join([*lines, *(line for each in self.basis for line in wrap(sanitize_line(each)))])
