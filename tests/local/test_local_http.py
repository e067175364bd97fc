"""The local service behind a socket: authentication, limits, start and stop."""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from support.scripts import run_python

from bedrock_rft import Client
from bedrock_rft.errors import ConfigurationError
from bedrock_rft.local import LocalService

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"


def handler(event: list[dict[str, Any]], _: object) -> list[dict[str, Any]]:
    return [
        {
            "id": each["id"],
            "aggregate_reward_score": float(each["metadata"]["reference_answer"] in each["messages"][-1]["content"]),
        }
        for each in event
    ]


class Signer(httpx.Auth):
    """Signs with botocore itself, not with the client's signer."""

    requires_request_body = True

    def __init__(self, credentials: Any, service: str = "bedrock-mantle") -> None:
        self._signer: Any = SigV4Auth(credentials, service, "us-west-2")

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        keep = {
            "host": request.headers["host"],
            "content-type": request.headers.get("content-type", "application/json"),
        }
        copy: Any = AWSRequest(method=request.method, url=str(request.url), data=request.content, headers=keep)
        self._signer.add_auth(copy)
        request.headers.update(dict(copy.headers.items()))
        yield request


@pytest.fixture(scope="module")
def service() -> Iterator[LocalService]:
    with LocalService(reward=handler) as found:
        yield found


def opened(service: LocalService, auth: str) -> httpx.Client:
    if auth == "aws":
        way: Any = Signer(service.client_options("aws")["credentials"])
        return httpx.Client(base_url=service.base_url, auth=way, trust_env=False)
    key = service.client_options("api_key")["api_key"]
    return httpx.Client(base_url=service.base_url, headers={"Authorization": f"Bearer {key}"}, trust_env=False)


@pytest.fixture(params=["aws", "api_key"])
def client(request: pytest.FixtureRequest, service: LocalService) -> Iterator[httpx.Client]:
    with opened(service, request.param) as found:
        yield found


