"""Recorded rollouts are read lazily, in the order of time, from folders, files and S3."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
import warnings
import zlib
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from time import process_time
from typing import Any

import pytest
from botocore.exceptions import ReadTimeoutError
from support.moto_server import Aws
from support.rollout_files import write_rollouts

from bedrock_rft import rollouts
from bedrock_rft.errors import APIConnectionError, BedrockRFTWarning, ConfigurationError, NotFoundError
from bedrock_rft.rewards._batch.recorder import RolloutRecorder
from bedrock_rft.rollouts import _loading, _record

STEPS, ROLLOUTS = 12, 96  # two hours, of which the first has six steps


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("recorded")
    return folder, write_rollouts(folder, steps=STEPS, groups=2, samples=4)


@pytest.fixture
def bucket(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", aws.url)
    client = aws.client("s3")
    client.create_bucket(Bucket="recordings", CreateBucketConfiguration={"LocationConstraint": aws.region})
    return client


def upload(client: Any, folder: Path, prefix: str) -> None:
    for path in folder.rglob("*.jsonl.gz"):
        key = f"{prefix}{path.relative_to(folder).as_posix()}"
        client.put_object(Bucket="recordings", Key=key, Body=path.read_bytes())


def test_records_come_in_the_order_of_time_with_every_key(recorded: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, written = recorded
    read = [record.to_dict() for record in rollouts.read(folder)]
    assert read == written
    assert read == [record.to_dict() for record in rollouts.read(str(folder))]


def test_the_order_within_an_hour_does_not_depend_on_names_or_small_delays(tmp_path: Path) -> None:
    times = [f"2026-11-28T14:00:{second:02}.000000Z" for second in range(30)]
    for number, time in enumerate(times):
        write(tmp_path, f"{(number * 7) % 30:02}", [line(time, rollout_id=str(number))])
    assert [record.time for record in rollouts.read(tmp_path)] == times


@pytest.mark.parametrize(
    ("since", "until", "count"),
    [
        ("2026-11-28T15:00", None, 48),
        (datetime(2026, 11, 28, 15, tzinfo=timezone.utc), None, 48),
        (None, 1795878000, 48),
        ("2026-11-28T16:00:00+01:00", "2026-11-28T15:10:00Z", 8),
        ("2026-11-29", None, 0),
    ],
)
def test_a_period_selects_records(
    recorded: tuple[Path, list[dict[str, Any]]], since: Any, until: Any, count: int
) -> None:
    assert len([*rollouts.read(recorded[0], since=since, until=until)]) == count


def test_files_of_other_hours_and_functions_are_not_opened(tmp_path: Path) -> None:
    write_rollouts(tmp_path, steps=7, groups=1, samples=1)
    other = tmp_path / "function=other" / "date=2026-11-28" / "hour=15"
    other.mkdir(parents=True)
    for path in (*tmp_path.rglob("hour=14/*"), other / "x.jsonl.gz"):
        path.write_bytes(b"not opened")
    found = rollouts.read(tmp_path, since="2026-11-28T15:00", function="math-reward")
    assert len([*found]) == 1
    assert not found.skipped


@pytest.mark.parametrize("part", ["function=math-reward", "function=math-reward/date=2026-11-28/hour=14"])
def test_a_part_of_a_recording_is_a_location_too(recorded: tuple[Path, list[dict[str, Any]]], part: str) -> None:
    read = [*rollouts.read(recorded[0] / part, until="2026-11-28T14:10")]
    assert [record.to_dict() for record in read] == recorded[1][:8]


def test_one_file_is_a_location_compressed_or_not(recorded: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    path = next(recorded[0].rglob("*.jsonl.gz"))
    plain = tmp_path / "some.jsonl"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    assert [*rollouts.read(path)] == [*rollouts.read(plain)]
    assert len([*rollouts.read(tmp_path)]) == 8


def test_s3_is_read_like_a_folder(recorded: tuple[Path, list[dict[str, Any]]], bucket: Any) -> None:
    upload(bucket, recorded[0], "some/prefix/")
    assert [record.to_dict() for record in rollouts.read("s3://recordings/some/prefix")] == recorded[1]
    found = rollouts.read("s3://recordings/some/prefix/", since="2026-11-28T15:00", client=bucket)
    assert len([*found]) == 48
    assert not [*rollouts.read("s3://recordings/some/pre")]
    with pytest.raises(NotFoundError, match="There is no bucket 'nothing-here'"):
        next(iter(rollouts.read("s3://nothing-here/x")))


class Flaky:
    """S3 with two objects, on two pages of a list, whose first downloads are interrupted."""

    def __init__(self, content: bytes, failures: int) -> None:
        self.content, self.failures = content, failures

    def list_objects_v2(self, *, ContinuationToken: str = "a", **_: Any) -> dict[str, Any]:  # noqa: N803 - S3's name
        found = {"Size": len(self.content), "LastModified": datetime.now(timezone.utc)}
        page = {"Contents": [{"Key": f"p/{ContinuationToken}.jsonl.gz", **found}]}
        return {**page, "NextContinuationToken": "b"} if ContinuationToken == "a" else page

    def get_object(self, **_: Any) -> dict[str, Any]:
        self.failures -= 1
        body: Any = io.BytesIO(self.content)
        if self.failures >= 0:
            body.read = self.fail
        return {"Body": body}

    @staticmethod
    def fail(_: int) -> bytes:
        raise ReadTimeoutError(endpoint_url="https://s3.example.org")


def test_an_interrupted_download_is_repeated_and_every_page_is_read() -> None:
    content = gzip.compress(line("2026-11-28T14:00:00.000000Z").encode())
    assert len([*rollouts.read("s3://b/p", client=Flaky(content, 2))]) == 2
    with pytest.raises(APIConnectionError, match=r"of p/a\.jsonl\.gz was interrupted: ReadTimeoutError"):
        next(iter(rollouts.read("s3://b/p", client=Flaky(content, 9))))


@pytest.mark.parametrize("missing", [("isal",), ("msgspec",), ("isal", "msgspec")])
def test_the_extra_fast_is_optional(
    recorded: tuple[Path, list[dict[str, Any]]], missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in missing:
        monkeypatch.setitem(sys.modules, library, None)
    for function in (_loading._fastest_zlib, _record._decoder):
        function.cache_clear()
    try:
        assert [record.to_dict() for record in rollouts.read(recorded[0])] == recorded[1]
        assert (_loading._fastest_zlib() is zlib, _record._decoder() is None) == (
            "isal" in missing,
            "msgspec" in missing,
        )
    finally:
        for function in (_loading._fastest_zlib, _record._decoder):
            function.cache_clear()


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    lines = [line("2026-11-28T14:00:00.000000Z", answer="long text " * 3000, rollout_id=str(n)) for n in range(200)]
    write(tmp_path, "large", lines)
    assert [record.rollout_id for record in rollouts.read(tmp_path)] == [str(n) for n in range(200)]


def test_damaged_lines_and_files_are_counted_and_reported(tmp_path: Path) -> None:
    time = "2026-11-28T14:00:00.000000Z"
    write(
        tmp_path,
        "a",
        [line(time), "{broken", '"text"', '{"score": 1}', f'{{"time": "{time}", "score": "high"}}', line(time)],
    )
    folder = write(tmp_path, "b", [line(time)] * 2000)
    whole = (folder / "b.jsonl.gz").read_bytes()
    (folder / "b.jsonl.gz").write_bytes(whole[: len(whole) * 3 // 4])
    (folder / "c.jsonl.gz").write_bytes(b"\x1f\x8b broken")
    found = rollouts.read(tmp_path)
    with pytest.warns(BedrockRFTWarning, match="6 lines or files of .* could not be read and were skipped"):
        read = [*found]
    assert 1000 < len(read) < 2000
    assert found.skipped == 6
    reasons = sorted(str(problem).rpartition("/")[2] for problem in found.problems)
    assert reasons[1:4] == [
        "a.jsonl.gz, line 3: not a JSON object",
        "a.jsonl.gz, line 4: not a recorded rollout: it has no time",
        "a.jsonl.gz, line 5: not a recorded rollout: it has no valid score",
    ]
    assert reasons[0].startswith("a.jsonl.gz, line 2: not JSON: ")
    assert reasons[4].startswith("b.jsonl.gz: damaged after line 1,")
    assert reasons[5].startswith("c.jsonl.gz: damaged after line 0: ")


def test_later_versions_and_unknown_keys_are_read(tmp_path: Path) -> None:
    write(tmp_path, "a", ['{"v": 9, "time": "2026-11-28T14:00:00.500000Z", "score": 1, "new": [1], "answer": "yes"}'])
    (record,) = rollouts.read(tmp_path)
    assert (record.v, record.score, record.answer, record.prompt, record.parts) == (9, 1, "yes", None, {})
    assert "new" not in record.to_dict()
    assert record.at == pytest.approx(1795874400.5)


def test_records_with_values_of_other_types_are_skipped_and_counted(tmp_path: Path) -> None:
    time = "2026-11-28T14:00:00.000000Z"
    wrong: list[dict[str, Any]] = [
        *({name: value} for name in ("function", "prompt_hash", "answer", "error") for value in ([1], {"a": 1}, 5)),
        *({name: value} for name in ("parts", "metrics") for value in (None, [1], {"a": "b"}, {"a": None})),
        *({"score": value} for value in (None, True, "1", float("nan"), float("inf"), -1e308, 10**400)),
        {"time": "yesterday"}, {"time": "2026-13-28T14:00:00Z"}, {"time": "9999-12-31T23:59:59Z"},
        {"time": "2026-11-28T14:00:00+01:00"}, {"duration": "long"}, {"fields": [1]},
        {"truncated": [1]}, {"truncated": None}, {"v": "1"},
    ]  # fmt: skip
    known = json.loads(line(time, prompt_hash="a", to_dict=1, at=2))  # keys of a later version
    write(tmp_path, "a", [json.dumps(known | each) for each in ({}, *wrong, {"reference": [1]})])
    found = rollouts.read(tmp_path)
    with pytest.warns(BedrockRFTWarning, match=f"^{len(wrong)} lines or files"):
        report = found.report(fields=["a"])
    assert (report.unreadable, report.rollouts, found.skipped) == (len(wrong), 2, len(wrong))
    assert f"{len(wrong)} lines or files that cannot be read" in str(report)
    for use in (found.difficulty, lambda: [*found.groups()], lambda: found.to_csv(tmp_path / "a.csv")):
        with pytest.warns(BedrockRFTWarning):
            assert use()
    with pytest.warns(BedrockRFTWarning):
        assert [record.to_dict()["reference"] for record in found] == [None, [1]]


@pytest.mark.parametrize("name", ["größe v2", "n" * 130, "??"])
def test_a_function_is_found_by_the_name_of_its_reward(tmp_path: Path, name: str) -> None:
    recorder = RolloutRecorder.of(tmp_path, "score", name)
    assert recorder is not None
    recorder.write([{"id": "a", "messages": []}], [{"id": "a", "aggregate_reward_score": 1.0}], ["a"], 0.1)
    assert len([*rollouts.read(tmp_path, function=name)]) == 1
    assert not [*rollouts.read(tmp_path, function="other")]


def test_following_begins_with_the_newest_hour_and_yields_new_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bedrock_rft.rollouts._read._POLL", 0.01)
    write_rollouts(tmp_path, steps=7, groups=1, samples=1)  # the last step begins the next hour
    found = rollouts.read(tmp_path, follow=True)
    records: Iterator[rollouts.Record] = iter(found)
    assert next(records).time.startswith("2026-11-28T15:03")
    for hour in (14, 15, 16):  # an invocation that began in the hour before may end late
        write(tmp_path, "new", [line(f"2026-11-28T{hour}:59:00.000000Z")], hour=hour)
        assert next(records).time == f"2026-11-28T{hour}:59:00.000000Z"
    threading.Timer(0.05, found.close).start()
    assert [*records] == []


def test_following_continues_beside_folders_that_are_no_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedrock_rft.rollouts._read._POLL", 0.01)
    write(tmp_path, "a", [line("2026-11-28T14:00:00.000000Z")])
    with rollouts.read(tmp_path, follow=True) as found:
        records = iter(found)
        assert next(records).time.startswith("2026-11-28T14")
        for place, hour in (("date=x", "zz"), ("date=2026-11-28", "99"), ("date=2026-11-28", "15")):
            folder = tmp_path / "function=f" / place / f"hour={hour}"
            folder.mkdir(parents=True)
            (folder / "b.jsonl").write_text(line("2026-11-28T15:00:00.000000Z", rollout_id=hour))
        assert {next(records).rollout_id for _ in range(3)} == {"zz", "99", "15"}
        write(tmp_path, "c", [line("2026-11-28T16:00:00.000000Z", rollout_id="16")], hour=16)
        assert next(records).rollout_id == "16"


def test_following_can_begin_at_a_time(tmp_path: Path) -> None:
    write_rollouts(tmp_path, steps=7, groups=1, samples=1)
    with rollouts.read(tmp_path, since="2026-11-28T14:30", follow=True) as found:
        records = iter(found)
        assert [next(records).time[11:16] for _ in range(4)] == ["14:33", "14:43", "14:53", "15:03"]
    assert [*records] == []


def test_a_location_or_a_time_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for missing in (tmp_path / "missing", ""):
        with pytest.raises(ConfigurationError, match="There is no folder or file"):
            rollouts.read(missing)
    with pytest.raises(ConfigurationError, match="names no bucket"):
        rollouts.read("s3://")
    for time in ("yesterday", datetime(2026, 11, 28), [1]):  # noqa: DTZ001 - refused because it is naive
        with pytest.raises(ConfigurationError, match="is not a time"):
            rollouts.read(tmp_path, since=time)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]


def test_a_folder_of_recordings_names_them(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    write(tmp_path / "a", "x", [line("2026-11-28T14:00:00.000000Z")])
    write(tmp_path / "b", "x", [line("2026-11-28T14:00:00.000000Z")])
    for follow in (False, True):
        found = rollouts.read(tmp_path, follow=follow)
        with pytest.raises(ConfigurationError, match=r"has no rollouts of its own, but its folders have: a, b\. Read"):
            next(iter(found))
    assert not [*rollouts.read(tmp_path / "c")]
    write(tmp_path, "x", [line("2026-11-28T14:00:00.000000Z")])
    assert len([*rollouts.read(tmp_path)]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_file_that_is_deleted_during_the_listing_hides_no_other(tmp_path: Path) -> None:
    for number in range(10):
        (tmp_path / f"{number}.jsonl").write_text(line("2026-11-28T14:00:00.000000Z"))
        (tmp_path / f"{number}-gone.jsonl").symlink_to(tmp_path / "missing")
    assert len([*rollouts.read(tmp_path)]) == 10


def test_a_line_without_an_end_takes_linear_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bedrock_rft.rollouts._loading._WHOLE", 16)
    monkeypatch.setattr("bedrock_rft.rollouts._loading._BLOCK", 16)
    answer = "x" * 2_000_000
    (tmp_path / "a.jsonl").write_text(line("2026-11-28T14:00:00.000000Z", answer=answer))
    began = process_time()
    (record,) = rollouts.read(tmp_path)
    assert record.answer == answer
    assert process_time() - began < 2  # copying what came before in each block takes several seconds


def test_the_memory_for_one_line_is_bounded(tmp_path: Path) -> None:
    whole = line("2026-11-28T14:00:00.000000Z")
    folder = write(tmp_path, "a", [whole, whole, "x" * (65 << 20)])
    write(tmp_path, "b", [whole])
    found = rollouts.read(tmp_path)
    with pytest.warns(BedrockRFTWarning, match="1 lines or files"):
        assert len([*found]) == 3
    (problem,) = found.problems
    assert str(problem) == f"{folder / 'a.jsonl.gz'}: not read after line 2: the next one is longer than 64 MiB"


def test_nothing_is_read_before_the_iteration(tmp_path: Path) -> None:
    found = rollouts.read(tmp_path)
    write_rollouts(tmp_path, steps=1, groups=1, samples=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len([*found]) == len([*found]) == 3
    assert repr(found).startswith("Rollouts('")


def line(time: str, **values: Any) -> str:
    return json.dumps({"v": 1, "time": time, "score": 0.5, "function": "f", **values})


def write(folder: Path, name: str, lines: list[str], *, hour: int = 14) -> Path:
    place = folder / "function=f" / "date=2026-11-28" / f"hour={hour}"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{name}.jsonl.gz").write_bytes(gzip.compress("".join(f"{one}\n" for one in lines).encode()))
    return place
