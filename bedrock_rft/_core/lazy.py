"""Load public names when they are first used (PEP 562), so that importing a package costs nothing."""

from __future__ import annotations

# Type checkers know this name; importing `typing` would cost more than the rest of the module.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any


def lazy_names(
    package: str, modules: Mapping[str, Sequence[str]], renamed: Mapping[str, str] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package, given the public names of each module.

    A name in `renamed` raises an `ImportError` that names the replacement.
    """
    homes = {name: f"{package}.{module}" for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if renamed and name in renamed:
            # An AttributeError would lose its text in `from package import name`.
            raise ImportError(f"{package}.{name} was renamed: use {renamed[name]}")
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import sys
        from importlib import import_module

        value = getattr(import_module(homes[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        import sys

        return sorted({*vars(sys.modules[package]), *homes})

    return load, names
