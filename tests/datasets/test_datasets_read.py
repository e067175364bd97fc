"""Records come back from wherever they are, and what is none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_rft import ConfigurationError, DatasetError, datasets


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    records = [{"messages": [{"role": "user", "content": f"{n}?"}], "reference_answer": n} for n in range(3)]
    datasets.write(tmp_path / "three.jsonl", records)
    assert list(datasets.read(tmp_path / "three.jsonl")) == records
    assert list(datasets.read(iter(records))) == records


@pytest.mark.parametrize(
    ("line", "said"), [(b'{"a": NaN}', "line 2: NaN is not JSON"), (b"[1]", "line 2: a list instead of an object")]
)
def test_what_is_no_record_is_named_with_its_line(tmp_path: Path, line: bytes, said: str) -> None:
    (tmp_path / "bad.jsonl").write_bytes(b'{"a": 1}\n' + line + b"\n")
    with pytest.raises(DatasetError, match=said):
        list(datasets.read(tmp_path / "bad.jsonl"))


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be read"):
        list(datasets.read(tmp_path / "none.jsonl"))
    with pytest.raises(ConfigurationError, match="of type int"):
        list(datasets.read(7))
