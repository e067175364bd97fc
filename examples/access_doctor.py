"""Check everything that a job needs before you pay for one: python examples/access_doctor.py --reward ARN.

It queries the endpoint, STS, IAM and Lambda, changes nothing, and exits with 1 if there is an error. With --local it
uses the local service, and the AWS endpoints on this machine that AWS_ENDPOINT_URL_IAM and similar variables name.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bedrock_rft import Client
from bedrock_rft.access import caller_policy, doctor
from bedrock_rft.local import LocalService

HERE = Path(__file__).parent


def main() -> int:
    """Print the report, and the policy that a caller needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reward", help="the ARN of the reward function")
    parser.add_argument("--model", default="openai.gpt-oss-20b", help="the model to train")
    parser.add_argument("--region", default="us-west-2")
    parser.add_argument("--local", action="store_true", help="use the local service")
    options = parser.parse_args()
    if options.local:
        service = LocalService(reward=f"{HERE / 'reward.py'}:lambda_handler")
        with service, Client(**service.client_options("api_key")) as client:
            report = doctor(client, reward=options.reward, models=options.model)
    else:
        with Client(options.region) as client:
            report = doctor(client, reward=options.reward, models=options.model)
    print(report)
    if any(finding.code.startswith("may_") for finding in report.errors):
        account = (report.who or "").split(":")[4]
        policy = caller_policy(report.region, account, reward=report.reward)
        print("\nPolicy for the caller:", policy.json(), sep="\n")
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main())
