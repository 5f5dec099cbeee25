"""CRC-32C as LevelDB and TensorFlow store it: rotated and offset, so that a checksum of a checksum is not trivial."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptdoctor.containers.bytes.files import RegularFile

_DELTA = 0xA282EAD8
_PIECE = 256 << 10
"""Bytes at a time: they stay in the processor's cache."""


def masked(crc: int) -> int:
    """tensorflow/core/lib/hash/crc32c.h, `Mask`."""
    return (((crc >> 15) | (crc << 17)) + _DELTA) & 0xFFFFFFFF


def masked_crc32c(*parts: bytes) -> int:
    """The stored form of the CRC-32C of one or several parts, one after another."""
    import google_crc32c

    value = 0
    for part in parts:
        value = google_crc32c.extend(value, part)
    return masked(value)


def masked_crc32c_in(file: RegularFile, offset: int, nbytes: int) -> int:
    """The stored form of the CRC-32C of a range of a file, of any size; raises UnreadableArtifact."""
    import google_crc32c

    value = 0
    for start in range(offset, offset + nbytes, _PIECE):
        value = google_crc32c.extend(value, file.read(start, min(_PIECE, offset + nbytes - start)))
    return masked(value)
