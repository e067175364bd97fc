"""A large file looked at by several processes, while this one hashes it.

Each takes the next stretch as it has done one, so that none waits for a slower one. They are the same interpreter with
the same modules and nothing of the environment, and end with whoever started them. Whatever goes wrong with them is no
problem of the file's: `Alone` says that it has to be looked at here.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from threading import Condition, Thread
from typing import IO, Any, cast

from typing_extensions import Self

import bedrock_rft
from bedrock_rft.datasets._part import Bounds, Part
from bedrock_rft.datasets._stretch import Identity, Stretch

__all__ = ["Alone", "Beside", "available", "startable"]

_STRETCH = 2 << 20  # bytes: enough that asking costs nothing, few enough that all are done at about the same time
_AHEAD = 2  # stretches that a process is asked for at a time, so that it need not wait for the next
_MOST = 4  # processes: with as many, hashing takes the longest
_WINDOW = 32  # stretches that the others may be ahead of a slow one: what they find is kept meanwhile, some MB
_PATIENCE = 60.0  # seconds for a stretch, which takes some hundredths of one
_PARTING = 5.0  # seconds for a thread that has nothing left to read
_START = (
    "import sys; there = sys.argv.index('--'); sys.path[:] = sys.argv[there + 1 :]; del sys.argv[there:]; "
    "from bedrock_rft.datasets._stretch import main; main()"
)
# Without which some interpreters do not start.
_NEEDED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "SYSTEMROOT")


class Alone(Exception):  # noqa: N818 - it changes how a file is read, and is nobody's error
    """Other processes cannot look at this file."""


def startable() -> bool:
    """Whether this interpreter can be started once more: a program that brings its own would start as itself."""
    name = Path(sys.executable or "").name.lower()
    return name.startswith(("python", "pypy")) and not getattr(sys, "frozen", False)


def available() -> int:
    """How many are worth it here, by the processors there are; 0 where there is one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST) if cores > 1 else 0


class Beside:
    """Processes that look at a file.

    Attributes:
        compare: whether prompts are to be compared in stretches that are not begun.
    """

    def __init__(self, path: Path, opened: Identity, bounds: Bounds, count: int) -> None:
        """Start them.

        Args:
            path: of the file.
            opened: which file that is.
            bounds: what its lines are held to.
            count: how many processes.

        Raises:
            Alone: one cannot be started.
        """
        self.compare = True
        self._opened = opened
        self._next = self._given = 0  # stretches
        self._last = -(-opened.size // _STRETCH)
        self._done: dict[int, list[Part]] = {}
        self._failed = False
        self._seed = int.from_bytes(os.urandom(4), "big") or 1
        self._change = Condition()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._threads: list[Thread] = []
        arguments = [str(path.absolute()), str(bounds.limit), str(bounds.longest_prompt)]
        try:
            for _ in range(min(count, self._last)):
                self._start(arguments)
        except BaseException as error:
            self.__exit__()
            if isinstance(error, Exception):  # there are too many processes, threads or files, or no interpreter
                raise Alone from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._fail()
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            # A process that was forked meanwhile may hold the other end of its pipe: then it ends with that one.
            thread.join(_PARTING)

    def parts(self, *, wait: bool) -> Iterator[Part]:
        """What was found on the next lines of the file, in their order.

        Args:
            wait: for all there is, and not only for what is there by now.

        Raises:
            Alone: they cannot tell.
        """
        while self._given < self._last:
            with self._change:
                while not self._failed and self._given not in self._done:
                    if not wait:
                        return
                    if not self._change.wait(_PATIENCE):
                        raise Alone
                if self._failed:
                    raise Alone
                found = self._done.pop(self._given)
                self._given += 1
                self._change.notify_all()
            yield from found

    def _start(self, arguments: list[str]) -> None:
        # Prompts are compared by their hashes, which are the same in processes with the same seed only.
        environment = {name: os.environ[name] for name in _NEEDED if name in os.environ}
        environment["PYTHONHASHSEED"] = str(self._seed)
        # Its modules are found where ours were, and not where this process stands by now.
        places = [place for place in sys.path if isinstance(place, str) and Path(place).is_absolute()]
        here = str(Path(bedrock_rft.__file__).parent.parent)
        places += [here] * (here not in places)
        cached = ["-X", f"pycache_prefix={sys.pycache_prefix}"] if sys.pycache_prefix else []
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and code of ours
            [sys.executable, "-S", "-B", *cached, "-c", _START, *arguments, "--", *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        thread = Thread(target=self._attend, args=(process,), name="bedrock-rft-stretches", daemon=True)
        try:
            thread.start()
        except BaseException:
            process.kill()
            with process:
                raise
        self._processes.append(process)
        self._threads.append(thread)

    def _attend(self, process: subprocess.Popen[bytes]) -> None:
        """Serve a process until its end, and close its pipes."""
        with contextlib.suppress(OSError), process:
            self._serve(process)

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        """Give a process one stretch after the other."""
        ask, told = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        asked: deque[int] = deque()
        right: object = None
        try:
            while True:
                while len(asked) < _AHEAD and (stretch := self._claim(wait=not asked)):
                    ask.write(b"%d %d %d\n" % stretch)
                    ask.flush()
                    asked.append(stretch.start // _STRETCH)
                if not asked:
                    return
                right = right or _said(told, self._opened)
                found = _said(told)
                with self._change:
                    self._done[asked.popleft()] = found
                    self._change.notify_all()
        except Exception:  # noqa: BLE001 - that it failed is all that matters; the file is looked at here
            self._fail()

    def _fail(self) -> None:
        with self._change:
            self._failed = True
            self._change.notify_all()

    def _near(self) -> bool:
        return self._failed or self._next - self._given < _WINDOW

    def _claim(self, *, wait: bool) -> Stretch | None:
        """The next stretch that nobody has; None where all are taken, or too far ahead and not waited for."""
        with self._change:
            if wait:
                self._change.wait_for(self._near)
            if self._failed or not self._near() or self._next >= self._last:
                return None
            start = self._next * _STRETCH
            self._next += 1
        return Stretch(start, min(start + _STRETCH, self._opened.size), self.compare)


def _said(told: IO[bytes], expected: object = None) -> Any:
    """What a process says next. Raises Alone where it is nothing, or not what is expected."""
    said = pickle.load(told)  # noqa: S301 - of code of ours, through a pipe of ours
    if said is None or (expected is not None and said != expected):
        raise Alone
    return said
