"""The storage of the local service: a SQLite file, and uploaded files under generated names.

Everything that the service lists (files, jobs, events, checkpoints) is a row of one table with the JSON that it
returns, so all lists are paged in the same way. One connection serves all threads, under one lock; a second process is
refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bedrock_rft.errors import ConfigurationError

_CHUNK = 1 << 20
_VERSION = 1  # SQLite's user_version; a file with another version is refused rather than misread
_SCHEMA = """
CREATE TABLE things (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,      -- file, job, event, checkpoint
    parent TEXT NOT NULL,    -- the job of an event or a checkpoint
    label TEXT NOT NULL,     -- a file's purpose, a job's status
    payload TEXT NOT NULL    -- the JSON that the service returns
);
CREATE INDEX things_by_kind ON things (kind, parent, seq);
CREATE TABLE progress (job TEXT PRIMARY KEY, step INTEGER NOT NULL, tokens INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE policies (
    model TEXT PRIMARY KEY, job TEXT NOT NULL, created INTEGER NOT NULL, tuned INTEGER NOT NULL, state TEXT NOT NULL
);
"""
_PAGE = "SELECT payload FROM things WHERE kind = ? AND parent = ? AND (? = '' OR label = ?) "
_ASCENDING = f"{_PAGE} AND seq > ? ORDER BY seq LIMIT ?"
_DESCENDING = f"{_PAGE} AND seq < ? ORDER BY seq DESC LIMIT ?"


class Page(NamedTuple):
    """One page of a list, and whether another page follows."""

    data: list[dict[str, Any]]
    has_more: bool


class Progress(NamedTuple):
    """The progress of a job: the last finished step, the tokens so far, and the policy after that step as JSON."""

    step: int = 0
    tokens: int = 0
    state: str = ""


class Model(NamedTuple):
    """A tuned model or a checkpoint: its job, its creation time (Unix seconds), and its policy as JSON."""

    job: str
    created: int
    state: str


class Store:
    """The state of a service in one directory (mode 0700, its files 0600), safe across threads."""

    def __init__(self, directory: Path) -> None:
        self._lock = threading.RLock()
        # Failed jobs that could not be stored because the disk was full, each with its last event.
        self._unsaved: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            directory.chmod(0o700)
            self._contents = directory / "contents"
            self._contents.mkdir(mode=0o700, exist_ok=True)
            database = directory / "service.sqlite3"
            database.touch(mode=0o600)  # SQLite gives its other files the same mode
            database.chmod(0o600)
        except OSError as error:
            raise ConfigurationError(
                f"The directory {directory} cannot be used: {error.strerror or error}. Choose another directory."
            ) from error
        self._db = sqlite3.connect(database, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._prepare(directory)
        except BaseException as error:
            self._db.close()
            if not isinstance(error, sqlite3.Error):
                raise
            raise ConfigurationError(
                f"The directory {directory} cannot be used: {error}. Stop the other local service that uses it, or "
                "choose another directory."
            ) from error

    def _prepare(self, directory: Path) -> None:
        # Lock the file until the connection closes, so that two services cannot run the same jobs.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in {0, _VERSION}:
            raise ConfigurationError(
                f"The directory {directory} was written by another version of the local service. Choose another "
                "directory, or empty it."
            )
        if version == 0:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        for path in list(self._contents.iterdir()):
            if self.get("file", path.name) is None and not self._is_needed_by_job(path.name):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the database. Later calls raise `sqlite3.ProgrammingError`."""
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Commit all changes or none. A nested transaction is part of the outer transaction."""
        with self._lock:
            if self._db.in_transaction:
                yield
                return
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # SQLite itself rolls back some failures, such as a full disk
                    self._db.execute("ROLLBACK")
                raise

    def _fetch_all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(sql, values).fetchall()

    def _fetch_one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        return next(iter(self._fetch_all(sql, *values)), None)

    # Objects that the service lists

    def add(self, kind: str, payload: dict[str, Any], *, parent: str = "", label: str = "") -> None:
        """Store an object, whose payload has its `id`."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO things (id, kind, parent, label, payload) VALUES (?, ?, ?, ?, ?)",
                (payload["id"], kind, parent, label, json.dumps(payload)),
            )

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the payload of an object, or None if it does not exist."""
        if kind == "job" and key in self._unsaved:
            return dict(self._unsaved[key][0])
        row = self._fetch_one("SELECT payload FROM things WHERE id = ? AND kind = ?", key, kind)
        return None if row is None else json.loads(row[0])

    def page(self, kind: str, parent: str, label: str, after: str, limit: int, *, ascending: bool) -> Page:
        """Return one page, newest first unless `ascending`. Raise `KeyError` if the object `after` does not exist."""
        with self._lock:
            start = 0 if ascending else 1 << 62
            if after:
                sql = "SELECT seq FROM things WHERE id = ? AND kind = ? AND parent = ?"
                row = self._fetch_one(sql, after, kind, parent)
                if row is None:
                    raise KeyError(after)
                start = row[0]
            sql = _ASCENDING if ascending else _DESCENDING
            rows = self._fetch_all(sql, kind, parent, label, label, start, limit + 1)
        payloads: list[dict[str, Any]] = [json.loads(row[0]) for row in rows[:limit]]
        unsaved = self._unsaved
        return Page([unsaved.get(payload["id"], (payload, {}))[0] for payload in payloads], len(rows) > limit)

    # Files

    def add_file(self, payload: dict[str, Any], chunks: Iterable[bytes]) -> dict[str, Any]:
        """Write an upload to disk and store its payload, with its size as `bytes`."""
        path = self._contents / payload["id"]
        size = 0
        try:
            with open(path, "xb", opener=open_private) as file:
                for chunk in chunks:
                    size += file.write(chunk)
            payload = {**payload, "bytes": size}
            self.add("file", payload, label=payload["purpose"])
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return payload

    def read_file(self, file: str, *, include_deleted: bool = False) -> Iterator[bytes]:
        """Return the content of a file in chunks, or raise `FileNotFoundError`. Jobs may need deleted files."""
        if self.get("file", file) is None and not (include_deleted and self._is_needed_by_job(file)):
            raise FileNotFoundError(file)
        return _read_chunks(self._contents / file)  # an id in the table was generated by the service

    def delete_file(self, file: str) -> bool:
        """Delete a file; return False if it does not exist. Its content stays while a job or a model needs it."""
        with self.transaction():
            if self._db.execute("DELETE FROM things WHERE id = ? AND kind = 'file'", (file,)).rowcount == 0:
                return False
        if not self._is_needed_by_job(file):
            (self._contents / file).unlink(missing_ok=True)
        return True

    def _is_needed_by_job(self, file: str) -> bool:
        rows = self._fetch_all(
            "SELECT payload FROM things WHERE kind = 'job' "
            "AND (label NOT IN ('failed', 'cancelled') OR id IN (SELECT job FROM policies))"
        )
        jobs = (json.loads(row[0]) for row in rows)
        return any(file in (job["training_file"], job["validation_file"]) for job in jobs)

    def file_ids(self) -> list[str]:
        """Return the ids of all files, newest first."""
        return [row[0] for row in self._fetch_all("SELECT id FROM things WHERE kind = 'file' ORDER BY seq DESC")]

    # Jobs

    def next_job(self, *statuses: str) -> dict[str, Any] | None:
        """Return the oldest job in the first of the statuses that has jobs, or None."""
        sql = "SELECT id, payload FROM things WHERE kind = 'job' AND label = ? ORDER BY seq"
        rows = (row for status in statuses for row in self._fetch_all(sql, status))
        return next((json.loads(payload) for key, payload in rows if key not in self._unsaved), None)

    def update_job(self, job: str, *, expect: Iterable[str], **fields: Any) -> dict[str, Any] | None:
        """Update a job that is in one of the expected statuses; return None for any other job."""
        with self.transaction():
            payload = self.get("job", job)
            if payload is None or payload["status"] not in expect:
                return None
            payload.update(fields)
            self._update(payload)
            return payload

    def _update(self, job: dict[str, Any]) -> None:
        values = (json.dumps(job), job["status"], job["id"])
        self._db.execute("UPDATE things SET payload = ?, label = ? WHERE id = ?", values)

    def fail_job(self, job: str, event: dict[str, Any], *, expect: Iterable[str], **fields: Any) -> None:
        """Mark a job as failed if its status is expected, and add an event. Keep them in memory if the disk is full."""
        try:
            with self.transaction():
                if self.update_job(job, expect=expect, **fields) is not None:
                    self.add("event", event, parent=job)
        except sqlite3.ProgrammingError:  # because the store is closed
            raise
        except sqlite3.Error:
            payload = self.get("job", job)
            if payload is not None and payload["status"] in expect:
                self._unsaved[job] = {**payload, **fields}, event

    @property
    def has_unsaved_failures(self) -> bool:
        """True if failures could not be stored yet because the disk is full."""
        return bool(self._unsaved)

    def save_failures(self) -> None:
        """Store the failures that could not be stored because the disk was full."""
        for job, (payload, event) in list(self._unsaved.items()):
            with contextlib.suppress(sqlite3.OperationalError), self.transaction():
                self._update(payload)
                self.add("event", event, parent=job)
                del self._unsaved[job]

    def load_progress(self, job: str) -> Progress:
        """Return the progress of a job."""
        row = self._fetch_one("SELECT step, tokens, state FROM progress WHERE job = ?", job)
        return Progress() if row is None else Progress(*row)

    def save_progress(self, job: str, progress: Progress) -> None:
        """Store the progress of a job."""
        with self.transaction():
            values = (job, progress.step, progress.tokens, progress.state)
            self._db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?, ?)", values)

    # Policies

    def save_policy(self, model: str, *, job: str, created: int, tuned: bool, state: str) -> None:
        """Store a model: the result of a job if `tuned`, else a checkpoint."""
        with self.transaction():
            values = (model, job, created, tuned, state)
            self._db.execute("INSERT OR REPLACE INTO policies VALUES (?, ?, ?, ?, ?)", values)

    def find_model(self, model: str) -> Model | None:
        """Return a tuned model or a checkpoint, or None."""
        row = self._fetch_one("SELECT job, created, state FROM policies WHERE model = ?", model)
        return None if row is None else Model(*row)

    def tuned_models(self) -> list[tuple[str, int]]:
        """Return the results of jobs with their creation times (Unix seconds), oldest first."""
        rows = self._fetch_all("SELECT model, created FROM policies WHERE tuned ORDER BY rowid")
        return [(row[0], row[1]) for row in rows]


def open_private(path: str, flags: int) -> int:
    """Open a file that only its owner can read; the `opener` of `open`."""
    return os.open(path, flags, 0o600)


def _read_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk
