"""Prices, packaged or from a file."""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from bedrock_rft._core.findings import JsonReport
from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.errors import ConfigurationError

_PACKAGED = Path(__file__).with_name("prices.json")
_VARIABLE = "BEDROCK_RFT_PRICES"
_PROFILE = re.compile(r"^(?:us|us-gov|eu|apac|jp|au|ca|global)\.")
_VERSION = re.compile(r"-(?:v\d+|\d+)(?::\d+)?$")

UNKNOWN = (
    "how a training hour is rounded",
    "if it includes the queue, validation of the files and saving the model",
    "if cancelled and failed jobs are billed",
)
"""Facts about the billing of training that are not published."""


@dataclass(frozen=True)
class Price(JsonReport):
    """A published price.

    Attributes:
        item: `training`, `storage`, `tuned_input`, `tuned_output`, `input`, `output`, `lambda_compute` or
            `lambda_requests`.
        subject: the model, or the architecture of a Lambda function.
        unit: the unit that costs one `amount`, such as `hour` or `million tokens`.
        amount: the amount in `currency`.
        currency: the currency, such as `USD`.
        region: the AWS region that the figure is for.
        date: the year or month of publication.
        source: the publication that states it.
    """

    item: str
    subject: str
    unit: str
    amount: float
    currency: str
    region: str
    date: str
    source: str

    def __str__(self) -> str:
        amount = f"{self.amount:.10f}".rstrip("0").rstrip(".") if self.amount < 1 else f"{self.amount:,.2f}"
        return f"{self.currency} {amount} per {self.unit} ({self.region}, {self.date})"


@dataclass(frozen=True)
class Prices(JsonReport):
    """Published prices, which may be out of date.

    Attributes:
        prices: all prices.
        notice: a warning to show with the prices.
        origin: `packaged`, or the file from which the prices were read.
    """

    prices: tuple[Price, ...]
    notice: str = ""
    origin: str = "packaged"

    @classmethod
    def load(cls, path: str | os.PathLike[str] | None = None) -> Prices:
        """Return the prices of a file, which replace all packaged prices.

        Args:
            path: a JSON file in the form of `Prices.to_json`. Default: the file that `BEDROCK_RFT_PRICES` names, or the
                packaged prices.

        Raises:
            ConfigurationError: the file cannot be read, or a price is not valid. The message names the price.
        """
        given = path if path is not None else os.environ.get(_VARIABLE) or None
        file = Path(given) if given is not None else _PACKAGED
        name = "packaged" if given is None else sanitize_line(str(file), 200)
        try:
            content: Any = json.loads(file.read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigurationError(f"The prices in {name} cannot be read: {sanitize_line(str(error), 200)}") from None
        rows = content.get("prices") if is_object(content) else None
        if not is_object(content) or not is_array(rows) or not rows:
            raise ConfigurationError(f"{name} has no list 'prices'. Prices.load().to_json() shows the form.")
        prices = tuple(_price(row, f"price {number} of {name}") for number, row in enumerate(rows, 1))
        if len({price.currency for price in prices}) > 1:
            raise ConfigurationError(f"The prices in {name} have several currencies. Use one currency for all prices.")
        return cls(prices, str(content.get("notice", "")), name)

    def find(self, item: str, subject: str, *, region: str | None = None) -> Price | None:
        """Return the price of an item, or None if it is not known.

        Args:
            item: see `Price.item`.
            subject: a model, with or without a version or the prefix of an inference profile, or an architecture.
            region: the preferred region. If it has no price, the price of another region is returned; see its `region`.
        """
        wanted = canonical_model(subject)
        found = [price for price in self.prices if price.item == item and canonical_model(price.subject) == wanted]
        return next((price for price in found if price.region == region), found[0] if found else None)

    @property
    def currency(self) -> str:
        """Return the currency of all prices."""
        return self.prices[0].currency

    def to_dict(self) -> dict[str, Any]:
        """Return the prices as JSON values, in the form that `load` reads."""
        return {"notice": self.notice, "prices": [price.to_dict() for price in self.prices]}

    def __str__(self) -> str:
        lines = [f"Prices ({self.origin}): {sanitize_line(self.notice)}"]
        return "\n".join([*lines, *(f"  {price.item} of {price.subject}: {price}" for price in self.prices)])


def canonical_model(name: str) -> str:
    """Return the id of a model without its ARN, the prefix of its inference profile and its version."""
    return _VERSION.sub("", _PROFILE.sub("", name.rpartition("/")[2]))


def _price(row: object, place: str) -> Price:
    if not is_object(row):
        raise ConfigurationError(f"{place} is not an object.")
    for field in fields(Price):
        value = row.get(field.name)
        if field.name == "amount":
            valid = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf
            wanted = "a number of at least 0"
        else:
            valid, wanted = isinstance(value, str) and bool(value.strip()), "text"
        if not valid:
            raise ConfigurationError(f"'{field.name}' of {place} must be {wanted}.")
    return Price(**{field.name: row[field.name] for field in fields(Price)})
