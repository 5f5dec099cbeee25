"""Copies whole files without their bytes passing through Python: reflink, copy_file_range, sendfile, then plain.

Sources are opened as `RegularFile` opens them, so that a FIFO in an artifact cannot make a copy wait; destinations must
not exist, so that nothing is ever overwritten.
"""

import errno
import os
import stat
import sys
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from ckptdoctor.errors import UnreadableArtifact

Progress: TypeAlias = Callable[[int], None]
"""Told how many more bytes have been dealt with."""

_FICLONE = 0x40049409  # linux/fs.h
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_STEP = 64 << 20
_PLAIN = 1 << 18
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NOT_HERE = frozenset(
    {errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ENOTTY, errno.EBADF, errno.ETXTBSY}
)
"""What the kernel answers where it cannot copy in this way between these files; another way is tried."""


class Shared(NamedTuple):
    """What became of a file that should be shared: bytes linked, bytes copied."""

    linked: int = 0
    copied: int = 0


def create(path: str) -> int:
    """Creates a file that must not exist; answers its descriptor."""
    return os.open(path, _CREATE, 0o666)


def copy_file(source: str, destination: str, progress: Progress | None = None) -> int:
    """Copies a file's bytes into a new file; answers how many.

    Raises:
        UnreadableArtifact: The source is no regular file, or shrank meanwhile.
        OSError: The destination cannot be written: it exists, the disk is full.
    """
    reading = _open(source)
    try:
        size = os.fstat(reading).st_size
        writing = create(destination)
        try:
            if not _clone(reading, writing):
                _copy(reading, writing, size, source, progress)
            elif progress is not None:
                progress(size)
        finally:
            os.close(writing)
    finally:
        os.close(reading)
    return size


def link_file(source: str, destination: str, progress: Progress | None = None) -> Shared:
    """Gives a file a second name; copies it where that is not possible (another file system, no hard links)."""
    real = os.path.realpath(source)
    try:
        os.link(real, destination)
    except FileExistsError:
        raise
    except OSError:
        return Shared(copied=copy_file(real, destination, progress))
    size = os.stat(destination).st_size
    if progress is not None:
        progress(size)
    return Shared(linked=size)


def copy_tree(source: str, destination: str, skip: frozenset[str], progress: Progress | None = None) -> int:
    """Copies a directory into another one that exists, without the files that `skip` names (relative, with `/`).

    Links to files become files; links to directories stay links, as following them might never end.
    """
    return carry_tree(source, destination, skip, progress, link=False).copied


def carry_tree(
    source: str, destination: str, skip: frozenset[str], progress: Progress | None = None, *, link: bool
) -> Shared:
    """The same; with `link` the files get a second name where that is possible, and are not copied."""
    linked = copied = 0
    for folder, directories, files in os.walk(source):
        relative = os.path.relpath(folder, source)
        here = destination if relative == "." else os.path.join(destination, relative)
        for name in directories:
            path = os.path.join(folder, name)
            if os.path.islink(path):
                os.symlink(os.readlink(path), os.path.join(here, name))
            else:
                os.makedirs(os.path.join(here, name), exist_ok=True)
        for name in files:
            if os.path.normpath(os.path.join(relative, name)).replace(os.sep, "/") in skip:
                continue
            path, goal = os.path.join(folder, name), os.path.join(here, name)
            shared = link_file(path, goal, progress) if link else Shared(copied=copy_file(path, goal, progress))
            linked, copied = linked + shared.linked, copied + shared.copied
    return Shared(linked, copied)


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise UnreadableArtifact(f"{os.path.basename(path)} cannot be opened: {error.strerror}", path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnreadableArtifact(f"{os.path.basename(path)} is not a regular file", path)
    return descriptor


def _clone(reading: int, writing: int) -> bool:
    """A reflink: both files share their blocks until one is written to (btrfs, xfs)."""
    if not sys.platform.startswith("linux"):
        return False
    import fcntl

    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError as error:
        if error.errno in _NOT_HERE:
            return False
        raise
    return True


def _copy(reading: int, writing: int, size: int, source: str, progress: Progress | None) -> None:
    done = 0
    ways = [way for name, way in _WAYS if name is None or hasattr(os, name)]
    while done < size:
        try:
            count = ways[0](reading, writing, done, min(_STEP, size - done))
        except OSError as error:
            if len(ways) > 1 and error.errno in _NOT_HERE:
                ways.pop(0)
                continue
            raise
        if not count:
            if len(ways) > 1:  # copy_file_range answers 0 on some virtual file systems
                ways.pop(0)
                continue
            raise UnreadableArtifact(f"{os.path.basename(source)} shrank while it was copied", source)
        done += count
        if progress is not None:
            progress(count)


def _copy_file_range(reading: int, writing: int, offset: int, count: int) -> int:
    return os.copy_file_range(reading, writing, count, offset, offset)


def _sendfile(reading: int, writing: int, offset: int, count: int) -> int:
    os.lseek(writing, offset, os.SEEK_SET)
    return os.sendfile(writing, reading, offset, count)


def _plain(reading: int, writing: int, offset: int, count: int) -> int:
    os.lseek(reading, offset, os.SEEK_SET)
    os.lseek(writing, offset, os.SEEK_SET)
    data = memoryview(os.read(reading, min(count, _PLAIN)))
    written = 0
    while written < len(data):
        written += os.write(writing, data[written:])
    return written


_WAYS: tuple[tuple[str | None, Callable[[int, int, int, int], int]], ...] = (
    ("copy_file_range", _copy_file_range),
    ("sendfile", _sendfile),
    (None, _plain),
)
