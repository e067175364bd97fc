"""The local service in process: its routes, its validation, and jobs from upload to answer."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bedrock_rft._transport.multipart import Upload
from bedrock_rft._transport.transport import Request, Response, run_sync
from bedrock_rft.datasets._source import open_source as source
from bedrock_rft.errors import APIConnectionError, ConfigurationError
from bedrock_rft.local import LocalTransport, Service

ARN = "arn:aws:lambda:us-west-2:123456789012:function:reward"
MODEL = "openai.gpt-oss-20b"
JOBS = "/fine_tuning/jobs"


def handler(event: list[dict[str, Any]], _: object) -> list[dict[str, Any]]:
    return [
        {
            "id": each["id"],
            "aggregate_reward_score": float(each["metadata"]["reference_answer"] in each["messages"][-1]["content"]),
        }
        for each in event
    ]


def records(count: int = 120, start: int = 1000) -> list[dict[str, Any]]:
    return [
        {"messages": [{"role": "user", "content": f"What is {n} plus 1?"}], "reference_answer": str(n + 1)}
        for n in range(start, start + count)
    ]


def upload(service: Service, rows: list[dict[str, Any]] | bytes | None = None, name: str = "train.jsonl") -> str:
    content = (
        rows if isinstance(rows, bytes) else b"".join(json.dumps(row).encode() + b"\n" for row in rows or records())
    )
    reply = service.handle(Request("POST", "/files", upload=Upload(source(content), filename=name)))
    assert reply.ok, reply.content
    key: str = reply.json()["id"]
    return key


def body(file: str, **fields: Any) -> dict[str, Any]:
    settings = fields.pop("hyperparameters", {})
    grader = {"type": "lambda", "lambda": {"function": fields.pop("arn", ARN)}}
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": settings}}
    return {"model": MODEL, "training_file": file, "method": method, **fields}


def create(service: Service, file: str, **fields: Any) -> str:
    reply = service.handle(Request("POST", JOBS, json=body(file, **fields)))
    assert reply.ok, reply.content
    key: str = reply.json()["id"]
    return key


def get(service: Service, path: str, **query: Any) -> dict[str, Any]:
    reply = service.handle(Request("GET", path, query=query))
    assert reply.ok, reply.content
    found: dict[str, Any] = reply.json()
    return found


def until(service: Service, job: str, *statuses: str) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while (found := get(service, f"{JOBS}/{job}"))["status"] not in (statuses or ("succeeded", "failed", "cancelled")):
        assert time.monotonic() < deadline, f"the job stayed {found['status']}"
        time.sleep(0.01)
    return found


def events(service: Service, job: str) -> list[dict[str, Any]]:
    """Return all events of a job, oldest first."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"limit": 7}
    while True:
        page = get(service, f"{JOBS}/{job}/events", **query)
        found += page["data"]
        if not page["has_more"]:
            return found[::-1]
        query["after"] = page["last_id"]


def steps(service: Service, job: str) -> list[int]:
    return [each["data"]["step"] for each in events(service, job) if each["type"] == "metrics"]


def problem(reply: Response) -> dict[str, Any]:
    found: dict[str, Any] = reply.json()["error"]
    assert set(found) == {"code", "message", "param", "type"}
    return found


@pytest.fixture
def service() -> Iterator[Service]:
    with Service(reward=handler) as found:
        yield found


# Jobs


