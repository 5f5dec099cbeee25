"""A few elements of a tensor, without numpy: enough to see what kind of numbers it holds."""

from __future__ import annotations

import struct

from ckptdoctor.containers.bytes import coded
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.array_bytes import swapped
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.references import Coded, FileRange, Inline, TensorRef

WINDOWS = 4
WINDOW = 128
"""Elements of one window: that many from each of `WINDOWS` places, spread over the tensor."""

_CODES = {"float16": "e", "float32": "f", "float64": "d"}


def sample(ref: TensorRef) -> tuple[float, ...]:
    """Some elements of a tensor of floats; none where its type is another or its bytes are elsewhere.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    width = ITEMSIZE.get(ref.dtype, 0)
    if not (ref.dtype in _CODES or ref.dtype == "bfloat16"):
        return ()
    location = ref.location
    if isinstance(location, Inline):
        return _numbers(location.data[: WINDOWS * WINDOW * width], ref.dtype)
    if isinstance(location, Coded):
        data = next(coded.chunks(location, WINDOWS * WINDOW * width), b"")
        return _numbers(swapped(data, width) if location.big_endian else data, ref.dtype)
    if isinstance(location, FileRange):
        data = b"".join(_windows(location, width))
        return _numbers(swapped(data, width) if location.big_endian else data, ref.dtype)
    return ()


def _windows(location: FileRange, width: int) -> list[bytes]:
    window = WINDOW * width
    with RegularFile(location.path) as file:
        if location.nbytes <= WINDOWS * window:
            return [file.read(location.offset, location.nbytes - location.nbytes % width, "a tensor")]
        step = (location.nbytes - window) // (WINDOWS - 1) // width * width
        return [file.read(location.offset + number * step, window, "a tensor") for number in range(WINDOWS)]


def _numbers(data: bytes, dtype: str) -> tuple[float, ...]:
    if dtype == "bfloat16":
        # The upper half of a float32.
        wide = bytearray(len(data) * 2)
        wide[2::4], wide[3::4] = data[::2], data[1::2]
        data, dtype = bytes(wide), "float32"
    count = len(data) // ITEMSIZE[dtype]
    return struct.unpack(f"<{count}{_CODES[dtype]}", data[: count * ITEMSIZE[dtype]])
