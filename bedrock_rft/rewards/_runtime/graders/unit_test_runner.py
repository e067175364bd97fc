"""Script that `PassesTests` runs in a new process: executes code and tests under limits and reports the result.

It reads a JSON object from stdin and writes a secret token and the result as JSON. The code that it executes has a
different stdout, so the output and the exit status of that code do not count.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import inspect
import json
import os
import re
import sys
import types
from collections.abc import Callable, Generator
from typing import Any, cast

__all__: list[str] = []

_MAX_OUTPUT = 1024 * 1024
_MAX_DEPTH = 6
_ASSERTION = re.compile(r"(?:_?assert|fail|raises)", re.IGNORECASE)


class _UnusableTestError(BaseException):
    """A test that passes with any code. Not an `Exception`, so that tests do not catch it."""


class _Pytest(types.ModuleType):
    """Replacement for the parts of pytest that tests of generated code use."""

    def __init__(self) -> None:
        super().__init__("pytest")
        self.mark = types.SimpleNamespace(
            parametrize=_parametrize, skip=_unchanged, timeout=_unchanged, asyncio=_unchanged, slow=_unchanged
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise _UnusableTestError(f"pytest.{name} is not supported, only raises, approx, fail and mark.parametrize")

    @staticmethod
    @contextlib.contextmanager
    def _raises(expected: Any, match: str | None) -> Generator[types.SimpleNamespace, None, None]:
        info = types.SimpleNamespace(value=None, type=None)
        try:
            yield info
        except expected as error:
            info.value, info.type = error, type(error)
            if match is not None and not re.search(match, str(error)):
                raise AssertionError(f"{match!r} does not match {str(error)!r}") from error
            return
        raise AssertionError(f"{expected!r} was not raised")

    def raises(self, expected: Any, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any) -> Any:
        """Replace `pytest.raises`."""
        match = kwargs.pop("match", None) if function is None else None
        manager = self._raises(expected, match)
        if function is None:
            return manager
        with manager as info:
            function(*args, **kwargs)
        return info

    @staticmethod
    def fail(reason: str = "") -> None:
        """Replace `pytest.fail`."""
        raise AssertionError(reason)

    @staticmethod
    def approx(expected: Any, rel: float | None = None, abs: float | None = None) -> Any:  # noqa: A002 - as in pytest
        """Replace `pytest.approx`."""
        return _Approx(expected, 1e-6 if rel is None else rel, 1e-12 if abs is None else abs)


class _Approx:
    """A number, or numbers in a list or a dict, with a tolerance."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, relative: float, absolute: float) -> None:
        self._expected, self._relative, self._absolute = expected, relative, absolute

    def __eq__(self, other: object) -> bool:
        return self._close(self._expected, other)

    def _close(self, expected: Any, found: Any) -> bool:
        if isinstance(expected, dict):
            same = isinstance(found, dict) and expected.keys() == found.keys()
            return same and all(
                self._close(value, found[key]) for key, value in cast("dict[str, Any]", expected).items()
            )
        if isinstance(expected, (list, tuple)):
            items = cast("list[Any]", expected)
            return len(items) == len(found) and all(map(self._close, items, found))
        if isinstance(found, bool) or not isinstance(found, (int, float, complex)):
            return bool(expected == found)
        return bool(expected == found or abs(expected - found) <= max(self._absolute, self._relative * abs(expected)))


def _unchanged(*args: Any, **_: Any) -> Any:
    def same(function: Any) -> Any:
        return function

    return args[0] if args and callable(args[0]) else same


def _parametrize(names: Any, values: Any, **_: Any) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        function.parameters = [*getattr(function, "parameters", []), (names, list(values))]
        return function

    return decorate


