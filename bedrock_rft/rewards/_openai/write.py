"""`openai_source`: write an OpenAI grader as a Python file with a reward."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from bedrock_rft.rewards._openai.translate import find_grader, from_openai
from bedrock_rft.rewards._runtime.formula import Formula
from bedrock_rft.rewards._runtime.graders.templated import PythonGrader
from bedrock_rft.rewards._runtime.reward import Leaf, Reward

_WIDTH = 100


def openai_source(grader: object, *, judge: str | Mapping[str, str] | None = None) -> str:
    """Return the source of a Python file with the reward for a grader that was written for OpenAI.

    The file defines the reward as `total`, and its Lambda entry point as `lambda_handler`. If there is one Python
    grader, its source becomes code of the file. The sources of several Python graders become string literals.

    Args:
        grader: as for `from_openai`.
        judge: as for `from_openai`.

    Raises:
        ConfigurationError: as for `from_openai`.
    """
    found = find_grader(grader)
    return _File(from_openai(found, judge=judge)).write()


class _File:
    """A Python file with a reward, in which each grader is one statement."""

    def __init__(self, reward: Reward) -> None:
        self._reward = reward
        self._imports: set[str] = set()
        self._statements: list[str] = []
        self._names: set[str] = {"total", "lambda_handler", "grade"}
        python = [leaf for leaf in reward.leaves if isinstance(leaf, PythonGrader)]
        self._inline = python[0] if len(python) == 1 and not _has_future_import(python[0].source) else None

    def write(self) -> str:
        total = self._expression(self._reward)
        requirements = ", ".join(self._reward.requirements)
        title = '"""Reward translated from an OpenAI grader.'
        head = (
            f'{title}\n\nIt needs these packages, here and in Lambda: {requirements}.\n"""'
            if requirements
            else f'{title}"""'
        )
        imports = f"from bedrock_rft.rewards import {', '.join(sorted(self._imports))}"
        source = [] if self._inline is None else [self._inline.source.strip("\n") + "\n"]
        parts = [head, imports, *source, *self._statements, f"total = {total}\nlambda_handler = total.handler"]
        return "\n\n".join(parts) + "\n"

    def _expression(self, reward: Reward) -> str:
        if isinstance(reward, Formula):
            self._imports.add("Formula")
            lines = [f"{_literal(name)}: {self._expression(one)}" for name, one in reward.rewards.items()]
            return f"Formula({_literal(reward.formula)}, {{{', '.join(lines)}}})"
        assert isinstance(reward, Leaf)  # noqa: S101 - `from_openai` makes no others
        name = self._new_name(reward.name)
        if reward is self._inline:
            self._imports |= {"openai_inputs", "reward", "Rollout"}
            self._statements.append(
                f"@reward(name={_literal(reward.name)})\ndef {name}(rollout: Rollout) -> float:\n"
                '    """Call the grader with the arguments that OpenAI passes."""\n'
                "    return grade(*openai_inputs(rollout))\n"
            )
        else:
            kind = type(reward).__name__
            self._imports.add(kind)
            self._statements.append(f"{name} = {_call(kind, reward)}")
        return name

    def _new_name(self, wanted: str) -> str:
        stem = re.sub(r"\W+", "_", wanted, flags=re.ASCII).strip("_").lower() or "part"
        stem = f"part_{stem}" if stem[0].isdigit() or stem in self._names_in_source() else stem
        name = next(name for name in (stem, *(f"{stem}_{n}" for n in range(2, 1000))) if name not in self._names)
        self._names.add(name)
        return name

    def _names_in_source(self) -> set[str]:
        import builtins
        import keyword

        own = set(re.findall(r"\w+", self._inline.source)) if self._inline else set[str]()
        return own | set(dir(builtins)) | set(keyword.kwlist) | {"reward", "openai_inputs"}


def _call(kind: str, leaf: Leaf) -> str:
    settings = [f"{name}={_literal(value)}" for name, value in leaf.settings().items()]
    line = f"{kind}({', '.join(settings)})"
    return line if len(line) <= _WIDTH and "\n" not in line else f"{kind}(\n    {f',{chr(10)}    '.join(settings)},\n)"


def _literal(value: Any) -> str:
    """Write a value as a literal with double quotes, and text with several lines in triple quotes."""
    if isinstance(value, str):
        plain = repr(value)
        readable = "\n" in value and value.replace("\n", "").replace("\t", "").isprintable()
        if readable and '"""' not in value and "\\" not in value and not value.endswith('"'):
            return f'"""{value}"""'
        return f'"{plain[1:-1]}"' if plain[0] == "'" and '"' not in value else plain
    if isinstance(value, tuple) and any(isinstance(one, tuple) for one in cast("Sequence[Any]", value)):
        pairs = [f"        ({', '.join(map(_literal, one))}),\n" for one in cast("Sequence[Any]", value)]
        return f"[\n{''.join(pairs)}    ]"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, cast('Sequence[Any]', value)))}]"
    if isinstance(value, dict):
        pairs = [f"{_literal(key)}: {_literal(one)}" for key, one in cast("Mapping[Any, Any]", value).items()]
        return f"{{{', '.join(pairs)}}}"
    return repr(value)


def _has_future_import(source: str) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in ast.parse(source).body)
