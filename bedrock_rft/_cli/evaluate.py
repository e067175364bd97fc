"""`bedrock-rft eval` and `rehearse`."""

from __future__ import annotations

import json
from typing import Any

import click

from bedrock_rft._cli.command import (
    Command,
    Group,
    gold_option,
    hyperparameter_options,
    many,
    payload_option,
    pop_hyperparameters,
    range_option,
    wrap_text_option,
)
from bedrock_rft._cli.completion import job_ids
from bedrock_rft._cli.models import model_or_job
from bedrock_rft._cli.output import finish_report, reword_report, shows_progress, write_file
from bedrock_rft._cli.reward_source import check_reward, load_gold, reward_client, reward_target
from bedrock_rft._cli.settings import open_client

_SHAPE = "bedrock_rft.evaluation.Evaluation"

eval = Group("eval", help="Compare models on a dataset with a reward.")  # noqa: A001 - the command's name


_reward_option = click.option(
    "--reward",
    required=True,
    metavar="REWARD",
    callback=check_reward,
    help="file.py:name, a zip, an ARN, or a deployed name.",
)
_seed_option = click.option("--seed", type=int, default=0, metavar="N", help="Random seed. Default: 0.")


@eval.command("run", shape=_SHAPE)
@click.argument("dataset", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@many("--model", "models", required=True, metavar="ID", shell_complete=job_ids,
      help="A model, or a job for its tuned model. The first --model is the base model")  # fmt: skip
@_reward_option
@click.option("--samples", type=int, default=1, metavar="N", help="Answers to each prompt. Default: 1.")
@click.option("--limit", type=int, metavar="N", help="Evaluate a random sample of this many prompts.")
@many("--by", metavar="FIELD", help="A record field to group the results by.")
@click.option("--pass-mark", type=float, default=1.0, metavar="SCORE", help="Lowest score that passes. Default: 1.")
@click.option("--temperature", type=float, metavar="NUMBER", help="Sampling temperature of the answers.")
@click.option("--max-tokens", type=int, metavar="N", help="Maximum tokens of an answer.")
@click.option("--sampling", metavar="JSON", help="Further fields of each request, as a JSON object.")
@click.option("--concurrency", type=int, default=16, metavar="N", help="Maximum requests at once. Default: 16.")
@click.option("--timeout", type=float, default=120.0, metavar="SECONDS", help="Seconds for a request. Default: 120.")
@click.option("--resume", metavar="FILE", help="Keep the answers in FILE, and continue from FILE.")
@_seed_option
@range_option
@click.option("--difficulty", metavar="FILE",
              help="Also write the difficulty of each prompt for the first model, for 'data select'.")  # fmt: skip
@click.option("--record", metavar="LOCATION", help="Record the answers in this folder, or at s3://bucket/prefix.")
@click.option("--save", metavar="FILE", help="Also write the report as JSON, for 'eval show'.")
@click.option("--html", metavar="FILE", help="Also write the report as an HTML page.")
def run(
    dataset: str,
    models: tuple[str, ...],
    reward: str,
    temperature: float | None,
    max_tokens: int | None,
    sampling: str | None,
    difficulty: str | None,
    save: str | None,
    html: str | None,
    **options: Any,
) -> None:
    """Sample models on the prompts of FILE, score the answers, and compare.

    The tokens are billed. The exit code is 3 if the report has errors.
    """
    fields = {"temperature": temperature, "max_completion_tokens": max_tokens, **_parse_object(sampling)}
    given = {name: value for name, value in fields.items() if value is not None}

    def print_progress(stage: str, done: int, total: int) -> None:
        click.echo(f"\r{stage}: {done:,} of {total:,}", err=True, nl=done >= total)

    with open_client() as client:
        report = client.evaluate(
            dataset,
            models=[model_or_job(client, one) for one in models],
            reward=reward_target(client, reward),
            sampling=given or None,
            progress=print_progress if shows_progress() else False,
            **options,
        )
    write_file(save, report.to_json, "report")
    write_file(html, reword_report(report).to_html, "report")
    write_file(difficulty, lambda path: report.difficulty().to_json(path), "difficulty")
    finish_report(report)


@eval.command("show", shape=_SHAPE)
@click.argument("report", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option("--html", metavar="FILE", help="Also write the report as an HTML page.")
def show(report: str, html: str | None) -> None:
    """Show a report that 'eval run --save' wrote."""
    from bedrock_rft.evaluation import Evaluation

    found = Evaluation.load(report)
    write_file(html, reword_report(found).to_html, "page")
    finish_report(found)


@click.command(cls=Command, shape="bedrock_rft.rehearsal.Rehearsal")
@click.argument("dataset", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@_reward_option
@hyperparameter_options
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of records to rehearse on. Default: 400 or more.",
)
@click.option("--samples", type=int, default=0, metavar="N",
              help="Answers of the base model to each prompt; tokens are billed. Default: 0.")  # fmt: skip
@click.option("--prompts", type=int, metavar="N", help="Prompts for the base model. Default: 32.")
@click.option("--model", default="openai.gpt-oss-20b", metavar="ID",
              help="The base model. Default: openai.gpt-oss-20b.")  # fmt: skip
@_seed_option
@gold_option
@payload_option
@wrap_text_option
@range_option
@click.option("--difficulty", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="The difficulty of the prompts, as 'eval run --difficulty' writes it.")  # fmt: skip
@click.option("--record", metavar="LOCATION", help="Record the rollouts in this folder, or at s3://bucket/prefix.")
@click.option("--html", metavar="PATH", help="Also write the report as an HTML page.")
def rehearse(
    dataset: str,
    reward: str,
    samples: int,
    prompts: int | None,
    html: str | None,
    gold: str | None,
    **options: Any,
) -> None:
    """Rehearse a job on this machine before it is billed.

    The file and the reward are checked, and the job runs on the local service.
    No model is trained. The exit code is 3 if there are errors.
    """
    from bedrock_rft import rehearsal

    if prompts is not None:
        if not samples:
            raise click.UsageError("--prompts is for the answers of --samples. Add --samples, or leave out --prompts.")
        options["prompts"] = prompts
    hyperparameters = pop_hyperparameters(options)
    with open_client() if samples else reward_client(reward) as client:
        report = rehearsal.rehearse(
            dataset,
            reward_target(client, reward),
            hyperparameters=hyperparameters,
            client=client,
            samples=samples,
            gold=load_gold(gold),
            **options,
        )
    write_file(html, reword_report(report).to_html, "page")
    finish_report(report)


def _parse_object(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise click.UsageError(f"--sampling is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise click.UsageError('--sampling must be a JSON object, such as {"top_p": 0.9}.')
    return {str(name): value for name, value in found.items()}  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
