"""What a storage answers: three questions about paths, and nothing of what checkpoints are."""

import os
import stat
from collections.abc import Mapping
from itertools import count
from typing import NamedTuple, Protocol

from ckptdoctor.errors import Unreachable

UNLISTED = "\0"
"""The key below a folder that says: what lies in it cannot be listed."""
_numbers = count()


class Denied(Unreachable):
    """The server says no; of what is not there too, where it does not want to tell."""


class Entry(Protocol):
    """What lies in a directory, as `os.scandir` answers it."""

    @property
    def name(self) -> str:
        """Its name there."""

    @property
    def path(self) -> str:
        """The directory's path, and its name."""

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a directory."""

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        """Whether it is a file."""

    def is_symlink(self) -> bool:
        """Whether it is a link."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Its size and time."""


class Ranges(Protocol):
    """A file, read by position."""

    @property
    def size(self) -> int:
        """Bytes in it."""

    def read(self, offset: int, count: int) -> bytes:
        """These bytes, all of them; raises UnreadableArtifact."""

    def expect(self, ranges: list[tuple[int, int]]) -> None:
        """Fetches (offset, count) ranges that will be read next, several at once; failures show when they are read."""

    def tell(self, known: Mapping[int, bytes]) -> None:
        """Says what stands at some offsets, as follows from something else that was read: it is not asked for."""


class Storage(Protocol):
    """Files at URLs.

    Every method raises FileNotFoundError where nothing is there, Unreachable where no answer can be had.
    """

    def stat(self, path: str) -> os.stat_result:
        """Kind, size and time."""

    def entries(self, path: str, beginning: str = "") -> list[Entry]:
        """What lies in a directory, or what of it has a name that begins so."""

    def is_folder(self, path: str) -> bool:
        """Whether something lies below a path, also where a file has the same name, as in buckets."""

    def open_range(self, path: str) -> Ranges:
        """A file, to be read by position."""

    def read(self) -> tuple[int, int]:
        """Requests that read so far, and their bytes."""


class RemoteEntry(NamedTuple):
    """An entry of a directory at a URL.

    Attributes:
        name: Its name there.
        path: Its URL.
        status: Its kind, size and time.
    """

    name: str
    path: str
    status: os.stat_result

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - there are no links
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:  # noqa: ARG002 - there are no links
        """Whether it is a file."""
        return stat.S_ISREG(self.status.st_mode)

    def is_symlink(self) -> bool:
        """No."""
        return False

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:  # noqa: ARG002 - there are no links
        """Its size and time."""
        return self.status


def status_of(nbytes: int | None, modified: float = 0.0) -> os.stat_result:
    """What `os.stat` would answer for a file of this size; None for a directory."""
    mode = stat.S_IFDIR | 0o555 if nbytes is None else stat.S_IFREG | 0o444
    whole = int(modified)
    times = (whole,) * 3 + (modified,) * 3 + (int(modified * 1e9),) * 3
    return os.stat_result((mode, 0, 0, 1, 0, 0, nbytes or 0, *times))


class Object(NamedTuple):
    """What a store says of one of its objects.

    Attributes:
        key: Its whole name in the store.
        size: Bytes.
        tag: What changes when it is written again (its ETag, else its time); "" if the store tells nothing.
        modified: When it was written, seconds since 1970; 0 if the store does not say.
    """

    key: str
    size: int
    tag: str = ""
    modified: float = 0.0

    def tagged(self) -> "Object":
        """The same with a tag of its own, where the store tells nothing: what is asked for later may be another."""
        return self if self.tag else self._replace(tag=f"?{next(_numbers)}")


class Page(NamedTuple):
    """Some objects of a listing, in the order of their keys.

    Attributes:
        objects: The objects.
        is_last: Whether none come after them.
    """

    objects: list[Object]
    is_last: bool


class Store(Protocol):
    """A bucket, a host, a repository: objects by key. Errors are those of a `Storage`."""

    @property
    def lists(self) -> bool:
        """Whether it can list what it has; a web server cannot."""

    def forget(self) -> None:
        """Somebody begins to read: what is remembered of its objects is asked for anew."""

    def page(self, folder: str, after: str) -> Page:
        """The first objects whose key begins with `folder` (it ends in a slash, or is empty) and is above `after`.

        Of a folder that cannot be listed there is `UNLISTED` alone.
        """

    def read(self, key: str, offset: int, count: int) -> tuple[bytes, Object]:
        """Bytes of an object, fewer where it ends first, and what it is now."""
