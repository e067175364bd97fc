"""The local service against hostile and malformed requests, written as raw bytes."""

from __future__ import annotations

import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.raw_socket import HOST, exchange, head, key, port, read_response, send_all, status
from support.scripts import run_python

from bedrock_rft.local import LocalService


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    with LocalService(largest_upload=1 << 20) as found:
        yield found


def is_alive(service: LocalService) -> bool:
    headers = {"Authorization": f"Bearer {key(service)}"}
    return httpx.get(f"{service.base_url}/models", headers=headers, trust_env=False, timeout=10).status_code == 200


# Access


def test_it_listens_on_loopback_only(service: LocalService) -> None:
    assert service.base_url.startswith(f"http://{HOST}:")
    others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
    for address in others - {HOST}:
        with pytest.raises(OSError, match=r".*"):
            socket.create_connection((str(address), port(service)), timeout=0.5)


def test_two_servers_have_different_ports_and_keys(service: LocalService) -> None:
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
def test_a_second_host_header_is_refused(service: LocalService, lines: list[str]) -> None:
    hosts = sum(line.startswith("Host") for line in lines)
    assert status(exchange(service, head(service, *lines))) in ({400, 421} if hosts else {200})


def test_requests_from_pages_of_other_sites_are_refused(service: LocalService) -> None:
    """DNS rebinding, a preflight request, and requests that need none."""
    rebound = head(service).replace(f"{HOST}:{port(service)}".encode(), f"evil.example:{port(service)}".encode())
    assert status(exchange(service, rebound)) == 421
    preflight = [
        "Origin: http://evil.example",
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Private-Network: true",
    ]
    for admitted in (True, False):
        answer = exchange(service, head(service, *preflight, request="OPTIONS /v1/files HTTP/1.1", admitted=admitted))
        assert status(answer) == 403
        assert b"access-control" not in answer.lower()
    body = b'{"model": "x"}'
    simple = ["Origin: http://evil.example", "Content-Type: text/plain", f"Content-Length: {len(body)}"]
    for lines, expected in ((simple, 403), (simple[1:], 415)):
        sent = head(service, *lines, request="POST /v1/fine_tuning/jobs HTTP/1.1"), body
        assert status(exchange(service, *sent)) == expected
    own = head(service, f"Origin: http://{HOST}:{port(service)}")
    assert status(exchange(service, own)) == 200


@pytest.mark.parametrize(
    "method", ["TRACE /v1/models", "CONNECT evil.example:443", "OPTIONS /v1/models", "PUT /v1/files", "PATCH /v1/files"]
)
@pytest.mark.parametrize("admitted", [True, False])
def test_other_methods_are_not_allowed(service: LocalService, method: str, admitted: bool) -> None:
    request = head(service, "X-Mine: echoed-by-trace", request=f"{method} HTTP/1.1", admitted=admitted)
    answer = send_all(service, request)
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
        "GET /v1/mo\tdels HTTP/1.1",
        "\x16\x03\x01\x02\x00",
    ],
)
def test_malformed_request_lines_do_not_stop_the_server(service: LocalService, request_line: str) -> None:
    answer = send_all(service, head(service, request=request_line))
    assert not answer or status(answer) in {400, 404, 405}
    assert is_alive(service)


def test_a_request_without_a_key_is_refused(service: LocalService) -> None:
    answer = exchange(service, head(service, admitted=False))
    assert status(answer) == 401
    for secret in service.environment().values():
        assert secret.encode() not in answer.replace(f"{HOST}:{port(service)}".encode(), b"") or secret == "us-west-2"


def test_an_unauthenticated_upload_is_not_stored(service: LocalService) -> None:
    lines = ["Content-Type: multipart/form-data; boundary=x", "Content-Length: 1000000", "Expect: 100-continue"]
    answer = exchange(service, head(service, *lines, request="POST /v1/files HTTP/1.1", admitted=False))
    assert status(answer) == 401  # and no 100 before it


