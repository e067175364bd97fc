"""Tables of reports: as text for terminals of 80 columns, and as HTML."""

from __future__ import annotations

from collections.abc import Sequence

from bedrock_rft._core.findings import WIDTH, escape_html, scrollable_table
from bedrock_rft._core.text import sanitize_line

_FIRST_WIDTH, _WIDTH = 30, 20
"""Maximum characters of a table's first column and of its other columns."""


def format_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align columns, drop empty ones, and continue below if they do not fit into the terminal's width."""
    columns = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    cells = [
        [sanitize_line(row[column], _FIRST_WIDTH if column == 0 else _WIDTH) for column in columns] for row in rows
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(columns))]
    lines: list[str] = []
    start = 1
    while start < len(widths) or not lines:
        end, room = start, WIDTH - 2 - widths[0]
        while end < len(widths) and (room := room - 2 - widths[end]) >= 0:
            end += 1
        lines += [""] * bool(lines)
        for row in cells:
            further_cells = "".join(f"  {row[column]:>{widths[column]}}" for column in range(start, end))
            lines.append(f"  {row[0]:<{widths[0]}}{further_cells}".rstrip())
        start = end
    return lines


def html_table(title: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its head, below a heading; nothing without further rows."""
    if not rows[1:]:
        return ""
    lines: list[str] = []
    for row in rows:
        tag = "td" if lines else "th"
        cells = (cell if isinstance(cell, Markup) else escape_html(cell) for cell in row)
        lines.append("".join(f"<{tag}{' class=n' * (column > 0)}>{cell}</{tag}>" for column, cell in enumerate(cells)))
    head, *body = (f"<tr>{line}</tr>" for line in lines)
    table = scrollable_table(f"<table><thead>{head}</thead><tbody>{''.join(body)}</tbody></table>")
    return f"<h3>{title}</h3>{table}" if title else table


class Markup(str):
    """HTML that this package wrote, so that it needs no escaping."""

    __slots__ = ()


def html_lines(text: str) -> str:
    """Escape text of several lines for HTML."""
    return "\n".join(escape_html(line) for line in text.split("\n"))
