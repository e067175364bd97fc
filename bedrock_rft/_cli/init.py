"""`bedrock-rft init`, and the files that `init` and `reward new` write."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from bedrock_rft._cli.command import Command
from bedrock_rft._cli.output import note, show

_RECORDS = 200
_NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gia", "Hugo")
_THINGS = ("apples", "books", "coins", "pencils", "shells", "stamps")
_SYSTEM = "Think step by step. End with the answer as a number on a line of its own."

_REWARD = '''\
"""The reward: 1 if the last number of an answer is the right number, else 0."""

from bedrock_rft import rewards


@rewards.reward
def correct(rollout):
    """Score one answer from 0 to 1."""
    number = rewards.last_number(rollout.answer)
    return float(number is not None and number == rewards.last_number(str(rollout.reference)))
'''

_TEST = '''\
"""Try the reward on a few answers: python -m pytest {test} (pip install pytest)"""

from {module} import correct

from bedrock_rft.rewards import Rollout


def test_a_right_answer_scores_1():
    assert correct(Rollout.of("What is 2 + 3?", "2 + 3 is 5.", "5")).value == 1.0


def test_a_wrong_answer_scores_0():
    assert correct(Rollout.of("What is 2 + 3?", "It is 6.", "5")).value == 0.0
    assert correct(Rollout.of("What is 2 + 3?", "", "5")).value == 0.0
'''

_RUN = """\
# Create the job with: bedrock-rft jobs create run.toml
# Every key is a flag too, such as --model.
model = "openai.gpt-oss-20b"
training_file = "train.jsonl"
reward = "reward.py:correct"

# The name of the Lambda function for the reward.
reward_name = "{name}-reward"

# Without a name, a name is derived from the content, so the same command finds its job again.
# name = "{name}-1"

[hyperparameters]
n_epochs = 1
batch_size = 8

[metadata]
project = "{name}"
"""

_README = """\
# {name}

A small project for reinforcement fine-tuning on Amazon Bedrock.

| file | holds |
|---|---|
| `train.jsonl` | prompts with reference answers: generated word problems; put your own here |
| `reward.py` | the reward function, and `test_reward.py` a test of it |
| `run.toml` | the job: model, file, reward, hyperparameters |

On this machine, without AWS and without cost:

    bedrock-rft data check train.jsonl
    bedrock-rft reward check reward.py train.jsonl
    bedrock-rft rehearse train.jsonl --reward reward.py

On Amazon Bedrock:

    bedrock-rft jobs create run.toml --dry-run
    bedrock-rft jobs create run.toml
    bedrock-rft jobs watch JOB
"""

_IGNORED = """\
.env
.venv/
__pycache__/
*.zip
*.html
"""


@click.command(cls=Command, shape='{"files"}')
@click.argument("folder", default=".", metavar="[FOLDER]")
def init(folder: str) -> None:
    """Write a small project into FOLDER, by default the current folder.

    The project has generated word problems (train.jsonl), a reward function with
    a test (reward.py), a job (run.toml), a README and a .gitignore. If one of
    these files exists, nothing is written.
    """
    written = write_new(project_files(Path(folder)))
    show({"files": written}, text="\n".join(written), ids=written)
    note("")
    note("Next steps:")
    if folder != ".":
        note(f"  cd {folder}", wrap=False)
    note("  bedrock-rft data check train.jsonl")
    note("  bedrock-rft reward check reward.py train.jsonl")
    note("  bedrock-rft rehearse train.jsonl --reward reward.py")
    note("  bedrock-rft jobs create run.toml --dry-run")


def project_files(folder: Path) -> Mapping[Path, str]:
    """Return the files of a project, by path."""
    name = "".join(each if each.isalnum() else "-" for each in folder.resolve().name.lower()).strip("-") or "project"
    name = name.encode("ascii", "ignore").decode()[:40] or "project"
    records = "".join(f"{json.dumps(record)}\n" for record in _word_problems())
    return {
        folder / "train.jsonl": records,
        **reward_files(folder / "reward.py"),
        folder / "run.toml": _RUN.format(name=name),
        folder / "README.md": _README.format(name=name),
        folder / ".gitignore": _IGNORED,
    }


def reward_files(path: Path) -> Mapping[Path, str]:
    """Return a reward file and its test, by path."""
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise click.UsageError(f"{path} must be a file such as reward.py, whose name is valid in Python.")
    test = path.with_name(f"test_{path.name}")
    return {path: _REWARD, test: _TEST.format(module=path.stem, test=test.name)}


def write_new(files: Mapping[Path, str]) -> list[str]:
    """Write files, and return their paths. Raise `click.UsageError`, without writing any, if a file exists already."""
    existing = [str(path) for path in files if path.exists()]
    if existing:
        exist = "exists" if len(existing) == 1 else "exist"
        raise click.UsageError(f"{', '.join(existing)} {exist} already. Nothing was written. Choose another path.")
    blocked = next((one for path in files for one in path.parents if one.exists() and not one.is_dir()), None)
    if blocked is not None:
        raise click.UsageError(f"{blocked} is a file, not a folder. Nothing was written. Choose another path.")
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
    return [str(path) for path in files]


def _word_problems() -> Iterator[Mapping[str, object]]:
    """Yield distinct word problems, the same ones in every call."""
    draw = random.Random(0)  # noqa: S311 - a sample
    seen = set[str]()
    while len(seen) < _RECORDS:
        name, thing = draw.choice(_NAMES), draw.choice(_THINGS)
        first, second, factor = draw.randint(3, 60), draw.randint(2, 40), draw.randint(2, 9)
        text, answer = draw.choice(
            [
                (f"{name} has {first} {thing} and buys {second} more. How many {thing} are there now?", first + second),
                (f"{name} has {first + second} {thing} and gives {second} away. How many are left?", first),
                (f"{name} packs {factor} boxes with {second} {thing} each. How many {thing} is that?", factor * second),
                (
                    f"{name} counts {first} and {second} {thing}. Kim counts {factor} times as many. How many is that?",
                    (first + second) * factor,
                ),
            ]
        )
        if text not in seen:
            seen.add(text)
            messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}]
            yield {"messages": messages, "reference_answer": str(answer)}
