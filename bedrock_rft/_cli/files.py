"""`bedrock-rft files`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from bedrock_rft._cli.command import Group
from bedrock_rft._cli.completion import file_ids
from bedrock_rft._cli.output import Columns, date, first, note, show_list, show_one, shows_progress
from bedrock_rft._cli.settings import confirm, open_client

_FILE = "bedrock_rft.types.File"
_COLUMNS: Columns = {
    "id": lambda file: file.id,
    "name": lambda file: file.filename,
    "bytes": lambda file: file.bytes,
    "status": lambda file: file.status,
    "created": lambda file: date(file.created_at),
}
_FIELDS: Columns = {**_COLUMNS, "purpose": lambda file: file.purpose, "details": lambda file: file.status_details}

files = Group("files", help="Upload and manage training files on the service.")


@files.command("upload", shape=_FILE)
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@click.option("--name", metavar="NAME", help="The name on the service. Default: the name of the file.")
@click.option("--min-records", type=click.IntRange(1), metavar="N", help="Minimum number of records. Default: 100.")
@click.option(
    "--purpose",
    default="fine-tune",
    metavar="TEXT",
    help="Purpose. Default: fine-tune. Files with another purpose are not checked.",
)
@click.option("--no-validate", is_flag=True, help="Upload without checking the records.")
@click.option("--no-reuse", is_flag=True, help="Upload again even if the service has the same file.")
def upload(
    path: str, name: str | None, min_records: int | None, purpose: str, no_validate: bool, no_reuse: bool
) -> None:
    """Check a JSONL file and upload it.

    If the service has a file with the same name and content, that file is shown
    and nothing is sent. The exit code is 3 if the check finds errors.
    """
    with open_client() as client:
        validate = not no_validate
        file = upload_file(
            client, path, filename=name, purpose=purpose, validate=validate, reuse=not no_reuse, min_records=min_records
        )
        show_one(file, _FIELDS)


@files.command("list", shape=f"a list of {_FILE}")
@click.option("--purpose", metavar="TEXT", help="Only files with this purpose, such as fine-tune.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Number of files to show. Default: all.")
def list_files(purpose: str | None, limit: int | None) -> None:
    """List the files."""
    with open_client() as client:
        found = client.files.list(purpose=purpose, limit=min(limit, 100) if limit else None)
        which = f" with the purpose '{purpose}'" if purpose else ""
        show_list(first(found, limit), _COLUMNS, empty=f"There are no files{which}.")


@files.command("get", shape=_FILE)
@click.argument("file", shell_complete=file_ids)
def get(file: str) -> None:
    """Show one file."""
    with open_client() as client:
        show_one(client.files.retrieve(file), _FIELDS)


@files.command("download")
@click.argument("file", shell_complete=file_ids)
@click.option("--to", "target", metavar="PATH", help="Write the content to PATH. Default: standard output.")
def download(file: str, target: str | None) -> None:
    """Download the content of a file."""
    with open_client() as client:
        if target is not None:
            existed = Path(target).exists()
            client.files.content(file, to=target)
            note(f"{file} was written to {target}{', and replaced the file that was there' if existed else ''}.")
            return
        content = client.files.content(file)
    _write_bytes(content)


@files.command("delete", shape="a list of bedrock_rft.types.FileDeleted")
@click.argument("file_ids", metavar="FILE...", nargs=-1, required=True, shell_complete=file_ids)
def delete(file_ids: tuple[str, ...]) -> None:
    """Delete files. Jobs that already started with them continue."""
    confirm(f"Delete {', '.join(file_ids)}?")
    with open_client() as client:
        deleted = (client.files.delete(file) for file in file_ids)
        show_list(deleted, {"id": lambda one: one.id, "deleted": lambda one: one.deleted}, actions=True)


def upload_file(
    client: Any, path: str, *, min_records: int | None = None, validate: bool = True, **options: Any
) -> Any:
    """Upload a file, with its progress on a terminal."""
    from bedrock_rft import datasets

    limits: Any = validate if min_records is None or not validate else datasets.Limits(min_records=min_records)

    def progress(sent: int, total: int) -> None:
        click.echo(f"\ruploading {path}: {sent * 100 // max(total, 1)} %", err=True, nl=sent >= total)

    return client.files.upload(path, validate=limits, progress=progress if shows_progress() else None, **options)


def _write_bytes(content: bytes) -> None:
    stream = getattr(sys.stdout, "buffer", None)
    if stream is None:
        return
    try:
        stream.write(content)
        stream.flush()
    except BrokenPipeError:
        from bedrock_rft._core.output import discard

        discard(sys.stdout)
