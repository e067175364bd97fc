"""The service in a box against peers that mean harm: raw bytes on its socket, and whoever stalls."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.raw_socket import HOST, answered, asked, drip, head, key, port, said, status

from bedrock_rft.local import LocalService
from bedrock_rft.local._http import guard


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    with LocalService(largest_upload=1 << 20) as found:
        yield found


def lives(service: LocalService) -> bool:
    headers = {"Authorization": f"Bearer {key(service)}"}
    return httpx.get(f"{service.base_url}/models", headers=headers, trust_env=False, timeout=10).status_code == 200


# Who is let in


def test_it_listens_on_loopback_alone(service: LocalService) -> None:
    assert service.base_url.startswith(f"http://{HOST}:")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {HOST}:
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection((str(address), port(service)), timeout=0.5)


def test_two_servers_take_two_ports_and_two_keys(service: LocalService) -> None:
    with LocalService() as other:
        assert port(other) != port(service)
        assert key(other) != key(service)
        headers = {"Authorization": f"Bearer {key(service)}"}
        assert httpx.get(f"{other.base_url}/models", headers=headers, trust_env=False).status_code == 401


@pytest.mark.parametrize(
    "lines",
    [
        ["Host: evil.example"],
        ["X-Forwarded-Host: evil.example", "Host: 127.0.0.1"],
        ["X-Forwarded-For: 127.0.0.1"],
    ],
)
def test_a_second_host_is_no_way_in(service: LocalService, lines: list[str]) -> None:
    hosts = sum(line.startswith("Host") for line in lines)
    assert status(asked(service, head(service, *lines))) in ({400, 421} if hosts else {200})


def test_a_page_of_another_site_is_granted_nothing(service: LocalService) -> None:
    """DNS rebinding, a preflight, and what a page may send without one."""
    rebound = head(service).replace(f"{HOST}:{port(service)}".encode(), f"evil.example:{port(service)}".encode())
    assert status(asked(service, rebound)) == 421
    preflight = [
        "Origin: http://evil.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Private-Network: true",
    ]
    for admitted in (True, False):
        answer = asked(service, head(service, *preflight, request="OPTIONS /v1/files HTTP/1.1", admitted=admitted))
        assert status(answer) == 405
        assert b"access-control" not in answer.lower()
    body = b'{"model": "x"}'
    simple = ["Origin: http://evil.example", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
    sent = head(service, *simple, request="POST /v1/fine_tuning/jobs HTTP/1.1"), body
    assert status(asked(service, *sent)) == 415


@pytest.mark.parametrize(
    "method", ["TRACE /v1/models", "CONNECT evil.example:443", "OPTIONS /v1/models", "PUT /v1/files", "PATCH /v1/files"]
)
@pytest.mark.parametrize("admitted", [True, False])
def test_other_methods_are_none(service: LocalService, method: str, admitted: bool) -> None:
    request = head(service, "X-Mine: echoed-by-trace", request=f"{method} HTTP/1.1", admitted=admitted)
    answer = said(service, request)
    assert status(answer) == 405
    assert b"echoed-by-trace" not in answer


@pytest.mark.parametrize(
    "request_line",
    [
        "PROPFIND /v1/files HTTP/1.1",
        "PRI * HTTP/2.0",
        "GET http://evil.example/ HTTP/1.1",
        "GET * HTTP/1.1",
        "GET HTTP/1.1",
        "GET /v1/models",
        "GET /v1/models HTTP/3.0",
        "GET /v1/mo\tdels HTTP/1.1",
        "\x16\x03\x01\x02\x00",
    ],
)
def test_odd_request_lines(service: LocalService, request_line: str) -> None:
    answer = said(service, head(service, request=request_line))
    assert not answer or status(answer) in {400, 404, 405}
    assert lives(service)


def test_nothing_is_asked_without_a_key(service: LocalService) -> None:
    answer = asked(service, head(service, admitted=False))
    assert status(answer) == 401
    for secret in service.environment().values():
        assert secret.encode() not in answer.replace(f"{HOST}:{port(service)}".encode(), b"") or secret == "us-west-2"


def test_a_strangers_upload_is_not_kept(service: LocalService) -> None:
    lines = ["Content-Type: multipart/form-data; boundary=x", "Content-Length: 1000000", "Expect: 100-continue"]
    answer = asked(service, head(service, *lines, request="POST /v1/files HTTP/1.1", admitted=False))
    assert status(answer) == 401  # and no 100 before it


# What a request may look like


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 2"],
        ["Content-Length: 2", "Content-Length: 2"],
        ["Content-Length: 2", "content-length: 3"],
        ["Content-Length: 2, 2"],
        ["Content-Length: -1"],
        ["Content-Length: +5"],
        ["Content-Length: 0x5"],
        ["Content-Length: 5_0"],
        ["Content-Length: "],
        ["Content-Length: 99999999999999999999999999"],
        ["Content-Length: \u0662"],
        ["Content-Length : 2"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding: xchunked"],
        ["X: \x00"],
        ["X: a\rb"],
        ["X: a\nY: b"],
        ["X: folded", " here"],
        ["X: folded", "\there"],
        [" X: first"],
        [": nameless"],
        ["No colon"],
        ["X Y: 1"],
        [f"X: {'x' * 100_000}"],
        ["X: 1"] * 200,
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_not_read(service: LocalService, lines: list[str]) -> None:
    answer = said(
        service,
        head(service, "Content-Type: application/json", *lines, request="POST /v1/files HTTP/1.1"),
        b"0\r\n\r\nGET /v1/models HTTP/1.1\r\n\r\n",
    )
    assert status(answer) in {400, 431}
    assert answer.count(b"HTTP/1.1 ") == 1  # what follows is not taken for a request
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize(
    "body",
    [
        b"zz\r\nxx\r\n0\r\n\r\n",
        b"-1\r\n\r\n",
        b"2\r\nxxYY0\r\n\r\n",
        b"ffffffffffffffffffffff\r\nx",
        b"2\nxx\n0\n\n",
        b"0\r\nTrailer: \x00\r\n\r\n",
    ],
)
def test_broken_chunks(service: LocalService, body: bytes) -> None:
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    answer = said(service, head(service, *lines, request="POST /v1/chat/completions HTTP/1.1"), body)
    assert not answer or status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert lives(service)


def test_chunks_are_read_where_they_are_sound(service: LocalService) -> None:
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    request = head(service, *lines, request="POST /v1/chat/completions HTTP/1.1")
    answer = asked(service, request, b"2\r\n{}\r\n0\r\n\r\n")
    assert status(answer) == 400
    assert b"is missing" in answer


def test_a_second_request_behind_the_first_is_not_answered(service: LocalService) -> None:
    one = head(service)
    posted = head(service, "Content-Length: 2", "Content-Type: application/json", request="POST /v1/x HTTP/1.1")
    for first in (one, posted + b"{}"):
        assert said(service, first + one).count(b"HTTP/1.1 ") == 1
        with socket.create_connection((HOST, port(service)), timeout=10) as peer:
            peer.sendall(first + one)
            answer = b""
            while chunk := peer.recv(65536):  # up to its end, which comes by itself
                answer += chunk
            assert answer.count(b"HTTP/1.1 ") == 1
            assert b"\r\nconnection: close\r\n" in answer.lower()
    with socket.create_connection((HOST, port(service)), timeout=10) as peer:  # one after another is what they may do
        for _ in range(3):
            peer.sendall(one)
            assert status(answered(peer)) == 200


def test_a_head_in_pieces_is_a_head(service: LocalService) -> None:
    pieces = [bytes([byte]) for byte in b"\r\n" + head(service)]
    assert status(asked(service, *pieces)) == 200


def test_bodies_have_an_end(service: LocalService) -> None:
    lines = ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {1 << 30}"]
    answer = asked(service, head(service, *lines, request="POST /v1/files HTTP/1.1"))
    assert status(answer) == 413  # at once
    sent = httpx.post(
        f"{service.base_url}/files",
        headers={"Authorization": f"Bearer {key(service)}"},
        data={"purpose": "fine-tune"},
        files={"file": b"x" * (2 << 20)},
        trust_env=False,
    )
    assert sent.status_code == 413


# Paths and names


@pytest.mark.parametrize(
    "path",
    [
        "/v1/files/../../../../etc/passwd",
        "/v1/files/%2e%2e%2f%2e%2e%2fservice.sqlite3/content",
        "/v1/files/..%2fservice.sqlite3/content",
        "/v1/files/%2e%2e/content",
        "/v1/files/..%5cservice.sqlite3/content",
        "/v1/files/%00/content",
        "/v1/files//content",
        "/v1/files/%252e%252e%252fservice.sqlite3/content",
        "/v1/files/%c0%ae%c0%ae/content",
        "/v1/files/C:%5cWindows%5cwin.ini/content",
        "/v1/files/%2fetc%2fpasswd/content",
        "/v1/files/file:%2f%2f%2fetc%2fpasswd/content",
        "/v1/files/' OR 1=1 --/content",
        "/v1/../v1/files",
        "//v1/files",
    ],
)
def test_an_id_is_looked_up_and_is_no_path(service: LocalService, path: str) -> None:
    answer = said(service, head(service, request=f"GET {path} HTTP/1.1"))
    assert status(answer) in {400, 404}
    assert b"root:" not in answer
    assert b"SQLite" not in answer


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\evil", "evil\x00.jsonl", "a" * 1000, "CON", "~/evil"])
def test_an_uploads_name_touches_no_file(tmp_path: Path, name: str) -> None:
    with LocalService(tmp_path / "state") as service:
        disposition = b'--x\r\nContent-Disposition: form-data; name="'
        part = disposition + b'purpose"\r\n\r\nfine-tune\r\n'
        part += disposition + f'file"; filename="{name}"\r\n\r\nhello\r\n--x--\r\n'.encode()
        lines = ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(part)}"]
        asked(service, head(service, *lines, request="POST /v1/files HTTP/1.1"), part)
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        stored = {each for each in found if each.startswith("state/contents/")}
        assert all(each.startswith("state/contents/local-file-") for each in stored)
        assert {each for each in found - stored if not each.startswith("state/service.sqlite3")} == set()
        assert not any("evil" in path.name for path in tmp_path.parent.rglob("*"))


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_its_files_are_the_users_own(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with LocalService(tmp_path / "state") as service:
            service.service.receive(filename="x", purpose="fine-tune", chunks=[b"x"])
            for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(before)


# Who stalls


def dropped(peer: socket.socket) -> bool:
    """Whether the server ended a connection, having answered or not."""
    try:
        while peer.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_two_hundred_stalled_peers_stop_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Silent ones, half heads, half bodies of strangers and of guests; more of them than there are places."""
    monkeypatch.setattr(guard, "places", lambda: 60)
    with LocalService() as service, contextlib.ExitStack() as stack:
        long = ["Content-Type: application/json", "Content-Length: 1000"]
        openings = [
            b"",
            b"GET /v1/mod",
            head(service)[:-2],
            head(service, *long, request="POST /v1/files HTTP/1.1", admitted=False) + b"{",
        ]
        peers: list[socket.socket] = []
        for number in range(200):
            peers.append(stack.enter_context(socket.create_connection((HOST, port(service)), timeout=10)))
            peers[-1].sendall(openings[number % len(openings)])
        for _ in range(5):
            assert lives(service)
        gone = 0
        for peer in peers:
            peer.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                gone += dropped(peer)
        assert gone >= 200 - 60