def jsonl(count: int = 120) -> bytes:
    rows = (
        {"messages": [{"role": "user", "content": f"What is {n} plus 1?"}], "reference_answer": str(n + 1)}
        for n in range(1000, 1000 + count)
    )
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def uploaded(client: httpx.Client, content: bytes, name: str = "train.jsonl") -> dict[str, Any]:
    reply = client.post("files", data={"purpose": "fine-tune"}, files={"file": (name, content)})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def created(client: httpx.Client, file: str) -> dict[str, Any]:
    grader = {"type": "lambda", "lambda": {"function": ARN}}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader}}
    reply = client.post("fine_tuning/jobs", json={"model": "qwen.qwen3-32b", "training_file": file, "method": method})
    assert reply.status_code == 200, reply.text
    found: dict[str, Any] = reply.json()
    return found


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while not (found := client.get(f"fine_tuning/jobs/{job}").json())["finished_at"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return dict(found)


def test_a_job_over_http(client: httpx.Client) -> None:
    began = time.monotonic()
    content = jsonl()
    file = uploaded(client, content)
    assert file["bytes"] == len(content)
    done = ended(client, created(client, file["id"])["id"])
    assert done["status"] == "succeeded"
    assert time.monotonic() - began < 5
    assert client.get(f"files/{file['id']}/content").content == content
    model = client.get(f"models/{done['fine_tuned_model'].replace(':', '%3A')}").json()["id"]
    messages = [{"role": "user", "content": "What is 1003 plus 1?"}]
    ask = {"model": model, "messages": messages, "temperature": 0}
    whole = client.post("chat/completions", json=ask).json()["choices"][0]["message"]["content"]
    assert "1004" in whole
    with client.stream("POST", "chat/completions", json={**ask, "stream": True}) as reply:
        lines = [line.removeprefix("data: ") for line in reply.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    assert "".join(json.loads(line)["choices"][0]["delta"].get("content", "") for line in lines[:-1]) == whole


def test_a_large_upload_arrives_complete(client: httpx.Client) -> None:
    content = os.urandom(3 << 20)
    file = uploaded(client, content, '../"x"\n.jsonl')
    assert client.get(f"files/{file['id']}/content").content == content
    assert "/" in file["filename"]


def test_every_response_has_a_request_id_and_names_no_version(client: httpx.Client) -> None:
    for reply in (client.get("models"), client.get("nowhere"), client.get("files/x"), client.put("models")):
        assert reply.headers["x-request-id"].startswith("local-req-")
        assert "server" not in reply.headers
        assert not [name for name in reply.headers if name.startswith("access-control")]
        assert "Traceback" not in reply.text
    assert (client.get("nowhere").status_code, client.get("nowhere").content) == (404, b"")
    assert client.get("../models").status_code == 404
    assert client.put("models").status_code == 405


def test_queries_arrive_as_they_were_signed(client: httpx.Client) -> None:
    assert client.get("files", params={"limit": 1, "purpose": "tune/é+&", "order": "asc"}).json()["data"] == []
    assert client.get("files", params={"limit": "x"}).json()["error"]["param"] == "limit"


# Access


@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer wrong", "Bearer local-key-", "Basic eA=="])
@pytest.mark.parametrize("path", ["models", "files", "nowhere"])
def test_unauthenticated_requests_are_refused_on_every_path(service: LocalService, key: str | None, path: str) -> None:
    headers = {} if key is None else {"Authorization": key}
    reply = httpx.get(f"{service.base_url}/{path}", headers=headers, trust_env=False)
    assert reply.status_code == 401
    assert reply.json()["error"]["type"] == "authentication_error"


def test_a_signature_for_another_service_or_body_is_refused(service: LocalService) -> None:
    credentials = service.client_options()["credentials"]
    with httpx.Client(base_url=service.base_url, auth=Signer(credentials, "mantle"), trust_env=False) as client:
        assert "scoped to correct service: 'bedrock-mantle'" in client.get("models").json()["error"]["message"]

    class Forger(Signer):
        def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
            signed = next(super().auth_flow(request))
            yield httpx.Request(signed.method, signed.url, headers=signed.headers, content=b"?" * len(request.content))

    files = service.service.region
    with httpx.Client(base_url=service.base_url, auth=Forger(credentials), trust_env=False) as client:
        assert client.post("chat/completions", json={"model": "x"}).status_code == 401
        upload = client.build_request("POST", "files", data={"purpose": "fine-tune"}, files={"file": b"secret"})
        assert client.send(upload).status_code in {400, 401}
    with opened(service, "api_key") as client:
        names = [each["bytes"] for each in client.get("files", params={"limit": 100}).json()["data"]]
    assert 6 not in names
    assert files == "us-west-2"


def test_a_refused_upload_gets_its_response(service: LocalService) -> None:
    headers = {"Authorization": "Bearer wrong"}
    files = {"file": ("x", b"x" * (8 << 20))}
    reply = httpx.post(f"{service.base_url}/files", headers=headers, files=files, trust_env=False)
    assert reply.status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "localhost", "127.0.0.1", "127.0.0.1:1", "", "[::1]"])
def test_another_host_is_refused(service: LocalService, host: str) -> None:
    with opened(service, "api_key") as client:
        reply = client.get("models", headers={"Host": host})
    assert reply.status_code in {400, 421}


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_media_types_that_other_sites_can_send_are_refused(service: LocalService, kind: str) -> None:
    with opened(service, "api_key") as client:
        reply = client.post("fine_tuning/jobs", content=b"{}", headers={"Content-Type": kind})
    assert reply.status_code == 415


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "HEAD", "PATCH"])
def test_other_methods_are_refused(service: LocalService, method: str) -> None:
    with opened(service, "api_key") as client:
        assert client.request(method, "models").status_code == 405


def test_malformed_bodies_are_refused(client: httpx.Client) -> None:
    for content in (b"{", b"\xff", b'{"a": NaN', b"[" * 100_000):
        reply = client.post("chat/completions", content=content, headers={"Content-Type": "application/json"})
        assert reply.status_code == 400
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    for content in (b"", b"--y\r\n\r\n", b"--x\r\n\r\nno name\r\n--x--\r\n"):
        assert client.post("files", content=content, headers=broken).status_code == 400
    assert client.post("files", content=b"x", headers={"Content-Type": "multipart/form-data"}).status_code == 400
    assert client.post("files", json={}).status_code == 400


