"""A terminal with a person at it: a process of its own session, whose Ctrl-C is a key and no signal from outside."""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from support.commands import environment

CTRL_C = b"\x03"
_LEADER = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    " os.execv(sys.executable, [sys.executable, '-m', 'ckptdoctor', *sys.argv[1:]])"
)
_SEQUENCE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """Runs ckptdoctor with all its streams on a terminal of 100 columns.

    Attributes:
        shown: All that it has written so far.
    """

    def __init__(self, arguments: Sequence[str], cwd: str | os.PathLike[str]) -> None:
        import fcntl
        import pty
        import struct
        import termios

        self.shown = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LEADER, *arguments],
            stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment(TERM="xterm-256color"),
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def text(self) -> str:
        """What was written, without colours and movements of the cursor."""
        return _SEQUENCE.sub(b"", self.shown).decode("utf-8", "replace")

    def press(self, key: bytes) -> None:
        """Types."""
        os.write(self._master, key)

    def wait_for(self, what: bytes, seconds: float = 90) -> None:
        """Reads until this was written.

        Raises:
            AssertionError: It never is.
        """
        until = time.monotonic() + seconds
        while what not in self.shown:
            assert time.monotonic() < until, f"{what!r} did not come: {self.text[-500:]}"
            assert self._more(1), f"{what!r} did not come before the end: {self.text[-500:]}"

    def finish(self, seconds: float = 90) -> int:
        """Reads to the end; answers the exit code."""
        until = time.monotonic() + seconds
        while self._more(1):
            assert time.monotonic() < until, f"it does not end: {self.text[-500:]}"
        return self.process.wait(seconds)

    def _more(self, seconds: float) -> bool:
        """Reads what there is; False at the end."""
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            part = os.read(self._master, 1 << 16)
        except OSError:  # Linux says so at the end
            return False
        self.shown += part
        return bool(part)
