"""AWS on loopback, behind a gate that records requests, and responds itself if a test sets a rule."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from botocore.credentials import Credentials

from bedrock_rft import Client
from bedrock_rft._auth.aws_credentials import wrap_credentials
from bedrock_rft._core.redaction import Secret
from bedrock_rft.access._deployment import account as _retry
from bedrock_rft.access._deployment import deploy as _deploy
from bedrock_rft.rewards._checking import check as _check
from support.fake_secrets import ACCESS_KEY, SECRET, TOKEN
from support.moto_server import ACCOUNT, REGION, Application, MotoServer
from support.quick_aws import shared_client

LARGE_EVENT: int = vars(_check)["_LARGE_EVENT"]

_LAMBDA = (
    ("POST", r"/2015-03-31/functions/?", "CreateFunction"),
    ("GET", r"/2015-03-31/functions/?", "ListFunctions"),
    ("PUT", r"/2015-03-31/functions/([^/]+)/code", "UpdateFunctionCode"),
    ("PUT", r"/2015-03-31/functions/([^/]+)/configuration", "UpdateFunctionConfiguration"),
    ("POST", r"/2015-03-31/functions/([^/]+)/versions", "PublishVersion"),
    ("GET", r"/2015-03-31/functions/([^/]+)/versions", "ListVersionsByFunction"),
    ("GET", r"/2015-03-31/functions/([^/]+)/aliases", "ListAliases"),
    ("POST", r"/2015-03-31/functions/([^/]+)/aliases", "CreateAlias"),
    ("GET", r"/2015-03-31/functions/([^/]+)/configuration", "GetFunctionConfiguration"),
    ("GET", r"/2015-03-31/functions/([^/]+)", "GetFunction"),
    ("DELETE", r"/2015-03-31/functions/([^/]+)", "DeleteFunction"),
    ("POST", r"/2015-03-31/functions/([^/]+)/invocations", "InvokeFunction"),
    ("GET", r"/2017-03-31/tags/(.+)", "ListTags"),
    ("POST", r"/2017-03-31/tags/(.+)", "TagResource"),
    ("DELETE", r"/2017-03-31/tags/(.+)", "UntagResource"),
)
_READS = ("Get", "Head", "List", "Invoke")


@dataclass(frozen=True)
class Asked:
    """A request, as IAM sees it."""

    action: str
    resource: str
    body: bytes = b""
    query: str = ""

    @property
    def operation(self) -> str:
        return self.action.partition(":")[2]

    @property
    def writes(self) -> bool:
        return not self.operation.startswith(_READS)


@dataclass
class Rule:
    """A response that replaces AWS's."""

    operation: str
    answer: Callable[[Asked, Callable[[], tuple[str, Any, bytes]]], tuple[str, Any, bytes]]
    times: float = float("inf")


@dataclass
class Gate:
    """Recorded requests, and rules that replace responses."""

    asked: list[Asked] = field(default_factory=list[Asked])
    rules: list[Rule] = field(default_factory=list[Rule])

    @property
    def writes(self) -> list[str]:
        return [one.operation for one in self.asked if one.writes]

    def clear(self) -> None:
        self.asked.clear()
        self.rules.clear()

    def refuse(self, operation: str, status: int, code: str, message: str, *, times: float = float("inf")) -> None:
        """Respond with an error in the service's format."""
        self.rules.append(Rule(operation, lambda asked, _: _error(asked, status, code, message), times))

    def change(self, operation: str, times: float = float("inf"), **fields: object) -> None:
        """Forward the request, and change fields of the JSON response."""

        def answer(_: Asked, forward: Callable[[], tuple[str, Any, bytes]]) -> tuple[str, Any, bytes]:
            status, headers, body = forward()
            changed = {**json.loads(body), **fields}
            return status, headers, json.dumps({name: one for name, one in changed.items() if one is not None}).encode()

        self.rules.append(Rule(operation, answer, times))

    def around(self, inner: Application) -> Application:
        """Return the application behind this gate."""

        def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            asked = _asked(environ, body)
            self.asked.append(asked)

            def forward() -> tuple[str, Any, bytes]:
                answered: list[Any] = []

                def begin(status: str, headers: Any, *_: object) -> None:
                    answered.extend((status, headers))

                environ["wsgi.input"] = io.BytesIO(body)
                content = b"".join(inner(environ, begin))
                return answered[0], answered[1], content

            status, headers, content = self._answer(asked, forward)
            start(status, [(name, v) for name, v in headers if name.lower() != "content-length"])
            return [content]

        return application

    def _answer(self, asked: Asked, forward: Callable[[], tuple[str, Any, bytes]]) -> tuple[str, Any, bytes]:
        for rule in self.rules:
            if rule.operation in (asked.operation, "*") and rule.times > 0:
                rule.times -= 1
                return rule.answer(asked, forward)
        return forward()


