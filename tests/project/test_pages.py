"""Run the code of README.md and of every page in docs/, and check the links."""

from __future__ import annotations

import logging
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import generate
import pytest
from support.command import command
from support.pages import Page, blocks, matches

from bedrock_rft import errors
from bedrock_rft._resources import wait
from bedrock_rft.local import LocalService

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
RUN = ("python", "sh", "console")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def example(name: str) -> dict[str, Any]:
    """Return the names of an example."""
    return runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name=name)


def soon(*_: object, **__: object) -> float:
    return 0.02


@pytest.fixture(scope="module")
def aws() -> Iterator[Any]:
    """Yield the emulated IAM, Lambda and STS."""
    with example("aws_here")["AwsHere"]() as here:
        yield here


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, aws: Any) -> Iterator[Path]:
    """Set up a folder with data, a reward and a job, both kinds of identity, and a fast local service."""
    monkeypatch.chdir(tmp_path)
    example("word_problems")["write"](Path("train.jsonl"), count=120)
    assert command("reward", "new", "reward.py").code == 0
    Path("run.toml").write_text(
        'model = "openai.gpt-oss-20b"\ntraining_file = "train.jsonl"\nreward = "reward.py"\nreward_name = "my-reward"\n'
    )
    # The documented job takes hours; this one takes a second.
    monkeypatch.setattr(wait._Intervals, "next_pause", soon)
    log = logging.getLogger("bedrock_rft")
    monkeypatch.setattr(log, "handlers", [*log.handlers])
    monkeypatch.setattr(log, "level", log.level)
    aws.empty()
    # AWS_ENDPOINT_URL keeps all other services of AWS on this machine too.
    endpoints = {name: value for name, value in aws.environment().items() if "ENDPOINT" in name}
    endpoints["AWS_ENDPOINT_URL"] = aws.url
    # Not the path of the file: a process would start for each page, and most pages train nothing.
    with LocalService(reward=example("reward")["lambda_handler"]) as service:
        for auth in ("aws", "api_key"):
            for name, value in {**service.environment(auth), **endpoints}.items():
                monkeypatch.setenv(name, value)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        # Otherwise matplotlib would list the fonts of this machine again for the new folder.
        monkeypatch.setenv("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))
        yield tmp_path


@pytest.mark.parametrize(
    "page", [page for page in PAGES if any(block.language in RUN for block in blocks(page))], ids=named
)
def test_the_code_of_a_page_runs_and_prints_the_output_that_is_shown(page: Path, folder: Path) -> None:
    assert folder.exists()
    Page(page).run()


def test_every_page_names_its_languages() -> None:
    assert [f"{named(page)}:{block.line}" for page in PAGES for block in blocks(page) if not block.kind] == []


@pytest.mark.parametrize("page", [*PAGES, *(ROOT / f"{name}.md" for name in ("CHANGELOG", "SECURITY"))], ids=named)
def test_every_link_has_a_target(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_error_class_has_an_entry_in_troubleshooting() -> None:
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    entries = re.findall(r"^## (\w+)$\n.*?^```\{generated\} messages (\w+)$", page, re.MULTILINE | re.DOTALL)
    classes = [each for each in vars(errors).values() if isinstance(each, type) and each.__name__[0] != "_"]
    kinds = [each for each in classes if issubclass(each, errors.BedrockRFTError)]
    assert sorted(entries) == sorted((kind.__name__, kind.__name__) for kind in kinds)
    assert {kind.help for kind in kinds} == {f"docs/troubleshooting.md#{name.lower()}" for name, _ in entries}
    assert errors.RateLimitError("…").help == "docs/troubleshooting.md#ratelimiterror"


def test_the_messages_of_errors_come_from_the_code() -> None:
    assert "Job … was cancelled. It cannot be resumed. Create another job." in generate.messages("JobCancelledError")
    assert "… needs the extra '…': pip install 'bedrock_rft[…]'" in generate.messages("MissingExtraError")
    assert "timed out: …" in generate.messages("APITimeoutError")


def test_the_tables_of_codes_come_from_the_code() -> None:
    access, datasets = generate.codes("access"), generate.codes("datasets")
    policy = "The function's resource policy has … statements, and none allows everyone"
    assert f"| `reward_policy` | ok, unknown, warning | {policy} |" in access
    assert "| `not-utf-8` | error | byte 0x… is not UTF-8 |" in datasets
    assert "| `role-missing` | error | ….role: missing |" in datasets


def test_the_page_of_settings_names_every_variable_of_the_code() -> None:
    page = (ROOT / "docs" / "reference" / "settings.md").read_text(encoding="utf-8").partition("## Environment")[2]
    named = set(re.findall(r"`([A-Z_]{6,})`", page))
    read_by_libraries = {"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"}
    assert named - read_by_libraries == generate.variables()


def test_shown_output_may_leave_out_parts() -> None:
    assert matches("a … c\n…\nz\n", "a b c\nd\ne\nz")
    assert matches("…\nz", "z\n")
    assert not matches("a\nz", "a\nb\nz")
    assert not matches("a … c", "a\nc")


def test_a_page_whose_output_differs_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = tmp_path / "page.md"
    for text in (
        "```python\nprint(1)\n```\n\n```text\n2\n```\n",
        "```console\n$ bedrock-rft --version\nbedrock-rft 0\n```\n",
        "```sh\nbedrock-rft whoami --region nowhere\n```\n",
        "```sh\nrm -r .\n```\n",
        "```perl\n1\n```\n",
        "```python\nraise SystemExit\n```\n",
    ):
        page.write_text(text)
        with pytest.raises(AssertionError):
            Page(page).run()


def test_every_public_module_has_a_page() -> None:
    folder = ROOT / "docs" / "reference"
    modules = set(generate.public_modules())
    assert {"errors", "rewards"} <= modules
    assert {page.stem for page in (folder / "api").glob("*.md")} == modules | {"client"}
    listed = re.findall(
        r"^\| \[bedrock_rft\.(\w+)\]\(api/\1\.md\)", (folder / "api.md").read_text("utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(modules)
