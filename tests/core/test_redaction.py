"""Redact secrets in texts of unknown origin."""

from __future__ import annotations

import pytest

from bedrock_rft._core.redaction import redact

BODY = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"
# Composed, so that no scanner takes this file for a leak.
TOKENS = {
    "GitHub": f"gh{'p'}_{BODY}",
    "GitHub, fine-grained": f"github{'_pat_'}{BODY}",
    "OpenAI": f"s{'k'}-proj-{BODY}",
    "Anthropic": f"s{'k'}-ant-api03-{BODY}",
    "Hugging Face": f"h{'f'}_{BODY}",
    "Slack": f"xox{'b'}-{BODY}",
    "JSON web token": f"eyJ{BODY}.eyJ{BODY}.{BODY}",
    "Bedrock": f"bedrock-api{'-key-'}{BODY}",
    "private key": f"-----BEGIN RSA {'PRIVATE'} KEY-----\n{BODY}\n{BODY}\n-----END",
}


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize(
    "frame", ["{}", "the server said: '{}'.", '{{"token":"{}"}}', "Authorization: Bearer {}", "x={};y"]
)
def test_a_token_is_hidden_and_its_surroundings_stay(kind: str, frame: str) -> None:
    before, _, after = frame.replace("{{", "{").replace("}}", "}").partition("{}")
    found = redact(frame.format(TOKENS[kind]))
    assert BODY[4:] not in found
    assert "****" in found
    assert found.startswith(before[:15])
    assert found.endswith(after[-2:])


@pytest.mark.parametrize(
    "text",
    [
        "bearer tokens are sent in a header",
        "the task-runner of desk-12 is risk-averse and half-finished",
        "shf_norm and xoxo-hugs are no tokens",
        "see https://example.com:8443/path?x=1@y",
        "sha256 5342b51a72cef624c556644f61a43c54fe2c7df102af157d559861e4fdb16d03",
        "arn:aws:lambda:us-west-2:123456789012:function:reward:7",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == text
