"""What must not show up anywhere by accident: it does not print, pickle or compare, and can be forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NoReturn, TypeVar

from bedrock_rft._core.errors import ConfigurationError

__all__ = ["RedactedMapping", "Secret", "as_secret", "redact"]

T = TypeVar("T")

_IS = r"""(?: ["'\s]* [:=] \s* b?["'\s]* | %3A | %3D)"""
_NAMES = r"(?: secret_?access_?key | session_?token | access_?token | refresh_?token | id_?token | client_?secret)"

# After the name of a header or field in any spelling, or by their own form. No word of a sentence has a digit.
_SECRETS = re.compile(
    rf"""(?ix)
    ( (?: x-amz-security-token | x-amz-sso_bearer_token ) {_IS} | \bbearer\s+ (?=\S*\d|\S{{20}}) )  [^\s"'&,;\\<]+
    | ( {_NAMES} (?: (?:\\?["'])* \s* [:=] \s* (?:b?\\?["'])* | >) ) [^\s"'\\<>,}}]+
    | ( \bsignature {_IS} ) [0-9a-f]{{64}}
    | \b (?:bedrock-api-key-|ABSK|IQoJ|FwoG) [A-Za-z0-9+/=_-]{{8,}}"""
)


def redact(text: str) -> str:
    """A text of unknown origin without the keys, tokens and signatures that it repeats."""
    return _SECRETS.sub(lambda match: next((each for each in match.groups() if each), "") + "****", text)


class Secret(Generic[T]):
    """Holds a value that must not show up anywhere by accident. Only `reveal` gives it back.

    The value sits in a closure, where `vars`, debuggers' attribute lists, `copy` and printers do not look.
    """

    __slots__ = ("reveal",)

    def __init__(self, value: T) -> None:
        self.reveal: Callable[[], T] = lambda: value

    def forget(self) -> None:
        """Let go of the value, with the client that held it. Asking for it afterwards is a `ConfigurationError`."""
        self.reveal = _forgotten

    def __repr__(self) -> str:
        return "'****'"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled: make a client of its own in each process.")


def _forgotten() -> NoReturn:
    raise ConfigurationError("This client is closed, and has forgotten its key or credentials. Make a new one.")


def as_secret(value: Any) -> Secret[Any] | None:
    """A value as a secret; None and what is one already stay as they are."""
    return value if isinstance(value, (Secret, type(None))) else Secret(value)  # pyright: ignore[reportUnknownVariableType]


class RedactedMapping(Mapping[str, str]):
    """A mapping, the environment say, that is read as usual and shows none of its values.

    It is no dict: printers that look for one look past its `repr`.
    """

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