def test_a_job_from_upload_to_answer(service: Service) -> None:
    rows = records()
    file = upload(service, rows)
    job = create(service, file, metadata={"why": "test"})
    done = until(service, job)
    assert done["status"] == "succeeded"
    assert done["finished_at"] >= done["created_at"]
    assert done["trained_tokens"] > 0
    assert done["metadata"] == {"why": "test"}
    assert done["fine_tuned_model"].startswith(f"local-ft:{MODEL}:")
    assert steps(service, job) == list(range(1, 31))
    found_events = events(service, job)
    first = next(each for each in found_events if each["type"] == "metrics")
    assert first["message"] == "Step 1/30: training metrics"
    assert set(first["data"]) == {
        "step", "total_steps", "critic_rewards_mean", "actor_pg_loss", "actor_entropy", "actor_grad_norm",
        "critic_advantages_mean", "response_length_mean",
    }  # fmt: skip
    assert all(each["id"].startswith("local-ftevent-") for each in found_events)
    assert all("Local service" in each["message"] for each in found_events if each["type"] == "message")
    ask = {"messages": rows[3]["messages"], "temperature": 0}
    tuned = service.handle(Request("POST", "/chat/completions", json={"model": done["fine_tuned_model"], **ask})).json()
    base = service.handle(Request("POST", "/chat/completions", json={"model": MODEL, **ask})).json()
    assert rows[3]["reference_answer"] in tuned["choices"][0]["message"]["content"]
    assert rows[3]["reference_answer"] not in base["choices"][0]["message"]["content"]


def test_checkpoints_are_models(service: Service) -> None:
    job = create(service, upload(service))
    until(service, job, "succeeded")
    found = get(service, f"{JOBS}/{job}/checkpoints")["data"]
    assert [each["step_number"] for each in found] == [30, 23, 15, 8]
    for each in found:
        name = each["fine_tuned_model_checkpoint"]
        assert get(service, f"/models/{name}")["id"] == name
        reply = service.handle(
            Request("POST", "/chat/completions", json={"model": name, "messages": records()[0]["messages"]})
        )
        assert reply.ok
        assert each["metrics"]["step"] == each["step_number"]


def test_a_validation_file_adds_its_metrics(service: Service) -> None:
    job = create(service, upload(service), validation_file=upload(service, records(10, 5000)))
    until(service, job, "succeeded")
    curves = {"validation_rewards_mean", "validation_response_length_mean"}
    assert any(curves <= each["data"].keys() for each in events(service, job) if each["data"])


def test_two_services_with_one_seed_have_the_same_events() -> None:
    stories: list[list[Any]] = []
    for _ in range(2):
        with Service(reward=handler, seed=7, minimum_records=1) as service:
            job = create(service, upload(service, records(40)))
            until(service, job, "succeeded")
            stories.append([each["data"] for each in events(service, job)])
    assert stories[0] == stories[1]


def test_cancelling_takes_effect_between_steps() -> None:
    with Service(reward=handler, pace=30) as service:
        job, waiting = create(service, file := upload(service)), create(service, file)
        until(service, job, "running")
        assert until(service, waiting, "queued")
        reply = service.handle(Request("POST", f"{JOBS}/{job}/cancel"))
        assert reply.json()["status"] == "cancelled"
        found_events = events(service, job)
        assert "cancelled" in found_events[-1]["message"]
        until(service, waiting, "running")
        assert events(service, job) == found_events
        again = service.handle(Request("POST", f"{JOBS}/{job}/cancel"))
        assert again.status == 400
        assert "cancelled" in problem(again)["message"]
        assert service.handle(Request("POST", f"{JOBS}/{waiting}/cancel")).ok


def test_a_restart_continues_after_the_last_stored_step(tmp_path: Path) -> None:
    with Service(tmp_path, reward=handler) as service:
        straight = create(service, upload(service))
        until(service, straight, "succeeded")
        whole = [each["data"] for each in events(service, straight) if each["data"]]
    calls = threading.Semaphore(0)

    def slowly(event: list[dict[str, Any]], context: object) -> list[dict[str, Any]]:
        calls.release()
        return handler(event, context)

    with Service(tmp_path, reward=slowly, pace=0.001) as service:
        job = create(service, get(service, "/files")["data"][0]["id"])
    stored = 0
    for _ in range(3):
        with Service(tmp_path, reward=slowly, pace=0.001) as service:
            assert len(steps(service, job)) >= stored
            for _ in range(8):
                calls.acquire(timeout=10)
        with Service(tmp_path, reward=handler, pace=60) as service:
            stored = len(steps(service, job))
    with Service(tmp_path, reward=handler) as service:
        assert until(service, job)["status"] == "succeeded"
        assert [each["data"] for each in events(service, job) if each["data"]] == whole
        assert len({each["id"] for each in events(service, job)}) == len(events(service, job))
        assert len(get(service, f"{JOBS}/{job}/checkpoints")["data"]) == 4
        assert get(service, f"{JOBS}/{job}")["trained_tokens"] == get(service, f"{JOBS}/{straight}")["trained_tokens"]


