"""The local service on a loopback port, for any client that speaks HTTP."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import threading
from pathlib import Path
from typing import Any, Literal

from typing_extensions import Self, Unpack

from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.local._http.signature import Keys
from bedrock_rft.local._service.requests import PREFIX
from bedrock_rft.local._service.service import Service, ServiceOptions, close_at_exit

Auth = Literal["aws", "api_key"]
"""How a client authenticates: with AWS credentials and signatures, or with an API key."""

_HOST = "127.0.0.1"
_KEEP_ALIVE_SECONDS = 30
_SHUTDOWN_SECONDS = 1  # to complete responses when the server stops
_MAX_HEAD_BYTES = 64 << 10  # request line and headers


class LocalService:
    """The local service at `http://127.0.0.1:PORT/v1`. It costs nothing, and its ids begin with `local-`.

    ```python
    with LocalService(reward="reward.py:lambda_handler") as service, Client(**service.client_options()) as client: ...
    ```

    The service listens on the loopback address only, and accepts only the key and the credentials that it generates,
    which are valid nowhere else.

    Attributes:
        service: the `Service` behind the port, which can also be called in this process.
        base_url: the address, with `/v1`.
        region: the region that the service reports.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        port: int = 0,
        largest_upload: int = 4 << 30,
        **options: Unpack[ServiceOptions],
    ) -> None:
        """Open the directory, resume unfinished jobs, and listen on a port.

        Args:
            directory: the folder for files, state and keys, from which a later service resumes. None uses a temporary
                directory, which `close` removes.
            port: the port; 0 chooses a free one.
            largest_upload: limit for an upload, in bytes.
            options: `reward`, `gold`, `pace` and the other arguments of `Service`.

        Raises:
            MissingExtraError: the extra `local` is not installed.
            ConfigurationError: a setting is invalid, the handler does not exist, or the directory or the port cannot be
                used.
        """
        try:
            import uvicorn
            from starlette import formparsers

            from bedrock_rft.local._http.app import App

            # Check now, because Starlette imports python-multipart lazily and would fail only at the first upload.
            if getattr(formparsers, "multipart", None) is None:
                raise ImportError("python-multipart")  # noqa: TRY301 - reported like any missing package
        except ImportError as error:
            raise MissingExtraError("The local service", "local") from error
        with contextlib.ExitStack() as resources:
            listener = resources.enter_context(_listen(port))
            self.service = resources.enter_context(Service(directory, **options))
            self.region = self.service.region
            host = f"{_HOST}:{listener.getsockname()[1]}"
            self.base_url = f"http://{host}{PREFIX}"
            self._keys = (
                Keys.generate(self.region)
                if directory is None
                else Keys.load_or_generate(Path(directory).expanduser() / "keys.json", self.region)
            )
            stopping = threading.Event()
            config = uvicorn.Config(
                App(self.service, self._keys, host, max_upload_bytes=largest_upload, stopping=stopping),
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
                h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listener],), name="local-service", daemon=True)
            thread.start()
            resources.callback(thread.join)
            resources.callback(setattr, server, "should_exit", True)
            resources.callback(stopping.set)
            self._resources = resources.pop_all()
        self._exit_hook = close_at_exit(self._resources)

    def client_options(self, auth: Auth = "aws") -> dict[str, Any]:
        """Return the arguments of a client of this service: `Client(**service.client_options())`, or `AsyncClient`.

        Args:
            auth: `"aws"` for credentials and signatures, `"api_key"` for a key.

        Raises:
            ConfigurationError: `auth` is neither.
        """
        options = {"base_url": self.base_url, "region": self.region}
        if _check_auth(auth) == "api_key":
            return {**options, "api_key": self._keys.api_key.reveal()}
        from botocore.credentials import Credentials

        credential = self._keys.credential.reveal()
        return {**options, "credentials": Credentials(credential.access_key, credential.secret_key, credential.token)}

    def environment(self, auth: Auth = "aws") -> dict[str, str]:
        """Return the arguments of `client_options` as environment variables, for other programs.

        `Client`, `openai.BedrockOpenAI` and, with a key, `openai.OpenAI` read them, and then use this service only.

        Args:
            auth: `"aws"` for credentials and signatures, `"api_key"` for a key.

        Raises:
            ConfigurationError: `auth` is neither.
        """
        variables = {
            "AWS_ENDPOINT_URL_BEDROCK_MANTLE": self.base_url,
            "AWS_BEDROCK_BASE_URL": self.base_url,
            "AWS_REGION": self.region,
        }
        if _check_auth(auth) == "api_key":
            key = self._keys.api_key.reveal()
            keys = {"AWS_BEARER_TOKEN_BEDROCK": key, "OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": key}
            return {**variables, **keys}
        credential = self._keys.credential.reveal()
        return {
            **variables,
            "AWS_ACCESS_KEY_ID": credential.access_key,
            "AWS_SECRET_ACCESS_KEY": credential.secret_key,
            "AWS_SESSION_TOKEN": credential.token or "",
        }

    def close(self) -> None:
        """Stop the server. A later service in the same directory resumes unfinished jobs."""
        atexit.unregister(self._exit_hook)
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_auth(auth: object) -> object:
    if auth not in ("aws", "api_key"):
        raise ConfigurationError(f"auth is {auth!r}; it must be 'aws' or 'api_key'.")
    return auth


def _listen(port: int) -> socket.socket:
    """Return a listening socket, so that clients can connect before the server runs."""
    # Name the protocol, because asyncio then disables Nagle's algorithm, which delays every response by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # Reuse a port that was just closed. On Windows the option would let two servers share one port.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"port={port} cannot be used: {reason}. Choose another port, or 0.") from error
    return listener
