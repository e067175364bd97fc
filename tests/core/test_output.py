"""Output survives old code pages, missing and closed streams, and broken pipes."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft._core.output import encodable, write

ENCODINGS = ("ascii", "cp1252", "cp437", "latin-1", "utf-8")


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(ENCODINGS))
def test_any_text_can_be_written_in_any_encoding(text: str, encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    assert write(stream, text)
    assert raw.getvalue().decode(encoding) == encodable(text, encoding)


@given(st.text(st.characters(codec="cp1252")))
def test_text_that_fits_is_unchanged(text: str) -> None:
    assert encodable(text, "cp1252") == text


def test_substitutes_are_readable() -> None:
    assert encodable("0 → 1 … ▁▅█ é", "ascii") == "0 -> 1 ... _-# \\xe9"
    assert encodable("0 → 1 é", "cp1252") == "0 -> 1 é"


def test_a_missing_or_closed_stream_is_no_error() -> None:
    closed = io.StringIO()
    closed.close()
    assert not write(None, "text")
    assert not write(closed, "text")


@pytest.mark.parametrize("code", ["sys.stdout = None", "sys.stdout.close()", "import os; os.close(1)"])
def test_a_command_without_standard_output_ends_normally(code: str) -> None:
    program = f"import sys; from bedrock_rft._core.output import print_line; {code}; print_line('a'); sys.exit(3)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)  # noqa: S603
    # Python itself may complain at exit about a descriptor that the program closed; it must not be our exception.
    assert b"output.py" not in done.stderr
    assert done.returncode in {3, 120}


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_goes_away_is_no_error() -> None:
    program = (
        "from bedrock_rft._core.output import print_line\n"
        "for _ in range(20000): print_line('x' * 100)\n"
        "raise SystemExit(3)"
    )
    with subprocess.Popen(  # noqa: S603
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (3, b"")