# The form of a request


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 2", "content-length: 3"],
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
        [": nameless"],
        ["No colon"],
        ["X Y: 1"],
    ],
)  # fmt: skip
def test_malformed_headers_are_refused(service: LocalService, lines: list[str]) -> None:
    answer = send_all(
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
def test_malformed_chunks_are_refused_and_do_not_stop_the_server(service: LocalService, body: bytes) -> None:
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    request = head(service, *lines, request="POST /v1/chat/completions HTTP/1.1")
    answer = send_all(service, request, body, timeout=1)  # it may wait for the rest of a chunk
    assert not answer or status(answer) == 400
    assert answer.count(b"HTTP/1.1 ") <= 1
    assert is_alive(service)


def test_valid_chunks_are_read(service: LocalService) -> None:
    lines = ["Content-Type: application/json", "Transfer-Encoding: chunked"]
    request = head(service, *lines, request="POST /v1/chat/completions HTTP/1.1")
    answer = exchange(service, request, b"2\r\n{}\r\n0\r\n\r\n")
    assert status(answer) == 400
    assert b"is missing" in answer


def test_a_connection_is_reused_even_after_an_error(service: LocalService) -> None:
    early = head(service, "Content-Length: 5", request="POST /v1/files HTTP/1.1", admitted=False) + b"x" * 5
    with socket.create_connection((HOST, port(service)), timeout=10) as peer:
        for request, expected in ((head(service), 200), (early, 401), (head(service), 200)):
            peer.sendall(request)
            assert status(read_response(peer)) == expected


def test_a_head_may_arrive_byte_by_byte(service: LocalService) -> None:
    pieces = [bytes([byte]) for byte in head(service)]
    assert status(exchange(service, *pieces)) == 200


def test_upload_bodies_are_limited(service: LocalService) -> None:
    lines = ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {1 << 30}"]
    answer = exchange(service, head(service, *lines, request="POST /v1/files HTTP/1.1"))
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
def test_an_id_is_never_used_as_a_path(service: LocalService, path: str) -> None:
    answer = send_all(service, head(service, request=f"GET {path} HTTP/1.1"))
    assert status(answer) in {400, 404}
    assert b"root:" not in answer
    assert b"SQLite" not in answer


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "..\\evil", "evil\x00.jsonl", "a" * 1000, "CON", "~/evil"])
def test_the_name_of_an_upload_is_never_used_as_a_path(tmp_path: Path, name: str) -> None:
    with LocalService(tmp_path / "state") as service:
        disposition = b'--x\r\nContent-Disposition: form-data; name="'
        part = disposition + b'purpose"\r\n\r\nfine-tune\r\n'
        part += disposition + f'file"; filename="{name}"\r\n\r\nhello\r\n--x--\r\n'.encode()
        lines = ["Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(part)}"]
        exchange(service, head(service, *lines, request="POST /v1/files HTTP/1.1"), part)
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
        stored = {each for each in found if each.startswith("state/contents/")}
        assert all(each.startswith("state/contents/local-file-") for each in stored)
        assert {each for each in found - stored if not each.startswith("state/service.sqlite3")} == {"state/keys.json"}
        assert not any("evil" in path.name for path in tmp_path.parent.rglob("*"))


@pytest.mark.skipif(os.name != "posix", reason="modes")
def test_files_are_private_to_the_user(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with LocalService(tmp_path / "state") as service:
            service.service.receive_file(filename="x", purpose="fine-tune", chunks=[b"x"])
            for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    finally:
        os.umask(before)


# Slow clients


def test_an_incomplete_body_does_not_delay_shutdown(caplog: pytest.LogCaptureFixture) -> None:
    with LocalService() as service:
        lines = ["Content-Type: application/json", "Content-Length: 1000"]
        peer = socket.create_connection((HOST, port(service)), timeout=10)
        peer.sendall(head(service, *lines, request="POST /v1/chat/completions HTTP/1.1") + b"{")
        assert is_alive(service)
    peer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_files_are_not_held_in_memory(tmp_path: Path) -> None:
    """Upload and download a large file to a server in its own process, and measure its memory."""
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
    size = 24 << 20
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
    assert int(out) < 9 << 20


# Errors and the end of the service


def test_error_responses_show_nothing_of_the_machine(service: LocalService, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("/a/secret/path")

    monkeypatch.setattr(service.service._store, "page", broken)
    answer = exchange(service, head(service, request="GET /v1/files HTTP/1.1"))
    assert status(answer) == 500
    for word in (b"Traceback", b"secret", b".py", b"uvicorn", b"starlette", b"Python", b"\r\nserver:"):
        assert word.lower() not in answer.lower()


def run(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "error", *(["-c", code] if code else arguments)]
    return subprocess.Popen(  # noqa: S603 - our own
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def test_temporary_directories_are_removed_at_exit() -> None:
    code = (
        "from bedrock_rft.local import LocalService, Service\n"
        "one, two = LocalService(), Service()\n"
        "print(one.service._store._contents.parent); print(two._store._contents.parent)"
    )
    done = run_python("-W", "error", "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == 2
    for line in done.stdout.split():
        assert "bedrock-rft-local-" in line
        assert not Path(line).exists()


@pytest.mark.skipif(os.name != "posix", reason="fork")
def test_a_fork_does_not_remove_the_directory_of_its_parent() -> None:
    code = (
        "import os, sys\n"
        "from bedrock_rft.local import Service\n"
        "service = Service()\n"
        "child = os.fork()\n"
        "if not child: sys.exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(service._store._contents.is_dir())"
    )
    assert run_python("-W", "error", "-c", code).stdout.strip() == "True"


def temporary(folder: Path) -> list[Path]:
    """Return the directories of local services in a folder for temporary files."""
    return sorted(folder.glob("bedrock-rft-local-*"))


def banner(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    lines: list[str] = []
    while "The service listens" not in "".join(lines) or not lines[-1].endswith(".\n"):
        lines.append(process.stderr.readline())
        assert lines[-1]
    return "".join(lines)


COMMAND = ("-m", "bedrock_rft", "local", "serve")


def test_the_command_stops_at_the_end_of_standard_input_if_asked_to(tmp_path: Path) -> None:
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


def test_real_credentials_are_not_read(tmp_path: Path) -> None:
    """Start a service with a complete AWS configuration, which it neither opens nor prints."""
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
        "HOME": str(tmp_path),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_SECRET_ACCESS_KEY": "real-secret",
        "AWS_ACCESS_KEY_ID": "AKIDREAL",
    }
    done = run_python("-W", "error", "-c", code, environment=environment)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "[]"
    assert "REAL" not in done.stdout.upper()
