"""Errors of a command: messages in the terms of the command line, exit codes, and the log on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from bedrock_rft._cli.settings import FORMATS
from bedrock_rft._cli.wording import extract_remedy, for_shell
from bedrock_rft._core.output import print_error
from bedrock_rft._core.text import sanitize_line

ERROR, USAGE, FOUND_ERRORS, JOB_FAILED, AMBIGUOUS, TIMED_OUT, INTERRUPTED = 1, 2, 3, 4, 5, 124, 130

_WIDTH = 80
# Log messages that are not printed, because the command prints a warning or an error about the same event.
_REPEATED = ("polling job %s has failed since", "stopped waiting, but job")


class OutputClosedError(Exception):
    """The reader of standard output closed it, so nothing more can be printed."""


@dataclass
class Outcome:
    """The exit code of a command, and the arguments and the click context that determine how errors are printed."""

    arguments: Sequence[str]
    code: int = 0
    context: click.Context | None = None
    interrupts: list[Callable[[], None]] = field(default_factory=list[Callable[[], None]])

    def enter(self, context: click.Context) -> None:
        """Keep the context, whose settings determine the format of errors."""
        self.context = context
        context.meta["bedrock_rft.interrupts"] = self.interrupts
        if self.setting("debug"):
            logging.getLogger("bedrock_rft").setLevel(logging.DEBUG)

    def setting(self, name: str) -> Any:
        """Return a global option; None if it was not parsed."""
        found = self.context.meta.get("bedrock_rft.settings") if self.context is not None else None
        return getattr(found, name, None)

    @property
    def debug(self) -> bool:
        """Return whether `--debug` was given."""
        return bool(self.setting("debug")) or "--debug" in self.arguments

    @property
    def as_json(self) -> bool:
        """Return whether errors are printed as JSON. An invalid command line is parsed in part only."""
        return (self.setting("output") or _requested_format(self.arguments)) in {"json", "jsonl"}


def finish(code: int) -> None:
    """End the command with an exit code other than 0, after its result was printed."""
    if code:
        raise click.exceptions.Exit(code)


def warn(text: str) -> None:
    """Print a warning to standard error."""
    print_wrapped(f"warning: {for_shell(text)}")


def print_wrapped(text: str) -> None:
    """Print text to standard error in lines of at most 80 columns. Long words, such as paths, are not broken."""
    for line in text.splitlines() or [""]:
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        wrapped = textwrap.wrap(line, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        print_error("\n".join(wrapped))


def on_interrupt(action: Callable[[], None]) -> None:
    """Call a function if Ctrl-C ends the command."""
    click.get_current_context().meta["bedrock_rft.interrupts"].append(action)


def exit_code_for(error: BaseException) -> int:
    """Return the exit code for an error of the SDK."""
    from bedrock_rft import errors

    report = getattr(error, "report", None)
    if isinstance(error, errors.DatasetError) and error.problems:
        return FOUND_ERRORS
    if isinstance(error, errors.RewardError) and report is not None:
        return FOUND_ERRORS
    table: dict[type[BaseException], int] = {
        errors.MissingExtraError: ERROR,  # a ConfigurationError too
        errors.ConfigurationError: USAGE,
        errors.AmbiguousCreateError: AMBIGUOUS,
        errors.WaitTimeoutError: TIMED_OUT,
        errors.JobFailedError: JOB_FAILED,
        errors.JobCancelledError: JOB_FAILED,
    }
    return next((code for kind, code in table.items() if isinstance(error, kind)), ERROR)


@contextlib.contextmanager
def catch_failures(arguments: Sequence[str]) -> Generator[Outcome]:
    """Run a command; print its error and set its exit code. Warnings and the log go to standard error."""
    outcome = Outcome(arguments)
    with _log_to_stderr(outcome):
        try:
            yield outcome
        except click.exceptions.Exit as end:
            outcome.code = end.exit_code
        except OutputClosedError:
            outcome.code = 0
        except (KeyboardInterrupt, click.Abort, EOFError):
            outcome.code = INTERRUPTED
            for action in outcome.interrupts:
                action()
            if not outcome.interrupts:
                print_error("Stopped.")
        except click.ClickException as error:
            outcome.code = error.exit_code
            _print_usage_error(outcome, error)
        except Exception as error:  # noqa: BLE001 - every error becomes a message
            outcome.code = _handle(outcome, error)


def print_failure(error: BaseException, *, as_json: bool, context: click.Context | None = None) -> None:
    """Print an error of the SDK in the terms of the command line."""
    text = for_shell(str(getattr(error, "message", None) or _describe_os_error(error) or error), context)
    request_id = getattr(error, "request_id", None)
    if as_json:
        code = getattr(error, "code", None) or getattr(getattr(error, "error", None), "code", None)
        name = type(error).__name__
        code = code or re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.removesuffix("Error")).lower()  # such as wait_timeout
        _print_json(name, code, text, extract_remedy(text), request_id)
        return
    if request_id and request_id not in text:
        text += f" (request {sanitize_line(request_id, 100)})"
    print_wrapped(f"error: {text}")
    if (report := getattr(error, "report", None)) is not None:
        print_error(for_shell(str(report), context))


def _describe_os_error(error: BaseException) -> str:
    """Return the path and the reason of an operating system's error, without its number."""
    if not isinstance(error, OSError) or not error.strerror:
        return ""
    return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."


