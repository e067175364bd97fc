"""Select prompts by difficulty, because prompts that are always or never solved cost rollouts and give no signal."""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from bedrock_rft._core.atomic_file import AtomicFile, file_error
from bedrock_rft._core.findings import clip, wrap
from bedrock_rft._core.group_signal import Signal, mean_signal
from bedrock_rft._core.json_types import is_array, is_object
from bedrock_rft._core.text import ShortRepr, sanitize_line
from bedrock_rft.datasets._difficulty import GROUP_SIZE, Decision, Difficulty, hash_messages
from bedrock_rft.datasets._read import parse_object, reject_signature
from bedrock_rft.datasets._report import Limits, Report
from bedrock_rft.datasets._source import local_path, open_source
from bedrock_rft.datasets._write import write_lines
from bedrock_rft.errors import ConfigurationError, DatasetError

Order = Literal["easy_first", "hard_first"]


@dataclass(frozen=True)
class Selection(ShortRepr):
    """The result of `select`. Print it.

    Attributes:
        path: the file with the kept records.
        note: the JSON file with the settings and each dropped record.
        records: number of records in the source.
        kept: number of kept records.
        dropped: number of dropped records by reason: `too hard`, `too easy` or `not sampled`.
        unsampled: number of records whose prompt was not sampled.
        uncertain: number of sampled records whose 95 % interval of the pass rate reaches across a limit, so that more
            answers might change the decision.
        before: the expected signal of the sampled records; None if it is unknown.
        after: the expected signal of the sampled records that are kept; None if it is unknown.
        report: the report of `validate` on the file with the kept records.
        warning: text on the origin of the difficulty; empty if a model gave the answers.
    """

    path: Path
    note: Path
    records: int
    kept: int
    dropped: Mapping[str, int]
    unsampled: int
    uncertain: int
    before: Signal | None
    after: Signal | None
    report: Report
    warning: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        figures = {name: value for name, value in vars(self).items() if name != "report"}
        signals = {name: (known := figures[name]) and asdict(known) for name in ("before", "after")}
        return {**figures, **signals, "path": str(self.path), "note": str(self.note), "dropped": dict(self.dropped)}

    def __str__(self) -> str:
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in self.dropped.items())
        lines = [
            clip(f"{sanitize_line(self.path.name)}: kept {self.kept:,} of {self.records:,} records"),
            f"  dropped    {dropped or 'none'}",
            *(wrap(f"warning    {self.warning}", next_indent=" " * 13) if self.warning else ()),
        ]
        signals = [one for one in (self.before, self.after) if one is not None]
        if len(signals) > 1:
            before, after = (f"{one.no_signal:.0%} [{1 - one.high:.0%}, {1 - one.low:.0%}]" for one in signals)
            text = f"{before} of the groups before, {after} after, expected in groups of {signals[1].group_size}"
            lines += wrap(f"no signal  {text}", next_indent=" " * 13)
        else:
            lines.append("  no signal  unknown, because no prompt has two answers")
        if self.unsampled:
            lines.append(f"  unsampled  {self.unsampled:,} records")
        sampled = self.records - self.unsampled
        text = f"{self.uncertain:,} of {sampled:,} decisions: the 95 % interval of the pass rate reaches across a limit"
        lines += wrap(f"uncertain  {text}", next_indent=" " * 13)
        return "\n".join([*lines, *wrap(f"note       {sanitize_line(str(self.note))}", next_indent=" " * 13)])


class _Line(NamedTuple):
    """A record: its place in the file, a checksum of its bytes, and the decision on the record."""

    number: int
    offset: int
    size: int
    checksum: int
    prompt_hash: str
    decision: Decision


