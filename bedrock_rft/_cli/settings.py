"""The settings of one invocation: the global options, which every command takes in any position."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bedrock_rft import Client

FORMATS = ("table", "json", "jsonl", "csv", "quiet")
"""The formats of results."""

_KEY = "bedrock_rft.settings"


class Settings:
    """The values of the global options."""

    # Not a dataclass: importing `dataclasses` would double the time of a help text.

    def __init__(self) -> None:
        self.region: str | None = None
        self.profile: str | None = None
        self.auth: str | None = None
        self.project: str | None = None
        self.base_url: str | None = None
        self.output = "table"
        self.no_input = self.yes = self.debug = self.no_color = False

    def client_options(self) -> Mapping[str, Any]:
        """Return the arguments of `Client`."""
        return {name: getattr(self, name) for name in ("region", "profile", "auth", "project", "base_url")}


def settings(context: click.Context | None = None) -> Settings:
    """Return the settings of a command, by default the current one."""
    found: Settings = (context or click.get_current_context()).meta.setdefault(_KEY, Settings())
    return found


def open_client(**overrides: Any) -> Client:
    """Return a client with the global options and the environment."""
    from bedrock_rft import Client

    return Client(**{**settings().client_options(), **overrides})


def confirm(question: str) -> None:
    """Ask for a confirmation on a terminal. Raise if the answer is no, or without a terminal and `--yes`."""
    given = settings()
    if given.yes:
        return
    if given.no_input or sys.stdin is None or not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask, so nothing was done. Pass --yes to confirm.")
    if not click.confirm(question, err=True):
        raise click.ClickException("Nothing was done.")


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value == "" and not context.resilient_parsing:
        # An empty value comes from an unset variable in a script. It must not lead to another account or service.
        raise click.BadParameter("the value is empty.", context, parameter)
    if value:  # also for shell completion, because the ids depend on it
        given: Settings = context.meta.setdefault(_KEY, Settings())
        setattr(given, str(parameter.name).removeprefix("global_"), value)


def _print_version(context: click.Context, _: click.Parameter, value: Any) -> None:
    if value and not context.resilient_parsing:
        from bedrock_rft._core.output import print_line
        from bedrock_rft._core.version import __version__

        print_line(f"bedrock-rft {__version__}")
        context.exit()


def _option(*names: str, **options: Any) -> click.Option:
    name = names[-1].removeprefix("--").replace("-", "_")
    return click.Option([*names, f"global_{name}"], expose_value=False, callback=_store, **options)


GLOBAL_OPTIONS = (
    _option("--region", metavar="REGION", help="AWS region."),
    _option("--profile", metavar="NAME", help="Profile of the AWS configuration."),
    _option("--auth", type=click.Choice(["api_key", "aws"]), help="Use only this kind of identity."),
    _option("--project", metavar="ID", help="Bedrock project. Default: the default project."),
    _option("--base-url", metavar="URL", help="Endpoint of the service."),
    _option("-o", "--output", type=click.Choice(FORMATS), help="Format of the result. Default: table."),
    _option("--no-input", is_flag=True, help="Never ask a question."),
    _option("-y", "--yes", is_flag=True, help="Answer every question with yes."),
    _option("--debug", is_flag=True, help="Log requests, and print tracebacks."),
    _option("--no-color", is_flag=True, help="Print without colors."),
    click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_print_version,
        help="Print the version and exit.",
    ),
)