# Failures


def raises(_event: object, _context: object) -> None:
    raise KeyError("reference")


def returns_nothing(_event: object, _context: object) -> None:
    return None


@pytest.mark.parametrize(("reward", "expected"), [(raises, "raised KeyError"), (returns_nothing, "None")])
def test_a_reward_that_fails_fails_the_job(reward: Any, expected: str) -> None:
    with Service(reward=reward) as service:
        job = create(service, upload(service))
        failed = until(service, job)
        assert failed["status"] == "failed"
        assert failed["error"]["code"] == "reward_function_error"
        assert expected in failed["error"]["message"]
        assert failed["finished_at"]
        assert failed["fine_tuned_model"] is None
        assert events(service, job)[-1]["level"] == "error"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"not json\n", "not JSON"),
        (json.dumps(records(1)[0]).encode(), "at least 100 are needed"),
        (b"\x1f\x8b", "gzip"),
    ],
)
def test_an_invalid_file_fails_the_job(service: Service, content: bytes, expected: str) -> None:
    failed = until(service, create(service, upload(service, content)))
    assert failed["status"] == "failed"
    assert failed["error"]["code"] == "invalid_training_file"
    assert failed["error"]["param"] == "training_file"
    assert expected in failed["error"]["message"]


def test_a_deleted_file_fails_the_job() -> None:
    with Service(reward=handler, pace=30) as service:
        first, file = create(service, upload(service)), upload(service)
        job = create(service, file)
        until(service, first, "running")
        until(service, job, "queued")
        assert service.handle(Request("DELETE", f"/files/{file}")).ok
        service.handle(Request("POST", f"{JOBS}/{first}/cancel"))
        assert "was deleted" in until(service, job)["error"]["message"]


def test_rewards_are_found_by_name_or_arn() -> None:
    other = "arn:aws:lambda:us-west-2:123456789012:function:other"
    with Service(reward={"reward": handler, other: handler}, minimum_records=1) as service:
        file = upload(service, records(4))
        for arn in (ARN, f"{ARN}:prod", other, f"{other}:$LATEST"):
            assert until(service, create(service, file, arn=arn))["status"] == "succeeded"
        failed = until(service, create(service, file, arn=f"{ARN}-not"))
        assert failed["error"]["code"] == "reward_function_not_found"
        assert "Function not found" in failed["error"]["message"]
    with Service() as service:
        assert "without a reward" in until(service, create(service, upload(service)))["error"]["message"]


def test_documented_payload_shapes() -> None:
    seen: list[dict[str, Any]] = []

    def sample(event: list[dict[str, Any]], _: object) -> list[dict[str, Any]]:
        seen.extend(event)
        return [{"id": each["id"], "aggregate_reward_score": 0.5} for each in event]

    with Service(reward=sample, payload="top_level", wrap_text=True, invocation_size=5, group_size=4) as service:
        until(service, create(service, upload(service)), "succeeded")
    assert set(seen[0]["reference_answer"]) == {"text"}
    assert len(seen) == 120 * 4


@pytest.mark.parametrize(
    "settings", [{"reward": "nowhere.py:handler"}, {"payload": "other", "reward": handler}, {"pace": -1}]
)
def test_invalid_settings_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Service(**settings)


# Files


