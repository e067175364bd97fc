"""Cache constant results of botocore and moto, computed once for each process and not for each client or request."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import pytest
from botocore import hooks


def _alias_once(aliaser: Any) -> None:
    """Share the aliases of event names, which botocore computes anew for each session and each client."""
    compute: Callable[[Any, str], str] = aliaser._alias_event_name
    known: dict[str, str] = {}

    def alias(self: Any, event_name: str) -> str:
        if event_name not in known:
            known[event_name] = compute(self, event_name)
        return known[event_name]

    aliaser._alias_event_name = alias


@pytest.fixture(scope="session")
def quick_moto() -> None:
    """Let moto list its folders once instead of with each request."""
    from moto import backends

    listed = cast("Any", backends)
    modules: Callable[[], Any] = listed.list_of_moto_modules

    @cache
    def once() -> tuple[str, ...]:
        return tuple(modules())

    listed.list_of_moto_modules = once


_alias_once(cast("Any", hooks).EventAliaser)
