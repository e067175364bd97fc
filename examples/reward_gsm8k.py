"""A composed reward for GSM8K: written, checked, packaged for Lambda, and rehearsed on this machine.

`python examples/reward_gsm8k.py` makes word problems of GSM8K's kind; `--data train.jsonl` takes records of yours.
Nothing is sent to AWS. The zip that it leaves in `--out` is what a Lambda function would be made of.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

import word_problems

from bedrock_rft import BedrockRFTError, Client
from bedrock_rft.local import LocalService
from bedrock_rft.rewards import Format, Length, Numeric, Rollout, check, package, reward

MODEL = "openai.gpt-oss-20b"
FUNCTION = "arn:aws:lambda:us-west-2:123456789012:function:gsm8k"  # the rehearsal calls the reward itself instead
BARS = 8  # points of the run that are shown

# The reward: being right counts for most, and writing well counts only for answers that are right.

STEP = re.compile(r"[=+*/-]\s*\d|\d\s*[=+*/-]")


@reward
def shows_work(rollout: Rollout) -> bool:
    """Whether there is a line with a calculation before the final answer."""
    worked, marker, _ = rollout.answer.rpartition("####")
    return bool(marker) and STEP.search(worked) is not None


correct = Numeric(name="correct")
form = (0.5 * Format(marker="####") + 0.3 * shows_work + 0.2 * Length(1200, tolerance=800)).named("form")
total = 0.8 * correct + 0.2 * form.gate(correct)


def main() -> int:
    """Check, package and rehearse; 1 where the check finds an error."""
    parser = argparse.ArgumentParser(description="Check, package and rehearse a reward for GSM8K.")
    parser.add_argument("--data", type=Path, help="JSON lines to train on; generated word problems unless given")
    parser.add_argument("--out", type=Path, default=Path("reward.zip"), help="where the package goes")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as folder:
            data: Path = options.data or Path(folder, "train.jsonl")
            if options.data is None:
                word_problems.write(data, count=160)
            return go(data, options.out)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def go(data: Path, out: Path) -> int:
    """All of it, on one file."""
    solved = Rollout.of("What is 6 * 7?", "6 * 7 = 42\n#### 42", reference="6 * 7 is 42.\n#### 42")
    for answer in (solved.answer, "#### 42", "It is 41."):
        score = total(Rollout.of("What is 6 * 7?", answer, reference=solved.reference))
        parts = ", ".join(f"{name} {value:g}" for name, value in score.parts.items() if value)
        print(f"{score.value:.2f}  {answer!r:<22} {parts}")

    report = check(total, data)
    print(f"\n{report}\n")
    if not report.ok:
        return 1

    made = package(total)
    made.write(out)
    print(made)
    report = check(out, data)  # the zip itself, in a process of its own where nothing is installed
    print(f"\nThe zip by itself: {report.verdict}\n")

    rehearse(data)
    return 0 if report.ok else 1


def rehearse(data: Path) -> None:
    """A run on this machine, with the reward called as the service calls it."""
    with LocalService(reward=total) as service, Client(**service.client_options(auth="aws")) as client:
        file = client.files.upload(data)
        job = client.jobs.create(MODEL, training_file=file, reward=FUNCTION, hyperparameters={"batch_size": 4})
        job = client.jobs.wait(job, poll_interval=0.05)
        steps = list(client.jobs.metrics(job))
    print(f"The rehearsal {job.status}. The reward as it went:")
    for step in steps[:: max(1, len(steps) // BARS)]:
        mean = step.critic_rewards_mean or 0.0
        print(f"  step {step.step or 0:>3}  {mean:.2f}  {'#' * round(50 * mean)}")


if __name__ == "__main__":
    sys.exit(main())
