"""IAM's policy simulation, which moto lacks: an endpoint that evaluates moto's policies and forwards other requests."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.session import Session

from support.moto_server import Aws

_SESSION: Any = Session()
KNOWS_PROFILES = "GetInferenceProfile" in _SESSION.get_service_model("bedrock").operation_names
"""Whether the installed botocore can read inference profiles; 1.35.0 cannot."""

ACTION = "SimulatePrincipalPolicy"
_ENVELOPE = (
    '<{0}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><{0}Result>{1}</{0}Result>'
    "<ResponseMetadata><RequestId>r-1</RequestId></ResponseMetadata></{0}Response>"
)
_ERROR = (
    '<ErrorResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><Error><Type>Sender</Type><Code>{0}</Code>'
    "<Message>{1}</Message></Error><RequestId>r-1</RequestId></ErrorResponse>"
)


PROFILES = {
    "us.amazon.nova-lite-v1:0": [
        f"arn:aws:bedrock:{region}::foundation-model/amazon.nova-lite-v1:0"
        for region in ("us-east-1", "us-east-2", "us-west-2")
    ]
}


@dataclass
class Iam:
    """Settings and recorded operations of the endpoint.

    Attributes:
        refuses: operations that are answered with AccessDenied.
        extra: further elements of the result of an action, such as the decision of an organisation.
        profiles: the models of inference profiles, by id; the endpoint serves Bedrock's GetInferenceProfile too.
        asked: every operation, in order.
    """

    aws: Aws
    refuses: set[str] = field(default_factory=set[str])
    extra: dict[str, str] = field(default_factory=dict[str, str])
    profiles: dict[str, list[str]] = field(default_factory=lambda: dict(PROFILES))
    asked: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.client = self.aws.client("iam")

    def answer(self, form: Mapping[str, list[str]], body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        operation = form["Action"][0]
        self.asked.append(operation)
        if operation in self.refuses:
            text = f"User: x is not authorized to perform: iam:{operation}"
            return 403, _ERROR.format("AccessDenied", text).encode()
        if operation != ACTION:
            request = urllib.request.Request(self.aws.url, data=body, headers=dict(headers), method="POST")  # noqa: S310 - loopback
            try:
                with urllib.request.urlopen(request) as reply:  # noqa: S310 - loopback
                    return reply.status, reply.read()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read()
        statements = self._statements(form["PolicySourceArn"][0])
        context = _context(form)
        resource = form["ResourceArns.member.1"][0]
        names = [value[0] for name, value in form.items() if name.startswith("ActionNames.member")]
        found = "".join(self._result(name, resource, statements, context) for name in names)
        truncated = "<IsTruncated>false</IsTruncated>"
        return 200, _ENVELOPE.format(ACTION, f"{truncated}<EvaluationResults>{found}</EvaluationResults>").encode()

    def profile(self, path: str) -> tuple[int, bytes]:
        self.asked.append("GetInferenceProfile")
        if "GetInferenceProfile" in self.refuses:
            return 403, b'{"message": "not allowed"}'
        models = self.profiles.get(unquote(path).rpartition("/")[2])
        return 200, json.dumps({} if models is None else {"models": [{"modelArn": arn} for arn in models]}).encode()

    def _statements(self, arn: str) -> list[Mapping[str, Any]]:
        """Return all statements of the inline policies of a role or a user in moto."""
        client = self.client
        kind = "role" if ":role/" in arn else "user"
        name = {f"{kind.title()}Name": arn.rpartition("/")[2]}
        found: list[Mapping[str, Any]] = []
        for policy in getattr(client, f"list_{kind}_policies")(**name)["PolicyNames"]:
            document: Any = getattr(client, f"get_{kind}_policy")(**name, PolicyName=policy)["PolicyDocument"]
            document = json.loads(unquote(document)) if isinstance(document, str) else document
            found += document["Statement"]
        return found

    def _result(
        self, action: str, resource: str, statements: list[Mapping[str, Any]], context: Mapping[str, str]
    ) -> str:
        decision, missing = "implicitDeny", set[str]()
        for statement in statements:
            if not any(fnmatchcase(action, each) for each in statement["Action"]):
                continue
            if not any(fnmatchcase(resource, each) for each in statement["Resource"]):
                continue
            holds = True
            for keys in statement.get("Condition", {}).values():
                for key, values in keys.items():
                    if key not in context:
                        missing.add(key)
                    allowed = [values] if isinstance(values, str) else values
                    holds &= any(fnmatchcase(context.get(key, ""), pattern) for pattern in allowed)
            if holds and decision != "explicitDeny":
                decision = "allowed" if statement["Effect"] == "Allow" else "explicitDeny"
        keys_missing = "".join(f"<member>{key}</member>" for key in sorted(missing))
        return (
            f"<member><EvalActionName>{action}</EvalActionName><EvalResourceName>{resource}</EvalResourceName>"
            f"<EvalDecision>{decision}</EvalDecision><MissingContextValues>{keys_missing}</MissingContextValues>"
            f"{self.extra.get(action, '')}</member>"
        )


def _context(form: Mapping[str, list[str]]) -> dict[str, str]:
    names = [name for name in form if name.endswith(".ContextKeyName")]
    return {form[name][0]: form[name.replace("KeyName", "KeyValues.member.1")][0] for name in names}


@contextmanager
def iam_server(aws: Aws) -> Generator[tuple[str, Iam], None, None]:
    """Run the endpoint, and yield its settings."""
    iam = Iam(aws)

    class Endpoint(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            passed = {name: value for name, value in self.headers.items() if name.lower() not in {"host", "expect"}}
            status, content = iam.answer(parse_qs(body.decode()), body, passed)
            self.send_response(status)
            self.send_header("content-type", "text/xml")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            status, content = iam.profile(self.path)
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("x-amzn-errortype", "AccessDeniedException")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the class it overrides
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", iam
    server.shutdown()
    thread.join()
    server.server_close()
