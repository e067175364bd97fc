"""Plan, deploy, check and destroy a reward that is defined in this file.

    python examples/deploy_reward.py --data train.jsonl             # shows the plan and asks before deploying
    python examples/deploy_reward.py --data train.jsonl --destroy   # removes all that it created

It needs AWS credentials and a region from any source that botocore supports. With `--local` it uses AWS services
emulated on this machine: the reward, its package, the policies and the check are real, and nothing goes to AWS. That
needs the packages of `aws_here.py`: pip install 'moto[awslambda]' flask flask-cors
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import word_problems

from bedrock_rft import BedrockRFTError, Client, RewardError
from bedrock_rft.rewards import Numeric, Rollout, reward


@reward
def marked(rollout: Rollout) -> bool:
    """Check if the final answer follows the marker ####, as in the dataset."""
    return "####" in rollout.answer


scored = 0.9 * Numeric() + 0.1 * marked


def main() -> int:
    """Deploy or destroy the reward."""
    parser = argparse.ArgumentParser(description="Deploy the reward of this file.")
    parser.add_argument("--name", default="word-problems", help="name of the function")
    parser.add_argument(
        "--data", type=Path, help="records to check the reward with; generated word problems with --local"
    )
    parser.add_argument("--destroy", action="store_true", help="remove it again")
    parser.add_argument("--yes", action="store_true", help="deploy without asking")
    parser.add_argument("--local", action="store_true", help="use AWS services emulated on this machine")
    options = parser.parse_args()
    if not options.local and not options.destroy and options.data is None:
        parser.error("--data is needed, unless you rehearse with --local")
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = rehearsed(stack) if options.local else {"auth": "aws"}
            client = stack.enter_context(Client(**settings))
            if options.local and options.data is None:
                options.data = Path(stack.enter_context(tempfile.TemporaryDirectory()), "train.jsonl")
                word_problems.write(options.data)
            if not options.destroy:
                deploy(client, options)
            if options.destroy or options.local:
                print(client.rewards.destroy(options.name))
    except RewardError as error:
        print(error.report or error, file=sys.stderr)
        return 1
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        print(f"error: {error}. Install it: pip install 'moto[awslambda]' flask flask-cors", file=sys.stderr)
        return 1
    return 0


def deploy(client: Client, options: argparse.Namespace) -> None:
    """Show the plan, deploy, and deploy again, which changes nothing."""
    print(client.rewards.plan(scored, name=options.name))
    if not options.yes and not options.local and input("\nDo it? [y/N] ").lower() != "y":
        return
    print()
    made = client.rewards.deploy(scored, name=options.name, dataset=options.data)
    print(made.plan)
    print(made.report)
    again = client.rewards.deploy(scored, name=options.name)
    print(f"again: {again.plan.verdict}")
    print(f"client.jobs.create(…, reward={str(made.arn)!r})\n")


def rehearsed(stack: contextlib.ExitStack) -> dict[str, Any]:
    """Yield client settings for the local service, with emulated AWS services."""
    from aws_here import AwsHere

    from bedrock_rft.local import LocalService

    service = stack.enter_context(LocalService(reward=scored.handler))
    os.environ.update(stack.enter_context(AwsHere()).environment())
    return service.client_options(auth="aws")


if __name__ == "__main__":
    sys.exit(main())
