"""Regular files, opened once and read by position; every claim about their size is checked against the file."""

from __future__ import annotations

import os
import stat
from types import TracebackType
from typing import TYPE_CHECKING

from ckptdoctor import storage
from ckptdoctor.errors import LimitExceeded, Unreachable, UnreadableArtifact
from ckptdoctor.words import counted

if TYPE_CHECKING:
    from ckptdoctor.storage.contract import Ranges

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)

MAX_READ = 1 << 30
"""No structure (an index block, an object graph, a configuration) may be larger than this; tensors are streamed."""


def reason(error: OSError) -> str:
    """The operating system's reason, as a sentence continues with it."""
    return (error.strerror or str(error)).lower()


def _pread(descriptor: int, count: int, offset: int) -> bytes:
    """`os.pread`, also where the system has none (Windows)."""
    if hasattr(os, "pread"):
        return os.pread(descriptor, count, offset)
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, count)


class RegularFile:
    """A regular file, read by position.

    FIFOs, devices and sockets are refused before anything is read, so that no path can make a reader wait.

    Attributes:
        path: The file.
        size: Its size in bytes when it was opened.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1
        self._remote: Ranges | None = None
        try:
            if storage.is_remote(path):
                self._remote = storage.open_range(path)
                self.size = self._remote.size
                return
            # Opening a device or a FIFO can be an act in itself: what is none is asked for first, and again after.
            is_file = stat.S_ISREG(os.stat(path).st_mode)
            self._fd = os.open(path, _FLAGS) if is_file else -1
        except OSError as error:
            kind = UnreadableArtifact if isinstance(error, FileNotFoundError) else Unreachable
            raise kind(f"{os.path.basename(path)} cannot be opened: {reason(error)}", path) from error
        except ValueError as error:  # a zero byte or half a character, from a file that names others
            raise UnreadableArtifact(f"{os.path.basename(path)!r} is no name that a file can have", path) from error
        if not is_file:
            raise UnreadableArtifact(f"{os.path.basename(path)} is not a regular file", path)
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise UnreadableArtifact(f"{os.path.basename(path)} is not a regular file", path)
        self.size = status.st_size

    def __enter__(self) -> RegularFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Gives the descriptor back; further reads fail."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, offset: int, count: int, what: str = "data") -> bytes:
        """Reads exactly `count` bytes at `offset`.

        Args:
            offset: First byte.
            count: Number of bytes; at most `MAX_READ`.
            what: Names the structure in the error.

        Raises:
            UnreadableArtifact: The range is not in the file.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise UnreadableArtifact(
                f"{what} should be {counted(count, 'byte')} at offset {offset:,}, but the file has only "
                f"{counted(self.size, 'byte')}: it is truncated or corrupt",
                self.path,
                place=os.path.basename(self.path),
            )
        if count > MAX_READ:
            raise LimitExceeded(
                f"{what} claims {counted(count, 'byte')}, more than the {MAX_READ:,} that are read at once",
                self.path,
                place=os.path.basename(self.path),
            )
        if self._remote is not None:
            return self._remote.read(offset, count)
        parts: list[bytes] = []
        left = count
        while left:
            try:
                part = _pread(self._fd, left, offset)
            except OSError as error:
                raise Unreachable(f"reading {what} failed: {reason(error)}", self.path) from error
            if not part:
                raise UnreadableArtifact(f"{what} ends early: the file shrank while it was read", self.path)
            parts.append(part)
            offset += len(part)
            left -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def expect(self, ranges: list[tuple[int, int]]) -> None:
        """Has (offset, count) ranges of a file at a URL fetched at once, which will be read one by one."""
        if self._remote is not None:
            self._remote.expect(ranges)

    def readinto(self, offset: int, buffer: memoryview) -> None:
        """Fills `buffer` from `offset`; raises UnreadableArtifact where the file ends first."""
        if offset < 0 or offset + len(buffer) > self.size or self._remote or not hasattr(os, "preadv"):
            buffer[:] = self.read(offset, len(buffer), "tensor data")  # says what is wrong with the range
            return
        position = 0
        while position < len(buffer):
            try:
                count = os.preadv(self._fd, [buffer[position:]], offset + position)
            except OSError as error:
                raise Unreachable(f"reading tensor data failed: {reason(error)}", self.path) from error
            if not count:
                raise UnreadableArtifact("tensor data ends early: the file shrank while it was read", self.path)
            position += count


def is_inside(path: str, directory: str) -> bool:
    """Whether a path stays in a directory, links followed.

    Hugging Face's cache keeps a repository's files in `blobs`, to which links in `snapshots/REVISION` lead: those are
    the repository's own.
    """
    real, root = storage.real(path), storage.real(directory)
    if real == root or real.startswith(os.path.join(root, "")):
        return True
    repository, snapshots, _ = root.rpartition(f"{os.sep}snapshots{os.sep}")
    return bool(snapshots) and os.path.dirname(real) == os.path.join(repository, "blobs")
