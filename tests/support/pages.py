"""Run the code of a documentation page from top to bottom, and compare its output with the output that is shown.

- `python` blocks run in one namespace. `python no-run` is only compiled, and `python before` has a test of its own.
  `sh no-run` is for commands that need CloudWatch or do not end.
- In `sh` and `console` blocks, commands of `bedrock-rft` run in this process, with the variables, `cd` and `>` of a
  shell. Other programs are in `OTHERS` and do not run. In `console`, lines after a `$ command` are its output. `exit=3`
  after the language is the expected exit code of the block.
- A `text` block directly after one of these is the output of that block.

In shown output, `…` stands for any text in a line, and a line with only `…` for any lines.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedrock_rft import Client
from support.command import command, process

__all__ = ["Block", "Page", "blocks", "matches"]

OTHERS = frozenset({".", "aws", "curl", "docker", "export", "make", "pip", "python", "python3"})
"""Programs that are shown, but not run."""

JOB = frozenset({"JOB", "ftjob-…"})
"""Words in commands that stand for the id of the page's last job."""

DATA = frozenset({"dockerfile", "json", "powershell", "sql", "toml", "yaml"})
"""Languages of files; `test_page_blocks.py` checks them, and `test_rollouts_queries.py` runs the SQL."""

BUILT = frozenset({"{eval-rst}", "{generated}", "{root-file}", "{toctree}"})
"""Directives of the site."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language with flags, the line of its first line, and its text."""

    kind: str
    line: int
    text: str

    @property
    def language(self) -> str:
        """The first word of the fence."""
        return self.kind.partition(" ")[0]


def blocks(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(?!`)([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [Block(match[1].strip(), text.count("\n", 0, match.start(2)) + 1, match[2]) for match in found]


def matches(shown: str, printed: str) -> bool:
    """Return whether printed text is the shown text, with anything in place of `…`."""
    lines = [r"(?:.*\n)*?" if line.strip() == "…" else _line(line) for line in shown.strip("\n").splitlines()]
    output = "".join(f"{line.rstrip()}\n" for line in printed.strip("\n").splitlines())
    return re.fullmatch("".join(lines), output) is not None


def _line(line: str) -> str:
    return ".*".join(map(re.escape, line.rstrip().split("…"))) + r"\n"


@dataclass
class Page:
    """The state of a page while its blocks run: a namespace, and the variables of its shell.

    Attributes:
        path: the page.
        names: the namespace of its Python blocks.
        printed: the output of the block before.
        serves: True if the page started a local service.
    """

    path: Path
    names: dict[str, Any] = field(default_factory=dict[str, Any])
    printed: str = ""
    serves: bool = False

    def run(self) -> None:
        """Run all blocks, and close the clients that they opened."""
        self.names |= {"__name__": "page"}
        previous = ""
        try:
            for block in blocks(self.path):
                place = f"{self.path.name}:{block.line}"
                try:
                    self._run(block, previous)
                except SystemExit as error:
                    raise AssertionError(f"{place} ends the program: {error}") from error
                except Exception as error:
                    error.add_note(place) if hasattr(error, "add_note") else None
                    raise
                previous = block.kind
        finally:
            if self.serves:
                command("local", "stop")
            for value in self.names.values():
                if isinstance(value, Client):
                    value.close()

    def _run(self, block: Block, previous: str) -> None:
        language = block.language
        if block.kind in {"python no-run", "python before"}:
            ast.parse(block.text)
        elif language == "python":
            self._python(block)
        elif language in {"sh", "console"} and block.kind != "sh no-run":
            self._shell(block)
        elif language == "text":
            if previous == "python" or (previous.startswith("sh") and previous != "sh no-run"):
                assert matches(block.text, self.printed), f"line {block.line} shows other output:\n{self.printed}"
        else:
            assert language in DATA | BUILT | {"sh"}, f"line {block.line}: the language {block.kind!r} is not checked"

    def _python(self, block: Block) -> None:
        # The file lets inspect find the source of functions, and line numbers in a traceback are those of the page.
        script = Path(f"{self.path.stem}_{block.line}.py").resolve()
        code = "\n" * (block.line - 1) + block.text
        script.write_text(code, encoding="utf-8")
        self.names["__file__"] = str(script)
        with contextlib.redirect_stdout(io.StringIO()) as output:
            exec(compile(code, str(script), "exec", dont_inherit=True), self.names)  # noqa: S102 - our own pages
        self.printed = output.getvalue()

    def _shell(self, block: Block) -> None:
        code = int(block.kind.partition("exit=")[2] or 0)
        self.printed, codes = "", [0]
        for line, shown in _commands(block):
            found, printed = self._line(line)
            codes.append(found)
            assert not shown or matches(shown, printed), f"`{line}` shows other output:\n{printed}"
            self.printed += printed
        assert max(codes) == code, f"the exit codes are {codes}, not {code}:\n{self.printed}"

    def _line(self, line: str) -> tuple[int, str]:
        """Run a line of a shell. Return the exit code and the output."""
        if started := re.fullmatch(r'eval "\$\((.*)\)"', line):
            done = process(*shlex.split(started[1])[1:])  # it starts itself again, in the background
            self.serves = True
            for name, value in re.findall(r"^export (\w+)=(.*)$", done.out, re.MULTILINE):
                os.environ[name] = shlex.split(value)[0]
            return done.code, done.err if done.code else ""
        line = re.sub(r"\$\((.*)\)", lambda found: shlex.quote(self._line(found[1])[1].strip()), line)
        worst, output = 0, ""
        for part in re.split(r" && | \| .*", line):
            words = [os.path.expandvars(word) for word in shlex.split(part, comments=True)]
            words = [self.names["job"].id if word in JOB else word for word in words]
            target = words[words.index(">") + 1] if ">" in words else None
            words = words[: words.index(">")] if target else words
            code, printed = self._words(words)
            if target:
                Path(target).write_text(printed, encoding="utf-8")
            worst, output = max(worst, code), output + ("" if target else printed)
        return worst, output

    def _words(self, words: list[str]) -> tuple[int, str]:
        if not words or words[0] in OTHERS:
            return 0, ""
        if words[0] == "cd":
            os.chdir(words[1])
        elif all(re.match(r"\w+=", word) for word in words):
            os.environ.update(dict(word.split("=", 1) for word in words))
        else:
            assert words[0] == "bedrock-rft", f"{words[0]} is not a command that runs here"
            done = command(*words[1:], stdin="y\n" * 5, terminal=True)
            return done.code, done.out + (done.err if done.code else "")
        return 0, ""


def _commands(block: Block) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with the output that is shown below it. A backslash continues a line."""
    text = block.text.replace("\\\n", " ")
    if block.language == "sh":
        yield from ((line, "") for line in text.splitlines())
        return
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        yield line, shown
