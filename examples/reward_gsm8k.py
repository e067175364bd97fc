"""Write, check, package and rehearse a composed reward for GSM8K.

`python examples/reward_gsm8k.py` generates word problems similar to GSM8K; `--data train.jsonl` uses your own records.
Nothing is sent to AWS. `--out` is the zip to create a Lambda function from.
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
FUNCTION = "arn:aws:lambda:us-west-2:123456789012:function:gsm8k"  # the local service calls the reward itself instead
BARS = 8  # points of the curve to print

# Correctness counts most; style counts only for correct answers.

STEP = re.compile(r"[=+*/-]\s*\d|\d\s*[=+*/-]")


@reward
def shows_work(rollout: Rollout) -> bool:
    """Check if a line with a calculation precedes the final answer."""
    worked, marker, _ = rollout.answer.rpartition("####")
    return bool(marker) and STEP.search(worked) is not None


correct = Numeric(name="correct")
form = (0.5 * Format(marker="####") + 0.3 * shows_work + 0.2 * Length(1200, tolerance=800)).named("form")
total = 0.8 * correct + 0.2 * form.gate(correct)


def main() -> int:
    """Check, package and rehearse. Return 1 if the check finds an error."""
    parser = argparse.ArgumentParser(description="Check, package and rehearse a reward for GSM8K.")
    parser.add_argument("--data", type=Path, help="JSON lines to train on; generated word problems unless given")
    parser.add_argument("--out", type=Path, default=Path("reward.zip"), help="path of the package")
    parser.add_argument("--local", action="store_true", help="accepted as in the other examples; always local")
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
    """Run all steps on one file."""
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
    report = check(out, data)  # run the zip in a separate process without installed packages
    print(f"\nThe zip alone: {report.verdict}\n")

    rehearse(data)
    return 0 if report.ok else 1


def rehearse(data: Path) -> None:
    """Run a job on the local service, which calls the reward as Bedrock would."""
    with LocalService(reward=total) as service, Client(**service.client_options(auth="aws")) as client:
        file = client.files.upload(data)
        job = client.jobs.create(MODEL, training_file=file, reward=FUNCTION, hyperparameters={"batch_size": 4})
        job = client.jobs.wait(job, poll_interval=0.05)
        steps = list(client.jobs.metrics(job))
    print(f"The rehearsal {job.status}. Mean reward:")
    for step in steps[:: max(1, len(steps) // BARS)]:
        mean = step.critic_rewards_mean or 0.0
        print(f"  step {step.step or 0:>3}  {mean:.2f}  {'#' * round(50 * mean)}")


if __name__ == "__main__":
    sys.exit(main())
