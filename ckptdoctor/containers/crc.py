"""CRC-32C as LevelDB and TensorFlow store it: rotated and offset, so that a checksum of a checksum is not trivial."""

from __future__ import annotations

_DELTA = 0xA282EAD8


def masked(crc: int) -> int:
    """tensorflow/core/lib/hash/crc32c.h, `Mask`."""
    return (((crc >> 15) | (crc << 17)) + _DELTA) & 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The stored form of the CRC-32C of `data`."""
    import google_crc32c

    value: int = google_crc32c.value(data)
    return masked(value)
