"""The bounds that a whole file is held to: how many records, and how long a prompt may be."""

from __future__ import annotations

from dataclasses import dataclass

from bedrock_rft.errors import ConfigurationError

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """The bounds a file is held to. The service documents the first two for training data.

    Attributes:
        minimum: fewest records; fewer is an error. A validation file may hold fewer: `Rules(minimum=1)`.
        maximum: most records; more is an error.
        disputed: AWS's documentation allows `maximum`, a blog post of AWS's this many; more is a warning.
        longest_prompt: characters above which a prompt is warned of: at some four a token, 32,768 tokens are near.
    """

    minimum: int = 100
    maximum: int = 20_000
    disputed: int = 10_000
    longest_prompt: int = 120_000

    def __post_init__(self) -> None:
        given = (self.minimum, self.maximum, self.disputed, self.longest_prompt)
        if not all(type(bound) is int and bound >= 0 for bound in given) or self.minimum > self.maximum:
            raise ConfigurationError("Rules are whole numbers from 0, and minimum is at most maximum.")
