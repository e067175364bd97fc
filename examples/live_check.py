"""Compare the service with its documented facts: python examples/live_check.py --out report.txt.

It lists models and jobs, uploads a file with 100 records, reads it and deletes it. With --create-job and --reward it
also creates one job and cancels it, after a question about the cost. The report is redacted: no account id, no name of
a resource and no key is in it. Please read it before you publish it. With --local it uses the local service, whose
differences say nothing about Amazon Bedrock. The same check is `bedrock-rft doctor --live`.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from bedrock_rft import Client
from bedrock_rft.access import live_check
from bedrock_rft.costs import Prices
from bedrock_rft.local import LocalService

HERE = Path(__file__).parent


def main() -> int:
    """Run the check, and print or write its report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--region", default="us-west-2")
    parser.add_argument("--create-job", action="store_true", help="also create a job, and cancel it")
    parser.add_argument("--reward", help="the ARN of the reward function of that job")
    parser.add_argument("--model", default="openai.gpt-oss-20b", help="the base model of that job")
    parser.add_argument("--out", type=Path, help="write the report to this file")
    parser.add_argument("--local", action="store_true", help="use the local service")
    options = parser.parse_args()
    if options.create_job and not options.reward:
        parser.error("--create-job needs --reward")
    if options.create_job and not options.local:
        price = Prices.load().find("training", options.model)
        print(f"The job is cancelled at once. Training costs {price}. Whether a cancelled job is billed is not known.")
        if input("Create it? [y/N] ").strip().lower() != "y":
            return 1
    with contextlib.ExitStack() as stack:
        if options.local:
            service = stack.enter_context(LocalService(reward=f"{HERE / 'reward.py'}:lambda_handler", pace=0.2))
            client = stack.enter_context(Client(**service.client_options("api_key")))
        else:
            client = stack.enter_context(Client(options.region))
        report = live_check(client, create_job=options.create_job, reward=options.reward, model=options.model)
    if options.out:
        options.out.write_text(f"{report}\n", encoding="utf-8")
    print(report)
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
