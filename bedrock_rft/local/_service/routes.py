"""Files, jobs and models: each route a function of the store and the request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import DatasetError
from bedrock_rft.local._service.requests import CreateJob, is_base, listing, parameter, read
from bedrock_rft.local._service.responses import REHEARSAL, Problem, made, new_id, page
from bedrock_rft.local._service.store import Rows, Store
from bedrock_rft.types.models import KNOWN_MODELS

__all__ = ["ACTIVE", "Files", "Jobs", "Models", "event"]

ACTIVE = ("validating_files", "queued", "running")
_LONGEST_NAME = 1024


def _now() -> int:
    return int(time.time())


def _unknown(kind: str, key: str, param: str = "id") -> Problem:
    return Problem(404, f"There is no {kind} '{key[:100]}'.", code="not_found", param=param)


def event(message: str, *, level: str = "info", data: dict[str, Any] | None = None) -> dict[str, Any]:
    """One line of a job's log, made now; with `data` it is one of type `metrics`."""
    return {
        "id": new_id("ftevent"),
        "object": "fine_tuning.job.event",
        "created_at": _now(),
        "level": level,
        "message": message,
        "type": "message" if data is None else "metrics",
        "data": data,
    }


class _Resource:
    def __init__(self, store: Store) -> None:
        self._store = store

    def _page(self, call: Request, kind: str, *, parent: str = "", label: str = "") -> Response:
        wanted = listing(call)
        try:
            rows = self._store.page(
                kind, parent=parent, label=label, after=wanted.after, limit=wanted.limit, ascending=wanted.ascending
            )
        except KeyError:
            raise Problem(400, f"after: there is no {kind} '{(wanted.after or '')[:100]}'.", param="after") from None
        return page(rows)


class Files(_Resource):
    """`/files`."""

    def upload(self, call: Request) -> Response:
        """`POST /files`."""
        if call.upload is None:
            raise Problem(
                400, "A file is uploaded as multipart/form-data with the parts 'purpose' and 'file'.", param="file"
            )
        try:
            return self.receive(call.upload.filename, call.upload.purpose, call.upload.content())
        except DatasetError as error:
            raise Problem(400, error.message, param="file") from error

    def receive(self, filename: str, purpose: str, chunks: Iterable[bytes]) -> Response:
        """Keep a file. Its name is shown again and used for nothing else."""
        if purpose != "fine-tune":
            raise Problem(400, "purpose must be 'fine-tune'.", param="purpose")
        if not filename or len(filename) > _LONGEST_NAME:
            raise Problem(400, f"The file's name must have 1 to {_LONGEST_NAME} characters.", param="file")
        payload = {
            "id": new_id("file"),
            "object": "file",
            "bytes": 0,
            "created_at": _now(),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
            "status_details": None,
            "expires_at": None,
        }
        return made(self._store.keep(payload, chunks))

    def list(self, call: Request) -> Response:
        """`GET /files`."""
        return self._page(call, "file", label=parameter(call.query, "purpose") or "")

    def retrieve(self, _: Request, file: str) -> Response:
        """`GET /files/{id}`."""
        payload = self._store.get("file", file)
        if payload is None:
            raise _unknown("file", file)
        return made(payload)

    def content(self, call: Request, file: str) -> Response:
        """`GET /files/{id}/content`, into the call's sink where it has one."""
        head, chunks = self.open(file)
        if call.sink is None:
            return Response(head.status, head.headers, b"".join(chunks))
        call.sink.restart()
        for chunk in chunks:
            call.sink.write(chunk)
        return head

    def open(self, file: str) -> tuple[Response, Iterator[bytes]]:
        """The same in two parts: a reply without its body, and the body."""
        try:
            chunks = self._store.content(file)
        except FileNotFoundError:
            raise _unknown("file", file) from None
        return Response(200, {"content-type": "application/octet-stream"}, b""), chunks

    def delete(self, _: Request, file: str) -> Response:
        """`DELETE /files/{id}`."""
        if not self._store.forget(file):
            raise _unknown("file", file)
        return made({"id": file, "object": "file", "deleted": True})


