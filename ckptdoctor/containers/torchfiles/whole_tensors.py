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
TENSOR = (
    rb"(?s)(" + _GET + rb"\(\(" + _GET + _GET + rb")"  # the function, "storage", its class
    + rb"X(.)\0\0\0(\d{1,20})" + _PUT  # its key
    + rb"(" + _GET + rb")(" + _NUMBER + rb")N?t" + _PUT  # its device and its elements; N in a stream
    + rb"Q(" + _NUMBER + _SHAPE + rb")" + _PUT  # the tensor's first element and its size
    + rb"(" + _SHAPE + rb")" + _PUT  # its strides
    + rb"[\x88\x89](" + _GET + rb")\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT
)  # fmt: skip
"""`_rebuild_tensor_v2(("storage", class, key, device, numel), offset, size, stride, requires_grad, OrderedDict())`.

Its groups are what thousands of tensors have in common, the key of the storage, and each number that is remembered.
"""
_GETS = rb"(?s)h(.)|j(....)"
_KEY, _PUTS = 3, (4, 7, 9, 11, 13, 14, 15)
"""Groups of it: the key of the storage, and what is remembered."""
_MOST_TEMPLATES = 1_000
_MOST_NAME = 1 << 12
_NUMBERS = rb"(?s)" + _NUMBER
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


class _Template:
    """A tensor's bytes, but for the key of its storage and for the numbers that are remembered.

    Attributes:
        view: What it says.
        before: How many bytes are before its key.
        heads: Those bytes, by the last four, which are the key's length.
        layout: The bytes behind its key: constant ones and numbers, in turn.
        constants: The constant ones.
        names_key: The key is remembered.
        names_tensor: The tensor is.
    """

    __slots__ = ("before", "constants", "heads", "layout", "names_key", "names_tensor", "view")

    def __init__(self, found: re.Match[bytes], view: _View) -> None:
        self.view = view
        self.before = found.start(_KEY) - found.start()
        self.heads: dict[bytes, bytes] = {}
        constants, at = [], found.end(_KEY)
        layout = "<"
        for start, end in map(found.span, _PUTS):
            if end > start:  # an opcode and its number
                constants.append(found.string[at : start + 1])
                layout += f"{start + 1 - at}sI"
                at = end
        constants.append(found.string[at : found.end()])
        self.constants = tuple(constants)
        self.layout = struct.Struct(f"{layout}{len(constants[-1])}s")
        self.names_key, self.names_tensor = bool(found[_PUTS[0]]), bool(found[_PUTS[-1]])


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
        self._match = re.compile(TENSOR).match
        self._views: dict[tuple[bytes, ...], _View] = {}
        self._templates: dict[tuple[bytes, ...], _Template] = {}
        self._last: tuple[_Template, ...] = ()
        self._followers: dict[tuple[_Template, ...], _Template] = {}

    def take(self, at: int, number: int, stack: list[object]) -> tuple[int, int] | None:
        """Pushes the tensor that stands here, if all that it names is what it has to be.

        And those that follow it in a dictionary, each with its name.

        Args:
            at: Where it begins.
            number: The first number in the memo that is free.
            stack: What they are pushed on.

        Returns:
            Where the last one's opcodes end, and the next number in the memo; None if there is no tensor.

        Raises:
            ValueError, KeyError, IndexError: It is none that is usual.
        """
        data, memo = self._data, self._memo
        taken = self._tensor(at, number)
        if taken is None:
            return None
        while True:
            tensor, at, number = taken
            stack.append(tensor)
            free, start, name = number, at, None
            if data[at] == 0x6A:  # LONG_BINGET
                start = at + 5
                name = memo.get(argument(data[at + 1 : start], "little"))
            elif data[at] == 0x68:  # BINGET
                start = at + 2
                name = memo.get(data[at + 1])
            elif data[at] == 0x58:  # BINUNICODE, with LONG_BINPUT behind it
                end = at + 5 + argument(data[at + 1 : at + 5], "little")
                start = end + 5
                if end - at < _MOST_NAME and data[end] == 0x72 and argument(data[end + 1 : start], "little") == number:
                    name, free = data[at + 5 : end].decode("utf-8"), number + 1
            taken = self._tensor(start, free) if isinstance(name, str) else None
            if taken is None:
                return at, number
            if free > number:
                memo[number] = name
            stack.append(name)

    def _tensor(self, at: int, number: int) -> tuple[Tensor, int, int] | None:
        """A tensor, where its opcodes end, and the next number in the memo."""
        last = self._last
        template = self._followers.get(last)
        taken = self._alike(template, at, number) if template is not None else None
        if taken is not None:
            return taken
        found = self._match(self._data, at)
        if found is None:
            return None
        names, length, key, _, place, elements, _, extents, _, steps, _, hooks, *_ = found.groups()
        same = names, place, elements, extents, steps, hooks
        view = self._views.get(same) or self._view(same)
        if view is None or length[0] != len(key):
            return None
        template = self._template(found, same, view)
        start = found.start(_KEY)
        template.heads[self._data[start - 4 : start]] = self._data[at:start]
        if len(self._followers) < _MOST_TEMPLATES:
            self._followers[last] = template
        return self._alike(template, at, number)

    def _template(self, found: re.Match[bytes], same: tuple[bytes, ...], view: _View) -> _Template:
        described = *same, bytes(len(found[group]) for group in _PUTS)
        template = self._templates.get(described)
        if template is None:
            template = _Template(found, view)
            if len(self._templates) < _MOST_TEMPLATES:
                self._templates[described] = template
        return template

    def _alike(self, template: _Template, at: int, number: int) -> tuple[Tensor, int, int] | None:
        """The tensor that stands here in the bytes of a template."""
        data = self._data
        start = at + template.before
        length = data[start - 4 : start]
        head = template.heads.get(length)
        if head is None or not data.startswith(head, at):
            return None
        behind = start + length[0]
        end = behind + template.layout.size
        key = data[start:behind]
        if end > len(data) or not key.isdigit():
            return None
        fields = template.layout.unpack_from(data, behind)
        numbers = fields[1::2]
        first = numbers[0] if numbers else number
        if fields[::2] != template.constants or first < number or numbers != tuple(range(first, first + len(numbers))):
            return None
        self._last = *self._last[-1:], template
        view = template.view
        name = key.decode("ascii")
        storage = self._imports.storage(Storage(name, view.dtype, view.numel, view.device))
        tensor = Tensor(storage, view.dtype or "uint8", view.shape, view.offset, view.strides)
        number = first + len(numbers)
        # What lies between, no pickle of PyTorch recalls; where one does, its number is not known.
        if template.names_key:
            self._memo[first] = name
        if template.names_tensor:
            self._memo[number - 1] = tensor
        return tensor, end, number

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
    return [argument(short or long, "little") for short, long in re.findall(_GETS, packed)]


def _numbers(packed: bytes) -> tuple[int, ...]:
    found = tuple(argument(each[1:], "little") for each in re.findall(_NUMBERS, packed))
    if any(number >= _LONG for number in found):
        raise ValueError("a negative number")
    return found
