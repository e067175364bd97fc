"""Keep secrets out of output: objects that do not show their values, and redaction of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

from bedrock_rft._core.errors import ConfigurationError

T = TypeVar("T")

_EQUALS = r"""(?: ["'\s]* [:=] \s* b?["'\s]* | %3A | %3D)"""
_NAMES = r"(?: secret_?access_?key | session_?token | access_?token | refresh_?token | id_?token | client_?secret)"

# Matches values after the name of a header or field in any spelling, and values with a known form. The digit in the
# rule for bearer tokens keeps ordinary sentences such as "bearer tokens" intact.
_SECRETS = rf"""(?ix)
    ( (?: x-amz-security-token | x-amz-sso_bearer_token ) {_EQUALS} | \bbearer\s+ (?=\S*\d|\S{{20}}) )  [^\s"'&,;\\<]+
    | ( {_NAMES} (?: (?:\\?["'])* \s* [:=] \s* (?:b?\\?["'])* | >) ) [^\s"'\\<>,}}]+
    | ( \bsignature {_EQUALS} ) [0-9a-f]{{64}}
    | \b (?:bedrock-api-key-|ABSK|IQoJ|FwoG) [A-Za-z0-9+/=_-]{{8,}}"""

SECRET_PATTERNS: Mapping[str, str] = {
    "an AWS access key": r"(?<![A-Za-z0-9])(?:AKIA|ASIA)(?![A-Z0-9]{9}EXAMPLE)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "an AWS secret key": (
        r"(?i)(?:secret|aws)[\w .-]{0,30}[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?![A-Za-z0-9/+]{30}EXAMPLEKEY)"
        r"[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])"
    ),
    "an AWS session token": r"(?:IQoJb3JpZ2lu|FwoGZXIvYXdz)[A-Za-z0-9/+=]{20,}",
    "a Bedrock API key": r"bedrock-api-key-[A-Za-z0-9+/=_-]{20,}|(?<![A-Za-z0-9])ABSK[A-Za-z0-9+/]{20,}",
    "an OpenAI or Anthropic key": r"(?<![A-Za-z0-9_-])sk-(?:[a-z]{2,12}[0-9]{0,2}-)?[A-Za-z0-9_-]{20,}",
    "a GitHub token": r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{22,})",
    "a Hugging Face token": r"(?<![A-Za-z0-9])hf_[A-Za-z0-9]{30,}",
    "a Slack token": r"(?<![A-Za-z0-9])xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "a private key": r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?s:.{0,8000}?(?=-----END|\Z)|.{0,400})",
    "a JSON web token": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "a password in a URL": r"[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'{}<>]{1,80}:[^\s/:@\"'{}<>]{3,80}@[A-Za-z0-9]",
}
"""The known forms of secrets by kind. Only an AWS secret key needs the name of a field before it."""
# All patterns are strings, which `re` compiles at their first use, because most processes redact nothing.

_TOKEN_PATTERNS = [
    pattern
    for kind, pattern in SECRET_PATTERNS.items()
    if kind not in ("an AWS access key", "an AWS secret key", "a password in a URL")
]
"""The patterns whose whole match is secret."""


def redact(text: str) -> str:
    """Replace keys, tokens and signatures in a text of unknown origin by `****`."""
    for pattern in _TOKEN_PATTERNS:
        text = re.sub(pattern, "****", text)
    return re.sub(_SECRETS, lambda match: next((each for each in match.groups() if each), "") + "****", text)


