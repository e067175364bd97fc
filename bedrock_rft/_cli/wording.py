"""Rewrite messages of the SDK, which name Python arguments and calls, in the terms of the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping

import click

from bedrock_rft._cli.settings import GLOBAL_OPTIONS

_FLAGS = {
    "api_key": "AWS_BEARER_TOKEN_BEDROCK",
    "credentials": "--profile",
    "role_arn": "--role",
    "requirements": "--requirement",
    "models": "--model",
}
"""Python arguments whose flags have another name."""

_FIELDS = {"reference_answer"}
"""Names of arguments that are names of fields of a record too: only `NAME=` is an argument."""

_NEGATED = {"check": "--no-check", "validate": "--no-validate", "reuse": "--no-reuse"}
"""Arguments that are turned off by a flag."""

_NOUNS = {"rewards": "reward"}
_VERBS = {"retrieve": "get", "content": "download", "follow": "events -f", "plan_destroy": "destroy --plan"}

_POLICIES = {"execution_policy": "function"}

_FUNCTIONS = {
    "rewards.check": "bedrock-rft reward check",
    "rewards.package": "bedrock-rft reward package",
    "datasets.validate": "bedrock-rft data check",
    "datasets.split": "bedrock-rft data split",
    "datasets.select": "bedrock-rft data select",
    "datasets.convert": "bedrock-rft data convert",
}
_FUNCTION = re.compile(rf"\b(?:bedrock_rft\.)?({'|'.join(map(re.escape, _FUNCTIONS))})\b(?!\()")
_METHOD = re.compile(r"\bclient\.(\w+)\.(\w+)\b(?!\()")

_SENTENCES = {
    "a difficulty that Difficulty.to_json wrote": (
        "a file that 'eval run --difficulty' or 'rollouts stats --difficulty' wrote"
    ),
    " The attribute 'problems' lists them.": "",
    "Pass an aware datetime, Unix seconds, or text such as": "Pass a time such as",
    "`invoke_policy`": "'bedrock-rft policy invoke'",
    "`execution_policy`": "'bedrock-rft policy function'",
    "such as (record, '42', 1.0)": 'such as {"record": {...}, "answer": "42", "expected": 1.0}',
    " upload(…, reuse=True) returns a file that was already uploaded.": "",
    "Set AWS_BEARER_TOKEN_BEDROCK or pass api_key=…": "Set AWS_BEARER_TOKEN_BEDROCK",
    "make the client with profile=… or credentials=…": "pass --profile",
    "use a client for AWS": "run the command in a new shell without the variables of the local service",
    "Use a client for AWS": "Run the command in a new shell without the variables of the local service",
    "or pass profile=… or credentials=…": "or pass --profile",
    "; see to_dict()": "; see -o json",
    "the record of a run, as RunRecord.to_json writes it": "the record of a run, as 'jobs record --to' writes it",
    "more: see .problems": "more: see bedrock-rft data check",
    "or pass api_key=…, profile=… or credentials=…": "or pass --profile",
    "Write the file with json.dumps or datasets.write": "Write one JSON object per line, with a JSON library",
    "datasets.write('train.jsonl', datasets.convert(…))": "bedrock-rft data convert FILE --to train.jsonl",
    "datasets.write(path, datasets.convert(…))": "bedrock-rft data convert FILE --to train.jsonl",
    "For other columns use datasets.write with prompt=, system= and reference_answer=": (
        "For other columns use datasets.write in Python"
    ),
    ", or renew keys automatically: Client(api_key=access.api_key_provider())": ": bedrock-rft key",
}
"""Texts that name several calls, or a call without a command."""
_WRAPPED = re.compile(r"(?:client=)?(?:datasets\.)?\b(?:Client|Limits|Thresholds)\(([a-z_]+=[^()]*)\)")
"""Objects whose arguments are options of a command."""

_VALUE = r"""(?:'[^']*'|"[^"]*"|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}|…|\.\.\.|[A-Za-z0-9_./:+-]*[A-Za-z0-9_/+-])?"""
_ARGUMENT = re.compile(rf"(?<![\w$&?/.'-])([a-z][a-z0-9_]*)=({_VALUE})(?!=)")
_CALL = re.compile(r"(?:\w+ = )?(?:client|access)\.(?:(\w+)\.)?(\w+)\(((?:[^()]|\([^()]*\))*)\)")
_ITEM = re.compile(r"^'[^']*'$|^\"[^\"]*\"$|^[\w.…-]+$")

