"""Changes that break single rules of the package, and the rows of the matrix that check those rules.

`python tests/support/mutations.py` runs them all in one process and prints the result of every row.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["MUTATIONS", "Mutation"]

_HERE = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mutation:
    """A change that breaks one rule.

    Attributes:
        rule: the rule that no longer holds.
        change: function that breaks the rule.
        files: the name of the test file of its rows.
        red: the rows that have to fail, with each identity that the chosen tests use.
        green: other rows of the file, which have to pass.
        chosen: the tests to run, as pytest's `-k`.
    """

    rule: str
    change: Callable[[pytest.MonkeyPatch], None]
    files: str
    red: str
    green: str
    chosen: str = "not async"


def _return_first(one: Any, *_: Any) -> Any:
    return one


def _return_false(*_: Any) -> bool:
    return False


def _do_nothing(*_: Any) -> None:
    pass


def _repeat_creations(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport.transport import Request

    patch.setattr(Request, "may_repeat", property(_return_first))


def _follow_redirects(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import http_client, response_body

    options = http_client.client_options
    patch.setattr(response_body, "_LOCATION", "location")

    def options_with_redirects(config: Any, library: Any) -> dict[str, Any]:
        return {**options(config, library), "follow_redirects": True}

    def show_location(response: Any, **options: Any) -> None:
        limit(response, **options)
        if "location" in response.extensions:
            response.headers["location"] = response.extensions["location"]

    async def show_location_async(response: Any, **options: Any) -> None:
        show_location(response, **options)

    limit = response_body.limit_response
    patch.setattr(http_client, "client_options", options_with_redirects)
    patch.setattr(http_client, "limit_response", show_location)
    patch.setattr(http_client, "limit_response_async", show_location_async)
    http_client.client_factory.cache_clear()
    patch.setattr(http_client, "client_factory", http_client.client_factory.__wrapped__)


def _trust_any_certificate(patch: pytest.MonkeyPatch) -> None:
    import ssl

    from bedrock_rft._transport import http_client

    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE

    def any_certificate(_: Any) -> ssl.SSLContext:
        return blind

    patch.setattr(http_client, "tls_context", any_certificate)


def _cache_credentials(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._auth.api_key import KeySource
    from bedrock_rft._auth.aws_credentials import AwsCredentials

    def cache_result(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        kept: dict[int, Any] = {}

        def cached(one: Any) -> Any:
            if id(one) not in kept:
                kept[id(one)] = ask(one)
            return kept[id(one)]

        return cached

    patch.setattr(AwsCredentials, "freeze", cache_result(AwsCredentials.freeze))
    patch.setattr(KeySource, "current_key", cache_result(KeySource.current_key))


def _ignore_clock_offset(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import signing as _signing

    patch.setattr(_signing, "_clock_offset", _do_nothing)


def _adopt_similar_job(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources import create_job as _create
    from bedrock_rft.types.jobs import Job

    find = _create.find

    async def find_similar(jobs: Any, marker: str, **known: Any) -> Any:
        found = await find(jobs, marker, **known)
        alike = [job async for job in jobs._pages(_create.JOBS, Job, {"limit": 100})]
        return found or next((job for job in alike if job.training_file == known["training_file"]), None)

    patch.setattr(_create, "find", find_similar)


def _attach_key_to_error(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import openai as _openai
    from bedrock_rft._transport import sigv4 as _sigv4
    from bedrock_rft._transport.connection_errors import map_connection_error as mapped

    def with_its_key(error: Any, call: Any, config: Any, outside: Any) -> Any:
        mapped_error: Any = mapped(error, call, config, outside)
        mapped_error.key = config.key.constant_key() if config.key else config.aws.freeze().secret_key
        return mapped_error

    for carrier in (_openai, _sigv4):
        patch.setattr(carrier, "map_connection_error", with_its_key)


def _skip_redaction(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import status_errors as _refusal

    patch.setattr(_refusal, "_redact_service_text", _return_first)


def _send_all_headers(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import openai as _openai
    from bedrock_rft._transport import signing as _signing

    def all_headers(found: Any, _: Any) -> dict[str, str]:
        return {name.lower(): value for name, value in found.items()}

    for carrier in (_openai, _signing):
        patch.setattr(carrier, "own_headers", all_headers)


def _end_wait_at_first_error(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources import wait as _watch

    patch.setattr(_watch.FailureTracker, "poll_again", _return_false)


def _forget_events(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources.event_log import EventLog

    begin = EventLog.__init__

    def without_memory(self: Any, *given: Any) -> None:
        begin(self, *given)
        self._seen = type("Nothing", (set,), {"update": _do_nothing})()

    patch.setattr(EventLog, "__init__", without_memory)


def _retry_at_once(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import retry as _retry

    def no_delay(*_: Any) -> float:
        return 0.0

    patch.setattr(_retry, "backoff_seconds", no_delay)


def _send_upload_once(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport.multipart import Upload

    chunks, begun = Upload.chunks, set[int]()

    def once(self: Any) -> Iterator[bytes]:
        if id(self) in begun:
            return iter(())
        begun.add(id(self))
        return chunks(self)

    patch.setattr(Upload, "chunks", once)


MUTATIONS = (
    Mutation("an ambiguous creation is not repeated", _repeat_creations, "test_retry", "C01 C07_500", "C08"),
    Mutation("no redirect is followed", _follow_redirects, "test_retry", "D302 D10", "S400c"),
    Mutation(
        "certificates are checked",
        _trust_any_certificate,
        "test_faults_tls",
        "N05 N06 N07",
        "N11",
        "not async and not create",
    ),
    Mutation("every attempt uses current credentials", _cache_credentials, "test_faults_identity", "A03 A04", "A02"),
    Mutation("the clock is corrected", _ignore_clock_offset, "test_faults_identity", "A07 A08", "A14"),
    Mutation("a job with another marker is not adopted", _adopt_similar_job, "test_retry", "C05", "C02 C03"),
    Mutation("an error holds no secret", _attach_key_to_error, "test_retry", "L01", "S400c"),
    Mutation("credentials in a response are redacted", _skip_redaction, "test_response_parsing", "S401e", "S403d"),
    Mutation("settings for other services are not sent", _send_all_headers, "test_transports", "A12", "A15"),
    Mutation("a wait continues during an outage", _end_wait_at_first_error, "test_wait", "W01", "W07"),
    Mutation("each event is returned once", _forget_events, "test_wait", "E10", "E19"),
    Mutation("Retry-After is respected", _retry_at_once, "test_retry", "R01", "R04c R03"),
    Mutation("an upload is sent again from its beginning", _send_upload_once, "test_faults_body", "Q02", "P12"),
)


def _run_rows(mutation: Mutation) -> dict[str, list[str]]:
    """Return the results of the rows, with each identity."""
    rows = ",".join(f"{mutation.red} {mutation.green}".split())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "rows.json"
        mutation.change(patch)
        with redirect_stdout(io.StringIO()) as said:
            (tests,) = map(str, _HERE.glob(f"*/{mutation.files}.py"))
            quiet = ("-q", "--tb=no", "-p", "no:xdist", "-W", "ignore::pytest.PytestAssertRewriteWarning")
            pytest.main([tests, f"--rows={rows}", f"--matrix-json={kept}", "-k", mutation.chosen, *quiet])
        if not kept.exists():
            raise RuntimeError(said.getvalue())
        found: dict[str, list[str]] = {}
        for row, _, verdict in json.loads(kept.read_text(encoding="utf-8")):
            found.setdefault(row, []).append(verdict)
        return found


if __name__ == "__main__":
    os.environ.pop("PYTEST_ADDOPTS", None)
    print(json.dumps({each.rule: _run_rows(each) for each in MUTATIONS}))  # noqa: T201 - for the test that started it
    sys.exit()
