"""Pytest plugin that collects the outcomes of tests marked with rows of the reliability matrix.

`--matrix=write` writes the document, `--matrix=check` fails a run with other results, and
`--matrix-json=FILE` keeps the outcomes. Works with pytest-xdist: the rows of a test are part of its report.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.fault_matrix import BOTH, DOCUMENT, FAILED, PASSED, ROWS, SKIPPED, render, verdicts

_LONGEST = 60.0  # seconds allowed for any test of a row, on a busy machine


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("reliability matrix")
    group.addoption("--matrix", choices=["write", "check"], help="write the page, or compare it with the run")
    group.addoption("--matrix-json", help="a file for the outcomes of rows")
    group.addoption("--rows", help="run only the tests of these rows, separated by commas")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "row(*names, mode=None, quiet=False): the rows of the reliability matrix that a test tries"
    )
    config.addinivalue_line(
        "markers",
        "pairwise(identity=False): try each value with the sync or the async client, and one identity or both",
    )
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_OutcomeCollector(config), "reliability-matrix")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = _select_pairs(items)
    chosen: str | None = config.getoption("--rows")
    if chosen is None:
        return
    names = set(chosen.split(","))
    unknown = names - ROWS.keys()
    if unknown:
        raise pytest.UsageError(f"there is no row {', '.join(sorted(unknown))}")
    kept = [item for item in items if names & set(_names(item))]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def _select_pairs(items: list[pytest.Item]) -> list[pytest.Item]:
    """Leave out combinations of clients and other parameters that are marked as independent of each other.

    Each value is tried with the sync or the async client of both identities, in turn; with `identity=True`, of one
    identity. Values with a row of their own are tried with both, because the matrix states both.
    """
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    left_out: set[pytest.Item] = set()
    for group in tests.values():
        mark = group[0].get_closest_marker("pairwise")
        values = list(dict.fromkeys(_value(item) for item in group))
        if mark is None or len(values) == 1:
            continue
        own_rows = len({tuple(_names(item)) for item in group}) > 1
        one_identity = mark.kwargs.get("identity", False) and not own_rows
        for item in group:
            parameters = _parameters(item)
            turn = values.index(_value(item))
            if "caller" in parameters:
                mode, kind = parameters["caller"]
                identity = BOTH.index(mode)
                other = (identity + (kind == "async") + turn) % 2 == 1
                other = other or (one_identity and len(values) > 3 and identity != turn // 2 % 2)
            else:
                mode = parameters.get("sync_caller")
                other = mode is not None and one_identity and BOTH.index(mode) != turn % 2
            if other:
                left_out.add(item)
    return [item for item in items if item not in left_out]


def _parameters(item: pytest.Item) -> dict[str, Any]:
    parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    return parameters


def _value(item: pytest.Item) -> tuple[tuple[str, int], ...]:
    """Return the identity of the parameters of a test other than its client, which its items share."""
    others = {name: one for name, one in _parameters(item).items() if name not in ("caller", "sync_caller")}
    return tuple((name, id(one)) for name, one in sorted(others.items()))


@pytest.hookimpl(tryfirst=True)  # so that failures in fixtures count for the rows too
def pytest_runtest_setup(item: pytest.Item) -> None:
    pairs = [(name, mode) for name in _names(item) for mode in _modes(item) if mode in ROWS[name].modes]
    if pairs:
        item.user_properties.append(("rows", pairs))


def _names(item: pytest.Item) -> list[str]:
    names = [str(name) for mark in item.iter_markers("row") for name in mark.args]
    unknown = set(names) - ROWS.keys()
    if unknown:
        raise pytest.UsageError(f"{item.nodeid} is marked with {sorted(unknown)}, which the matrix does not have")
    return names


def _modes(item: pytest.Item) -> tuple[str, ...]:
    """Return the identities of a test, from its mark or else from its parameters."""
    stated = [mark.kwargs["mode"] for mark in item.iter_markers("row") if "mode" in mark.kwargs]
    if stated:
        return tuple(stated)
    parameters = _parameters(item)
    values: list[Any] = [*parameters.values()]
    for value in parameters.values():
        values += value if type(value) is tuple else ()
    found = tuple(mode for mode in BOTH if any(type(value) is str and value == mode for value in values))
    if not found:
        raise pytest.UsageError(f"{item.nodeid} does not say which identity its row is tried with")
    return found


@pytest.fixture(autouse=True)
def _check_row(request: pytest.FixtureRequest) -> Iterator[None]:
    """Check every test of a row: nothing that was logged or printed holds a secret, and the time is bounded."""
    if request.node.get_closest_marker("row") is None:
        yield
        return
    from support.fault_client import KEY, SECRET, TOKEN

    capfd: pytest.CaptureFixture[str] = request.getfixturevalue("capfd")
    recorder, root, began = _LogRecorder(), logging.getLogger(), time.monotonic()
    level, others = root.level, [(handler, handler.level) for handler in root.handlers]
    for handler, own_level in others:  # formatting each record again would take as long as many of the tests
        handler.setLevel(max(own_level, level))
    root.addHandler(recorder)
    if not any(
        mark.kwargs.get("quiet") for mark in request.node.iter_markers("row")
    ):  # thousands of calls log too much
        root.setLevel(logging.DEBUG)  # also for other libraries, whose loggers have no level
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(recorder)
        for handler, own_level in others:
            handler.setLevel(own_level)
    shown = "\n".join((*recorder.lines, *capfd.readouterr()))
    for secret in (KEY, SECRET, TOKEN):
        assert secret not in shown
    assert time.monotonic() - began < _LONGEST


class _LogRecorder(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


class _OutcomeCollector:
    """Collector of the outcomes of all rows in a run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._found: dict[tuple[str, str], set[str]] = {}
        self._wrong: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup" and report.passed:
            return
        for row, mode in self._pairs(report):
            outcome = FAILED if report.failed else SKIPPED if report.skipped else PASSED
            self._found.setdefault((row, mode), set()).add(outcome)

    @staticmethod
    def _pairs(report: pytest.TestReport) -> Iterator[tuple[str, str]]:
        for name, value in report.user_properties:
            if name == "rows":
                pairs: Any = value
                yield from ((row, mode) for row, mode in pairs)

    def _verdicts(self) -> dict[tuple[str, str], str]:
        """Return the worst outcome of each row and identity."""
        worst = (FAILED, SKIPPED, PASSED)
        return {pair: next(each for each in worst if each in found) for pair, found in self._found.items()}

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        found = self._verdicts()
        kept = self._config.getoption("--matrix-json")
        if kept:
            listed = [[row, mode, verdict] for (row, mode), verdict in sorted(found.items())]
            Path(kept).write_text(json.dumps(listed), encoding="utf-8")
        action = self._config.getoption("--matrix")
        if action == "write":
            DOCUMENT.write_text(render(found), encoding="utf-8")
        if action == "check":
            document = DOCUMENT.read_text(encoding="utf-8") if DOCUMENT.exists() else ""
            if document != render(found):
                documented = verdicts(document)
                self._wrong = [
                    f"{row} with {mode}: the page says {documented.get((row, mode))}, this run {found.get((row, mode))}"
                    for row, mode in sorted(found.keys() | documented.keys())
                    if documented.get((row, mode)) != found.get((row, mode))
                ] or ["its words differ"]
                session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._wrong:
            terminalreporter.section("docs/reliability.md is stale: run make matrix")
            for line in self._wrong:
                terminalreporter.line(line)
