"""The routes for files, jobs and models."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bedrock_rft._transport.transport import Request, Response
from bedrock_rft.errors import DatasetError
from bedrock_rft.local._service.requests import (
    LABEL,
    CreateJob,
    ListParameters,
    ServiceError,
    is_base_model,
    json_response,
    list_response,
    new_id,
    validate_body,
)
from bedrock_rft.local._service.store import Page, Store
from bedrock_rft.types.models import KNOWN_MODELS

ACTIVE = ("validating_files", "queued", "running")
_MAX_NAME_CHARS = 1024


def _current_time() -> int:
    return int(time.time())


def _not_found(kind: str, key: str) -> ServiceError:
    return ServiceError(404, f"There is no {kind} '{key[:100]}'.", code="not_found", param="id")


def new_event(message: str, *, level: str = "info", data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return an event of a job, created now. With `data`, the type of the event is `metrics`."""
    return {
        "id": new_id("ftevent"),
        "object": "fine_tuning.job.event",
        "created_at": _current_time(),
        "level": level,
        "message": message,
        "type": "message" if data is None else "metrics",
        "data": data,
    }


class _Resource:
    """Base class of the routes of one kind of object."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _list(self, request: Request, kind: str, parent: str = "") -> Response:
        parameters = {name: value for name, value in request.query.items() if value is not None}
        query = validate_body(ListParameters, parameters)
        label = query.purpose if kind == "file" else ""
        try:
            ascending = query.order == "asc"
            return list_response(self._store.page(kind, parent, label, query.after, query.limit, ascending=ascending))
        except KeyError:
            raise ServiceError(400, f"after: there is no {kind} '{query.after[:100]}'.", param="after") from None

    def _get(self, kind: str, key: str) -> dict[str, Any]:
        payload = self._store.get(kind, key)
        if payload is None:
            raise _not_found(kind, key)
        return payload


class Files(_Resource):
    """Routes under `/files`."""

    def upload(self, request: Request) -> Response:
        """Handle `POST /files`."""
        if request.upload is None:
            message = "Upload a file as multipart/form-data with the parts 'purpose' and 'file'."
            raise ServiceError(400, message, param="file")
        try:
            return self.receive(request.upload.filename, request.upload.purpose, request.upload.content())
        except DatasetError as error:
            raise ServiceError(400, error.message, param="file") from error

    def receive(self, filename: str, purpose: str, chunks: Iterable[bytes]) -> Response:
        """Store a file. Its name is returned as it is, and never used as a path."""
        if purpose != "fine-tune":
            raise ServiceError(400, f"purpose is '{purpose[:100]}'; it must be 'fine-tune'.", param="purpose")
        if not filename or len(filename) > _MAX_NAME_CHARS:
            raise ServiceError(400, f"The file's name must have 1 to {_MAX_NAME_CHARS} characters.", param="file")
        payload = {
            "id": new_id("file"),
            "object": "file",
            "bytes": 0,
            "created_at": _current_time(),
            "filename": filename,
            "purpose": purpose,
            "status": "processed",
            "status_details": None,
            "expires_at": None,
        }
        return json_response(self._store.add_file(payload, chunks))

    def list(self, request: Request) -> Response:
        """Handle `GET /files`."""
        return self._list(request, "file")

    def retrieve(self, _: Request, file: str) -> Response:
        """Handle `GET /files/{id}`."""
        return json_response(self._get("file", file))

    def content(self, request: Request, file: str) -> Response:
        """Handle `GET /files/{id}/content`: write the content into the request's sink if it has one, else return it."""
        head, chunks = self.open(file)
        if request.sink is None:
            return Response(head.status, head.headers, b"".join(chunks))
        request.sink.restart()
        for chunk in chunks:
            request.sink.write(chunk)
        return head

    def open(self, file: str) -> tuple[Response, Iterator[bytes]]:
        """Return the response without its body, and the chunks of the body."""
        try:
            chunks = self._store.read_file(file)
        except FileNotFoundError:
            raise _not_found("file", file) from None
        return Response(200, {"content-type": "application/octet-stream"}, b""), chunks

    def delete(self, _: Request, file: str) -> Response:
        """Handle `DELETE /files/{id}`."""
        if not self._store.delete_file(file):
            raise _not_found("file", file)
        return json_response({"id": file, "object": "file", "deleted": True})


