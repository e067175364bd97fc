"""Error responses of the service, in their known shapes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from bedrock_rft.types._payload import Payload

_Text = Annotated[str, BeforeValidator(lambda value: value if isinstance(value, str) or value is None else str(value))]


class ErrorBody(Payload):
    """The error object of a response."""

    code: _Text | None = None
    message: _Text | None = None
    param: _Text | None = None
    type: _Text | None = None


class ErrorEnvelope(ErrorBody):
    """`{"error": {…}}`, the older flat `{"code", "message"}`, or AWS's `{"__type", "message"}`."""

    error: ErrorBody | None = None
    aws_type: Annotated[str | None, Field(alias="__type")] = None
    aws_message: Annotated[str | None, Field(alias="Message")] = None

    @property
    def body(self) -> ErrorBody:
        """Return the error from whichever shape the response has."""
        if self.error is not None:
            return self.error
        code = self.code or (self.aws_type or "").rpartition("#")[2] or None
        fields: dict[str, Any] = {"code": code, "message": self.message or self.aws_message}
        return ErrorBody(**fields, param=self.param, type=self.type)
