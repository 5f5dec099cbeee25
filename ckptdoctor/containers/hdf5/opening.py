"""Which reader opens an HDF5 file: ours first, in this process; the library where that does not know the file.

The library may crash, and is therefore asked in a worker. So a whole piece of work is done with our reader, and done
again with the library there if any of its files was `Strange`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ckptdoctor.containers.hdf5.contract import H5Reader

_without_library: ContextVar[bool] = ContextVar("_without_library", default=False)
_Value = TypeVar("_Value")


class Strange(Exception):
    """An HDF5 file that our reader does not know: a newer structure, an unusual type, damage."""


@contextmanager
def without_library() -> Iterator[None]:
    """Within it, files are opened by our reader, and those that it does not know raise `Strange`."""
    before = _without_library.set(True)
    try:
        yield
    finally:
        _without_library.reset(before)


def is_without_library() -> bool:
    """Whether files are opened by our reader now."""
    return _without_library.get()


def by_either(function: Callable[..., _Value], *arguments: object) -> _Value:
    """Calls what opens files with `open_h5`: with our reader, and again with the library where that does not know one.

    For a process that the library may crash, where loading it can wait.
    """
    try:
        with without_library():
            return function(*arguments)
    except Strange:
        return function(*arguments)


def open_h5(path: str, member: str | None = None) -> H5Reader:
    """Opens an HDF5 file, or an HDF5 member of a zip archive.

    Raises:
        UnreadableArtifact: The library cannot read it.
        Strange: Our reader does not know it, and was to read it.
    """
    if is_without_library():
        from ckptdoctor.containers.hdf5.plain import PlainFile

        return PlainFile(path, member)
    from ckptdoctor.containers.hdf5.file import H5File

    return H5File(path, member)
