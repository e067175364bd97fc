"""What is new in a job's log: each event once, oldest first, whatever order and pages the service lists them in."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Sequence

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._resources.base import PAGE
from bedrock_rft._transport.transport import Request
from bedrock_rft.types.events import Event
from bedrock_rft.types.pages import Page

__all__ = ["Log", "oldest_first"]

Ask = Callable[[Request, type[Page[Event]]], Awaitable[Page[Event]]]


class Log:
    """Reads what is new in a job's log: each event once, oldest first, whatever order the service lists them in."""

    def __init__(self, ask: Ask, path: str, after: str | None) -> None:
        self._ask = ask
        self._path = f"{path}/events"
        self._seen: set[str] = set()
        self._after = after
        self._rising = False  # newest first, as OpenAI lists them, until a page says otherwise

    async def fresh(self, *, last: bool) -> tuple[Event, ...]:
        """The events that were not seen before.

        Pages are read until one brings nothing new. The last time all of them are, so that an event that appeared late
        among older ones is not lost.
        """
        found: dict[str, Event] = {}
        cursor, asked = None, set[str]()
        while True:
            call = Request("GET", self._path, query={"limit": PAGE, "after": cursor})
            page = await self._ask(call, Page[Event])
            before = len(found)
            for event in page.data:
                key = event.id or event.model_dump_json()
                if key not in self._seen:
                    found.setdefault(key, event)
            self._rising = _rises(page.data, self._rising)
            cursor = next((event.id for event in reversed(page.data) if event.id), None)
            if not page.has_more or cursor is None or cursor in asked:
                break
            if len(found) == before and not last and not self._rising:
                break
            asked.add(cursor)
        self._seen.update(found)
        return self._resumed(_in_order(list(found.values()), rising=self._rising))

    def _resumed(self, events: list[Event]) -> tuple[Event, ...]:
        if self._after is None:
            return tuple(events)
        place = next((number for number, event in enumerate(events) if event.id == self._after), None)
        if place is None and events:
            log.warning(
                "event %s is not in the log any more: following from its beginning", sanitize_line(self._after, 80)
            )
        if events:
            self._after = None
        return tuple(events[place + 1 :] if place is not None else events)


def oldest_first(events: Sequence[Event]) -> list[Event]:
    """All events of a job, in whatever order the service lists them."""
    return _in_order(list(events), rising=_rises(events, believed=False))


def _rises(events: Sequence[Event], believed: bool) -> bool:
    """Whether a page lists the oldest first: by time, or by training step where all of it is of one second."""
    times = [event.created_at for event in events if event.created_at is not None]
    steps = [event.metrics.step for event in events if event.metrics and event.metrics.step is not None]
    for marks in (times, steps):
        if len(marks) > 1 and marks[0] != marks[-1]:
            return marks[0] < marks[-1]
    return believed


def _in_order(events: list[Event], *, rising: bool) -> list[Event]:
    """Oldest first. Within a second the order of the list decides, and an event without a time stays where it is."""
    timed: list[tuple[int, Event]] = []
    now = 0
    for event in events if rising else events[::-1]:
        now = event.created_at if event.created_at is not None else now
        timed.append((now, event))
    return [event for _, event in sorted(timed, key=operator.itemgetter(0))]