def test_a_head_has_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_HEAD", 0.2)
    monkeypatch.setattr(guard, "_HEARD_OUT", 0.2)
    with LocalService() as service:
        assert asked(service) == b""
        assert status(asked(service, b"GET /v1/models HTTP/1.1\r\nHost:")) == 408
        with socket.create_connection((HOST, port(service)), timeout=10) as peer:
            drip(peer, b"G")  # a byte at a time is no way around it
        with socket.create_connection((HOST, port(service)), timeout=10) as peer:
            peer.sendall(head(service))
            assert status(answered(peer)) == 200
            peer.sendall(b"G")  # nor is a first request
            assert status(answered(peer)) == 408
        assert lives(service)


def test_a_refused_peer_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_HEARD_OUT", 0.2)
    with LocalService() as service:
        lines = ["Content-Type: application/json", "Content-Length: 1000000"]
        with socket.create_connection((HOST, port(service)), timeout=10) as peer:
            peer.sendall(head(service, *lines, request="POST /v1/files HTTP/1.1", admitted=False))
            assert status(answered(peer)) == 401
            drip(peer, b" ")


def test_a_half_sent_body_does_not_hold_up_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with LocalService() as service:
        lines = ["Content-Type: application/json", "Content-Length: 1000"]
        peer = socket.create_connection((HOST, port(service)), timeout=10)
        peer.sendall(head(service, *lines, request="POST /v1/chat/completions HTTP/1.1") + b"{")
        assert lives(service)
    peer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_peer_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_STUCK", 0.2)
    with LocalService() as service:
        reply = service.service.receive(filename="x", purpose="fine-tune", chunks=[b"x" * (1 << 20)] * 32)
        file = reply.json()["id"]
        with socket.create_connection((HOST, port(service)), timeout=10) as peer:
            peer.sendall(head(service, request=f"GET /v1/files/{file}/content HTTP/1.1"))
            time.sleep(1)
            size = 0
            with contextlib.suppress(ConnectionError):
                while chunk := peer.recv(1 << 20):
                    size += len(chunk)
            assert size < 32 << 20
        whole = httpx.get(
            f"{service.base_url}/files/{file}/content",
            headers={"Authorization": f"Bearer {key(service)}"},
            trust_env=False,
        )
        assert len(whole.content) == 32 << 20


