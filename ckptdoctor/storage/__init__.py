"""Files by their path, wherever they are: on this machine, or at a URL. Everything that reads asks here.

A local path goes straight to the operating system. A URL goes to the one `Storage` of this process: to `network`, or,
in a worker, to its parent (`relay`), so that no process that reads a hostile file has the network.
"""

from __future__ import annotations

import io
import os
import re
import stat as modes
from collections.abc import Iterator
from itertools import islice
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from ckptdoctor.storage.contract import Entry, Ranges, Storage

AT_ONCE = 16
"""Requests in flight, where it is known what will be read."""
BLOCK = 1 << 14
"""Bytes that are fetched at once: larger ones read all of a file with scattered headers, smaller ones ask more."""

STAGED = ".ckptdoctor-"
"""How folders begin in which results are built: what a killed process has left of one is nobody's artifact."""
_PIECE = 8 << 20
_URL = r"[A-Za-z][A-Za-z0-9+.-]*://"

_chosen: Storage | None = None
_choosing = Lock()


def use(storage: Storage | None) -> None:
    """What answers for URLs in this process from now on; None for the network."""
    global _chosen  # noqa: PLW0603 - one a process
    _chosen = storage


def remote() -> Storage:
    """What answers for URLs."""
    with _choosing:
        if _chosen is None:
            from ckptdoctor.storage.network import Remote

            use(Remote())
        assert _chosen is not None  # noqa: S101 - said a line ago
        return _chosen


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path and re.match(_URL, path) is not None


def named(path: str) -> str:
    """A path as a user named it, from now on: of a URL what follows is fresh, and signatures in it are not told.

    Raises:
        UsageProblem: It is a URL that is not read here.
    """
    if not is_remote(path):
        return path
    from ckptdoctor.storage.network import network

    return network().adopt(path)


def tellable(path: str) -> str:
    """A path as it may stand in reports and messages: the query of a web address is kept, passwords are not."""
    from ckptdoctor.errors import CkptDoctorError
    from ckptdoctor.storage.addresses import masked, without_query

    masked_path = masked(path)
    if masked_path != path or not without_query(path)[1]:
        return masked_path
    try:
        return named(path)
    except CkptDoctorError:  # told by whoever reads it
        return without_query(path)[0]


def anew(path: str) -> None:
    """Has what lies at a URL asked for anew."""
    if is_remote(path):
        from ckptdoctor.storage.network import network

        network().forget(path)


# ---------------------------------------------------------------------------------------------------- what is there


def stat(path: str) -> os.stat_result:
    """As `os.stat`; of a URL, its kind, size and time.

    Raises:
        OSError: It is not there, or cannot be asked for.
    """
    return remote().stat(path) if is_remote(path) else os.stat(path)


def _mode(path: str) -> int:
    try:
        return remote().stat(path).st_mode
    except FileNotFoundError:
        return 0


def exists(path: str) -> bool:
    """Whether a file or a directory is there.

    Raises:
        Unreachable: A URL cannot be asked for: that is no reason to think that nothing is there.
    """
    return _mode(path) != 0 if is_remote(path) else os.path.exists(path)


def lexists(path: str) -> bool:
    """The same, or a link that leads nowhere."""
    return _mode(path) != 0 if is_remote(path) else os.path.lexists(path)


def is_file(path: str) -> bool:
    """Whether a file is there; raises as `exists` does."""
    return modes.S_ISREG(_mode(path)) if is_remote(path) else os.path.isfile(path)


def is_dir(path: str) -> bool:
    """Whether a directory is there; raises as `exists` does."""
    return modes.S_ISDIR(_mode(path)) if is_remote(path) else os.path.isdir(path)


def is_folder(path: str) -> bool:
    """Whether something may lie below a path: a directory, also where a bucket has an object of the same name."""
    return remote().is_folder(path) if is_remote(path) else os.path.isdir(path)


def is_link(path: str) -> bool:
    """Whether a local path is a link."""
    return not is_remote(path) and os.path.islink(path)


def size(path: str) -> int:
    """Bytes of a file; raises OSError."""
    return stat(path).st_size


def entries(directory: str) -> list[Entry]:
    """What lies in a directory, in no order; raises OSError."""
    if is_remote(directory):
        return remote().entries(directory)
    with os.scandir(directory) as found:
        return [each for each in found if not each.name.startswith(STAGED)]


def names(directory: str, most: int | None = None) -> list[str]:
    """The names in a directory, in no order, or so many of them; raises OSError."""
    if is_remote(directory):
        return [each.name for each in remote().entries(directory)][:most]
    with os.scandir(directory) as found:
        return [each.name for each in islice(found, most) if not each.name.startswith(STAGED)]


