"""A whole tensor of a pickle as one opcode: it is some twenty of them, always the same ones.

One regular expression takes them all; what thousands of tensors have in common is taken apart and checked once.
"""

import re
import struct
from typing import NamedTuple

from ckptdoctor.containers.pickles.values import Global, Known
from ckptdoctor.containers.torchfiles.imports import (
    MAX_LOCATION,
    Name,
    Storage,
    Tensor,
    TorchImports,
    storage_type,
)

_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_GET, _PUT, _NUMBER = rb"(?:h.|j....)", rb"(r....|)", rb"(?:K.|M..|J....)"
_SHAPE = rb"(?:\)|%(n)s\x85|%(n)s{2}\x86|%(n)s{3}\x87|\(%(n)s{4,8}t)" % {b"n": _NUMBER}
TENSOR = re.compile(
    rb"(" + _GET + rb"\(\(" + _GET + _GET + rb")"  # the function, "storage", its class
    + rb"X(.)\0\0\0(\d{1,20})" + _PUT  # its key
    + rb"(" + _GET + rb")(" + _NUMBER + rb")N?t" + _PUT  # its device and its elements; N in a stream
    + rb"Q(" + _NUMBER + _SHAPE + rb")" + _PUT  # the tensor's first element and its size
    + rb"(" + _SHAPE + rb")" + _PUT  # its strides
    + rb"[\x88\x89](" + _GET + rb")\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
)  # fmt: skip
"""`_rebuild_tensor_v2(("storage", class, key, device, numel), offset, size, stride, requires_grad, OrderedDict())`.

Its groups are what thousands of tensors have in common, the key of the storage, and each number that is remembered.
"""
_GETS = re.compile(rb"h(.)|j(....)", re.DOTALL)
_PACKED = tuple(struct.Struct("<" + "xI" * count) for count in range(8))
"""LONG_BINPUT, up to seven of them."""
_WIDE = 5
_NUMBERS = re.compile(_NUMBER, re.DOTALL)
_LONG = 1 << 31

argument = int.from_bytes
"""Of an opcode and its argument, behind the opcode: all are little-endian."""


class _View(NamedTuple):
    """What tensors have in common but for the storage that they are in."""

    dtype: str
    numel: int
    device: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class WholeTensors:
    """The tensors of a pickle.

    Args:
        data: Bytes that it is in.
        memo: What it remembers. A number that was given says for good what it stands for.
        imports: What it may name.
    """

    def __init__(self, data: bytes, memo: dict[int, object], imports: TorchImports) -> None:
        self._data = data
        self._memo = memo
        self._imports = imports
        self._views: dict[tuple[bytes, ...], _View] = {}

    def take(self, at: int, number: int) -> tuple[Tensor, int, int] | None:
        """The tensor that stands here, if all that it names is what it has to be.

        Args:
            at: Where it begins.
            number: The first number in the memo that is free.

        Returns:
            The tensor, where its opcodes end, and the next number in the memo.

        Raises:
            ValueError, KeyError: It is none that is usual.
        """
        found = TENSOR.match(self._data, at)
        if found is None:
            return None
        (
            names, length, key, as_key, place, elements, as_reference, extents, as_size, steps, as_strides,
            hooks, as_hooks, as_args, as_tensor,
        ) = found.groups()  # fmt: skip
        same = names, place, elements, extents, steps, hooks
        view = self._views.get(same) or self._view(same)
        puts = as_key + as_reference + as_size + as_strides + as_hooks + as_args + as_tensor
        count = len(puts) // _WIDE
        if view is None or length[0] != len(key):
            return None
        numbers = _PACKED[count].unpack(puts)
        first = numbers[0] if numbers else number
        if first < number or numbers != tuple(range(first, first + count)):
            return None
        name = key.decode("ascii")
        storage = self._imports.storage(Storage(name, view.dtype, view.numel, view.device))
        tensor = Tensor(storage, view.dtype or "uint8", view.shape, view.offset, view.strides)
        # What lies between, no pickle of PyTorch recalls; where one does, its number is not known.
        if as_key:
            self._memo[first] = name
        if as_tensor:
            self._memo[first + count - 1] = tensor
        return tensor, found.end(), first + count

    def _view(self, same: tuple[bytes, ...]) -> _View | None:
        names, place, elements, extents, steps, hooks = same
        function, tag, kind, device, empty = map(self._memo.__getitem__, recalled_in(names + place + hooks))
        if function != _REBUILD or tag != "storage" or not isinstance(device, str):
            return None
        if not isinstance(empty, Global) or empty.known is not Known.ORDERED_DICT:
            return None
        dtype, (numel,), (offset, *shape), strides = storage_type(kind), *map(_numbers, (elements, extents, steps))
        if dtype is None or len(shape) != len(strides):
            raise ValueError("no plain storage")
        view = _View(dtype, numel, device[:MAX_LOCATION], offset, tuple(shape), strides)
        self._views[same] = view
        return view


def recalled_in(packed: bytes) -> list[int]:
    """Numbers in the memo that are recalled in a tensor's groups."""
    return [argument(short or long, "little") for short, long in _GETS.findall(packed)]


def _numbers(packed: bytes) -> tuple[int, ...]:
    found = tuple(argument(each[1:], "little") for each in _NUMBERS.findall(packed))
    if any(number >= _LONG for number in found):
        raise ValueError("a negative number")
    return found
