"""Making what is staged durable, in a thread of its own.

A disk takes as long to take in two gigabytes as reading them back does: it is given them while they are still being
written, and what is left while they are compared. Nothing is put in place before the disk has all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from threading import Event, Thread
from types import TracebackType

_FLAGS = os.O_RDONLY if os.name != "nt" else os.O_RDWR  # Windows syncs what is open for writing
_TICK = 0.05
"""Seconds between looks at how much there is."""
_WORTH_IT = 64 << 20
"""Bytes that have to come together before the disk is told, while there is still more to come."""


class Flushing:
    """Syncs the files below a folder while the block runs; `finish` says that they are complete, and waits."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._sizes: dict[str, int] = {}
        self._complete, self._abandoned = Event(), Event()
        self._error: OSError | None = None
        self._thread = Thread(target=self._run, name="ckptdoctor-flushing", daemon=True)

    def __enter__(self) -> Flushing:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned.set()
        self._complete.set()
        self._thread.join()

    def complete(self) -> None:
        """Nothing will be written any more: the rest is synced from now on."""
        self._complete.set()

    def finish(self, changed: Iterable[str] = ()) -> None:
        """Waits until everything is on the disk, and what of these files was changed since they were complete.

        Raises:
            OSError: The disk did not take it.
        """
        self._complete.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        for path in changed:
            fsync_path(path)

    def _run(self) -> None:
        try:
            while not self._complete.wait(_TICK):
                self._sync(_WORTH_IT)
            self._sync(0)
        except OSError as error:
            self._error = error

    def _sync(self, least: int) -> None:
        """Syncs every file that has grown by `least` bytes; with 0 every file, and the directories that list them."""
        for folder, _, files in os.walk(self._folder):
            for name in files:
                if self._abandoned.is_set():
                    return
                path = os.path.join(folder, name)
                with suppress(FileNotFoundError):  # a writer's temporary file
                    size = _allotted(path)
                    if size - self._sizes.get(path, 0) >= least:
                        fsync_path(path)
                        self._sizes[path] = size
            if not least:
                with suppress(OSError):  # some systems cannot sync a directory
                    fsync_path(folder)


def _allotted(path: str) -> int:
    """Bytes that were written to a file: HDF5 gives it its full size before."""
    status = os.stat(path)
    return status.st_blocks * 512 if hasattr(status, "st_blocks") else status.st_size


def fsync_path(path: str) -> None:
    """Waits until the disk has a file or a directory.

    Raises:
        OSError: It did not take it, or the system cannot sync a directory.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
