"""The rehearsal on a port of this machine, for both carriers and any other client that speaks HTTP."""

from __future__ import annotations

import atexit
import contextlib
import os
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal

from typing_extensions import Self

from bedrock_rft.errors import ConfigurationError, MissingExtraError
from bedrock_rft.local._http.keys import Keys
from bedrock_rft.local._http.messages import PREFIX
from bedrock_rft.local._service.service import Handler, Payload, Service, at_exit

__all__ = ["Auth", "LocalService"]

Auth = Literal["aws", "api_key"]
"""Which of the service's two ways in: AWS credentials and signatures, or an API key."""

_HOST = "127.0.0.1"
_IDLE = 30  # seconds
_GRACE = 1  # seconds that answers under way have when the server stops


class LocalService:
    """A rehearsal of the service at `http://127.0.0.1:PORT/v1`. It costs nothing, and its ids begin with `local-`.

    ```python
    with LocalService(reward="reward.py:lambda_handler") as service, Client(**service.client_options()) as client: ...
    ```

    It listens on the loopback address alone, and lets nobody in without the key or the credentials it makes up when it
    starts. None of them is valid anywhere else.

    Attributes:
        service: what answers, and can be asked in process.
        base_url: where it answers.
        region: the region it claims to be in.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        reward: Handler | Mapping[str, Handler] | None = None,
        port: int = 0,
        payload: Payload = "metadata",
        wrap_text: bool = False,
        seed: int = 0,
        pace: float = 0.0,
        region: str = "us-west-2",
        minimum_records: int = 100,
        group_size: int = 8,
        invocation_size: int = 16,
        reward_timeout: float = 300.0,
        largest_upload: int = 4 << 30,
    ) -> None:
        """Open the directory, go on with the jobs that are not finished, and answer on a port.

        Args:
            directory: where files and state live, and from where a later rehearsal goes on. None takes a temporary one,
                which is removed by `close`.
            reward: the Lambda entry point, for whatever ARN a job names; or a mapping by function name or ARN, where a
                job that names another one fails.
            port: the port; 0 takes a free one.
            payload: where a rollout's reference answer stands.
            wrap_text: send a reference answer that is a string as `{"text": …}`.
            seed: of the training's random numbers.
            pace: seconds between training steps.
            region: the region to claim.
            minimum_records: the smallest training file taken; the service takes no less than 100.
            group_size: answers sampled per prompt.
            invocation_size: rollouts per call of the reward.
            reward_timeout: seconds a call of the reward may take.
            largest_upload: bytes of an upload, which goes to disk as it comes.

        Raises:
            MissingExtraError: the extra `local` is not installed.
            ConfigurationError: a setting makes no sense, there is no such handler, or the directory or the port cannot
                be used.
        """
        try:
            import uvicorn
            from starlette import formparsers

            from bedrock_rft.local._http.app import app
            from bedrock_rft.local._http.guard import Guarded
            from bedrock_rft.local._http.head import LARGEST_HEAD

            # Its importable name changed between versions; Starlette knows both, and would only miss it at an upload.
            if getattr(formparsers, "multipart", None) is None:
                raise ImportError("python-multipart")  # noqa: TRY301 - one answer for whatever is missing
        except ImportError as error:
            raise MissingExtraError("The local service", "local") from error
        with contextlib.ExitStack() as undo:
            listening = undo.enter_context(_listening(port))
            self.service = undo.enter_context(
                Service(
                    directory,
                    reward=reward,
                    payload=payload,
                    wrap_text=wrap_text,
                    seed=seed,
                    pace=pace,
                    region=region,
                    minimum_records=minimum_records,
                    group_size=group_size,
                    invocation_size=invocation_size,
                    reward_timeout=reward_timeout,
                )
            )
            host = f"{_HOST}:{listening.getsockname()[1]}"
            self.region = region
            self.base_url = f"http://{host}{PREFIX}"
            self._keys = Keys(region)
            config = uvicorn.Config(
                app(self.service, self._keys, host, largest_upload=largest_upload),
                loop="asyncio",
                http=Guarded,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_IDLE,
                timeout_graceful_shutdown=_GRACE,
                h11_max_incomplete_event_size=LARGEST_HEAD + 1024,  # the guard has measured it
            )
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, args=([listening],), name="local-service", daemon=True)
            thread.start()
            undo.callback(thread.join)
            undo.callback(setattr, server, "should_exit", True)
            self._undo = undo.pop_all()
        self._parting = at_exit(self._undo)

    def client_options(self, auth: Auth = "aws") -> dict[str, Any]:
        """What a client needs to come in: `Client(**service.client_options())`, or `AsyncClient`.

        Args:
            auth: with signatures, or with a key.

        Raises:
            ConfigurationError: there is no such way in.
        """
        where = {"base_url": self.base_url, "region": self.region}
        if _checked(auth) == "api_key":
            return {**where, "api_key": self._keys.api_key.reveal()}
        from botocore.credentials import Credentials

        credential = self._keys.credential.reveal()
        return {**where, "credentials": Credentials(credential.access_key, credential.secret_key, credential.token)}

    def environment(self, auth: Auth = "aws") -> dict[str, str]:
        """The same as environment variables, for other programs.

        Args:
            auth: with signatures, or with a key.

        Raises:
            ConfigurationError: there is no such way in.
        """
        if _checked(auth) == "api_key":
            found = {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": self._keys.api_key.reveal()}
        else:
            credential = self._keys.credential.reveal()
            found = {
                "AWS_ENDPOINT_URL_BEDROCK_MANTLE": self.base_url,
                "AWS_ACCESS_KEY_ID": credential.access_key,
                "AWS_SECRET_ACCESS_KEY": credential.secret_key,
                "AWS_SESSION_TOKEN": credential.token or "",
            }
        return {**found, "AWS_REGION": self.region}

    def close(self) -> None:
        """Stop answering. Jobs that are not finished go on with the next rehearsal in the same directory."""
        atexit.unregister(self._parting)
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checked(auth: object) -> object:
    if auth not in ("aws", "api_key"):
        raise ConfigurationError(f"auth is {auth!r}; it must be 'aws' or 'api_key'.")
    return auth


def _listening(port: int) -> socket.socket:
    """Take the port before anything else is made, so that clients may connect before the server is up."""
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it every answer is 40 ms late.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            # A port that was just closed is free again; elsewhere this would let two servers share one.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_HOST, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise ConfigurationError(f"Port {port} of this machine cannot be used: {error}.") from error
    return listener
