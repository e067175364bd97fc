"""An IAM policy as a value: JSON for AWS, and for each statement the reason why it is there."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic.alias_generators import to_pascal
from typing_extensions import Self

from bedrock_rft._core.findings import WIDTH
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.types._payload import Request

__all__ = ["LIMITS", "Condition", "Policy", "Statement"]

LIMITS: Mapping[str, int] = {"a managed policy": 6144, "a role": 10_240, "a group": 5120, "a user": 2048}
"""The most characters IAM takes, white space not counted; inline policies of one role, group or user share theirs."""

_TRUST = 2048
_SID = re.compile(r"[A-Za-z0-9]{1,100}", re.ASCII)
_ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:[\x21-\x7e]+", re.ASCII)

Texts = tuple[str, ...]
Condition = Mapping[str, Mapping[str, str | Texts]]


class Statement(Request):
    """One statement of a policy.

    Attributes:
        sid: its name, letters and digits, unique in its policy.
        effect: `Allow` or `Deny`.
        action: what may be done, such as `bedrock-mantle:CreateFile`.
        resource: on what: ARNs, or `*`. A trust policy has none.
        principal: who, by kind, such as `{"Service": ["lambda.amazonaws.com"]}`: in trust policies alone.
        condition: under which conditions, by operator and key.
        why: why it is there. It is shown, and not part of the JSON.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", alias_generator=to_pascal)

    sid: str | None = None
    effect: Literal["Allow", "Deny"] = "Allow"
    action: Texts
    resource: Texts = ()
    principal: Mapping[str, Texts] = Field(default_factory=dict)
    condition: Condition = Field(default_factory=dict)
    why: str = ""

    @field_validator("action", "resource", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.sid is not None and not _SID.fullmatch(self.sid):
            raise ValueError("Sid may hold letters and digits alone")
        if not self.action or not all(map(_ACTION.fullmatch, self.action)):
            raise ValueError("Action needs names such as 'bedrock-mantle:CreateFile'")
        if not all(map(_RESOURCE.fullmatch, self.resource)):
            raise ValueError("Resource needs ARNs, or '*'")
        if bool(self.resource) == bool(self.principal):
            raise ValueError("a statement has either a Resource or, in a trust policy, a Principal")
        return self

    def document(self) -> dict[str, Any]:
        """As IAM takes it: a fresh dictionary."""
        found: dict[str, Any] = {"Sid": self.sid} if self.sid is not None else {}
        found["Effect"] = self.effect
        if self.principal:
            found["Principal"] = {kind: _short(names) for kind, names in self.principal.items()}
        found["Action"] = list(self.action)
        if self.resource:
            found["Resource"] = list(self.resource)
        if self.condition:
            found["Condition"] = {
                operator: {key: value if isinstance(value, str) else list(value) for key, value in keys.items()}
                for operator, keys in self.condition.items()
            }
        return found

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _wrapped(f"{self.sid}: {self.why}" if self.sid and self.why else self.sid or self.why, 2)
        yield from _wrapped(f"{self.effect} {', '.join(self.action)}", 4)
        for kind, names in self.principal.items():
            yield from _wrapped(f"to {kind} {', '.join(names)}", 4)
        for resource in self.resource:
            yield from _wrapped(f"on {resource}", 4)
        for operator, keys in self.condition.items():
            for key, value in keys.items():
                yield from _wrapped(f"if {key} {operator} {value if isinstance(value, str) else ', '.join(value)}", 4)


class Policy(Request):
    """An IAM policy.

    ```python
    policy = caller_policy("us-west-2", "123456789012", reward=arn)
    print(policy)                                # for people: what each statement is for
    Path("policy.json").write_text(policy.json())  # for `aws iam put-role-policy --policy-document file://policy.json`
    ```

    Attributes:
        statement: its statements.
        version: of IAM's language.

    Raises:
        ConfigurationError: a statement is none, two have one name, or it is larger than IAM takes anywhere.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", alias_generator=to_pascal)

    statement: tuple[Statement, ...]
    version: Literal["2012-10-17"] = "2012-10-17"

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        names = [each.sid for each in self.statement if each.sid is not None]
        if not self.statement:
            raise ValueError("a policy has at least one statement")
        if len(names) != len(set(names)):
            raise ValueError("two statements have one Sid")
        most = _TRUST if self.is_trust else max(LIMITS.values())
        if self.size > most:
            raise ValueError(f"{self.size} characters are more than the {most} that IAM takes: name fewer resources")
        return self

    @property
    def is_trust(self) -> bool:
        """Whether it says who may assume a role, rather than what may be done."""
        return any(each.principal for each in self.statement)

    @property
    def size(self) -> int:
        """Characters as IAM counts them: without white space."""
        return len(re.sub(r"\s", "", self.json(indent=None)))

    @property
    def fits(self) -> tuple[str, ...]:
        """Where it is small enough to be put, of `LIMITS`. Inline policies that are there already count as well."""
        if self.is_trust:
            return ("a role's trust policy",)
        return tuple(place for place, most in LIMITS.items() if self.size <= most)

    @property
    def actions(self) -> Texts:
        """Every action that it allows, once, in order."""
        return tuple(dict.fromkeys(name for each in self.statement if each.effect == "Allow" for name in each.action))

    def document(self) -> dict[str, Any]:
        """As IAM takes it: a fresh dictionary."""
        return {"Version": self.version, "Statement": [each.document() for each in self.statement]}

    def json(self, indent: int | None = 2) -> str:  # type: ignore[override] # pydantic's own is deprecated
        """As IAM takes it, as text; `indent=None` writes it without any white space between its parts."""
        separators = (",", ":") if indent is None else None
        return json.dumps(self.document(), indent=indent, separators=separators)

    def __add__(self, other: Policy) -> Policy:
        return Policy(statement=(*self.statement, *other.statement))

    def __str__(self) -> str:
        count = f"{len(self.statement)} statement{'s'[: len(self.statement) != 1]}"
        only = "" if self.is_trust or len(self.fits) == len(LIMITS) else f", fits {' and '.join(self.fits)} only"
        head = f"IAM {'trust ' * self.is_trust}policy: {count}, {self.size} characters{only}"
        return "\n".join([*_wrapped(head, 0), *map(str, self.statement)])


def _short(names: Texts) -> str | list[str]:
    return names[0] if len(names) == 1 else list(names)


def _wrapped(text: str, indent: int) -> list[str]:
    """Lines that fit into a terminal. What must be copied, such as an ARN, is not broken."""
    margin = " " * indent
    return textwrap.wrap(
        sanitize_line(text),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
