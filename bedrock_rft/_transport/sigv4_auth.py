"""`SigV4Auth`: sign requests to Amazon Bedrock in a user's own httpx or httpx2 client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from importlib.util import find_spec  # pyright: ignore[reportUnusedImport] # used below, which TYPE_CHECKING hides
from typing import TYPE_CHECKING, Any

import httpx

from bedrock_rft._auth.config import resolve
from bedrock_rft._core.redaction import as_secret
from bedrock_rft._transport.signing import RequestSigner

_NO_CREDENTIALS = (
    "No identity: there are no AWS credentials to sign with. Run 'aws configure' or 'aws sso login', or pass profile=… "
    "or credentials=…."
)

if TYPE_CHECKING:

    class _Auth(httpx.Auth):
        pass

elif find_spec("httpx2") is None:
    _Auth = httpx.Auth
else:
    import httpx2

    class _Auth(httpx.Auth, httpx2.Auth):
        """The `Auth` class of both HTTP libraries: each library's clients accept only their own."""


class SigV4Auth(RequestSigner, _Auth):
    """Sign requests to Amazon Bedrock's OpenAI-compatible endpoint in your own HTTP client.

    The auth works in `Client` and `AsyncClient` of httpx and, if httpx2 is installed, of httpx2.

    ```python
    auth = bedrock_rft.SigV4Auth(region="us-west-2")
    with httpx.Client(base_url=auth.base_url, auth=auth) as http:
        print(http.get("/models").json())
    ```

    The signature covers the SHA-256 of the body. A body that can be read only once is copied to a temporary file first,
    so memory use stays constant. Credentials are resolved for every request. If the service's response shows that this
    machine's clock is wrong, or that the credentials were replaced, the request is signed and sent once more.

    Requests to another origin than the configured one raise `ConfigurationError`. Leave `follow_redirects` off, as it
    is by default: a redirect would carry the headers of a signed request to another host.
    """

    def __init__(
        self,
        region: str | None = None,
        *,
        profile: str | None = None,
        credentials: object | None = None,
        base_url: str | None = None,
    ) -> None:
        """Resolve region and endpoint. Arguments and environment variables are those of `Client`.

        Raises:
            ConfigurationError: there is no region, or the arguments contradict each other.
        """
        secret_credentials, secret_url = as_secret(credentials), as_secret(base_url)
        del credentials, base_url  # a traceback may show the variables of this frame
        config = resolve(
            region=region, profile=profile, credentials=secret_credentials, base_url=secret_url, auth="aws"
        )
        super().__init__(config, own_client=False)
        self._aws.none_found = _NO_CREDENTIALS

    def sync_auth_flow(self, request: Any) -> Generator[Any, Any, None]:
        """Sign and send a request of a sync client. Called by the HTTP library."""
        return super().sync_auth_flow(request)

    def async_auth_flow(self, request: Any) -> AsyncGenerator[Any, Any]:
        """Sign and send a request of an async client. Called by the HTTP library."""
        return super().async_auth_flow(request)
