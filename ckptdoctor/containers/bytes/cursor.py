"""A reading position in part of a file, or in bytes that had to be decoded: what byte-by-byte readers read from."""

from __future__ import annotations

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Inline
from ckptdoctor.words import counted

_AHEAD = 1 << 14


class Cursor:
    """Sequential reading that knows where it is, so that large data can be located instead of read.

    Args:
        source: An open file, or bytes that stand nowhere as they are (a decoded archive member).
        path: What errors name.
        start: Where in a file the window begins.
        size: The window's length; None for all of the source.

    Attributes:
        path: The file.
        position: Bytes from the window's start.
        size: The window's length.
    """

    def __init__(self, source: RegularFile | bytes, path: str, start: int = 0, size: int | None = None) -> None:
        self._file = source if isinstance(source, RegularFile) else None
        self._start = start
        whole = source.size if isinstance(source, RegularFile) else len(source)
        self.path = path
        self.size = whole - start if size is None else size
        self.position = 0
        self._buffer = b"" if isinstance(source, RegularFile) else source[start : start + self.size]
        self._origin = 0

    @property
    def left(self) -> int:
        """Bytes to the end."""
        return self.size - self.position

    @property
    def in_file(self) -> bool:
        """Whether places in this window are places in a file."""
        return self._file is not None

    def take(self, count: int, what: str = "data") -> bytes:
        """Reads `count` bytes and moves behind them."""
        first = self.position - self._origin
        if 0 <= first <= (end := first + count) <= len(self._buffer):  # which lies within the window
            self.position += count
            return self._buffer[first:end]
        data = self.peek(self.position, count, what)
        self.position += count
        return data

    def ahead(self, most: int) -> bytes:
        """The next bytes, up to so many, without moving."""
        buffer, first = self.buffered(most)
        return buffer[first : first + most]

    def buffered(self, most: int) -> tuple[bytes, int]:
        """Bytes that hold the next ones, at least so many while there are, and where in them those begin."""
        first = self.position - self._origin
        if first < 0 or first + most > len(self._buffer):
            self.peek(self.position, min(most, self.left))
            first = self.position - self._origin
        return self._buffer, first

    def skip(self, count: int, what: str = "data") -> int:
        """Moves over `count` bytes that stay unread, and answers where they begin."""
        before = self.position
        self._need(before, count, what)
        self.position += count
        return before

    def peek(self, offset: int, count: int, what: str = "data") -> bytes:
        """Reads `count` bytes at `offset` of the window without moving."""
        self._need(offset, count, what)
        first = offset - self._origin
        if self._file is not None and (first < 0 or first + count > len(self._buffer)):
            if count > _AHEAD:
                return self._file.read(self._start + offset, count, what)
            self._buffer = self._file.read(self._start + offset, min(_AHEAD, self.size - offset), what)
            self._origin, first = offset, 0
        return self._buffer[first : first + count]

    def line(self, limit: int, what: str = "a line") -> bytes:
        """Reads to the next newline, which must come within `limit` bytes, and moves behind it."""
        end = self.newline(limit, what)
        data = self.peek(self.position, end - self.position, what)
        self.position = end + 1
        return data

    def newline(self, limit: int, what: str = "a line") -> int:
        """Where the next newline is, which must come within `limit` bytes."""
        offset, end = self.position, min(self.size, self.position + limit + 1)
        while offset < end:
            piece = self.peek(offset, min(_AHEAD, end - offset), what)
            found = piece.find(b"\n")
            if found >= 0:
                return offset + found
            offset += len(piece)
        raise UnreadableArtifact(
            f"{what} does not end within {counted(end - self.position, 'byte')}", self.path, place=self.place()
        )

    def locate(
        self, offset: int, nbytes: int, *, big_endian: bool = False, fortran: bool = False
    ) -> FileRange | Inline:
        """Where bytes of the window are: a range of the file, or the bytes themselves where there is no file."""
        self._need(offset, nbytes, "an array")
        if self._file is None:
            return Inline(self._buffer[offset : offset + nbytes])
        return FileRange(self._file.path, self._start + offset, nbytes, big_endian=big_endian, fortran_order=fortran)

    def place(self, offset: int | None = None) -> str:
        """Names a position for an error."""
        return f"byte {self._start + (self.position if offset is None else offset):,}"

    def _need(self, offset: int, count: int, what: str) -> None:
        if count < 0 or offset < 0 or offset + count > self.size:
            raise UnreadableArtifact(
                f"{what} claims {counted(count, 'byte')}, but only {max(0, self.size - offset):,} follow: "
                "truncated or corrupt",
                self.path,
                place=self.place(offset),
            )
