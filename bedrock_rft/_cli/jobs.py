"""`bedrock-rft jobs`: list, follow, judge, compare and cancel jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import click

from bedrock_rft._cli.command import Group, many, range_option
from bedrock_rft._cli.completion import job_ids
from bedrock_rft._cli.failures import JOB_FAILED, TIMED_OUT, finish, on_interrupt, warn
from bedrock_rft._cli.output import (
    Columns,
    date,
    finish_report,
    first,
    note,
    print_text,
    show,
    show_list,
    show_one,
    write_file,
)
from bedrock_rft._cli.settings import confirm, open_client, settings
from bedrock_rft._core.output import print_error
from bedrock_rft._core.text import sanitize_line

JOB = "bedrock_rft.types.Job"
_LARGEST_PAGE = 100


def _format_settings(job: Any) -> str:
    from bedrock_rft.types.jobs import hyperparameters_of

    return ", ".join(f"{name}={value}" for name, value in hyperparameters_of(job).items())


_COLUMNS: Columns = {
    "id": lambda job: job.id,
    "status": lambda job: job.status,
    "model": lambda job: job.model,
    "created": lambda job: date(job.created_at),
}
JOB_FIELDS: Columns = {
    "id": lambda job: job.id,
    "status": lambda job: job.status,
    "name": lambda job: dict[str, Any](job.metadata or {}).get("bedrock_rft_marker"),
    "model": lambda job: job.model,
    "tuned model": lambda job: job.fine_tuned_model,
    "training file": lambda job: job.training_file,
    "validation file": lambda job: job.validation_file,
    "reward": lambda job: job.reward,
    "hyperparameters": _format_settings,
    "created": lambda job: date(job.created_at),
    "finished": lambda job: date(job.finished_at),
    "trained tokens": lambda job: job.trained_tokens,
    "error": lambda job: f"{job.error.code}: {job.error.message}" if job.status == "failed" and job.error else None,
}
"""The fields that `jobs get` and `jobs create` show."""

_EVENT_COLUMNS: Columns = {
    "time": lambda event: date(event.created_at),
    "level": lambda event: event.level,
    "message": lambda event: event.message,
}
_CHECKPOINT_COLUMNS: Columns = {
    "id": lambda one: one.id,
    "step": lambda one: one.step_number,
    "model": lambda one: one.fine_tuned_model_checkpoint,
}

jobs = Group(
    "jobs",
    help="Create, follow and compare jobs. Ctrl-C never cancels a job.",
    lazy={"create": ("create", "Create a job from run.toml or flags.")},
)

_many_jobs = click.argument("job_ids", metavar="JOB...", nargs=-1, required=True, shell_complete=job_ids)
_one_job = click.argument("job", shell_complete=job_ids)
_timeout = click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="Maximum seconds to wait."
)
_interval = click.option(
    "--poll-interval", type=click.FloatRange(0, min_open=True), default=5.0, metavar="SECONDS",
    help="Seconds between polls at first; the interval then grows. Default: 5.",
)  # fmt: skip


@jobs.command("list", shape=f"a list of {JOB}")
@click.option("--status", metavar="STATUS", help="Only jobs with this status.")
@click.option("--model", metavar="ID", help="Only jobs that train this model.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Number of jobs to show. Default: all.")
def list_jobs(status: str | None, model: str | None, limit: int | None) -> None:
    """List the jobs, newest first."""
    with open_client() as client:
        page = min(limit, _LARGEST_PAGE) if limit and not (status or model) else None
        seen = list[Any]()

        def read() -> Iterator[Any]:
            for job in client.jobs.list(limit=page):
                seen.append(job)
                if status in {None, job.status} and model in {None, job.model}:
                    yield job

        show_list(first(read(), limit), _COLUMNS, empty=lambda: _describe_no_match(seen, status, model))


def _describe_no_match(seen: Sequence[Any], status: str | None, model: str | None) -> str:
    """Say which of the filters no job matches, and the values that occur."""
    if not seen:
        return "There are no jobs."
    wanted = [f"{name} '{value}'" for name, value in (("status", status), ("model", model)) if value is not None]
    occur = [
        f"{name} {', '.join(sorted({sanitize_line(getattr(job, name), 100) for job in seen}))}"
        for name, value in (("status", status), ("model", model))
        if value is not None
    ]
    others = f"The {len(seen):,} jobs have" if len(seen) > 1 else "The only job has"
    return f"No job has the {sanitize_line(' and the '.join(wanted), 300)}. {others} {'; '.join(occur)}."


@jobs.command("get", shape=JOB)
@_one_job
def get(job: str) -> None:
    """Show one job. A table also has its time and cost, as ranges."""
    with open_client() as client:
        found = client.jobs.retrieve(job)
        fields = {**JOB_FIELDS, **_time_and_money(client, found)} if settings().output == "table" else JOB_FIELDS
        show_one(found, fields)


@jobs.command("cost", shape="bedrock_rft.costs.Cost")
@_one_job
def cost(job: str) -> None:
    """Show the time and cost of a job, so far and at its end, as ranges."""
    with open_client() as client:
        found = client.jobs.metrics(job).cost()
    show(found, text=str(found), ids=[job])


@jobs.command("find", shape=JOB)
@click.argument("name")
def find(name: str) -> None:
    """Find the job with a name, or with the marker that 'jobs create' printed.

    The exit code is 1 if no job has the name. Lists may lag behind by seconds.
    """
    with open_client() as client:
        job = client.jobs.find(name)
        if job is None:
            from bedrock_rft.errors import BedrockRFTError

            raise BedrockRFTError(f"No job has the name '{name}'. Lists may lag behind, so try again in a minute.")
        show_one(job, JOB_FIELDS)


@jobs.command("cancel", shape=f"a list of {JOB}")
@_many_jobs
def cancel(job_ids: tuple[str, ...]) -> None:
    """Cancel jobs. Cancelled jobs cannot be resumed."""
    confirm(f"Cancel {', '.join(job_ids)}? This cannot be undone.")
    with open_client() as client:
        show_list((client.jobs.cancel(job) for job in job_ids), _COLUMNS, actions=True)


@jobs.command("wait", shape=f"a list of {JOB}")
@_many_jobs
@_timeout
@_interval
def wait(job_ids: tuple[str, ...], timeout: float | None, poll_interval: float) -> None:
    """Wait until jobs end, and show them.

    The exit code is 4 if a job failed or was cancelled, and 124 if the time
    limit passed. Ctrl-C leaves the jobs running.
    """
    _print_how_to_resume("wait", job_ids)
    from bedrock_rft.errors import WaitTimeoutError

    ended: list[Any] = []
    late: list[WaitTimeoutError] = []
    with open_client() as client:
        begun = time.monotonic()
        for job in job_ids:
            left = None if timeout is None else max(0.001, timeout - round(time.monotonic() - begun, 1))
            try:
                ended.append(client.jobs.wait(job, timeout=left, poll_interval=poll_interval, raise_on_failure=False))
            except WaitTimeoutError as error:
                late.append(error)
                ended.append(error.job)
    show_list(ended, JOB_FIELDS if settings().output == "csv" else _COLUMNS)
    _finish_waiting(ended, late)


@jobs.command("watch", shape='one object per line; its "kind" is status, step, message, checkpoint, alarm or cost')
@_many_jobs
@click.option("--style", type=click.Choice(["auto", "terminal", "plain", "json", "none"]), default="auto",
              help="Kind of view. Default: a panel on a terminal, otherwise lines.")  # fmt: skip
@_timeout
@_interval
@range_option
@click.option("--max-cost", type=float, metavar="MONEY", help="Cost limit; see --on-limit.")
@click.option("--max-hours", type=float, metavar="HOURS", help="Limit in hours; see --on-limit.")
@click.option("--on-limit", type=click.Choice(["warn", "cancel"]), default="warn",
              help="At a limit, warn, or cancel the job, which cannot be undone. Default: warn.")  # fmt: skip
@click.option(
    "--rollouts", metavar="LOCATION", help="Show some rollouts recorded to this folder or s3://bucket/prefix."
)
@many(
    "--tracker",
    "trackers",
    type=click.Choice(["mlflow", "wandb", "tensorboard"]),
    help="Also log the job to this tracker.",
)
def watch(
    job_ids: tuple[str, ...],
    style: str,
    timeout: float | None,
    poll_interval: float,
    reward_range: tuple[float, float],
    trackers: tuple[str, ...],
    **limits: Any,
) -> None:
    """Show the progress of jobs until they end.

    The exit code is 4 if a job failed or was cancelled, and 124 if the time
    limit passed. Ctrl-C leaves the jobs running.
    """
    from bedrock_rft._cli.watching import watch_jobs

    form = settings().output
    chosen = {"json": "json", "jsonl": "json", "quiet": "none"}.get(form, style)
    if form == "csv":
        raise click.UsageError("Statuses, steps and messages have no common columns, so they are no CSV. Use -o jsonl.")
    if limits["rollouts"] and chosen in {"json", "none"}:
        raise click.UsageError("--rollouts needs a view for people. 'bedrock-rft rollouts show -o jsonl' prints JSON.")
    _print_how_to_resume("watch", job_ids)
    options: dict[str, Any] = {
        "timeout": timeout,
        "poll_interval": poll_interval,
        "reward_range": reward_range,
        "raise_on_failure": False,
        **limits,
    }
    with open_client() as client:
        ended, late = watch_jobs(client, job_ids, chosen, trackers, options)
    if form == "quiet":
        for job in ended:
            print_text(job.id)
    _finish_waiting(ended, late)


@jobs.command("record", shape="bedrock_rft.metrics.RunRecord")
@_one_job
@click.option(
    "--to", "path", metavar="FILE", help="Write the record to FILE: Markdown if FILE ends with .md, else JSON."
)
@click.option("--dataset", metavar="FILE", help="The training file on this machine. Default: download the file.")
@click.option("--no-download", is_flag=True, help="Do not download files to hash them.")
def record(job: str, path: str | None, dataset: str | None, *, no_download: bool) -> None:
    """Record a run: hashes, hyperparameters, metrics, cost and versions.

    'jobs create --from FILE' repeats the run.
    """
    with open_client() as client:
        found = client.jobs.record(job, dataset=dataset, download=not no_download)
    if path is None:
        show(found, text=str(found), ids=[job])
        return
    write_file(path, found.to_markdown if path.endswith(".md") else found.to_json, "record")


@jobs.command("events", shape="a list of bedrock_rft.types.Event")
@_one_job
@click.option("-f", "--follow", is_flag=True, help="Follow new events until the job ends, oldest first.")
@click.option("--after", metavar="EVENT", help="Start after this event.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Number of events. Default: all.")
@_timeout
@_interval
def events(
    job: str, *, follow: bool, after: str | None, limit: int | None, timeout: float | None, poll_interval: float
) -> None:
    """Show the events of a job, newest first; with -f, follow them."""
    with open_client() as client:
        if not follow:
            found = client.jobs.events(job, after=after, limit=min(limit, _LARGEST_PAGE) if limit else None)
            show_list(first(found, limit), _EVENT_COLUMNS, empty="There are no events.")
            return
        on_interrupt(
            lambda: print_error(f"Job {job} is still running. Resume with:\n  bedrock-rft jobs events -f {job}")
        )
        followed = client.jobs.follow(job, after=after, timeout=timeout, poll_interval=poll_interval)
        if settings().output != "table":
            if settings().output == "json":
                settings().output = "jsonl"  # an array would only end with the job
            show_list(first(followed, limit), _EVENT_COLUMNS)
            return
        for event in first(followed, limit):
            level = "" if event.level == "info" else f"{event.level}: "
            print_text(f"{date(event.created_at)}  {level}{sanitize_line(event.message)}")


@jobs.command("metrics", shape="bedrock_rft.metrics.Metrics")
@_one_job
@click.option("--csv", "csv_file", metavar="FILE", help="Also write the steps as CSV.")
def metrics(job: str, csv_file: str | None) -> None:
    """Show the metrics of every training step so far.

    With -o csv and -o jsonl, each step is a line.
    """
    with open_client() as client:
        found = client.jobs.metrics(job)
    if csv_file is not None:
        found.to_csv(csv_file)
        note(f"The steps were written to {csv_file}.", wrap=False)
    form = settings().output
    if form == "csv":
        print_text(found.to_csv().rstrip("\n"))
    elif form == "jsonl":
        show_list(found, {})
    else:
        show(found, text=str(found), ids=[job])


@jobs.command("health", shape='{"title", "findings", "verdict", "ok"}')
@_one_job
@range_option
def health(job: str, reward_range: tuple[float, float]) -> None:
    """Judge the health of a job by its metrics.

    The exit code is 3 if there are errors.
    """
    with open_client() as client:
        report = client.jobs.metrics(job).health(reward_range=reward_range)
    finish_report(report)


@jobs.command("compare", shape="bedrock_rft.metrics.Comparison")
@_many_jobs
@many("--label", "labels", metavar="TEXT", help="A name for each job, in the same order.")
@click.option("--plot", metavar="FILE", help="Also write the curves as an image. Needs the extra plot.")
def compare(job_ids: tuple[str, ...], labels: tuple[str, ...], plot: str | None) -> None:
    """Compare the metrics of jobs."""
    with open_client() as client:
        found = client.jobs.compare(*job_ids, labels=labels or None)
    if plot is not None:
        figure: Any = found.plot()
        figure.savefig(plot)
        note(f"The curves were written to {plot}.", wrap=False)
    if settings().output == "csv":
        print_text(found.to_csv().rstrip("\n"))
        return
    show(found, text=str(found), ids=list(job_ids))


@jobs.command("checkpoints", shape="a list of bedrock_rft.types.Checkpoint")
@_one_job
def checkpoints(job: str) -> None:
    """Show the checkpoints of a job, which can be used like models."""
    with open_client() as client:
        show_list(client.jobs.checkpoints(job), _CHECKPOINT_COLUMNS, empty="There are no checkpoints yet.")


def _time_and_money(client: Any, job: Any) -> Columns:
    """Return the fields that need the events of a job; none if they cannot be read."""
    from bedrock_rft.costs._ranges import Range, format_hours
    from bedrock_rft.errors import BedrockRFTError

    try:
        found = client.jobs.metrics(job).cost()
    except BedrockRFTError as error:
        warn(f"The time and cost of the job could not be read: {error}")
        return {}
    return {
        "elapsed": lambda _: format_hours(Range.of(found.elapsed, "elapsed")) if found.elapsed is not None else None,
        "remaining": lambda _: format_hours(found.remaining) if found.remaining and found.remaining.high else None,
        "money": lambda _: f"{found.summary}; billing is not published, see: jobs cost" if found.summary else None,
        "note": lambda _: found.note,
    }


def _print_how_to_resume(verb: str, job_ids: tuple[str, ...]) -> None:
    names = " ".join(job_ids)
    what = f"Job {names} is" if len(job_ids) == 1 else f"{len(job_ids)} jobs are"
    on_interrupt(lambda: print_error(f"{what} still running. Resume with:\n  bedrock-rft jobs {verb} {names}"))


def _finish_waiting(ended: Sequence[Any], late: Sequence[Exception]) -> None:
    for error in late:
        warn(str(error))
    failed = any(job.status != "succeeded" for job in ended)
    finish(TIMED_OUT if late else JOB_FAILED if failed else 0)
