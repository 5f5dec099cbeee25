"""Writing dumps: the list of `get_weights()` or of `optimizer.variables`, as pickle, npy or npz.

Arrays are streamed: a pickle is written opcode by opcode, with the very opcodes that numpy's arrays pickle to, so that
no array has to be in memory.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import Node, load
from ckptdoctor.containers.tensors.shard_data import pieces
from ckptdoctor.containers.tensors.values import numpy_dtype
from ckptdoctor.containers.zips.npy import MAGIC, read_npz
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.dumps import reading as optimizer_dump
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.lists.elements import Element, elements, notes, require_listable, wrapper_elements
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation

_GETS_WEIGHTS = frozenset({Generation.KERAS1, Generation.OPTIMIZER_V2})
"""Generations with `get_weights`, which answers scalars as numpy scalars; `variables` are arrays, all of them."""
_NUMBERED = re.compile(r"arr_\d{1,9}\Z")

_RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01bt"
"""`_reconstruct(ndarray, (0,), b"b")`: numpy 2 keeps the old module's name for pickles."""
_SCALAR = b"cnumpy.core.multiarray\nscalar\n"


def write_dump(optimizer: PlannedOptimizer, target: str, output: str) -> Written:
    """Writes a dump of the kind that the target is.

    Args:
        optimizer: The optimizer.
        target: A dump that holds an optimizer's list and nothing else.
        output: The file that is written.

    Raises:
        GraftRefused: The target holds more than a list, or the kind has no place for a type.
        UnreadableArtifact: An input is broken.
        OSError: The output cannot be written.
    """
    write = _way(optimizer, target)
    listed = (*wrapper_elements(optimizer), *elements(optimizer))
    as_scalars = optimizer.generation in _GETS_WEIGHTS
    with open(output, "xb") as stream:
        write(stream, listed, as_scalars)
        size = stream.tell()
    setting = (
        "optimizer.set_weights(list)"
        if as_scalars
        else "for variable, value in zip(optimizer.variables, list): variable.assign(value)"
    )
    call = (
        f"a dump names no class: build the same {optimizer.class_name} of {dialect(optimizer.generation).title} "
        f"for the same variables, then {setting}"
    )
    return Written((call, *notes(optimizer)), size)


_Write = Callable[[BinaryIO, Sequence[Element], bool], None]


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write_dump` would, before anything is written.

    Raises:
        GraftRefused: It cannot be written into this target.
    """
    _way(optimizer, target)
    require_listable(optimizer)


def _way(optimizer: PlannedOptimizer, target: str) -> _Write:
    """How this optimizer's dump is written in the target's kind.

    Raises:
        GraftRefused: The target holds more than a list, or the generation has none.
    """
    if optimizer.generation is Generation.TF1:
        raise GraftRefused("optimizers of TensorFlow 1 have no list of weights that a dump could hold")
    return _writer(target)


def _writer(target: str) -> _Write:
    """How to write what the target is.

    Raises:
        GraftRefused: It holds more than a list of arrays, which would be lost.
    """
    state = optimizer_dump.read(target)
    with RegularFile(target) as file:
        head = file.read(0, min(file.size, 8))
    is_npz = head.startswith(SIGNATURE)
    flat = state.variables == () and not state.counters and not state.others and len(state.optimizers) < 2  # noqa: PLR2004
    if is_npz:
        flat = flat and all(_NUMBERED.match(name) for name in read_npz(target))
    elif not head.startswith(MAGIC):
        flat = flat and _is_flat(load(target))
    if not flat:
        raise GraftRefused(
            "the target dump holds more than one list of arrays (names, a model, counts), which would be lost: graft "
            "into a dump of the list alone",
            target,
        )
    return _write_npz if is_npz else _write_npy if head.startswith(MAGIC) else _write_pickle


def _is_flat(roots: Sequence[Node]) -> bool:
    root: Node = roots[0] if len(roots) == 1 else list(roots)
    return isinstance(root, (list, tuple)) and all(isinstance(each, (TensorRef, int, float)) for each in root)


def _bytes(element: Element) -> Iterator[bytes]:
    return pieces(element.content, element.label, element.dtype, element.shape, element.factor)


def _size(element: Element) -> int:
    total = numpy_dtype(element.dtype).itemsize
    for extent in element.shape:
        total *= extent
    return total


# ------------------------------------------------------------------------------------------------------------ pickle


def _write_pickle(stream: BinaryIO, listed: Sequence[Element], as_scalars: bool) -> None:  # noqa: FBT001
    stream.write(b"\x80\x04")
    _pickle_list(stream, listed, as_scalars=as_scalars)
    stream.write(b".")


def _pickle_list(stream: BinaryIO, listed: Sequence[Element], *, as_scalars: bool) -> None:
    stream.write(b"](")
    for element in listed:
        if as_scalars and not element.shape:
            stream.write(_SCALAR + _dtype(element.dtype))
            _pickle_bytes(stream, element)
            stream.write(b"\x86R")
        else:
            stream.write(_RECONSTRUCT + b"R(K\x01" + _tuple(element.shape) + _dtype(element.dtype) + b"\x89")
            _pickle_bytes(stream, element)
            stream.write(b"tb")
    stream.write(b"e")


def _pickle_bytes(stream: BinaryIO, element: Element) -> None:
    stream.write(b"\x8e" + struct.pack("<Q", _size(element)))
    stream.writelines(_bytes(element))


def _tuple(shape: tuple[int, ...]) -> bytes:
    numbers = [pickle.encode_long(extent) for extent in shape]
    return b"(" + b"".join(b"\x8a" + bytes([len(number)]) + number for number in numbers) + b"t"


def _dtype(name: str) -> bytes:
    """The opcodes of a numpy type, without what begins and ends a pickle."""
    dtype = numpy_dtype(name)
    whole = pickletools.optimize(pickle.dumps(dtype if name == "bfloat16" else dtype.newbyteorder("<"), 2))
    return whole[2:-1]  # protocol 2 has no frames


# ------------------------------------------------------------------------------------------------------ npy and npz


def _header(descr: str, shape: tuple[int, ...]) -> bytes:
    from numpy.lib.format import write_array_header_1_0

    buffer = io.BytesIO()
    write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def _write_npy(stream: BinaryIO, listed: Sequence[Element], as_scalars: bool) -> None:  # noqa: FBT001
    """An array of objects, which is what `np.save` makes of a list of arrays of different shapes: a pickle inside."""
    count = len(listed)
    stream.write(_header("|O", (count,)))
    stream.write(b"\x80\x04" + _RECONSTRUCT + b"R(K\x01" + _tuple((count,)))
    stream.write(pickletools.optimize(pickle.dumps(numpy_dtype("object"), 2))[2:-1] + b"\x89")
    _pickle_list(stream, listed, as_scalars=as_scalars)
    stream.write(b"tb.")


def _write_npz(stream: BinaryIO, listed: Sequence[Element], _as_scalars: bool) -> None:  # noqa: FBT001
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for index, element in enumerate(listed):
            dtype = numpy_dtype(element.dtype)
            if dtype.kind not in "iufb":
                raise GraftRefused(f"npz archives have no place for {element.dtype}, which {element.label} would be")
            with archive.open(zipfile.ZipInfo(f"arr_{index}.npy"), "w", force_zip64=True) as member:
                member.write(_header(dtype.newbyteorder("<").str, element.shape))
                for chunk in _bytes(element):
                    member.write(chunk)
