"""Parts of the reference that come from the code: commands, codes, messages, settings and payloads, as Markdown.

A page names a part in a directive, ```` ```{generated} commands ````, and `conf.py` replaces it.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

import bedrock_rft

PACKAGE = Path(bedrock_rft.__file__).parent
_LITERAL = 12
"""A message with fewer literal characters cannot be searched for."""

_VARIABLE = re.compile(r"""[\"']((?:AWS|OPENAI|BEDROCK_RFT|REQUESTS|SSL|XDG)_[A-Z_]+|NO_COLOR)[\"']""")


_Values = Mapping[str, Sequence[ast.expr]]
"""The values that are assigned to each name, in the order of the lines."""
_Call = tuple[str, ast.Call, _Values]
"""The name of the called function or class, the call, and the values of the names around it."""


@cache
def _texts() -> Mapping[Path, str]:
    return {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


@cache
def _calls(path: Path) -> Sequence[_Call]:
    """Return the calls in a module. A class that calls `super().__init__` counts as a call of the class."""

    def walk(node: ast.AST, values: _Values) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Module):
            inner = node.body if isinstance(node, ast.Module) else ast.walk(node)
            assigned = sorted((each for each in inner if isinstance(each, ast.Assign)), key=lambda each: each.lineno)
            own: dict[str, list[ast.expr]] = {}
            for target, value in ((target, each.value) for each in assigned for target in each.targets):
                for one in (each for each in ast.walk(target) if isinstance(each, ast.Name)):
                    own.setdefault(one.id, []).append(value if one is target else ast.Constant(value=None))
            values = {**values, **own}
        if isinstance(node, ast.ClassDef):
            inits = [each for each in ast.walk(node) if isinstance(each, ast.Call) and _is_super_init(each)]
            found.extend((node.name, each, values) for each in inits)
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            found.append((name, node, values))
        for child in ast.iter_child_nodes(node):
            walk(child, values)

    found: list[_Call] = []
    walk(ast.parse(_texts()[path]), {})
    return found


def _is_super_init(call: ast.Call) -> bool:
    return ast.unparse(call.func) == "super().__init__"


def _template(node: ast.expr | None, values: _Values, depth: int = 0) -> str:
    """Return a text with `…` for each part that is computed."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_template(part, values, depth) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return _template(node.value, values, depth) if isinstance(node.value, ast.Name) else "…"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _template(node.left, values, depth) + _template(node.right, values, depth)
    if isinstance(node, ast.Name) and node.id in values and depth <= 1:
        before = [each for each in values[node.id] if getattr(each, "lineno", node.lineno) <= node.lineno]
        found = before or values[node.id]
        return _template(found[-1] if before or len(found) == 1 else None, values, depth + 1)
    return "…"


def messages(kind: str) -> str:
    """Return the messages of an error class as a list. A computed part is `…`."""
    found: set[str] = set()
    calls = (each for path, text in _texts().items() if kind in text for each in _calls(path))
    for called, call, values in calls:
        if called != kind:
            continue
        text = " ".join(_template(call.args[0] if call.args else None, values).split())
        if len(text.replace("…", "").strip()) >= _LITERAL:
            found.add(text)
    if not found:
        return "The message is a text of the service or of the system."
    return "Messages:\n\n" + "\n".join(f"- `` {text} ``" for text in sorted(found, key=str.lower))


def codes(area: str) -> str:
    """Return the codes of findings or problems of a package as a table: code, levels, and summary."""
    rows: dict[str, tuple[set[str], str]] = {}
    paths = [path for path in _texts() if path.is_relative_to(PACKAGE / area)]
    for called, call, values in (each for path in paths for each in _calls(path)):
        if called not in {"Finding", "Problem", "error", "make_error", "warning"}:
            continue
        texts = [_template(each, values) for each in call.args]
        if called in {"Finding", "Problem"}:
            level, texts = texts[0] if texts else "…", texts[1:]
            summary = texts[1] if texts[1:] else "…"
        else:
            level = called.removeprefix("make_")
            field, summary, remedy = (*texts[1:], "…", "…", "…")[:3]
            summary = f"{field}: {summary}" if field.strip("…") else summary
            summary = summary if summary.strip("…") else remedy
        if not texts or not re.fullmatch(r"[a-z][a-z0-9_-]+", texts[0]):
            continue
        levels, first = rows.setdefault(texts[0], (set(), ""))
        levels.add(level if level != "…" else "depends")
        if len(summary) > len(first):
            rows[texts[0]] = levels, summary
    return _table(
        ("code", "level", "summary"),
        [(f"`{code}`", ", ".join(sorted(levels)), _cell(summary)) for code, (levels, summary) in sorted(rows.items())],
    )


def error_tree() -> str:
    """Return the tree of the public exceptions."""
    from bedrock_rft import errors

    return _text(re.findall(r"```\n(.*?)```", errors.__doc__ or "", re.DOTALL)[0])


def commands() -> str:
    """Return the help page of every command."""
    import click

    from bedrock_rft._cli.app import root
    from bedrock_rft._cli.command import PROGRAM

    def walk(inner: click.Command, context: click.Context) -> Iterator[str]:
        level = "#" * (2 + min(2, len(context.command_path.split()) - 1))
        yield f"{level} {context.command_path}\n\n{_text(inner.get_help(context))}"
        if isinstance(inner, click.Group):
            for name in inner.list_commands(context):
                command = inner.get_command(context, name)
                if command is not None:
                    yield from walk(command, click.Context(command, parent=context, info_name=name, terminal_width=78))

    return "\n\n".join(walk(root, click.Context(root, info_name=PROGRAM, terminal_width=78)))


def exit_codes() -> str:
    """Return the exit codes of the command, as its help names them."""
    from bedrock_rft._cli.app import root

    rows = re.findall(r"(?m)^  (\d+) +(.+)$", root.epilog or "")
    return _table(("code", "meaning"), rows)


def variables() -> set[str]:
    """Return the environment variables that the package names."""
    return {name for text in _texts().values() for name in _VARIABLE.findall(text)}


def arguments(name: str) -> str:
    """Return the arguments of a class or function as a table, from its docstring."""
    target = cast("Any", _find(name))
    section = re.search(r"\nArgs:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(target) or "", re.DOTALL)
    found = re.findall(r"(?ms)^    (\w+): (.*?)(?=^    \w+:|\Z)", section[1] + "\n" if section else "")
    defaults = {
        each.name: "" if each.default is each.empty else f"`{each.default!r}`"
        for each in inspect.signature(target).parameters.values()
    }
    rows = [(f"`{one}`", defaults.get(one, ""), _cell(" ".join(text.split()))) for one, text in found]
    return _table(("argument", "default", "meaning"), rows)


def fields(name: str) -> str:
    """Return the fields of a payload as a table, from its model and the texts below its fields."""
    model = cast("Any", _find(name))
    tree = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    types: dict[str, str] = {}
    for one, following in zip(tree.body, [*tree.body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            types[one.target.id] = ast.unparse(one.annotation)
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                texts[one.target.id] = " ".join(str(following.value.value).split())
    rows = [
        (
            f"`{field.alias or each}`",
            f"`{types.get(each, '')}`".replace("|", "\\|"),
            "yes" if field.is_required() else "",
            _cell(texts.get(each, "")),
        )
        for each, field in model.model_fields.items()
        if each in types
    ]
    return _table(("field", "type", "required", "meaning"), rows)


def _find(name: str) -> object:
    """Return an object of the package by its dotted name."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def _text(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


