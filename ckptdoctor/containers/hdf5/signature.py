"""Whether bytes are HDF5."""

from __future__ import annotations

from collections.abc import Callable

from ckptdoctor import storage
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import UnreadableArtifact

HDF5 = b"\x89HDF\r\n\x1a\n"
"""How it begins."""
_LARGEST_BLOCK = 1 << 20
"""Bytes of a user block, the largest that is looked behind."""


def is_hdf5(path: str, member: str | None = None) -> bool:
    """Whether a file, or a member of a zip archive, is HDF5."""
    try:
        if member is None:
            with storage.open_stream(path) as stream:
                return has_signature(lambda offset: stream.read(len(HDF5)) if stream.seek(offset) == offset else b"")
        from ckptdoctor.containers.zips.archive import ZipArchive

        with ZipArchive(path) as archive, archive.open(member) as stream:
            return has_signature(lambda offset: stream.read(len(HDF5)) if stream.seek(offset) == offset else b"")
    except (OSError, UnreadableArtifact):
        return False


def has_signature(read: Callable[[int], bytes]) -> bool:
    """Whether the signature stands at 0, or behind a user block: at 512, 1024, 2048 and so on.

    Args:
        read: Offset → the eight bytes there; fewer, or none, behind the end.
    """
    first = read(0)
    if first == HDF5:
        return True
    if first.startswith(SIGNATURE):  # what stands further on is a member's that happens to lie there
        return False
    offset = 512
    while offset <= _LARGEST_BLOCK and len(found := read(offset)) == len(HDF5):
        if found == HDF5:
            return True
        offset *= 2
    return False
