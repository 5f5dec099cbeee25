"""The usual pickle of torch.save, read five times as fast as by the machine: a whole tensor is one instruction.

A tensor is some twenty opcodes, always the same ones; here one regular expression takes them all. Whatever is not usual
ends in `Unusual`, and the exact machine begins anew: it stays the authority on every pickle, and on what is wrong with
one. The memo is a dictionary and lengths are held against the bytes, so that nothing is allocated for what is claimed.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from functools import lru_cache

from ckptdoctor.containers.pickles.values import Global, Known, NotThese, Opaque, Pairs
from ckptdoctor.containers.torchfiles.imports import Name, Storage, Tensor, TorchImports

_REBUILD = Name("torch._utils", "_rebuild_tensor_v2")
_GET, _PUT, _NUMBER = rb"(h.|j....)", rb"(q.|r....)?", rb"(K.|M..|J....)"
_SHAPE = rb"(\)|(?:K.|M..|J....)\x85|(?:K.|M..|J....){2}\x86|(?:K.|M..|J....){3}\x87|\((?:K.|M..|J....){4,8}t)" + _PUT
_MARK = object()
TENSOR = re.compile(
    _GET + rb"\(\(" + _GET + _GET  # the function, "storage", its class
    + rb"X(.)\0\0\0(\d{1,20})" + _PUT + _GET + _NUMBER + rb"t" + _PUT + rb"Q"  # key, device, elements
    + _NUMBER  # offset
    + _SHAPE + _SHAPE  # size and stride
    + rb"[\x88\x89]" + _GET + rb"\)R" + _PUT + rb"t" + _PUT + rb"R" + _PUT,
    re.DOTALL,
)  # fmt: skip
"""`_rebuild_tensor_v2(("storage", class, key, device, numel), offset, size, stride, requires_grad, OrderedDict())`."""
_NUMBERS = re.compile(_NUMBER, re.DOTALL)
_LONG = 1 << 31
_NEWEST_PROTOCOL = 5
_MOST_COPIED = 1 << 22


class Unusual(Exception):
    """The exact machine has to read this one."""


def fast_load(data: bytes, start: int, imports: TorchImports) -> tuple[object, int]:
    """Reads one pickle.

    Args:
        data: Bytes that it is in.
        start: Where it begins.
        imports: What it may name.

    Returns:
        What it holds, and where it ends.

    Raises:
        Unusual: It is not as torch.save writes pickles, or not whole.
    """
    try:
        return _Reader(data, start, imports).run()
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error, NotThese) as error:
        raise Unusual(str(error)) from error


def _int(code: bytes) -> int:
    number = argument(code[1:], "little")
    if number >= _LONG:
        raise Unusual("a negative number")
    return number


argument = int.from_bytes
"""Of an opcode and its argument, behind the opcode: all are little-endian."""


class _Reader:
    """A stack, a memo, and the opcodes that torch.save writes."""

    def __init__(self, data: bytes, start: int, imports: TorchImports) -> None:
        self.data = data
        self.at = start
        self.imports = imports
        self.stack: list[object] = []
        self.memo: dict[int, object] = {}
        self.copied = 0

    def run(self) -> tuple[object, int]:
        """Interprets opcodes up to STOP."""
        data, effects = self.data, _EFFECTS
        while True:
            code = data[self.at]
            if code in {0x68, 0x6A} and self._tensor():
                continue
            if code == 0x2E:
                (value,) = self.stack
                if value is _MARK:
                    raise Unusual("a mark at the end")
                return value, self.at + 1
            effects[code](self)

    def _tensor(self) -> bool:
        """Takes a whole tensor, if one stands here and all that it names is what it has to be."""
        found = TENSOR.match(self.data, self.at)
        if found is None:
            return False
        memo, index = self.memo, argument
        (
            of, tagged, typed, length, key, as_key, on, many, as_reference, first, extents, as_size, steps, as_stride,
            empty, as_hooks, as_args, as_tensor,
        ) = found.groups()  # fmt: skip
        # One after the other, without a loop: this is done for each of 100,000 tensors.
        function, tag = memo[index(of[1:], "little")], memo[index(tagged[1:], "little")]
        kind, device = memo[index(typed[1:], "little")], memo[index(on[1:], "little")]
        last = empty[1:]
        hooks = memo[index(last, "little")]
        if as_key is not None and as_key[1:] == on[1:]:
            return False  # what a broken pickle remembers on the way is what it recalls
        if (
            (as_key is not None and as_key[1:] == last)
            or (as_reference is not None and as_reference[1:] == last)
            or (as_size is not None and as_size[1:] == last)
            or (as_stride is not None and as_stride[1:] == last)
        ):
            return False
        usual = function == _REBUILD and tag == "storage" and isinstance(kind, Name) and isinstance(device, str)
        if not usual or length[0] != len(key) or not isinstance(hooks, Global) or hooks.known is not Known.ORDERED_DICT:
            return False
        numel, offset = _int(many), _int(first)
        size, stride = _shape(extents), _shape(steps)
        name = key.decode("ascii")
        reference = ("storage", kind, name, device, numel)
        storage = self.imports.persistent(reference)
        if not isinstance(storage, Storage) or len(size) != len(stride):
            raise Unusual("no plain storage")
        tensor = Tensor(storage, storage.dtype or "uint8", size, offset, stride)
        none = Pairs()
        if as_key is not None:
            memo[index(as_key[1:], "little")] = name
        if as_reference is not None:
            memo[index(as_reference[1:], "little")] = reference
        if as_size is not None:
            memo[index(as_size[1:], "little")] = size
        if as_stride is not None:
            memo[index(as_stride[1:], "little")] = stride
        if as_hooks is not None:
            memo[index(as_hooks[1:], "little")] = none
        if as_args is not None:
            memo[index(as_args[1:], "little")] = storage, offset, size, stride, False, none
        if as_tensor is not None:
            memo[index(as_tensor[1:], "little")] = tensor
        self.stack.append(tensor)
        self.at = found.end()
        return True

    def take(self, count: int) -> bytes:
        """The next bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) != count:
            raise Unusual("it ends early")
        self.at += count
        return found

    def line(self) -> str:
        """Text up to a newline."""
        end = self.data.index(b"\n", self.at, self.at + 1024)
        text = self.data[self.at : end].decode("ascii")
        self.at = end + 1
        return text

    def items(self) -> list[object]:
        """What lies above the last mark."""
        stack = self.stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is _MARK:
                found = stack[index + 1 :]
                del stack[index:]
                return found
        raise Unusual("no mark")

    def reduce(self) -> None:
        """REDUCE and NEWOBJ. Constructors copy what they are given, which a small file may ask for often."""
        args = self.stack.pop()
        if isinstance(args, tuple):
            self.copied += sum(len(each) for each in args if isinstance(each, (list, tuple, str, bytes)))
            if self.copied > _MOST_COPIED:
                raise Unusual("much is copied")
        self.stack.append(self.imports.call(self.stack.pop(), args))

    def stack_global(self) -> None:
        """STACK_GLOBAL."""
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(module, str) or not isinstance(name, str):
            raise Unusual("a name that is no text")
        found = self.imports.find(module, name)
        if found is None:
            raise Unusual("a refused name")
        self.stack.append(found)

    def global_(self) -> None:
        """GLOBAL."""
        module = self.line()
        found = self.imports.find(module, self.line())
        if found is None:
            raise Unusual("a refused name")
        self.stack.append(found)

    def text(self, width: int = 4) -> None:
        """BINUNICODE, and the short one."""
        count = int.from_bytes(self.take(width), "little")
        if count > 1 << 12:
            raise Unusual("long text")
        self.stack.append(self.take(count).decode("utf-8"))

    def set_items(self) -> None:
        """SETITEMS."""
        found, target = self.items(), self.stack[-1]
        if not isinstance(target, (Pairs, Opaque)) or len(found) % 2:
            raise Unusual("no dict")
        target.items.extend(zip(found[::2], found[1::2], strict=True))

    def set_item(self) -> None:
        """SETITEM."""
        value = self.stack.pop()
        key, target = self.stack.pop(), self.stack[-1]
        if not isinstance(target, (Pairs, Opaque)):
            raise Unusual("no dict")
        target.items.append((key, value))

    def append(self, values: list[object]) -> None:
        """APPENDS."""
        target = self.stack[-1]
        if not isinstance(target, list):
            raise Unusual("no list")
        target.extend(values)

    def tuple_(self, count: int) -> None:
        """TUPLE1 to TUPLE3."""
        found = tuple(self.stack[-count:])
        if len(found) != count or any(each is _MARK for each in found):
            raise Unusual("no tuple")
        self.stack[-count:] = [found]

    def build(self) -> None:
        """BUILD."""
        state = self.stack.pop()
        self.imports.build(self.stack[-1], state)

    def put(self, index: int) -> None:
        """BINPUT."""
        if self.stack[-1] is _MARK:
            raise Unusual("a mark in the memo")
        self.memo[index] = self.stack[-1]

    def protocol(self) -> None:
        """PROTO."""
        if self.take(1)[0] > _NEWEST_PROTOCOL:
            raise Unusual("another protocol")

    def frame(self) -> None:
        """FRAME."""
        if int.from_bytes(self.take(8), "little") > len(self.data) - self.at:
            raise Unusual("a frame that ends early")

    def one(self, value: object) -> None:
        """An opcode without arguments that pushes a value."""
        self.stack.append(value)


