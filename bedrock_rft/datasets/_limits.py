"""Limits that a whole file must keep: the number of records and the length of a prompt."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.errors import ConfigurationError

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits(ShortRepr):
    """Limits for a dataset. The service documents `min_records` and `max_records` for training files.

    Attributes:
        min_records: a file with fewer records has an error. Use `Limits(min_records=1)` for a validation file.
        max_records: a file with more records has an error.
        warn_records: a file with more records has a warning, because an AWS blog post allows fewer than the
            documentation.
        warn_prompt_chars: a longer prompt, in characters, has a warning. At about four characters a token, 120,000
            characters are close to 32,768 tokens.

    Raises:
        ConfigurationError: a limit is not an integer from 0, or `min_records` exceeds `max_records`.
    """

    min_records: int = 100
    max_records: int = 20_000
    warn_records: int = 10_000
    warn_prompt_chars: int = 120_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if type(value) is not int or value < 0:
                raise ConfigurationError(f"Limits({name}={value!r}) is not valid. Give an integer from 0.")
        if self.min_records > self.max_records:
            raise ConfigurationError(
                f"Limits(min_records={self.min_records}, max_records={self.max_records}) is not valid. "
                "min_records must not exceed max_records."
            )
