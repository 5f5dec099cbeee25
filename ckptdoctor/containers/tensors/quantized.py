"""Values in few bits, as optimizers of 4 and 8 bits keep their moments: back to what they stand for.

Source: torchao/optim, `subclass_8bit.py`, `subclass_4bit.py`, `subclass_fp8.py` (0.18).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.values import assembled, chunks, numpy_dtype
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Quantized, TensorRef

_BITS, _LOW = 4, 0xF
_WHOLE = 16
"""Bytes: a piece of a file that is read at a time has a multiple of them."""


def values(ref: TensorRef, location: Quantized, chunk_bytes: int) -> Iterator[NDArray[Any]]:
    """The elements, flat, in C order, about so many bytes at a time.

    Raises:
        UnreadableArtifact: The bytes are not there, or codes, factors and table do not fit each other.
    """
    codes, scale = location.codes, assembled(location.scale).reshape(-1)
    table = None if location.table is None else assembled(location.table).reshape(-1)
    in_a_code = 2 if table is not None and codes.size * 2 == ref.size else 1
    block = ref.size // scale.size if scale.size else 0
    if codes.size * in_a_code != ref.size or block * scale.size != ref.size or block % in_a_code:
        raise UnreadableArtifact(
            f"{ref.key!r} has {codes.size:,} codes and {scale.size:,} factors for {ref.size:,} values"
        )
    if ITEMSIZE.get(codes.dtype) != 1 or (table is not None and codes.dtype != "uint8"):
        raise UnreadableArtifact(f"{ref.key!r} has codes of the type {codes.dtype}")
    stored = block // in_a_code
    if not ref.size:
        return
    # Blocks are not cut: where the pieces that are read would cut them, all codes are one piece.
    step = codes.size + _WHOLE if stored % _WHOLE else stored * max(1, chunk_bytes // (block * 4))
    at = 0
    for chunk in chunks(codes, step):
        found = _decoded(ref, chunk, table, packed=in_a_code > 1)
        factors = scale[at : at + found.size // block, None]
        at += len(factors)
        with np.errstate(all="ignore"):
            yield (found.reshape(-1, block) * factors).astype(numpy_dtype(ref.dtype)).reshape(-1)


def _decoded(ref: TensorRef, codes: NDArray[Any], table: NDArray[Any] | None, *, packed: bool) -> NDArray[Any]:
    if table is None:
        return codes.astype(np.float32)
    if packed:
        codes = np.stack((codes >> _BITS, codes & _LOW), axis=-1).reshape(-1)
    if codes.size and int(codes.max()) >= table.size:
        raise UnreadableArtifact(f"{ref.key!r} has codes that its table does not have")
    found: NDArray[Any] = table[codes]
    return found
