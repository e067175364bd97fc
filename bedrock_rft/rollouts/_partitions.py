"""Choose files by the function, the date and the hour in their path, before they are opened."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import NamedTuple

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.rollouts._source import File, Source

Time = datetime | float | str
"""A time: an aware datetime, Unix seconds, or ISO 8601 text, in UTC if it has no offset."""

_FORMAT = "%Y-%m-%dT%H:%M:%S.%fZ"
_MAX_INNER = 20
"""Number of folders that are searched for recordings if a location has no rollouts; in S3, each takes a request."""
_PARTITION = re.compile(r"(function|date|hour)=([^/\\]+)")


class Period(NamedTuple):
    """A period of time. Its ends are texts in the form of the times in records; the end is not included."""

    since: str | None = None
    until: str | None = None

    @classmethod
    def parse(cls, since: Time | None, until: Time | None) -> Period:
        """Return a period. Raises `ConfigurationError` if a time cannot be read."""
        return cls(*(None if time is None else _to_text(time) for time in (since, until)))

    def touches(self, prefix: str) -> bool:
        """Return whether a part of a day or an hour, such as `2026-11-28T14`, lies in the period."""
        length = len(prefix)
        return (self.since is None or prefix >= self.since[:length]) and (
            self.until is None or prefix <= self.until[:length]
        )

    def contains(self, time: str) -> bool:
        """Return whether a time lies in the period."""
        return (self.since is None or time >= self.since) and (self.until is None or time < self.until)


def find_hours(source: Source, period: Period, function: str | None) -> dict[str, list[str]]:
    """Return the folders by hour, for the hours of the period. A folder without an hour in its path has the key ''."""
    found, waiting = defaultdict[str, list[str]](list), [""]
    outer = dict(_PARTITION.findall(source.location))
    while waiting:
        path = waiting.pop()
        names = outer | dict(_PARTITION.findall(path))
        if "hour" in names:
            hour = f"{names.get('date', '')}T{names['hour']}"
            found[hour if _is_hour(hour) else ""].append(path)
            continue
        folders, files = source.children(path)
        if not (path or files or any(map(_PARTITION.match, folders))):
            _check_inner(source, folders)
        if files:
            found[""].append(path)
        for folder in folders:
            key, _, value = folder.partition("=")
            wanted = {
                "function": function in {None, value},
                "date": period.touches(value),
                "hour": period.touches(f"{names.get('date', '')}T{value}"),
            }
            if wanted.get(key):
                waiting.append(f"{path}/{folder}" if path else folder)
    return found


def _check_inner(source: Source, folders: Sequence[str]) -> None:
    """Raise `ConfigurationError` if the folders of a location without rollouts have recordings of their own."""
    found = [name for name in sorted(folders)[:_MAX_INNER] if any(map(_PARTITION.match, source.children(name)[0]))]
    if found:
        raise ConfigurationError(
            f"{source.location} has no rollouts of its own, but its folders have: {', '.join(found)}. "
            f"Read each of them, such as {source.location}/{found[0]}."
        )


def list_files(source: Source, hours: Mapping[str, list[str]]) -> Iterator[tuple[str, File]]:
    """Yield each file with its hour, ordered by hour and then by time of modification."""
    for hour in sorted(hours):
        for file in sorted(file for path in hours[hour] for file in source.children(path)[1]):
            yield hour, file


def _is_hour(text: str) -> bool:
    try:
        return f"{datetime.fromisoformat(f'{text}:00:00'):%Y-%m-%dT%H}" == text
    except ValueError:
        return False


def _to_text(time: Time) -> str:
    try:
        if isinstance(time, str):
            moment = datetime.fromisoformat(time.replace("Z", "+00:00"))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        else:
            moment = time if isinstance(time, datetime) else datetime.fromtimestamp(time, timezone.utc)
        if moment.tzinfo is not None:
            return moment.astimezone(timezone.utc).strftime(_FORMAT)
    except (TypeError, ValueError, OverflowError, OSError):
        pass
    raise ConfigurationError(
        f"{time!r} is not a time. Pass an aware datetime, Unix seconds, or text such as '2026-11-28T14:00:00Z'."
    )
