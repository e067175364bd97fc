"""The tables of the rehearsal's memory, and the one query in two directions that pages through them."""

from __future__ import annotations

__all__ = ["BACKWARD", "FORWARD", "SCHEMA", "VERSION"]

VERSION = 1
"""Kept in the file as SQLite's `user_version`; another one's files are refused rather than misread."""

SCHEMA = """
CREATE TABLE things (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,      -- file, job, event, checkpoint
    parent TEXT NOT NULL,    -- the job of an event or a checkpoint
    label TEXT NOT NULL,     -- a file's purpose, a job's status
    payload TEXT NOT NULL    -- what the service shows, as JSON
);
CREATE INDEX things_by_kind ON things (kind, parent, seq);
CREATE TABLE progress (job TEXT PRIMARY KEY, step INTEGER NOT NULL, tokens INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE policies (
    model TEXT PRIMARY KEY, job TEXT NOT NULL, created INTEGER NOT NULL, tuned INTEGER NOT NULL, state TEXT NOT NULL
);
CREATE TABLE prompts (key TEXT NOT NULL, file TEXT NOT NULL, position INTEGER NOT NULL);
CREATE INDEX prompts_by_key ON prompts (key);
CREATE INDEX prompts_by_file ON prompts (file);
CREATE TABLE indexed (file TEXT PRIMARY KEY);
"""

FORWARD = (
    "SELECT payload FROM things WHERE kind = ? AND parent = ? AND seq > ? AND (? = '' OR label = ?) "
    "ORDER BY seq LIMIT ?"
)
BACKWARD = (
    "SELECT payload FROM things WHERE kind = ? AND parent = ? AND seq < ? AND (? = '' OR label = ?) "
    "ORDER BY seq DESC LIMIT ?"
)