def walk(directory: str) -> Iterator[list[Entry]]:
    """What lies in a directory, and in each below it; what cannot be listed is passed over, links are not followed."""
    try:
        there = entries(directory)
    except OSError:
        return
    yield there
    for each in there:
        if each.is_dir(follow_symlinks=False):
            yield from walk(each.path)


def shards(prefix: str, between: str = "-") -> list[str]:
    """The files `PREFIX-00000-of-00002` and so on that are there, sorted; `between` is what follows the prefix."""
    import fnmatch
    import glob

    pattern = "?????-of-?????"
    if not is_remote(prefix):
        return sorted(glob.glob(f"{glob.escape(prefix)}{between}{pattern}"))
    directory, name = os.path.split(prefix)
    beginning = f"{name}{between}"
    try:
        there = remote().entries(directory, beginning)
    except OSError:  # what cannot be listed has no shards that could be found by their names
        return []
    return sorted(each.path for each in there if fnmatch.fnmatchcase(each.name.removeprefix(beginning), pattern))


def traffic() -> tuple[int, int]:
    """Requests to the network that read, so far, and their bytes; none where no URL was asked for."""
    return (0, 0) if _chosen is None else _chosen.read()


# -------------------------------------------------------------------------------------------------------- paths


def absolute(path: str) -> str:
    """As `os.path.abspath`; a URL is absolute."""
    return path.rstrip("/") if is_remote(path) else os.path.abspath(path)


def is_absolute(path: str) -> bool:
    """Whether a path stands for itself, wherever it is read from."""
    return is_remote(path) or os.path.isabs(path)


def is_beside(path: str, directory: str) -> bool:
    """Whether a path that a file in a directory names may be asked for: no file leads to, or from, the network."""
    if not is_remote(path) and not is_remote(directory):
        return True
    from ckptdoctor.storage.addresses import parse

    return is_remote(path) and is_remote(directory) and parse(path).root == parse(directory).root


def real(path: str) -> str:
    """As `os.path.realpath`; behind a URL are no links."""
    return normal(path) if is_remote(path) else os.path.realpath(path)


def normal(path: str) -> str:
    """As `os.path.normpath`, which would take a URL's slashes."""
    match = re.match(_URL, path) if "://" in path else None
    if match is None:
        return os.path.normpath(path)
    host, _, rest = path[match.end() :].partition("/")
    inside = os.path.normpath(f"/{rest}").strip("/")
    return f"{match.group()}{host}/{inside}" if inside else f"{match.group()}{host}"


# ------------------------------------------------------------------------------------------------------- reading


def open_range(path: str) -> Ranges:
    """A file at a URL, to be read by position; raises OSError."""
    return remote().open_range(path)


def expect(path: str, ranges: list[tuple[int, int]]) -> None:
    """Fetches (offset, count) ranges of a file at a URL at once, which will be read one by one; else does nothing."""
    if is_remote(path):
        open_range(path).expect(ranges)


def expect_files(files: list[str]) -> None:
    """Fetches small files at URLs at once, which will be read one by one; local ones are left alone."""
    there = [each for each in files if is_remote(each)]
    if len(there) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            for done in [pool.submit(_fetched, each) for each in there]:
                done.exception()  # told to whoever reads it


def _fetched(path: str) -> None:
    opened = open_range(path)
    opened.expect([(0, opened.size)])


def open_stream(path: str) -> BinaryIO:
    """A file, to be read and moved within; raises OSError."""
    if not is_remote(path):
        return open(path, "rb")
    return io.BufferedReader(_Stream(open_range(path)), BLOCK)


class _Stream(io.RawIOBase):
    """A file at a URL, as a stream."""

    def __init__(self, ranges: Ranges) -> None:
        super().__init__()
        self._ranges = ranges
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._ranges.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def readall(self) -> bytes:
        parts: list[bytes] = []
        while left := self._ranges.size - self._position:
            parts.append(self._ranges.read(self._position, min(left, _PIECE)))
            self._position += len(parts[-1])
        return b"".join(parts)

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = max(0, min(len(view), self._ranges.size - self._position))
        if count <= BLOCK:  # no more than the block at hand, or what is read ahead would be two
            count = min(count, BLOCK - self._position % BLOCK)
        data = self._ranges.read(self._position, count) if count else b""
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


__all__ = [
    "AT_ONCE", "BLOCK", "STAGED", "absolute", "anew", "entries", "exists", "expect", "expect_files", "is_absolute",
    "is_beside", "is_dir", "is_file", "is_folder", "is_link", "is_remote", "lexists", "named", "names", "normal",
    "open_range", "open_stream", "real", "remote", "shards", "size", "stat", "tellable", "traffic", "use", "walk",
]  # fmt: skip
