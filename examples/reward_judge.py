"""Score explanations with a judge model on Bedrock, if the final answer is right.

`python examples/reward_judge.py --local` uses a fake judge on this machine, without an AWS account or cost. Without
`--local` it invokes the model a few dozen times, with the AWS credentials and region of your environment.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import word_problems

from bedrock_rft import BedrockRFTError
from bedrock_rft.rewards import Handler, Judge, Numeric, Rollout, check, last_number, package

MODEL = "us.amazon.nova-lite-v1:0"

correct = Numeric(name="correct")
judge = Judge(
    MODEL,
    criteria={
        "sound": "Does every step of the explanation follow from the question and from the steps before it?",
        "plain": "Would a twelve-year-old understand it?",
    },
    weights={"sound": 2.0, "plain": 1.0},
    input_price=0.06,  # US dollars for a million tokens: look up the price of your model
    output_price=0.24,
)
# Only right answers go to the judge, so wrong ones cost nothing.
total = 0.7 * correct + 0.3 * judge.gate(correct, lazy=True)
lambda_handler = Handler(total, floor=0.0, concurrency=8)

QUESTION = "Ana has 3 boxes of 12 pencils and gives 6 pencils away. How many are left?"
ANSWERS = (
    "3 boxes of 12 pencils are 3 * 12 = 36 pencils. 36 - 6 = 30.\n#### 30",
    "#### 30",
    "3 + 12 = 15. 15 - 6 = 9.\n#### 9",
)


def main() -> int:
    """Score, check and package. Return 1 if the check finds an error."""
    parser = argparse.ArgumentParser(description="Score, check and package a reward with a judge.")
    parser.add_argument("--local", action="store_true", help="use a fake judge on this machine")
    parser.add_argument(
        "--data", type=Path, help="records to check the reward with; generated word problems unless given"
    )
    parser.add_argument("--out", type=Path, default=Path("reward.zip"), help="path of the package")
    options = parser.parse_args()
    server = fake_judge() if options.local else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            data: Path = options.data or Path(folder, "train.jsonl")
            if options.data is None:
                word_problems.write(data, count=40)
            return go(data, options.out)
    except BedrockRFTError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()


def go(data: Path, out: Path) -> int:
    """Run all steps."""
    event = [
        {"id": str(number), "messages": Rollout.of(QUESTION, answer).messages, "metadata": {"reference_answer": "30"}}
        for number, answer in enumerate(ANSWERS)
    ]
    for answer, result in zip(ANSWERS, lambda_handler(event), strict=True):
        print(f"{result['aggregate_reward_score']:.2f}  {answer.splitlines()[0]}")
        for metric in result["metrics_list"]:
            print(f"        {metric['name']:<22} {metric['value']:.6g}")
    report = check(lambda_handler, data, size=4)
    print(f"\n{report}\n")
    made = package(lambda_handler)
    made.write(out)
    print(f"{made!r}\nIts role needs bedrock:InvokeModel on: {', '.join(made.models)}")
    return 0 if report.ok else 1


# A fake Bedrock runtime that grades the prompt of the judge by a rule.


def fake_judge() -> ThreadingHTTPServer:
    """Serve the Converse operation on a loopback port, and point botocore to it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeJudge)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    os.environ.update(
        AWS_ENDPOINT_URL_BEDROCK_RUNTIME=f"http://127.0.0.1:{server.server_port}",
        AWS_ACCESS_KEY_ID="local",
        AWS_SECRET_ACCESS_KEY="local",  # noqa: S106 - no secret: the fake judge accepts any
        AWS_REGION="us-west-2",
    )
    return server


class FakeJudge(BaseHTTPRequestHandler):
    """A fake judge: calculations score for soundness, words score for clarity."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_POST(self) -> None:
        """Grade the text between the last two fences."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = asked["messages"][0]["content"][0]["text"]
        fence = text.partition(" ")[0]
        answer = text.rpartition(f"{fence} ANSWER TO GRADE\n")[2].rpartition(f"\n{fence}")[0]
        explained = answer.rpartition("####")[0] or answer
        verdict = {
            "sound": 9 if last_number(explained) is not None and "=" in explained else 2,
            "plain": min(10, len(explained.split())),
        }
        self.answer(
            {
                "output": {"message": {"role": "assistant", "content": [{"text": json.dumps(verdict)}]}},
                "stopReason": "end_turn",
                "usage": {"inputTokens": len(text) // 4, "outputTokens": 12, "totalTokens": len(text) // 4 + 12},
                "metrics": {"latencyMs": 1},
            }
        )

    def answer(self, body: object) -> None:
        """Send a JSON response."""
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Suppress request logs."""


if __name__ == "__main__":
    sys.exit(main())
