"""What the rehearsal remembers: one SQLite file, and the uploaded bytes beside it under names of its own making.

Everything the service shows (files, jobs, events, checkpoints) is a row of one table with the JSON it shows, so lists
of all kinds page the same way. One connection serves all threads, under one lock; a second process is refused.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local._service.schema import BACKWARD, FORWARD, SCHEMA, VERSION

__all__ = ["Progress", "Rows", "Store"]

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Rows:
    """One page: what the service shows, and whether more follows."""

    data: list[dict[str, Any]]
    has_more: bool


@dataclass(frozen=True)
class Progress:
    """How far a job has come.

    Attributes:
        step: the last finished step, 0 before the first.
        tokens: tokens trained on so far.
        state: the policy after that step, empty before the first.
    """

    step: int = 0
    tokens: int = 0
    state: str = ""


class Store:
    """The rehearsal's memory in one directory (mode 0700, its files 0600), safe across threads.

    Raises:
        ConfigurationError: the directory cannot be used, another process uses it, or another version wrote it.
    """

    def __init__(self, directory: Path) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            self._contents = directory / "contents"
            self._contents.mkdir(mode=0o700, exist_ok=True)
            database = directory / "service.sqlite3"
            database.touch(mode=0o600)  # what SQLite makes beside it gets the same mode
            database.chmod(0o600)
        except OSError as error:
            raise ConfigurationError(f"{directory} cannot hold the rehearsal: {error.strerror or error}.") from error
        self._db = sqlite3.connect(database, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(directory)
        except sqlite3.Error as error:
            self._db.close()
            raise ConfigurationError(
                f"{directory} cannot hold the rehearsal: {error}. Is another one using it?"
            ) from error
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, directory: Path) -> None:
        # Held until the connection closes, so that two rehearsals cannot run the same jobs.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, VERSION}:
            raise ConfigurationError(
                f"{directory} was written by another version of the rehearsal. Choose another directory, or empty it."
            )
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        """Let go of the directory. What is asked afterwards raises `sqlite3.ProgrammingError`."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """All or nothing; transactions within it are part of it."""
        with self._lock:
            if self._depth:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            else:
                self._db.execute("COMMIT")
            finally:
                self._depth -= 1

    def _one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        with self._lock:
            row: tuple[Any, ...] | None = self._db.execute(sql, values).fetchone()
            return row

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    # Things the service shows

    def add(self, kind: str, payload: dict[str, Any], *, parent: str = "", label: str = "") -> None:
        """Remember a thing; its payload has its `id`."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO things (id, kind, parent, label, payload) VALUES (?, ?, ?, ?, ?)",
                (payload["id"], kind, parent, label, json.dumps(payload)),
            )

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """What the service shows of a thing, or None where there is none."""
        row = self._one("SELECT payload FROM things WHERE id = ? AND kind = ?", key, kind)
        return None if row is None else json.loads(row[0])

    def page(
        self,
        kind: str,
        *,
        parent: str = "",
        label: str = "",
        after: str | None = None,
        limit: int,
        ascending: bool = False,
    ) -> Rows:
        """One page, newest first unless `ascending`.

        Raises:
            KeyError: there is no thing `after` which to go on.
        """
        with self._lock:
            start = 0 if ascending else 1 << 62
            if after is not None:
                row = self._one("SELECT seq FROM things WHERE id = ? AND kind = ? AND parent = ?", after, kind, parent)
                if row is None:
                    raise KeyError(after)
                start = row[0]
            rows = self._all(FORWARD if ascending else BACKWARD, kind, parent, start, label, label, limit + 1)
        return Rows([json.loads(row[0]) for row in rows[:limit]], len(rows) > limit)

    # Files

    def keep(self, payload: dict[str, Any], chunks: Iterable[bytes]) -> dict[str, Any]:
        """Write an upload to disk and remember it, with its size as `bytes`."""
        path = self._contents / payload["id"]
        size = 0
        try:
            with open(path, "xb", opener=_private) as file:
                for chunk in chunks:
                    size += file.write(chunk)
            payload = {**payload, "bytes": size}
            self.add("file", payload, label=payload["purpose"])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return payload

    def content(self, file: str) -> Iterator[bytes]:
        """The bytes of a file, in chunks of 1 MiB.

        Raises:
            FileNotFoundError: there is no such file.
        """
        if self.get("file", file) is None:
            raise FileNotFoundError(file)
        return _pieces(self._contents / file)  # an id that is in the table is a name of this store's own making

    def forget(self, file: str) -> bool:
        """Delete a file; False where there is none."""
        with self.transaction():
            if self._db.execute("DELETE FROM things WHERE id = ? AND kind = 'file'", (file,)).rowcount == 0:
                return False
            self._db.execute("DELETE FROM prompts WHERE file = ?", (file,))
            self._db.execute("DELETE FROM indexed WHERE file = ?", (file,))
        (self._contents / file).unlink(missing_ok=True)
        return True

    # Prompts

    def unindexed(self) -> list[str]:
        """Ids of the files whose prompts are not known yet."""
        rows = self._all(
            "SELECT id FROM things WHERE kind = 'file' AND id NOT IN (SELECT file FROM indexed) ORDER BY seq"
        )
        return [row[0] for row in rows]

    def index(self, file: str, keys: Iterable[str]) -> None:
        """Remember which prompt stands where in a file."""
        with self.transaction():
            if self._db.execute("INSERT OR IGNORE INTO indexed VALUES (?)", (file,)).rowcount:
                rows = ((key, file, position) for position, key in enumerate(keys))
                self._db.executemany("INSERT INTO prompts VALUES (?, ?, ?)", rows)

    def find(self, key: str, *, prefer: str | None = None) -> tuple[str, int] | None:
        """The file and the position of a prompt: in the preferred file where it is there, else in the newest."""
        row = self._one(
            "SELECT file, position FROM prompts WHERE key = ? ORDER BY file = ? DESC, rowid DESC LIMIT 1",
            key,
            prefer or "",
        )
        return None if row is None else (row[0], row[1])

    # Jobs

    def next_job(self, *statuses: str) -> dict[str, Any] | None:
        """The oldest job of the first status that has any."""
        for status in statuses:
            sql = "SELECT payload FROM things WHERE kind = 'job' AND parent = '' AND label = ? ORDER BY seq LIMIT 1"
            row = self._one(sql, status)
            if row is not None:
                job: dict[str, Any] = json.loads(row[0])
                return job
        return None

    def change(self, job: str, *, expect: Iterable[str], **fields: Any) -> dict[str, Any] | None:
        """Change a job that is in one of the expected statuses; None where it is not."""
        with self.transaction():
            payload = self.get("job", job)
            if payload is None or payload["status"] not in expect:
                return None
            payload.update(fields)
            self._db.execute(
                "UPDATE things SET payload = ?, label = ? WHERE id = ?", (json.dumps(payload), payload["status"], job)
            )
            return payload

    def progress(self, job: str) -> Progress:
        """How far a job has come."""
        row = self._one("SELECT step, tokens, state FROM progress WHERE job = ?", job)
        return Progress() if row is None else Progress(*row)

    def advance(self, job: str, progress: Progress) -> None:
        """Remember how far a job has come."""
        with self.transaction():
            values = (job, progress.step, progress.tokens, progress.state)
            self._db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)", values)

    # Policies

    def learn(self, model: str, *, job: str, created: int, tuned: bool, state: str) -> None:
        """Remember a model: a job's result where `tuned`, else a checkpoint."""
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?, ?)", (model, job, created, tuned, state)
            )

    def model(self, model: str) -> tuple[str, int] | None:
        """The job a model came from, and when (Unix seconds)."""
        row = self._one("SELECT job, created FROM policies WHERE model = ?", model)
        return None if row is None else (row[0], row[1])

    def policy(self, model: str) -> str | None:
        """The state of a model's policy."""
        row = self._one("SELECT state FROM policies WHERE model = ?", model)
        return None if row is None else row[0]

    def tuned(self) -> list[tuple[str, int]]:
        """The models that jobs ended with, oldest first, and when they were made (Unix seconds)."""
        return [(row[0], row[1]) for row in self._all("SELECT model, created FROM policies WHERE tuned ORDER BY rowid")]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