def select(
    path: str | os.PathLike[str],
    difficulty: Difficulty | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    low: float = 0.1,
    high: float = 0.9,
    order: Order | None = None,
    unsampled: Literal["keep", "drop"] = "keep",
    group_size: int = GROUP_SIZE,
    limits: Limits | None = None,
) -> Selection:
    """Write the records whose prompts are neither too hard nor too easy. Their bytes are not changed.

    A record is kept if the pass rate of its prompt is at least `low` and at most `high`. Next to `out`, a JSON note
    (`NAME.selection.json`) lists each dropped record and the reason. The files appear whole or not at all.

    ```python
    base = client.evaluate("train.jsonl", models=["openai.gpt-oss-20b"], reward=correct, samples=8)
    print(datasets.select("train.jsonl", base.difficulty(), out="selected.jsonl"))
    ```

    Args:
        path: the training file. It is not changed.
        difficulty: the difficulty of the file's prompts, or a file that `Difficulty.to_json` wrote.
        out: the file to write; an existing file is replaced.
        low: the lowest pass rate to keep, from 0 to 1.
        high: the highest pass rate to keep, from 0 to 1.
        order: sort by pass rate, then by mean reward; unsampled records come last. By default the order is kept. The
            service does not document whether it trains in the order of the file.
        unsampled: drop or keep records whose prompts were not sampled.
        group_size: planned number of answers to a prompt in a step, for the expected signal.
        limits: other limits than the service documents for the number of records.

    Raises:
        DatasetError: fewer or more records remain than the service accepts, no prompt was sampled, a record is not
            valid, or a file changes meanwhile or cannot be read or written.
        ConfigurationError: an argument is not valid, or `out` is the file itself.
    """
    _check_arguments(low, high, order, unsampled)
    table = difficulty if isinstance(difficulty, Difficulty) else Difficulty.load(difficulty)
    source, target = local_path(path), local_path(out)
    note = target.with_name(f"{target.stem}.selection.json")
    if len({file.resolve() for file in (source, target, note)}) < 3 or _is_same_file(source, target, note):  # noqa: PLR2004
        raise ConfigurationError("path, out and the note next to out must be three different files.")
    if target.suffix == ".gz":
        raise ConfigurationError(f"out is {target.name!r}; the file is not compressed. Use a name such as out.jsonl.")
    if note.is_dir():
        shown = sanitize_line(str(note), 200)
        raise ConfigurationError(
            f"The list of decisions, {shown}, cannot be written, because a folder has this name. Choose another out."
        )
    lines = [
        line._replace(decision="kept") if unsampled == "keep" and line.decision == "not sampled" else line
        for line in _decide_lines(source, table, low, high)
    ]
    kept = [line for line in lines if line.decision == "kept"]
    sampled = [line for line in lines if line.prompt_hash in table.prompts]
    if not sampled:
        raise DatasetError(
            f"No prompt of {sanitize_line(source.name, 100)} was sampled, so nothing can be selected. Use the "
            "difficulty of the same file: a prompt is recognised by the role and content of its messages."
        )
    _check_count(source.name, len(kept), limits or Limits(), table)
    if order is not None:
        kept.sort(key=lambda line: _sort_key(table, line.prompt_hash, order))
    uncertain = sum(_is_uncertain(table, line.prompt_hash, low, high) for line in sampled)
    chances = table.chances(group_size)
    before = _expected_signal(table, chances, sampled, group_size, selected=False)
    selected = [line for line in sampled if line.decision == "kept"]
    after = _expected_signal(table, chances, selected, group_size, selected=True)
    dropped = [line for line in lines if line.decision != "kept"]
    with AtomicFile(note) as note_file:
        report = write_lines(target, _read_lines(source, kept), limits)
        selection = Selection(
            path=target,
            note=note,
            records=len(lines),
            kept=len(kept),
            dropped=dict(Counter(line.decision for line in dropped)),
            unsampled=len(lines) - len(sampled),
            uncertain=uncertain,
            before=before,
            after=after,
            report=report,
            warning=table.note,
        )
        settings: dict[str, Any] = {
            "source": str(source),
            "sha256": report.sha256,
            "difficulty": table.origin,
            "pass_mark": table.pass_mark,
            "low": low,
            "high": high,
            "order": order,
            "unsampled_records": unsampled,
            "group_size": group_size,
            "dropped_records": [_note_entry(table, line) for line in dropped],
        }
        text = json.dumps(selection.to_dict() | settings, indent=1, ensure_ascii=False)
        note_file.write(text.encode("utf-8", "replace"))
        note_file.commit()
    return selection


def _check_arguments(low: float, high: float, order: object, unsampled: object) -> None:
    if not 0 <= low <= high <= 1:
        raise ConfigurationError(
            f"low={low!r} and high={high!r} are not valid. Give pass rates with 0 <= low <= high <= 1."
        )
    if order not in (None, "easy_first", "hard_first"):
        raise ConfigurationError(f"order={order!r} is not valid. Use 'easy_first', 'hard_first' or None.")
    if unsampled not in ("keep", "drop"):
        raise ConfigurationError(f"unsampled={unsampled!r} is not valid. Use 'keep' or 'drop'.")


