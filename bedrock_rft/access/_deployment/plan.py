"""What a deployment would do, or has done: steps, the policies that go with them, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bedrock_rft._core.findings import clip, escape_html, wrap
from bedrock_rft._core.text import sanitize_line
from bedrock_rft.access._policies.policy import Policy

__all__ = ["Action", "Plan", "Step", "Work", "difference"]

Action = Literal["create", "change", "delete", "leave"]

_SIGN: dict[Action, str] = {"create": "+", "change": "~", "delete": "-", "leave": "="}
_DONE: dict[Action, str] = {"create": "created", "change": "changed", "delete": "deleted", "leave": "left"}


@dataclass(frozen=True)
class Step:
    """One thing, and what becomes of it.

    Attributes:
        action: `create`, `change`, `delete`, or `leave` for what stays as it is.
        kind: what it is: a role, a function, a version, …
        name: its name or ARN.
        details: what changes, or why it is left, a line each.
        needs: the IAM actions that it takes.
    """

    action: Action
    kind: str
    name: str
    details: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """A step and how it is done; None where there is nothing to do. What is planned is what is carried out."""

    step: Step
    do: Callable[[], object] | None = None


@dataclass(frozen=True)
class Plan:
    """What would be done, or was. Print it, or let a notebook show it.

    Attributes:
        title: what it is for.
        steps: in their order.
        policies: what the role may do, and who may take it, by title; each statement says why it is there.
        facts: where, and as whom.
        done: whether it was carried out.
    """

    title: str
    steps: tuple[Step, ...]
    policies: tuple[tuple[str, Policy], ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    done: bool = field(default=False)

    @property
    def changes(self) -> bool:
        """Whether anything is not as it should be yet, or was not."""
        return any(step.action != "leave" for step in self.steps)

    @property
    def needs(self) -> tuple[str, ...]:
        """The IAM actions that all of it takes, once each."""
        return tuple(dict.fromkeys(action for step in self.steps for action in step.needs))

    @property
    def verdict(self) -> str:
        """All of it in a few words."""
        actions: tuple[Action, ...] = ("create", "change", "delete")
        counts: list[tuple[Action, int]] = [(one, sum(step.action == one for step in self.steps)) for one in actions]
        told = [f"{count} {_DONE[one] if self.done else f'to {one}'}" for one, count in counts if count]
        return ", ".join(told) or ("nothing changed" if self.done else "nothing to do")

    def __str__(self) -> str:
        lines = [clip(f"{sanitize_line(self.title)}: {self.verdict}")]
        lines += _table(self.facts)
        for step in self.steps:
            lines += wrap(f"{_SIGN[step.action]} {self._word(step):<7} {step.kind:<8} {sanitize_line(step.name)}")
            lines += [line for detail in step.details for line in wrap(f"    {sanitize_line(detail)}")]
        if self.changes and not self.done and self.needs:
            lines += wrap(f"It takes {', '.join(self.needs)}.")
        for title, policy in () if self.done else self.policies:
            lines += ["", f"{title}. {policy}"]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = "style='text-align:left;vertical-align:top'"
        facts = "".join(
            f"<tr><th {left}>{escape_html(n)}</th><td {left}>{escape_html(v)}</td></tr>" for n, v in self.facts
        )
        steps = "".join(
            f"<tr><td {left}>{_SIGN[step.action]}</td><td {left}>{escape_html(self._word(step))}</td>"
            f"<td {left}>{escape_html(step.kind)}</td>"
            f"<td {left}>{'<br>'.join(escape_html(line) for line in (step.name, *step.details))}</td></tr>"
            for step in self.steps
        )
        takes = f"<p>It takes {escape_html(', '.join(self.needs))}.</p>" if self.needs and not self.done else ""
        policies = "".join(
            f"<details><summary>{escape_html(title)}</summary><pre>{_escaped_lines(policy.json())}</pre>"
            f"<ul>{''.join(f'<li><b>{escape_html(sid)}</b> {escape_html(why)}</li>' for sid, why in _reasons(policy))}</ul>"
            "</details>"
            for title, policy in self.policies
        )
        return (
            f"<div><p><b>{escape_html(self.title)}</b>: {escape_html(self.verdict)}</p>"
            f"<table>{facts}</table><table>{steps}</table>{takes}{policies}</div>"
        )

    def _word(self, step: Step) -> str:
        return _DONE[step.action] if self.done else step.action


def difference(name: str, now: object, wanted: object) -> str:
    """One setting, as it is and as it should be."""
    return f"{name}: {_short(now)} → {_short(wanted)}"


def _short(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value)


def _table(facts: Sequence[tuple[str, str]]) -> list[str]:
    wide = max((len(name) for name, _ in facts), default=0)
    return [clip(f"  {name:<{wide}}  {sanitize_line(value)}") for name, value in facts]


def _reasons(policy: Policy) -> list[tuple[str, str]]:
    return [(each.sid or "", each.why) for each in policy.statement if each.why]


def _escaped_lines(text: str) -> str:
    return "\n".join(escape_html(line) for line in text.splitlines())
