"""ARNs of reward functions."""

from __future__ import annotations

import re
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema
from typing_extensions import Self

from bedrock_rft._core.errors import ConfigurationError

_LONGEST = 512

# AWS's published pattern, except that the partition must not be empty, because Lambda rejects an empty one. ASCII only,
# because \d would otherwise match digits of every script.
_PATTERN = re.compile(
    r"arn:(?P<partition>aws[a-zA-Z-]*):lambda:(?P<region>[a-z]{2}(-gov)?-[a-z]+-\d{1}):(?P<account>\d{12})"
    r":function:(?P<name>[a-zA-Z0-9-_\.]+)(:(?P<qualifier>\$LATEST|[a-zA-Z0-9-_]+))?",
    re.ASCII,
)
_EXAMPLE = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
_NOT_A_FUNCTION = (
    (r"https?://", "it is a URL; pass the ARN of the function"),
    (r"arn::", "the partition, such as 'aws', is missing"),
    (r"arn:[^:]*:lambda:[^:]*:[^:]*:layer:", "it names a layer, not a function"),
    (r"arn:[^:]*:iam:", "it names an IAM identity, not a function"),
    (r"arn:[^:]*:(?!lambda:)[^:]+:", "it belongs to another service, not Lambda"),
    (r"arn:[^:]*:lambda::", "the region is missing"),
    (r"arn:[^:]*:lambda:[^:]*:(?!\d{12}:)", "the account must be 12 digits"),
    (r"(\d{12}:)?function:", "it is a partial ARN; pass the whole ARN"),
)


class LambdaArn(str):
    """The validated ARN of a reward function: a string, with its parts as properties.

    The pattern is AWS's own with a partition, 1 to 512 characters. If the text does not match, `LambdaArn(text)` raises
    a `ConfigurationError` with the reason.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Validate the text, which is not changed."""
        if not isinstance(text, str):
            raise ConfigurationError(
                f"The reward must be a Lambda ARN such as '{_EXAMPLE}', not {type(text).__name__}."
            )
        if len(text) > _LONGEST or _PATTERN.fullmatch(text) is None:
            raise ConfigurationError(
                f"{text[:80]!r} is not the ARN of a Lambda function: {_reason(text)}. Example: '{_EXAMPLE}'."
            )
        return super().__new__(cls, text)

    def _part(self, name: str) -> str | None:
        match = _PATTERN.fullmatch(self)
        return match[name] if match else None

    @property
    def aws_partition(self) -> str:
        """Return the partition, such as `aws` or `aws-us-gov`."""
        return self._part("partition") or ""

    @property
    def region(self) -> str:
        """Return the region of the function."""
        return self._part("region") or ""

    @property
    def account(self) -> str:
        """Return the twelve-digit account id."""
        return self._part("account") or ""

    @property
    def name(self) -> str:
        """Return the name of the function."""
        return self._part("name") or ""

    @property
    def qualifier(self) -> str | None:
        """Return the version or alias. If it is None or `$LATEST`, the function may change while a job runs."""
        return self._part("qualifier")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate as above in pydantic models, and serialise as a string."""
        return core_schema.no_info_after_validator_function(
            cls, core_schema.str_schema(), serialization=core_schema.to_string_ser_schema()
        )


def _reason(text: str) -> str:
    if not text:
        return "it is empty"
    if len(text) > _LONGEST:
        return f"it is longer than {_LONGEST} characters"
    for pattern, reason in _NOT_A_FUNCTION:
        if re.match(pattern, text):
            return reason
    return "it does not follow the pattern arn:aws:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]"
