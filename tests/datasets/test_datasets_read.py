"""Reading of records from files and iterables."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_rft import ConfigurationError, DatasetError, datasets


def test_written_records_are_read_again(tmp_path: Path) -> None:
    records = [{"messages": [{"role": "user", "content": f"{n}?"}], "reference_answer": n} for n in range(3)]
    datasets.write(tmp_path / "three.jsonl", records)
    assert list(datasets.read(tmp_path / "three.jsonl")) == records
    assert list(datasets.read(iter(records))) == records


@pytest.mark.parametrize(
    ("line", "message"), [(b'{"a": NaN}', "line 2: NaN is not JSON"), (b"[1]", "line 2: a list instead of an object")]
)
def test_lines_that_are_not_records_raise_with_their_line(tmp_path: Path, line: bytes, message: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DatasetError, match=message):
        list(datasets.read(tmp_path / "bad.jsonl"))


def test_data_that_cannot_be_read_raises(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        list(datasets.read(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigurationError, match="of type int"):
        list(datasets.read(7))
