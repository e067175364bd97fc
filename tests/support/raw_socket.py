"""A peer of the service in a box that writes its bytes itself."""

from __future__ import annotations

import contextlib
import re
import socket
import time

import pytest

from bedrock_rft.local import LocalService

HOST = "127.0.0.1"


def port(service: LocalService) -> int:
    return int(service.base_url.split(":")[2].split("/")[0])


def key(service: LocalService) -> str:
    return str(service.client_options("api_key")["api_key"])


def head(service: LocalService, *lines: str, request: str = "GET /v1/models HTTP/1.1", admitted: bool = True) -> bytes:
    """A request's head, by one who has the key unless told otherwise."""
    known = [f"Authorization: Bearer {key(service)}"] if admitted else []
    return "\r\n".join([request, f"Host: {HOST}:{port(service)}", *known, *lines, "", ""]).encode()


def said(service: LocalService, *pieces: bytes) -> bytes:
    """What the server answers to bytes, up to the end of the connection or of the first answer's patience."""
    with socket.create_connection((HOST, port(service)), timeout=10) as peer:
        answer = b""
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                peer.sendall(piece)
            peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while chunk := peer.recv(65536):
                answer += chunk
    return answer


def asked(service: LocalService, *pieces: bytes) -> bytes:
    """As `said`, by a peer that waits for its answer."""
    with socket.create_connection((HOST, port(service)), timeout=10) as peer:
        for piece in pieces:
            peer.sendall(piece)
        return answered(peer)


def answered(peer: socket.socket) -> bytes:
    """One whole answer, or what came before the connection ended."""
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


def drip(peer: socket.socket, byte: bytes) -> None:
    """Send byte after byte until the server has had enough."""
    with contextlib.suppress(ConnectionError):
        for _ in range(500):
            peer.sendall(byte)
            time.sleep(0.02)
        pytest.fail("The server listens for ever.")
