"""Disagreements of `Choice`, `Numeric` and `Exact` with other extractors, on public answers of models.

`python benchmarks/graders.py PATH` reads every `.json` and `.zip` file below a folder, and prints for each how many
answers only the grader or only the other extractor accepts. A disagreement is an error of one of them: `--show 20`
prints the ends of up to 20 of each kind, to be read. The answers are not part of this repository. Two projects on
GitHub publish such files:

- `TIGER-AI-Lab/MMLU-Pro`, folder `eval_results`: multiple choice with up to ten options, graded with `Choice`. The
  other extractor is the one of that project, whose letters are in the files; if it finds none, it draws one at random.
- `yuchenlin/ZeroEval`, folders `result_dirs/gsm`, `math-l5` and `crux`: answers as JSON, graded with `Numeric` if the
  reference is a number, otherwise with `Exact`. The other extractor takes the last field `answer` without its quotes.

A file of 12,000 answers takes 2 to 10 seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedrock_rft.rewards import Choice, Exact, Numeric, Rollout

CHOICE, NUMERIC, EXACT = Choice("ABCDEFGHIJ"), Numeric(), Exact(ignore_case=False)
FIELD = re.compile(r'"answer"\s*:\s*(?:"((?:[^"\\]|\\.)*)"|([^\n"}]*))')
NUMBER = re.compile(r"-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def files(path: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the names and the records of the files below a folder."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        data = file.read_bytes() if file.suffix in {".json", ".zip"} else b""
        if file.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                data = archive.read(archive.namelist()[0])
        records: list[Any] | dict[str, Any] | None = json.loads(data) if data else None
        if isinstance(records, list):
            yield file.name, [one for one in records if isinstance(one, dict)]


def verdicts(record: dict[str, Any]) -> tuple[str, str, bool, bool] | None:
    """Return the grader, the answer, and whether the grader and the other extractor accept it; None if neither can."""
    reference = str(record.get("answer", "")).removeprefix("# ")
    outputs: list[Any] | str | None = record.get("output")
    if record.get("options"):
        text = record.get("generated_text") or record.get("model_outputs")
        if not isinstance(text, str):
            return None
        accepted = CHOICE(Rollout.of("", text, reference, options=record["options"])).value
        return "Choice", text, bool(accepted), record.get("pred") == reference
    if not isinstance(outputs, list) or not reference:
        return None
    output = str(outputs[0])
    fields = FIELD.findall(output)
    value = (fields[-1][0] or fields[-1][1]).strip() if fields else output
    if NUMBER.fullmatch(reference):
        numbers = NUMBER.findall(value)
        other = bool(numbers) and float(numbers[-1].replace(",", "")) == float(reference.replace(",", ""))
        return "Numeric", output, bool(NUMERIC(Rollout.of("", output, reference)).value), other
    other = value.replace("\\", "").strip("'\" ") == reference.replace("\\", "").strip("'\" ")
    return "Exact", output, bool(EXACT(Rollout.of("", output, reference)).value), other


def main() -> None:
    """Print a line for each file and grader."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--show", type=int, default=0, help="print up to this many disagreements of each kind")
    arguments = parser.parse_args()
    for name, records in files(arguments.path):
        graded = [found for found in map(verdicts, records) if found is not None]
        for grader in sorted({found[0] for found in graded}):
            mine = [found for found in graded if found[0] == grader]
            more = [text for _, text, accepted, other in mine if accepted and not other]
            fewer = [text for _, text, accepted, other in mine if other and not accepted]
            print(f"{name}  {grader}  {len(mine)} answers, accepted only here {len(more)}, only there {len(fewer)}")
            for kind, texts in (("only here", more), ("only there", fewer)):
                for text in texts[: arguments.show]:
                    print(f"  {kind}: …{text.strip()[-200:]!r}")


if __name__ == "__main__":
    main()
