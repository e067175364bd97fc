"""Recognise groups: the rollouts of one prompt in one step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from bedrock_rft._core.text import ShortRepr
from bedrock_rft.rollouts._record import Record

T = TypeVar("T")

GAP = 60.0
"""Seconds. Invocations with the same prompt that are nearer belong to the same step, because a step takes minutes."""
SAME = 1e-9
"""Rewards that differ by less than this are equal."""
_HOUR = 3600
_MOST_OPEN = 200_000  # rollouts in groups that may grow


@dataclass(frozen=True)
class Group(ShortRepr):
    """The rollouts of one prompt in one step, as far as they can be recognised.

    Attributes:
        prompt_hash: the hash of the prompt.
        records: the rollouts, in order of time.
    """

    prompt_hash: str
    records: tuple[Record, ...]

    @property
    def rewards(self) -> tuple[float, ...]:
        """Return the reward of each rollout."""
        return tuple(record.score for record in self.records)

    @property
    def has_signal(self) -> bool:
        """Return whether the rewards differ, so that the group's advantages are not all 0."""
        return differ(self.rewards)


@dataclass(slots=True)
class Member(Generic[T]):
    """The values of a rollout by which groups are recognised; `at` is in Unix seconds."""

    prompt_hash: str
    at: float
    request_id: str
    near: bool
    value: T


@dataclass(slots=True)
class _Open(Generic[T]):
    """A group that may grow."""

    start: float
    end: float
    members: list[Member[T]]


def differ(rewards: Iterable[float]) -> bool:
    """Return whether rewards are not all equal."""
    values = list(rewards)
    return max(values) - min(values) > SAME


def group_records(records: Iterable[Record], gap: float) -> Iterator[Group]:
    """Yield the groups of records. Records without a prompt are left out."""
    members = (member(record, record) for record in records if record.prompt_hash)
    for found in group(members, gap):
        yield Group(found[0].prompt_hash, tuple(each.value for each in found))


def member(record: Record, value: T) -> Member[T]:
    """Return a record as a member of a group, with the value that the group keeps of it."""
    is_local = record.source in {"local_service", "rehearsal"}  # their steps take milliseconds
    return Member(record.prompt_hash or "", record.at, record.request_id, not is_local, value)


def group(members: Iterable[Member[T]], gap: float = GAP) -> Iterator[list[Member[T]]]:
    """Yield groups. Rollouts of one prompt belong together if they have the same invocation or times within `gap`.

    The rollouts of an hour may come in any order, and hours may ascend or descend. A group is complete when an hour
    begins whose rollouts are too far away to belong to it.
    """
    open_groups: dict[str, list[_Open[T]]] = {}
    hour, count = -1, 0
    for member in members:
        now = int(member.at // _HOUR)
        if now != hour or count >= _MOST_OPEN:
            first, last = now * _HOUR - gap, (now + 1) * _HOUR + gap
            if now == hour:  # very many rollouts in one hour: the older half of the groups is taken as complete
                ends = sorted(one.end for found in open_groups.values() for one in found)
                first = math.nextafter(ends[len(ends) // 2], math.inf)
            hour = now
            for ended in _close(open_groups, first, last):
                count -= len(ended)
                yield ended
        count += 1
        same = open_groups.setdefault(member.prompt_hash, [])
        fitting = [one for one in same if _belongs(member, one, gap)]
        if not fitting:
            same.append(_Open(member.at, member.at, [member]))
            continue
        first_fit, *others = fitting
        first_fit.members.append(member)
        for other in others:  # the rollout is the link between them
            first_fit.members += other.members
            same.remove(other)
        first_fit.start = min(member.at, *(one.start for one in fitting))
        first_fit.end = max(member.at, *(one.end for one in fitting))
    yield from _close(open_groups, math.inf, -math.inf)


def _close(open_groups: dict[str, list[_Open[T]]], first: float, last: float) -> Iterator[list[Member[T]]]:
    """Remove the groups that end before `first` or start after `last`, and yield them in order of their start."""
    closed: list[_Open[T]] = []
    for key, found in list(open_groups.items()):
        stay = [one for one in found if one.end >= first and one.start <= last]
        if len(stay) < len(found):
            closed += [one for one in found if one.end < first or one.start > last]
            open_groups[key] = stay
            if not stay:
                del open_groups[key]
    for one in sorted(closed, key=lambda one: one.start):
        yield sorted(one.members, key=lambda member: member.at)


def _belongs(member: Member[T], one: _Open[T], gap: float) -> bool:
    if member.near and one.start - gap <= member.at <= one.end + gap:
        return True
    return one.start <= member.at <= one.end and any(each.request_id == member.request_id for each in one.members)
