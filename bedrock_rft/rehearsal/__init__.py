"""A run rehearsed before it is paid for: will it learn, what will it ask of the reward, and what to mend first."""

from __future__ import annotations

__all__: list[str] = []
