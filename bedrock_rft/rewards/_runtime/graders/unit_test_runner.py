"""Code that `PassesTests` runs in a new process: executes code and tests under limits and reports the result.

`main` gets a task and writes a secret token and the result. The code that it executes has a different stdout, so the
output and the exit status of that code do not count. Its changes to loaded modules are undone before each test. Every
answer starts a process, so this file imports few modules, and is compiled by the process that starts it.
"""

from __future__ import annotations
import __future__

import ast
import builtins
import contextlib
import os
import sys
import types

TYPE_CHECKING = False  # importing `typing` takes a third of the time of a process
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from bedrock_rft.rewards._runtime.graders import unit_test_guards as guards  # noqa: TC004 - it is a global of this code

__all__: list[str] = []

_MAX_OUTPUT = 1024 * 1024


class _UnusableTestError(BaseException):
    """A test that passes with any code. Not an `Exception`, so that tests do not catch it."""


class _Pytest(types.ModuleType):
    """Replacement for the parts of pytest that tests of generated code use."""

    def __init__(self) -> None:
        super().__init__("pytest")
        self.mark = types.SimpleNamespace(
            parametrize=_parametrize,
            skip=_keep_function,
            timeout=_keep_function,
            asyncio=_keep_function,
            slow=_keep_function,
        )
        self.raises, self.fail, self.approx = _raises, _fail, _Approx

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _UnusableTestError(f"pytest.{name} is not supported, only raises, approx, fail and mark.parametrize")


def _raises(expected: Any, function: Any = None, *args: Any, match: str | None = None, **kwargs: Any) -> Any:
    """Replace `pytest.raises`."""
    import unittest

    manager: Any = unittest.TestCase().assertRaisesRegex(expected, match or "")  # noqa: PT027
    kind: Any = manager.__class__
    kind.value = property(lambda info: info.exception)  # its name in pytest
    if function is None:
        return manager
    with manager:
        function(*args, **kwargs)
    return manager


def _fail(reason: str = "") -> None:
    raise AssertionError(reason)


