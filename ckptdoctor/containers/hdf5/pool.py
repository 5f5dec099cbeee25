"""Values by their location. The last few files stay open: thousands of data sets open no file thousands of times."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.contract import CHUNK_BYTES, H5Reader, sentence_of
from ckptdoctor.containers.hdf5.opening import open_h5
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import H5Data

if TYPE_CHECKING:
    import numpy as np

MOST_KEPT_OPEN = 4
_kept: dict[tuple[str, str | None], tuple[tuple[int, int, int], H5Reader]] = {}


def read_chunks(location: H5Data, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray[Any, Any]]:
    """The elements of a data set; see `H5Reader.read_chunks`.

    The last few files stay open, so that reading thousands of data sets does not open one file thousands of times; a
    file that has changed since is opened anew. `release` closes them.
    """
    yield from _kept_open(location.path, location.member).read_chunks(location, chunk_bytes=chunk_bytes)


def _kept_open(path: str, member: str | None) -> H5Reader:
    try:
        status = storage.stat(path)
    except OSError as error:
        raise UnreadableArtifact(sentence_of(error), path, place=os.path.basename(path)) from error
    stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
    known = _kept.pop((path, member), None)
    if known is not None and known[0] != stamp:
        known[1].close()
        known = None
    while len(_kept) >= MOST_KEPT_OPEN:
        _kept.pop(next(iter(_kept)))[1].close()
    file = known[1] if known is not None else open_h5(path, member)
    _kept[path, member] = stamp, file
    return file


@atexit.register
def release() -> None:
    """Closes every file that `read_chunks` keeps open."""
    while _kept:
        with suppress(UnreadableArtifact):  # a damaged file may not close in peace: its values have been read by now
            _kept.popitem()[1][1].close()
