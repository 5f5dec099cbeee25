"""Ctrl-C while artifacts are read: it ends the work, and what was done is kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs


class Interruption:
    """Whether Ctrl-C was pressed.

    Attributes:
        asked: It was.
    """

    asked = False


@contextmanager
def remembered_interruption() -> Iterator[Interruption]:
    """Remembers Ctrl-C, and raises KeyboardInterrupt as ever.

    The exception alone is not enough: where it meets Python code that a C library has called, as HDF5's calls to read
    from an archive, the library may drop it, or turn it into a complaint about the file.
    """
    interruption = Interruption()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield interruption
        return

    def remember(number: int, frame: FrameType | None) -> None:
        interruption.asked = True
        signal.default_int_handler(number, frame)

    def unraisable(dropped: UnraisableHookArgs) -> None:
        if not isinstance(dropped.exc_value, KeyboardInterrupt):
            before(dropped)

    before, sys.unraisablehook = sys.unraisablehook, unraisable
    signal.signal(signal.SIGINT, remember)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = before
