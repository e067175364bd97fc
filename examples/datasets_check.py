"""Check a training file before it is uploaded: python examples/datasets_check.py train.jsonl.

It exits with 1 where the service would refuse the file, so that a build can stop there.
"""

from __future__ import annotations

import sys

from bedrock_rft import datasets


def main() -> int:
    """Print the report of every file named."""
    reports = [datasets.validate(path) for path in sys.argv[1:]]
    print(*reports, sep="\n\n")
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main())