class _Instrument(ast.NodeTransformer):
    """Count the assertions that a test reaches, and make `==` reject objects that are equal to everything."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if len(node.ops) != 1 or not isinstance(node.ops[0], (ast.Eq, ast.NotEq)):
            return node
        function = "__equal__" if isinstance(node.ops[0], ast.Eq) else "__unequal__"
        return ast.Call(ast.Name(function, ast.Load()), [node.left, node.comparators[0]], [])

    def visit(self, node: ast.AST) -> Any:
        counted = isinstance(node, ast.stmt) and self._asserts(node)
        result = super().visit(node)
        if not counted:
            return result
        count = ast.Expr(ast.Call(ast.Name("__count_assertion__", ast.Load()), [], []))
        return [count, *(result if isinstance(result, list) else [result])]

    @staticmethod
    def _asserts(node: ast.stmt) -> bool:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return False
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.If):
            return any(isinstance(inner, ast.Raise) for child in node.body + node.orelse for inner in ast.walk(child))
        roots: list[ast.AST] = [node.value] if isinstance(node, ast.Expr) else []
        if isinstance(node, (ast.With, ast.AsyncWith)):
            roots = [item.context_expr for item in node.items]
        names = [
            root.func.attr if isinstance(root.func, ast.Attribute) else getattr(root.func, "id", "")
            for root in roots
            if isinstance(root, ast.Call)
        ]
        return any(map(_ASSERTION.match, names))


class _Runner:
    """Executes the code once, and then each test."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._task = task
        self._assertions = 0
        self._space: dict[str, Any] | None = None
        sys.modules["pytest"] = _Pytest()

    def passes(self, test: dict[str, Any]) -> bool:
        """Return whether the code passes a test."""
        try:
            if "stdin" in test:
                return self._passes_pair(test["stdin"], test["stdout"])
            if self._space is None:
                self._space = self._load()
            space = self._space
            if "function" in test:
                return self._passes_call(space, test)
            self._assertions = 0
            self._run_test(test["code"], space)
        except _UnusableTestError:
            raise
        except (Exception, SystemExit, KeyboardInterrupt):  # noqa: BLE001 - code that raises anything fails the test
            return False
        if not self._assertions:
            raise _UnusableTestError(f"it asserts nothing when it is run: {test['code'].strip()[:80]!r}")
        return True

    def _load(self) -> dict[str, Any]:
        """Execute the setup and the code in a new namespace."""
        module = sys.modules["answer"] = types.ModuleType("answer")
        space = module.__dict__
        space["__builtins__"] = {**vars(builtins), "__build_class__": _guarded_build_class}
        _execute(self._task["setup"], space, "setup.py")
        _execute(self._task["code"], space, "answer.py")
        return space

    def _run_test(self, code: str, space: dict[str, Any]) -> None:
        import unittest

        before = dict(space)
        tree = ast.fix_missing_locations(_Instrument().visit(ast.parse(code)))
        space.update(__count_assertion__=self._count, __equal__=_equal, __unequal__=_unequal)
        space["__builtins__"] = vars(builtins)
        exec(compile(tree, "tests.py", "exec"), space)  # noqa: S102 - the purpose of this script
        defined = {name: value for name, value in space.items() if name not in before or before[name] is not value}
        called = {node.func.id for node in _top_level_calls(tree) if isinstance(node.func, ast.Name)}
        for name, value in defined.items():
            if isinstance(value, type) and issubclass(value, unittest.TestCase):
                result = unittest.TestResult()
                unittest.defaultTestLoader.loadTestsFromTestCase(value).run(result)
                if not result.wasSuccessful() or not result.testsRun:
                    raise AssertionError(f"{name} failed")
            elif isinstance(value, type) and name.startswith("Test"):
                for method in [method for method in dir(value) if method.startswith("test")]:
                    instance = value()
                    set_up = getattr(instance, "setup_method", None)
                    if set_up is not None:
                        set_up(*[None] * len(inspect.signature(set_up).parameters))
                    _call_test(getattr(instance, method))
            elif isinstance(value, types.FunctionType) and name.startswith("test") and name not in called:
                _call_test(value)
            elif isinstance(value, types.FunctionType) and name == "check" and name not in called:
                value(self._candidate(before))

    def _count(self) -> None:
        self._assertions += 1

    def _candidate(self, space: dict[str, Any]) -> Any:
        """Return the function under test for `check(candidate)`."""
        name = self._task["entry_point"]
        functions = [value for value in space.values() if isinstance(value, types.FunctionType)]
        own = [function for function in functions if function.__globals__ is space or function.__module__ == "answer"]
        return space[name] if name else own[-1]

    @staticmethod
    def _passes_call(space: dict[str, Any], test: dict[str, Any]) -> bool:
        function = space.get(test["function"])
        if function is None and isinstance(space.get("Solution"), type):
            function = getattr(space["Solution"](), test["function"])
        result = function(*test["arguments"])  # type: ignore[misc] # a missing function fails the test
        expected = test["result"]
        result = list(cast("tuple[object, ...]", result)) if isinstance(result, tuple) else result
        single = isinstance(expected, list) and len(cast("list[object]", expected)) == 1
        return _equal(result, expected) or (single and _equal(result, expected[0]))

    def _passes_pair(self, stdin: str, stdout: str) -> bool:
        """Run the code as a program and compare its output, without spaces at the ends of lines."""
        with open("stdin.txt", "w+", encoding="utf-8") as given, open("stdout.txt", "w+b") as written:  # noqa: PTH123
            given.write(stdin)
            given.flush()
            given.seek(0)
            os.dup2(given.fileno(), 0)
            os.dup2(written.fileno(), 1)
            _open_streams()
            try:
                space: dict[str, Any] = {"__name__": "__main__", "__builtins__": builtins}
                code = f"{self._task['setup']}\n{self._task['code']}" if self._task["setup"] else self._task["code"]
                sys.argv = ["answer.py"]
                with contextlib.suppress(SystemExit):
                    exec(compile(code, "answer.py", "exec"), space)  # noqa: S102 - as above
                sys.stdout.flush()
            finally:
                _silence()
            written.seek(0)
            output = written.read(_MAX_OUTPUT).decode("utf-8", "replace")
        return _lines(output) == _lines(stdout)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _top_level_calls(tree: ast.Module) -> list[ast.Call]:
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    statements = [node for node in tree.body if not isinstance(node, definitions)]
    return [inner for node in statements for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def _call_test(function: Any) -> None:
    """Call a test function, once for each set of its parameters."""
    cases: list[dict[str, Any]] = [{}]
    for names, values in getattr(function, "parameters", []):
        keys = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
        cases = [
            {**case, **dict(zip(keys, value if len(keys) > 1 else [value], strict=True))}
            for case in cases
            for value in values
        ]
    required = {
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.default is parameter.empty
    }
    missing = required - {name for case in cases for name in case}
    if missing:
        raise _UnusableTestError(f"pytest fixtures such as {min(missing)!r} are not supported")
    for case in cases:
        result = function(**case)
        if inspect.iscoroutine(result):
            import asyncio

            asyncio.run(result)


def _execute(code: str, space: dict[str, Any], file: str) -> None:
    """Execute code statement by statement. One that fails, such as an example, does not stop the rest."""
    tree = ast.parse(code)
    flags = 0
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            import __future__

            flags |= sum(getattr(__future__, alias.name).compiler_flag for alias in node.names)
            continue
        with contextlib.suppress(Exception, SystemExit):
            exec(compile(ast.Module([node], []), file, "exec", flags, dont_inherit=True), space)  # noqa: S102 - as above


def _probes(value: object) -> list[object]:
    """Return values of several types, none of which equals `value` unless that is equal to everything."""
    probes: list[object] = [object(), 0.7310585786, -918273645, "\u2603 probe", (b"probe",), [object()]]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        probes.append(value + 1)
    if isinstance(value, str):
        probes.append(f"{value} probe")
    return probes


def _equals_everything(equal: Any, left: Any, right: Any) -> bool:
    """Return whether `left` is equal to something that differs from `right`."""
    with contextlib.suppress(Exception):
        return any(equal(left, probe) is not NotImplemented and equal(left, probe) for probe in _probes(right))
    return False


def _guarded_build_class(function: Any, name: str, *bases: Any, **keywords: Any) -> Any:
    """Build a class of the answer whose objects equal nothing if they would equal everything."""
    built = builtins.__build_class__(function, name, *bases, **keywords)
    if not isinstance(built, type):
        return built
    for method, if_universal in (("__eq__", False), ("__ne__", True)):
        compare = vars(built).get(method)
        if isinstance(compare, types.FunctionType):
            with contextlib.suppress(Exception):
                setattr(built, method, _guard(compare, if_universal))
    return built


def _guard(compare: Any, if_universal: bool) -> Any:
    """Wrap `__eq__` or `__ne__`; the wrapper returns `if_universal` if the method gives every value as equal."""

    def is_equal(left: Any, right: Any) -> bool:
        result = compare(left, right)
        return result is not NotImplemented and bool(result) is not if_universal

    def guarded(self: Any, other: Any) -> Any:
        result = compare(self, other)
        if result is NotImplemented or bool(result) is if_universal:
            return result
        return if_universal if _equals_everything(is_equal, self, other) else result

    return guarded


def _equal(left: Any, right: Any, depth: int = 0) -> Any:
    """Compare two values; an object of the answer that is equal to everything is equal to nothing."""
    result = left == right
    try:
        truth = bool(result)
    except Exception:  # noqa: BLE001 - an array, for example
        return result
    if truth and _has_universal_equality(left, right, depth):
        return False
    return result


def _unequal(left: Any, right: Any) -> Any:
    result = left != right
    return True if result is False and _has_universal_equality(left, right, 0) else result


def _has_universal_equality(left: Any, right: Any, depth: int) -> bool:
    for one, other in ((left, right), (right, left)):
        if getattr(type(one).__eq__, "__module__", None) == "answer" and _equals_everything(
            type(one).__eq__, one, other
        ):
            return True
    if depth < _MAX_DEPTH and type(left) is type(right):
        if isinstance(left, (list, tuple)):
            pairs = zip(cast("list[Any]", left), right, strict=False)
            return any(_has_universal_equality(one, other, depth + 1) for one, other in pairs)
        if isinstance(left, dict):
            return any(
                _has_universal_equality(left[key], right[key], depth + 1)
                for key in cast("dict[str, Any]", left)
                if key in right
            )
    return False


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
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, limit in limits.items():
        kind = getattr(resource, name, None)
        if kind is not None:
            hard = resource.getrlimit(kind)[1]
            value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(kind, (value, value))


def _main() -> None:
    task = json.loads(sys.stdin.buffer.read())
    report = os.dup(1)
    _silence()
    _apply_limits(task["limits"])
    sys.path.extend(task["paths"])
    sys.argv = ["answer.py"]
    token, write, leave = task.pop("token"), os.write, os._exit  # the code may replace these functions
    result: dict[str, Any] = {"passed": 0, "error": None}
    try:
        runner = _Runner(task)
        result["passed"] = sum(runner.passes(test) for test in task["tests"])
    except _UnusableTestError as error:
        result["error"] = str(error)
    except BaseException:  # noqa: BLE001 - such as running out of memory
        result["passed"] = 0
    write(report, f"{token} {json.dumps(result)}".encode())
    leave(0)


if __name__ == "__main__":
    _main()
