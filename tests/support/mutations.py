"""Rules of the package, broken on purpose one at a time, and the rows of the matrix that then are tried.

`python tests/support/mutations.py` runs them all in one process and prints what every row came to.
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
    """One rule, broken.

    Attributes:
        rule: what no longer holds.
        change: breaks it.
        files: the name of the test file of its rows.
        red: the rows that have to fail, with either identity.
        green: rows beside them that have to pass: what fails is what guards the rule, not everything.
        chosen: which of the tests, as pytest's `-k`.
    """

    rule: str
    change: Callable[[pytest.MonkeyPatch], None]
    files: str
    red: str
    green: str
    chosen: str = "not async"


def _first(one: Any, *_: Any) -> Any:
    return one


def _no(*_: Any) -> bool:
    return False


def _nothing(*_: Any) -> None:
    pass


def _blind(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport.transport import Request

    patch.setattr(Request, "may_repeat", property(_first))


def _followed(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import http_client, response_body

    options = http_client.client_options
    patch.setattr(response_body, "_LOCATION", "location")

    def following(config: Any, library: Any) -> dict[str, Any]:
        return {**options(config, library), "follow_redirects": True}

    def show_location(response: Any, **options: Any) -> None:
        limit(response, **options)
        if "location" in response.extensions:
            response.headers["location"] = response.extensions["location"]

    async def show_location_async(response: Any, **options: Any) -> None:
        show_location(response, **options)

    limit = response_body.limit_response
    patch.setattr(http_client, "client_options", following)
    patch.setattr(http_client, "limit_response", show_location)
    patch.setattr(http_client, "limit_response_async", show_location_async)
    http_client.client_factory.cache_clear()
    patch.setattr(http_client, "client_factory", http_client.client_factory.__wrapped__)


def _trusting(patch: pytest.MonkeyPatch) -> None:
    import ssl

    from bedrock_rft._transport import http_client

    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE

    def any_will_do(_: Any) -> ssl.SSLContext:
        return blind

    patch.setattr(http_client, "tls_context", any_will_do)


def _cached(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._auth.api_key import KeySource
    from bedrock_rft._auth.aws_credentials import AwsCredentials

    def remembered(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
        kept: dict[int, Any] = {}

        def asked(one: Any) -> Any:
            if id(one) not in kept:
                kept[id(one)] = ask(one)
            return kept[id(one)]

        return asked

    patch.setattr(AwsCredentials, "freeze", remembered(AwsCredentials.freeze))
    patch.setattr(KeySource, "ask_now", remembered(KeySource.ask_now))


def _uncorrected(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import signing as _signing

    patch.setattr(_signing, "_clock_offset", _nothing)


def _adopting(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources import create_job as _create
    from bedrock_rft.types.jobs import Job

    find = _create.find

    async def any_alike(jobs: Any, marker: str, **known: Any) -> Any:
        found = await find(jobs, marker, **known)
        alike = [job async for job in jobs._pages(_create.JOBS, Job, {"limit": 100})]
        return found or next((job for job in alike if job.training_file == known["training_file"]), None)

    patch.setattr(_create, "find", any_alike)


def _talkative(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import openai as _openai
    from bedrock_rft._transport import sigv4 as _sigv4
    from bedrock_rft._transport.connection_errors import map_connection_error as mapped

    def with_its_key(error: Any, call: Any, config: Any, outside: Any) -> Any:
        told: Any = mapped(error, call, config, outside)
        told.key = config.key.static() if config.key else config.aws.freeze().secret_key
        return told

    for carrier in (_openai, _sigv4):
        patch.setattr(carrier, "map_connection_error", with_its_key)


def _echoing(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import status_errors as _refusal

    patch.setattr(_refusal, "_redacted", _first)


def _foreign(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import openai as _openai
    from bedrock_rft._transport import signing as _signing

    def all_of_them(found: Any, _: Any) -> dict[str, str]:
        return {name.lower(): value for name, value in found.items()}

    for carrier in (_openai, _signing):
        patch.setattr(carrier, "own_headers", all_of_them)


def _impatient(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources import wait as _watch

    patch.setattr(_watch.FailureTracker, "poll_again", _no)


def _forgetful(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._resources.event_log import EventLog

    begin = EventLog.__init__

    def without_memory(self: Any, *given: Any) -> None:
        begin(self, *given)
        self._seen = type("Nothing", (set,), {"update": _nothing})()

    patch.setattr(EventLog, "__init__", without_memory)


def _hasty(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport import retry as _retry

    def at_once(*_: Any) -> float:
        return 0.0

    patch.setattr(_retry, "backoff_seconds", at_once)


def _spent(patch: pytest.MonkeyPatch) -> None:
    from bedrock_rft._transport.multipart import Upload

    chunks, begun = Upload.chunks, set[int]()

    def once(self: Any) -> Iterator[bytes]:
        if id(self) in begun:
            return iter(())
        begun.add(id(self))
        return chunks(self)

    patch.setattr(Upload, "chunks", once)


MUTATIONS = (
    Mutation("a creation is not repeated blindly", _blind, "test_retry", "C01 C07_500", "C08"),
    Mutation("no redirect is followed", _followed, "test_retry", "D302 D10", "S400c"),
    Mutation(
        "certificates are checked", _trusting, "test_faults_tls", "N05 N06 N07", "N11", "not async and not create"
    ),
    Mutation("credentials are asked for every attempt", _cached, "test_faults_identity", "A03 A04", "A02"),
    Mutation("the clock is corrected", _uncorrected, "test_faults_identity", "A07 A08", "A14"),
    Mutation("nobody else's job is adopted", _adopting, "test_retry", "C05", "C02 C03"),
    Mutation("an error keeps no secret", _talkative, "test_retry", "L01", "S400c"),
    Mutation("what is echoed of a credential is blotted", _echoing, "test_response_parsing", "S401e", "S403d"),
    Mutation("what is for another service stays here", _foreign, "test_transports", "A12", "A15"),
    Mutation("a wait outlives an outage", _impatient, "test_wait", "W01", "W07"),
    Mutation("an event that was seen is remembered", _forgetful, "test_wait", "E10", "E19"),
    Mutation("the service is given the time it asks for", _hasty, "test_retry", "R01", "R04c R03"),
    Mutation("an upload is sent again from its beginning", _spent, "test_faults_body", "Q02", "P12"),
)


def _tried(mutation: Mutation) -> dict[str, list[str]]:
    """What came of the rows, with each identity."""
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
    print(json.dumps({each.rule: _tried(each) for each in MUTATIONS}))  # noqa: T201 - for the test that started it
    sys.exit()