def _handle(outcome: Outcome, error: Exception) -> int:
    from bedrock_rft.errors import BedrockRFTError

    if outcome.debug:
        print_error("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, (BedrockRFTError, OSError)):
        print_failure(error, as_json=outcome.as_json, context=outcome.context)
        return exit_code_for(error)
    text = (
        f"{type(error).__name__}: {error}. This is a bug in bedrock-rft. Run the command with --debug, and report it."
    )
    print_failure(RuntimeError(text), as_json=outcome.as_json)
    return ERROR


def _print_usage_error(outcome: Outcome, error: click.ClickException) -> None:
    context = getattr(error, "ctx", None)
    text = error.format_message().replace("\n\t", " ")  # click writes each choice on its own line
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        print_error(error.format_message())
        return
    if isinstance(error, click.NoSuchOption):
        near = f" Did you mean {error.possibilities[0]}?" if error.possibilities else ""
        text = f"There is no option {error.option_name}.{near}"
    path = context.command_path if context is not None else "bedrock-rft"
    remedy = f"See '{path} --help'."
    if outcome.as_json:
        _print_json(type(error).__name__, "usage", text, remedy, None)
        return
    print_wrapped(f"error: {sanitize_line(text)}")
    print_error(remedy)


def _print_json(kind: str, code: object, message: str, remedy: str | None, request_id: object) -> None:
    fields = {"type": kind, "code": code, "message": message, "remedy": remedy, "request_id": request_id}
    print_error(json.dumps({"error": fields}, indent=2, default=str))


def _requested_format(arguments: Sequence[str]) -> str | None:
    for place, argument in enumerate(arguments):
        for start in ("--output=", "-o"):
            if argument.startswith(start) and argument.removeprefix(start) in FORMATS:
                return argument.removeprefix(start)
        if argument in {"-o", "--output"} and arguments[place + 1 : place + 2]:
            return arguments[place + 1]
    return None


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING and str(record.msg).startswith(_REPEATED):
            return
        level = "warning" if record.levelno >= logging.WARNING else record.levelname.lower()
        print_wrapped(f"{level}: {for_shell(record.getMessage())}")


@contextlib.contextmanager
def _log_to_stderr(outcome: Outcome) -> Generator[None]:
    """Print the SDK's warnings and its log records of level WARNING or higher to standard error.

    With `--debug`, print all its log records and the warnings of other libraries too.
    """
    logger, handler = logging.getLogger("bedrock_rft"), _LogHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if outcome.debug else logging.WARNING)
    from bedrock_rft._core.errors import BedrockRFTWarning

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, BedrockRFTWarning):
            warn(str(message))
        elif outcome.debug:
            print_error(f"{category.__name__}: {message}")

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", BedrockRFTWarning)
            if not sys.warnoptions:
                warnings.simplefilter("ignore", ResourceWarning)
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
