"""Measure how much an upload adds to the peak memory of a fresh process with a client."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import cast

import _process
from _row import Row
from _sides import Auth, ours, theirs

_SIZE = 512 << 20
_RECORDS = 10_000
_ENOUGH = 3  # memory hardly varies from round to round


def upload(url: str, rounds: int) -> list[Row]:
    """Measure an upload of 512 MiB, given as a path."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "train.jsonl")
        _write(file)
        return [_row(auth, url, file, min(rounds, _ENOUGH)) for auth in ("aws", "api_key")]


def _row(auth: Auth, url: str, file: Path, rounds: int) -> Row:
    mine = [_process.answer("_upload.py", "ours", auth, url, str(file))["grown"] for _ in range(rounds)]
    peer = _process.answer("_upload.py", "theirs", auth, url, str(file))
    return Row(f"upload, {auth}", "MB", mine, [peer["grown"]] if "grown" in peer else None, "ours", 16, **_why(peer))


def _why(peer: dict[str, str]) -> dict[str, str]:
    return {"why": peer["why"]} if "why" in peer else {}


def _write(file: Path) -> None:
    # A number of records that the validation accepts, each long enough for the size.
    question = "What is 6 times 7? " * (_SIZE // _RECORDS // len("What is 6 times 7? ") + 1)
    with file.open("wb") as out:
        for number in range(_RECORDS):
            prompt = [{"role": "user", "content": f"{number}: {question}"}]
            out.write(json.dumps({"messages": prompt, "reference_answer": str(number)}).encode() + b"\n")
    if file.stat().st_size < _SIZE:
        raise RuntimeError("The file is smaller than it should be.")


def main(side: str, auth: Auth, url: str, file: Path) -> None:
    """Upload, and print the growth of the peak in MB as JSON."""
    if side == "ours":
        client = ours(auth, url)
        before = _peak()
        client.files.upload(file)
        print(json.dumps({"grown": _peak() - before}))
        return
    print(json.dumps(_theirs(auth, url, file)))


def _theirs(auth: Auth, url: str, file: Path) -> dict[str, object]:
    peer = theirs(auth, url)
    if peer is None:
        return {"why": "missing"}
    import openai

    before = _peak()
    try:
        peer.files.create(file=file, purpose="fine-tune")
    except openai.OpenAIError as error:
        return {"why": "cannot", "error": str(error)}
    return {"grown": _peak() - before}


def _peak() -> float:
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


if __name__ == "__main__":
    main(sys.argv[1], cast("Auth", sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
