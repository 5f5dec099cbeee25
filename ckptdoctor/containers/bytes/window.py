"""A range of an open file as a file of its own, and bytes moved between such ranges by the kernel.

An HDF5 file inside a zip archive can so be edited where it will lie, instead of in a second file beside it.
"""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ckptdoctor.containers.bytes.crc32 import combined, fastest
from ckptdoctor.errors import UnreadableArtifact

if TYPE_CHECKING:
    from typing_extensions import Buffer

_Answer = TypeVar("_Answer")
_STEP = 64 << 20
_SPLICED = 64 << 10
"""Linux moves so much at a time; where that begins at a multiple of it in the new file, it takes a third less."""
_PLAIN = 4 << 20
_CACHED = 256 << 10
_SHARED_OUT = 16 << 20
"""Longer ranges are read by two threads."""
_NOT_HERE = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY}
)
"""What the kernel answers where it cannot copy between these files; the bytes then pass through memory."""


class Place(NamedTuple):
    """A range of a file."""

    path: str
    start: int
    nbytes: int


class Window(io.RawIOBase):
    """The part of a file from `start` on, readable and writable; the last thing in it where it has to grow.

    Attributes:
        start: Its first byte in the file.
    """

    def __init__(self, descriptor: int, start: int, size: int | None = None) -> None:
        """Opens a window; the descriptor stays the caller's.

        Args:
            descriptor: An open file.
            start: First byte.
            size: Number of bytes of a window that is only read; None: up to the file's end, which may move.
        """
        super().__init__()
        self.start = start
        self._descriptor = descriptor
        self._size = size
        self._position = 0
        self._failed: OSError | None = None

    @contextmanager
    def written_by_library(self) -> Iterator[None]:
        """Where a library in C writes: what it makes of an error of ours is that error, told as it was.

        Raises:
            OSError: Writing failed.
        """
        try:
            yield
        except Exception as error:
            if self._failed is None or error is self._failed:
                raise
            raise self._failed from error

    @property
    def size(self) -> int:
        """Bytes in the window."""
        return os.fstat(self._descriptor).st_size - self.start if self._size is None else self._size

    def readable(self) -> bool:
        """Yes."""
        return True

    def writable(self) -> bool:
        """Whether the window reaches to the end of the file."""
        return self._size is None

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The position within the window."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Moves within the window; positions before its start are an error."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: "Buffer") -> int:
        """Reads into `buffer` as much as fits and the window has left."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self.size - self._position))
        done = read_at(self._descriptor, view[:count], self.start + self._position)
        self._position += done
        return done

    def write(self, data: "Buffer") -> int:
        """Writes all of `data` at the position."""
        view = memoryview(data).cast("B")
        try:
            write_at(self._descriptor, view, self.start + self._position)
        except OSError as error:
            self._failed = error
            raise
        self._position += len(view)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Ends the file `size` bytes after the window's start."""
        size = self._position if size is None else size
        os.ftruncate(self._descriptor, self.start + size)
        return size


def read_at(descriptor: int, view: memoryview, offset: int) -> int:
    """Fills `view` from `offset`; answers how many bytes the file had."""
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [view], offset) if view else 0
    data = os.pread(descriptor, len(view), offset)
    view[: len(data)] = data
    return len(data)


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> None:
    """Writes all of `data` at `offset`; the system may take it in parts."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset += written
        view = view[written:]


def copy_range(
    source: int, start: int, count: int, target: int, at: int, progress: Callable[[int], None] | None = None
) -> None:
    """Copies a range of one file into another: by the kernel where it can (which shares blocks where it can).

    `progress` is told how many more bytes are copied.

    Raises:
        UnreadableArtifact: The source ends early.
    """
    by_kernel = hasattr(os, "copy_file_range")
    done = 0
    while done < count:
        beyond = (at + done) % _SPLICED
        step = min(_SPLICED - beyond if beyond else _STEP, count - done)
        moved = 0
        if by_kernel:
            try:
                moved = os.copy_file_range(source, target, step, start + done, at + done)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
            by_kernel = moved > 0  # some virtual file systems answer 0
        if not moved:
            data = os.pread(source, min(step, _PLAIN), start + done)
            if not data:
                raise UnreadableArtifact("it shrank while it was copied")
            write_at(target, data, at + done)
            moved = len(data)
        done += moved
        if progress is not None:
            progress(moved)


class Compared(NamedTuple):
    """Whether two ranges hold the same bytes; and their CRC-32, where it was asked for and they do."""

    same: bool
    crc: int | None = None


def compared(one: int, start: int, other: int, at: int, count: int, *, summed: bool = False) -> Compared:
    """Holds the bytes of two files in two ranges against each other; both have to reach that far."""

    def part(first: int, length: int) -> Compared:
        return compared_by_one(one, start + first, other, at + first, length, summed=summed)

    first, second, length = _by_two(part, count)
    if first.crc is None or second is None or second.crc is None:
        return first if second is None else Compared(first.same and second.same)
    return Compared(same=True, crc=combined(first.crc, second.crc, length))


def summed_up(descriptor: int, start: int, count: int) -> int | None:
    """The CRC-32 of a range of a file; None where the file ends before."""
    first, second, length = _by_two(lambda begin, size: _summed_up(descriptor, start + begin, size), count)
    if first is None or second is None:
        return first if not length else None
    return combined(first, second, length)


def _by_two(function: Callable[[int, int], _Answer], count: int) -> tuple[_Answer, _Answer | None, int]:
    """Calls it with the first byte and the number of bytes of each of two halves; answers with the second's number.

    What is short is not halved. Reading gives the interpreter's lock away, so that two threads are twice as fast.
    """
    if count < _SHARED_OUT:
        return function(0, count), None, 0
    from concurrent.futures import ThreadPoolExecutor

    half = count // 2
    with ThreadPoolExecutor(max_workers=1) as pool:
        rest = pool.submit(function, half, count - half)
        return function(0, half), rest.result(), count - half


def compared_by_one(one: int, start: int, other: int, at: int, count: int, *, summed: bool) -> Compared:
    """The same, by this thread alone."""
    # Two buffers that stay in the processor's cache: a new one for each step would cost more than reading does.
    first, second = bytearray(min(_CACHED, count)), bytearray(min(_CACHED, count))
    sum_up, crc = fastest() if summed else None, 0
    for done in range(0, count, _CACHED):
        step = min(_CACHED, count - done)
        if step < len(first):
            first, second = bytearray(step), bytearray(step)
        if not (_fill(one, first, start + done) and _fill(other, second, at + done)) or first != second:
            return Compared(same=False)
        if sum_up is not None:
            crc = sum_up(first, crc)
    return Compared(same=True, crc=crc if summed else None)


def _summed_up(descriptor: int, start: int, count: int) -> int | None:
    buffer, sum_up, crc = bytearray(min(_CACHED, count)), fastest(), 0
    for done in range(0, count, _CACHED):
        if count - done < len(buffer):
            buffer = bytearray(count - done)
        if not _fill(descriptor, buffer, start + done):
            return None
        crc = sum_up(buffer, crc)
    return crc


def _fill(descriptor: int, buffer: bytearray, offset: int) -> bool:
    """Reads until the buffer is full; False where the file ends first."""
    view = memoryview(buffer)
    while view:
        count = read_at(descriptor, view, offset)
        if not count:
            return False
        view, offset = view[count:], offset + count
    return True
