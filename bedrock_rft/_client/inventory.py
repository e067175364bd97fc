"""Collect the inventory of an account for `client.inventory`."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from bedrock_rft._core.local_service import REHEARSAL, is_local
from bedrock_rft._core.log import log
from bedrock_rft.costs import Prices, Range
from bedrock_rft.costs._inventory import Asset, Inventory
from bedrock_rft.errors import BedrockRFTError
from bedrock_rft.types import Job

_NO_DELETE = "AWS documents no way to delete the model"
_LOCAL = "on the local service, so not billed"


async def collect(client: Any, *, checkpoints: bool, functions: bool, prices: Prices | None) -> Inventory:
    """Return the inventory with an async client; `AsyncWorkflows.inventory` describes the arguments."""
    table = prices or Prices.load()
    jobs: list[Job] = [job async for job in client.jobs.list()]
    active = [job for job in jobs if not job.is_terminal]
    assets: list[Asset] = []
    incomplete: list[str] = []
    needed = {file for job in active for file in (job.training_file, job.validation_file) if file}
    async for file in client.files.list():
        note = "needed by a job that has not ended" if file.id in needed else ""
        delete = f"client.files.delete({file.id!r})"
        assets.append(Asset("file", file.id, file.filename, file.created_at, file.bytes, None, delete, note))
    for job in jobs:
        note = f"{job.status}; a record that cannot be deleted" if job.is_terminal else f"{job.status}; may be billed"
        note = f"{job.status}; {_LOCAL}" if is_local(job.id) else note
        cancel = "" if job.is_terminal else f"; client.jobs.cancel({job.id!r}) ends it for good"
        assets.append(Asset("job", job.id, job.model, job.created_at, note=note + cancel))
    for job in jobs:
        if job.fine_tuned_model:
            price = table.find("storage", job.model, region=client._session.config.region)
            monthly = Range(price.amount, price.amount) if price and not is_local(job.id) else None
            note = f"of job {job.id}; {_LOCAL if is_local(job.id) else _NO_DELETE}"
            assets.append(Asset("model", job.fine_tuned_model, job.model, job.finished_at, None, monthly, "", note))
    if checkpoints:
        for job in jobs:
            assets += await _checkpoints(client, job, incomplete)
    if functions:
        assets += await _functions(client, jobs, active, incomplete)
    basis = [f"prices: {table.notice or table.origin}", *_storage(table, jobs, client._session.config.region)]
    basis.append("not known: whether checkpoints and files are billed, and whether an unused model is billed")
    if any(is_local(job.id) for job in jobs):
        basis = [f"each job is {REHEARSAL}"]
    return Inventory(tuple(assets), time.time(), table.currency, tuple(incomplete), tuple(basis))


async def _checkpoints(client: Any, job: Job, incomplete: list[str]) -> list[Asset]:
    try:
        found = [one async for one in client.jobs.checkpoints(job)]
    except BedrockRFTError as error:
        log.warning("the checkpoints of job %s could not be listed: %s", job.id, error)
        incomplete.append(f"checkpoints of job {job.id}: {error}")
        return []
    note = f"of job {job.id}; {_LOCAL if is_local(job.id) else _NO_DELETE}"
    return [
        Asset("checkpoint", one.fine_tuned_model_checkpoint or one.id, job.model, one.created_at, note=note)
        for one in found
    ]


async def _functions(client: Any, jobs: list[Job], active: list[Job], incomplete: list[str]) -> list[Asset]:
    from bedrock_rft.access._deployment.account import Account
    from bedrock_rft.access._deployment.function import deployed_functions

    config = client._session.config
    used = {str(job.reward) for job in jobs if job.reward is not None}
    busy = {":".join(str(job.reward).split(":")[:7]) for job in active if job.reward is not None}
    try:
        found = await client._session.transport.run(lambda: deployed_functions(Account(config), used))
    except BedrockRFTError as error:
        incomplete.append(f"functions: {error}")
        return []
    assets: list[Asset] = []
    for name, each in found:
        arn = str(each["FunctionArn"])
        note = "needed by a job that has not ended" if arn in busy else "billed by the invocation only"
        delete = f"client.rewards.destroy({name!r})"
        changed_at = _seconds(each.get("LastModified"))
        assets.append(Asset("function", arn, name, changed_at, each.get("CodeSize"), Range(0, 0), delete, note))
    return assets


def _seconds(text: object) -> float | None:
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()
    except ValueError:
        return None


def _storage(table: Prices, jobs: list[Job], region: str) -> list[str]:
    models = dict.fromkeys(job.model for job in jobs if job.fine_tuned_model)
    prices = [(model, table.find("storage", model, region=region)) for model in models]
    return [f"storage of {model}: {price or 'no price is known'}" for model, price in prices]
