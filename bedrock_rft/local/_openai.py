"""An OpenAI client for a local service in the same process."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Callable
from typing import Any

from bedrock_rft._transport.transport import Response
from bedrock_rft.local._http.messages import media_type, parse_request, route_path
from bedrock_rft.local._service.responses import ServiceError, add_request_id, error_response
from bedrock_rft.local._service.service import Service

__all__ = ["openai_client"]


def openai_client(service: Service, base_url: str, *, max_retries: int, blocking: bool) -> Any:
    """Build the client on the HTTP library that the installed OpenAI SDK uses. Its API key is a placeholder."""
    import openai

    from bedrock_rft._transport.http_library import http_library

    http = http_library()
    transport: Any = http.MockTransport(_handler(service, http.Response))
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "local-service", "max_retries": max_retries}
    if blocking:
        return openai.OpenAI(**settings, http_client=http.Client(transport=transport, trust_env=False))
    return openai.AsyncOpenAI(**settings, http_client=http.AsyncClient(transport=transport, trust_env=False))


def _handler(service: Service, make_response: Callable[..., Any]) -> Callable[[Any], Any]:
    def handle(request: Any) -> Any:
        response = _respond(service, request)
        return make_response(response.status, headers=dict(response.headers), content=response.content)

    return handle


def _respond(service: Service, request: Any) -> Response:
    path = route_path(request.url.raw_path.partition(b"?")[0]) or ""
    try:
        if media_type(request.headers) == "multipart/form-data":
            return _store_upload(service, request.headers["content-type"], request.content)
        return service.handle(parse_request(request.method, path, request.url.query.decode(), request.content))
    except ServiceError as error:
        return add_request_id(error_response(error))


def _store_upload(service: Service, content_type: str, body: bytes) -> Response:
    """Parse a multipart body with the standard library, because it is in memory already."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
    if not {"file", "purpose"} <= parts.keys():
        raise ServiceError(400, "An upload needs the parts 'purpose' and 'file'.", param="file")
    purpose, file = (parts[name].get_payload(decode=True) for name in ("purpose", "file"))
    return service.receive_file(
        filename=parts["file"].get_filename() or "",
        purpose=bytes(purpose).decode(errors="replace"),
        chunks=[bytes(file)],
    )