def _asked(environ: dict[str, Any], body: bytes) -> Asked:
    region, service = re.findall(r"/([a-z0-9-]+)/([a-z0-9-]+)/aws4_request", environ["HTTP_AUTHORIZATION"])[0]
    partition = "aws-us-gov" if region.startswith("us-gov-") else "aws"
    if service == "s3":
        operation = {"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadBucket"}[environ["REQUEST_METHOD"]]
        return Asked(f"s3:{operation}", f"arn:{partition}:s3:::{environ['PATH_INFO'].lstrip('/')}")
    if service != "lambda":
        fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        named = f"arn:{partition}:iam::{ACCOUNT}:role{fields.get('Path', '/bedrock-rft/')}{fields.get('RoleName', '')}"
        return Asked(f"{service}:{fields['Action']}", named, body)
    query = environ.get("QUERY_STRING", "")
    for method, path, operation in _LAMBDA:
        match = re.fullmatch(path, unquote(environ["PATH_INFO"]))
        if method == environ["REQUEST_METHOD"] and match:
            name = match[1] if match.groups() else json.loads(body or b"{}").get("FunctionName", "*")
            arn = name if name.startswith("arn:") else f"arn:{partition}:lambda:{region}:{ACCOUNT}:function:{name}"
            version = parse_qs(query).get("Qualifier")
            return Asked(f"lambda:{operation}", f"{arn}:{version[0]}" if version else arn, body, query)
    raise AssertionError(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} is not a known operation")


def _error(asked: Asked, status: int, code: str, message: str) -> tuple[str, Any, bytes]:
    request = [("x-amzn-requestid", "11111111-2222-3333-4444-555555555555")]
    if asked.action.startswith("lambda:"):
        body = json.dumps({"Type": "User", "message": message}).encode()
        return f"{status} Error", [("x-amzn-errortype", code), ("content-type", "application/json"), *request], body
    details = f"<Type>Sender</Type><Code>{code}</Code><Message>{message}</Message>"
    text = f"<ErrorResponse><Error>{details}</Error><RequestId>{request[0][1]}</RequestId></ErrorResponse>"
    return f"{status} Error", [("content-type", "text/xml"), *request], text.encode()


@dataclass(frozen=True)
class Here:
    """An AWS that is empty at the start of every test."""

    gate: Gate

    def service(self, name: str, region: str = REGION) -> Any:
        """Return a botocore client to inspect or prepare resources."""
        return shared_client(name, region=region, credentials=credentials())


def credentials() -> Any:
    return wrap_credentials(Secret(Credentials(ACCESS_KEY, SECRET, TOKEN)))


@pytest.fixture
def here(moto_server: MotoServer, shared_clients: None, monkeypatch: pytest.MonkeyPatch) -> Here:  # noqa: ARG001
    """Set up an empty AWS in the environment of botocore, and a clock that does not wait."""
    moto_server.empty()
    gate = Gate()
    moto_server.application = gate.around(moto_server.emulation)
    for service in ("LAMBDA", "IAM", "STS", "S3"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", moto_server.url)
    monkeypatch.setattr(_retry, "time", Clock())
    monkeypatch.setattr(_deploy, "time", Clock())
    monkeypatch.setattr(_check, "_LARGE_EVENT", LARGE_EVENT // 100)  # megabytes, in each check of a function
    return Here(gate)


class Clock:
    """Clock that advances only by `sleep`."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def aws_client(here: Here) -> Iterator[Client]:  # noqa: ARG001 - sets the endpoints before the client exists
    with Client(REGION, credentials=Credentials(ACCESS_KEY, SECRET, TOKEN)) as made:
        yield made
