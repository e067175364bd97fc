"""Plans of a deployment: its steps and the policies of its role."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from bedrock_rft._core.findings import clip, escape_html, fact_lines, wrap, write_text
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.access._policies.policy import Policy
from bedrock_rft.errors import ConfigurationError

Action = Literal["create", "change", "delete", "leave"]

_SIGNS: dict[Action, str] = {"create": "+", "change": "~", "delete": "-", "leave": "="}
_PAST: dict[Action, str] = {"create": "created", "change": "changed", "delete": "deleted", "leave": "left"}


@dataclass(frozen=True)
class Step(ShortRepr):
    """One resource and the change to it.

    Attributes:
        action: `create`, `change`, `delete`, or `leave` if it stays as it is.
        kind: the kind of resource, such as `role`, `function` or `version`.
        name: the name or the ARN of the resource.
        details: the changes, or the reason why the resource stays, a line each.
        needs: the IAM actions that the step needs.
    """

    action: Action
    kind: str
    name: str
    details: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlannedStep:
    """A step with the function that carries it out, which does nothing by default."""

    step: Step
    run: Callable[[], object] = lambda: None


@dataclass(frozen=True)
class Plan(ShortRepr):
    """The steps that a deployment or a deletion would take, or has taken. Print it, or let a notebook show it.

    Attributes:
        title: the deployment and what happens to it.
        steps: the steps in their order.
        policies: the policies of the role by title; each statement gives its reason.
        facts: the account, the caller, the reward and its code, by name.
        done: whether the steps have been carried out.
        template: the CloudFormation template of a deployment; None for a deletion.
    """

    title: str
    steps: tuple[Step, ...]
    policies: tuple[tuple[str, Policy], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    done: bool = field(default=False)
    template: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def changes(self) -> bool:
        """True if any step creates, changes or deletes something."""
        return any(step.action != "leave" for step in self.steps)

    @property
    def needs(self) -> tuple[str, ...]:
        """The IAM actions that all steps need, once each."""
        return tuple(dict.fromkeys(action for step in self.steps for action in step.needs))

    @property
    def verdict(self) -> str:
        """The number of steps by action, in a few words."""
        actions: tuple[Action, ...] = ("create", "change", "delete")
        counts: list[tuple[Action, int]] = [
            (action, sum(step.action == action for step in self.steps)) for action in actions
        ]
        parts = [f"{count} {_PAST[action] if self.done else f'to {action}'}" for action, count in counts if count]
        return ", ".join(parts) or ("nothing changed" if self.done else "nothing to do")

    def to_json(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return the plan as JSON text with its verdict, and write it to `path` if given."""
        content = {
            "title": self.title,
            "verdict": self.verdict,
            "done": self.done,
            "facts": dict(self.facts),
            "steps": [asdict(step) for step in self.steps],
            "policies": {title: policy.document() for title, policy in self.policies},
        }
        return write_text(json.dumps(content, indent=2), path)

    def to_cloudformation(self, path: str | os.PathLike[str] | None = None) -> str:
        """Return a CloudFormation template in JSON with the function, the role and its permissions.

        The template is written to `path` if given.

        Upload the zip of `rewards.package` to the bucket and key that its parameters name first. A stack with a role
        needs `CAPABILITY_NAMED_IAM`. The output `RewardArn` is the ARN for a job. The stack cannot take over a function
        or a role that exists.

        Raises:
            ConfigurationError: this is the plan of a deletion.
            DatasetError: the file cannot be written.
        """
        if self.template is None:
            raise ConfigurationError("Only client.rewards.plan(…) has a template, not the plan of a deletion.")
        return write_text(json.dumps(self.template, indent=2), path)

    def __str__(self) -> str:
        lines = [clip(f"{sanitize_line(self.title)}: {self.verdict}"), *fact_lines(self.facts)]
        for step in self.steps:
            word = _PAST[step.action] if self.done else step.action
            lines += wrap(f"{_SIGNS[step.action]} {word:<7} {step.kind:<8} {sanitize_line(step.name)}")
            lines += [line for detail in step.details for line in wrap(f"    {sanitize_line(detail)}")]
        if self.changes and not self.done and self.needs:
            lines += wrap(f"IAM actions needed: {', '.join(self.needs)}.")
        for title, policy in () if self.done else self.policies:
            lines += ["", f"{title}. {policy}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return f"<pre>{chr(10).join(map(escape_html, str(self).splitlines()))}</pre>"


def describe_difference(name: str, current: object, target: object) -> str:
    """Return a line that shows the current and the planned value of a setting."""
    return f"{name}: {_format_value(current)} → {_format_value(target)}"


def _format_value(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)
