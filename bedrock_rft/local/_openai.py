"""An OpenAI client that asks the service in this process, on whichever HTTP library its version is built on."""

from __future__ import annotations

import email.parser
import email.policy
from collections.abc import Callable
from typing import Any

from bedrock_rft._transport.transport import Response
from bedrock_rft.local._http.messages import call, kind, route
from bedrock_rft.local._service.responses import Problem, refuse, stamped
from bedrock_rft.local._service.service import Service

__all__ = ["client"]


def client(service: Service, base_url: str, *, max_retries: int, blocking: bool) -> Any:
    """Build the client. Its key is a word that opens nothing."""
    import openai

    from bedrock_rft._transport.inference import http_library

    http = http_library()
    transport: Any = http.MockTransport(_answering(service, http.Response))
    settings: dict[str, Any] = {"base_url": base_url, "api_key": "local-rehearsal", "max_retries": max_retries}
    if blocking:
        return openai.OpenAI(**settings, http_client=http.Client(transport=transport, trust_env=False))
    return openai.AsyncOpenAI(**settings, http_client=http.AsyncClient(transport=transport, trust_env=False))


def _answering(service: Service, response: Callable[..., Any]) -> Callable[[Any], Any]:
    def answer(request: Any) -> Any:
        reply = _reply(service, request)
        return response(reply.status, headers=dict(reply.headers), content=reply.content)

    return answer


def _reply(service: Service, request: Any) -> Response:
    path = route(request.url.raw_path.partition(b"?")[0]) or ""
    try:
        if kind(request.headers) == "multipart/form-data":
            return _receive(service, request.headers["content-type"], request.content)
        return service.handle(call(request.method, path, request.url.query.decode(), request.content))
    except Problem as problem:
        return stamped(refuse(problem))


def _receive(service: Service, content_type: str, body: bytes) -> Response:
    """Take an upload apart. It is in memory already, so the standard library's parser will do."""
    head = f"Content-Type: {content_type}\r\n\r\n".encode()
    form = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.iter_parts()}
    if not {"file", "purpose"} <= parts.keys():
        raise Problem(400, "An upload has the parts 'purpose' and 'file'.", param="file")
    purpose, file = (parts[name].get_payload(decode=True) for name in ("purpose", "file"))
    name = parts["file"].get_filename() or ""
    return service.receive(filename=name, purpose=bytes(purpose).decode(errors="replace"), chunks=[bytes(file)])
