"""A function in Lambda, invoked as the service would."""

from __future__ import annotations

import base64
import json
import re
import time
from typing import Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from bedrock_rft._auth.aws_credentials import chain
from bedrock_rft._auth.botocore_clients import service_client
from bedrock_rft._auth.config import Config
from bedrock_rft.errors import RewardError
from bedrock_rft.rewards._targets.target import SHOWN, Outcome, failure
from bedrock_rft.types.arn import LambdaArn

__all__ = ["LambdaTarget", "lambda_client"]

_BUSY = {
    "TooManyRequestsException",
    "ServiceException",
    "EC2ThrottledException",
    "ResourceConflictException",
    "ResourceNotReadyException",
    "ConnectionClosedError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
}
"""What another invocation may be spared: the function is throttled, being updated, or cannot be reached just now."""


_MEND = {
    "AccessDeniedException": " Whoever invokes it needs lambda:InvokeFunction on it.",
    "ResourceNotFoundException": " Check its ARN, its qualifier and its region.",
    "RequestTooLargeException": " Lambda takes at most 6 MB; shorten the answers.",
}


class LambdaTarget:
    """A function in Lambda, invoked as the service would."""

    def __init__(self, arn: str, client: Any, timeout: float | None) -> None:
        self.name, self._client, self._arn = arn, client, arn
        self.configuration = self._configured()
        self.timeout = timeout or float(self.configuration.get("Timeout") or 300)

    def _configured(self) -> dict[str, Any]:
        """Its settings, where the caller may see them."""
        try:
            return cast("dict[str, Any]", self._client.get_function_configuration(FunctionName=self._arn))
        except (BotoCoreError, ClientError):
            return {}

    def invoke(self, event: object) -> Outcome:
        began = time.monotonic()
        try:
            found = self._client.invoke(FunctionName=self._arn, Payload=json.dumps(event).encode(), LogType="Tail")
            payload = found["Payload"].read()
        except (BotoCoreError, ClientError) as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__)
            kind = "busy" if code in _BUSY else "not_invoked"
            why = f"{code}: {getattr(error, 'response', {}).get('Error', {}).get('Message') or error}".rstrip(". ")
            refused = RewardError(f"The reward function could not be invoked: {why}.{_MEND.get(code, '')}", code=kind)
            return Outcome(None, time.monotonic() - began, error=refused)
        seconds, printed = time.monotonic() - began, _tail(found.get("LogResult"))
        try:
            result = json.loads(payload or b"null")
        except ValueError:
            return Outcome(payload.decode("utf-8", "replace"), seconds, printed)
        if found.get("FunctionError"):
            fields = cast("dict[str, Any]", result) if isinstance(result, dict) else {}
            text = f"{fields.get('errorType', 'an error')}: {str(fields.get('errorMessage', ''))[:500]}".rstrip(": ")
            text += _place(fields.get("stackTrace"))
            lost = _late(text) if "timed out" in text.lower() else failure("raised", text)
            return Outcome(None, seconds, printed, lost)
        return Outcome(result, seconds, printed)

    def close(self) -> None:
        self._client.close()


def _late(text: str) -> RewardError:
    return RewardError(f"The reward function ran out of time: {text}. Raise its timeout.", code="timeout")


def _place(stack: object) -> str:
    """Where it was raised, as Lambda tells it."""
    found = re.findall(r'([^"/\\\\]+)", line (\d+)', str(stack))
    return f" ({found[-1][0]}, line {found[-1][1]})" if found else ""


def _tail(encoded: object) -> str:
    """The end of the log, without Lambda's own lines."""
    if not isinstance(encoded, str):
        return ""
    lines = base64.b64decode(encoded).decode("utf-8", "replace").splitlines()
    own = ("START RequestId", "END RequestId", "REPORT RequestId", "INIT_START")
    return "\n".join(line for line in lines if not line.startswith(own))[:SHOWN]


def lambda_client(client: Any, arn: str, timeout: float) -> Any:
    """Botocore's client for Lambda, in the region of a function.

    Args:
        client: one that is ready, a client of this package whose AWS credentials are to be used, or None.
        arn: of the function.
        timeout: seconds that an invocation may take.

    Raises:
        ConfigurationError: the ARN is none, or there are no AWS credentials.
    """
    if hasattr(client, "invoke"):
        return client
    source = getattr(client, "_async", client)
    config: Config | None = getattr(getattr(source, "_session", None), "config", None)
    credentials = config.aws if config is not None and config.aws is not None else chain(None)
    region = LambdaArn(arn).region
    bundle = config.ca_bundle if config is not None else None
    return service_client(
        "lambda", region=region, credentials=credentials, ca_bundle=bundle, timeout=timeout + 10, retries=0
    )