def test_json_bodies_are_limited(service: LocalService) -> None:
    with opened(service, "api_key") as client:
        reply = client.post("fine_tuning/jobs", content=b" " * (5 << 20), headers={"Content-Type": "application/json"})
    assert reply.status_code == 413


def raw(service: LocalService, head: str) -> bytes:
    port = int(service.base_url.split(":")[2].split("/")[0])
    key = service.client_options("api_key")["api_key"]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(head.format(host=f"127.0.0.1:{port}", key=key).encode())
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
            if b"\r\n\r\n" in answer:
                break
    return answer


@pytest.mark.parametrize(
    "extra",
    [
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "X: \x00\r\n",
        "Host: evil.example\r\n",
        f"X: {'x' * 100_000}\r\n",
    ],
)
def test_ambiguous_requests_are_refused(service: LocalService, extra: str) -> None:
    head = "POST /v1/files HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n" + extra + "\r\n0\r\n\r\n"
    assert int(raw(service, head).split()[1]) in {400, 421, 431}


def test_stalled_connections_do_not_block_others(service: LocalService) -> None:
    port = int(service.base_url.split(":")[2].split("/")[0])
    stalled = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    try:
        for peer in stalled:
            peer.sendall(b"POST /v1/files HTTP/1.1\r\nHost:")
        with opened(service, "api_key") as client:
            assert client.get("models", timeout=5).status_code == 200
    finally:
        for peer in stalled:
            peer.close()


# Other clients


def test_a_raw_colon_in_a_path_is_verified(service: LocalService) -> None:
    with opened(service, "aws") as client:
        response = client.get("models/local-ft:no:such-model")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("auth", ["aws", "api_key"])
