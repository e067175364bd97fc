"""`bedrock-rft whoami`, `doctor`, `key` and `inventory`."""

from __future__ import annotations

from typing import Any

import click

from bedrock_rft._cli.command import Command, many
from bedrock_rft._cli.output import finish_report, note, print_text, show
from bedrock_rft._cli.settings import confirm, open_client, settings
from bedrock_rft._cli.wording import for_shell

_ARN = "ARN"
_SECONDS = 20.0  # for all checks of the doctor


@click.command(cls=Command, shape="bedrock_rft.Identity")
def whoami() -> None:
    """Show the endpoint, region and identity, and where each comes from.

    Nothing is sent: the identity is not verified. 'doctor' verifies it.
    """
    with open_client() as client:
        identity = client.identity
        show(identity, text=str(identity), ids=[identity.source])


@click.command(cls=Command, shape="bedrock_rft.access.Report, or LiveReport with --live")
@click.option("--reward", metavar=_ARN, help="The reward function.")
@many("--model", "models", metavar="ID", help="A model to train.")
@many("--judge", "judges", metavar="ID", help="A model that the reward invokes.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Seconds for all checks. Default: 20.")
@click.option("--redacted", is_flag=True, help="Replace account ids, names and key ids, to publish the report.")
@click.option("--live", is_flag=True, help="Compare the service with its documented facts, with a small file.")
@click.option("--create-job", is_flag=True, help="With --live: also create a job, and cancel it.")
def doctor(
    reward: str | None,
    models: tuple[str, ...],
    judges: tuple[str, ...],
    timeout: float | None,
    redacted: bool,
    live: bool,
    create_job: bool,
) -> None:
    """Check everything that a job needs, with a remedy for each fault.

    The doctor queries the endpoint, STS, IAM, Lambda, EC2 and KMS, and changes
    nothing. The exit code is 3 if there are errors. With --live, the doctor only
    uploads a file of 100 records, reads it, deletes it, and prints a redacted
    report of the differences from the documentation.
    """
    from bedrock_rft import access

    if create_job and not (live and reward):
        raise click.UsageError("--create-job needs --live and --reward.")
    if live and (judges or timeout is not None):
        raise click.UsageError("--judge and --timeout have no effect with --live. Leave them out, or leave out --live.")
    if live and not create_job and (reward or models):
        raise click.UsageError(
            "With --live, --reward and --model are used only by --create-job. Leave them out, or add --create-job."
        )
    if live and len(models) > 1:
        raise click.UsageError("--create-job creates one job. Pass one --model.")
    if create_job:
        confirm(
            "Create a job and cancel it at once? Training costs USD 80 an hour, by third-party copies of the price "
            "page. Whether a cancelled job is billed is not known."
        )
    with open_client() as client:
        if live:
            model = models[0] if models else "openai.gpt-oss-20b"
            report: Any = access.live_check(client, create_job=create_job, reward=reward, model=model)
        else:
            report = access.doctor(
                client, reward=reward, models=models, judges=judges, seconds=_SECONDS if timeout is None else timeout
            )
            report = report.redacted() if redacted else report
    finish_report(report)


@click.command(cls=Command, shape='{"key", "region", "expires_at"}')
@click.option(
    "--hours",
    type=click.FloatRange(0, 12, min_open=True),
    default=12.0,
    metavar="HOURS",
    help="Hours until the key expires. Default: 12, the maximum.",
)
def key(hours: float) -> None:
    """Print a short-term API key, made from AWS credentials.

    Only the key goes to standard output:
    export AWS_BEARER_TOKEN_BEDROCK=$(bedrock-rft key --hours 1)
    """
    from bedrock_rft import access

    made = access.mint_api_key(settings().region, profile=settings().profile, expires_in=hours * 3600)
    until = f"{made.expires_at:%Y-%m-%dT%H:%M:%SZ}"
    text = made.reveal()
    if settings().output in {"json", "jsonl"}:
        show({"key": text, "region": made.region, "expires_at": until}, text="")
        return
    print_text(text)
    note(f"for {made.region}, until {until}")


@click.command(cls=Command, shape="bedrock_rft.costs.Inventory")
@click.option(
    "--no-checkpoints", is_flag=True, help="Leave out checkpoints; listing them needs a request for each job."
)
@click.option("--no-functions", is_flag=True, help="Leave out deployed functions, and do not call Lambda.")
def inventory(*, no_checkpoints: bool, no_functions: bool) -> None:
    """List files, jobs, tuned models, checkpoints and functions.

    Each has its age, its size, its monthly cost as far as it is published, and
    the command that deletes it. Nothing is deleted.
    """
    with open_client() as client:
        found = client.inventory(checkpoints=not no_checkpoints, functions=not no_functions)
    value: Any = found.assets if settings().output == "csv" else found
    show(value, text=for_shell(str(found)), ids=[asset.id for asset in found.deletable])
