"""`bedrock-rft inventory`."""

from __future__ import annotations

import click

from bedrock_rft._cli.command import Command
from bedrock_rft._cli.output import show
from bedrock_rft._cli.settings import open_client
from bedrock_rft._cli.wording import for_shell


@click.command(cls=Command, shape="bedrock_rft.costs.Inventory")
@click.option("--no-checkpoints", is_flag=True, help="Leave out checkpoints, which need a request for each job.")
@click.option("--no-functions", is_flag=True, help="Leave out deployed functions, and do not call Lambda.")
def inventory(*, no_checkpoints: bool, no_functions: bool) -> None:
    """List files, jobs, tuned models, checkpoints and functions.

    Each has its age, its size, its monthly cost as far as it is published, and
    the command that deletes it. Nothing is deleted.
    """
    with open_client() as client:
        found = client.inventory(checkpoints=not no_checkpoints, functions=not no_functions)
    show(found, text=for_shell(str(found)), ids=[asset.id for asset in found.deletable])
