"""Shell completion: commands, options, and the ids of jobs and files."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from bedrock_rft._cli.command import COMPLETE, PROGRAM, Command
from bedrock_rft._cli.settings import settings

_SHELLS = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
    bash: eval "$(bedrock-rft completion bash)"                in ~/.bashrc
    zsh:  eval "$(bedrock-rft completion zsh)"                 in ~/.zshrc
    fish: bedrock-rft completion fish | source                 in config.fish

    Ids of jobs and files are completed as well. They are cached for a minute.
    """  # noqa: D301 - click reads the control character
    from click.shell_completion import get_completion_class

    from bedrock_rft._cli.output import print_text

    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"This version of click has no completion for {shell}. Update click.")
    root = context.find_root().command
    function = f"_{PROGRAM.replace('-', '_')}_completion"
    names = {"complete_func": function, "complete_var": COMPLETE, "prog_name": PROGRAM}
    print_text(kind(root, {}, PROGRAM, COMPLETE).source_template % names)


def complete(root: click.Command, instruction: str) -> int:
    """Print the completions that a shell asks for. Errors are silent, because the user is typing."""
    from click.shell_completion import shell_complete

    with contextlib.suppress(Exception):
        return shell_complete(root, {}, PROGRAM, COMPLETE, instruction)
    return 1


def job_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the id of a job."""
    return _ids(context, "jobs", incomplete)


def file_ids(context: click.Context, _: click.Parameter, incomplete: str) -> list[Any]:
    """Complete the id of a file."""
    return _ids(context, "files", incomplete)


def _ids(context: click.Context, kind: str, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem

    with contextlib.suppress(Exception):
        from bedrock_rft._cli.id_cache import cached_ids

        options = settings(context).client_options()
        given = {name: value for name, value in options.items() if value is not None}
        groups: list[Any] = [each for each in context.params.values() if isinstance(each, tuple)]
        taken = {str(one) for group in groups for one in group}
        found = cached_ids(kind, given)
        wanted = [item for item in found if item[0].startswith(incomplete) and item[0] not in taken]
        return [CompletionItem(one, help=about) for one, about in wanted]
    return []
