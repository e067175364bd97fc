"""`bedrock-rft models`."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from bedrock_rft._cli.command import Group
from bedrock_rft._cli.completion import job_ids
from bedrock_rft._cli.output import Columns, date, show, show_list, show_one
from bedrock_rft._cli.settings import open_client

_TIMEOUT = 600.0  # seconds; a reasoning model may think for minutes

_COLUMNS: Columns = {
    "id": lambda model: model.id,
    "owner": lambda model: model.owned_by,
    "created": lambda model: date(model.created or None),  # 0 is not a time
}

models = Group("models", help="List models, and ask a model a question.")


@models.command("list", shape="a list of bedrock_rft.types.Model")
def list_models() -> None:
    """List the models that the endpoint serves."""
    with open_client() as client:
        show_list(client.models.list(), _COLUMNS, empty="The endpoint serves no models.")


@models.command("get", shape="bedrock_rft.types.Model")
@click.argument("model")
def get(model: str) -> None:
    """Show one model."""
    with open_client() as client:
        show_one(client.models.retrieve(model), _COLUMNS)


@models.command("ask", shape="the chat completion of the service, as in OpenAI's API")
@click.argument("model", shell_complete=job_ids)
@click.argument("question", required=False)
@click.option("--system", metavar="TEXT", help="A system message.")
@click.option("--max-tokens", type=click.IntRange(1), metavar="N", help="Maximum tokens of the answer.")
@click.option("--temperature", type=float, metavar="NUMBER", help="Sampling temperature of the answer.")
def ask(
    model: str, question: str | None, system: str | None, max_tokens: int | None, temperature: float | None
) -> None:
    """Ask a model a question, and print its answer. The tokens are billed.

    MODEL is the id of a model, or of a job that has succeeded. Without QUESTION,
    the question is read from standard input.
    """
    if question is None:
        question = sys.stdin.read() if sys.stdin else ""
    if not (question or "").strip():
        raise click.UsageError("There is no question. Pass it as an argument, or on standard input.")
    messages = [{"role": "system", "content": system}] if system else []
    body = {
        "model": model,
        "messages": [*messages, {"role": "user", "content": question}],
        "max_completion_tokens": max_tokens,
        "temperature": temperature,
    }
    with open_client(timeout=_TIMEOUT) as client:
        job = model_or_job(client, model)
        if job != model:
            if not job.fine_tuned_model:
                raise click.UsageError(f"Job {job.id} is {job.status} and has no model. Wait until it succeeds.")
            body["model"] = job.fine_tuned_model
        sent = {name: value for name, value in body.items() if value is not None}
        answer = json.loads(client.request("POST", "/chat/completions", json=sent).content)
    text = _answer_text(answer)
    show(answer, text=text, ids=[text])


def model_or_job(client: Any, name: str) -> Any:
    """Return the job with this id. A name that is not a job id is returned unchanged, as the id of a model."""
    return client.jobs.retrieve(name) if name.startswith(("ftjob-", "local-ftjob-", "job-")) else name


def _answer_text(answer: Any) -> str:
    try:
        return str(answer["choices"][0]["message"]["content"] or "")
    except (KeyError, IndexError, TypeError):
        from bedrock_rft.errors import APIResponseError

        raise APIResponseError("The response is not a chat completion. A proxy may have sent the response.") from None
