"""Check a training file before it is uploaded: python examples/datasets_check.py train.jsonl.

It exits with 1 if the service would reject a file, so a build can stop. `--local` checks generated word problems.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import word_problems

from bedrock_rft import datasets


def main() -> int:
    """Print a report for every file."""
    parser = argparse.ArgumentParser(description="Check training files.")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="training files")
    parser.add_argument("--local", action="store_true", help="check generated word problems")
    options = parser.parse_args()
    if not options.files and not options.local:
        parser.error("give a file, or --local")
    with tempfile.TemporaryDirectory() as folder:
        files: list[Path] = list(options.files)
        if options.local:
            files.append(Path(folder, "word_problems.jsonl"))
            word_problems.write(files[-1])
        reports = [datasets.validate(path) for path in files]
    print(*reports, sep="\n\n")
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    raise SystemExit(main())
