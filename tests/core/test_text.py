"""Text of unknown origin becomes printable, and a line remains one line."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_rft._core.text import sanitize_line, sanitize_text


@given(st.text(), st.integers(1, 200))
def test_a_line_has_no_control_character_and_keeps_its_limit(text: str, limit: int) -> None:
    line = sanitize_line(text, limit)
    assert len(line) <= limit
    assert not [one for one in line if unicodedata.category(one) in {"Cc", "Cs"} or one in "\u2028\u2029\u202e"]


@pytest.mark.parametrize(("text", "line"), [("a\tb", "a\\tb"), ("a\nb", "a\\nb"), ("a\r\x1b\x7f", "a\\r\\x1b\\x7f")])
def test_control_characters_are_escaped(text: str, line: str) -> None:
    assert sanitize_line(text) == line


def test_line_breaks_of_text_are_kept() -> None:
    assert sanitize_text("a\n\tb\x00") == "a\n\tb\\x00"
