"""Values in few bits, as optimizers of 4 and 8 bits keep their moments: back to what they stand for.

Source: torchao/optim, `subclass_8bit.py`, `subclass_4bit.py`, `subclass_fp8.py` (0.18).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ckptdoctor.containers.tensors.values import assembled, numpy_dtype
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Quantized, TensorRef

_BITS, _LOW = 4, 0xF


def values(ref: TensorRef, location: Quantized) -> NDArray[Any]:
    """The elements, flat, whole in memory.

    Raises:
        UnreadableArtifact: The bytes are not there, or codes, factors and table do not fit each other.
    """
    codes, scale = assembled(location.codes).reshape(-1), assembled(location.scale).reshape(-1)
    if location.table is None:
        found = codes.astype(np.float32)
    else:
        if codes.size * 2 == ref.size and codes.dtype == np.uint8:
            codes = np.stack((codes >> _BITS, codes & _LOW), axis=-1).reshape(-1)
        table = assembled(location.table).reshape(-1)
        if codes.dtype.kind not in "iu" or (codes.size and not 0 <= int(codes.min()) <= int(codes.max()) < table.size):
            raise UnreadableArtifact(f"{ref.key!r} has codes that its table does not have")
        found = table[codes]
    if found.size != ref.size or not scale.size or found.size % scale.size:
        raise UnreadableArtifact(
            f"{ref.key!r} has {codes.size:,} codes and {scale.size:,} factors for {ref.size:,} values"
        )
    scaled: NDArray[Any] = (found.reshape(scale.size, -1) * scale[:, None]).astype(numpy_dtype(ref.dtype))
    return scaled.reshape(-1)
