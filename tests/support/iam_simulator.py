"""IAM's policy simulation, which moto lacks: an application in front of moto that evaluates moto's policies."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs

from botocore.session import Session

from support.moto_server import ACCOUNT, Application, signed_for

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
    """Settings and recorded operations of the application.

    Attributes:
        refuses: operations that are answered with AccessDenied.
        extra: further elements of the result of an action, such as the decision of an organisation.
        profiles: the models of inference profiles, by id; the application serves Bedrock's GetInferenceProfile too.
        asked: every operation, in order.
    """

    refuses: set[str] = field(default_factory=set[str])
    extra: dict[str, str] = field(default_factory=dict[str, str])
    profiles: dict[str, list[str]] = field(default_factory=lambda: dict(PROFILES))
    asked: list[str] = field(default_factory=list[str])

    def around(self, inner: Application) -> Application:
        """Return an application that passes the requests for other services and operations on."""

        def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            found, kind = None, "text/xml"
            if signed_for(environ) == "iam":
                body = environ["wsgi.input"].getvalue()
                found = self._answer(parse_qs(body.decode()))
            elif environ["PATH_INFO"].startswith("/inference-profiles/"):
                found, kind = self._profile(environ["PATH_INFO"]), "application/json"
            if found is None:
                return inner(environ, start)
            start(f"{found[0]} Status", [("content-type", kind), ("x-amzn-errortype", "AccessDeniedException")])
            return [found[1]]

        return application

    def _answer(self, form: Mapping[str, list[str]]) -> tuple[int, bytes] | None:
        operation = form["Action"][0]
        self.asked.append(operation)
        if operation in self.refuses:
            text = f"User: x is not authorized to perform: iam:{operation}"
            return 403, _ERROR.format("AccessDenied", text).encode()
        if operation != ACTION:
            return None
        statements = _statements(form["PolicySourceArn"][0])
        context = _context(form)
        resource = form["ResourceArns.member.1"][0]
        names = [value[0] for name, value in form.items() if name.startswith("ActionNames.member")]
        found = "".join(self._result(name, resource, statements, context) for name in names)
        truncated = "<IsTruncated>false</IsTruncated>"
        return 200, _ENVELOPE.format(ACTION, f"{truncated}<EvaluationResults>{found}</EvaluationResults>").encode()

    def _profile(self, path: str) -> tuple[int, bytes]:
        self.asked.append("GetInferenceProfile")
        if "GetInferenceProfile" in self.refuses:
            return 403, b'{"message": "not allowed"}'
        models = self.profiles.get(path.rpartition("/")[2])
        return 200, json.dumps({} if models is None else {"models": [{"modelArn": arn} for arn in models]}).encode()

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


def _statements(arn: str) -> list[Mapping[str, Any]]:
    """Return all statements of the inline policies of a role or a user in moto."""
    from moto.iam.models import iam_backends

    backend: Any = iam_backends[ACCOUNT]["aws"]
    name = arn.rpartition("/")[2]
    found = backend.get_role(name) if ":role/" in arn else backend.get_user(name)
    return [statement for document in found.policies.values() for statement in json.loads(document)["Statement"]]


def _context(form: Mapping[str, list[str]]) -> dict[str, str]:
    names = [name for name in form if name.endswith(".ContextKeyName")]
    return {form[name][0]: form[name.replace("KeyName", "KeyValues.member.1")][0] for name in names}
