"""Check the blocks of the documentation that `test_pages.py` does not execute."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import certifi
import click
import pytest
import yaml
from packaging.specifiers import SpecifierSet
from support.pages import BUILT, DATA, Block, blocks

from bedrock_rft import Client, datasets, rewards
from bedrock_rft._cli.app import root
from bedrock_rft._cli.job_file import read_job_file
from bedrock_rft.local import LocalTransport, Service

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
# A kind of block with another word must first get a check here or in test_pages.py.
KINDS = {"console", "python", "python before", "python no-run", "sh", "sh exit=3", "sh no-run", "text"} | DATA
INITIAL = {"train.jsonl", "reward.py", "run.toml"}
"""Files of `bedrock-rft init`."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the files of `bedrock-rft init`."""
    monkeypatch.chdir(tmp_path)
    for name in INITIAL:
        (tmp_path / name).touch()
    return tmp_path


def found(*kinds: str) -> list[Any]:
    """Return the blocks of these kinds, as parameters of a test."""
    every = ((page, block) for page in PAGES for block in blocks(page) if block.kind in kinds)
    return [pytest.param(block, id=f"{page.name}:{block.line}") for page, block in every]


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    unknown = [
        f"{page.name}:{block.line}: {block.kind!r}"
        for page in PAGES
        for block in blocks(page)
        if block.kind not in KINDS and block.language not in BUILT
    ]
    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_is_one_that_is_found(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fences = re.findall(r"^[ >]*(?:`{3,}|~{3,})", text, re.MULTILINE)
    assert len(fences) == 2 * len(blocks(page)), "an indented fence, or one of tildes, is not checked"


def test_each_kind_of_file_has_a_check() -> None:
    assert {"dockerfile", "json", "powershell", "sql", "toml", "yaml"} == DATA
    # test_rollouts_queries.py executes them, and compares the columns of the table for Athena.
    assert {page.name for page in PAGES for block in blocks(page) if block.language == "sql"} == {"see-rollouts.md"}


@pytest.mark.parametrize("block", found("json"))
def test_json_is_a_record(block: Block, tmp_path: Path) -> None:
    (record,) = block.text.splitlines()
    (tmp_path / "train.jsonl").write_text(f"{json.dumps(json.loads(record))}\n" * 100)
    datasets.validate(tmp_path / "train.jsonl").raise_for_errors()


@pytest.mark.parametrize("block", found("toml"))
def test_toml_describes_a_job(block: Block, folder: Path) -> None:
    (folder / "run.toml").write_text(block.text)
    settings = read_job_file("run.toml").raise_if_incomplete()
    assert settings.reward is not None
    assert settings.reward.endswith("reward.py:correct")


@pytest.mark.parametrize("block", found("yaml"))
def test_yaml_is_a_workflow_with_the_actions_of_this_repository(block: Block, folder: Path) -> None:
    assert folder.exists()
    workflow = yaml.safe_load(block.text)
    assert {"name", True, "permissions", "jobs"} == set(workflow), "YAML 1.1 reads `on` as true"
    own = [path.read_text(encoding="utf-8") for path in (ROOT / ".github" / "workflows").glob("*.yml")]
    known = {f"{action}@{tag}" for action, tag in re.findall(r"uses: (\S+)@\S+ # (v\d+)", "\n".join(own))}
    for job in workflow["jobs"].values():
        assert {step["uses"] for step in job["steps"] if "uses" in step} <= known
        for step in job["steps"]:
            if "run" in step:
                check_command(step["run"])


@pytest.mark.parametrize("block", found("dockerfile"))
def test_a_container_has_the_files_and_the_command(block: Block, folder: Path) -> None:
    lines = dict(line.split(" ", 1) for line in block.text.splitlines())
    assert set(lines) == {"FROM", "RUN", "WORKDIR", "COPY", "CMD"}
    required = re.findall(r'requires-python = "(.*)"', PYPROJECT)[0]
    assert SpecifierSet(required).contains(re.findall(r"^python:(3\.\d+)-slim$", lines["FROM"])[0])
    check_command(lines["RUN"])
    assert lines["COPY"].endswith(" ./")
    assert all((folder / name).is_file() for name in lines["COPY"].split()[:-1])
    check_command(shlex.join(json.loads(lines["CMD"])))


@pytest.mark.parametrize("block", found("powershell", "sh no-run"))
def test_commands_that_do_not_run_are_valid(block: Block, folder: Path) -> None:
    assert folder.exists()
    for line in block.text.splitlines():
        check_command(line)


@pytest.mark.parametrize("block", found("sh", "sh exit=3"))
def test_other_programs_have_valid_arguments(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        if not re.search(r"\bbedrock-rft ", line):  # test_pages.py runs these
            check_command(line)


def check_command(line: str) -> None:
    """Check a line of a shell: names of files, targets, extras, commands and flags."""
    for part in re.split(r" && | \| ", line):
        words = shlex.split(part, comments=True)
        if words and (check := CHECKS.get(words[0])):
            check(words[1:])


def check_pip(words: list[str]) -> None:
    assert words[0] == "install", words
    extras = set(re.findall(r"^([\w-]+) = \[", PYPROJECT.partition("[project.optional-dependencies]")[2], re.MULTILINE))
    for word in words[1:]:
        match = re.fullmatch(r"(?:-e|--no-cache-dir|(?:bedrock_rft|\.)(?:\[([\w,-]+)\])?)", word)
        assert match, word
        assert set((match[1] or "").split(",")) - {""} <= extras


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {word for word in words if "=" not in word} <= set(targets)


def check_python(words: list[str]) -> None:
    assert words[:2] == ["-m", "venv"] or (ROOT / words[0]).is_file(), words


def check_aws(words: list[str]) -> None:
    """Check an operation of IAM against AWS's model; the other commands are the AWS CLI's own."""
    if words[0] != "iam":
        assert words[:2] in (["configure", "sso"], ["sso", "login"], ["s3", "cp"], ["cloudformation", "deploy"]), words
        return
    session: Any = import_module("botocore.session").get_session()
    model = session.get_service_model("iam")
    operation = model.operation_model("".join(word.title() for word in words[1].split("-")))
    flags = [word[2:] for word in words if word.startswith("--")]
    members = {"".join(word.title() for word in flag.split("-")) for flag in flags}
    assert set(operation.input_shape.required_members) <= members <= set(operation.input_shape.members)


def check_own(words: list[str]) -> None:
    """Let the parser of `bedrock-rft` read the words, without running the command."""
    command: click.Command = root
    context = root.make_context("bedrock-rft", list(words), resilient_parsing=True)
    while isinstance(command, click.Group) and (inner := command.get_command(context, words[0])):
        command, words = inner, words[1:]
    command.make_context(command.name, list(words), parent=context)


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "aws": check_aws, "bedrock-rft": check_own, "make": check_make, "pip": check_pip, "python": check_python,
    "python3": check_python,
}  # fmt: skip


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Yield the names that a page has before its block; a profile and a certificate exist."""
    monkeypatch.chdir(tmp_path)
    Path("corporate.pem").write_bytes(Path(certifi.where()).read_bytes())
    Path("config").write_text(
        "[profile research]\naws_access_key_id = AKIAFAKEFAKEFAKEFAKE\naws_secret_access_key = fake\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", "config")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake")
    with Service() as service, Client(transport=LocalTransport(service)) as client:
        yield {"Client": Client, "client": client, "rewards": rewards, "total": None}


@pytest.mark.parametrize("block", found("python no-run"))
def test_calls_of_code_that_is_not_run_have_the_right_arguments(block: Block, names: dict[str, Any]) -> None:
    calls = [node for node in ast.walk(ast.parse(block.text)) if isinstance(node, ast.Call)]
    known = [call for call in calls if ast.unparse(call.func).partition(".")[0] in names]
    assert known
    for call in known:
        function = eval(ast.unparse(call.func), names)  # noqa: S307 - our own pages
        inspect.signature(function).bind(*call.args, **{str(each.arg): each.value for each in call.keywords})
    if {ast.unparse(call.func) for call in calls} <= {"Client", "print"}:  # a client alone sends nothing
        exec(block.text, names)  # noqa: S102 - our own pages
        assert names["client"].identity.region == "us-west-2"
        names["client"].close()
