"""Validation of training files: each kind of invalid file with its code, line and field."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import sys
import tempfile
import zipfile
from collections.abc import Callable
from functools import cache
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import BedrockRFTError, ConfigurationError, DatasetError, DatasetPermissionError
from bedrock_rft.datasets import Limits, Problem, Report, TrainingRecord, _check, convert, read, validate, write
from bedrock_rft.datasets._check import DatasetCheck

LINE = 57


def row(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": f"What is {number} plus {number}?"}],
        "reference_answer": str(2 * number),
        **fields,
    }


@cache
def encoded_row(number: int) -> bytes:
    return json.dumps(row(number)).encode()


def lines(count: int = 100) -> list[bytes]:
    return [encoded_row(number) for number in range(count)]


def joined(rows: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in rows)


def with_line(line: bytes | str) -> bytes:
    """Return 100 rows; the 57th is the given line."""
    rows = lines()
    rows[LINE - 1] = line.encode() if isinstance(line, str) else line
    return joined(rows)


def with_row(**fields: Any) -> bytes:
    return with_line(json.dumps(row(1234, **fields)))


def with_messages(*messages: Any) -> bytes:
    return with_row(messages=list(messages))


USER = {"role": "user", "content": "How?"}
GOOD = joined(lines())
DEEP = b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"
STRANGE = "a\u2028b\u2029c\u0085d\u000be\u000cf"

# id, content, the code of the error, its line, and a part of its message
REJECTED: list[tuple[str, bytes, str, int | None, str]] = [
    ("B002", b"\xef\xbb\xbf" + GOOD, "bom", 1, "byte order mark"),
    ("B003", GOOD.decode().encode("utf-16"), "utf-16", 1, "UTF-16"),
    ("B003 without mark", GOOD.decode().encode("utf-16-le"), "utf-16", 1, "UTF-16"),
    ("B005", with_line(b'{"messages": "\xc0\xaf"}'), "not-utf-8", LINE, "UTF-8"),
    ("B006", with_line(b'{"messages": "\xed\xa0\x80"}'), "not-utf-8", LINE, "UTF-8"),
    (
        "B007", with_line('{"messages": [{"role": "user", "content": "\\ud800"}]}'), "surrogate", LINE,
        "messages[0].content",
    ),
    ("B010", with_line(b'{"messages": "a\x01b"}'), "not-json", LINE, "control character"),
    ("B015", with_line(b""), "blank-line", LINE, "empty"),
    ("B015 count", with_line(b" \t\r"), "too-few", None, "99 records, at least 100"),
    ("B017", b"", "empty", None, "empty"),
    ("B018", b"\n\n\n", "no-records", None, "no records"),
    ("B020", json.dumps([row(n) for n in range(100)]).encode(), "array", 1, "one object per line"),
    ("B020 indented", json.dumps([row(n) for n in range(100)], indent=1).encode(), "array", 1, "a JSON array"),
    ("B022", with_line(lines()[0] + lines()[1]), "not-json", LINE, "extra data"),
    ("B023", with_line('{"messages": [],}'), "not-json", LINE, "trailing comma"),
    ("B024", with_line("{'messages': []}"), "not-json", LINE, "single quotes"),
    ("B026a", with_line('{"reference_answer": NaN}'), "not-json", LINE, "NaN is not JSON"),
    ("B026b", with_line('{"reference_answer": Infinity}'), "not-json", LINE, "Infinity is not JSON"),
    ("B026c", with_line('{"reference_answer": -Infinity}'), "not-json", LINE, "-Infinity is not JSON"),
    ("B028", with_line('{"messages": [], "messages": []}'), "duplicate-key", LINE, "'messages'"),
    ("B029", with_line('{"messages": [{"role": "user", "role": "user"}]}'), "duplicate-key", LINE, "'role'"),
    ("B030a", with_line("null"), "not-an-object", LINE, "null instead of an object"),
    ("B030c", with_line('"text"'), "not-an-object", LINE, "a string instead of an object"),
    ("B030d", with_line("[]"), "not-an-object", LINE, "a list instead of an object"),
    ("B030e", with_line("{}"), "messages-missing", LINE, "messages: missing"),
    ("B031", with_line(DEEP), "not-json", LINE, "nested too deeply"),
    ("B033", with_line(b'{"messages": ' + b"1" * 10_000 + b"}"), "not-json", LINE, "more digits"),
    ("B030f", with_line('{"prompt": "a"}'), "messages-missing", LINE, 'Add "messages"'),
    ("B030g", with_line('{"prompt": [{"role": "user"}]}'), "messages-missing", LINE, "Rename 'prompt', which holds"),
    ("B030h", with_line('{"prompt": "a", "completion": "b"}'), "messages-missing", LINE, "datasets.convert reads this"),
    ("B041", with_row(messages=None), "messages", LINE, "messages: null"),
    ("B042", with_row(messages={}), "messages", LINE, "messages: an object, expected a list"),
    ("B043", with_row(messages=[]), "messages", LINE, "empty"),
    ("B045", with_messages({"content": "a"}, USER), "role-missing", LINE, "messages[0].role"),
    ("B046a", with_messages({"role": "bot", "content": "a"}, USER), "role", LINE, "'bot'"),
    ("B046b", with_messages({"role": "User", "content": "a"}), "role", LINE, "'user' may be meant"),
    ("B046d", with_messages({"role": "human", "content": "a"}), "role", LINE, "system, user or assistant"),
    ("B046e", with_messages({"role": "", "content": "a"}), "role", LINE, "''"),
    ("B046f", with_messages({"role": None, "content": "a"}), "role", LINE, "null, expected a string"),
    ("B046 list", with_messages({"role": [], "content": "a"}), "role", LINE, "a list, expected a string"),
    ("B047", with_messages(USER, {"role": "tool", "content": "a"}), "role", LINE, "messages[1].role"),
    ("B048", with_messages({"role": "user"}), "content-missing", LINE, "messages[0].content"),
    ("B049", with_messages({"role": "user", "content": None}), "content", LINE, "messages[0].content: null"),
    ("B052", with_messages({"role": "user", "content": 7}), "content", LINE, "a number"),
    ("B053 image", with_messages({"role": "user", "content": [{"type": "image_url"}]}), "content-part", LINE, "[0]"),
    ("B053 none", with_messages({"role": "user", "content": []}), "content", LINE, "empty"),
    ("a message that is not an object", with_messages(USER, "hello"), "message", LINE, "messages[1]: a string instead"),
    ("B056", with_messages({"role": "system", "content": "a"}), "no-user", LINE, "no message has the role 'user'"),
    ("B059", with_line('{"mesages": []}'), "messages-missing", LINE, "Rename 'mesages' to 'messages'"),
    ("B072", joined(lines(20_001)), "too-many", None, "20,001 records, at most 20,000"),
    ("B082", gzip.compress(GOOD), "gzip", 1, "Decompress it first"),
    ("B085", b"PAR1" + GOOD, "parquet", 1, "Parquet"),
    ("too few", joined(lines(99)), "too-few", None, "99 records, at least 100"),
]  # fmt: skip

# id, content, the code of a warning if there is one, its line
ACCEPTED: list[tuple[str, bytes, str | None, int | None]] = [
    ("B001", GOOD, None, None),
    ("B009", with_messages({"role": "user", "content": "a\0b"}), "nul", LINE),
    ("B011", b"".join(line + b"\r\n" for line in lines()), None, None),
    (
        "B013",
        with_line(json.dumps(row(1, messages=[{"role": "user", "content": STRANGE}]), ensure_ascii=False)), None, None,
    ),
    ("B014", GOOD.removesuffix(b"\n"), None, None),
    ("empty lines at the end", GOOD + b"\n\n \n", None, None),
    ("B051", with_messages({"role": "user", "content": " \n"}), "blank-content", LINE),
    ("B051 empty", with_messages({"role": "user", "content": ""}), "blank-content", LINE),
    ("B053", with_messages({"role": "user", "content": [{"type": "text", "text": "How?"}]}), None, None),
    ("B055", with_messages(USER, {"role": "assistant", "content": "So."}), "ends-with-assistant", LINE),
    ("B057", with_messages(USER, {"role": "system", "content": "So."}), "ends-with-system", LINE),
    ("B060", with_line('{"messages": [{"role": "user", "content": "How?"}]}'), "reference-missing", LINE),
    ("B061", with_row(reference_answer=None), "reference-null", LINE),
    ("B063", with_row(id="mine"), "own-id", LINE),
    ("B064", with_row(difficulty=3, tags=["a"], more={"a": 1.5}), None, None),
    (
        "B065",
        with_row(messages=[{"role": "user", "content": "Say: the blue whale"}], reference_answer="the blue whale"),
        "answer-in-prompt", LINE,
    ),
    ("B073", joined(lines()[:1] * 100), "duplicate-prompt", 2),
    ("B108 key", with_row(note="AKIAIOSFODNN7EXAMPLE"), "secret", LINE),
    ("B108 private", with_row(note="-----BEGIN RSA PRIVATE KEY-----\nabc"), "secret", LINE),
    ("a type that changes", with_row(reference_answer={"text": "1"}), "reference-types", LINE),
    ("infinity", with_line('{"messages": [{"role": "user", "content": "?"}], "reference_answer": 1e999}'), "too-large",
     LINE),
    ("infinity inside", with_row(more={"a": [1]}).replace(b"[1]", b"[-1e999]"), "too-large", LINE),
    ("a long prompt", with_messages({"role": "user", "content": "word " * 30_000}), "long-prompt", LINE),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "code", "line", "message"), [r[1:] for r in REJECTED], ids=[r[0] for r in REJECTED]
)
def test_invalid_files_are_rejected(content: bytes, code: str, line: int | None, message: str) -> None:
    report = validate(content)
    assert not report.ok
    found = [problem for problem in report.errors if problem.code == code]
    assert [problem.line for problem in found] == [line]
    assert message in str(found[0])
    assert found[0].remedy
    with pytest.raises(DatasetError) as raised:
        report.raise_for_errors()
    assert str(found[0]) in raised.value.problems
    # Lines come before the file as a whole.
    named = next((problem for problem in report.errors if problem.line is not None), report.errors[0])
    assert str(named) in str(raised.value)
    assert (raised.value.line, raised.value.column, raised.value.field) == (named.line, named.column, named.field)


@pytest.mark.parametrize(("content", "code", "line"), [r[1:] for r in ACCEPTED], ids=[r[0] for r in ACCEPTED])
def test_valid_files_are_accepted_perhaps_with_a_warning(content: bytes, code: str | None, line: int | None) -> None:
    report = validate(content)
    assert report.raise_for_errors() is report
    assert report.records == report.valid == content.strip().count(b"\n") + 1
    assert {problem.code for problem in report.warnings} - {"reference-types"} == ({code} if code else set()) - {
        "reference-types"
    }
    if code:
        found = next(problem for problem in report.warnings if problem.code == code)
        assert found.line == line
        assert "AKIA" not in str(found)
        assert "BEGIN" not in str(found)


def test_the_largest_number_of_records_is_accepted_with_a_warning() -> None:  # B071
    # Not a case of the test above, because each worker would encode the records when it collects the tests.
    report = validate(joined(lines(20_000)))
    assert report.raise_for_errors() is report
    assert report.records == report.valid == 20_000
    assert [problem.code for problem in report.warnings] == ["many"]


def test_zip_archives_are_errors(tmp_path: Path) -> None:  # B083
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        archive.writestr("train.jsonl", GOOD)
    assert [problem.code for problem in validate(tmp_path / "train.zip").errors] == ["zip"]


def test_a_huge_line_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # B032
    assert _check._MAX_LINE_SIZE == 32 << 20
    monkeypatch.setattr(_check, "_MAX_LINE_SIZE", 1 << 20)
    huge = with_messages({"role": "user", "content": "x" * (1 << 20)})
    path = tmp_path / "huge.jsonl"
    path.write_bytes(huge)
    report = validate(path)
    assert [(problem.code, problem.line) for problem in report.errors] == [("line-too-long", LINE)]
    assert (report.records, report.valid, report.size) == (100, 99, len(huge))


def test_a_huge_last_line_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_check, "_MAX_LINE_SIZE", 1 << 20)
    report = validate(BytesIO(GOOD + b"x" * (3 << 20)))
    assert [(problem.code, problem.line) for problem in report.errors] == [("line-too-long", 101)]


def test_a_syntax_error_has_its_column() -> None:  # B023
    [found] = validate(with_line('{"messages": [],}')).errors
    assert (found.line, found.column, found.field) == (LINE, 17, None)
    assert str(found).startswith("Line 57, column 17: not JSON: a trailing comma. ")


def test_paths_that_are_not_files_raise(tmp_path: Path) -> None:  # B081, B087, B091
    with pytest.raises(DatasetError, match="is a directory"):
        validate(tmp_path)
    with pytest.raises(DatasetError, match=r"nowhere\.jsonl cannot be read"):
        validate(tmp_path / "nowhere.jsonl")
    with pytest.raises(DatasetError, match="is not a valid path"):
        validate("train\0.jsonl")
    with pytest.raises(ConfigurationError, match="empty"):
        validate("")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither")
def test_links_are_followed_and_pipes_devices_and_protected_files_raise(
    tmp_path: Path,
) -> None:  # B086, B087, B089, B090, B091
    path, link = tmp_path / "train.jsonl", tmp_path / "link"
    path.write_bytes(GOOD)
    link.symlink_to(path)
    assert validate(link).ok
    path.chmod(0)
    if os.geteuid():  # root may read anything
        with pytest.raises(DatasetError, match=r"link cannot be read"):
            validate(link)
        with pytest.raises(PermissionError, match=r"link cannot be read"):
            validate(link)
    path.unlink()
    with pytest.raises(DatasetError, match="symbolic link to nothing"):
        validate(link)
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DatasetError, match="a pipe or a device"):
            validate(place)


def test_denied_access_raises_a_permission_error(  # B091
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    refused: list[Callable[[], object]] = [
        lambda: validate(path), lambda: list(read(path)), lambda: list(convert(path)), lambda: write(path, [row(1)]),
    ]  # fmt: skip
    for access in refused:
        with pytest.raises(PermissionError, match=r"train\.jsonl cannot be (read|written): Perm") as raised:
            access()
        assert isinstance(raised.value, DatasetPermissionError)
        assert isinstance(raised.value, DatasetError)
        assert raised.value.errno == 13
        assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301 - ours


def test_control_characters_are_escaped_in_the_report(tmp_path: Path) -> None:  # B093, B094
    content = {"messages": [{"role": "\x1b[31mbot", "content": "a"}]}
    path = tmp_path / ("n" * 240 + ".jsonl")
    path.write_bytes(with_line(json.dumps(content)))
    report = validate(path)
    assert "\x1b" not in str(report)
    assert "\\x1b[31mbot" in str(report)


def test_markup_in_the_data_is_escaped_in_the_report() -> None:
    content = with_line('{"messages": [{"role": "<script>alert(1)</script>", "content": "a"}], "<b>x</b>": 1}')
    page = validate(content)._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_validate_accepts_paths_bytes_files_and_records(tmp_path: Path) -> None:  # B104, B106, B107
    path = tmp_path / "train.jsonl"
    path.write_bytes(GOOD)
    with path.open("rb") as file:
        every: list[Any] = [path, str(path), GOOD, bytearray(GOOD), file, [row(n) for n in range(100)]]
        for data in (*every, (TrainingRecord(**row(n)) for n in range(100))):
            report = validate(data)
            assert report.ok
            assert report.records == 100
        file.seek(len(lines()[0]) + 1)
        assert validate(file).records == 99
    nothing: list[Any] = [None, 7, {"a": 1}, StringIO("{}")]
    for given in nothing:
        with pytest.raises(ConfigurationError):
            validate(given)


def test_records_that_json_cannot_represent_are_reported_by_line() -> None:
    records: list[Any] = [row(n) for n in range(100)]
    for place, value in ((10, float("nan")), (20, "\ud800"), (30, object()), (40, 10**5000)):
        records[place] = row(place, reference_answer=value)
    records[50] = 7
    report = validate(records)
    assert [problem.line for problem in report.errors] == [11, 21, 31, 41, 51]
    assert (report.records, report.valid) == (100, 95)


def test_a_file_like_the_example_of_aws_has_no_problems() -> None:
    question = 'How many clips are {n} and {n}? Let\'s think step by step and output the final answer after "####".'
    rows = [
        {
            "messages": [{"role": "user", "content": question.format(n=n)}],
            "reference_answer": f"She sold {n}+{n} = <<{n}+{n}={2 * n}>>{2 * n} clips.\n#### {2 * n}",
            "ground_truth": str(2 * n),
        }
        for n in range(300)
    ]
    report = validate(rows).raise_for_errors()
    assert (report.records, report.valid, report.warnings) == (300, 300, ())
    assert report.extra_fields == {"ground_truth": 300}
    assert report.reference_types == {"string": 300}
    assert report.roles == {"user": 300}


def test_statistics_describe_the_records() -> None:
    rows = [row(n, reference_answer=n, level="a") for n in range(60)] + [
        {"messages": [{"role": "system", "content": "s" * n, "name": "x"}, USER], "reference_answer": "x"}
        for n in range(1, 61)
    ]
    report = validate(rows)
    assert report.roles == {"user": 120, "system": 60}
    assert report.reference_types == {"number": 60, "string": 60}
    assert report.extra_fields == {"level": 60, "messages[].name": 60}
    lengths = sorted([len(f"What is {n} plus {n}?") for n in range(60)] + [n + 4 for n in range(1, 61)])
    found = report.prompt_lengths
    assert (found.least, found.median, found.p95, found.greatest) == (
        lengths[0],
        lengths[59],
        lengths[113],
        lengths[-1],
    )
    assert found.mean == round(sum(lengths) / 120, 1)
    assert report.duplicate_prompts == 0
    [changes] = [problem for problem in report.warnings if problem.code == "reference-types"]
    assert "number on 60 (from line 1), string on 60 (from line 61)" in changes.summary


def test_records_with_equal_prompts_are_duplicates() -> None:
    rows = [row(n % 90, level=n) for n in range(100)]
    report = validate(rows)
    assert (report.duplicate_prompts, report.compared, report.duplicate_share) == (10, 100, 0.1)
    assert [(p.line, "line 1" in p.summary) for p in report.warnings][:2] == [(91, True), (92, False)]


def test_all_problems_are_counted_and_the_first_are_kept() -> None:
    report = validate(b'{"messages": 1}\n' * 500 + b"null\n" + GOOD, limit=5)
    assert report.counts == {"messages": 500, "not-an-object": 1}
    assert [problem.line for problem in report.errors] == [1, 2, 3, 4, 5, 501]
    assert (report.records, report.valid) == (601, 100)
    assert "… and 497 more like this" in str(report)
    assert report.verdict == "501 ERRORS"


def test_errors_and_warnings_of_a_file_are_separate() -> None:
    rows = lines(300)
    rows[9], rows[199] = b"{", json.dumps(row(1, id=3, reference_answer=None)).encode()
    rows[10] = b'{"messages": [{"role": "user", "content": "a"}]}'
    report = validate(joined(rows))
    assert [(p.severity, p.line) for p in report.errors] == [("error", 10)]
    assert {(p.code, p.line) for p in report.warnings} == {
        ("own-id", 200), ("duplicate-prompt", 200), ("reference-missing", 11), ("reference-null", 200),
    }  # fmt: skip
    assert report.problems == report.errors + report.warnings


def test_reports_fit_a_terminal_and_survive_pickling() -> None:
    for content in [content for _, content, *_ in REJECTED] + [content for _, content, *_ in ACCEPTED]:
        report = validate(content)
        assert all(len(line) <= 80 for line in str(report).splitlines())
        again: Report = pickle.loads(pickle.dumps(report))  # noqa: S301 - ours
        assert again == report
        assert "<table " in report._repr_html_()


def test_chunks_may_end_anywhere() -> None:
    content = with_line("null") + "ü".encode() * 3
    whole = validate(content)
    for size in (1, 7, 4096):
        check = DatasetCheck("data.jsonl")
        for start in range(0, len(content), size):
            check.feed(content[start : start + size])
        assert check.finish() == whole


@pytest.mark.parametrize("make", [
    lambda: Limits(min_records=-1), lambda: Limits(min_records=10, max_records=5), lambda: Limits(min_records=True),
    lambda: validate(GOOD, limit=0), lambda: validate(GOOD, limit="a"),  # type: ignore[arg-type]
])  # fmt: skip
def test_invalid_settings_raise(make: Callable[[], object]) -> None:
    with pytest.raises(ConfigurationError):
        make()


def test_limits_replace_those_of_the_service() -> None:
    few = joined(lines(3))
    assert not validate(few).ok
    assert validate(few, limits=Limits(min_records=1)).ok
    assert validate(few, limits=Limits(min_records=1, warn_prompt_chars=5)).counts == {"long-prompt": 3}


def test_a_problem_is_printed_with_its_place_summary_and_remedy() -> None:
    problem = Problem("error", "role", "unknown role 'bot'", "Use user", 57, None, "messages[0].role")
    assert str(problem) == "Line 57, messages[0].role: unknown role 'bot'. Use user."


def test_an_unknown_home_directory_raises_an_error_of_the_package() -> None:
    with pytest.raises(BedrockRFTError):
        validate("~nobody-has-this-name/train.jsonl")


def test_a_turn_beside_a_reference_answer_is_removed_as_the_remedy_says() -> None:
    turns = [USER, {"role": "assistant", "content": "So."}]
    both = {"messages": turns, "reference_answer": "42"}
    (problem,) = [one for one in validate([both], limits=Limits(min_records=1)).warnings if one.line == 1]
    assert problem.code == "ends-with-assistant"
    assert problem.remedy == "Remove the message: datasets.convert with reference_answer='reference_answer' does"
    (row,) = convert([both], reference_answer="reference_answer")
    assert (row["messages"], row["reference_answer"]) == ([USER], "42")