PARTS: Mapping[str, Callable[..., str]] = {
    "arguments": arguments,
    "codes": codes,
    "commands": commands,
    "error-tree": error_tree,
    "exit-codes": exit_codes,
    "fields": fields,
    "messages": messages,
}


def expand(page: str) -> str:
    """Return a page with its directives `generated` and `root-file` replaced."""
    page = re.sub(r"(?ms)^```\{root-file\} (\S+)\n```$", lambda found: _root_file(found[1]), page)
    return re.sub(
        r"(?ms)^```\{generated\} ([\w-]+) ?(\S*)\n```$",
        lambda found: PARTS[found[1]](*([found[2]] if found[2] else [])),
        page,
    )


def public_modules() -> list[str]:
    """Return the names of the modules that users import, without `bedrock_rft.`."""
    return [found.name for found in pkgutil.iter_modules([str(PACKAGE)]) if found.name[0] != "_"]


def load_public_names() -> None:
    """Import everything public. autodoc imports with `TYPE_CHECKING` set, which pydantic does not stand."""
    for name in ("bedrock_rft", *(f"bedrock_rft.{module}" for module in public_modules())):
        module = importlib.import_module(name)
        for public in module.__all__:
            getattr(module, public)


def expand_api(page: str) -> str:
    """Return a page whose directives of autodoc are replaced by signatures and docstrings, for its Markdown version."""

    def block(found: re.Match[str]) -> str:
        parts = re.findall(r"\.\. auto(module|class):: (\S+)\n((?:   :.*\n)*)", found[1])
        return "\n".join("\n".join(_api(name, kind, with_members=":members:" in rest)) for kind, name, rest in parts)

    return re.sub(r"(?ms)^```\{eval-rst\}\n(.*?)^```$", block, page)


def _api(name: str, kind: str, *, with_members: bool) -> Iterator[str]:
    """Yield the lines about a module or a class."""
    name = name if "." in name else f"bedrock_rft.{name}"
    if kind == "module":
        module = importlib.import_module(name)
        yield f"{inspect.getdoc(module)}\n"
        for public in sorted(module.__all__):
            yield from _entry(f"{name}.{public}", getattr(module, public), with_members=True)
    else:
        yield from _entry(name, _find(name), with_members=with_members)


def _entry(name: str, target: Any, *, with_members: bool) -> Iterator[str]:
    """Yield the lines about an object: its signature, its docstring, and those of its public methods."""
    if not (callable(target) or isinstance(target, property)):
        yield f"### `{name}`\n"
        return
    signature = ""
    with contextlib.suppress(TypeError, ValueError, RuntimeError):  # a property, a type, and a model without fields
        signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(cast("Any", target))))
    signature = signature.replace("(source: Any) -> None", "")  # of a resource, which the client creates
    yield f"{'###' if with_members else '####'} `{name}{signature}`\n\n{inspect.getdoc(target) or ''}\n"
    if inspect.isclass(target) and with_members:
        own = [base for base in target.__mro__ if base.__module__.startswith("bedrock_rft")]
        members = {member: value for base in reversed(own) for member, value in vars(base).items() if member[0] != "_"}
        for member, value in sorted(members.items()):
            if callable(value) or isinstance(value, property | classmethod | staticmethod):
                method = value if isinstance(value, property) else getattr(target, member)
                yield from _entry(f"{target.__name__}.{member}", method, with_members=False)


def _root_file(name: str) -> str:
    """Return a page of the folder above this one, with its links as they are from here."""
    text = (Path(__file__).parents[1] / name).read_text(encoding="utf-8")
    folder = Path("..", name).parent.as_posix()
    return re.sub(r"\]\((?!https?:|#)(docs/)?", lambda found: "](" if found[1] else f"]({folder}/", text)
