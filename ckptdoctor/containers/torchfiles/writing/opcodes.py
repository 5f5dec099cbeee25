"""Pickles of protocol 2 as torch.load(weights_only=True) takes them: no opcode of a later protocol.

Sources: pickle.py of CPython; torch/_weights_only_unpickler.py (`Unpickler.load`), of 1.13 to 2.15.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from math import prod

from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.containers.torchfiles.imports import DTYPES, STORAGES
from ckptdoctor.errors import GraftRefused
from ckptdoctor.references import Inline, TensorRef

Kept = Callable[[TensorRef], str]
"""Keeps a tensor's bytes as a storage, and answers its key."""

_BY_DTYPE = {dtype: name for name, dtype in STORAGES.items() if dtype}
_TORCH_DTYPES = frozenset(DTYPES.values())
_MAX_ONE, _MAX_TWO, _MAX_FOUR = 0xFF, 0xFFFF, 0x7FFFFFFF
_NUMBERS = frozenset({"int64", "float64", "bool"})
_ORDERED = b"ccollections\nOrderedDict\n"


def remember(number: int) -> bytes:
    """Puts the value on top of the stack into the memo."""
    return b"q" + bytes([number]) if number <= _MAX_ONE else b"r" + struct.pack("<I", number)


def recall(number: int) -> bytes:
    """Puts a value from the memo on the stack."""
    return b"h" + bytes([number]) if number <= _MAX_ONE else b"j" + struct.pack("<I", number)


def key_of(key: Key) -> bytes:
    """A dictionary's key."""
    return b"".join(_plain(key))


def written(node: Node, kept: Kept, *, legacy: bool = False, free: int = 0) -> bytes:
    """A value's opcodes; what it recalls, it has remembered itself.

    Args:
        node: The value.
        kept: Told of each tensor in it.
        legacy: References to storages are those of the stream, which have a field more.
        free: From this number on, the memo is free.

    Raises:
        GraftRefused: It holds something that no other program could build.
    """
    return b"".join(_Writer(kept, free, legacy=legacy).node(node))


class _Writer:
    """Writes values one after the other."""

    def __init__(self, kept: Kept, free: int, *, legacy: bool) -> None:
        self._kept = kept
        self._legacy = legacy
        self._free = free
        self._memo: dict[bytes, bytes] = {}

    def node(self, node: Node) -> Iterator[bytes]:
        """Any value."""
        if isinstance(node, TensorRef):
            yield from self._tensor(node)
        elif isinstance(node, dict):
            yield b"}"
            if node:
                yield b"("
                for name, each in node.items():
                    yield from _plain(name)
                    yield from self.node(each)
                yield b"u"
        elif isinstance(node, list):
            yield b"]"
            if node:
                yield b"("
                for each in node:
                    yield from self.node(each)
                yield b"e"
        elif isinstance(node, tuple):
            yield from _tuple([b"".join(self.node(each)) for each in node])
        elif isinstance(node, Thing):
            yield from self._thing(node)
        else:
            yield from _plain(node)

    def _thing(self, node: Thing) -> Iterator[bytes]:
        """An object that is nothing but its arguments, such as a Counter."""
        module, _, name = node.name.rpartition(".")
        if node.fields or node.members or not (node.args and module) or "\n" in node.name:
            raise GraftRefused(f"a {node.name} is in the state, which only its own program can write")
        yield f"c{module}\n{name}\n".encode()
        yield from _tuple([b"".join(self.node(each)) for each in node.args])
        yield b"R"

    def _tensor(self, ref: TensorRef) -> Iterator[bytes]:
        if isinstance(ref.location, Inline) and not ref.shape and ref.dtype in _NUMBERS:
            yield from _plain(read_scalar(ref))  # a scalar of numpy: no tensor, and weights_only=True refuses it
            return
        if ref.dtype.startswith("q"):
            raise GraftRefused(
                f"{ref.key!r} is quantized ({ref.dtype}), and its scale would be lost: dequantize it first"
            )
        if ref.location is None:
            raise GraftRefused(f"the values of {ref.key!r} are not there")
        if ref.dtype not in _TORCH_DTYPES or ref.dtype not in ITEMSIZE:
            raise GraftRefused(f"{ref.key!r} has elements of the type {ref.dtype}, which are not written")
        storage = _BY_DTYPE.get(ref.dtype)
        if self._legacy and not storage:  # torch writes them, and cannot read what it wrote
            raise GraftRefused(f"{ref.key!r} is {ref.dtype}, which torch loads from no file of before 1.6")
        size = ref.size * (1 if storage else ITEMSIZE[ref.dtype])
        once = self._once
        yield once(b"ctorch._utils\n" + (b"_rebuild_tensor_v2" if storage else b"_rebuild_tensor_v3") + b"\n") + b"(("
        yield once(key_of("storage"))
        yield once(b"ctorch\n" + storage.encode() + b"\n" if storage else b"ctorch.storage\nUntypedStorage\n")
        yield from (*_plain(self._kept(ref)), once(key_of("cpu")), _integer(size))
        yield b"NtQ" if self._legacy else b"tQ"
        strides = tuple(prod(max(each, 1) for each in ref.shape[at + 1 :]) for at in range(len(ref.shape)))
        yield from (b"K\x00", *_plain(ref.shape), *_plain(strides), b"\x89", once(_ORDERED), b")R")
        if not storage:
            yield b"ctorch\n" + ref.dtype.encode() + b"\n"
        yield b"tR"

    def _once(self, opcodes: bytes) -> bytes:
        """What every tensor names: written and remembered the first time, recalled from then on, as torch does."""
        known = self._memo.get(opcodes)
        if known is not None or self._free > _MAX_FOUR:
            return known or opcodes
        self._memo[opcodes] = recall(self._free)
        self._free += 1
        return opcodes + remember(self._free - 1)


def _tuple(parts: list[bytes]) -> Iterator[bytes]:
    if len(parts) > 3:
        yield b"("
    yield from parts
    yield (b")", b"\x85", b"\x86", b"\x87", b"t")[min(len(parts), 4)]


def _plain(node: object) -> Iterator[bytes]:
    if node is None:
        yield b"N"
    elif isinstance(node, bool):
        yield b"\x88" if node else b"\x89"
    elif isinstance(node, int):
        yield _integer(node)
    elif isinstance(node, float):
        yield b"G" + struct.pack(">d", node)
    elif isinstance(node, str):
        text = node.encode("utf-8", "surrogatepass")
        yield b"X" + struct.pack("<I", len(text)) + text
    elif isinstance(node, tuple):
        yield from _tuple([b"".join(_plain(each)) for each in node])
    else:
        raise GraftRefused(f"a {type(node).__name__} is in the state, which has no place in a file of torch.save here")


def _integer(value: int) -> bytes:
    if 0 <= value <= _MAX_ONE:
        return b"K" + bytes([value])
    if 0 <= value <= _MAX_TWO:
        return b"M" + struct.pack("<H", value)
    if -_MAX_FOUR <= value <= _MAX_FOUR:
        return b"J" + struct.pack("<i", value)
    data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data