class Jobs(_Resource):
    """`/fine_tuning/jobs`."""

    def __init__(self, store: Store, *, wake: Callable[[], None], seed: int) -> None:
        super().__init__(store)
        self._wake = wake
        self._seed = seed

    def create(self, call: Request) -> Response:
        """`POST /fine_tuning/jobs`. An `Idempotency-Key` is ignored: nobody has seen the service honour one."""
        wanted = read(CreateJob, call.json)
        if not is_base(wanted.model):
            known = ", ".join(sorted(KNOWN_MODELS))
            raise Problem(
                400, f"The model '{wanted.model[:100]}' cannot be tuned here; these can: {known}.", param="model"
            )
        for name in ("training_file", "validation_file"):
            file = getattr(wanted, name)
            if file is not None and self._store.get("file", file) is None:
                raise Problem(400, f"There is no file '{file[:100]}'.", param=name)
        settings = wanted.method.reinforcement.hyperparameters.model_dump()
        grader = wanted.method.reinforcement.grader.model_dump(by_alias=True)
        payload: dict[str, Any] = {
            "id": new_id("ftjob"),
            "object": "fine_tuning.job",
            "created_at": _now(),
            "finished_at": None,
            "estimated_finish": None,
            "model": wanted.model,
            "fine_tuned_model": None,
            "organization_id": "local-rehearsal",
            "status": "validating_files",
            "training_file": wanted.training_file,
            "validation_file": wanted.validation_file,
            "result_files": [],
            "trained_tokens": None,
            "error": None,
            "hyperparameters": settings,
            "method": {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": settings}},
            "integrations": [],
            "metadata": wanted.metadata or {},
            "seed": self._seed,
        }
        with self._store.transaction():
            self._store.add("job", payload, label=payload["status"])
            self._log(
                payload["id"], f"{REHEARSAL}: created job {payload['id']}. No model is trained and nothing is billed."
            )
            self._log(payload["id"], f"{REHEARSAL}: validating the training file {wanted.training_file}.")
        self._wake()
        return made(payload)

    def _log(self, job: str, message: str) -> None:
        self._store.add("event", event(message), parent=job)

    def list(self, call: Request) -> Response:
        """`GET /fine_tuning/jobs`."""
        return self._page(call, "job")

    def _job(self, job: str) -> dict[str, Any]:
        payload = self._store.get("job", job)
        if payload is None:
            raise _unknown("job", job)
        return payload

    def retrieve(self, _: Request, job: str) -> Response:
        """`GET /fine_tuning/jobs/{id}`."""
        return made(self._job(job))

    def cancel(self, _: Request, job: str) -> Response:
        """`POST /fine_tuning/jobs/{id}/cancel`: at once, and for good."""
        with self._store.transaction():
            before = self._job(job)
            payload = self._store.change(job, expect=ACTIVE, status="cancelled", finished_at=_now())
            if payload is None:
                raise Problem(
                    400, f"The job '{job}' has ended already: it is {before['status']}.", code="job_not_active"
                )
            self._log(job, f"{REHEARSAL}: the job was cancelled.")
        self._wake()
        return made(payload)

    def events(self, call: Request, job: str) -> Response:
        """`GET /fine_tuning/jobs/{id}/events`."""
        self._job(job)
        return self._page(call, "event", parent=job)

    def checkpoints(self, call: Request, job: str) -> Response:
        """`GET /fine_tuning/jobs/{id}/checkpoints`."""
        self._job(job)
        return self._page(call, "checkpoint", parent=job)


class Models(_Resource):
    """`/models`: what can be tuned, and what was."""

    def list(self, _: Request) -> Response:
        """`GET /models`."""
        base = [_model(name, 0, name.partition(".")[0]) for name in sorted(KNOWN_MODELS)]
        tuned = [_model(name, created, "local-rehearsal") for name, created in self._store.tuned()]
        return page(Rows(base + tuned, has_more=False))

    def retrieve(self, _: Request, model: str) -> Response:
        """`GET /models/{id}`; a checkpoint is a model too."""
        if is_base(model):
            return made(_model(model, 0, model.partition(".")[0]))
        known = self._store.model(model)
        if known is None:
            raise Problem(404, f"There is no model '{model[:200]}'.", code="model_not_found", param="model")
        return made(_model(model, known[1], "local-rehearsal"))


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
