"""safetensors files, written: a header, and the elements of all tensors behind it.

Source: safetensors/src/tensor.rs (`prepare`), which sorts by alignment and name, and pads the header to 8 bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.bytes.window import write_at
from ckptdoctor.containers.safetensors import DTYPES
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, array_nbytes
from ckptdoctor.containers.tensors.putting import put
from ckptdoctor.errors import GraftRefused
from ckptdoctor.references import TensorRef

_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_ALIGNED = 8


def write_safetensors(
    output: str, tensors: Mapping[str, TensorRef], metadata: Mapping[str, str], progress: Progress | None = None
) -> int:
    """Writes a file; answers how many bytes.

    Args:
        output: The file.
        tensors: By their names.
        metadata: Text beside them.
        progress: Told how many more bytes are written.

    Raises:
        GraftRefused: A tensor is of a type that the format does not have.
        UnreadableArtifact: Its values are not there.
    """
    order = sorted(tensors, key=lambda name: (-ITEMSIZE.get(tensors[name].dtype, 1), name))
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name in order:
        ref = tensors[name]
        if ref.dtype not in _NAMES:
            raise GraftRefused(f"{name} is {ref.dtype}, for which safetensors has no type")
        nbytes = array_nbytes(ref.dtype, ref.shape)
        header[name] = {"dtype": _NAMES[ref.dtype], "shape": list(ref.shape), "data_offsets": [at, at + nbytes]}
        at += nbytes
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNED)
    writing = create(output)
    try:
        write_at(writing, len(text).to_bytes(8, "little") + text, 0)
        end = 8 + len(text)
        for name in order:
            end += put(tensors[name], writing, end, progress)
    finally:
        os.close(writing)
    return end