def test_files_are_kept_listed_and_deleted(tmp_path: Path) -> None:
    name = '../../"quoted"\r\n/é.jsonl'
    with Service(tmp_path / "state", reward=handler) as service:
        file = upload(service, b"anything", name)
        shown = get(service, f"/files/{file}")
        assert shown["filename"] == name
        assert shown["bytes"] == 8
        assert shown["purpose"] == "fine-tune"
        assert service.handle(Request("GET", f"/files/{file}/content")).content == b"anything"
        assert [path.name for path in (tmp_path / "state" / "contents").iterdir()] == [file]
        assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
        assert service.handle(Request("DELETE", f"/files/{file}")).json() == {
            "id": file,
            "object": "file",
            "deleted": True,
        }
        assert service.handle(Request("DELETE", f"/files/{file}")).status == 404
        assert list((tmp_path / "state" / "contents").iterdir()) == []


@pytest.mark.parametrize(
    "key", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e", "..%2Fservice.sqlite3", "%00", "local-file-0", "é"]
)
def test_ids_are_never_used_as_paths_in_process(service: Service, key: str) -> None:
    for call in (
        Request("GET", f"/files/{key}"),
        Request("GET", f"/files/{key}/content"),
        Request("DELETE", f"/files/{key}"),
    ):
        reply = service.handle(call)
        assert reply.status == 404
        assert problem(reply)["code"] == "not_found"


def test_other_purposes_are_refused_and_filter_lists(service: Service) -> None:
    reply = service.handle(Request("POST", "/files", upload=Upload(source(b"x"), purpose="assistants")))
    assert (reply.status, problem(reply)["param"]) == (400, "purpose")
    upload(service, b"x")
    assert get(service, "/files", purpose="fine-tune")["data"]
    assert get(service, "/files", purpose="batch")["data"] == []


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"some"
        raise OSError("gone")

    with Service(tmp_path) as service:
        assert service.receive_file(filename="x", purpose="fine-tune", chunks=broken()).status == 500
        assert get(service, "/files")["data"] == []
        assert list((tmp_path / "contents").iterdir()) == []


# Pages


def test_pages_follow_each_other_without_a_gap(service: Service) -> None:
    made = [upload(service, b"x", f"{number}") for number in range(25)]
    page = get(service, "/files")
    assert len(page["data"]) == 20
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (made[24], made[5])
    rest = get(service, "/files", after=page["last_id"], limit=100)
    assert [each["id"] for each in rest["data"]] == made[4::-1]
    assert rest["has_more"] is False
    oldest = get(service, "/files", order="asc", limit=3)
    assert [each["id"] for each in oldest["data"]] == made[:3]
    assert get(service, "/files", order="asc", after=made[-1])["data"] == []


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": -1}, {"limit": "ten"}, {"limit": "１"}, {"order": "up"}, {"after": "x"}]
)
def test_parameters_of_a_list_are_checked(service: Service, query: dict[str, Any]) -> None:
    reply = service.handle(Request("GET", "/files", query=query))
    assert (reply.status, problem(reply)["param"]) == (400, next(iter(query)))


# Strictness


def put(target: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(target))
    *way, last = path.split(".")
    here = found
    for name in way:
        here = here[name]
    here[last] = value
    return found


SETTINGS = "method.reinforcement.hyperparameters"
FUNCTION = "method.reinforcement.grader.lambda.function"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("suffix", "mine"),
        ("seed", 1),
        ("model", "gpt-4o"),
        ("model", 7),
        ("training_file", "local-file-none"),
        ("training_file", None),
        ("validation_file", "local-file-none"),
        ("method.type", "supervised"),
        ("method.more", 1),
        ("method.reinforcement.more", 1),
        ("method.reinforcement.grader.type", "python"),
        ("method.reinforcement.grader.role", "arn"),
        (FUNCTION, "arn:aws:s3:::bucket"),
        (FUNCTION, "reward"),
        (FUNCTION, "arn:aws:lambda:us-west-2:１２３４５６７８９０１２:function:reward"),
        (f"{SETTINGS}.n_epochs", 0),
        (f"{SETTINGS}.n_epochs", "1"),
        (f"{SETTINGS}.n_epochs", True),
        (f"{SETTINGS}.batch_size", -4),
        (f"{SETTINGS}.batch_size", 4.5),
        (f"{SETTINGS}.learning_rate_multiplier", 0),
        (f"{SETTINGS}.learning_rate_multiplier", float("inf")),
        (f"{SETTINGS}", {"epochCount": [1]}),
        ("metadata", {"k" * 65: "v"}),
        ("metadata", {"k": "v" * 513}),
        ("metadata", {str(number): "v" for number in range(17)}),
        ("metadata", {"k": 1}),
    ],
)
def test_creation_is_read_strictly(service: Service, path: str, value: Any) -> None:
    reply = service.handle(Request("POST", JOBS, json=put(body(upload(service, b"x")), path, value)))
    assert reply.status == 400
    found = problem(reply)
    assert found["code"] == "validation_error"
    assert found["param"].startswith(path)
    if path == "suffix":
        assert found["message"] == "suffix is not supported."
    assert get(service, JOBS)["data"] == []


