"""Commands and groups that take the global options in any position; groups load their commands when needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from importlib import import_module
from typing import Any, TypeVar

import click

from bedrock_rft._cli.settings import GLOBAL_OPTIONS

PROGRAM = "bedrock-rft"

COMPLETE = "_BEDROCK_RFT_COMPLETE"
"""The environment variable that a shell sets to ask for completions."""

WIDTH = 80
"""Columns of help texts."""

# The width is fixed, because measuring the terminal imports several libraries.
_SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"], "terminal_width": WIDTH - 2}

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command with the global options; `shape` is the type of its JSON output, for the help text."""

    def __init__(self, *args: Any, shape: str = "", **options: Any) -> None:
        super().__init__(*args, **{"context_settings": dict(_SETTINGS), **options})
        self.shape = shape

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, the global options first, so that a command's own option can take over a letter."""
        return [*GLOBAL_OPTIONS, *super().get_params(ctx)]

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, and remember it for error messages."""
        ctx.meta["bedrock_rft.leaf"] = ctx
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options; `bedrock-rft --help` lists the global ones."""
        _write_options(ctx, self.params, formatter, "Options")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the type of the JSON output, and how to find the global options."""
        super().format_epilog(ctx, formatter)
        formatter.write_paragraph()
        if self.shape:
            formatter.write_text(f"JSON output: {self.shape}")
        formatter.write_text("Global options, in any position: see 'bedrock-rft --help'.")


class Group(click.Group):
    """A group of commands with the global options. Commands in `lazy` (module and help) are imported when they run."""

    command_class = Command

    def __init__(
        self, *args: Any, lazy: Mapping[str, tuple[str, str]] | None = None, root: bool = False, **options: Any
    ) -> None:
        super().__init__(*args, **{"context_settings": dict(_SETTINGS), **options})
        self.lazy = lazy or {}
        self.root = root

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the parameters, with the global options and the help option last."""
        *own, help_option = super().get_params(ctx)
        return [*own, *GLOBAL_OPTIONS, help_option]

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """Return the names of the commands, in the order in which users need them."""
        return [*self.lazy, *self.commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name in self.lazy:
            module = import_module(f"bedrock_rft._cli.{self.lazy[cmd_name][0]}")
            found: click.Command = getattr(module, cmd_name)
            return found
        return super().get_command(ctx, cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command by its name, or suggest the nearest command."""
        name = args[0]
        if name not in self.list_commands(ctx) and not name.startswith("-") and not ctx.resilient_parsing:
            import difflib  # slow to import

            near = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            advice = f" Did you mean '{ctx.command_path} {near[0]}'?" if near else ""
            raise click.UsageError(f"There is no command '{ctx.command_path} {name}'.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, and in the help of `bedrock-rft` itself the global options."""
        self.format_commands(ctx, formatter)
        if self.root:
            _write_options(ctx, GLOBAL_OPTIONS, formatter, "Global options, in any position")

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the commands without importing them."""
        rows = [(name, about) for name, (_, about) in self.lazy.items()]
        rows += [(name, command.get_short_help_str(WIDTH)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the epilog with its line breaks, and how to find the global options."""
        formatter.write_paragraph()
        if self.root:
            formatter.write(self.epilog or "")
        else:
            formatter.write_text("Global options, in any position: see 'bedrock-rft --help'.")


def many(*names: str, **options: Any) -> Callable[[F], F]:
    """Return an option that may be repeated."""
    options["help"] = f"{options['help'].rstrip('.')}; may be repeated."
    return click.option(*names, multiple=True, **options)


def options(*decorators: Callable[[Any], Any]) -> Callable[[F], F]:
    """Return one decorator that adds several options, in this order."""
    return lambda function: reduce(lambda made, option: option(made), reversed(decorators), function)


def parse_pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    """Return the pairs of an option that takes KEY=VALUE and may be repeated."""
    for one in given:
        if "=" not in one:
            raise click.UsageError(f"{flag} {one} is not KEY=VALUE.")
    return dict(one.split("=", 1) for one in given)


def pop_hyperparameters(flags: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of `hyperparameter_options` from the flags, and return those that were given."""
    import json  # slow for a help text

    flagged = {name: flags.pop(name) for name in ("n_epochs", "batch_size", "learning_rate_multiplier")}
    given = {name: value for name, value in flagged.items() if value is not None}
    for name, text in parse_pairs("--hyperparameter", flags.pop("hyperparameter")).items():
        try:
            given[name] = json.loads(text)
        except (ValueError, RecursionError):
            given[name] = text
    return given


gold_option = click.option("--gold", metavar="FILE:NAME", help="A function that returns the right answer to a record.")

hyperparameter_options = options(
    click.option("--n-epochs", type=int, metavar="N", help="Passes over the training data."),
    click.option("--batch-size", type=int, metavar="N", help="Prompts per training step."),
    click.option("--learning-rate-multiplier", type=float, metavar="NUMBER", help="Scales the learning rate."),
    many("--hyperparameter", metavar="NAME=VALUE", help="Another hyperparameter."),
)
payload_option = click.option("--payload", type=click.Choice(["metadata", "top_level"]), default="metadata",
                              help="Position of the reference answer in a rollout. Default: metadata.")  # fmt: skip
range_option = click.option("--reward-range", type=float, nargs=2, default=(0.0, 1.0), metavar="LOW HIGH",
                            help="Lowest and highest score of the reward. Default: 0 1.")  # fmt: skip
wrap_text_option = click.option("--wrap-text", is_flag=True, help='Send a text reference as {"text": ...}.')


def _write_options(
    ctx: click.Context, options: Sequence[click.Parameter], formatter: click.HelpFormatter, title: str
) -> None:
    rows = [record for one in options if isinstance(one, click.Option) and (record := one.get_help_record(ctx))]
    if rows:
        with formatter.section(title):
            formatter.write_dl(rows)
