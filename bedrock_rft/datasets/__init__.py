"""Training files: check, write, split, convert and select before anything is uploaded.

`validate` checks a file in one streaming pass; `write` writes JSON lines from records and frames, `convert` reads other
formats, `split` makes a training and a validation file, and `select` keeps prompts by their difficulty. Nothing here
opens a socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bedrock_rft._core.lazy import lazy_names

if TYPE_CHECKING:
    from bedrock_rft._core.group_signal import Signal
    from bedrock_rft.datasets._check import validate
    from bedrock_rft.datasets._convert import Format, convert
    from bedrock_rft.datasets._difficulty import Difficulty, FieldDifficulty, PromptDifficulty, hash_messages
    from bedrock_rft.datasets._read import read
    from bedrock_rft.datasets._records import TrainingMessage, TrainingRecord
    from bedrock_rft.datasets._report import Lengths, Limits, Problem, Report
    from bedrock_rft.datasets._select import Selection, select
    from bedrock_rft.datasets._split import Split, split
    from bedrock_rft.datasets._write import Column, write

__all__ = [
    "Column",
    "Difficulty",
    "FieldDifficulty",
    "Format",
    "Lengths",
    "Limits",
    "Problem",
    "PromptDifficulty",
    "Report",
    "Selection",
    "Signal",
    "Split",
    "TrainingMessage",
    "TrainingRecord",
    "convert",
    "hash_messages",
    "read",
    "select",
    "split",
    "validate",
    "write",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "_check": ("validate",),
        "_convert": ("Format", "convert"),
        "_difficulty": ("Difficulty", "FieldDifficulty", "PromptDifficulty", "Signal", "hash_messages"),
        "_read": ("read",),
        "_records": ("TrainingMessage", "TrainingRecord"),
        "_report": ("Lengths", "Limits", "Problem", "Report"),
        "_select": ("Selection", "select"),
        "_split": ("Split", "split"),
        "_write": ("Column", "write"),
    },
    renamed={"Rules": "datasets.Limits; Rules(minimum=1) is now Limits(min_records=1)"},
)
