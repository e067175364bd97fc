"""Share botocore's clients, and cache constant results of botocore and moto: once for each process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import pytest
from botocore import hooks
from botocore.credentials import Credentials
from botocore.loaders import JSONFileLoader, Loader

from bedrock_rft._auth import botocore_clients
from bedrock_rft._auth.aws_credentials import AwsCredentials

_CLIENTS: dict[tuple[object, ...], Any] = {}
_LOCK = threading.Lock()
_create = botocore_clients.service_client


def shared_client(service: str, *, region: str, credentials: AwsCredentials, **settings: Any) -> Any:
    """Return the botocore client of a service; calls with the same settings and constant credentials share one.

    Creating one takes longer than most calls.
    """
    found = credentials.find()
    if type(found) is not Credentials and not hasattr(found, "frozen"):  # they may rotate
        return _create(service, region=region, credentials=credentials, **settings)
    endpoint = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
    key = (service, region, endpoint, *credentials.freeze(), *sorted(settings.items()))
    with _LOCK:
        if key not in _CLIENTS:
            _CLIENTS[key] = _create(service, region=region, credentials=credentials, **settings)
        return _CLIENTS[key]


@pytest.fixture
def shared_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let deployments and the doctor share botocore's clients."""
    monkeypatch.setattr(botocore_clients, "service_client", shared_client)


@pytest.fixture(scope="session", autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    for client in _CLIENTS.values():
        client.close()


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
    """Let moto list its folders and the methods of its classes once instead of with each request; load no images."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"
    os.environ["MOTO_DISABLE_GLOBAL_CORS"] = "true"
    os.environ["MOTO_ACCOUNT_ID"] = "123456789012"  # moto looks for the access key in every partition otherwise
    from moto import backends
    from moto.core import responses
    from moto.moto_server import werkzeug_app

    listed = cast("Any", backends)
    modules: Callable[[], Any] = listed.list_of_moto_modules

    @cache
    def once() -> tuple[str, ...]:
        return tuple(modules())

    listed.list_of_moto_modules = once
    dispatcher = cast("Any", werkzeug_app.DomainDispatcherApplication)
    dispatcher.get_backend_for_host = cache(dispatcher.get_backend_for_host)
    answers = cast("Any", responses)
    if hasattr(answers, "method_names_from_class"):
        answers.method_names_from_class = cache(answers.method_names_from_class)


def _read_once() -> None:
    """Read each of botocore's data files, and list its folders, once for all sessions."""
    reader, loader = cast("Any", JSONFileLoader), cast("Any", Loader)
    read, listed = reader.load_file, loader.list_available_services
    files: dict[str, Any] = {}
    services: dict[tuple[str, ...], Any] = {}

    def load_file(self: Any, file_path: str) -> Any:
        if files.get(file_path) is None:
            files[file_path] = read(self, file_path)
        return files[file_path]

    def list_available_services(self: Any, type_name: str) -> Any:
        key = (type_name, *self.search_paths)
        if key not in services:
            services[key] = listed(self, type_name)
        return services[key]

    reader.load_file, loader.list_available_services = load_file, list_available_services


_alias_once(cast("Any", hooks).EventAliaser)
_read_once()