def test_bedrock_openai_stays_on_this_machine(
    service: LocalService, auth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openai.lib.bedrock")
    code = (
        "from openai import BedrockOpenAI\n"
        "with BedrockOpenAI() as client:\n"
        "    print(client.base_url)\n"
        "    print(sorted(model.id for model in client.models.list()))\n"
    )
    for name in list(os.environ):
        if name.startswith(("AWS_", "OPENAI_")):
            monkeypatch.delenv(name)
    done = run_python("-c", code, environment={**service.environment(auth), "AWS_EC2_METADATA_DISABLED": "true"})
    assert done.returncode == 0, done.stderr
    url, models = done.stdout.splitlines()
    assert url.rstrip("/") == service.base_url
    assert "openai.gpt-oss-20b" in models


@pytest.mark.parametrize("auth", ["aws", "api_key"])
def test_the_client_reads_the_same_variables(service: LocalService, auth: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in service.environment(auth).items():
        monkeypatch.setenv(name, value)
    with Client() as client:
        assert client.identity.base_url == service.base_url
        assert [model.id for model in client.models.list()]


def test_short_term_keys_of_its_own_credentials_work(service: LocalService) -> None:
    from bedrock_rft.access import mint_api_key

    options = service.client_options("aws")
    key = mint_api_key(region=service.region, credentials=options["credentials"])
    with Client(base_url=service.base_url, region=service.region, api_key=key.reveal()) as client:
        assert [model.id for model in client.models.list()]


# Start and stop


def test_keys_survive_a_restart_in_the_same_directory(tmp_path: Path) -> None:
    with LocalService(tmp_path) as first:
        before = first.client_options("api_key")["api_key"], first.environment("aws")["AWS_SECRET_ACCESS_KEY"]
    with LocalService(tmp_path) as second, opened(second, "aws") as client:
        assert before == (
            second.client_options("api_key")["api_key"],
            second.environment("aws")["AWS_SECRET_ACCESS_KEY"],
        )
        assert client.get("models").status_code == 200
        assert os.name != "posix" or (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600
    (tmp_path / "keys.json").write_text('{"api_key": "x"}')
    with pytest.raises(ConfigurationError, match="Remove the file"):
        LocalService(tmp_path)


def test_a_new_server_resumes_in_the_same_directory(tmp_path: Path) -> None:
    with LocalService(tmp_path, reward=handler, pace=0.02) as service, opened(service, "aws") as client:
        job = created(client, uploaded(client, jsonl())["id"])["id"]
        while not client.get(f"fine_tuning/jobs/{job}/events").json()["data"][0]["data"]:
            time.sleep(0.01)
    with LocalService(tmp_path, reward=handler) as service, opened(service, "aws") as client:
        assert ended(client, job)["status"] == "succeeded"
        page = client.get(f"fine_tuning/jobs/{job}/events", params={"limit": 100}).json()
        steps = [each["data"]["step"] for each in page["data"] if each["type"] == "metrics"]
        assert steps == list(range(30, 0, -1))


def test_closing_leaves_no_threads_or_listeners() -> None:
    before = set(threading.enumerate())
    service = LocalService(reward=handler)
    with opened(service, "api_key") as client:
        uploaded(client, b"x")
        service.close()
    service.close()
    assert set(threading.enumerate()) <= before
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.base_url, trust_env=False)


def test_a_taken_port_is_an_error_and_a_closed_one_is_free(service: LocalService) -> None:
    port = int(service.base_url.split(":")[2].split("/")[0])
    with pytest.raises(ConfigurationError, match=str(port)):
        LocalService(port=port)
    with pytest.raises(ConfigurationError):
        LocalService(port=70_000)
    with LocalService() as first:
        port = int(first.base_url.split(":")[2].split("/")[0])
    with LocalService(port=port) as second:
        assert second.base_url == first.base_url


def test_no_secret_is_shown(service: LocalService) -> None:
    aws, key = service.environment(), service.environment("api_key")
    secrets = [aws["AWS_SECRET_ACCESS_KEY"], aws["AWS_SESSION_TOKEN"], key["OPENAI_API_KEY"]]
    options = service.client_options()
    shown = repr((service, options, vars(service), service.client_options("aws")["credentials"]))
    assert not [secret for secret in secrets if secret in shown]
    keys = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert set(aws) == {"AWS_ENDPOINT_URL_BEDROCK_MANTLE", "AWS_BEDROCK_BASE_URL", "AWS_REGION"} | keys
    assert key["OPENAI_BASE_URL"] == service.base_url
    with pytest.raises(ConfigurationError):
        service.client_options("password")  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - the point
    with pytest.raises((TypeError, pickle.PicklingError)):
        pickle.dumps(service)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "argument"), [(signal.SIGTERM, "--stop-with-stdin"), (signal.SIGINT, "")])
def test_the_command_serves_until_a_signal_even_with_an_empty_standard_input(
    tmp_path: Path, number: int, argument: str
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    (tmp_path / "reward.py").write_text("def handler(event, context):\n    return []\n")
    command = [sys.executable, "-W", "error", "-m", "bedrock_rft", "local", "serve", "--auth", "api_key"]
    command += ["--reward", f"{tmp_path}/reward.py:handler", "--format", "sh", *argument.split()]
    with subprocess.Popen(  # noqa: S603 - our own
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        lines: list[str] = []
        while not any("OPENAI_API_KEY" in line for line in lines):
            lines.append(process.stdout.readline())
            assert lines[-1], process.stderr.read()
        variables = dict(line.strip().removeprefix("export ").split("=", 1) for line in lines if "export" in line)
        headers = {"Authorization": f"Bearer {variables['OPENAI_API_KEY']}"}
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.3)
        assert httpx.get(f"{variables['OPENAI_BASE_URL']}/models", headers=headers, trust_env=False).status_code == 200
        assert len([*folder.glob("bedrock-rft-local-*")]) == 1
        process.send_signal(number)
        assert process.wait(10) == 0
        shown = process.stderr.read()
        assert "SIMULATION" in shown
        assert "listens" in shown
        assert ("not a pipe" in shown) == bool(argument)
        assert [*folder.glob("bedrock-rft-local-*")] == []


def test_the_command_reports_a_missing_reward() -> None:
    done = run_python("-m", "bedrock_rft", "local", "serve", "--reward", "nowhere.py:handler")
    assert done.returncode == 2
    assert "There is no file 'nowhere.py'" in done.stderr
