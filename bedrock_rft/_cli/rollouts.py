"""`bedrock-rft rollouts`."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bedrock_rft._cli.command import Group, many, options
from bedrock_rft._cli.output import (
    Columns,
    finish_report,
    first,
    note,
    print_text,
    reword_report,
    show_list,
    write_file,
)
from bedrock_rft._cli.output import show as print_result
from bedrock_rft._cli.reward_source import is_function_name, lookup
from bedrock_rft._cli.settings import open_client, settings
from bedrock_rft._core.findings import wrap
from bedrock_rft._core.local_service import ANSWERS
from bedrock_rft._core.text import sanitize_text

_WIDTH = 80
_LINES = 6
"""Lines of a text that are shown without --full."""
_SHOWN = 20
_COLUMNS: Columns = {
    "time": lambda one: one.time,
    "rollout_id": lambda one: one.rollout_id,
    "score": lambda one: one.score,
    "parts": lambda one: _numbers(one.parts),
    "prompt": lambda one: one.prompt,
    "answer": lambda one: one.answer,
    "error": lambda one: one.error,
}

rollouts = Group(
    "rollouts",
    help="Show, export and judge recorded rollouts. A LOCATION is s3://bucket/prefix, a folder, "
    "a file, or the name or the ARN of a deployed reward that records.",
)

_location = click.argument("location", metavar="LOCATION")


_period = options(
    click.option("--since", metavar="TIME", help="No rollouts before this time, such as 2026-11-28T14:00 in UTC."),
    click.option("--until", metavar="TIME", help="Only rollouts before this time."),
    click.option("--job", metavar="ID", help="Only rollouts of the time in which this job ran."),
)
_selection = options(
    _period,
    click.option("--min-score", type=float, metavar="SCORE", help="Lowest score."),
    click.option("--max-score", type=float, metavar="SCORE", help="Highest score."),
    click.option("--errors", is_flag=True, help="Only rollouts whose reward raised an error."),
    click.option("--prompt", metavar="TEXT", help="Only prompts with this text, or with this hash."),
)


@rollouts.command("show", shape="a list of bedrock_rft.rollouts.Record")
@_location
@_selection
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Show at most N. Default: 20; all with --follow.")
@click.option("-f", "--follow", is_flag=True, help="Begin with the newest hour, and wait for further rollouts.")
@click.option("--full", is_flag=True, help="Show texts completely.")
def show(location: str, limit: int | None, *, follow: bool, full: bool, **options: Any) -> None:
    """Show prompts, answers and scores, oldest first."""
    if follow and settings().output == "json":
        raise click.UsageError("--follow never ends, so it cannot print one JSON list. Use -o jsonl.")
    with _open(location, follow=follow, **options) as selected:
        _print(iter(selected), limit or (None if follow else _SHOWN), full=full)


def _print(found: Iterator[Any], limit: int | None, *, full: bool) -> None:
    if settings().output != "table":
        show_list(first(found, limit), _COLUMNS, key="rollout_id")
        return
    record = None
    noted = False
    for record in first(found, limit):
        if record.is_rehearsal and not noted:
            noted = True
            print_text(f"Note: {ANSWERS}.\n")
        print_text("\n".join(_lines(record, None if full else _LINES)))
    if record is None:
        note("There are no such rollouts.")
    elif limit and next(found, None) is not None:
        note("There are more. --limit shows more.")


@rollouts.command("export", shape='{"path", "rollouts"}')
@_location
@click.argument("path", metavar="OUT", type=click.Path(dir_okay=False))
@_selection
def export(location: str, path: str, **options: Any) -> None:
    """Write rollouts to OUT: a .parquet, .jsonl or .csv file.

    In CSV and Parquet, the reference and the fields are JSON text.
    """
    method = {".jsonl": "to_jsonl", ".csv": "to_csv", ".parquet": "to_parquet"}.get(Path(path).suffix)
    if method is None:
        raise click.UsageError(f"{path} must end with .parquet, .jsonl or .csv.")
    with _open(location, **options) as selected:
        count = getattr(selected, method)(path)
    print_result({"path": path, "rollouts": count}, text=f"{count:,} rollouts were written to {path}.", ids=[path])


@rollouts.command("stats", shape="bedrock_rft.rollouts.RolloutReport")
@_location
@_period
@many("--field", "fields", metavar="NAME", help="A record field to show pass rates by.")
@click.option("--pass-mark", type=float, default=1.0, metavar="SCORE", help="Lowest score that passes. Default: 1.")
@click.option("--out", metavar="FILE", type=click.Path(dir_okay=False),
              help="Also write the report: .html for a page, .json for its data.")  # fmt: skip
@click.option("--difficulty", metavar="FILE", type=click.Path(dir_okay=False),
              help="Also write the difficulty of each prompt, for 'data select'.")  # fmt: skip
def stats(
    location: str,
    job: str | None,
    fields: tuple[str, ...],
    pass_mark: float,
    out: str | None,
    difficulty: str | None,
    **options: Any,
) -> None:
    """Report rewards, groups, parts, errors and findings.

    With --job, rollouts are aligned with the steps of the job. The exit code is
    3 if there are errors.
    """
    method = {".html": "to_html", ".json": "to_json", "": ""}.get(Path(out or "").suffix)
    if method is None:
        raise click.UsageError(f"{out} must end with .html or .json.")
    events = None
    if job is not None:
        with open_client() as client:
            events = list(client.jobs.events(job))
    with _open(location, job=job, **options) as selected:
        report = selected.report(events, fields=fields, pass_mark=pass_mark)
        write_file(difficulty, lambda path: selected.difficulty(pass_mark=pass_mark).to_json(path), "difficulty")
    if out is not None:
        write_file(out, getattr(reword_report(report), method), "report")
    finish_report(report)


@contextmanager
def _open(
    location: str,
    *,
    job: str | None,
    min_score: float | None = None,
    max_score: float | None = None,
    errors: bool = False,
    prompt: str | None = None,
    **options: Any,
) -> Generator[Any]:
    from bedrock_rft import rollouts as package

    text = (prompt or "").casefold()

    def is_wanted(record: Any) -> bool:
        return (
            (min_score is None or record.score >= min_score)
            and (max_score is None or record.score <= max_score)
            and (not errors or record.error is not None)
            and (text in (record.prompt or "").casefold() or text == record.prompt_hash)
        )

    is_path = "/" in location or not is_function_name(location)
    if job is None and (Path(location).exists() or (is_path and not location.startswith(("s3:", "arn:")))):
        yield package.read(location, **options).filter(is_wanted)
        return
    with lookup(location):
        opened = open_client(**({} if settings().auth or job else {"auth": "aws"}))
    with opened as client:
        found = client.rewards.rollouts(location, job=job, **options)
        if job is not None:
            note(f"These rollouts are of the time in which {job} ran. Other jobs with this reward may be included.")
        yield found.filter(is_wanted)


def _lines(record: Any, limit: int | None) -> Iterator[str]:
    head = f"{record.time[:19].replace('T', ' ')}Z  score {record.score:.4g}  {_numbers(record.parts)}".rstrip()
    yield from wrap(head, indent="")
    for name in ("prompt", "answer", "reference", "error"):
        value = getattr(record, name)
        if value is None:
            continue
        text = sanitize_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 1_000_000)
        wrapped = [part for line in text.expandtabs(4).split("\n") for part in textwrap.wrap(line, _WIDTH - 12) or [""]]
        if limit is not None and len(wrapped) > limit:
            wrapped[limit - 1 :] = [f"… {len(wrapped) - limit + 1} more lines"]
        cut = " (cut when it was recorded)" if name in record.truncated else ""
        for place, line in enumerate(wrapped):
            yield f"  {name if not place else '':<10}{line}{cut if place == len(wrapped) - 1 else ''}".rstrip()
    yield ""


def _numbers(values: Mapping[str, float]) -> str:
    return " ".join(f"{name}={value:.4g}" for name, value in values.items())
