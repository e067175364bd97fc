"""A client of the local service that writes raw bytes."""

from __future__ import annotations

import contextlib
import re
import socket

from bedrock_rft.local import LocalService

HOST = "127.0.0.1"


def port(service: LocalService) -> int:
    return int(service.base_url.split(":")[2].split("/")[0])


def key(service: LocalService) -> str:
    return str(service.client_options("api_key")["api_key"])


def head(service: LocalService, *lines: str, request: str = "GET /v1/models HTTP/1.1", admitted: bool = True) -> bytes:
    """Return a request's head, with the API key if `admitted`."""
    known = [f"Authorization: Bearer {key(service)}"] if admitted else []
    return "\r\n".join([request, f"Host: {HOST}:{port(service)}", *known, *lines, "", ""]).encode()


def send_all(service: LocalService, *pieces: bytes, timeout: float = 10) -> bytes:
    """Send bytes, and return everything that the server sends until it closes the connection or stays silent."""
    with socket.create_connection((HOST, port(service)), timeout=timeout) as peer:
        answer = b""
        with contextlib.suppress(ConnectionError, TimeoutError, socket.timeout):
            for piece in pieces:
                peer.sendall(piece)
            answer = read_response(peer)
            peer.settimeout(0.3)
            while chunk := peer.recv(65536):
                answer += chunk
    return answer


def exchange(service: LocalService, *pieces: bytes) -> bytes:
    """Send bytes and return one response; the sending side stays open."""
    with socket.create_connection((HOST, port(service)), timeout=10) as peer:
        for piece in pieces:
            peer.sendall(piece)
        return read_response(peer)


def read_response(peer: socket.socket) -> bytes:
    """Return one whole response, or the bytes before the connection ended."""
    answer, length = b"", 1 << 30
    while len(answer) < length and (chunk := peer.recv(65536)):
        answer += chunk
        top, mark, _ = answer.partition(b"\r\n\r\n")
        stated = re.search(rb"(?i)\r\ncontent-length: (\d+)", top)
        if mark:
            length = len(top) + len(mark) + (int(stated[1]) if stated else 0)
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
