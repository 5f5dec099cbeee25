"""Version numbers as artifacts have them: `2.10.1`, `2.2.4-tf`, `2.16.0rc1`."""

from __future__ import annotations

import re

_NUMBERS = r"[0-9]{1,8}(?![0-9])(?:\.[0-9]{1,8}(?![0-9]))*"
"""As many digits as a version has; more are none."""


def release(version: str | None, parts: int = 2) -> tuple[int, ...]:
    """The first numbers of a version, 0 for those that it lacks; nothing for what does not begin with a number."""
    found = re.match(_NUMBERS, version) if version else None
    if found is None:
        return ()
    numbers = [int(part) for part in found[0].split(".")[:parts]]
    return tuple(numbers + [0] * (parts - len(numbers)))


def within(version: tuple[int, ...], bound: str) -> bool:
    """Whether a release is `<2.11` or `>=2.11`; every one is within ""."""
    if not bound:
        return True
    limit = release(bound.lstrip("<>="), len(version))
    return version < limit if bound.startswith("<") else version >= limit
