"""Let an Optuna study choose the hyperparameters of a sweep (pip install optuna).

    python examples/sweep_optuna.py --local
    python examples/sweep_optuna.py TRAINING_FILE VALIDATION_FILE ARN

Files are ids of uploaded ones. The study asks for two configurations at a time, and each becomes one job of the sweep.
Jobs are found by their names, so a script that is run again with the same seed pays for no configuration twice.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import optuna
import word_problems

from bedrock_rft import BedrockRFTError, Client

MODEL = "openai.gpt-oss-20b"
REHEARSED = "arn:aws:lambda:us-west-2:123456789012:function:rehearsal"  # the local service calls reward.py instead
AT_ONCE = 2


def main() -> int:
    """Run the study, and print its trials and the best model."""
    options = arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=options.seed))
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}  # for the real service, settings come from the environment
            if options.local:
                from bedrock_rft.local import LocalService

                reward = f"{Path(__file__).with_name('reward.py')}:lambda_handler"
                settings = stack.enter_context(LocalService(reward=reward)).client_options()
            client = stack.enter_context(Client(**settings))
            training, validation, arn = uploaded(client) if options.local else options.job
            for _ in range(options.rounds):
                trials = [study.ask() for _ in range(AT_ONCE)]
                for trial in trials:
                    trial.suggest_float("learning_rate_multiplier", 0.1, 2.0, log=True)
                    trial.suggest_categorical("batch_size", [20, 50])
                sweep = client.jobs.sweep(
                    MODEL,
                    training_file=training,
                    validation_file=validation,
                    reward=arn,
                    name=options.name,
                    configurations=[trial.params for trial in trials],
                    concurrency=AT_ONCE,
                    max_cost=options.max_cost,
                    wait=True,
                    poll_interval=0.2 if options.local else 30.0,
                )
                print(sweep)
                if sweep.held:
                    break
                for trial, result in zip(trials, sweep.trials, strict=True):
                    score = result.score("validation")
                    failed = result.status != "succeeded" or score is None
                    study.tell(trial, None if failed else score, state=optuna.trial.TrialState.FAIL if failed else None)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    done = [ended for ended in study.trials if ended.value is not None]
    for ended in done:
        print(f"{ended.value:.3f}  {ended.params}")
    if done:
        print(f"best: {study.best_value:.3f} with {study.best_params}")
    return 0


def uploaded(client: Client) -> tuple[str, str, str]:
    """Upload generated word problems, and return the ids of two files and the reward."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "word_problems.jsonl")
        word_problems.write(data)
        training = client.files.upload(data)
        return training.id, client.files.upload(data, filename="validation.jsonl").id, REHEARSED


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Let an Optuna study choose hyperparameters.")
    parser.add_argument("job", nargs="*", metavar="TRAINING_FILE VALIDATION_FILE ARN", help="ids and the reward")
    parser.add_argument("--local", action="store_true", help="use the local service")
    parser.add_argument("--name", default="optuna", help="the name of the sweep")
    parser.add_argument("--rounds", type=int, default=2, help="how often two configurations are chosen")
    parser.add_argument("--max-cost", type=float, help="start no job that might exceed this, in US dollars")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the study")
    options = parser.parse_args()
    if options.local == bool(options.job) or len(options.job) not in {0, 3}:
        parser.error("give two ids of files and an ARN, or --local")
    return options


if __name__ == "__main__":
    sys.exit(main())
