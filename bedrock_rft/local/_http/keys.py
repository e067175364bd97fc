"""What opens the rehearsal's door: made up when it starts, worth nothing anywhere else."""

from __future__ import annotations

import hmac
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone

from bedrock_rft._core.redaction import Secret
from bedrock_rft.local._http.signature import Credential, Refused, verify

__all__ = ["Keys"]

_LETTERS = string.ascii_uppercase + string.digits


@dataclass(frozen=True)
class Keys:
    """A bearer key and an AWS credential with a session token.

    Attributes:
        region: what signatures must be scoped to.
        api_key: opens the door as `Authorization: Bearer …`.
        credential: opens it with a signature.
    """

    region: str
    api_key: Secret[str] = field(default_factory=lambda: Secret(f"local-key-{secrets.token_urlsafe(32)}"))
    credential: Secret[Credential] = field(
        default_factory=lambda: Secret(
            Credential(
                access_key="LOCAL" + "".join(secrets.choice(_LETTERS) for _ in range(15)),
                secret_key=secrets.token_urlsafe(30),
                token=f"local-token-{secrets.token_urlsafe(48)}",
            )
        )
    )

    def check(
        self,
        method: str,
        raw_path: bytes,
        raw_query: bytes,
        headers: Sequence[tuple[str, str]],
        body_sha256: str | None,
    ) -> None:
        """Let a request in. Before its body has come (None), a signature is not yet checked, but all else is.

        Raises:
            Refused: its key or its signature is not valid.
        """
        given = [value for name, value in headers if name.lower() == "authorization"]
        if len(given) != 1:
            raise Refused(401, "missing_authentication", "Send one Authorization header: a bearer key or a signature.")
        scheme, _, key = given[0].partition(" ")
        if scheme.lower() != "bearer":
            verify(
                method,
                raw_path,
                raw_query,
                headers,
                body_sha256,
                lookup=self._lookup,
                region=self.region,
                now=datetime.now(timezone.utc),
            )
        elif not hmac.compare_digest(key.strip().encode("utf-8", "surrogateescape"), self.api_key.reveal().encode()):
            raise Refused(401, "invalid_api_key", "Invalid bearer token.")

    def _lookup(self, access_key: str) -> Credential | None:
        credential = self.credential.reveal()
        return credential if access_key == credential.access_key else None
