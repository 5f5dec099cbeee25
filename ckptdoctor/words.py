"""How sentences count and enumerate."""

from __future__ import annotations

from collections.abc import Sequence

_LISTED = 3
_LONGEST = 200
"""Characters of a name in a sentence."""


def counted(number: int, noun: str, several: str = "") -> str:
    """`1 error`, `3,000 errors`; `several` is the plural where it is no `s` more."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def shortened(name: str) -> str:
    """A name, as far as a sentence has room for it."""
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def enumerate_some(names: Sequence[str], most: int = _LISTED) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(map(shortened, names[:most]))
    return f"{shown} and {len(names) - most:,} more" if len(names) > most else shown
