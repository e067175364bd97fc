"""Run a job from a script that you can kill and restart at any time without creating a second job.

    python examples/training_script.py --name arithmetic-1 --data train.jsonl --reward arn:aws:lambda:us-west-2:…

The job's name is in its metadata, so a second run of the script finds the job instead of creating another. Events are
appended to `NAME.events.jsonl`, and following resumes after the last event in that file. Every setting can also be set
by an environment variable. `--local [DIRECTORY]` uses the local service, with state that survives the script; without
`--name` and `--data` it then trains on generated word problems.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import BedrockRFTError, Client, Event, Job

REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # the local service calls reward.py instead


def main() -> int:
    """Start the job or resume following it."""
    options = arguments()
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service, settings come from the environment
            if options.local:
                from bedrock_rft.local import LocalService

                reward = f"{Path(__file__).with_name('reward.py')}:lambda_handler"
                service = LocalService(options.local, reward=reward, pace=options.pace)
                settings = stack.enter_context(service).client_options()
            client = stack.enter_context(Client(**settings))
            print(client.identity, flush=True)
            job = start(client, options)
            follow(client, job, Path(f"{options.name}.events.jsonl"), options.poll_interval)
            job = client.jobs.wait(job)  # the job has ended; this raises if it did not succeed
            print(f"tuned model: {job.fine_tuned_model}")
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe job is still running. Run this script again to resume.", file=sys.stderr)
        return 130
    return 0


def start(client: Client, options: argparse.Namespace) -> Job:
    """Return the job with this name; upload the file and create the job if there is none."""
    job = client.jobs.find(options.name)
    if job is not None:
        print(f"found job {job.id}: {job.status}", flush=True)
        return job
    file = client.files.upload(options.data)
    job = client.jobs.create(
        options.model,
        training_file=file,
        reward=options.reward,
        hyperparameters={"n_epochs": options.epochs, "batch_size": options.batch_size},
        name=options.name,
    )
    print(f"created job {job.id}", flush=True)
    return job


def follow(client: Client, job: Job, log: Path, poll_interval: float) -> None:
    """Print each new event and append it to the log."""
    seen = last_event(log)
    with log.open("a", encoding="utf-8") as lines:
        for event in client.jobs.follow(job, after=seen, poll_interval=poll_interval):
            lines.write(event.model_dump_json() + "\n")
            lines.flush()
            print(format_event(event), flush=True)


def last_event(log: Path) -> str | None:
    """Return the id of the last event in the log, and drop an incomplete last line."""
    if not log.exists():
        return None
    whole = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    log.write_text("".join(whole), encoding="utf-8")
    return str(json.loads(whole[-1])["id"]) if whole else None


def format_event(event: Event) -> str:
    """Format an event as one line."""
    metrics = event.metrics
    if metrics is None or metrics.critic_rewards_mean is None:
        return event.message
    return f"step {metrics.step}/{metrics.total_steps}  reward {metrics.critic_rewards_mean:.3f}"


def arguments() -> argparse.Namespace:
    """Read settings from the command line, then from the environment."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Create and follow one job; safe to run again.")
    parser.add_argument("--name", default=env("RFT_NAME"), help="unique name of the job (RFT_NAME)")
    parser.add_argument("--data", default=env("RFT_DATA"), help="the training file (RFT_DATA)")
    parser.add_argument("--reward", default=env("RFT_REWARD"), help="ARN of the reward's Lambda function (RFT_REWARD)")
    parser.add_argument("--model", default=env("RFT_MODEL", "openai.gpt-oss-20b"), help="the base model (RFT_MODEL)")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=4, help="prompts per step")
    parser.add_argument("--poll-interval", type=float, default=5.0, help="seconds between polls at first")
    parser.add_argument(
        "--local",
        nargs="?",
        const="rehearsal",
        metavar="DIRECTORY",
        help="use the local service, with its state in this directory (rehearsal)",
    )
    parser.add_argument("--pace", type=float, default=0.02, help="seconds per step of the local service")
    options = parser.parse_args()
    if options.local:
        options.reward = options.reward or REHEARSED
        options.name = options.name or "rehearsal"
        if not options.data:
            options.data = "word_problems.jsonl"
            word_problems.write(Path(options.data))
    for name in ("name", "data", "reward"):
        if not getattr(options, name):
            parser.error(f"--{name} or RFT_{name.upper()} is needed")
    return options


if __name__ == "__main__":
    sys.exit(main())
