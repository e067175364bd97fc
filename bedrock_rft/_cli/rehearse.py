"""`bedrock-rft rehearse`."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from bedrock_rft._cli.command import Command, choices
from bedrock_rft._cli.failures import FOUND_ERRORS, finish
from bedrock_rft._cli.output import note, show_findings
from bedrock_rft._cli.reward_source import is_file, load_gold, reward_target
from bedrock_rft._cli.settings import open_client


@click.command(cls=Command, shape="bedrock_rft.rehearsal.Rehearsal")
@click.argument("dataset", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option("--reward", required=True, metavar="REWARD", help="file.py:name, a zip, an ARN, or a deployed name.")
@click.option("--n-epochs", type=int, metavar="N", help="Passes over the records in the planned job.")
@click.option("--batch-size", type=int, metavar="N", help="Prompts per step in the planned job.")
@click.option("--learning-rate-multiplier", type=float, metavar="NUMBER", help="Scales the learning rate.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Maximum number of records to rehearse on. Default: 400 or more.",
)
@click.option("--samples", type=int, default=0, metavar="N",
              help="Answers of the base model to each prompt; tokens are billed. Default: 0.")  # fmt: skip
@click.option("--prompts", type=int, default=32, metavar="N", help="Prompts for the base model. Default: 32.")
@click.option("--model", default="openai.gpt-oss-20b", metavar="ID",
              help="The base model. Default: openai.gpt-oss-20b.")  # fmt: skip
@click.option("--seed", type=int, default=0, metavar="N", help="Random seed. Default: 0.")
@click.option("--gold", metavar="FILE:NAME", help="A function that returns the right answer to a record.")
@click.option("--payload", type=choices("metadata", "top_level"), default="metadata",
              help="Position of the reference answer in a rollout. Default: metadata.")  # fmt: skip
@click.option("--wrap-text", is_flag=True, help='Send a text reference as {"text": ...}.')
@click.option("--reward-range", type=float, nargs=2, default=(0.0, 1.0), metavar="LOW HIGH",
              help="Lowest and highest score of the reward. Default: 0 1.")  # fmt: skip
@click.option("--difficulty", metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="The difficulty of the prompts, as 'eval run --difficulty' writes it.")  # fmt: skip
@click.option("--record", metavar="LOCATION", help="Record the rollouts in this folder, or at s3://bucket/prefix.")
@click.option("--html", metavar="PATH", help="Also write the report as an HTML page.")
def rehearse(dataset: str, reward: str, samples: int, html: str | None, gold: str | None, **options: Any) -> None:
    """Rehearse a job on this machine before it is billed.

    The file and the reward are checked, and the job runs on the local service.
    No model is trained. The exit code is 3 if there are errors.
    """
    from bedrock_rft import rehearsal

    names = ("n_epochs", "batch_size", "learning_rate_multiplier")
    given = {name: options.pop(name) for name in names}
    hyperparameters = {name: value for name, value in given.items() if value is not None}
    with open_client() if samples or not is_file(reward) else contextlib.nullcontext() as client:
        report = rehearsal.rehearse(
            dataset,
            reward_target(client, reward),
            hyperparameters=hyperparameters,
            client=client,
            samples=samples,
            gold=load_gold(gold),
            **options,
        )
    if html is not None:
        report.to_html(html)
        note(f"The page was written to {html}.")
    show_findings(report)
    finish(0 if report.ok else FOUND_ERRORS)
