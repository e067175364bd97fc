"""Close clients while other threads use them."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Literal

import openai
import pytest

from bedrock_rft import Client
from bedrock_rft.errors import APIConnectionError, ConfigurationError
from bedrock_rft.local import LocalService


@pytest.mark.parametrize("auth", ["api_key", "aws"])
@pytest.mark.parametrize("through_openai", [False, True])
def test_a_connection_that_opens_during_close_is_closed(
    auth: Literal["api_key", "aws"], monkeypatch: pytest.MonkeyPatch, *, through_openai: bool
) -> None:
    connecting, closed = threading.Event(), threading.Event()
    connect = socket.create_connection
    opened: list[socket.socket] = []

    def connect_later(*arguments: Any, **options: Any) -> socket.socket:
        connecting.set()
        assert closed.wait(10)
        opened.append(connect(*arguments, **options))
        return opened[-1]

    with LocalService() as service:
        client = Client(**service.client_options(auth))
        monkeypatch.setattr(socket, "create_connection", connect_later)

        def request() -> None:  # the response is read, or the client is closed before that
            with contextlib.suppress(ConfigurationError, APIConnectionError, openai.APIConnectionError):
                list(client.openai.models.list() if through_openai else client.models.list())

        thread = threading.Thread(target=request)
        thread.start()
        assert connecting.wait(10)
        client.close()
        with pytest.raises(ConfigurationError, match="is closed"):
            client.models.retrieve("openai.gpt-oss-20b")
        closed.set()
        thread.join(10)
    assert not thread.is_alive()
    assert [each.fileno() for each in opened] == [-1]
