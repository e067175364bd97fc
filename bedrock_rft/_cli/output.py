"""Results on standard output, in the format of `--output`."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any, TypeVar, cast

from bedrock_rft._cli.failures import FOUND_ERRORS, OutputClosedError, finish, print_wrapped
from bedrock_rft._cli.settings import settings
from bedrock_rft._cli.wording import for_shell
from bedrock_rft._core.output import encodable, print_error, write
from bedrock_rft._core.text import sanitize_line

T = TypeVar("T")

Columns = Mapping[str, Callable[[Any], object]]
"""The title of each column, and the function that returns its value for an item."""

_WIDTH = 80
_LEAST_COLUMN = 4
_COLORS = {"succeeded": "green", "ok": "green", "failed": "red", "error": "red", "running": "cyan", "cancelled": "dim"}


def print_text(text: str) -> None:
    """Print a line to standard output. Raises `OutputClosedError` if its reader closed it."""
    if not write(sys.stdout, f"{text}\n") and sys.stdout is not None:
        raise OutputClosedError


def note(text: str, *, wrap: bool = True) -> None:
    """Print progress to standard error, unless a program reads JSON there. Commands and paths are not wrapped."""
    if settings().output not in {"json", "jsonl"}:
        (print_wrapped if wrap else print_error)(text)


def write_file(path: str | None, write: Callable[[str], object], content: str) -> None:
    """Write a file if its path was given, and print a note about it on standard error."""
    if path is not None:
        write(path)
        note(f"The {content} was written to {path}.", wrap=False)


def date(seconds: float | None) -> str:
    """Return a Unix time as text, in UTC."""
    if seconds is None:
        return ""
    try:
        return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def to_json(value: Any) -> Any:
    """Return an object of the SDK as JSON values. NaN and infinity become null."""
    for name, options in (("to_dict", {}), ("document", {}), ("model_dump_json", {"by_alias": True}), ("to_json", {})):
        if callable(method := getattr(value, name, None)):
            made = method(**options)
            return json.loads(made) if isinstance(made, str) else made
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast] # pyright needs it
        return {str(key): to_json(each) for key, each in items}
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in cast("Sequence[Any]", value)]
    from pydantic_core import to_json as dump  # slow to import

    return json.loads(dump(value, inf_nan_mode="null", fallback=str))


def first(items: Iterable[T], limit: int | None) -> Iterator[T]:
    """Return at most `limit` items; `islice` alone fails on numbers above `sys.maxsize`."""
    return islice(items, None if limit is None else min(limit, sys.maxsize))


def show_list(
    items: Iterable[Any],
    columns: Columns,
    *,
    key: str = "id",
    empty: str | Callable[[], str] = "none",
    actions: bool = False,
) -> list[Any]:
    """Print items as rows of a table, or one by one as they arrive, and return them; `-o quiet` prints the `key`."""
    # With `actions`, earlier results are shown even if a later action fails. `empty` goes to standard error.
    form, seen = settings().output, list[Any]()
    try:
        _show_as_they_arrive(items, columns, key, form, seen)
    except BaseException:
        if actions and seen:
            _show_all(seen, columns, form, empty)
        raise
    _show_all(seen, columns, form, empty)
    return seen


def _show_as_they_arrive(items: Iterable[Any], columns: Columns, key: str, form: str, seen: list[Any]) -> None:
    if form == "csv":
        print_text(_csv_line(columns))
    for item in items:
        seen.append(item)
        if form == "jsonl":
            print_text(_dump(to_json(item)))
        elif form == "quiet":
            print_text(sanitize_line(str(getattr(item, key))))
        elif form == "csv":
            print_text(_csv_line(_cell(value(item)) for value in columns.values()))


def _show_all(seen: list[Any], columns: Columns, form: str, empty: str | Callable[[], str]) -> None:
    if form == "json":
        print_text(_dump([to_json(item) for item in seen], indent=2))
    elif form == "table" and seen:
        print_text(_table(columns, [[_cell(value(item)) for value in columns.values()] for item in seen]))
    elif form == "table":
        note(empty if isinstance(empty, str) else empty())


def show_one(item: Any, fields: Columns, *, key: str = "id") -> None:
    """Print one object: its fields as lines, or the whole object as JSON."""
    form = settings().output
    if form == "table":
        rows = [(name, _cell(value(item))) for name, value in fields.items()]
        print_text(_table(None, [[name, value] for name, value in rows if value]))
    elif form == "csv":
        print_text(_csv_line(fields))
        print_text(_csv_line(_cell(value(item)) for value in fields.values()))
    else:
        show(item, text="", ids=[str(getattr(item, key, "") or "")])


def show(value: Any, *, text: str, ids: Sequence[str] = ()) -> None:
    """Print a result: the value as JSON or as rows of CSV, its `ids` for `-o quiet`, otherwise its text."""
    form = settings().output
    if form == "quiet":
        for one in ids:
            print_text(sanitize_line(one))
    elif form in {"json", "jsonl"}:
        print_text(_dump(to_json(value), indent=2 if form == "json" else None))
    elif form == "csv":
        found = to_json(value)
        rows = [dict(_flatten("", one)) for one in (cast("Any", found) if isinstance(found, list) else [found])]
        if names := list(dict.fromkeys(name for row in rows for name in row)):
            print_text(_csv_line(names))
        for row in rows:
            print_text(_csv_line(row.get(name, "") for name in names))
    else:
        print_text(text)


def _flatten(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """Yield the columns of a JSON value: `cost.low` for a nested object, and JSON text for a list."""
    if isinstance(value, dict) and value:
        for key, each in cast("dict[str, Any]", value).items():
            yield from _flatten(f"{name}.{key}" if name else key, each)
    else:
        yield name or "value", _dump(value) if isinstance(value, (list, dict, bool)) else _cell(value)


def finish_report(report: Any) -> None:
    """Print a report or its findings, and end the command with exit code 3 if there are errors."""
    reworded = reword_report(report)
    problems: Any = getattr(reworded, "findings", None) or getattr(reworded, "problems", ())
    if settings().output == "csv":
        places = ("line", "column", "field") if hasattr(reworded, "problems") else ()  # of a report on data
        names = ("code", "summary", "reason", "remedy", *places)
        print_text(_csv_line(["level", *names]))
        for one in problems:
            level = getattr(one, "level", None) or getattr(one, "severity", "")
            print_text(_csv_line([level, *(_cell(getattr(one, name, "")) for name in names)]))
    else:
        show(reworded, text=report_text(report), ids=list(dict.fromkeys(one.code for one in reworded.errors)))
    finish(0 if report.ok else FOUND_ERRORS)


def report_text(report: Any) -> str:
    """Return the text of a report in the terms of the command line."""
    return for_shell(str(reword_report(report)))


def reword_report(report: Any) -> Any:
    """Return a report whose findings name flags and commands instead of Python arguments and calls."""
    changed: dict[str, Any] = {}
    for name in ("findings", "errors", "warnings"):
        if name in {field.name for field in fields(report)}:
            changed[name] = tuple(_reword_finding(one) for one in getattr(report, name))
    return replace(report, **changed)


def _reword_finding(finding: Any) -> Any:
    names = [name for name in ("summary", "reason", "remedy") if hasattr(finding, name)]
    return replace(finding, **{name: for_shell(getattr(finding, name)) for name in names})


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else sanitize_line(str(value))


def _csv_line(values: Iterable[object]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(list(values))
    return stream.getvalue()


def _dump(value: Any, indent: int | None = None) -> str:
    # Escapes of JSON, and not Python's, if the stream cannot encode a character.
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False)
    encoding = getattr(sys.stdout, "encoding", None)
    try:
        text.encode(encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent, allow_nan=False)
    return text


def _table(head: Iterable[str] | None, rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text of the terminal's width. Long cells are wrapped; the first column is never broken."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        from bedrock_rft.errors import MissingExtraError

        raise MissingExtraError("A table", "cli") from None
    encoding = getattr(sys.stdout, "encoding", None)
    titles = [title.upper() for title in head or ["", ""]]
    cells = [[encodable(cell, encoding) for cell in row] for row in rows]
    width = max(40, shutil.get_terminal_size((_WIDTH, 24)).columns) if is_terminal() else _WIDTH
    widths, gap = _column_widths([list(column) for column in zip(titles, *cells, strict=True)], width)
    table = Table(box=None, pad_edge=False, show_header=head is not None, header_style="bold", padding=(0, gap, 0, 0))
    for place, title in enumerate(titles):
        table.add_column(title, overflow="fold", no_wrap=place == 0, width=widths[place])
    for row in cells:
        texts = [_wrap_cell(cell, widths[place]) if place else cell for place, cell in enumerate(row)]
        table.add_row(*[Text(text, style=_COLORS.get(cell, "")) for text, cell in zip(texts, row, strict=True)])
    stream = io.StringIO()
    color = is_terminal() and not settings().no_color and "NO_COLOR" not in os.environ and os.name == "posix"
    console = Console(
        file=stream,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        legacy_windows=False,
        emoji=False,
        highlight=False,
    )
    console.print(table)
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip("\n").split("\n"))


def _column_widths(columns: Sequence[Sequence[str]], width: int) -> tuple[list[int], int]:
    """Return the width of each column and the gap between them. Words are broken only if nothing else is left."""
    from rich.cells import cell_len

    natural = [max(map(cell_len, column)) for column in columns]
    words = [max(cell_len(word) for cell in column for word in cell.split() or [""]) for column in columns]
    parts = [max(cell_len(part) for cell in column for part in _parts(cell)) for column in columns]
    shortest = [_LEAST_COLUMN] * len(columns)
    widths, gap = natural, 2
    for steps, gap in (((words, parts), 2), ((words, parts), 1), ((words, parts, shortest), 2)):
        widths = [*natural]
        room = width - gap * len(widths)  # rich 13.9 counts a gap after the last column too
        for least in steps:
            for _ in range(sum(widths) - room):
                if wide := [place for place in range(1, len(widths)) if widths[place] > least[place]]:
                    widths[max(wide, key=widths.__getitem__)] -= 1
        if sum(widths) <= room:
            break
    return widths, gap


def _parts(text: str) -> list[str]:
    """Return the parts of a text that a table keeps together: a long word can be broken before a letter."""
    return [part for word in text.split() or [""] for part in re.split(r"(?<=[-./:_,=])(?=[A-Za-z])", word)]


def _wrap_cell(text: str, width: int) -> str:
    from rich.cells import cell_len

    lines = [""]
    for word in text.split(" "):
        space = " " if lines[-1] else ""
        if cell_len(f"{lines[-1]}{space}{word}") <= width:
            lines[-1] += f"{space}{word}"
            continue
        for place, part in enumerate(_parts(word) if cell_len(word) > width else [word]):
            if lines[-1] and (place == 0 or cell_len(lines[-1] + part) > width):
                lines.append("")
            lines[-1] += part
    return "\n".join(lines)


def is_terminal() -> bool:
    """Return whether standard output is a terminal."""
    try:
        return sys.stdout is not None and sys.stdout.isatty()
    except ValueError:
        return False


def shows_progress() -> bool:
    """Return whether standard error is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()
