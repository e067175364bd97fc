"""The two sides of a comparison: this package's client, and OpenAI's for the same identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from openai import OpenAI

    from bedrock_rft import Client

Auth = Literal["aws", "api_key"]

REGION = "us-west-2"
JOB = "ftjob-5e0d6a5c0c3f4d0b"
PUBLIC = f"https://bedrock-mantle.{REGION}.api.aws/v1"
_KEY = "ABSKc3RhdGljLWtleS1mb3ItYmVuY2htYXJrcw=="


def ours(auth: Auth, url: str) -> Client:
    """This package's client. AWS credentials are static ones, in the environment."""
    from bedrock_rft import Client

    return Client(REGION, base_url=url, auth="aws") if auth == "aws" else Client(REGION, base_url=url, api_key=_KEY)


def theirs(auth: Auth, url: str) -> OpenAI | None:
    """OpenAI's client: `BedrockOpenAI` for AWS credentials, or None in versions that do not have it yet."""
    import openai

    if auth == "api_key":
        return openai.OpenAI(api_key=_KEY, base_url=url)
    bedrock: type[OpenAI] | None = getattr(openai, "BedrockOpenAI", None)
    return bedrock(aws_region=REGION, base_url=url) if bedrock else None  # type: ignore[call-arg]