@lru_cache(4096)
def _shape(packed: bytes) -> tuple[int, ...]:
    return tuple(map(_int, _NUMBERS.findall(packed)))


def _then(effect: Callable[[_Reader], None]) -> Callable[[_Reader], None]:
    """An effect, after the opcode itself."""

    def run(reader: _Reader) -> None:
        reader.at += 1
        effect(reader)

    return run


def _little(reader: _Reader, width: int, *, signed: bool = False) -> int:
    return int.from_bytes(reader.take(width), "little", signed=signed)


_PLAIN: dict[bytes, Callable[[_Reader], None]] = {
    b"(": lambda r: r.one(_MARK),
    b")": lambda r: r.one(()),
    b"}": lambda r: r.one(Pairs()),
    b"]": lambda r: r.one([]),
    b"N": lambda r: r.one(None),
    b"\x88": lambda r: r.one(True),
    b"\x89": lambda r: r.one(False),
    b"K": lambda r: r.one(_little(r, 1)),
    b"M": lambda r: r.one(_little(r, 2)),
    b"J": lambda r: r.one(_little(r, 4, signed=True)),
    b"\x8a": lambda r: r.one(_little(r, min(_little(r, 1), 16), signed=True)),
    b"G": lambda r: r.one(struct.unpack(">d", r.take(8))[0]),
    b"X": _Reader.text,
    b"c": _Reader.global_,
    b"R": _Reader.reduce,
    b"Q": lambda r: r.one(r.imports.persistent(r.stack.pop())),
    b"b": _Reader.build,
    b"u": _Reader.set_items,
    b"s": _Reader.set_item,
    b"e": lambda r: r.append(r.items()),
    b"a": lambda r: r.append([r.stack.pop()]),
    b"t": lambda r: r.one(tuple(r.items())),
    b"\x85": lambda r: r.tuple_(1),
    b"\x86": lambda r: r.tuple_(2),
    b"\x87": lambda r: r.tuple_(3),
    b"q": lambda r: r.put(_little(r, 1)),
    b"r": lambda r: r.put(_little(r, 4)),
    b"h": lambda r: r.one(r.memo[_little(r, 1)]),
    b"j": lambda r: r.one(r.memo[_little(r, 4)]),
    b"\x80": _Reader.protocol,
    b"\x81": _Reader.reduce,
    b"\x8c": lambda r: r.text(1),
    b"\x93": _Reader.stack_global,
    b"\x94": lambda r: r.put(len(r.memo)),
    b"\x95": _Reader.frame,
}
_EFFECTS = {code[0]: _then(effect) for code, effect in _PLAIN.items()}
"""Opcode → its effect; those that are not here are the exact machine's."""
