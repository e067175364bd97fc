"""The local service without a socket: it returns a response to each request."""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import math
import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, cast
from urllib.parse import unquote

from typing_extensions import Self

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._service.inference import Inference, Responses
from bedrock_rft.local._service.requests import ServiceError, add_request_id, error_response
from bedrock_rft.local._service.routes import Files, Jobs, Models
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.policy import Gold
from bedrock_rft.local._training.reward import RewardFunction
from bedrock_rft.local._training.runner import JobRunner, Settings
from bedrock_rft.rewards import Package, Reward, RolloutLog
from bedrock_rft.rewards._targets.entry_point import EntryPoint

_log = logging.getLogger("bedrock_rft.local")

Handler = EntryPoint | Reward | Package | str | os.PathLike[str]
"""A reward, a Lambda entry point `(event, context)`, the file and name of either (`file.py:handler`), or a package."""

PayloadShape = Literal["metadata", "top_level"]
"""Position of a rollout's reference answer: as documented, or as AWS's sample reads it."""

_DISK_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class ServiceOptions(TypedDict, total=False):
    """The arguments of `Service`, without the directory."""

    reward: Handler | Mapping[str, Handler] | None
    payload: PayloadShape
    wrap_text: bool
    seed: int
    pace: float
    region: str
    minimum_records: int
    group_size: int
    invocation_size: int
    reward_timeout: float
    gold: Callable[[Mapping[str, Any]], str] | None
    record: RolloutLog | str | os.PathLike[str] | None


