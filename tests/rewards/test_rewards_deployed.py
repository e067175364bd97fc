"""Checks of deployed rewards, through the API of Lambda, give the reports of local ones."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from support.lambda_server import ARN, FakeLambda

from bedrock_rft import Client, ConfigurationError
from bedrock_rft.rehearsal import rehearse
from bedrock_rft.rewards import Format, Numeric, Report, check

RECORDS = [
    {
        "messages": [{"role": "user", "content": f"Amara has {n} apples and gets {n}. How many?"}],
        "reference_answer": str(2 * n),
    }
    for n in range(11, 23)
]
REWARD = 0.9 * Numeric() + 0.1 * Format(marker="####")


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "fake-secret-0123456789")


@pytest.fixture
def deployed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Put a function on a Lambda of our own."""

    @contextmanager
    def serve(handler: Callable[[Any, Any], Any], **settings: Any) -> Generator[FakeLambda]:
        with FakeLambda(handler, **settings) as function:
            monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", function.url)
            yield function

    return serve


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def test_a_deployed_reward_gets_the_same_report(deployed: Callable[..., Any]) -> None:
    local = check(REWARD, RECORDS, size=6)
    with deployed(REWARD.handler) as function:
        remote = check(ARN, RECORDS, size=6)
        assert function.done["answered"] == remote.invocations == local.invocations
        assert remote.findings == local.findings == check(SimpleNamespace(arn=ARN), RECORDS, size=2).findings
    assert (remote.scores, remote.shapes, remote.form) == (local.scores, local.shapes, local.form)
    assert (remote.target, remote.timeout) == (ARN, 60.0), "its timeout is the function's own"
    assert remote.seconds_per_rollout > 0


def answers(result: Any) -> Callable[[Any, Any], Any]:
    def handler(event: Any, context: Any) -> Any:
        del context
        return result(event) if callable(result) else result

    return handler


def scoring(value: Any) -> Callable[[Any], Any]:
    def every(event: Any) -> Any:
        return [{"id": entry["id"], "aggregate_reward_score": value} for entry in event]

    return every


def raising(event: Any) -> Any:
    raise KeyError(event[0]["id"])


def late(event: Any) -> Any:
    raise TimeoutError(f"2026-01-01T00:00:00Z {len(event)} Task timed out after 3.00 seconds")


def text_only(event: Any) -> Any:
    found: list[Any] = []
    for entry in event:
        reference = entry.get("reference_answer") or entry.get("metadata", {}).get("reference_answer")
        right = isinstance(reference, dict) and Numeric()(rollout(entry, reference)).value
        found.append({"id": entry["id"], "aggregate_reward_score": float(right)})
    return found


def rollout(entry: Any, reference: Any) -> Any:
    from bedrock_rft.rewards import Rollout

    said = entry["messages"][-1]["content"] if entry["messages"] else ""
    return Rollout.of("?", said, reference["text"])


@pytest.mark.parametrize(
    ("result", "code", "words"),
    [
        (None, "returned_none", "forget its return"),
        ("[]", "text", "without json.dumps"),
        ({"statusCode": 200, "body": "[]"}, "envelope", "{statusCode, body} envelope"),
        ([], "ids_missing", "left out"),
        (
            scoring(float("nan")),
            "score_not_finite",
            "nan",
        ),
        (scoring("1"), "score_not_number", "text as"),
        (
            scoring(0.0),
            "always_zero",
            "also the answers that gold= returned",
        ),
        (
            scoring({1}),
            "raised",
            "TypeError: Object of type set is not JSON",
        ),
        (raising, "raised", "raised KeyError"),
        (late, "timeout", "ran out of time"),
        (text_only, "reads_text_only", "if the service sends plain strings, every perfect answer scores 0"),
    ],
)
def test_a_broken_deployed_reward_gets_the_same_findings(
    deployed: Callable[..., Any], result: Any, code: str, words: str
) -> None:
    with deployed(answers(result)):
        report = check(ARN, RECORDS, size=6, gold=right_answer if code == "always_zero" else None)
    found = [finding for finding in (*report.errors, *report.warnings) if finding.code == code]
    assert found, str(report)
    assert report.ok == (result is text_only)
    assert words in found[0].summary
    if result is raising:
        assert re.search(r"\(test_rewards_deployed\.py, line \d+\)", found[0].summary)
        assert re.search(
            r"^this happened in 4 of 4 invocations, for one with the '[a-z]+' answer to record \d+$", found[0].reason
        )


