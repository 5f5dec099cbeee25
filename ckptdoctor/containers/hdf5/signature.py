"""Whether bytes are HDF5."""

from __future__ import annotations

import os
from typing import BinaryIO

from ckptdoctor import storage
from ckptdoctor.errors import UnreadableArtifact


def is_hdf5(path: str, member: str | None = None) -> bool:
    """Whether the bytes are HDF5, by the signature at 0 or behind a user block (512, 1024, 2048, …)."""
    try:
        if member is None:
            with storage.open_stream(path) as stream:
                return _has_signature(stream)
        from ckptdoctor.containers.zips.archive import ZipArchive

        with ZipArchive(path) as archive, archive.open(member) as stream:
            return _has_signature(stream)
    except (OSError, UnreadableArtifact):
        return False


def _has_signature(stream: BinaryIO) -> bool:
    size = stream.seek(0, os.SEEK_END)
    offset = 0
    while offset + 8 <= size:
        stream.seek(offset)
        if stream.read(8) == b"\x89HDF\r\n\x1a\n":
            stream.seek(0)
            return offset == 0 or stream.read(4) != b"PK\x03\x04"  # a member that happens to lie there
        offset = offset * 2 or 512
    return False
