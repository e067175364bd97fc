"""Sign requests of your own HTTP client, for any route of the service.

    python examples/raw_http.py            with AWS credentials from any source of botocore
    python examples/raw_http.py --local    with the local service

`SigV4Auth` adds the same headers as

    curl "https://bedrock-mantle.us-west-2.api.aws/v1/models" --aws-sigv4 "aws:amz:us-west-2:bedrock-mantle" \
         --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H "x-amz-security-token: $AWS_SESSION_TOKEN"
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import Any

import httpx

from bedrock_rft import BedrockRFTError, Client, SigV4Auth


def main() -> int:
    """Send the same request in four ways."""
    parser = argparse.ArgumentParser(description="Signed requests with an HTTP client of your own.")
    parser.add_argument("--local", action="store_true", help="use the local service")
    local: bool = parser.parse_args().local
    try:
        with contextlib.ExitStack() as stack:
            settings: dict[str, Any] = {}
            if local:
                from bedrock_rft.local import LocalService

                settings = stack.enter_context(LocalService()).client_options()
            auth = SigV4Auth(**settings)
            blocking(auth)
            asyncio.run(with_await(auth))
            # `client.request` sends to any route too, also with an API key, with the SDK's retries and errors.
            with Client(**settings) as client:
                response = client.request("GET", "/files", query={"purpose": "fine-tune", "limit": 5})
                print(f"client.request      {response.status}  {len(response.json()['data'])} files")
    except (BedrockRFTError, httpx.HTTPError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def blocking(auth: SigV4Auth) -> None:
    """Use an `httpx.Client`. `base_url` is the endpoint that the settings resolve to."""
    with httpx.Client(base_url=auth.base_url, auth=auth) as http:
        models = http.get("/models").raise_for_status().json()
        print(f"httpx.Client        200  {', '.join(sorted(model['id'] for model in models['data']))}")


async def with_await(auth: SigV4Auth) -> None:
    """Use an `httpx.AsyncClient`. A streamed body is signed with its real hash."""
    record = b'{"messages": [{"role": "user", "content": "1 + 1?"}], "reference_answer": "2"}\n'
    async with httpx.AsyncClient(base_url=auth.base_url, auth=auth) as http:
        models, file = await asyncio.gather(
            http.get("/models"),
            http.post("/files", data={"purpose": "fine-tune"}, files={"file": ("one.jsonl", record)}),
        )
        print(f"httpx.AsyncClient   {models.status_code}  {len(models.json()['data'])} models")
        print(f"a file as a form    {file.status_code}  {file.json()['id']}, {file.json()['bytes']} bytes")
        await http.delete(f"/files/{file.json()['id']}")


if __name__ == "__main__":
    sys.exit(main())
