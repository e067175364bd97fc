"""Shared fixtures: an environment without settings, and no warnings given before."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies

from bedrock_rft._core import warnings as _warn

# The same few examples in every run, so that a failure has to do with the change; `--hypothesis-profile=search` looks
# for others.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.register_profile("search", derandomize=False, deadline=None, max_examples=1000)
hypothesis.settings.load_profile("same")

# The modules of all tests stay until the end: the garbage collector need not look through them again and again.
gc.disable()


@hypothesis.given(strategies.none())
def first_example(nothing: None) -> None:
    assert nothing is None


def pytest_collection_finish() -> None:
    # Hypothesis 6.112 looks for the owner of its random numbers, which it creates for its first example, and does not
    # find frozen ones.
    first_example()
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000, 10, 10)


# Bytecode is written even if the environment disables it: the tests start some hundred processes, and each would
# compile the package again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell starts background jobs with Ctrl-C ignored, which they and their processes inherit; tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = (
    "support.quick_aws",
    "support.fault_matrix_plugin",
    "support.moto_server",
    "support.aws_gate",
    "support.doctor_setup",
    "support.command",
)


@pytest.hookimpl(optionalhook=True, hookwrapper=True)
def pytest_xdist_auto_num_workers() -> Generator[None, Any, None]:
    """Start two workers for each processor with `-n auto`, because tests wait for about half of their time."""
    outcome = yield
    outcome.force_result(outcome.get_result() * 2 or 1)


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
    """Create AWS files with the profiles `dev` (eu-west-1) and `empty` (nothing)."""
    config, credentials = tmp_path / "config", tmp_path / "credentials"
    config.write_text("[profile dev]\nregion = eu-west-1\n[profile empty]\noutput = json\n")
    credentials.write_text("[dev]\naws_access_key_id = AKIDEV\naws_secret_access_key = dev-secret\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    return tmp_path
