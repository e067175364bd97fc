"""Watch a job, save its metrics, and judge its health.

    python examples/watch_run.py --local                    watch a job on the local service
    python examples/watch_run.py JOB_ID                      watch a job on Amazon Bedrock

`--style json` writes one object a line, `--csv FILE` saves the metrics, `--png FILE` plots them (extra 'plot'), and
`--tensorboard FOLDER` records them (extra 'tensorboard'). Ctrl-C leaves the job running.
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
REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # the local service calls reward.py instead


def main() -> int:
    """Watch the job until it ends, then print its health."""
    options = arguments()
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service, settings come from the environment
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
        return 130  # `watch` has printed how to resume
    print(metrics, metrics.health(), sep="\n\n", file=sys.stderr if options.style == "json" else sys.stdout)
    if options.csv:
        metrics.to_csv(options.csv)
    if options.png:
        figure: Any = metrics.plot()  # matplotlib's type annotations are incomplete
        figure.savefig(options.png)
    return 0


def rehearsed(client: Client) -> str:
    """Yield a job on generated word problems."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "word_problems.jsonl")
        word_problems.write(data)
        file = client.files.upload(data)
    settings = {"n_epochs": 1, "batch_size": 4}
    return client.jobs.create(MODEL, training_file=file, reward=REHEARSED, hyperparameters=settings).id


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Watch a job.")
    parser.add_argument("job", nargs="?", metavar="JOB_ID", help="the job to watch")
    parser.add_argument("--local", action="store_true", help="watch a job on the local service")
    parser.add_argument("--pace", type=float, default=0.05, help="seconds per step of the local service")
    parser.add_argument("--style", default="auto", help="auto, terminal, plain, json or none")
    parser.add_argument("--csv", type=Path, help="save the metrics here")
    parser.add_argument("--png", type=Path, help="plot the curves here")
    parser.add_argument("--tensorboard", type=Path, metavar="FOLDER", help="record the job for TensorBoard")
    options = parser.parse_args()
    if bool(options.job) == options.local:
        parser.error("give the id of a job, or --local")
    return options


if __name__ == "__main__":
    sys.exit(main())
