"""A reward from this file into Lambda: planned, deployed, checked on your own records, and taken away again.

    python examples/deploy_reward.py --data train.jsonl             # says what it would do, and asks before it does it
    python examples/deploy_reward.py --data train.jsonl --destroy   # takes away what it made

It needs AWS credentials and a region, from wherever botocore finds them. `--local` rehearses on this machine instead:
the reward, its package, the policies and the check are the real ones, and nothing goes to AWS.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from bedrock_rft import BedrockRFTError, Client, RewardError
from bedrock_rft.rewards import Numeric, Rollout, reward


@reward
def marked(rollout: Rollout) -> bool:
    """Whether the result stands behind a mark, as in the data."""
    return "####" in rollout.answer


scored = 0.9 * Numeric() + 0.1 * marked


def main() -> int:
    """Deploy, or destroy."""
    parser = argparse.ArgumentParser(description="Deploy the reward of this file.")
    parser.add_argument("--name", default="word-problems", help="of the function")
    parser.add_argument("--data", type=Path, required=True, help="JSON lines to check it with")
    parser.add_argument("--destroy", action="store_true", help="take it away again")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--local", action="store_true", help="rehearse on this machine")
    options = parser.parse_args()
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = rehearsed(stack) if options.local else {"auth": "aws"}
            client = stack.enter_context(Client(**settings))
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
    return 0


def deploy(client: Client, options: argparse.Namespace) -> None:
    """Say what would be done, do it, and do it again, which changes nothing."""
    print(client.rewards.deploy(scored, name=options.name, plan=True))
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
    """A client's settings for the rehearsal of Bedrock, with AWS's other services beside it."""
    from aws_here import AwsHere

    from bedrock_rft.local import LocalService

    service = stack.enter_context(LocalService(reward=scored.handler))
    os.environ.update(stack.enter_context(AwsHere()).environment())
    return service.client_options(auth="aws")


if __name__ == "__main__":
    sys.exit(main())