class Jobs(_Resource):
    """Routes under `/fine_tuning/jobs`."""

    def __init__(self, store: Store, *, wake: Callable[[], None], seed: int) -> None:
        super().__init__(store)
        self._wake = wake
        self._seed = seed

    def create(self, request: Request) -> Response:
        """Handle `POST /fine_tuning/jobs`.

        An `Idempotency-Key` is ignored, because the service is not known to support it.
        """
        body = validate_body(CreateJob, request.json)
        if not is_base_model(body.model):
            models = ", ".join(sorted(KNOWN_MODELS))
            message = f"The model '{body.model[:100]}' cannot be tuned. Use one of: {models}."
            raise ServiceError(400, message, param="model")
        for name in ("training_file", "validation_file"):
            file = getattr(body, name)
            if file is not None and self._store.get("file", file) is None:
                raise ServiceError(400, f"There is no file '{file[:100]}'.", param=name)
        settings = body.method.reinforcement.hyperparameters.model_dump()
        grader = body.method.reinforcement.grader.model_dump(by_alias=True)
        payload: dict[str, Any] = {
            "id": new_id("ftjob"),
            "object": "fine_tuning.job",
            "created_at": _current_time(),
            "finished_at": None,
            "estimated_finish": None,
            "model": body.model,
            "fine_tuned_model": None,
            "organization_id": "local-service",
            "status": "validating_files",
            "training_file": body.training_file,
            "validation_file": body.validation_file,
            "result_files": [],
            "trained_tokens": None,
            "error": None,
            "hyperparameters": settings,
            "method": {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": settings}},
            "integrations": [],
            "metadata": body.metadata or {},
            "seed": self._seed,
        }
        job = payload["id"]
        with self._store.transaction():
            self._store.add("job", payload, label=payload["status"])
            self._log(job, f"{LABEL}: created job {job}. No model is trained and nothing is billed.")
            self._log(job, f"{LABEL}: validating the training file {body.training_file}.")
            for name in body.unsupported_hyperparameters:
                message = f"{LABEL}: the hyperparameter '{name[:100]}' is accepted but not used here. It has no effect."
                self._log(job, message, level="warn")
        self._wake()
        return json_response(payload)

    def _log(self, job: str, message: str, level: str = "info") -> None:
        self._store.add("event", new_event(message, level=level), parent=job)

    def list(self, request: Request) -> Response:
        """Handle `GET /fine_tuning/jobs`."""
        return self._list(request, "job")

    def retrieve(self, _: Request, job: str) -> Response:
        """Handle `GET /fine_tuning/jobs/{id}`."""
        return json_response(self._get("job", job))

    def cancel(self, _: Request, job: str) -> Response:
        """Handle `POST /fine_tuning/jobs/{id}/cancel`. The job cannot be resumed."""
        with self._store.transaction():
            job_before = self._get("job", job)
            payload = self._store.update_job(job, expect=ACTIVE, status="cancelled", finished_at=_current_time())
            if payload is None:
                message = f"The job '{job}' cannot be cancelled: it is already {job_before['status']}."
                raise ServiceError(400, message, code="job_not_active")
            self._log(job, f"{LABEL}: the job was cancelled.")
        self._wake()
        return json_response(payload)

    def events(self, request: Request, job: str) -> Response:
        """Handle `GET /fine_tuning/jobs/{id}/events`."""
        self._get("job", job)
        return self._list(request, "event", job)

    def checkpoints(self, request: Request, job: str) -> Response:
        """Handle `GET /fine_tuning/jobs/{id}/checkpoints`."""
        self._get("job", job)
        return self._list(request, "checkpoint", job)


class Models(_Resource):
    """Routes under `/models`, for base models and tuned models."""

    def list(self, _: Request) -> Response:
        """Handle `GET /models`."""
        base = [_model_object(name, 0, name.partition(".")[0]) for name in sorted(KNOWN_MODELS)]
        tuned = [_model_object(name, created, "local-service") for name, created in self._store.tuned_models()]
        return list_response(Page(base + tuned, has_more=False))

    def retrieve(self, _: Request, model: str) -> Response:
        """Handle `GET /models/{id}`, also for checkpoints."""
        if is_base_model(model):
            return json_response(_model_object(model, 0, model.partition(".")[0]))
        stored_model = self._store.find_model(model)
        if stored_model is None:
            raise ServiceError(404, f"There is no model '{model[:200]}'.", code="model_not_found", param="model")
        return json_response(_model_object(model, stored_model.created, "local-service"))


def _model_object(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
