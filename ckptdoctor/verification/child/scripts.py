"""The user's own code, where `--model-script` names it: the only code of a user's that verify runs."""

from __future__ import annotations

import os
import runpy
import sys
from typing import Any


def built(script: str) -> Any:
    """What the function that `FILE.py:FUNCTION` names answers with.

    Raises:
        ValueError: The file has no such function.
    """
    path, _, name = script.rpartition(":")
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    function = runpy.run_path(path).get(name)
    if not callable(function):
        raise ValueError(f"{path} has no function {name!r}")  # noqa: TRY004 - told to the user as it is
    return function()
