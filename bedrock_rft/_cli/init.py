"""`bedrock-rft init`."""

from __future__ import annotations

from pathlib import Path

import click

from bedrock_rft._cli.command import Command
from bedrock_rft._cli.output import note, show


@click.command(cls=Command, shape='{"files"}')
@click.argument("folder", default=".", metavar="[FOLDER]")
def init(folder: str) -> None:
    """Write a small project into FOLDER, by default this one.

    It has generated word problems (train.jsonl), a reward function with a test
    (reward.py), a job (run.toml), a README and a .gitignore. If one of
    them exists, nothing is written.
    """
    from bedrock_rft._cli.templates import project_files, write_new

    written = write_new(project_files(Path(folder)))
    show({"files": written}, text="\n".join(written), ids=written)
    note("")
    note("Next steps:")
    if folder != ".":
        note(f"  cd {folder}")
    note("  bedrock-rft data check train.jsonl")
    note("  bedrock-rft reward check reward.py train.jsonl")
    note("  bedrock-rft rehearse train.jsonl --reward reward.py")
    note("  bedrock-rft jobs create run.toml --dry-run")