_ARN_NAME = r"\barn:[\w-]+:[\w-]+:[\w-]*:\d{12}:[a-z-]+[:/]([\w+=,.@/:$-]+)"
_URL_HOST = r"\bhttps?://(?:[^\s/@]*@)?([\w.-]+)"
_PUBLIC_HOST = r"localhost|127[.\d]+|(?:.+\.)?(?:amazonaws\.com(?:\.cn)?|amazon\.com|aws)"
_ACCOUNT_DETAILS = {
    # Twelve digits within a hexadecimal id stay, because the id of a file to delete must stay usable.
    "ACCOUNT": r"(?<!\d)(?<![0-9a-f]{8})\d{12}(?!\d)(?![0-9a-f]{8})",
    "KEY-ID": r"\b(?:AKIA|ASIA|AROA|AIDA|AGPA|ANPA|ANVA|AIPA|APKA|ABIA|ACCA)[A-Z0-9]{8,}\b",
    "NETWORK-ID": r"\b(?:vpce?|subnet|sg|eni)-[0-9a-f][\w-]{7,}",
    "PROJECT": r"\bproj_\w+",
    "PROFILE": r"(?<=\bprofile ')[^']+(?=')|(?<=--profile )[^\s`'\"]+",
    "EMAIL": r"[\w.+-]+@[\w-]+\.[\w.-]*\w",
    "BUCKET": r"(?<=:s3:::)[\w.-]+|(?<=\bs3://)[\w.-]+|\b[\w.-]+(?=\.s3[.-])",
}


def redact_account(texts: Sequence[str]) -> list[str]:
    """Replace ids, names, hosts, networks, emails and the home folder, so that texts can be published.

    Equal values get equal labels, such as `ACCOUNT-1`. A name is replaced if it is also part of an ARN.
    """
    whole = "\n".join(texts)
    names = [part for match_text in re.findall(_ARN_NAME, whole) for part in re.split("[:/]", match_text)]
    patterns = dict(_ACCOUNT_DETAILS)
    named_hosts = set(re.findall(_URL_HOST, whole))
    if hosts := sorted((host for host in named_hosts if not re.fullmatch(_PUBLIC_HOST, host)), reverse=True):
        patterns = {"HOST": rf"(?<![\w.-])(?:{'|'.join(map(re.escape, hosts))})(?![\w-])", **patterns}
    if distinct_names := sorted(
        {name for name in names if re.search("[A-Za-z]", name) and name != "$LATEST"}, reverse=True
    ):
        patterns = {"NAME": rf"(?<![\w-])(?:{'|'.join(map(re.escape, distinct_names))})(?![\w-])", **patterns}
    for label, pattern in patterns.items():
        numbers: dict[str, int] = {}

        def number(match: re.Match[str], label: str = label, numbers: dict[str, int] = numbers) -> str:
            return f"{label}-{numbers.setdefault(match.group(), len(numbers) + 1)}"

        texts = [re.sub(pattern, number, text) for text in texts]
    home = str(Path.home())
    return [redact(text.replace(home, "~") if len(home) > 1 else text) for text in texts]


class Secret(Generic[T]):
    """A value that must not be printed, logged or pickled, kept in a closure that debuggers do not inspect."""

    __slots__ = ("reveal",)

    def __init__(self, value: T) -> None:
        self.reveal: Callable[[], T] = lambda: value

    def forget(self) -> None:
        """Drop the value when the client closes. `reveal` then raises `ConfigurationError`."""
        self.reveal = _raise_dropped

    def __repr__(self) -> str:
        return "'****'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("Secrets cannot be pickled. Create a client in each process.")


def _raise_dropped() -> NoReturn:
    raise ConfigurationError("This client is closed and has dropped its key or credentials. Create a new client.")


def as_secret(value: Any) -> Secret[Any] | None:
    """Wrap a value in a `Secret`. None and secrets are returned unchanged."""
    return value if isinstance(value, (Secret, type(None))) else Secret(value)  # pyright: ignore[reportUnknownVariableType]


class RedactedMapping(Mapping[str, str]):
    """Mapping whose `repr` shows no values. It is not a dict, because some printers show the items of any dict."""

    __slots__ = ("_inner",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._inner = Secret(dict(values))

    def __getitem__(self, name: str) -> str:
        return self._inner.reveal()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner.reveal())

    def __len__(self) -> int:
        return len(self._inner.reveal())

    def __repr__(self) -> str:
        return f"<{len(self)} values>"
