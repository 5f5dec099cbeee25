"""CRC-32C as LevelDB and TensorFlow store it: rotated and offset, so that a checksum of a checksum is not trivial."""

from __future__ import annotations

_DELTA = 0xA282EAD8


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