class _Approx:
    """Replacement for `pytest.approx`: a number, or numbers in a list or a dict, with a tolerance."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:  # noqa: A002 - as in pytest
        self._expected = expected
        self._relative, self._absolute = (1e-6 if rel is None else rel), (1e-12 if abs is None else abs)

    def __eq__(self, other: object) -> bool:
        return self._close(self._expected, other)

    def _close(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, dict):
            wanted: dict[str, Any] = expected  # pyright: ignore[reportUnknownVariableType]
            same = isinstance(found, dict) and wanted.keys() == found.keys()
            return same and all(self._close(value, found[key]) for key, value in wanted.items())
        if isinstance(expected, (list, tuple)):
            items: list[Any] | tuple[Any, ...] = expected  # pyright: ignore[reportUnknownVariableType]
            return len(items) == len(found) and all(map(self._close, items, found))
        if isinstance(found, bool) or not isinstance(found, (int, float, complex)):
            return bool(expected == found)
        return bool(expected == found or abs(expected - found) <= max(self._absolute, self._relative * abs(expected)))


def _keep_function(*args: Any, **_: Any) -> Any:
    def same(function: Any) -> Any:
        return function

    return args[0] if args and callable(args[0]) else same


def _parametrize(names: Any, values: Any, **_: Any) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        function.parameters = [*getattr(function, "parameters", []), (names, list(values))]
        return function

    return decorate


class _Runner:
    """Executes the code once, and then each test."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._assertions = 0
        self._space: dict[str, Any] | None = None
        self._defined: set[str] = set()
        self._unittest: Any = None
        tests = [test.get("code", "") for test in task["tests"]]
        # Load modules before the code can change them. Load slow modules only for tests that can use them.
        if any(name in text for text in (task["setup"], task["code"], *tests) for name in ("unittest", "pytest")):
            import unittest

            self._unittest = unittest
            guards.guard_assertions(self._unittest.TestCase)
        sys.modules["pytest"] = _Pytest()
        used = {"inspect"} if any("test" in code.lower() for code in tests) else set[str]()
        for name in {"math", *used, *_imported_modules(tests)}:
            with contextlib.suppress(Exception):
                __import__(name)
        del sys.modules["__main__"]
        self._originals = guards.Originals(globals())
        self.restore()

    def restore(self) -> None:
        """Undo changes outside the namespace of the code."""
        self._originals.restore()
        sys.modules.update(pytest=_Pytest(), __main__=types.ModuleType("__main__"))

    def passes(self, test: dict[str, Any]) -> bool:
        """Return whether the code passes a test."""
        try:
            if "stdin" in test:
                return self._passes_pair(test["stdin"], test["stdout"])
            if self._space is None:
                self._space = self._load()
            if "function" in test:
                return self._passes_call(self._space, test)
            self._assertions = 0
            self._run_test(test["code"], self._space)
        except _UnusableTestError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001 - code that raises anything fails the test
            return False
        finally:
            self.restore()
        if not self._assertions:
            raise _UnusableTestError(f"the test asserts nothing when it is run: {test['code'].strip()[:80]!r}")
        return True

    def _load(self) -> dict[str, Any]:
        """Execute the setup and the code in a new namespace."""
        module = sys.modules["answer"] = types.ModuleType("answer")
        space = module.__dict__
        space["__builtins__"] = dict(vars(builtins))
        _execute(self._task["setup"], space, "setup.py")
        given = set(space)
        _execute(self._task["code"], space, "answer.py")
        self._defined = set(space) - given
        self.restore()
        return space

    def _run_test(self, code: str, space: dict[str, Any]) -> None:
        before = dict(space)
        tree = ast.parse(code)
        space.update({f"__builtin_{name}__": value for name, value in vars(builtins).items()})
        space.update(__count_assertion__=self._count, __honest__=guards.honest, __builtins__=vars(builtins))
        tree = ast.fix_missing_locations(guards.Instrument(self._shadowed_builtins(tree)).visit(tree))
        exec(compile(tree, "tests.py", "exec"), space)  # noqa: S102 - the purpose of this script
        defined = {name: value for name, value in space.items() if name not in before or before[name] is not value}
        called = _called_functions(tree)
        for name, value in defined.items():
            if self._unittest and isinstance(value, type) and issubclass(value, self._unittest.TestCase):
                result = self._unittest.TestResult()
                self._unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
                if not result.wasSuccessful() or not result.testsRun:
                    raise AssertionError(f"{name} failed")
            elif isinstance(value, type) and name.startswith("Test"):
                for method in [method for method in dir(value) if method.startswith("test")]:
                    instance = value()
                    set_up = getattr(instance, "setup_method", None)
                    if set_up is not None:
                        import inspect

                        set_up(*[None] * len(inspect.signature(set_up).parameters))
                    _call_test(getattr(instance, method))
            elif isinstance(value, types.FunctionType) and name.startswith("test") and name not in called:
                _call_test(value)
            elif isinstance(value, types.FunctionType) and name == "check" and name not in called:
                value(self._candidate(before))

    def _shadowed_builtins(self, tree: ast.Module) -> set[str]:
        """Return the builtins that the test uses and the code replaces, unless one of them is under test."""
        names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
        used = {name.id for name in names if isinstance(name.ctx, ast.Load)} & self._defined
        stored = {name.id for name in names if isinstance(name.ctx, ast.Store)}
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "check"]
        candidates = {arg.id for node in calls for arg in node.args if isinstance(arg, ast.Name)}
        replaced = (
            {name for name in used if hasattr(builtins, name)} - stored - {self._task["entry_point"], *candidates}
        )
        tests_other = used - replaced or any(getattr(node, "name", "") == "check" for node in tree.body)
        return replaced if tests_other else set()

    def _count(self) -> None:
        self._assertions += 1

    def _candidate(self, space: dict[str, Any]) -> Any:
        """Return the function under test for `check(candidate)`."""
        name = self._task["entry_point"]
        functions = [value for value in space.values() if isinstance(value, types.FunctionType)]
        return space[name] if name else [one for one in functions if one.__module__ == "answer"][-1]

    @staticmethod
    def _passes_call(space: dict[str, Any], test: dict[str, Any]) -> bool:
        function = space.get(test["function"])
        if function is None and isinstance(space.get("Solution"), type):
            function = getattr(space["Solution"](), test["function"])
        result = guards.honest(function(*test["arguments"]))  # type: ignore[misc] # a missing function fails the test
        result = [*result] if isinstance(result, tuple) else result  # pyright: ignore[reportUnknownVariableType]
        expected = test["result"]
        single = isinstance(expected, list) and len(expected) == 1  # pyright: ignore[reportUnknownArgumentType]
        return result in ([expected, test["result"][0]] if single else [expected])

    def _passes_pair(self, stdin: str, stdout: str) -> bool:
        """Run the code as a program and compare its output, without spaces at the ends of lines."""
        with open("stdin.txt", "w+", encoding="utf-8") as given, open("stdout.txt", "w+b") as written:  # noqa: PTH123
            given.write(stdin)
            given.seek(0)
            os.dup2(given.fileno(), 0)
            os.dup2(written.fileno(), 1)
            _open_streams()
            try:
                code = "\n".join(filter(None, [self._task["setup"], self._task["code"]]))
                with contextlib.suppress(SystemExit):
                    exec(compile(code, "answer.py", "exec"), {"__name__": "__main__"})  # noqa: S102 - as above
                sys.stdout.flush()
            finally:
                _silence()
            written.seek(0)
            output = written.read(_MAX_OUTPUT).decode("utf-8", "replace")
        return _lines(output) == _lines(stdout)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _imported_modules(codes: Iterable[str]) -> Iterator[str]:
    """Return the names of the modules that tests import."""
    for node in (node for code in codes for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _called_functions(tree: ast.Module) -> set[str]:
    """Return the names of the functions that the top level of a test calls."""
    statements = [node for node in tree.body if not isinstance(node, guards.DEFINITIONS)]
    calls = [inner.func for node in statements for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return {function.id for function in calls if isinstance(function, ast.Name)}


def _call_test(function: Any) -> None:
    """Call a test function, once for each set of its parameters."""
    import inspect

    cases: list[dict[str, Any]] = [{}]
    for names, values in getattr(function, "parameters", []):
        keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        rows = [dict(zip(keys, value if len(keys) > 1 else [value], strict=True)) for value in values]
        cases = [{**case, **row} for case in cases for row in rows]
    parameters = inspect.signature(function).parameters.items()
    required = {name for name, parameter in parameters if parameter.default is parameter.empty}
    missing = required - {name for case in cases for name in case}
    if missing:
        raise _UnusableTestError(f"pytest fixtures such as {min(missing)!r} are not supported")
    for case in cases:
        result = function(**case)
        if inspect.iscoroutine(result):
            import asyncio

            asyncio.run(result)


def _execute(code: str, space: dict[str, Any], file: str) -> None:
    """Execute code statement by statement. A statement that fails, such as an example, does not stop the rest."""
    tree = ast.parse(code)
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            flags |= sum(getattr(__future__, alias.name).compiler_flag for alias in node.names)
            continue
        with contextlib.suppress(Exception, SystemExit):
            exec(compile(ast.Module([node], []), file, "exec", flags, dont_inherit=True), space)  # noqa: S102 - as above


def _silence() -> None:
    """Connect stdin and stdout of the code to the null device."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    _open_streams()


def _open_streams() -> None:
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _apply_limits(limits: dict[str, int]) -> None:
    with contextlib.suppress(ImportError):  # Windows
        import resource

        for name, limit in limits.items():
            if hasattr(resource, name):
                hard = resource.getrlimit(getattr(resource, name))[1]
                value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
                resource.setrlimit(getattr(resource, name), (value, value))


def main(task: dict[str, Any]) -> None:
    """Run a task, write the token, the number of passing tests and why a test is unusable, and end the process."""
    report = os.dup(1)
    _silence()
    _apply_limits(task["limits"])
    sys.path.extend(task["paths"])
    sys.argv = ["answer.py"]
    token, write, leave = task.pop("token"), os.write, os._exit  # the code may replace these functions
    passed, fault = 0, ""
    try:
        runner = _Runner(task)
        passed = sum([runner.passes(test) for test in task["tests"]])
    except _UnusableTestError as error:
        fault = str(error)
    except BaseException:  # noqa: BLE001, S110 - such as running out of memory
        pass
    write(report, f"{token} {passed} {fault}".encode("utf-8", "backslashreplace"))
    leave(0)
