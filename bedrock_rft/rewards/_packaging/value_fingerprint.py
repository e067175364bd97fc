"""Fingerprints of the values of a module's names, to compare a notebook with the package made from it.

This file is also run by path in a clean process, with the standard library only.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import random
import re
import types
from collections.abc import Mapping
from typing import Any, cast

_MAX_DEPTH = 12
_CLASS_DETAILS = frozenset(
    {
        "__module__", "__dict__", "__weakref__", "__doc__", "__qualname__", "__static_attributes__",
        "__firstlineno__", "__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__",
        "__conditional_annotations__", "__classdictcell__", "__dataclass_fields__", "__dataclass_params__",
        "__match_args__", "__abstractmethods__", "_abc_impl",
    }
)  # fmt: skip
_BY_REPR = ("datetime", "decimal", "fractions", "uuid", "pathlib", "enum", "ipaddress", "zoneinfo")


def fingerprint_names(space: Mapping[str, Any], names: list[str]) -> dict[str, str]:
    """Return a fingerprint of the value of each name, which is the same in every process.

    If the state of an object is not known, only its type counts.
    """
    module = str(space.get("__name__"))
    return {
        name: hashlib.sha256(repr(_describe(space[name], module, {}, 0)).encode("utf-8", "replace")).hexdigest()
        for name in names
        if name in space
    }


def _describe(value: Any, module: str, visited: dict[int, tuple[int, Any]], depth: int) -> Any:  # noqa: C901, PLR0911 - by type
    """Return nested tuples of text that describe a value."""
    kind = type(cast("object", value))
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return (kind.__name__, repr(value))
    if id(value) in visited:
        return ("repeated", visited[id(value)][0])
    if depth > _MAX_DEPTH:
        return ("deep", kind.__qualname__)
    visited[id(value)] = len(visited), value  # keep the value, so that no later value gets the same id

    def inner(part: Any) -> Any:
        return _describe(part, module, visited, depth + 1)

    if isinstance(value, types.ModuleType):
        return ("module", value.__name__)
    if isinstance(value, type):
        return _describe_class(cast("type[Any]", value), module, inner)
    if isinstance(value, types.FunctionType):
        return _describe_function(value, module, inner)
    if isinstance(value, (types.BuiltinFunctionType, types.MethodDescriptorType, types.WrapperDescriptorType)):
        owner = getattr(value, "__self__", None)
        return ("builtin", value.__qualname__, owner.__name__ if isinstance(owner, types.ModuleType) else inner(owner))
    if isinstance(value, types.MethodType):
        return ("method", inner(value.__func__), inner(value.__self__))
    if isinstance(value, (staticmethod, classmethod)):
        return (kind.__name__, inner(cast("Any", value).__func__))
    if isinstance(value, property):
        return ("property", inner(value.fget), inner(value.fset))
    if isinstance(value, functools.partial):
        return ("partial", inner(value.func), inner(value.args), inner(value.keywords))
    wrapped = getattr(value, "__wrapped__", None)
    if wrapped is not None and hasattr(value, "cache_parameters"):
        return ("cache", inner(wrapped), inner(value.cache_parameters()))
    return _describe_data(value, module, inner)


def _describe_data(value: Any, module: str, inner: Any) -> Any:  # noqa: PLR0911 - by type
    kind = type(cast("object", value))
    label = _class_label(kind, module)
    state = {**getattr(value, "__dict__", {})} if kind.__module__ == module else {}
    if isinstance(value, (list, tuple, collections.deque)):
        return (label, tuple(inner(item) for item in cast("list[Any]", value)), _state(state, inner))
    if isinstance(value, (set, frozenset)):
        return (label, tuple(sorted(repr(inner(item)) for item in cast("set[Any]", value))), _state(state, inner))
    if isinstance(value, dict):
        items = [(inner(key), inner(item)) for key, item in cast("dict[str, Any]", value).items()]
        return (label, tuple(sorted(items, key=repr)), _state(state, inner))
    if isinstance(value, re.Pattern):
        pattern = cast("re.Pattern[str]", value)
        return (label, repr(pattern.pattern), pattern.flags)
    if isinstance(value, random.Random):
        return (label, inner(value.getstate()))
    if dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
        return (label, _state({**fields, **state}, inner))
    if kind.__module__.split(".")[0] in _BY_REPR or isinstance(value, (bytearray, range, slice)):
        return (label, repr(cast("object", value)))
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return (label, str(value.dtype), str(getattr(value, "shape", "")), hashlib.sha256(value.tobytes()).hexdigest())
    return (label, _state(state, inner))


def _state(attributes: Mapping[str, Any], inner: Any) -> Any:
    return tuple((name, inner(attributes[name])) for name in sorted(attributes))


def _class_label(kind: type[Any], module: str) -> str:
    return f"{'' if kind.__module__ == module else kind.__module__}.{kind.__qualname__}"


def _describe_class(kind: type[Any], module: str, inner: Any) -> Any:
    if kind.__module__ != module:
        return ("class", _class_label(kind, module))
    members = {name: member for name, member in vars(kind).items() if name not in _CLASS_DETAILS}
    slots = (types.MemberDescriptorType, types.GetSetDescriptorType)
    own = {name: member for name, member in members.items() if not isinstance(member, slots)}
    if dataclasses.is_dataclass(kind):  # its generated methods depend on its fields only
        own = {name: member for name, member in own.items() if not _is_generated(member)}
    return ("class", _class_label(kind, module), tuple(inner(base) for base in kind.__bases__), _state(own, inner))


def _is_generated(member: Any) -> bool:
    code = getattr(getattr(member, "__wrapped__", member), "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _describe_function(function: types.FunctionType, module: str, inner: Any) -> Any:
    if function.__module__ != module and not function.__closure__:
        return ("function", function.__module__, function.__qualname__, _state(vars(function), inner))
    cells = tuple(inner(cell.cell_contents) for cell in function.__closure__ or () if _has_contents(cell))
    defaults = (inner(function.__defaults__), inner(function.__kwdefaults__))
    return ("function", _describe_code(function.__code__), defaults, cells, _state(vars(function), inner))


def _has_contents(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _describe_code(code: types.CodeType) -> Any:
    constants = tuple(
        _describe_code(constant) if isinstance(constant, types.CodeType) else repr(constant)
        for constant in code.co_consts
        if not isinstance(constant, frozenset)
    )
    return (code.co_name, code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars)
