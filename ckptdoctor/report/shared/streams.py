"""What stdout is, and what its reader asked for: whether lines wrap, and whether colours are forced."""

from __future__ import annotations

import os
import sys


def forces_color() -> bool:
    """Whether FORCE_COLOR asks for colours in a pipe too: set to anything (force-color.org)."""
    return bool(os.environ.get("FORCE_COLOR"))


def wraps() -> bool:
    """Whether lines end at a terminal's edge: in a pipe, what people grep for stays on one line."""
    return sys.stdout.isatty() or "COLUMNS" in os.environ
