"""Several processes look at one file: the report is what one of them alone would give, whatever happens to them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_datasets_parts import ANY, FILES, checked, line

from bedrock_rft.datasets import Report, validate
from bedrock_rft.datasets import _beside as beside
from bedrock_rft.datasets import _scan as scan
from bedrock_rft.datasets import _shared as shared
from bedrock_rft.datasets._alike import Alike
from bedrock_rft.datasets._stretch import Stretch, looked
from bedrock_rft.errors import ConfigurationError, DatasetError

RECORDS = b"".join(line(number % 150) + b"\n" for number in range(200))
MANY = RECORDS.replace(b'"5"', b"5").replace(b'"content": "What is 90?"', b'"content": null')


def blank(**fields: Any) -> bytes:
    return line(0, messages=[{"role": "user", "content": " "}], **fields)


def answered(value: Any) -> bytes:
    return line(0, reference_answer=value)


@pytest.fixture(autouse=True)
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some records each, so that a small file has many."""
    monkeypatch.setattr(beside, "_STRETCH", 400)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The processes that were started; each has ended when a test ends."""
    processes: list[Any] = []

    class Known(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.environment = kwargs["env"]
            super().__init__(*args, **kwargs)
            processes.append(self)

    monkeypatch.setattr("bedrock_rft.datasets._beside.subprocess.Popen", Known)
    yield processes
    for process in processes:
        assert process.returncode is not None
        assert process.stdin.closed
        assert process.stdout.closed


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "of train.jsonl"
    path.write_bytes(MANY)
    return path


def alone(path: Path) -> Report:
    return validate(path, rules=ANY, limit=3, processes=0)


def together(path: Path, count: int = 2) -> Report | None:
    return shared.shared(path, rules=ANY, limit=3, processes=count)


class InMemory(BytesIO):
    """A file that is read in steps of a few bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or -1, 37))


@settings(max_examples=150)
@given(content=FILES, size=st.integers(1, 500), long=st.sampled_from([60, 1 << 20]))
@example(content=b"\n".join([line(0)] * 3), size=len(line(0)) + 1, long=1 << 20)
@example(content=b"\n".join([line(0)] * 3), size=len(line(0)), long=1 << 20)
@example(content=line(1, id=1) + b"\n" + blank(id=2) + b"\n", size=len(line(1, id=1)) + 1, long=1 << 20)
@example(content=b"\n".join(map(answered, [1, 1.5, "s"])), size=1, long=1 << 20)
@example(content=b"\n" * 3 + line(0) + b"\n\n", size=1, long=1 << 20)
def test_stretches_add_up(content: bytes, size: int, long: int) -> None:
    alike = Alike()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bedrock_rft.datasets._cut.LONGEST_LINE", long)
        whole = checked(content)
        with scan.Scan("data.jsonl", rules=ANY, limit=3) as one:
            one.pass_by(content)
            records = 0
            for start in range(0, len(content), size):
                stretch = Stretch(start, min(start + size, len(content)), compare=True)
                parts = looked(InMemory(content), stretch, one.bounds, alike)
                if parts is None:
                    assert max(map(len, content.split(b"\n"))) > long
                    return
                if start and parts and not records and b"[" in content:
                    return  # only who knows of no record before can tell of a JSON array
                for part in parts:
                    if part.stop:
                        assert start == 0
                        return
                    one.add(part)
                    records += part.records
            added = one.finish()
    assert added == whole
    assert list(added.extra_fields) == list(whole.extra_fields)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_report_is_that_of_one(file: Path, started: list[Any], count: int) -> None:
    report = together(file, count)
    assert report is not None
    assert report == alone(file)
    assert report.counts["duplicate-prompt"] == report.duplicate_prompts == 50  # whichever process had them
    assert report.counts["reference-types"] == 1
    assert len(report.errors) == len([problem for problem in alone(file).errors if problem.line == 91])
    assert len(started) == count


