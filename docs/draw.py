"""Draw the pictures of the pages from jobs on the local service: `python docs/draw.py` (extras `local` and `plot`)."""

from __future__ import annotations

import runpy
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from bedrock_rft import Client
from bedrock_rft.local import LocalService
from bedrock_rft.metrics import Metrics
from bedrock_rft.rewards import Numeric, Rollout

ROOT = Path(__file__).parents[1]
ARN = "arn:aws:lambda:us-west-2:123456789012:function:my-reward"
GREY = "#808080"  # readable on white and on black
BLUE = "#3b8ed0"

Handler = Callable[[Any, object], list[dict[str, Any]]]


def by(score: Callable[[dict[str, Any]], float]) -> Handler:
    """Return a handler that scores each rollout with a function."""

    def handler(event: Any, _: object) -> list[dict[str, Any]]:
        return [{"id": each["id"], "aggregate_reward_score": score(each)} for each in event]

    return handler


def correct(rollout: dict[str, Any]) -> float:
    """Return 1 if the final number is right."""
    return Numeric()(Rollout.read(rollout)).value


def constant(_: dict[str, Any]) -> float:
    """Return the same score for each answer."""
    return 0.5


def long(rollout: dict[str, Any]) -> float:
    """Return a higher score for a longer answer."""
    return min(1.0, len(Rollout.read(rollout).answer) / 400)


def run(score: Callable[[dict[str, Any]], float], data: Path) -> Metrics:
    """Return the metrics of a job on the local service with a reward."""
    with LocalService(reward=by(score)) as service, Client(**service.client_options()) as client:
        file = client.files.upload(data)
        job = client.jobs.create(
            "openai.gpt-oss-20b",
            training_file=file,
            reward=ARN,
            hyperparameters={"n_epochs": 2, "batch_size": 10, "learning_rate_multiplier": 0.5},
        )
        return client.jobs.metrics(client.jobs.wait(job, poll_interval=0.1))


def draw(name: str, panels: Sequence[tuple[str, Metrics, str]], columns: int) -> None:
    """Write small multiples: a title, a run and the name of a metric for each."""
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.2 + 2.1 * columns, 1.8 * rows), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (title, metrics, metric) in zip(axes.flat, panels, strict=False):
        values = [getattr(step, metric) for step in metrics]
        axis.plot(range(1, len(values) + 1), values, color=BLUE, linewidth=1.8)
        axis.set_title(title, fontsize=9, color=GREY, loc="left")
        if metric == "critic_rewards_mean":
            axis.set_ylim(-0.03, 1.03)
        axis.tick_params(colors=GREY, labelsize=8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        for side in ("bottom", "left"):
            axis.spines[side].set_color(GREY)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "pictures" / f"{name}.svg", transparent=True, metadata={"Date": None})


def main() -> None:
    """Run the jobs and draw the pictures."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "docs", "font.family": "sans-serif"})
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "train.jsonl"
        runpy.run_path(str(ROOT / "examples" / "word_problems.py"), run_name="word_problems")["write"](data, count=200)
        good, flat, hacked = (run(score, data) for score in (correct, constant, long))
    draw("run", [("mean reward", good, "critic_rewards_mean"), ("entropy, in nats", good, "actor_entropy")], 2)
    draw(
        "metrics",
        [
            ("critic_rewards_mean", good, "critic_rewards_mean"),
            ("actor_entropy", good, "actor_entropy"),
            ("response_length_mean", good, "response_length_mean"),
            ("actor_grad_norm", good, "actor_grad_norm"),
            ("actor_pg_loss", good, "actor_pg_loss"),
        ],
        3,
    )
    draw(
        "faults",
        [
            ("constant score: reward", flat, "critic_rewards_mean"),
            ("constant score: gradient", flat, "actor_grad_norm"),
            ("score of length: reward", hacked, "critic_rewards_mean"),
            ("score of length: length", hacked, "response_length_mean"),
        ],
        2,
    )


if __name__ == "__main__":
    main()
