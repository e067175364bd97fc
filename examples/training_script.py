"""A training run that may be killed at any time and simply started again: there is one job, whatever happens.

    python examples/training_script.py --name arithmetic-1 --data train.jsonl --reward arn:aws:lambda:us-west-2:…

The job carries its name in the metadata, so a second run finds it instead of creating another. Its log is kept in
`NAME.events.jsonl`, and following goes on behind the last event in there. Every setting has a variable of the
environment as well. `--local DIRECTORY` rehearses on this machine, with state that survives the script.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from bedrock_rft import BedrockRFTError, Client, Event, Job

REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # stands for reward.py


def main() -> int:
    """Train, or go on with it."""
    options = arguments()
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service: whatever the environment says
            if options.local:
                from bedrock_rft.local import LocalService

                reward = f"{Path(__file__).with_name('reward.py')}:lambda_handler"
                service = LocalService(options.local, reward=reward, pace=options.pace)
                settings = stack.enter_context(service).client_options()
            client = stack.enter_context(Client(**settings))
            print(client.identity, flush=True)
            job = start(client, options)
            follow(client, job, Path(f"{options.name}.events.jsonl"), options.poll_interval)
            job = client.jobs.wait(job)  # it has ended by now: this raises where it did not succeed
            print(f"tuned model: {job.fine_tuned_model}")
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe job goes on. Start this again to go on watching it.", file=sys.stderr)
        return 130
    return 0


def start(client: Client, options: argparse.Namespace) -> Job:
    """The job of that name: found, or created on a file that is uploaded first."""
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
    """Append each event to the log and print it, behind those that an earlier run wrote."""
    seen = last_event(log)
    with log.open("a", encoding="utf-8") as lines:
        for event in client.jobs.follow(job, after=seen, poll_interval=poll_interval):
            lines.write(event.model_dump_json() + "\n")
            lines.flush()
            print(told(event), flush=True)


def last_event(log: Path) -> str | None:
    """The id of the last event in the log. A line that was cut off by a kill is dropped."""
    if not log.exists():
        return None
    whole = [line for line in log.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    log.write_text("".join(whole), encoding="utf-8")
    return str(json.loads(whole[-1])["id"]) if whole else None


def told(event: Event) -> str:
    """An event as a line."""
    metrics = event.metrics
    if metrics is None or metrics.critic_rewards_mean is None:
        return event.message
    return f"step {metrics.step}/{metrics.total_steps}  reward {metrics.critic_rewards_mean:.3f}"


def arguments() -> argparse.Namespace:
    """Settings from the command line, then from the environment."""
    env = os.environ.get
    parser = argparse.ArgumentParser(description="Train once, however often this is started.")
    parser.add_argument("--name", default=env("RFT_NAME"), help="of the job; a new run needs a new one (RFT_NAME)")
    parser.add_argument("--data", default=env("RFT_DATA"), help="the training file (RFT_DATA)")
    parser.add_argument("--reward", default=env("RFT_REWARD"), help="ARN of the reward's Lambda function (RFT_REWARD)")
    parser.add_argument("--model", default=env("RFT_MODEL", "openai.gpt-oss-20b"), help="the base model (RFT_MODEL)")
    parser.add_argument("--epochs", type=int, default=1, help="passes over the data")
    parser.add_argument("--batch-size", type=int, default=4, help="prompts per step")
    parser.add_argument("--poll-interval", type=float, default=5.0, help="seconds between the first looks")
    parser.add_argument("--local", metavar="DIRECTORY", help="rehearse on this machine, with the state kept there")
    parser.add_argument("--pace", type=float, default=0.05, help="of a rehearsal: seconds per step")
    options = parser.parse_args()
    if options.local and not options.reward:
        options.reward = REHEARSED
    for name in ("name", "data", "reward"):
        if not getattr(options, name):
            parser.error(f"--{name} or RFT_{name.upper()} is needed")
    return options


if __name__ == "__main__":
    sys.exit(main())