def test_a_path_is_found_wherever_it_is(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    there = tmp_path / "-- näch\u00a0ste"
    there.mkdir()
    odd = (there / "--").with_suffix(".jsonl")
    odd.write_bytes(MANY)
    (tmp_path / "--").write_bytes(MANY)
    for path in (Path(file.name), odd.relative_to(tmp_path), Path("--")):
        assert together(path) == alone(path) is not None
    assert len(started) == 6


def test_they_know_nothing_of_the_environment(file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of nobody")
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    assert together(file) is not None
    seeds = {process.environment.pop("PYTHONHASHSEED") for process in started}
    assert len(seeds) == 1
    assert all(set(process.environment) <= set(beside._NEEDED) for process in started)


@pytest.mark.parametrize(
    "code",
    [
        "raise SystemExit",
        "print('what?')",
        "import pickle, sys; pickle.dump((1, 2, 3, 4), sys.stdout.buffer)",
        """if True:
            import os, pickle, sys
            s, told = os.stat(sys.argv[1]), sys.stdout.buffer
            pickle.dump((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns), told)
            pickle.dump(None, told)
        """,
    ],
    ids=["it ends", "it talks nonsense", "it has another file", "it cannot"],
)
def test_whatever_happens_to_them_the_report_is_there(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    monkeypatch.setattr(beside, "_START", code)
    assert together(file) is None
    assert validate(file, rules=ANY, limit=3, processes=2) == alone(file)
    assert len(started) == 4


def test_one_that_says_nothing_is_not_waited_for_for_ever(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_START", "import time; time.sleep(600)")
    monkeypatch.setattr(beside, "_PATIENCE", 0.05)
    assert together(file) is None
    assert len(started) == 2


def test_where_no_process_starts_the_report_is_there(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # which is none
    assert together(file) is None
    assert validate(file, rules=ANY, limit=3, processes=2) == alone(file)


def test_a_file_that_changes_meanwhile_is_not_theirs(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = shared._take

    def written(*args: Any, wait: bool) -> None:
        take(*args, wait=wait)
        if wait:  # they are done
            with file.open("ab") as more:
                more.write(line(7) + b"\n")

    monkeypatch.setattr(shared, "_take", written)
    assert together(file) is None
    assert len(started) == 2


def test_an_interruption_ends_them(file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shared, "_take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together(file)
    assert len(started) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\n\n", b"\xef\xbb\xbf" + MANY, b"\x1f\x8b" + MANY, b"[" + MANY + b"]", b"\n[" + MANY + b"]",
        b"\n" * (1 << 17) + MANY, b"\n" * (1 << 17) + b"[" + MANY, MANY.rstrip(b"\n"),
    ],
    ids=[
        "empty", "blank", "bom", "gzip", "array", "array later", "blank for long", "blank before an array",
        "no line feed at the end",
    ],
)  # fmt: skip
def test_files_that_are_something_else_are_told_as_before(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content)
    assert validate(path, rules=ANY, limit=3, processes=1) == alone(path)


def test_they_start_where_it_is_worth_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def noted(_path: Path, _opened: object, _bounds: object, count: int) -> Any:
        asked.append(count)
        raise beside.Alone

    monkeypatch.setattr(shared, "Beside", noted)
    monkeypatch.setattr(shared, "available", lambda: 3)
    expected = alone(file)
    assert validate(file, rules=ANY, limit=3) == expected
    assert asked == []  # it is small
    monkeypatch.setattr("bedrock_rft.datasets._validate._LARGE", len(MANY))
    assert validate(file, rules=ANY, limit=3) == expected
    assert validate(file.read_bytes(), rules=ANY, limit=3).counts == expected.counts
    long = tmp_path / "long.jsonl"
    long.write_bytes((line(1, note="x" * 10_000) + b"\n") * 20)
    validate(long, rules=ANY)
    assert asked == [3]
    validate(long, rules=ANY, processes=5)
    assert asked == [3, 5]
    monkeypatch.setattr(shared, "available", lambda: 0)
    assert validate(file, rules=ANY, limit=3) == expected
    assert asked == [3, 5]


def test_who_can_help(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = set(range(64))

    def affinity(_: int) -> set[int]:
        return cores

    monkeypatch.setattr(os, "sched_getaffinity", affinity, raising=False)
    assert beside.available() == 4
    cores = {0}
    assert beside.available() == 0
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert beside.available() == 2


def test_a_program_that_brings_its_interpreter_is_not_started_again(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "frozen", True, raising=False)
        assert together(file) is None
    for executable in ("/opt/app/trainer", "", None):
        monkeypatch.setattr(sys, "executable", executable)
        assert together(file) is None
        assert validate(file, rules=ANY, limit=3, processes=2) == alone(file)
    assert started == []
    for executable in ("/usr/bin/python3.14t", "/opt/pypy3"):
        monkeypatch.setattr(sys, "executable", executable)
        assert beside.startable()


def test_modules_are_those_of_this_process(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "data"
    there.mkdir()
    for name in ("pickle", "typing", "re", "bedrock_rft"):
        (there / f"{name}.py").write_text(f"open({str(there / 'run')!r}, 'w')")
    monkeypatch.chdir(there)
    monkeypatch.setattr(sys, "path", ["", "data", 5, *sys.path, str(there)])
    assert together(file) is not None
    assert not (there / "run").exists()
    assert len(started) == 2


def test_nothing_is_written_beside_the_modules(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "cache"))
    assert together(file) is not None
    assert not (tmp_path / "cache").exists()
    assert all("pycache_prefix=" in " ".join(process.args) for process in started)


@pytest.mark.skipif(not Path("/proc/version").is_file(), reason="only Linux has such files")
def test_a_file_whose_size_is_not_told_is_read_all_the_same() -> None:
    path = Path("/proc/version")
    assert validate(path, rules=ANY, processes=1) == validate(path, rules=ANY, processes=0)
    assert validate(path, rules=ANY, processes=1).records == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows forks nothing")
def test_a_fork_that_holds_a_pipe_holds_nobody_up(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside, "_START", "import os, time; os.fork() or time.sleep(1); os.waitpid(-1, 0)")
    monkeypatch.setattr(beside, "_PATIENCE", 0.05)
    monkeypatch.setattr(beside, "_PARTING", 0.05)
    assert together(file, 1) is None
    [left] = [thread for thread in threading.enumerate() if thread.name == "bedrock-rft-stretches"]
    left.join(20)  # until the fork ends
    assert not left.is_alive()


def test_where_no_thread_starts_the_report_is_there(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    assert together(file) is None
    assert len(started) == 1


def test_there_are_no_more_of_them_than_there_is_to_do(file: Path, started: list[Any]) -> None:
    file.write_bytes(line(1))
    assert together(file, 50) == alone(file)
    assert len(started) == 1


def test_the_others_do_not_run_ahead_of_a_slow_one(
    file: Path, started: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "_WINDOW", 1)  # each waits for each
    assert together(file, 3) == alone(file)
    assert len(started) == 3


@pytest.mark.parametrize("processes", [-1, 1.5, "2", True])
def test_numbers_that_are_none(file: Path, processes: Any) -> None:
    with pytest.raises(ConfigurationError, match="processes"):
        validate(file, processes=processes)


def test_a_file_that_cannot_be_read_is_told_as_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(MANY)
    opened: list[Path] = []

    def gone(self: Path, *_: Any, **__: Any) -> IO[bytes]:
        opened.append(self)
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", gone)
    with pytest.raises(DatasetError, match="cannot be read"):
        validate(path, rules=ANY, processes=2)
    assert len(opened) == 2
