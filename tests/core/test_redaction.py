"""Redact secrets in texts of unknown origin."""

from __future__ import annotations

from pathlib import Path

import pytest

from bedrock_rft._core.findings import Finding, Findings
from bedrock_rft._core.redaction import redact, redact_account

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


@pytest.mark.parametrize(
    ("text", "public"),
    [
        (
            "arn:aws:lambda:us-west-2:123456789012:function:acme:1 of 123456789012, and not of 210987654321",
            "arn:aws:lambda:us-west-2:ACCOUNT-1:function:NAME-1:1 of ACCOUNT-1, and not of ACCOUNT-2",
        ),
        (
            "arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_x/ada@acme.example from profile 'acme-prod'",
            "arn:aws:sts::ACCOUNT-1:assumed-role/NAME-1/NAME-2 from profile 'PROFILE-1'",
        ),
        (
            "`aws x --function-name acme --profile ada` on arn:aws-us-gov:iam::123456789012:role/t/acme",
            "`aws x --function-name NAME-1 --profile PROFILE-1` on arn:aws-us-gov:iam::ACCOUNT-1:role/NAME-2/NAME-1",
        ),
        (
            "s3://acme/x, arn:aws:s3:::acme and acme.s3.amazonaws.com",
            "s3://BUCKET-1/x, arn:aws:s3:::BUCKET-1 and BUCKET-1.s3.amazonaws.com",
        ),
        (
            "file-ccff290812794162ae4827c52febf931 of role123456789012",
            "file-ccff290812794162ae4827c52febf931 of roleACCOUNT-1",
        ),
        ("AKIAIOSFODNN7EXAMPLE in vpc-0a1b2c3d of ada@acme.example", "KEY-ID-1 in NETWORK-ID-1 of EMAIL-1"),
        (
            "https://vpce-0ab12cd3-x1.bedrock-mantle.us-west-2.vpce.amazonaws.com/v1",
            "https://NETWORK-ID-1.bedrock-mantle.us-west-2.vpce.amazonaws.com/v1",
        ),
        (
            "arn:aws:iam::aws:policy/AmazonBedrockMantleFullAccess, project proj_1a2b",
            "arn:aws:iam::aws:policy/AmazonBedrockMantleFullAccess, project PROJECT-1",
        ),
        (
            "arn:aws:bedrock-mantle:us-west-2:123456789012:project/*",
            "arn:aws:bedrock-mantle:us-west-2:ACCOUNT-1:project/*",
        ),
        (
            "http://gateway.acme.example:8080/v1, not https://sts.us-west-2.amazonaws.com, gateway.acme.example or http://127.0.0.1:9/v1",
            "http://HOST-1:8080/v1, not https://sts.us-west-2.amazonaws.com, HOST-1 or http://127.0.0.1:9/v1",
        ),
        (f"{Path.home()}/.aws/config, 1771442218 and 0.4375", "~/.aws/config, 1771442218 and 0.4375"),
    ],
)
def test_details_of_an_account_are_replaced_alike(text: str, public: str) -> None:
    assert redact_account([text, ""]) == [public, ""]


def test_a_name_is_replaced_in_every_text_of_a_report() -> None:
    role = "arn:aws:iam::123456789012:role/acme"
    finding = Finding("error", "role", f"There is no role {role}", remedy="Create it: `aws iam create-role acme`")
    report = Findings("Access of acme", (finding,))
    assert str(report.redacted()).count("NAME-1") == 3
    assert "acme" not in repr(report.redacted())
    assert report.findings == (finding,)
