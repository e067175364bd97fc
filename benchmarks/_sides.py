"""The two sides of a comparison: the client of this package, and OpenAI's client for the same identity."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

    from bedrock_rft import AsyncClient, Client

Auth = Literal["aws", "api_key"]

REGION = "us-west-2"
JOB = "ftjob-5e0d6a5c0c3f4d0b"
PUBLIC = f"https://bedrock-mantle.{REGION}.api.aws/v1"
_KEY = "ABSKc3RhdGljLWtleS1mb3ItYmVuY2htYXJrcw=="


def ours(auth: Auth, url: str) -> Client:
    """Return the client of this package. AWS credentials are static and in the environment."""
    from bedrock_rft import Client

    return Client(REGION, base_url=url, auth="aws") if auth == "aws" else Client(REGION, base_url=url, api_key=_KEY)


def theirs(auth: Auth, url: str) -> OpenAI | None:
    """Return OpenAI's client: `BedrockOpenAI` for AWS credentials, or None if the installed version lacks it."""
    import openai

    if auth == "api_key":
        return openai.OpenAI(api_key=_KEY, base_url=url)
    bedrock: type[OpenAI] | None = getattr(openai, "BedrockOpenAI", None)
    return bedrock(aws_region=REGION, base_url=url) if bedrock else None  # type: ignore[call-arg]


def ours_async(auth: Auth, url: str) -> AsyncClient:
    """Return the async client of this package."""
    from bedrock_rft import AsyncClient

    if auth == "aws":
        return AsyncClient(REGION, base_url=url, auth="aws")
    return AsyncClient(REGION, base_url=url, api_key=_KEY)


def theirs_async(auth: Auth, url: str) -> AsyncOpenAI | None:
    """Return OpenAI's async client for the same identity, or None if the installed version lacks it."""
    import openai

    if auth == "api_key":
        return openai.AsyncOpenAI(api_key=_KEY, base_url=url)
    bedrock: type[AsyncOpenAI] | None = getattr(openai, "AsyncBedrockOpenAI", None)
    return bedrock(aws_region=REGION, base_url=url) if bedrock else None  # type: ignore[call-arg]
