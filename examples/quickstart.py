"""Rehearse a complete job on this machine: upload, train, watch the reward, use the tuned model.

`make demo` runs it, and `make demo DATA=file.jsonl` runs it on your own dataset. It runs twice: with AWS credentials,
then with an API key. It uses no AWS account and trains no model; the reward function `reward.py` is real.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import word_problems
from reward import lambda_handler, text_of

from bedrock_rft import BedrockRFTError, Client, DatasetError, Job, JobFailedError, TrainingMetrics
from bedrock_rft.errors import MissingExtraError
from bedrock_rft.local import LocalService

try:
    from tqdm import tqdm
except ImportError:
    sys.exit(f"error: {MissingExtraError('The progress bar', 'progress')}")

HERE = Path(__file__).parent
MODEL = "openai.gpt-oss-20b"
REWARD = "arn:aws:lambda:us-west-2:123456789012:function:word-problems"  # the local service calls reward.py instead
WAYS: dict[Literal["aws", "api_key"], str] = {"aws": "With AWS credentials", "api_key": "With an API key"}
STEPS = 75  # enough to show a curve
WIDTH = min(80, shutil.get_terminal_size().columns) - 1
ASKED = 8  # answers sampled to one question
BLOCK = "\u2588" if (sys.stdout.encoding or "").lower().startswith("utf") else "#"


def main() -> int:
    """Run the rehearsal with both identities. Return 1 if it failed."""
    parser = argparse.ArgumentParser(description="Rehearse reinforcement fine-tuning on this machine.")
    parser.add_argument("--local", action="store_true", help="accepted as in the other examples; always local")
    parser.add_argument("--data", type=Path, help="JSON lines to train on; generated word problems unless given")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="that each training is slowed down to, to be watched"
    )
    options = parser.parse_args()
    data: Path | None = options.data
    output: Any = sys.stdout
    if hasattr(output, "reconfigure"):
        output.reconfigure(errors="replace", line_buffering=True)  # terminals may not encode every character
    say(
        "A REHEARSAL on this machine: no AWS account, no model, nothing is sent to AWS and nothing is billed. What is "
        "real: the requests and their signatures, the reward function, and the arithmetic of the training."
    )
    try:
        with tempfile.TemporaryDirectory() as folder:
            if data is None:
                data = Path(folder, "word_problems.jsonl")
                word_problems.write(data)
            rehearse(data, options.seconds / STEPS)
    except JobFailedError as error:
        problem = error.job.error
        print(f"\nThe job failed: {problem.code if problem else 'unknown'}")
        say(f"{problem.message if problem else error}")
        return 1
    except DatasetError as error:
        say(f"error: {str(error).splitlines()[0]}")  # the further lines are about Python
        for found in error.problems[:20] if len(error.problems) > 1 else ():
            say(f"- {found}")
        say(f"Nothing was uploaded. Correct {data}, and run the command again.")
        return 1
    except BedrockRFTError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        print("\nStopped.")
        return 130
    return 0


def rehearse(data: Path, pace: float) -> None:
    """Rehearse with each identity on one local service."""
    runs: list[Sequence[TrainingMetrics]] = []
    with LocalService(reward=f"{HERE / 'reward.py'}:lambda_handler", pace=pace) as service:
        for number, auth in enumerate(WAYS):
            title = WAYS[auth]
            print(f"\n{title}\n{'=' * len(title)}")
            with Client(**service.client_options(auth)) as client:
                print(client.identity)
                job = train(client, data)
                runs.append(client.jobs.metrics(job))
                show(runs[-1])
                compare(client, job, data, number)
    if [metrics.critic_rewards_mean for metrics in runs[0]] == [metrics.critic_rewards_mean for metrics in runs[1]]:
        print()
        say("Same data, seed and rewards in both runs: the two identities differ only in authentication.")


def train(client: Client, data: Path) -> Job:
    """Upload the file and run a job until it succeeds."""
    print()
    with meter("upload ", unit="B", unit_scale=True) as bar:

        def sent(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        file = client.files.upload(data, progress=sent)
    with data.open("rb") as lines:
        records = sum(1 for line in lines if line.strip())
    print(f"file     {file.id}  ({records:,} records)")
    job = client.jobs.create(
        MODEL,
        training_file=file,
        reward=REWARD,
        hyperparameters={"n_epochs": 1, "batch_size": max(4, -(-records // STEPS))},
    )
    print(f"job      {job.id}")
    with meter("training") as bar:
        for event in client.jobs.follow(job, poll_interval=0.05):
            if event.metrics is not None:
                bar.total = event.metrics.total_steps
                bar.set_postfix_str(f"reward {event.metrics.critic_rewards_mean:.2f}", refresh=False)
                bar.update()
    job = client.jobs.wait(job)  # the job has ended; this raises if it did not succeed
    print(f"model    {job.fine_tuned_model}")
    steps = [str(checkpoint.step_number) for checkpoint in client.jobs.checkpoints(job)]
    print(f"saved    also at steps {', '.join(reversed(steps))}")
    return job


def show(run: Sequence[TrainingMetrics]) -> None:
    """Print the metrics as a table of eight rows, each the mean of several steps."""
    size = max(1, -(-len(run) // 8))
    parts = [run[start : start + size] for start in range(0, len(run), size)]
    rewards = [mean([metrics.critic_rewards_mean for metrics in part]) for part in parts]
    room = max(10, WIDTH - 42)
    print(f"\n{'steps':>9}  reward  {'':{room}}  entropy   length")
    for part, reward in zip(parts, rewards, strict=True):
        steps = f"{part[0].step}-{part[-1].step}"
        entropy = mean([metrics.actor_entropy for metrics in part])
        length = mean([metrics.response_length_mean for metrics in part])
        bar = BLOCK * round(room * min(1.0, max(0.0, reward)))
        print(f"{steps:>9}  {reward:6.2f}  {bar:{room}}  {entropy:7.2f}  {length:7.1f}")
    print()
    if max(rewards) - min(rewards) > 0.1:  # noqa: PLR2004 - smaller changes are not visible
        say(f"The reward went from {rewards[0]:.2f} to {rewards[-1]:.2f}; entropy falls as the model becomes certain.")
    elif max(rewards) <= 0:
        say(
            "The reward never left 0, so there was nothing to learn from: reward.py compares the final numbers of "
            "answer and reference answer, and found none that agree. Use another reward for this file."
        )
    else:
        say(f"The reward stayed near {rewards[-1]:.2f}: it does not distinguish the answers enough to learn from.")


def compare(client: Client, job: Job, data: Path, number: int) -> None:
    """Ask the base model and the tuned model one question of the dataset."""
    lines = [line for line in data.read_text(encoding="utf-8").split("\n") if line.strip()]
    record: dict[str, Any] = json.loads(lines[number])
    messages: list[dict[str, Any]] = record.pop("messages")
    said("question", " ".join(text_of(message["content"]) for message in messages if message["role"] == "user"), "")
    for name, model in (("base model", MODEL), ("tuned model", job.fine_tuned_model or "")):
        chat: Any = client.openai.chat.completions
        answers = [
            choice.message.content or ""
            for choice in chat.create(model=model, messages=messages, n=ASKED, seed=number).choices
        ]
        rollouts = [
            {"id": str(place), "messages": [*messages, {"role": "assistant", "content": answer}], "metadata": record}
            for place, answer in enumerate(answers)
        ]
        scores = [result["aggregate_reward_score"] for result in lambda_handler(rollouts, None)]
        worst = scores.index(min(scores))
        remark = f"the worst of {ASKED} answers scored {scores[worst]:.0f}, the mean {mean(scores):.2f}"
        said(name, answers[worst], remark)


def meter(name: str, **settings: Any) -> tqdm[Any]:
    """Show a progress bar in a terminal, and nothing if the output goes to a file."""
    form = "{desc} |{bar}| {n_fmt}/{total_fmt}{postfix}"
    return tqdm(desc=name, file=sys.stdout, ncols=WIDTH, bar_format=form, disable=not sys.stdout.isatty(), **settings)


def mean(values: Sequence[float | None]) -> float:
    """Return the mean of the values that are not None."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else 0.0


def say(text: str) -> None:
    """Print a paragraph."""
    print(textwrap.fill(text, WIDTH))


def said(name: str, text: str, remark: str) -> None:
    """Print a message, shortened to one line."""
    print(f"\n{name}{f'  ({remark})' if remark else ''}")
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, WIDTH - 4)] or ["(nothing)"]
    print(textwrap.indent("\n".join(lines[:6] + ["..."] * (len(lines) > 6)), "    "))  # noqa: PLR2004


if __name__ == "__main__":
    sys.exit(main())