@pytest.mark.parametrize("content", [None, [], "text", {}])
def test_bodies_that_are_not_jobs_are_refused(service: Service, content: Any) -> None:
    assert service.handle(Request("POST", JOBS, json=content)).status == 400


def test_unknown_paths_are_404_and_empty(service: Service) -> None:
    for path in ("/completions", "/uploads", "/", "", "/files/", f"{JOBS}/x/pause", "/v1/files"):
        reply = service.handle(Request("GET", path))
        assert (reply.status, reply.content) == (404, b"")
        assert (reply.request_id or "").startswith("local-req-")
    reply = service.handle(Request("DELETE", JOBS))
    assert (reply.status, reply.headers["allow"]) == (405, "POST, GET")


def test_jobs_and_models_that_do_not_exist(service: Service) -> None:
    for path in (f"{JOBS}/x", f"{JOBS}/x/events", f"{JOBS}/x/checkpoints", "/models/x"):
        assert service.handle(Request("GET", path)).status == 404
    assert service.handle(Request("POST", f"{JOBS}/x/cancel")).status == 404
    asked = service.handle(Request("POST", "/chat/completions", json={"model": "x", "messages": [{"role": "user"}]}))
    assert problem(asked)["code"] == "model_not_found"


def test_a_repeated_idempotency_key_makes_a_second_job(service: Service) -> None:
    file = upload(service)
    call = Request("POST", JOBS, json=body(file), headers={"Idempotency-Key": "one"})
    assert service.handle(call).json()["id"] != service.handle(call).json()["id"]


# Chat


def ask(service: Service, **fields: Any) -> Response:
    return service.handle(
        Request("POST", "/chat/completions", json={"model": MODEL, "messages": records()[0]["messages"], **fields})
    )


def test_answers_follow_their_seed_and_limits(service: Service) -> None:
    upload(service)
    one, two = (ask(service, n=5, seed=3).json()["choices"] for _ in range(2))
    assert one == two
    assert len({each["message"]["content"] for each in ask(service, n=40, seed=3).json()["choices"]}) > 3
    short = ask(service, temperature=0, max_tokens=2).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 2
    assert short["usage"]["total_tokens"] == short["usage"]["prompt_tokens"] + 2


def test_a_prompt_of_no_file_gets_an_explanation(service: Service) -> None:
    upload(service)
    upload(service, b"no training file")
    reply = ask(service, messages=[{"role": "user", "content": "Who are you?"}])
    assert "this prompt is not in any uploaded file" in reply.json()["choices"][0]["message"]["content"]


def test_streamed_chunks_add_up(service: Service) -> None:
    upload(service)
    whole = ask(service, temperature=0).json()["choices"][0]["message"]["content"]
    reply = ask(service, temperature=0, stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in reply.content.decode().split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert "".join(each["choices"][0]["delta"].get("content", "") for each in chunks[:-1]) == whole
    assert chunks[-1]["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": "hi"},
        {"n": 0},
        {"temperature": 3},
        {"max_tokens": 0},
        {"stream": "yes"},
        {"model": None},
    ],
)
def test_chat_requests_are_checked(service: Service, fields: dict[str, Any]) -> None:
    assert (ask(service, **fields).status, problem(ask(service, **fields))["param"]) == (400, next(iter(fields)))


