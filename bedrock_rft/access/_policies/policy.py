"""Models of IAM policies and their statements. Each statement has a reason, which the JSON for AWS leaves out."""

from __future__ import annotations

import itertools
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

LIMITS: Mapping[str, int] = {"a managed policy": 6144, "a role": 10_240, "a group": 5120, "a user": 2048}
"""IAM's limits in characters without white space. Inline policies of one role, group or user share a limit."""

_TRUST_LIMIT = 2048
_SID = re.compile(r"[A-Za-z0-9]{1,100}", re.ASCII)
_ACTION = re.compile(r"\*|[a-z0-9-]+:[A-Za-z0-9*?]+", re.ASCII)
_RESOURCE = re.compile(r"\*|arn:[\x21-\x7e]+", re.ASCII)

Texts = tuple[str, ...]
Condition = Mapping[str, Mapping[str, str | Texts]]


class Statement(Request):
    """One statement of a policy.

    Attributes:
        sid: name of letters and digits, unique in the policy.
        effect: `Allow` or `Deny`.
        principal: principals by kind, such as `{"Service": "lambda.amazonaws.com"}`. In trust policies only.
        action: IAM actions, such as `bedrock-mantle:CreateFile`.
        resource: ARNs, or `*`. Empty in a trust policy.
        condition: conditions by operator and key.
        reason: why the statement is needed. Shown in text, not part of the JSON.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", alias_generator=to_pascal)

    sid: str | None = None
    effect: Literal["Allow", "Deny"] = "Allow"
    principal: Mapping[str, str | Texts] = Field(default_factory=dict)
    action: Texts
    resource: Texts = ()
    condition: Condition = Field(default_factory=dict)
    reason: str = ""

    @field_validator("action", "resource", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _check_statement(self) -> Self:
        if self.sid is not None and not _SID.fullmatch(self.sid):
            raise ValueError("sid may hold letters and digits only")
        if not self.action or not all(map(_ACTION.fullmatch, self.action)):
            raise ValueError("action needs names such as 'bedrock-mantle:CreateFile'")
        if not all(map(_RESOURCE.fullmatch, self.resource)):
            raise ValueError("resource needs ARNs, or '*'")
        if bool(self.resource) == bool(self.principal):
            raise ValueError("a statement needs either a resource or, in a trust policy, a principal")
        return self

    def document(self) -> dict[str, Any]:
        """Return the statement in IAM's JSON format, as a new dictionary."""
        fields = self.model_dump(mode="json", by_alias=True, exclude={"reason"})
        return {name: value for name, value in fields.items() if value}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield from _wrap(f"{self.sid}: {self.reason}" if self.sid and self.reason else self.sid or self.reason, 2)
        yield from _wrap(f"{self.effect} {', '.join(self.action)}", 4)
        for kind, names in self.principal.items():
            yield from _wrap(f"to {kind} {_join_texts(names)}", 4)
        for resource in self.resource:
            yield from _wrap(f"on {resource}", 4)
        for operator, keys in self.condition.items():
            for key, value in keys.items():
                yield from _wrap(f"if {key} {operator} {_join_texts(value)}", 4)


class Policy(Request):
    """An IAM policy.

    ```python
    policy = caller_policy("us-west-2", "123456789012", reward=arn)
    print(policy)                                # with the reason for each statement
    Path("policy.json").write_text(policy.json())  # for `aws iam put-role-policy --policy-document file://policy.json`
    ```

    Attributes:
        statement: the statements.
        version: version of IAM's policy language.

    Raises:
        ConfigurationError: a statement is invalid, two statements have the same sid, or the policy exceeds every limit
            of IAM.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", alias_generator=to_pascal)

    statement: tuple[Statement, ...]
    version: Literal["2012-10-17"] = "2012-10-17"

    @model_validator(mode="after")
    def _check_policy(self) -> Self:
        sids = [statement.sid for statement in self.statement if statement.sid is not None]
        if not self.statement:
            raise ValueError("a policy needs at least one statement")
        if len(sids) != len(set(sids)):
            raise ValueError("two statements have the same sid")
        limit = _TRUST_LIMIT if self.is_trust else max(LIMITS.values())
        if self.size > limit:
            raise ValueError(f"the policy has {self.size} characters, and IAM accepts {limit}; name fewer resources")
        return self

    @property
    def is_trust(self) -> bool:
        """True for a trust policy, which lists the principals that may assume a role."""
        return any(statement.principal for statement in self.statement)

    @property
    def size(self) -> int:
        """The number of characters without white space, as IAM counts them."""
        return len(re.sub(r"\s", "", self.json(indent=None)))

    @property
    def fits(self) -> tuple[str, ...]:
        """The places from `LIMITS` that the policy fits into, if they have no other inline policy."""
        if self.is_trust:
            return ("a role's trust policy",)
        return tuple(place for place, limit in LIMITS.items() if self.size <= limit)

    @property
    def actions(self) -> Texts:
        """The allowed actions in order, without repetitions."""
        allowed = (statement for statement in self.statement if statement.effect == "Allow")
        return tuple(dict.fromkeys(name for statement in allowed for name in statement.action))

    def document(self) -> dict[str, Any]:
        """Return the policy in IAM's JSON format, as a new dictionary."""
        return {"Version": self.version, "Statement": [statement.document() for statement in self.statement]}

    def json(self, indent: int | None = 2) -> str:  # type: ignore[override] # pydantic's own is deprecated
        """Return the policy as JSON text; `indent=None` leaves out all white space."""
        separators = (",", ":") if indent is None else None
        return json.dumps(self.document(), indent=indent, separators=separators)

    def __add__(self, other: Policy) -> Policy:
        """Return a policy with the statements of both. Equal statements appear once; other equal sids get a number."""
        statements = list(self.statement)
        for statement in other.statement:
            if statement in statements:
                continue
            taken = {present.sid for present in statements} - {None}
            names = (f"{statement.sid}{number or ''}" for number in itertools.chain((0,), itertools.count(2)))
            sid = next(name for name in names if name not in taken) if statement.sid is not None else None
            statements.append(statement.model_copy(update={"sid": sid}))
        return Policy(statement=tuple(statements))

    def __str__(self) -> str:
        count = f"{len(self.statement)} statement{'s'[: len(self.statement) != 1]}"
        only = "" if self.is_trust or len(self.fits) == len(LIMITS) else f", fits {' and '.join(self.fits)} only"
        head = f"IAM {'trust ' * self.is_trust}policy: {count}, {self.size} characters{only}"
        return "\n".join([*_wrap(head, 0), *map(str, self.statement)])


def _join_texts(value: str | Texts) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _wrap(text: str, indent: int) -> list[str]:
    """Wrap text to the terminal's width without breaking words such as ARNs, which users copy."""
    margin = " " * indent
    return textwrap.wrap(
        sanitize_line(text),
        WIDTH,
        initial_indent=margin,
        subsequent_indent=margin + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
