"""Uploads are checked in the pass that computes their hash, and can reuse a file of the service."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft import AsyncClient, Client, ConfigurationError, DatasetError
from bedrock_rft._transport.multipart import Upload
from bedrock_rft.datasets import Limits, validate
from bedrock_rft.datasets._source import Source, open_source
from bedrock_rft.local import LocalService


def content(count: int = 100, **fields: Any) -> bytes:
    rows = (
        {"messages": [{"role": "user", "content": f"What is {n}?"}], "reference_answer": "x", **fields}
        for n in range(count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def service() -> Iterator[LocalService]:
    with LocalService() as service:
        yield service


@pytest.fixture
def client(service: LocalService) -> Iterator[Client]:
    with Client(**service.client_options(auth="aws")) as client:
        yield client


def test_one_pass_checks_and_hashes() -> None:
    opened = 0
    inner = open_source(content())

    def counting_open() -> Any:
        nonlocal opened
        opened += 1
        return inner.open()

    sent = Upload(Source("train.jsonl", counting_open, inner.close), limits=Limits())
    assert opened == 1
    assert sent.checked is not None
    assert sent.checked.ok
    assert sent.content_sha256 == hashlib.sha256(content()).hexdigest() == validate(content()).sha256
    assert hashlib.sha256(b"".join(sent.chunks())).hexdigest() == sent.sha256
    unchecked = Upload(inner)
    assert unchecked.checked is None
    assert (unchecked.size, unchecked.content_sha256) == (sent.size, sent.content_sha256)


def test_invalid_data_is_not_sent(client: Client) -> None:
    bad = content() + b'{"messages": [{"role": "bot", "content": null}]}\n'
    with pytest.raises(
        DatasetError, match=r"(?s)Line 101, messages\[0\].role: unknown role 'bot'.*validate=False"
    ) as raised:
        client.files.upload(bad, filename="train.jsonl")
    error = pickle.loads(pickle.dumps(raised.value))  # noqa: S301 - our own bytes
    assert len(error.problems) == 3
    assert (error.path, error.line, error.field) == ("train.jsonl", 101, "messages[0].role")
    assert list(client.files.list()) == []
    assert client.files.upload(bad, validate=False).bytes == len(bad)


def test_a_validation_file_may_be_small(client: Client) -> None:
    with pytest.raises(DatasetError, match="at least 100"):
        client.files.upload(content(5))
    assert client.files.upload(content(5), validate=Limits(min_records=1)).bytes == len(content(5))
    with pytest.raises(ConfigurationError, match="validate is"):
        client.files.upload(content(), validate="no")  # type: ignore[arg-type]


def test_warnings_are_logged(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    client.files.upload(content(id="mine"))
    assert "data.jsonl: ok, 100 warnings; the first is: Line 1, id:" in caplog.text


def test_a_file_that_changed_between_check_and_upload_is_refused(client: Client, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(content(10_000))
    changed = content(10_000).replace(b"What is 9999?", b"What is 0000?")

    def progress(_sent: int, _total: int) -> None:
        path.write_bytes(changed)

    with pytest.raises(DatasetError, match="changed while"):
        client.files.upload(path, progress=progress)
    assert list(client.files.list()) == []


def test_reuse_finds_the_same_content(client: Client, service: LocalService, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "bedrock_rft")
    first = client.files.upload(content(), filename="a.jsonl")
    assert client.files.upload(content(), filename="a.jsonl").id != first.id  # never unless asked for
    assert f"a.jsonl was already uploaded by this client as {first.id}; reuse=True would use that" in caplog.text
    again = client.files.upload(content(), filename="a.jsonl", reuse=True)
    assert "was not sent again" in caplog.text
    ids = {file.id for file in client.files.list()}
    assert again.id in ids
    assert len(ids) == 2
    # Another name, another size and another content of the same size are other files.
    other = content().replace(b"What is 0?", b"What is 9?")
    assert client.files.upload(content(), filename="b.jsonl", reuse=True).id not in ids
    assert client.files.upload(other, filename="a.jsonl", reuse=True).id not in ids
    # A client in another process does not know the hash, and compares the content of the service's file.
    with Client(**service.client_options(auth="aws")) as other_client:
        assert other_client.files.upload(content(), filename="b.jsonl", reuse=True).id not in ids
        assert other_client.files.upload(content(), filename="a.jsonl", reuse=True).id in ids
        client.files.delete(again)
        assert other_client.files.upload(content(), filename="a.jsonl", reuse=True).id != again.id
        assert len(list(other_client.files.list())) == 3


@pytest.mark.anyio
async def test_async_uploads_check_and_reuse(service: LocalService) -> None:
    async with AsyncClient(**service.client_options(auth="api_key")) as client:
        first = await client.files.upload(content())
        assert (await client.files.upload(content(), reuse=True)).id == first.id
        with pytest.raises(DatasetError, match="at least 100"):
            await client.files.upload(content(1))