def _is_same_file(source: Path, *others: Path) -> bool:
    """Return whether another path is a hard link to the source."""
    return any(source.exists() and other.exists() and source.samefile(other) for other in others)


def _decide_lines(path: Path, table: Difficulty, low: float, high: float) -> Iterator[_Line]:
    """Yield every record with the decision on its prompt, without keeping its text."""
    name, offset = open_source(path).name, 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    reject_signature(name, line)
                if line.strip():
                    prompt_hash = _hash_record(name, number, line)
                    decision = table.decide(prompt_hash, low, high)
                    yield _Line(number, offset, len(line), zlib.crc32(line), prompt_hash, decision)
                offset += len(line)
    except OSError as error:
        raise file_error(f"{sanitize_line(name, 200)} cannot be read", error) from error


def _hash_record(name: str, number: int, line: bytes) -> str:
    """Return the hash of a record's prompt, which its rollouts have too."""
    record = parse_object(name, number, line.rstrip(b"\r\n"))
    messages = record.get("messages")
    if is_array(messages) and messages and all(map(is_object, messages)):
        return hash_messages(messages)
    raise DatasetError(
        f"Line {number} of {sanitize_line(name, 100)} has no messages. Run datasets.validate to see all problems.",
        path=name,
        line=number,
    )


def _read_lines(path: Path, lines: Sequence[_Line]) -> Iterator[bytes]:
    """Yield the bytes of the lines, with a line feed after the last line of the file."""
    name = sanitize_line(path.name, 100)
    try:
        with path.open("rb") as file:
            for line in lines:
                file.seek(line.offset)
                content = file.read(line.size)
                if zlib.crc32(content) != line.checksum:
                    raise DatasetError(f"Line {line.number} of {name} changed during the selection. Select again.")
                yield content if content.endswith(b"\n") else content + b"\n"
    except OSError as error:
        raise file_error(f"{name} cannot be read", error) from error


def _check_count(name: str, count: int, limits: Limits, table: Difficulty) -> None:
    """Raise `DatasetError` if the service would not accept the number of records."""
    if max(1, limits.min_records) <= count <= limits.max_records:
        return
    rates = [prompt.pass_rate for prompt in table.prompts.values()]
    advice = "Use a wider range of low= and high=, or more records"
    if not any(rates):
        advice = f"No answer reaches the pass mark {table.pass_mark:g}; use a lower pass_mark="
    if count > limits.max_records:
        advice = "Use a narrower range of low= and high=, or fewer records"
    raise DatasetError(
        f"{count:,} records of {sanitize_line(name, 100)} remain, and a job takes {max(1, limits.min_records):,} to "
        f"{limits.max_records:,}. Nothing was written. {advice}."
    )


def _sort_key(table: Difficulty, prompt_hash: str, order: Order) -> tuple[bool, float, float]:
    prompt = table.prompts.get(prompt_hash)
    if prompt is None:
        return True, 0.0, 0.0
    sign = -1 if order == "easy_first" else 1
    return False, sign * prompt.pass_rate, sign * prompt.mean


def _is_uncertain(table: Difficulty, prompt_hash: str, low: float, high: float) -> bool:
    """Return whether the interval of the pass rate has values on both sides of a limit."""
    prompt = table.prompts[prompt_hash]
    lowest, highest = prompt.interval
    return (lowest < low <= highest) or (lowest <= high < highest)


def _expected_signal(
    table: Difficulty, chances: Mapping[str, float], lines: Sequence[_Line], group_size: int, *, selected: bool
) -> Signal | None:
    """Return the expected signal of records; None if it is unknown."""
    hashes = [line.prompt_hash for line in lines if line.prompt_hash in chances]
    if not hashes:
        return None
    samples = min(table.prompts[one].samples for one in hashes)
    return mean_signal([chances[one] for one in hashes], samples, group_size, selected=selected)


def _note_entry(table: Difficulty, line: _Line) -> dict[str, Any]:
    """Return a dropped record as an entry of the JSON note that `select` writes."""
    row: dict[str, Any] = {"line": line.number, "reason": line.decision, "prompt_hash": line.prompt_hash}
    prompt = table.prompts.get(line.prompt_hash)
    if prompt is not None:
        row |= {"samples": prompt.samples, "passed": prompt.passed, "interval": prompt.interval, "mean": prompt.mean}
    return row