def test_responses(service: Service) -> None:
    upload(service)
    prompt = records()[0]["messages"][0]["content"]
    call = {"model": MODEL, "temperature": 0}
    shapes: list[Any] = [prompt, [{"role": "user", "content": [{"type": "input_text", "text": prompt}]}]]
    texts = [
        service.handle(Request("POST", "/responses", json={**call, "input": shape})).json()["output"][0]["content"][0][
            "text"
        ]
        for shape in shapes
    ]
    assert texts[0] == texts[1]
    assert "not in any uploaded file" not in texts[0]
    cut = service.handle(Request("POST", "/responses", json={**call, "input": prompt, "max_output_tokens": 1})).json()
    assert cut["status"] == "incomplete"
    for bad in (None, 7, [{"content": "x"}], [{"role": "user", "content": [{"type": "input_image"}]}]):
        assert service.handle(Request("POST", "/responses", json={**call, "input": bad})).status == 400


# The directory


def test_a_directory_serves_one_service_at_a_time(tmp_path: Path) -> None:
    with Service(tmp_path), pytest.raises(ConfigurationError, match="other local service"):
        Service(tmp_path)
    with Service(tmp_path):
        pass


def test_a_directory_of_another_version_is_refused(tmp_path: Path) -> None:
    with Service(tmp_path):
        pass
    with sqlite3.connect(tmp_path / "service.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(ConfigurationError, match="another version"):
        Service(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Service(tmp_path / "file")


def test_closing_ends_everything() -> None:
    before = set(threading.enumerate())
    service = Service(reward=handler)
    service.close()
    service.close()
    assert set(threading.enumerate()) <= before
    assert service.handle(Request("GET", "/files")).status == 503


# The transport


class Taken:
    def __init__(self) -> None:
        self.content = b"stale"

    def restart(self) -> None:
        self.content = b""

    def write(self, chunk: bytes, /) -> None:
        self.content += chunk


def test_the_transport_answers_in_one_step(service: Service) -> None:
    transport = LocalTransport(service)
    file = upload(service, b"content")
    taken = Taken()
    reply = run_sync(transport.send(Request("GET", f"/files/{file}/content", sink=taken)))
    assert (reply.content, taken.content) == (b"", b"content")
    missed = Taken()
    assert run_sync(transport.send(Request("GET", "/files/x/content", sink=missed))).content
    assert missed.content == b"stale"
    run_sync(transport.sleep(3600))
    assert run_sync(transport.run(lambda: 7)) == 7
    run_sync(transport.close())
    assert transport.region == "us-west-2"
    asyncio.run(LocalTransport(service, blocking=False).sleep(3600))
    service.close()
    with pytest.raises(APIConnectionError):
        run_sync(transport.send(Request("GET", "/files")))


def test_openai_in_process(service: Service) -> None:
    rows = records()
    with LocalTransport(service).openai(max_retries=0) as client:
        content = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        file = client.files.create(file=("nämlich.jsonl", content), purpose="fine-tune")
        assert file.filename == "nämlich.jsonl"
        assert client.files.content(file.id).content == content
        job = client.post(JOBS, body=body(file.id), cast_to=object)
        model = until(service, job["id"], "succeeded")["fine_tuned_model"]
        assert client.fine_tuning.jobs.retrieve(job["id"]).status == "succeeded"
        answer = client.chat.completions.create(model=model, messages=rows[0]["messages"], temperature=0)
        pieces = client.chat.completions.create(model=model, messages=rows[0]["messages"], temperature=0, stream=True)
        assert "".join(each.choices[0].delta.content or "" for each in pieces) == answer.choices[0].message.content
        assert client.responses.create(model=model, input=rows[0]["messages"], temperature=0).output_text
        stream = client.responses.create(model=model, input="other", stream=True)
        assert [each.type for each in stream][-1] == "response.completed"


def test_async_openai_in_process(service: Service) -> None:
    async def run() -> list[str]:
        async with LocalTransport(service).openai(max_retries=0, blocking=False) as client:
            return [model.id async for model in client.models.list()]

    assert MODEL in asyncio.run(run())
