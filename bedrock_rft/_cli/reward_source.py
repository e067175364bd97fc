"""Find the reward that a user names: an ARN, the name of a deployed function, or a file."""

from __future__ import annotations

import ast
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bedrock_rft._cli.settings import open_client

_HANDLER = "lambda_handler"
_FUNCTION_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FORMS = "file.py:name, file.py with one reward, a zip, the ARN of a deployed function, or its name"


def is_file(reward: str) -> bool:
    """Return whether a text names a Python file or a zip."""
    location = reward.rpartition(":")[0] if not reward.endswith((".py", ".zip")) else reward
    return not reward.startswith("arn:") and location.endswith((".py", ".zip"))


def is_function_name(text: str) -> bool:
    """Return whether a text can be the name of a deployed function."""
    return _FUNCTION_NAME.fullmatch(text) is not None


def check_reward(context: click.Context, parameter: click.Parameter | None, text: str) -> str:
    """Return the text of a parameter, or raise if it is neither an ARN nor a file nor the name of a function."""
    if text.startswith("arn:") or is_file(text) or is_function_name(text):
        return text
    if Path(text).exists():
        several = sum(isinstance(one, click.Argument) for one in context.command.params) > 1
        order = " The reward comes before the file of records." if several and parameter is not None else ""
        raise click.UsageError(f"{text} is not a reward.{order} A reward is {_FORMS}.")
    raise click.UsageError(f"There is no file {text}. A reward is {_FORMS}.")


@contextmanager
def reward_client(reward: str) -> Generator[Any]:
    """Open a client for a deployed reward, or None for a file."""
    if is_file(reward):
        yield None
        return
    with lookup(reward):
        client = open_client()
    with client:
        yield client


@contextmanager
def lookup(name: str) -> Generator[None]:
    """Add to a `ConfigurationError` that the name is no file, because it may be a mistyped path. An ARN is none."""
    from bedrock_rft.errors import ConfigurationError

    try:
        yield
    except ConfigurationError as error:
        if not name.startswith("arn:"):
            error.args = (
                f"There is no file or folder '{name}', and no deployed reward of this name was found: {error.message}",
            )
        raise


def resolve_file(reward: str) -> str:
    """Return `file.py:name` for a file, with the name of its only reward if none is given."""
    if not reward.endswith(".py"):
        return reward
    path = Path(reward).expanduser()
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except OSError as error:
        raise click.UsageError(f"{reward} cannot be read: {error.strerror}.") from None
    except (SyntaxError, ValueError) as error:
        raise click.UsageError(f"{reward} is not valid Python: {error}.") from None
    names = list(dict.fromkeys(_rewards(tree)))
    if _HANDLER in names:
        names = [_HANDLER]
    if len(names) == 1:
        return f"{reward}:{names[0]}"
    found = f"It has {', '.join(names)}." if names else "No reward and no handler was recognised in the file."
    raise click.UsageError(f"{reward} does not name one reward. {found} Name the reward: {reward}:NAME.")


def reward_target(client: Any, reward: str) -> str:
    """Return the ARN of a deployed function, found by its name if needed, or `file.py:name`."""
    if reward.startswith("arn:"):
        return reward
    if is_file(reward):
        return resolve_file(reward)
    with lookup(reward):
        return str(client.rewards.retrieve(reward))


def load_gold(text: str | None) -> Any:
    """Return the function that `file.py:name` names, which gives the right answer to a record."""
    if text is None:
        return None
    from bedrock_rft import rewards

    return rewards.load_gold(text)


def _rewards(tree: ast.Module) -> Iterator[str]:
    """Yield the names of functions and values of a module that look like rewards or handlers."""
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    ours = [node for node in imports if (node.module or "").startswith("bedrock_rft")]
    own = {alias.asname or alias.name for node in ours for alias in node.names}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            decorators = {_called_name(one) for one in node.decorator_list}
            arguments = [one.arg for one in node.args.args]
            if node.name == _HANDLER or decorators & {"reward", "rewards.reward"} or arguments == ["event", "context"]:
                yield node.name
        elif isinstance(node, ast.Assign) and isinstance(node.value, (ast.Call, ast.BinOp, ast.Attribute)):
            names = [one.id for one in node.targets if isinstance(one, ast.Name)]
            called = {_called_name(one) for one in ast.walk(node.value) if isinstance(one, (ast.Call, ast.Attribute))}
            if _HANDLER in names or any(
                name.startswith("rewards.") or name.partition(".")[0] in own for name in called
            ):
                yield from (name for name in names if not name.startswith("_"))


def _called_name(node: ast.AST) -> str:
    while isinstance(node, ast.Call):
        node = node.func
    return ast.unparse(node)
