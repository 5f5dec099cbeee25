"""What holds the parts of zarr arrays by key: an OCDBT database, or a directory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Protocol

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, is_inside, reason
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline

_ABOUT = frozenset({".zarray", "zarr.json"})
MAX_KEYS = 1_000_000
MAX_DEPTH = 64
MAX_SMALL = 1 << 20
"""Bytes of a value that is no chunk: the metadata of an array."""


class Store(Protocol):
    """Values by key."""

    @property
    def path(self) -> str:
        """The directory."""

    @property
    def values(self) -> Mapping[str, FileRange | Inline]:
        """Key → where its value is."""


def small(store: Store, key: str) -> bytes:
    """A small value.

    Raises:
        LimitExceeded: It is larger than any metadata.
    """
    location = store.values[key]
    nbytes = len(location.data) if isinstance(location, Inline) else location.nbytes
    if nbytes > MAX_SMALL:
        raise LimitExceeded(f"is {nbytes:,} bytes; {MAX_SMALL:,} are read", store.path, place=key)
    if isinstance(location, Inline):
        return location.data
    with RegularFile(location.path) as file:
        return file.read(location.offset, location.nbytes, key)


def leaves(path: str, directory: str) -> UnreadableArtifact:
    """The error of a path that leads out of an artifact."""
    name = os.path.relpath(path, directory)
    return UnreadableArtifact(
        f"{name!r} leads out of the checkpoint's directory: what lies elsewhere is not read", directory, code="X002"
    )


class Directory:
    """A directory whose files are the values, as Orbax writes it without OCDBT; keys have slashes.

    Attributes:
        path: The directory.
        values: Key → the whole file.
    """

    def __init__(self, path: str, base: str) -> None:
        """Lists a directory, and those below it.

        Args:
            path: The directory.
            base: What no link may lead out of.

        Raises:
            UnreadableArtifact: It cannot be listed, or a link leads out of `base`.
            LimitExceeded: It holds too many files, or is nested too deep.
        """
        self.path = path
        self.values: dict[str, FileRange | Inline] = {}
        for key, file, size in _files(path, base, "", 0):
            self.values[key] = FileRange(file, 0, size)
            if len(self.values) > MAX_KEYS:
                raise LimitExceeded(f"the directory holds more than {MAX_KEYS:,} files", path)
        about = [each for key, each in self.values.items() if key.rpartition("/")[2] in _ABOUT]
        storage.expect_files([each.path for each in about if isinstance(each, FileRange) and each.nbytes <= MAX_SMALL])


def _files(path: str, base: str, prefix: str, depth: int) -> Iterator[tuple[str, str, int]]:
    if depth > MAX_DEPTH:
        raise LimitExceeded(f"its directories are nested more than {MAX_DEPTH} deep", path)
    try:
        for entry in sorted(storage.entries(path), key=lambda entry: entry.name):
            if entry.is_symlink() and not is_inside(entry.path, base):
                raise leaves(entry.path, base)
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, base, f"{prefix}{entry.name}/", depth + 1)
            elif entry.is_file():
                yield f"{prefix}{entry.name}", entry.path, entry.stat().st_size
    except OSError as error:
        raise UnreadableArtifact(f"the directory cannot be listed: {reason(error)}", path) from error
