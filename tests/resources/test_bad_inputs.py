"""Invalid arguments raise before anything is sent; valid ones are accepted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from support.fault_client import ARN, MODEL
from support.fault_server import Faults

from bedrock_rft import AsyncClient, BedrockRFTWarning, Client
from bedrock_rft.errors import ConfigurationError


def arn(
    *,
    partition: str = "aws",
    service: str = "lambda",
    region: str = "us-west-2",
    account: str = "123456789012",
    rest: str = "function:reward",
) -> str:
    return f"arn:{partition}:{service}:{region}:{account}:{rest}"


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    with Faults() as faults:
        yield faults


def create(server: Faults, *, region: str = "us-west-2", **body: Any) -> None:
    with Client(region, api_key="key", base_url=server.base_url) as client:
        given: dict[str, Any] = {"training_file": "file-1", "reward": ARN, **body}
        client.jobs.create(MODEL, **given)


GOOD = [
    (arn(rest="function:reward:$LATEST"), "us-west-2"),
    (arn(rest="function:reward:7"), "us-west-2"),
    (arn(rest="function:reward:prod-alias_1"), "us-west-2"),
    (arn(partition="aws-us-gov", region="us-gov-west-1"), "us-gov-west-1"),
    (arn(partition="aws-cn", region="cn-north-1"), "cn-north-1"),
    (arn(rest=f"function:{'n' * 64}"), "us-west-2"),
]


@pytest.mark.filterwarnings("default::bedrock_rft.errors.BedrockRFTWarning")
@pytest.mark.parametrize(("value", "region"), GOOD)
def test_a_function_in_the_clients_region_is_accepted(server: Faults, value: str, region: str) -> None:
    create(server, reward=value, region=region)
    assert value in str(server.sent("POST")[-1].json())


BAD: list[tuple[Any, str]] = [
    (arn(partition="AWS"), "does not follow"),
    (arn(partition=""), "the partition, such as 'aws', is missing"),
    ("arn:aws:s3:::bucket", "Lambda"),
    ("arn:aws:iam::123456789012:role/r", "Lambda"),
    (arn(rest="layer:reward:1"), "function"),
    (arn(region=""), "region"),
    (arn(region="US-WEST-2"), "region"),
    (arn(region="us-west-22"), "region"),
    (arn(account="1234567890123"), "account"),
    (arn(account="12345678901x"), "account"),
    (arn(account="１２３４５６７８９０１２"), "account"),
    (arn(rest="function:"), "name"),
    (arn(rest="function:re ward"), "name"),
    (arn(rest="function:rewärd"), "name"),
    (arn(rest="function:reward:1:2"), "QUALIFIER"),
    (arn(rest="function:reward:v1.0"), "QUALIFIER"),
    (arn(rest="function:reward:$LATEST.PUBLISHED"), "QUALIFIER"),
    (f" {ARN}", "does not follow"),
    (f"{ARN}\r\nX-Evil: 1", "does not follow"),
    (arn(rest=f"function:{'n' * 500}"), "512"),
    ("123456789012:function:reward", "arn"),
    ("https://abc.lambda-url.us-west-2.on.aws/", "arn"),
    ("", "empty"),
    (ARN.encode(), "bytes"),
    (7, "int"),
    (None, "NoneType"),
    (arn(region="us-east-1"), "us-east-1"),
    (arn(region="us-east-1"), "us-west-2"),
]


@pytest.mark.parametrize(("value", "named"), BAD)
def test_an_invalid_function_arn_is_refused(server: Faults, value: Any, named: str) -> None:
    before = len(server.requests)
    with pytest.raises(ConfigurationError) as refused:
        create(server, reward=value)
    assert named.lower() in str(refused.value).lower()
    assert "\r" not in str(refused.value)
    assert len(server.requests) == before


@pytest.mark.filterwarnings("default::bedrock_rft.errors.BedrockRFTWarning")
@pytest.mark.parametrize(
    ("body", "region"),
    [
        ({"reward": arn(rest=f"function:{'n' * 65}")}, "us-west-2"),
        ({"reward": arn(rest="function:a.b")}, "us-west-2"),
        ({"reward": arn(partition="aws-us-gov", region="us-east-1")}, "us-east-1"),
        ({"hyperparameters": {"n_epochs": 1_000_000_000}}, "us-west-2"),
    ],
)
def test_values_for_the_service_to_judge_are_sent_unchanged(server: Faults, body: dict[str, Any], region: str) -> None:
    create(server, region=region, **body)
    for value in body.values():
        assert (value if isinstance(value, str) else str(value["n_epochs"])) in server.sent("POST")[-1].body.decode()


@pytest.mark.parametrize(
    "value",
    [{}, {"n_epochs": 1, "batch_size": 4, "learning_rate_multiplier": 1.0}, {"learning_rate_multiplier": 1}],
)
def test_valid_hyperparameters_are_accepted(server: Faults, value: dict[str, Any]) -> None:
    create(server, hyperparameters=value)


def test_an_unknown_hyperparameter_is_sent_with_a_warning(server: Faults) -> None:
    with pytest.warns(BedrockRFTWarning, match="temperature_schedule"):
        create(server, hyperparameters={"temperature_schedule": "cosine"})
    assert "cosine" in str(server.sent("POST")[-1].json())


@pytest.mark.parametrize(
    ("value", "named"),
    [
        *(({"n_epochs": bad}, "n_epochs") for bad in (0, -1, 1.0, True, "1", math.nan, math.inf)),
        *(({"batch_size": bad}, "batch_size") for bad in (0, -4, 4.5, "4")),
        *(
            ({"learning_rate_multiplier": bad}, "learning_rate_multiplier")
            for bad in (0, -1.0, math.nan, math.inf, "1.0", True)
        ),
        ({"epochCount": 1}, "n_epochs"),
        ({"n_epoch": 1}, "n_epochs"),
        ("n_epochs=1", "hyperparameters"),
    ],
)
def test_invalid_hyperparameters_are_refused(server: Faults, value: Any, named: str) -> None:
    before = len(server.requests)
    with pytest.raises(ConfigurationError, match=named):
        create(server, hyperparameters=value)
    assert len(server.requests) == before


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"region": b"us-west-2"}, "region"),
        ({"base_url": "https://user:hunter2@bedrock-mantle.us-west-2.api.aws/v1"}, "base_url"),
        ({"api_key": b"abc"}, "api_key"),
        ({"api_key": "ke\u2028y"}, "api_key"),
    ],
)
@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_sync_and_async_clients_refuse_the_same_settings(kind: Any, settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named) as refused:
        kind(**{"region": "us-west-2", "api_key": "key", **settings})
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(("key", "sent"), [("\tkey", "key"), ("key\n", "key"), (" key ", "key")])
def test_whitespace_around_a_key_is_removed(server: Faults, key: str, sent: str) -> None:
    with Client("us-west-2", api_key=key, base_url=server.base_url) as client:
        client.models.retrieve("m")
    assert server.requests[-1].headers["authorization"] == f"Bearer {sent}"
