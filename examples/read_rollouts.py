"""Read the recorded prompts, answers and scores of a job.

    python examples/read_rollouts.py --local                records a rehearsal on this machine, and reads it
    python examples/read_rollouts.py s3://bucket/prefix     reads the recording of a deployed reward
    python examples/read_rollouts.py my-reward --since 2026-11-28T14:00

The location is also a folder, or the name or ARN of a deployed reward. The report is written to rollouts.html, and with
`--parquet PATH` all rollouts to a Parquet file, which needs polars.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from pathlib import Path

import word_problems

from bedrock_rft import BedrockRFTError, Client, rewards, rollouts
from bedrock_rft.rehearsal import rehearse


def record_rehearsal(folder: Path) -> None:
    """Record the rollouts of a rehearsed job on word problems."""
    with tempfile.TemporaryDirectory() as data:
        path = Path(data, "word_problems.jsonl")
        word_problems.write(path, count=120)
        reward = 0.9 * rewards.Numeric() + 0.1 * rewards.Format(marker="####")
        log = rewards.RolloutLog(str(folder), include=("prompt", "answer", "reference"))
        rehearse(path, reward, limit=32, record=log)


def main() -> int:
    """Show the lowest and the highest scores. Return 1 if that failed."""
    parser = argparse.ArgumentParser(description="Read recorded rollouts.")
    parser.add_argument("location", nargs="?", help="a folder, s3://bucket/prefix, or a deployed reward")
    parser.add_argument("--since", help="no rollouts before this time, such as 2026-11-28T14:00 in UTC")
    parser.add_argument("--parquet", type=Path, help="also write all rollouts to this file")
    parser.add_argument("--local", action="store_true", help="record a rehearsal on this machine first")
    options = parser.parse_args()
    if not options.location and not options.local:
        parser.error("a location is needed, or --local")
    try:
        if options.local:
            location = options.location or "recorded"
            record_rehearsal(Path(location))
            found = rollouts.read(location, since=options.since)
        else:
            with Client() as client:
                found = client.rewards.rollouts(options.location, since=options.since)
        for title, choose in (("lowest score", min), ("highest score", max)):
            chosen = choose(found, key=lambda record: record.score, default=None)
            if chosen is None:
                print(f"There are no rollouts in {found.location}.")
                return 1
            prompt = textwrap.fill(str(chosen.prompt), 80)
            print(f"{title}: {chosen.score:.2f} {dict(chosen.parts)}\n{prompt}\n→ {chosen.answer}\n")
        report = found.report()
        report.to_html("rollouts.html")
        print(report)
        if options.parquet:
            print(f"{found.to_parquet(options.parquet)} rollouts were written to {options.parquet}.")
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
