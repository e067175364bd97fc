"""Run three jobs with different learning rates at once, and compare their rewards.

    python examples/async_jobs.py --local                                           on this machine
    python examples/async_jobs.py --data train.jsonl --reward arn:aws:lambda:us-west-2:…    on Amazon Bedrock

On Amazon Bedrock this runs and bills three jobs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import AsyncClient, BedrockRFTError, File

MODEL = "openai.gpt-oss-20b"
REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # the local service calls reward.py instead
RATES = (0.1, 0.3, 1.0)
SHOWN = 0.1  # share of the steps to average at the start and the end


async def train(client: AsyncClient, file: File, reward: str, rate: float, poll_interval: float) -> str:
    """Run one job and return its row of the table."""
    job = await client.jobs.create(
        MODEL, training_file=file, reward=reward, hyperparameters={"learning_rate_multiplier": rate}
    )
    print(f"{job.id}  learning rate {rate:g}", flush=True)
    job = await client.jobs.wait(job, poll_interval=poll_interval)
    metrics = await client.jobs.metrics(job)
    rewards = [step.critic_rewards_mean for step in metrics if step.critic_rewards_mean is not None]
    few = max(1, round(len(rewards) * SHOWN))
    first, last = sum(rewards[:few]) / few, sum(rewards[-few:]) / few
    return f"{rate:13g}  {first:12.3f}  {last:12.3f}  {job.fine_tuned_model}"


async def compare(settings: dict[str, Any], data: Path, reward: str, poll_interval: float) -> None:
    """Upload the file once, then run all jobs concurrently."""
    async with AsyncClient(**settings) as client:
        print(client.identity)
        file = await client.files.upload(data)
        jobs = [train(client, file, reward, rate, poll_interval) for rate in RATES]
        lines = await asyncio.gather(*jobs)
    print("\nlearning rate  first reward   last reward  model", *lines, sep="\n")


def main() -> int:
    """Run the comparison. Return 1 if a job failed."""
    parser = argparse.ArgumentParser(description="Train with several learning rates at once.")
    parser.add_argument("--data", type=Path, help="the training file; generated word problems with --local")
    parser.add_argument("--reward", help="ARN of the reward's Lambda function; reward.py with --local")
    parser.add_argument("--local", action="store_true", help="use the local service")
    options = parser.parse_args()
    if not options.local and not (options.data and options.reward):
        parser.error("--data and --reward are needed, or --local")
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}
            data, reward = options.data, options.reward or REHEARSED
            if options.local:
                from bedrock_rft.local import LocalService

                handler = f"{Path(__file__).with_name('reward.py')}:lambda_handler"
                settings = stack.enter_context(LocalService(reward=handler)).client_options()
            if data is None:
                data = Path(stack.enter_context(tempfile.TemporaryDirectory()), "word_problems.jsonl")
                word_problems.write(data)
            asyncio.run(compare(settings, data, reward, poll_interval=0.1 if options.local else 5.0))
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
