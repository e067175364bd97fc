"""What every test stands on: an environment that says nothing, and warnings that are said afresh."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bedrock_rft._core import warnings as _warn

# The same examples in every run, since a change must not fail for what it did not touch; `--hypothesis-profile=search`
# looks for others.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.register_profile("search", derandomize=False, deadline=None)
hypothesis.settings.load_profile("same")

# Bytecode is kept even where the environment is against it: the tests start some hundred processes, and each would
# compile the package afresh.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

pytest_plugins = ("support.quick_aws", "support.fault_matrix_plugin", "support.moto_server", "support.aws_gate")


@pytest.hookimpl(optionalhook=True, hookwrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, Any, None]:
    """With `-n auto`, start two workers per processor: tests wait for about half of their time."""
    outcome = yield
    outcome.force_result(outcome.get_result() * 2)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in list(os.environ):
        if name.startswith(("AWS_", "OPENAI_", "SSL_CERT")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    nothing = tmp_path_factory.getbasetemp() / "nothing"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(nothing))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(nothing))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(_warn, "_warned", set[str]())


@pytest.fixture
def aws_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with the profiles `dev` (eu-west-1) and `empty` (nothing)."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[profile dev]\nregion = eu-west-1\n[profile empty]\noutput = json\n")
    credentials.write_text("[dev]\naws_access_key_id = AKIDEV\naws_secret_access_key = dev-secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    return tmp_path
