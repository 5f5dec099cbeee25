"""The console script: from its first line on, Ctrl-C ends the command with 130 and without a traceback.

Nothing heavy is imported before the handler is in place: what comes after, click and the commands, takes most of the
start-up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def _end(_number: int, _frame: FrameType | None) -> None:
    os.write(2, b"ckptdoctor: interrupted\n")
    os._exit(130)


@contextmanager
def raising() -> Iterator[None]:
    """Where Ctrl-C is an exception, as Python has it: within a command, which may have something to clear away."""
    ours = signal.getsignal(signal.SIGINT) is _end
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, _end)


def main() -> None:
    """Runs the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the shell has Ctrl-C ignored
        signal.signal(signal.SIGINT, _end)
    from ckptdoctor.cli import main as run

    run()