def test_files_do_not_sit_in_memory(tmp_path: Path) -> None:
    """Neither on the way in nor on the way out, in a server of its own process."""
    code = (
        "import sys, tracemalloc\n"
        "from bedrock_rft.local import LocalService\n"
        "with LocalService() as service:\n"
        "    print(service.base_url, service.environment('api_key')['OPENAI_API_KEY'], flush=True)\n"
        "    sys.stdin.readline()\n"
        "    tracemalloc.start()\n"
        "    print(flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(tracemalloc.get_traced_memory()[1])\n"
    )
    size = 64 << 20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size)
    with run(code, stdin=subprocess.PIPE) as process, (tmp_path / "large").open("rb") as large:
        assert process.stdout is not None
        assert process.stdin is not None
        url, secret = process.stdout.readline().split()
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        with httpx.Client(headers={"Authorization": f"Bearer {secret}"}, trust_env=False, timeout=60) as client:
            sent = client.post(f"{url}/files", data={"purpose": "fine-tune"}, files={"file": large})
            with client.stream("GET", f"{url}/files/{sent.json()['id']}/content") as reply:
                assert sum(len(chunk) for chunk in reply.iter_bytes()) == size
        out, _ = process.communicate("\n", timeout=60)
    assert int(out) < 24 << 20


