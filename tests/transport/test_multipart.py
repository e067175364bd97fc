"""An upload sends exactly the bytes that were measured, at every attempt, or raises."""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bedrock_rft import Client, ConfigurationError, DatasetError
from bedrock_rft._resources import files as _files
from bedrock_rft._transport.multipart import CHUNK, Upload
from bedrock_rft.datasets._source import open_source as source
from bedrock_rft.local import LocalService

CONTENT = b'{"messages": []}\n' * 100


def upload(data: Any, **options: Any) -> Upload:
    return Upload(source(data), **options)


def parts(sent: Upload) -> dict[str, Any]:
    """Parse the body with the standard library's parser."""
    body = b"".join(sent.chunks())
    assert len(body) == sent.length
    assert hashlib.sha256(body).hexdigest() == sent.sha256
    head = f"Content-Type: {sent.content_type}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + body)
    return {str(part.get_param("name", header="content-disposition")): part for part in message.iter_parts()}


class Row(BaseModel):
    reference_answer: str


def test_paths_bytes_and_file_objects_are_uploaded_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    with path.open("rb") as opened:
        for data in (path, str(path), CONTENT, bytearray(CONTENT), io.BytesIO(CONTENT), opened):
            sent = upload(data)
            assert b"".join(sent.content()) == CONTENT
            assert sent.size == len(CONTENT)
            assert b"".join(sent.chunks()) == b"".join(sent.chunks())
            assert sent.filename == ("train.jsonl" if data in (path, str(path), opened) else "data.jsonl")


def test_records_become_json_lines() -> None:
    sent = upload(record for record in ({"a": "ü", "n": {"x": Row(reference_answer="1")}}, Row(reference_answer="2")))
    assert (
        b"".join(sent.content()).decode()
        == '{"a": "ü", "n": {"x": {"reference_answer": "1"}}}\n{"reference_answer": "2"}\n'
    )
    sent.close()


def test_a_file_object_is_read_from_its_current_position() -> None:
    file = io.BytesIO(b"head\n" + CONTENT)
    file.seek(5)
    sent = upload(file)
    assert [b"".join(sent.content()) for _ in range(2)] == [CONTENT, CONTENT]


class Pipe(io.RawIOBase):
    """Binary data that can be read only once."""

    def __init__(self) -> None:
        self._rest = io.BytesIO(CONTENT)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._rest.readinto(buffer)


def test_data_that_can_be_read_only_once_is_copied() -> None:
    sent = upload(Pipe())
    assert [b"".join(sent.content()) for _ in range(2)] == [CONTENT, CONTENT]
    sent.close()


@given(name=st.text(min_size=1, max_size=60), content=st.binary(min_size=1, max_size=300))
def test_no_filename_or_content_can_leave_its_part(name: str, content: bytes) -> None:
    found = parts(upload(content, filename=name))
    assert found.keys() == {"purpose", "file"}
    assert found["purpose"].get_payload(decode=True) == b"fine-tune"
    assert found["file"].get_payload(decode=True).removesuffix(b"\r") == content.removesuffix(b"\r")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("", "empty"), (None, "NoneType"), (7, "int"), ({"a": 1}, "dict"), (b"", "is empty"), ([], "is empty"),
        ("/nowhere/train.jsonl", "No such file"), ([1], "Record 1 is of type int"),
        ([{}, {"x": float("nan")}], "Record 2"),
        ([{"x": object()}], "Record 1 cannot be written"), ([{"x": "\ud800"}], "Record 1 cannot be written"),
        (io.StringIO("{}"), "text mode"),
    ],
)  # fmt: skip
def test_invalid_data_raises_with_the_reason(data: Any, why: str) -> None:
    with pytest.raises((ConfigurationError, DatasetError), match=why):
        upload(data)


def test_directories_and_broken_links_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is a directory"):
        upload(tmp_path)
    link = tmp_path / "link"
    try:
        link.symlink_to(tmp_path / "gone")
    except OSError:  # Windows without the privilege for links
        return
    with pytest.raises(DatasetError, match="symbolic link to nothing"):
        upload(link)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no FIFOs")
def test_pipes_and_devices_are_refused_without_opening_them(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for place in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(DatasetError, match="a pipe or a device"):
            upload(place)


@pytest.mark.parametrize("change", ["longer", "shorter", "other", "gone"])
def test_an_upload_of_a_changed_file_stops_before_its_end(tmp_path: Path, change: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    sent = upload(path)
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes({"longer": CONTENT * 2, "shorter": CONTENT[:-5], "other": CONTENT[:-1] + b" "}[change])
    body = bytearray()
    with pytest.raises(DatasetError, match=r"changed while|cannot be read"):
        body.extend(byte for chunk in sent.chunks() for byte in chunk)
    assert len(body) < sent.length  # so the service cannot mistake it for the whole body


@pytest.mark.parametrize("auth", ["aws", "api_key"])
def test_a_deleted_file_raises_before_any_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auth: Any) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)

    class Vanishing(Upload):
        def __init__(self, *given_: Any, **named: Any) -> None:
            super().__init__(*given_, **named)
            path.unlink()

    monkeypatch.setattr(_files, "Upload", Vanishing)
    with LocalService() as service:
        options = service.client_options(auth=auth)
    with Client(**options) as client:  # the service is closed
        with pytest.raises(DatasetError, match=r"train\.jsonl cannot be read: No such file") as raised:
            client.files.upload(path, validate=False)
        assert str(path) in str(raised.value)


@pytest.mark.parametrize("auth", ["aws", "api_key"])
def test_a_changed_file_creates_no_file_on_the_service(tmp_path: Path, auth: Any) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT * 2 * (CHUNK // len(CONTENT)))

    def progress(sent: int, total: int) -> None:
        if sent == 0 or path.stat().st_size == total:
            path.write_bytes(CONTENT)

    with LocalService() as service, Client(**service.client_options(auth=auth)) as client:
        with pytest.raises(DatasetError, match="changed while"):
            client.files.upload(path, progress=progress, validate=False)
        assert list(client.files.list()) == []


def test_temporary_copies_are_removed_after_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def records() -> Iterator[dict[str, Any]]:
        yield {"a": 1}
        raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="own"):
        upload(records())
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_file_bytes_and_restarts_with_every_attempt() -> None:
    heard: list[tuple[int, int]] = []

    def progress(sent: int, total: int) -> None:
        heard.append((sent, total))

    sent = upload(CONTENT, progress=progress)
    for _ in range(2):
        done = 0
        for chunk in sent.chunks():
            done += len(chunk)
            sent.report(done)
    assert heard == [(0, len(CONTENT)), (len(CONTENT), len(CONTENT))] * 2