_IMPERATIVES = (
    "Add|Allow|Ask|Attach|Check|Choose|Convert|Correct|Create|Deploy|Give|Install|Leave|Make|Name|Pass|Point|"
    "Put|Raise|Remove|Renew|Replace|Report|Return|Run|Save|Search|See|Send|Set|Shorten|Start|Try|Update|Upload|Use|"
    "Wait|Write|Did you mean"
)
_VERBS_AFTER = "is|are|must|has|have|needs|takes|names|and"
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z'])")


def for_shell(text: str, context: click.Context | None = None) -> str:
    """Return a message of the SDK with flags and commands of the command line instead of arguments and calls."""
    for python, shell in _SENTENCES.items():
        text = text.replace(python, shell)
    parameters = _parameters(context)
    if parameters and "min_records" not in parameters:
        text = text.replace("Limits(min_records=1)", "bedrock-rft data check --min-records 1")
    text = _WRAPPED.sub(r"\1", text)
    text = _FUNCTION.sub(lambda match: _FUNCTIONS[match.group(1)], text)
    text = _METHOD.sub(lambda match: _command_words(match.group(1), match.group(2)), text)
    text = _CALL.sub(_command_for_call, text)
    text = _ARGUMENT.sub(_flag_for_argument, text)
    for name, flag in parameters.items():
        if name in _FIELDS:
            continue
        text = re.sub(
            rf"(?:(?<=^)|(?<=[.;:] )){name}(?= (?:is|are|must|has|have|needs|takes|names|and)\b|:)", flag, text
        )
        if "_" in name:
            text = re.sub(rf"(?<![\w.'/-]){name}(?![\w'/=-]|\.\w)", flag, text)
    return text


def extract_remedy(text: str) -> str | None:
    """Return the sentences of a message that say what to do, or None if there are none."""
    found = [sentence for sentence in _SENTENCE.split(text) if re.match(rf"(?:{_IMPERATIVES})\b", sentence)]
    if found:
        return " ".join(found)
    last = re.search(rf"[:;] ((?:{_IMPERATIVES.lower()})\b[^:;]*)$", text)
    return f"{last.group(1)[0].upper()}{last.group(1)[1:]}" if last else None


def _parameters(context: click.Context | None) -> Mapping[str, str]:
    context = context or click.get_current_context(silent=True)
    if context is None:
        return {}
    leaf: click.Context = context.meta.get("bedrock_rft.leaf", context)
    return {
        str(one.name).removeprefix("global_"): max(one.opts, key=len)
        for one in [*leaf.command.params, *GLOBAL_OPTIONS]
        if isinstance(one, click.Option)
    }


def _command_for_call(match: re.Match[str]) -> str:
    noun, verb, inner = match.group(1) or "", match.group(2), match.group(3)
    items = re.split(r",\s*(?![^(\[]*[)\]])", inner)
    if verb.endswith("_policy"):
        flags = [f"--{flag} {item}" for flag, item in zip(("region", "account"), items, strict=False)]
        return " ".join(["bedrock-rft policy", _POLICIES.get(verb, verb.removesuffix("_policy")), *flags]).replace(
            "'", ""
        )
    words = [_command_words(noun, verb)]
    for item in items:
        if _ITEM.match(item):
            words.append(item.strip("'\""))
        elif argument := _ARGUMENT.match(item):
            words.append(_flag_for_argument(argument))
    return " ".join(word for word in words if word)


def _command_words(noun: str, verb: str) -> str:
    words = ["bedrock-rft", _NOUNS.get(noun, noun), _VERBS.get(verb, verb.replace("_", "-"))]
    return " ".join(word for word in words if word)


def _flag_for_argument(match: re.Match[str]) -> str:
    name, value = match.group(1), match.group(2) or ""
    if value == "False":
        return _NEGATED.get(name, f"--no-{name.replace('_', '-')}")
    flag = _FLAGS.get(name, f"--{name.replace('_', '-')}")
    if value in {"", "True", "…", "..."} or value[0] in "[({":
        return flag
    return f"{flag} {value}"
