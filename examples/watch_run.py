"""Watch a run as it goes, keep its numbers, and read what they say about it.

    python examples/watch_run.py --local                    rehearse a run on this machine, and watch it
    python examples/watch_run.py JOB_ID                      watch a job on Amazon Bedrock

`--style json` writes one object a line instead, `--csv FILE` keeps the numbers, `--png FILE` draws them (with the extra
'plot'), and `--tensorboard FOLDER` records them (with the extra 'tensorboard'). Ctrl-C leaves the job running.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import BedrockRFTError, Client
from bedrock_rft.trackers import TensorBoard

MODEL = "openai.gpt-oss-20b"
REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # stands for reward.py


def main() -> int:
    """Watch until the job has ended, then say what its numbers mean."""
    options = arguments()
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service: whatever the environment says
            if options.local:
                from bedrock_rft.local import LocalService

                reward = f"{Path(__file__).with_name('reward.py')}:lambda_handler"
                settings = stack.enter_context(LocalService(reward=reward, pace=options.pace)).client_options()
            client = stack.enter_context(Client(**settings))
            job = rehearsed(client) if options.local else options.job
            trackers = [TensorBoard(options.tensorboard)] if options.tensorboard else []
            interval = 0.2 if options.local else 5.0
            ended = client.jobs.watch(job, style=options.style, trackers=trackers, poll_interval=interval)
            metrics = client.jobs.metrics(ended)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130  # it was said already how to come back
    print(metrics, metrics.health(), sep="\n\n", file=sys.stderr if options.style == "json" else sys.stdout)
    if options.csv:
        metrics.to_csv(options.csv)
    if options.png:
        figure: Any = metrics.plot()  # matplotlib's own types are not whole
        figure.savefig(options.png)
    return 0


def rehearsed(client: Client) -> str:
    """A job on generated word problems."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "word_problems.jsonl")
        word_problems.write(data)
        file = client.files.upload(data)
    settings = {"n_epochs": 1, "batch_size": 4}
    return client.jobs.create(MODEL, training_file=file, reward=REHEARSED, hyperparameters=settings).id


def arguments() -> argparse.Namespace:
    """What to watch, and what to do with it."""
    parser = argparse.ArgumentParser(description="Watch a run as it goes.")
    parser.add_argument("job", nargs="?", metavar="JOB_ID", help="the job to watch")
    parser.add_argument("--local", action="store_true", help="rehearse on this machine")
    parser.add_argument("--pace", type=float, default=0.1, help="seconds between the rehearsal's steps")
    parser.add_argument("--style", default="auto", help="auto, terminal, plain, json or none")
    parser.add_argument("--csv", type=Path, help="keep the numbers here")
    parser.add_argument("--png", type=Path, help="draw the curves here")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="record the run for TensorBoard")
    options = parser.parse_args()
    if bool(options.job) == options.local:
        parser.error("give the id of a job, or --local")
    return options


if __name__ == "__main__":
    sys.exit(main())
