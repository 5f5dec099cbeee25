"""Which policy file counts for declarations: said at the start, asked when a class is met that nobody knows."""

import os
from typing import NamedTuple


class Source(NamedTuple):
    """Which policy file counts.

    Attributes:
        path: This one.
        start: Without one, the nearest from this directory upwards; None: no file.
    """

    path: str | None = None
    start: str | None = None


_source = Source()


def use(source: Source) -> None:
    """Says which policy file counts from now on; until somebody does, none does."""
    global _source  # noqa: PLW0603 - one process, one working directory, one policy file
    _source = source


def nearest_file() -> Source:
    """The nearest policy file from here upwards, as the commands have it."""
    try:
        return Source(start=os.getcwd())
    except OSError:  # it was deleted
        return Source()


def source() -> Source:
    """Which policy file counts; also tells declarations of before from those of now."""
    return _source
