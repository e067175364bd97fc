"""`RolloutLog`: the record of a rollout and its file."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import signal
import time
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from support.faulty_s3 import FaultyS3
from support.rollout_files import write_rollouts

from bedrock_rft.rewards import Rollout, RolloutLog, Score, ToolCall
from bedrock_rft.rewards._runtime import rollout_log
from bedrock_rft.rewards._runtime.rollout_log import Origin, ScoredEntry, hash_prompt, make_record

ORIGIN = Origin("f", "lambda", "r-1", datetime(2026, 11, 28, 14, 3, 22, 123456, tzinfo=timezone.utc), "7", "hash=")
KEYS = [
    "v", "time", "request_id", "function", "function_version", "source", "rollout_id", "prompt_hash", "prompt",
    "answer", "reference", "fields", "score", "parts", "metrics", "error", "duration", "package_hash", "truncated",
    "model",
]  # fmt: skip


def entry(*messages: tuple[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "id": "one",
        "messages": [{"role": role, "content": content} for role, content in messages],
        "metadata": metadata,
    }


def record(given: Any, score: Score | None = None, duration: float | None = 0.25, **settings: Any) -> dict[str, Any]:
    scored = ScoredEntry(given, score or Score(1.0, {"correct": 1.0}, {"tokens": 3.0}), duration)
    return make_record(RolloutLog("folder", **settings), ORIGIN, scored)


def test_the_record_has_every_key_and_leaves_out_what_is_not_included() -> None:
    found = record(entry(("user", "2 + 2?"), ("assistant", "4"), reference_answer="4", level="easy"))
    assert list(found) == KEYS
    assert found["time"] == "2026-11-28T14:03:22.123456Z"
    assert (found["prompt"], found["answer"], found["reference"], found["fields"]) == ("2 + 2?", "4", None, None)
    assert (found["score"], found["parts"], found["metrics"], found["duration"]) == (
        1.0, {"correct": 1.0}, {"tokens": 3.0}, 0.25,
    )  # fmt: skip


def test_the_prompt_hash_is_of_the_messages_before_the_last_answer() -> None:
    messages = [{"role": "user", "content": "2 + 2?"}]
    canonical = json.dumps(messages, sort_keys=True, separators=(",", ":")).encode()
    given = entry(("user", "2 + 2?"), ("assistant", "4"))
    given["messages"][0]["name"] = "not part of it"
    assert record(given, redact=["2"])["prompt_hash"] == hashlib.sha256(canonical).hexdigest()
    assert hash_prompt(given["messages"]) == hash_prompt(messages)


def test_several_messages_are_joined_with_their_roles() -> None:
    found = record(entry(("system", "Add."), ("user", [{"type": "text", "text": "2 + 2?"}]), ("assistant", "4")))
    assert found["prompt"] == "system: Add.\nuser: 2 + 2?"


def test_tool_calls_are_recorded_redacted_and_scored_again() -> None:
    given = entry(("user", "Weather?"), ("assistant", None), ("tool", "rain"), ("assistant", None))
    wanted = {"name": "mail", "arguments": {"to": 'abc-123\n"é"'}}
    call = {"id": "c", "type": "function", "function": {**wanted, "arguments": json.dumps(wanted["arguments"])}}
    given["messages"][1]["tool_calls"] = given["messages"][3]["tool_calls"] = [call]
    found = record(given)
    tagged = f"<tool_call>{json.dumps(wanted, ensure_ascii=False)}</tool_call>"
    assert (found["prompt"], found["answer"]) == (f"user: Weather?\nassistant: {tagged}\ntool: rain", tagged)
    assert ToolCall()(Rollout.of("?", found["answer"], reference=wanted)).value == 1
    assert "é" not in record(given, redact=['abc-123\n"é'])["answer"]
    deep = {"function": {"name": "f", "arguments": "[" * 9000}}
    for odd in ("text", [None], [{"function": {"arguments": "{broken"}}], {"a": 1}, [deep], [{"function": [1]}]):
        given["messages"][3] = {"role": "assistant", "content": "So:", "tool_calls": odd}
        assert record(given)["answer"].startswith("So:")


def _replace(text: str) -> str:
    return text.replace("abc-123", "[redacted]")


def test_redact_reaches_every_text_before_it_is_cut() -> None:
    given = entry(
        ("user", "key abc-123"), ("assistant", "abc-123" * 3),
        reference_answer={"abc-123": ["abc-123", 1]}, note="abc-123",
    )  # fmt: skip
    everything = ("prompt", "answer", "reference", "fields")
    failed = Score(0.0, error="ValueError: abc-123 in reward.py, line 3")
    for redact in ([r"abc-\d+"], _replace):
        found = record(given, failed, include=everything, redact=redact, max_chars=40)
        assert "abc-" not in json.dumps(found)
        assert found["reference"] == {"[redacted]": ["[redacted]", 1]}
        assert found["error"] == "ValueError: [redacted] in reward.py, line 3"[:40]
        assert found["truncated"] == ["error"]


def test_settings_may_be_iterators() -> None:
    given = entry(("user", "key abc-123"), ("assistant", "abc-123"))
    include, redact = (iter(one) for one in (("answer",), (r"abc-\d+",)))
    settings: dict[str, Any] = {"include": include, "redact": redact}
    found = record(given, **settings)
    assert (found["prompt"], found["answer"]) == (None, "[redacted]")


def test_texts_are_cut_and_long_fields_are_left_out() -> None:
    given = entry(("user", "u" * 50), ("assistant", "a" * 10), reference_answer="r" * 11, rows=list(range(20)))
    found = record(given, include=("prompt", "answer", "reference", "fields"), max_chars=10)
    assert (found["prompt"], found["answer"], found["reference"], found["fields"]) == (
        "u" * 10,
        "a" * 10,
        "r" * 10,
        None,
    )
    assert found["truncated"] == ["prompt", "reference", "fields"]


@pytest.mark.parametrize("given", ["text", None, {"id": 5}, {"id": "x", "messages": ["text"]}])
def test_an_entry_that_is_no_rollout_has_a_record(given: Any) -> None:
    found = record(given, Score(0.0, error="ValueError in rollout.py, line 63"), None)
    assert (found["prompt_hash"], found["duration"], found["answer"]) == (None, None, "")


def test_values_that_json_and_utf8_lack_are_replaced(tmp_path: Path) -> None:
    log = RolloutLog(str(tmp_path), include=("answer", "reference"))
    given = entry(("user", "?"), ("assistant", "half \ud83d"), reference_answer=[float("nan"), Path("x")])
    log.write(ORIGIN, [ScoredEntry(given, Score(0.5))])
    (line,) = gzip.decompress(next(tmp_path.rglob("*.gz")).read_bytes()).splitlines()
    assert json.loads(line)["answer"] == "half ?"
    assert json.loads(line)["reference"] == [None, "x"]


def test_the_file_is_partitioned_and_its_name_is_safe(tmp_path: Path) -> None:
    log, origin = RolloutLog(str(tmp_path)), replace(ORIGIN, function="../my reward", request_id="a/b")
    log.write(origin, [ScoredEntry(entry(("user", "?"), ("assistant", "!")), Score(1.0))])
    (path,) = (one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if one.is_file())
    assert path == "function=..myreward/date=2026-11-28/hour=14/ab.jsonl.gz"


@pytest.mark.skipif(os.name != "posix", reason="needs limits and permissions of POSIX")
def test_a_full_disk_leaves_nothing_and_other_users_cannot_read(tmp_path: Path) -> None:
    import resource

    log, scored = RolloutLog(str(tmp_path)), [ScoredEntry(entry(("user", "?"), ("assistant", "!")), Score(1.0))]
    before, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
        with pytest.raises(OSError, match="too large"):
            log.write(ORIGIN, scored)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    log.write(ORIGIN, scored)
    assert [path.stat().st_mode & 0o077 for path in tmp_path.rglob("*.gz")] == [0]


def test_the_sample_depends_on_the_id_alone() -> None:
    log = RolloutLog("folder", sample=0.25)
    chosen = [log.samples(f"rollout-{number}") for number in range(2000)]
    assert 400 < sum(chosen) < 600
    assert chosen == [log.samples(f"rollout-{number}") for number in range(2000)]


def test_nothing_is_written_if_no_rollout_is_sampled(tmp_path: Path) -> None:
    RolloutLog(str(tmp_path), sample=1e-9).write(ORIGIN, [ScoredEntry(entry(("user", "?")), Score(1.0))])
    assert not list(tmp_path.iterdir())


def test_the_location_has_a_bucket_and_a_prefix() -> None:
    logs = [RolloutLog(one) for one in ("s3://my-bucket/a/b/", "s3://my-bucket", "x/y")]
    assert [(log.bucket, log.prefix) for log in logs] == [("my-bucket", "a/b/"), ("my-bucket", ""), (None, "")]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"location": "s3://B/x"}, "location is 's3://B/x'"),
        ({"location": "s3://my-bucket//x"}, "location is 's3://my-bucket//x'"),
        ({"location": "s3a://my-bucket/x"}, "location is 's3a://my-bucket/x'"),
        ({"location": "S3://my-bucket/x"}, "location is 'S3://my-bucket/x'"),
        ({"location": ""}, "location is ''"),
        ({"sample": 0}, "sample is 0"),
        ({"include": ("answers",)}, "include has 'answers'"),
        ({"include": "answer"}, "include has 'answer'"),
        ({"redact": "a+"}, "must be a list"),
        ({"redact": ["("]}, "not a regular expression"),
        ({"redact": [b"a"]}, "not a regular expression"),
        ({"max_chars": 0}, "max_chars is 0"),
        ({"kms_key": "alias/x"}, "ARN of a key"),
    ],
)
def test_invalid_settings_are_rejected(settings: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        RolloutLog(**({"location": "folder"} | settings))


def test_the_files_for_other_tests_hold_the_records_that_they_return(tmp_path: Path) -> None:
    written = write_rollouts(tmp_path, steps=8, groups=3, samples=2, behaviour="errors")
    files = sorted(tmp_path.rglob("*.gz"), key=lambda path: path.parent)
    assert len(files) == 8
    assert {path.parent.name for path in files} == {"hour=14", "hour=15"}
    found = [json.loads(line) for path in files for line in gzip.decompress(path.read_bytes()).splitlines()]
    assert sorted(map(json.dumps, found)) == sorted(map(json.dumps, written))
    assert any(one["error"] for one in written)


def test_an_object_is_encrypted_with_the_given_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ACCESS_KEY_ID", "A"), ("SECRET_ACCESS_KEY", "s"), ("REGION", "us-west-2")):
        monkeypatch.setenv(f"AWS_{name}", value)
    key = "arn:aws:kms:us-west-2:123456789012:key/1234abcd"
    scored = [ScoredEntry(entry(("user", "?"), ("assistant", "!")), Score(1.0))]
    with FaultyS3() as s3:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
        rollout_log._s3_client.cache_clear()
        for kms_key in (key, None):
            RolloutLog("s3://rollouts/run", kms_key=kms_key).write(ORIGIN, scored)
            name = "x-amz-server-side-encryption"
            expected = {name: "aws:kms", f"{name}-aws-kms-key-id": key} if kms_key else {}
            assert {one: text for one, text in s3.headers.items() if one.startswith(name)} == expected
        rollout_log._s3_client.cache_clear()
    assert len(s3.objects) == 1


class _Context:
    """The context of an invocation with little time left, of which recording may take half."""

    milliseconds = 400

    def get_remaining_time_in_millis(self) -> int:
        return self.milliseconds


def test_recording_stops_for_some_minutes_after_slow_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = rollout_log._Attempts()
    monkeypatch.setattr(rollout_log, "_attempts", attempts)
    monkeypatch.setattr(rollout_log, "_SLOW", 0.1)

    def wait(text: str) -> str:
        time.sleep(60)
        return text

    slow = RolloutLog(str(tmp_path), redact=wait)
    fast = RolloutLog(str(tmp_path))
    scored = [ScoredEntry(entry(("user", "1 + 1?"), ("assistant", "2")), Score(1.0))]

    def run(*logs: RolloutLog) -> list[bool]:
        return [rollout_log.record_invocation(log, scored, _Context()) for log in logs]

    assert run(slow, slow, fast, slow, slow) == [False, False, True, False, False], "a success begins a new count"
    assert run(slow) == [False]
    assert "recording took longer than 0.2 s; recording stops for 5 minutes" in caplog.messages[-1]
    begin, lines = time.monotonic(), len(caplog.messages)
    assert run(slow, fast) == [False, False]
    assert (time.monotonic() - begin < 0.1, len(caplog.messages)) == (True, lines)
    attempts.paused_until = time.monotonic()
    assert run(fast) == [True]


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
def test_an_upload_that_cannot_be_interrupted_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's search for a host name takes 10 s and more if no server answers, and ignores signals."""

    class Unanswered:
        def put_object(self, **_: Any) -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            time.sleep(3)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])

    monkeypatch.setattr(rollout_log, "_attempts", rollout_log._Attempts())
    monkeypatch.setattr(rollout_log, "_s3_client", cache(Unanswered))
    scored = [ScoredEntry(entry(("user", "1 + 1?"), ("assistant", "2")), Score(1.0))]
    begin = time.monotonic()
    assert not rollout_log.record_invocation(RolloutLog("s3://rollouts/run"), scored, _Context())
    assert time.monotonic() - begin < 2


@pytest.mark.skipif(os.name != "posix", reason="needs signals of POSIX")
def test_the_compression_of_long_texts_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout_log, "_attempts", rollout_log._Attempts())
    given = entry(("user", "?"), ("assistant", os.urandom(1_000_000).hex()))
    scored = [ScoredEntry(given, Score(1.0))] * 12  # they take more than 1 s
    log, context = RolloutLog(str(tmp_path), max_chars=3_000_000), _Context()
    context.milliseconds = 900
    begin = time.process_time()
    assert not rollout_log.record_invocation(log, scored, context)
    assert time.process_time() - begin < 0.9
