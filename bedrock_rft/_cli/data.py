"""`bedrock-rft data`."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any, cast

import click

from bedrock_rft._cli.command import Group
from bedrock_rft._cli.output import finish_report, note, show, show_one
from bedrock_rft._cli.wording import for_shell

_REPORT = "bedrock_rft.datasets.Report"
_FORMATS = ("openai-rft", "sft", "completion", "nova", "sagemaker", "sharegpt", "alpaca")

data = Group("data", help="Check, split and convert training files. Nothing is sent.")

_file = click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False))


@data.command("check", shape=_REPORT)
@_file
@click.option("--min-records", type=click.IntRange(1), metavar="N", help="Minimum number of records. Default: 100.")
@click.option("--max-records", type=click.IntRange(1), metavar="N", help="Maximum number of records. Default: 20,000.")
def check(path: str, min_records: int | None, max_records: int | None) -> None:
    """Check a training file as the service does, and for mistakes that spoil a run.

    The exit code is 3 if there are errors.
    """
    report = _validate(path, min_records=min_records, max_records=max_records)
    finish_report(report)


@data.command("stats", shape='{"name", "bytes", "records", "prompt_lengths", "roles", "reference_types", ...}')
@_file
def stats(path: str) -> None:
    """Show the number of records, and the lengths and kinds of their parts."""
    report = _validate(path)
    lengths = report.prompt_lengths
    found = {
        "name": report.name,
        "bytes": report.size,
        "sha256": report.sha256,
        "records": report.records,
        "valid": report.valid,
        "prompt_lengths": asdict(lengths),
        "roles": dict(report.roles),
        "reference_types": dict(report.reference_types),
        "extra_fields": dict(report.extra_fields),
        "duplicate_prompts": report.duplicate_prompts,
    }
    show_one(found, {name: partial(_field, name) for name in found}, key="sha256")


@data.command("split", shape='{"train", "validation", "records"}')
@_file
@click.option("--share", type=float, default=0.1, metavar="NUMBER", help="Share for validation. Default: 0.1.")
@click.option("--seed", type=int, default=0, metavar="N", help="Random seed. Default: 0.")
@click.option("--train", metavar="PATH", help="Training file. Default: NAME.train.jsonl.")
@click.option("--validation", metavar="PATH", help="Validation file. Default: NAME.validation.jsonl.")
def split(path: str, share: float, seed: int, train: str | None, validation: str | None) -> None:
    """Write a training and a validation file. Equal prompts stay together."""
    from bedrock_rft import datasets

    made = datasets.split(path, share=share, seed=seed, train=train, validation=validation)
    counts = {"train": made.train_report.records, "validation": made.validation_report.records}
    files = {"train": str(made.train), "validation": str(made.validation)}
    lines = [f"{files[side]}: {counts[side]:,} records" for side in files]
    for side, report in (("train", made.train_report), ("validation", made.validation_report)):
        for problem in report.problems:
            note(f"{side}: {for_shell(str(problem))}")
    show({**files, "records": counts}, text="\n".join(lines), ids=list(files.values()))


@data.command("convert", shape=_REPORT)
@_file
@click.option("--to", "target", required=True, metavar="PATH", help="The training file to write.")
@click.option("--format", "form", type=click.Choice(_FORMATS), metavar="NAME",
              help=f"The format of FILE: {', '.join(_FORMATS)}. Default: detected.")  # fmt: skip
@click.option("--reference-answer", metavar="FIELD", help="The field with the reference answer.")
@click.option("--keep", is_flag=True, help="Keep the field of --reference-answer under its own name too.")
def convert(path: str, target: str, form: str | None, reference_answer: str | None, *, keep: bool) -> None:
    """Write a training file from another format, and check it.

    FILE holds JSON lines, a JSON array or Parquet. The exit code is 3 if the
    training file has errors.
    """
    from bedrock_rft import datasets

    rows = datasets.convert(path, format=cast("Any", form), reference_answer=reference_answer, keep=keep)
    report = datasets.write(target, rows)
    finish_report(report)


@data.command("select", shape="bedrock_rft.datasets.Selection")
@_file
@click.argument("difficulty", metavar="DIFFICULTY", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", required=True, metavar="PATH", help="The file to write.")
@click.option("--low", type=float, default=0.1, metavar="SHARE", help="Lowest pass rate to keep. Default: 0.1.")
@click.option("--high", type=float, default=0.9, metavar="SHARE", help="Highest pass rate to keep. Default: 0.9.")
@click.option(
    "--order", type=click.Choice(["easy_first", "hard_first"]), help="Sort by pass rate. Default: keep the order."
)
@click.option("--unsampled", type=click.Choice(["keep", "drop"]), default="keep",
              help="Keep or drop records whose prompts were not sampled. Default: keep.")  # fmt: skip
@click.option("--group-size", type=click.IntRange(2), default=8, metavar="N",
              help="Planned number of answers to a prompt in a step. Default: 8.")  # fmt: skip
def select(path: str, difficulty: str, **options: Any) -> None:
    """Keep the records whose prompts are neither too hard nor too easy.

    DIFFICULTY is a file that 'eval run --difficulty' or 'rollouts stats
    --difficulty' wrote. A JSON note next to the new file lists the dropped
    records and the reasons.
    """
    from bedrock_rft import datasets

    made = datasets.select(path, difficulty, **options)
    show(made, text=str(made), ids=[str(made.path)])


def _validate(path: str, **limits: int | None) -> Any:
    from bedrock_rft import datasets

    given = {name: value for name, value in limits.items() if value is not None}
    if given.get("max_records", datasets.Limits.max_records) < datasets.Limits.min_records:
        given.setdefault("min_records", 1)  # such a file is not for training
    return datasets.validate(path, limits=datasets.Limits(**given))


def _field(name: str, found: dict[str, object]) -> object:
    """Return a value as text; a mapping becomes one line."""
    value = found[name]
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return ", ".join(f"{name}: {each:g}" if isinstance(each, float) else f"{name}: {each}" for name, each in items)
    return value
