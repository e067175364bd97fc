"""New events of a job: each event once, oldest first, for any order and paging of the service."""

from __future__ import annotations

import operator
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from bedrock_rft._core.log import log
from bedrock_rft._core.text import sanitize_line
from bedrock_rft._resources.base import PAGE
from bedrock_rft._transport.transport import Request
from bedrock_rft.types._payload import Page
from bedrock_rft.types.events import Event

if TYPE_CHECKING:  # pydantic would create the type of page that many processes do not need
    Fetch = Callable[[Request, type[Page[Event]]], Awaitable[Page[Event]]]


class EventLog:
    """Reader of new events of a job: each event once, oldest first."""

    def __init__(self, fetch: Fetch, path: str, after: str | None) -> None:
        self._fetch = fetch
        self._path = f"{path}/events"
        self._seen: set[str] = set()
        self._after = after
        self._ascending = False  # newest first, as OpenAI lists them, until a page shows another order

    async def new_events(self, *, final: bool) -> tuple[Event, ...]:
        """Read pages until a page has no new event, and return the events that were not returned before."""
        # The final call reads all pages, because an event may have been inserted among older ones.
        found: dict[str, Event] = {}
        cursor, cursors = None, set[str]()
        while True:
            request = Request("GET", self._path, query={"limit": PAGE, "after": cursor})
            page = await self._fetch(request, Page[Event])
            before = len(found)
            for event in page.data:
                key = event.id or event.model_dump_json()
                if key not in self._seen:
                    found.setdefault(key, event)
            self._ascending = _is_ascending(page.data, self._ascending)
            cursor = next((event.id for event in reversed(page.data) if event.id), None)
            if not page.has_more or cursor is None or cursor in cursors:
                break
            if len(found) == before and not final and not self._ascending:
                break
            cursors.add(cursor)
        self._seen.update(found)
        return self._after_resume_point(_in_order(list(found.values()), ascending=self._ascending))

    def _after_resume_point(self, events: list[Event]) -> tuple[Event, ...]:
        if self._after is None:
            return tuple(events)
        place = next((number for number, event in enumerate(events) if event.id == self._after), None)
        if place is None and events:
            log.warning(
                "event %s is no longer in the log; following from the first event", sanitize_line(self._after, 80)
            )
        if events:
            self._after = None
        return tuple(events[place + 1 :] if place is not None else events)


def oldest_first(events: Sequence[Event]) -> list[Event]:
    """Return events in chronological order, for any order of the list."""
    return _in_order(list(events), ascending=_is_ascending(events, assumed=False))


def _is_ascending(events: Sequence[Event], assumed: bool) -> bool:
    """Check if a page lists the oldest event first: by time, or by training step if all times are equal."""
    times = [event.created_at for event in events if event.created_at is not None]
    steps = [event.metrics.step for event in events if event.metrics and event.metrics.step is not None]
    for marks in (times, steps):
        if len(marks) > 1 and marks[0] != marks[-1]:
            return marks[0] < marks[-1]
    return assumed


def _in_order(events: list[Event], *, ascending: bool) -> list[Event]:
    """Sort events oldest first; `ascending` is the order of the list.

    The order of the list decides between events of the same second. An event without a time stays next to the event
    before it.
    """
    timed: list[tuple[int, Event]] = []
    now = 0
    for event in events if ascending else events[::-1]:
        now = event.created_at if event.created_at is not None else now
        timed.append((now, event))
    return [event for _, event in sorted(timed, key=operator.itemgetter(0))]
