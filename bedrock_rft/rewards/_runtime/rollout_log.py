"""`RolloutLog`: record the rollouts that a reward scored, in S3 or in a folder. `make_record` defines the format."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import re
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast
from uuid import uuid4

from bedrock_rft.rewards._runtime.deadline import OutOfTimeError, run_until, seconds_left
from bedrock_rft.rewards._runtime.rollout import (
    ERROR_METRIC,
    LOG_ERROR_METRIC,
    Rollout,
    Score,
    content_text,
    finite_float,
)

VERSION = 1
INCLUDABLE = ("prompt", "answer", "reference", "fields")
PACKAGE_HASH_VARIABLE = "BEDROCK_RFT_PACKAGE_HASH"
"""Environment variable with the `CodeSha256` of the package; a deployment sets it, because a zip cannot contain it."""

Source: TypeAlias = Literal["lambda", "local_service", "rehearsal", "evaluation", "score"]

_FLOOR = "the reward function could not score it and gave its floor"
_REDACTED = "[redacted]"
_MAX_SECONDS = 5.0
"""Longest time in seconds by which recording delays a response."""
_SLOW, _MOST_SLOW, _PAUSE = 0.5, 3, 300.0
"""After three failures in a row that took half a second each, recording pauses for five minutes: S3 has no route."""
_MAX_NAME = 100
_CONNECT_TIMEOUT, _READ_TIMEOUT, _ATTEMPTS = 1.0, 2.0, 2
_S3 = re.compile(r"s3://(?!.*//)(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>[\w!.'()/=-]*))?", re.ASCII)
_KMS_KEY = re.compile(r"arn:[\w-]+:kms:[\w-]+:\d{12}:key/[\w-]+")

_log = logging.getLogger("bedrock_rft.rewards")


@dataclass(frozen=True)
class RolloutLog:
    """Settings for recording the rollouts of a reward: `Handler(reward, record=RolloutLog("s3://bucket/prefix"))`.

    Each invocation writes one object of gzip-compressed JSON lines, named
    `…/function=NAME/date=2026-11-28/hour=14/REQUEST_ID.jsonl.gz` in UTC. Each line is one rollout, in the order of the
    event; `docs/how-to/see-rollouts.md` describes its keys.

    Attributes:
        location: `s3://bucket/prefix` with a bucket of the function's account and region, or the path of a folder. The
            prefix may have letters, digits and `!_.'()/=-`.
        sample: the share of rollouts to record, above 0 up to 1. The id of a rollout decides, so each choice is
            repeatable.
        include: the texts to record, of `prompt`, `answer`, `reference` and `fields` (the record's other fields).
        redact: regular expressions whose matches become `[redacted]`, or a function that takes and returns a text.
            Every recorded text is redacted, also inside `reference` and `fields` and in `error`, but no ids and no
            names of reward parts and metrics.
        max_chars: the characters that are kept of each text, after `redact`. A `fields` or a `reference` that is not a
            text is left out if it is longer as JSON.
        kms_key: the ARN of the KMS key that encrypts the objects; by default the bucket's encryption applies. If the
            bucket uses a key of your own, pass its ARN too, so that a deployment allows the function to use the key.

    Raises:
        ValueError: a value is not as described.
    """

    location: str
    sample: float = 1.0
    include: Sequence[str] = ("prompt", "answer")
    redact: Sequence[str] | Callable[[str], str] | None = None
    max_chars: int = 20_000
    kms_key: str | None = None

    def __post_init__(self) -> None:
        location = os.fspath(self.location)
        object.__setattr__(self, "location", location)
        if not location or (re.match(r"s3:|\w{2,}://", location) and not _S3.fullmatch(location)):
            raise ValueError(f"location is {location!r}; it must be s3://bucket/prefix or the path of a folder")
        for name in ("include", "redact"):
            object.__setattr__(self, name, _as_tuple(getattr(self, name)))
        if not 0 < self.sample <= 1:
            raise ValueError(f"sample is {self.sample!r}; it must be above 0 and at most 1")
        unknown = [self.include] if isinstance(self.include, str) else sorted({*self.include} - {*INCLUDABLE})
        if unknown:
            raise ValueError(f"include has {unknown[0]!r}; it must be a list of {', '.join(INCLUDABLE)}")
        if isinstance(self.redact, str):
            raise ValueError("redact must be a list of regular expressions or a function, not a text")  # noqa: TRY004
        for pattern in () if self.redact is None or callable(self.redact) else self.redact:
            try:
                re.compile(pattern).search("")  # a pattern of bytes fails here
            except (re.error, TypeError) as error:
                raise ValueError(f"redact has {pattern!r}, which is not a regular expression: {error}") from error
        if isinstance(self.max_chars, bool) or not isinstance(self.max_chars, int) or self.max_chars < 1:
            raise ValueError(f"max_chars is {self.max_chars!r}; it must be an integer of at least 1")
        if self.kms_key is not None and not _KMS_KEY.fullmatch(self.kms_key):
            raise ValueError(
                f"kms_key is {self.kms_key!r}; it must be the ARN of a key: arn:aws:kms:REGION:ACCOUNT:key/ID"
            )

    @property
    def bucket(self) -> str | None:
        """The name of the bucket; None for a folder."""
        found = _S3.fullmatch(self.location)
        return found["bucket"] if found else None

    @property
    def prefix(self) -> str:
        """The prefix of the objects in the bucket, empty or with a final slash."""
        found = _S3.fullmatch(self.location)
        prefix = (found["prefix"] or "").strip("/") if found else ""
        return f"{prefix}/" if prefix else ""

    def samples(self, rollout_id: str) -> bool:
        """Return whether the rollout with this id is recorded."""
        digest = hashlib.sha256(rollout_id.encode("utf-8", "replace")).digest()
        return int.from_bytes(digest[:8], "big") < self.sample * 2**64

    def write(self, origin: Origin, scored: Sequence[ScoredEntry], *, owner: str | None = None) -> None:
        """Write the object of one invocation. If no rollout of the invocation is sampled, write nothing.

        Args:
            origin: the facts that the rollouts share.
            scored: the rollouts.
            owner: the id of the account that must own the bucket.

        Raises:
            OSError: the folder cannot be written.
            BotoCoreError: S3 cannot be reached.
            ClientError: S3 rejected the request.
        """
        chosen = [one for one in scored if self.samples(_rollout_id(one.entry))]
        if not chosen:
            return
        content, path = encode([make_record(self, origin, one) for one in chosen]), origin.path
        if self.bucket is None:
            file = Path(self.location, path)
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_suffix(".part")
            partial.touch(mode=0o600)  # prompts and answers are for this user only
            try:
                partial.write_bytes(content)
                partial.replace(file)
            finally:
                partial.unlink(missing_ok=True)
            return
        options = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key} if self.kms_key else {}
        if owner:
            options["ExpectedBucketOwner"] = owner
        put = _s3_client().put_object
        _upload(lambda: put(Bucket=self.bucket, Key=self.prefix + path, Body=content, **options))


def _as_tuple(value: Any) -> Any:
    """Return an iterable as a tuple, because checking an iterator consumes it. Return other values unchanged."""
    if isinstance(value, str) or callable(value) or not hasattr(value, "__iter__"):
        return value
    return tuple(value)


@dataclass(frozen=True)
class Origin:
    """Facts that the rollouts of one invocation share; `time` is the end of the scoring, in UTC."""

    function: str
    source: Source
    request_id: str
    time: datetime
    function_version: str | None = None
    package_hash: str | None = None

    @property
    def path(self) -> str:
        """The path of the object below the prefix."""
        name, request = clean_name(self.function), clean_name(self.request_id)
        return f"function={name}/{self.time:date=%Y-%m-%d/hour=%H}/{request}.jsonl.gz"


def clean_name(text: str) -> str:
    """Return a text as a name for a folder or a file: without unusual characters, and not too long."""
    return re.sub(r"[^A-Za-z0-9._-]", "", text)[:_MAX_NAME] or "unnamed"


@dataclass(frozen=True)
class ScoredEntry:
    """An entry of an event with its score, the seconds of scoring (None if it was not begun), and the model."""

    entry: Any
    score: Score
    duration: float | None = None
    model: str | None = None


def make_record(log: RolloutLog, origin: Origin, scored: ScoredEntry) -> dict[str, Any]:
    """Return the record of one rollout, with its texts redacted and cut."""
    try:
        rollout, prompt_hash = Rollout.read(scored.entry), hash_prompt(scored.entry["messages"])
    except ValueError:  # an entry that is not a rollout; its score has the error
        rollout, prompt_hash = Rollout(_rollout_id(scored.entry), ()), None
    record: dict[str, Any] = {
        "v": VERSION,
        "time": origin.time.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "request_id": origin.request_id,
        "function": origin.function,
        "function_version": origin.function_version,
        "source": origin.source,
        "rollout_id": rollout.id,
        "prompt_hash": prompt_hash,
        "prompt": _prompt_text(log, rollout) if "prompt" in log.include else None,
        "answer": _answer_text(log, rollout) if "answer" in log.include else None,
        "reference": rollout.reference if "reference" in log.include else None,
        "fields": dict(rollout.extra) if "fields" in log.include else None,
        "score": scored.score.value,
        "parts": dict(scored.score.parts),
        "metrics": dict(scored.score.metrics),
        "error": scored.score.error,
        "duration": None if scored.duration is None else round(scored.duration, 6),
        "package_hash": origin.package_hash,
        "truncated": [],
        "model": scored.model,
    }
    for name in (*INCLUDABLE, "error"):
        value = record[name] = _redact(log, record[name])
        if (
            value is not None
            and len(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)) > log.max_chars
        ):
            record[name] = value[: log.max_chars] if isinstance(value, str) else None
            record["truncated"].append(name)
    return record


def hash_prompt(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256, in hexadecimal, of the canonical JSON of the messages before the assistant's last message."""
    reduced = [{"role": one.get("role"), "content": one.get("content")} for one in _prompt_messages(messages)]
    text = json.dumps(reduced, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def encode(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the records as gzip-compressed JSON lines; equal records give equal bytes."""
    gzip = zlib.compressobj(5, wbits=16 + zlib.MAX_WBITS)
    lines = (f"{json.dumps(record, ensure_ascii=False)}\n".encode("utf-8", "replace") for record in records)
    return b"".join([*map(gzip.compress, lines), gzip.flush()])  # line by line, because signals cannot interrupt zlib


def read_score(item: Mapping[str, Any]) -> Score:
    """Return the score of a result. Raises `ValueError`, `TypeError` or `KeyError` if the service cannot read it."""
    listed: Sequence[Mapping[str, Any]] = item.get("metrics_list") or ()
    values = [(one.get("type") == "Reward", str(one["name"]), finite_float(one["value"], "value")) for one in listed]
    parts = {name: value for is_part, name, value in values if is_part}
    metrics = {name: value for is_part, name, value in values if not is_part}
    failed = metrics.pop(ERROR_METRIC, 0.0) >= 1
    metrics.pop(LOG_ERROR_METRIC, None)
    return Score(finite_float(item["aggregate_reward_score"], "score"), parts, metrics, _FLOOR if failed else None)


def record_invocation(log: RolloutLog, scored: Sequence[ScoredEntry], context: Any) -> bool:
    """Record an invocation in Lambda and return whether that succeeded. A failure is logged, and never raised."""
    begin = time.monotonic()
    if begin < _attempts.paused_until:
        return False
    seconds = seconds_left(context)
    limit = _MAX_SECONDS if seconds is None else min(_MAX_SECONDS, seconds / 2)
    late = f"recording took longer than {limit:.1f} s"
    failures = [late]
    arn = str(getattr(context, "invoked_function_arn", "")).split(":")
    origin = Origin(
        os.environ.get("AWS_LAMBDA_FUNCTION_NAME", ""),
        "lambda",
        str(getattr(context, "aws_request_id", None) or uuid4()),
        datetime.now(timezone.utc),
        os.environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
        os.environ.get(PACKAGE_HASH_VARIABLE),
    )

    def work() -> None:
        try:
            log.write(origin, scored, owner=arn[4] if len(arn) > 4 else None)  # noqa: PLR2004 - the account's place
            failures.clear()
        except OutOfTimeError:
            raise
        except BaseException as error:  # noqa: BLE001 - `redact` is the user's code, and may call sys.exit()
            failures[:] = [describe_error(error)]

    run_until(work, begin + limit)
    reason = "".join(failures)  # a copy, because abandoned work may still end
    end = time.monotonic()
    _attempts.slow_failures = _attempts.slow_failures + 1 if reason and end - begin >= _SLOW else 0
    if not reason:
        return True
    if reason == late:
        _s3_client.cache_clear()  # the interruption may have left the client in any state
    pause = ""
    if _attempts.slow_failures >= _MOST_SLOW:
        _attempts.slow_failures, _attempts.paused_until = 0, end + _PAUSE
        pause = f"; recording stops for {_PAUSE / 60:.0f} minutes, so that it does not delay each invocation"
    _log.warning("the rollouts were not recorded: %s%s", reason, pause)
    return False


@dataclass
class _Attempts:
    """The slow failures in a row in this process, and the monotonic time until which nothing is recorded."""

    slow_failures: int = 0
    paused_until: float = 0.0


_attempts = _Attempts()


def describe_error(error: BaseException) -> str:
    """Return the type of an error and its code in S3 or the system, without its text, which may quote an answer."""
    code = error.strerror if isinstance(error, OSError) else ""
    with contextlib.suppress(Exception):  # the exception may be the user's, or have no response
        code = cast("Any", error).response["Error"]["Code"]
    return f"{type(error).__name__} {code or ''}".strip()


def _upload(put: Callable[[], object]) -> None:
    """Upload in a thread, which an interruption abandons, because the look-up of a host name cannot be interrupted."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            put()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, name="rollout-log", daemon=True)
    thread.start()
    thread.join()
    for error in errors:
        raise error


@cache
def _s3_client() -> Any:
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError as error:
        raise ImportError("Recording in S3 needs botocore. Run: pip install botocore") from error
    config = Config(
        connect_timeout=_CONNECT_TIMEOUT,
        read_timeout=_READ_TIMEOUT,
        retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},  # a connection may be dead after a pause
    )
    session: Any = Session()
    return session.create_client("s3", region_name=os.environ.get("AWS_REGION"), config=config)


def _rollout_id(entry: Any) -> str:
    return str(cast("Mapping[str, Any]", entry).get("id", "")) if isinstance(entry, Mapping) else ""


def _prompt_messages(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    last = max((place for place, one in enumerate(messages) if one.get("role") == "assistant"), default=len(messages))
    return messages[:last]


def _prompt_text(log: RolloutLog, rollout: Rollout) -> str:
    messages = _prompt_messages(rollout.messages)
    if len(messages) < 2:  # noqa: PLR2004 - one message needs no role
        return rollout.prompt
    return "\n".join(f"{one.get('role')}: {_message_text(log, one)}" for one in messages)


def _answer_text(log: RolloutLog, rollout: Rollout) -> str:
    last: Mapping[str, Any] = rollout.messages[-1] if rollout.messages else {}
    return _message_text(log, last) if last.get("role") == "assistant" else ""


def _message_text(log: RolloutLog, message: Mapping[str, Any]) -> str:
    """Return the text of a message, and its tool calls in the tags in which `ToolCall` finds them."""
    calls, text = message.get("tool_calls"), content_text(message.get("content"))
    listed = cast("Sequence[Any]", calls) if isinstance(calls, (list, tuple)) else ()
    tagged = [f"<tool_call>{_call_text(log, call)}</tool_call>" for call in listed]
    return "\n".join([text, *tagged] if text else tagged)


def _call_text(log: RolloutLog, call: Any) -> str:
    """Return a tool call as redacted JSON. Arguments are parsed, because JSON within JSON has escapes."""
    function = call["function"] if hasattr(call, "keys") and "function" in call else call
    try:
        function = _redact(log, {**function, "arguments": json.loads(function["arguments"])})
    except (ValueError, TypeError, LookupError, RecursionError):
        function = _redact(log, function)
    return json.dumps(function, ensure_ascii=False)


def _redact(log: RolloutLog, value: Any) -> Any:
    """Return a JSON value with its texts redacted. A number that JSON cannot express becomes None."""
    if isinstance(value, str):
        if callable(log.redact):
            return str(log.redact(value))
        for pattern in log.redact or ():
            value = re.sub(pattern, _REDACTED, value)
        return value
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value).items()  # type: ignore[redundant-cast] # pyright needs it
        return {_redact(log, str(name)): _redact(log, one) for name, one in pairs}
    if isinstance(value, (list, tuple)):
        return [_redact(log, one) for one in cast("Sequence[Any]", value)]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return None if isinstance(value, float) else _redact(log, str(value))