# What it says, and when it ends


def test_answers_say_nothing_of_the_machine(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("/a/secret/path")

    monkeypatch.setattr(service.service._store, "page", broken)
    answer = asked(service, head(service, request="GET /v1/files HTTP/1.1"))
    assert status(answer) == 500
    for word in (b"Traceback", b"secret", b".py", b"uvicorn", b"starlette", b"Python", b"\r\nserver:"):
        assert word.lower() not in answer.lower()


def run(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", *(["-c", code] if code else arguments)]
    return subprocess.Popen(  # noqa: S603 - our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_a_program_that_forgets_to_close_leaves_nothing() -> None:
    code = (
        "from bedrock_rft.local import LocalService, Service\n"
        "one, two = LocalService(), Service()\n"
        "print(one.service._store._contents.parent); print(two._store._contents.parent)"
    )
    with run(code) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert err == ""
    for line in out.split():
        assert "bedrock-rft-local-" in line
        assert not Path(line).exists()


@pytest.mark.skipif(os.name != "posix", reason="fork")
def test_a_fork_does_not_tidy_up_after_its_parent() -> None:
    code = (
        "import os, sys\n"
        "from bedrock_rft.local import Service\n"
        "service = Service()\n"
        "child = os.fork()\n"
        "if not child: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(service._store._contents.is_dir())"
    )
    with run(code) as process:
        out, _ = process.communicate(timeout=30)
    assert out.strip() == "True"


def temporary(folder: Path) -> list[Path]:
    """The directories of rehearsals in a folder for temporary files; the reward's process has one of its own."""
    return sorted(folder.glob("bedrock-rft-local-*"))


def banner(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or "OPENAI_API_KEY" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1]
    return "".join(lines)


COMMAND = ("-m", "bedrock_rft.local")


def test_the_command_ends_with_its_standard_input_where_it_is_asked_to(tmp_path: Path) -> None:
    where = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path), "TMP": str(tmp_path)}
    with run("", *COMMAND, "--stop-with-stdin", stdin=subprocess.PIPE, env=where) as process:
        shown = banner(process)
        [place] = temporary(tmp_path)
        assert os.name != "posix" or stat.S_IMODE(place.stat().st_mode) == 0o700
        assert "SIMULATION" in shown
        assert "standard input" in shown
        assert process.stdin is not None
        process.stdin.write("ignored\n")
        process.stdin.flush()
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(10) == 0
        assert temporary(tmp_path) == []


@pytest.mark.parametrize("arguments", [(), ("--stop-with-stdin",)])
def test_the_command_outlives_a_standard_input_that_says_nothing(arguments: tuple[str, ...], tmp_path: Path) -> None:
    where = {**os.environ, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path), "TMP": str(tmp_path)}
    with run("", *COMMAND, *arguments, stdin=subprocess.DEVNULL, env=where) as process:
        shown = banner(process)
        assert ("not a pipe" in shown) == bool(arguments)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert len(temporary(tmp_path)) == 1
        process.terminate()
        assert os.name != "posix" or (process.wait(10), temporary(tmp_path)) == (0, [])


def test_real_credentials_are_not_looked_at(tmp_path: Path) -> None:
    """A rehearsal beside a whole AWS configuration, which it neither opens nor repeats."""
    for name in ("config", "credentials"):
        (tmp_path / name).write_text("[default]\naws_access_key_id = AKIDREAL\naws_secret_access_key = real-secret\n")
    code = (
        "import sys\nopened = []\n"
        "sys.addaudithook(lambda event, given: opened.append(str(given[0])) if event == 'open' else None)\n"
        "from bedrock_rft.local import LocalService\n"
        "with LocalService() as service: print(service.environment('aws'), service.environment('api_key'))\n"
        f"print([path for path in opened if path.startswith({str(tmp_path)!r})])"
    )
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_SECRET_ACCESS_KEY": "real-secret",
        "AWS_ACCESS_KEY_ID": "AKIDREAL",
    }
    with run(code, env=environment) as process:
        out, err = process.communicate(timeout=30)
    assert err == ""
    assert out.splitlines()[-1] == "[]"
    assert "REAL" not in out.upper()
