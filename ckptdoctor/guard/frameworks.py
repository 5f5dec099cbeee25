"""The framework that a program has loaded."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any


def loaded(names: Sequence[str], what: str) -> Any:
    """The module that the program has loaded already; else the first that can be.

    Args:
        names: Modules that have what is wanted, the likeliest first.
        what: What asks for it.

    Raises:
        ImportError: None of them is installed.
    """
    for name in names:
        if sys.modules.get(name) is not None:
            return sys.modules[name]
    for name in names:
        with suppress(ModuleNotFoundError):
            return import_module(name)
    packages = " or ".join(dict.fromkeys(name.partition(".")[0] for name in names))
    raise ImportError(f"{what} needs {packages}, which is not installed")