class Service:
    """The local service in this process. It costs nothing, and its ids begin with `local-`.

    Attributes:
        region: the region that the service reports.
        closed: True after `close`.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        reward: Handler | Mapping[str, Handler] | None = None,
        payload: PayloadShape = "metadata",
        wrap_text: bool = False,
        seed: int = 0,
        pace: float = 0.0,
        region: str = "us-west-2",
        minimum_records: int = 100,
        group_size: int = 8,
        invocation_size: int = 16,
        reward_timeout: float = 300.0,
        gold: Callable[[Mapping[str, Any]], str] | None = None,
        record: RolloutLog | str | os.PathLike[str] | None = None,
    ) -> None:
        """Open the directory and resume unfinished jobs.

        Args:
            directory: the folder for files and state, from which a later service resumes. None uses a temporary
                directory, which `close` removes.
            reward: the reward function for every ARN: `file.py:name`, a package, a `Reward` or a function of `(event,
                context)`. Or a mapping of these by function name or ARN; a job with another ARN fails. A reward runs in
                a subprocess, and its output is logged. A function that cannot be packaged, such as a closure, runs in
                this process, with a warning in the events of the job: if it calls `os._exit` or crashes, this process
                ends.
            payload: position of the reference answer in a rollout: under `metadata`, or at the top level.
            wrap_text: send a reference answer that is a string as `{"text": …}`.
            seed: random seed of the training.
            pace: seconds between training steps.
            region: the region to report.
            minimum_records: the smallest training file accepted; the service accepts no less than 100.
            group_size: answers sampled per prompt.
            invocation_size: rollouts per invocation of the reward function.
            reward_timeout: seconds that an invocation may take.
            gold: a function that returns the right answer to a record, if the right answer is more than the reference
                answer in a common form. The local policy then writes such answers too.
            record: a folder or `s3://bucket/prefix` in which to record the rollouts of all jobs, or a `RolloutLog`.

        Raises:
            ConfigurationError: a setting is invalid, the handler does not exist, or the directory cannot be used.
        """
        if not 0 <= pace < math.inf:
            raise ConfigurationError(f"pace is {pace}; it must be a number of seconds, 0 or more.")
        self.region = region
        self.closed = False
        with contextlib.ExitStack() as resources:

            def load(handler: Handler, name: str | None = None) -> RewardFunction:
                function = RewardFunction(handler, payload, wrap_text, invocation_size, reward_timeout, record, name)
                return resources.enter_context(contextlib.closing(function))

            rewards: RewardFunction | Mapping[str, RewardFunction] | None = None
            if isinstance(reward, Mapping):
                rewards = {name: load(handler, name) for name, handler in cast("Any", reward).items()}
            elif reward is not None:
                rewards = load(reward)
            if directory is None:
                directory = tempfile.mkdtemp(prefix="bedrock-rft-local-")
                resources.callback(shutil.rmtree, directory, ignore_errors=True)
            path = Path(directory).expanduser()
            self._store = Store(path)
            resources.callback(self._store.close)
            settings = Settings(rewards, seed, pace, minimum_records, group_size, gold)
            self._runner = JobRunner(self._store, settings)
            self._files = Files(self._store)
            self._routes = _routes(self._store, self._files, self._runner, seed, gold)
            self._runner.start()
            resources.callback(self._runner.stop)
            self._resources = resources.pop_all()
        self._exit_hook = close_at_exit(self._resources)  # removes a temporary directory if `close` is not called

    def handle(self, request: Request) -> Response:
        """Return the response to a request. Failures are responses too."""
        return _respond(lambda: self._route(request))

    def receive_file(self, *, filename: str, purpose: str, chunks: Iterable[bytes]) -> Response:
        """Handle `POST /files` for a file that arrives as bytes."""
        return _respond(lambda: self._files.receive(filename, purpose, chunks))

    def open_file(self, file: str) -> tuple[Response, Iterator[bytes]]:
        """Handle `GET /files/{id}/content`; return the response without its body, and the chunks of the body."""
        chunks: Iterator[bytes] = iter(())

        def open_file() -> Response:
            nonlocal chunks
            self._check_open()
            response, chunks = self._files.open(file)
            return response

        return _respond(open_file), chunks

    def _check_open(self) -> None:
        if self.closed:
            raise ServiceError(503, "The local service is closed.", code="service_unavailable", type="server_error")

    def _route(self, request: Request) -> Response:
        self._check_open()
        methods: list[str] = []
        for method, pattern, route in self._routes:
            match = pattern.fullmatch(request.path)
            if match is not None:
                if method == request.method:
                    return route(request, *map(unquote, match.groups()))
                methods.append(method)
        if not methods:  # the service's response to an unknown path
            return Response(404, {}, b"")
        return Response(405, {"allow": ", ".join(methods)}, b"")

    def close(self) -> None:
        """Stop. A later service in the same directory resumes unfinished jobs."""
        self.closed = True
        atexit.unregister(self._exit_hook)
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


_Route = tuple[str, re.Pattern[str], Callable[..., Response]]


def _routes(store: Store, files: Files, runner: JobRunner, seed: int, gold: Gold | None) -> list[_Route]:
    jobs, models, inference = Jobs(store, wake=runner.wake, seed=seed), Models(store), Inference(store, gold)
    routes: list[tuple[str, str, Callable[..., Response]]] = [
        ("POST", "/files", files.upload),
        ("GET", "/files", files.list),
        ("GET", "/files/ID", files.retrieve),
        ("DELETE", "/files/ID", files.delete),
        ("GET", "/files/ID/content", files.content),
        ("POST", "/fine_tuning/jobs", jobs.create),
        ("GET", "/fine_tuning/jobs", jobs.list),
        ("GET", "/fine_tuning/jobs/ID", jobs.retrieve),
        ("POST", "/fine_tuning/jobs/ID/cancel", jobs.cancel),
        ("GET", "/fine_tuning/jobs/ID/events", jobs.events),
        ("GET", "/fine_tuning/jobs/ID/checkpoints", jobs.checkpoints),
        ("GET", "/models", models.list),
        ("GET", "/models/ID", models.retrieve),
        ("POST", "/chat/completions", inference.create_chat_completion),
        ("POST", "/responses", Responses(inference).create),
    ]
    return [(method, re.compile(path.replace("ID", "([^/]+)")), route) for method, path, route in routes]


def close_at_exit(resources: contextlib.ExitStack) -> Callable[[], None]:
    """Close a stack when this process ends, but not when a fork of it ends; return the registered function."""
    owner = os.getpid()

    def close() -> None:
        if os.getpid() == owner:
            resources.close()

    return atexit.register(close)


def _respond(work: Callable[[], Response]) -> Response:
    try:
        return add_request_id(work())
    except ServiceError as error:
        return error_response(error)
    except Exception as error:  # noqa: BLE001 - every failure is a response
        # Log the traceback, and keep its paths out of the response.
        _log.exception("The local service could not handle a request.")
        if isinstance(error, sqlite3.OperationalError):
            is_disk_full = "full" in str(error)
        else:
            is_disk_full = isinstance(error, OSError) and error.errno in _DISK_FULL
        if is_disk_full:
            failure = ServiceError(507, "The disk is full. Free space, then repeat the request.")
            failure.code = "insufficient_storage"
        else:
            failure = ServiceError(500, "The local service failed. Its log has the reason.", code="server_error")
        failure.type = "server_error"
        return error_response(failure)