def right_answer(record: Mapping[str, Any]) -> str:
    return str(record["reference_answer"])


def test_prints_are_found_in_the_log_of_the_function(deployed: Callable[..., Any]) -> None:
    def printing(event: Any, context: Any) -> Any:
        print(json.dumps(event))  # noqa: T201 - the text to be found
        return REWARD.handler(event, context)

    with deployed(printing):
        assert "prints_event" in codes(check(ARN, RECORDS, size=4))


def test_a_denied_invocation_is_reported(deployed: Callable[..., Any]) -> None:
    with deployed(REWARD.handler, refuse_every=1):
        report = check(ARN, RECORDS, size=4)
    (finding,) = report.errors
    assert finding.code == "busy"
    assert finding.summary == (
        "The reward function could not be invoked: TooManyRequestsException: Rate Exceeded. Lambda limits concurrent "
        "invocations; try again later, or ask AWS for a higher limit."
    )
    assert "fake-secret" not in str(report)


def test_a_missing_function_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    (finding,) = check(ARN, RECORDS, size=4).errors
    assert finding.code == "busy"
    assert "EndpointConnectionError" in finding.summary
    assert '"http://127.0.0.1:9"' in finding.summary, "not the long URL of the invocation"


@pytest.mark.parametrize("auth", [None, "aws", "api_key"])
def test_with_a_local_service_only_a_lambda_on_this_machine_is_invoked(
    deployed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, auth: str | None
) -> None:
    refused = r"call its own reward, .* was not invoked: lambda\.us-west-2\.amazonaws\.com is AWS"
    options: Any = {"api_key": "k"} if auth == "api_key" else {"auth": auth}
    local = "http://127.0.0.1:9/v1"
    client = Client("us-west-2", base_url=local, **options) if auth else None
    if client is None:  # botocore's own credentials, which may be those of the local service
        monkeypatch.setenv("AWS_ENDPOINT_URL_BEDROCK_MANTLE", local)
    with pytest.raises(ConfigurationError, match=refused):
        check(ARN, RECORDS, size=2, client=client)
    with pytest.raises(ConfigurationError, match=refused):
        rehearse(RECORDS, ARN, client=client)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    if auth == "api_key":  # it is not the credentials that are missing
        with pytest.raises(ConfigurationError, match=refused):
            check(ARN, RECORDS, size=2, client=client)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAFAKEFAKEFAKEFAKE")
    with deployed(REWARD.handler) as function:
        assert check(ARN, RECORDS, size=2, client=client).invocations == function.done["answered"]


def test_an_api_key_does_not_invoke_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with (
        Client("us-west-2", api_key="ABSKfake9Long8Term7Key") as client,
        pytest.raises(ConfigurationError, match=r"^Invoking the reward needs AWS credentials, and there are none"),
    ):
        check(ARN, RECORDS, size=2, client=client)


def test_a_rehearsal_names_a_lost_connection_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", "http://127.0.0.1:9")
    failed = next(one for one in rehearse(RECORDS * 10, ARN).errors if one.code == "job_failed")
    assert "The reward function could not be invoked: EndpointConnectionError" in failed.reason
    assert "raised" not in failed.reason
    assert "One bad rollout" not in failed.reason


def test_a_slow_function_gets_a_warning(deployed: Callable[..., Any]) -> None:
    def slow(event: Any, context: Any) -> Any:
        time.sleep(0.06)
        return REWARD.handler(event, context)

    with deployed(slow):
        assert "slow" in codes(check(ARN, RECORDS, size=2, timeout=0.1))
