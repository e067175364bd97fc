"""The service in a box, without a socket: one exchange in, one reply out."""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal
from urllib.parse import unquote

from typing_extensions import Self

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._service.chat import Inference
from bedrock_rft.local._service.responses import Problem, nowhere, refuse, stamped
from bedrock_rft.local._service.responses_api import Responses
from bedrock_rft.local._service.routes import Files, Jobs, Models
from bedrock_rft.local._service.store import Store
from bedrock_rft.local._training.reward import Reward
from bedrock_rft.local._training.runner import Runner, Settings
from bedrock_rft.rewards import Reward as Authored
from bedrock_rft.rewards._targets.entry_point import EntryPoint

__all__ = ["Handler", "Payload", "Service", "at_exit"]

_log = logging.getLogger("bedrock_rft.local")

Handler = EntryPoint | Authored | str
"""A reward, a Lambda entry point `(event, context)`, or where either stands: `file.py:handler`."""

Payload = Literal["metadata", "top_level"]
"""Where a rollout's reference answer stands: as documented, or as AWS's sample reads it."""

_ANY = "*"


class Service:
    """A rehearsal of the service on this machine. It costs nothing, and its ids begin with `local-`.

    Attributes:
        region: the region it claims to be in.
        closed: whether it has stopped.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str] | None = None,
        *,
        reward: Handler | Mapping[str, Handler] | None = None,
        payload: Payload = "metadata",
        wrap_text: bool = False,
        seed: int = 0,
        pace: float = 0.0,
        region: str = "us-west-2",
        minimum_records: int = 100,
        group_size: int = 8,
        invocation_size: int = 16,
        reward_timeout: float = 300.0,
    ) -> None:
        """Open the directory and go on with the jobs that are not finished.

        Args:
            directory: where files and state live, and from where a later rehearsal goes on. None takes a temporary one,
                which is removed by `close`.
            reward: the Lambda entry point, for whatever ARN a job names; or a mapping by function name or ARN, where a
                job that names another one fails.
            payload: where a rollout's reference answer stands.
            wrap_text: send a reference answer that is a string as `{"text": …}`.
            seed: of the training's random numbers.
            pace: seconds between training steps.
            region: the region to claim.
            minimum_records: the smallest training file taken; the service takes no less than 100.
            group_size: answers sampled per prompt.
            invocation_size: rollouts per call of the reward.
            reward_timeout: seconds a call of the reward may take.

        Raises:
            ConfigurationError: a setting makes no sense, there is no such handler, or the directory cannot be used.
        """

        def loaded(handler: Handler) -> Reward:
            return Reward(
                handler, payload=payload, wrap_text=wrap_text, invocation_size=invocation_size, timeout=reward_timeout
            )

        if not 0 <= pace < math.inf:
            raise ConfigurationError(f"pace is {pace}; it must be a number of seconds, 0 or more.")
        rewards: Reward | Mapping[str, Reward] | None = None
        if isinstance(reward, (str, Authored)) or callable(reward):
            rewards = loaded(reward)
        elif reward is not None:
            rewards = {name: loaded(handler) for name, handler in reward.items()}
        self.region = region
        self.closed = False
        with contextlib.ExitStack() as undo:
            place = Path(directory).expanduser() if directory is not None else _temporary(undo)
            self._store = Store(place)
            undo.callback(self._store.close)
            settings = Settings(rewards, seed, pace, minimum_records, group_size)
            self._runner = Runner(self._store, settings)
            self._files = Files(self._store)
            self._routes = _routes(self._store, self._files, self._runner, seed)
            self._runner.start()
            undo.callback(self._runner.stop)
            self._undo = undo.pop_all()
        self._parting = at_exit(self._undo)  # a temporary directory does not outlive a program that forgot to close

    def handle(self, call: Request) -> Response:
        """Answer one exchange. Whatever goes wrong is a reply."""
        return _answered(lambda: self._answer(call))

    def receive(self, *, filename: str, purpose: str, chunks: Iterable[bytes]) -> Response:
        """Answer `POST /files` where the file arrives as bytes."""
        return _answered(lambda: self._files.receive(filename, purpose, chunks))

    def send(self, file: str) -> tuple[Response, Iterator[bytes]]:
        """Answer `GET /files/{id}/content` in two parts: a reply without its body, and the body, for a large one."""
        chunks: Iterator[bytes] = iter(())

        def opened() -> Response:
            nonlocal chunks
            self._check_open()
            reply, chunks = self._files.open(file)
            return reply

        return _answered(opened), chunks

    def _check_open(self) -> None:
        if self.closed:
            raise Problem(503, "The rehearsal is over.", code="service_unavailable", type="server_error")

    def _answer(self, call: Request) -> Response:
        self._check_open()
        segments = tuple(unquote(segment) for segment in call.path.split("/")[1:])
        methods: list[str] = []
        for method, shape, route in self._routes:
            found = _match(shape, segments)
            if found is not None:
                if method == call.method:
                    return route(call, *found)
                methods.append(method)
        if not methods:
            return nowhere()
        return Response(405, {"allow": ", ".join(methods)}, b"")

    def close(self) -> None:
        """Stop. Jobs that are not finished go on with the next rehearsal in the same directory."""
        self.closed = True
        atexit.unregister(self._parting)
        self._undo.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_Route = tuple[str, tuple[str, ...], Callable[..., Response]]


def _routes(store: Store, files: Files, runner: Runner, seed: int) -> list[_Route]:
    jobs, models, inference = Jobs(store, wake=runner.wake, seed=seed), Models(store), Inference(store)
    job = ("fine_tuning", "jobs", _ANY)
    return [
        ("POST", ("files",), files.upload),
        ("GET", ("files",), files.list),
        ("GET", ("files", _ANY), files.retrieve),
        ("DELETE", ("files", _ANY), files.delete),
        ("GET", ("files", _ANY, "content"), files.content),
        ("POST", ("fine_tuning", "jobs"), jobs.create),
        ("GET", ("fine_tuning", "jobs"), jobs.list),
        ("GET", job, jobs.retrieve),
        ("POST", (*job, "cancel"), jobs.cancel),
        ("GET", (*job, "events"), jobs.events),
        ("GET", (*job, "checkpoints"), jobs.checkpoints),
        ("GET", ("models",), models.list),
        ("GET", ("models", _ANY), models.retrieve),
        ("POST", ("chat", "completions"), inference.chat),
        ("POST", ("responses",), Responses(inference).create),
    ]


def _match(shape: tuple[str, ...], segments: tuple[str, ...]) -> list[str] | None:
    """What stands in a route's open places, or None where the path is another route's."""
    if len(shape) != len(segments):
        return None
    pairs = list(zip(shape, segments, strict=True))
    if not all(want in (_ANY, segment) and segment for want, segment in pairs):
        return None
    return [segment for want, segment in pairs if want == _ANY]


def at_exit(undo: contextlib.ExitStack) -> Callable[[], None]:
    """Have a stack closed when this process ends, and not when a fork of it does; return what `atexit` holds."""
    here = os.getpid()

    def leave() -> None:
        if os.getpid() == here:
            undo.close()

    return atexit.register(leave)


def _answered(work: Callable[[], Response]) -> Response:
    try:
        return stamped(work())
    except Problem as problem:
        return stamped(refuse(problem))
    except Exception:  # noqa: BLE001 - a service answers
        # What went wrong is for whoever runs the rehearsal; an answer shows no path and no traceback.
        _log.exception("The rehearsal could not answer.")
        fault = Problem(
            500, "The rehearsal failed to answer; its log says why.", code="server_error", type="server_error"
        )
        return stamped(refuse(fault))


def _temporary(undo: contextlib.ExitStack) -> Path:
    place = Path(tempfile.mkdtemp(prefix="bedrock-rft-local-"))
    undo.callback(shutil.rmtree, place, ignore_errors=True)
    return place
