"""The usual pickle of PyTorch, read many times as fast as by the machine.

Opcodes are told apart in one loop, without a call for each, and a whole tensor, which is some twenty of them, always
the same ones, is one: a regular expression takes them all. Whatever is not usual ends in `Unusual`, and the exact
machine begins anew: it stays the authority on every pickle, and on what is wrong with one. The memo is a dictionary and
lengths are held against the bytes, so that nothing is allocated for what is claimed.
"""

import struct
from collections.abc import Callable

from ckptdoctor.containers.pickles.values import NotThese, Opaque, Pairs
from ckptdoctor.containers.torchfiles.imports import Tensor, TorchImports
from ckptdoctor.containers.torchfiles.phrases import Phrases
from ckptdoctor.containers.torchfiles.whole_tensors import WholeTensors, argument

_NEWEST_PROTOCOL = 5
_MOST_COPIED = 1 << 22
_MOST_TEXT = 1 << 12
_MOST_LONG = 16
"""Bytes of a number."""
FEW = 1 << 15
"""Below so many bytes a pickle's tensors are taken opcode by opcode: to make what takes them whole takes longer."""


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
        Unusual: It is not as PyTorch writes pickles, or not whole.
    """
    try:
        return _Reader(data, imports).run(start)
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error, NotThese) as error:
        raise Unusual(str(error)) from error


class _Reader:
    """A stack, a memo, and the opcodes that PyTorch writes.

    Attributes:
        number: The next number in the memo. Picklers give them one after the other: one that was given says for good
            what it stands for.
        counts: They are not written out, since protocol 4.
    """

    def __init__(self, data: bytes, imports: TorchImports) -> None:
        self.data = data
        self.imports = imports
        self.memo: dict[int, object] = {}
        self.number = 0
        self.counts = False
        self.copied = 0
        self.phrases = Phrases(data)

    def run(self, at: int) -> tuple[object, int]:  # noqa: PLR0912, PLR0915 - there may be millions: each call would tell
        """Interprets opcodes up to STOP, the frequent ones first; one that is cut ends beyond the bytes."""
        data, memo, phrases = self.data, self.memo, self.phrases
        tensors = WholeTensors(data, memo, self.imports) if len(data) - at > FEW else None
        counts = self.counts = data[at] == 0x80 and data[at + 1] >= 4
        stack: list[object] = []
        below: list[list[object]] = []  # a stack for each mark
        while True:
            code = data[at]
            at += 1
            if code == 0x94 and counts:  # MEMOIZE
                memo[self.number] = stack[-1]
                self.number += 1
            elif code in {0x68, 0x6A}:  # BINGET, LONG_BINGET
                start, at = at, at + (1 if code == 0x68 else 4)
                number = argument(data[start:at], "little")
                if counts:
                    if data[at] == 0x29 and data[at + 1] == 0x81:
                        at = self._object(start - 1, number, at + 2, stack)
                    else:
                        stack.append(phrases.recalled(number, memo[number]))
                    continue
                begins = tensors is not None and data[at] == data[at + 1] == 0x28
                taken = tensors.take(start - 1, self.number, stack) if begins else None  # type: ignore[union-attr]
                if taken is None:
                    stack.append(memo[number])
                else:
                    at, self.number = taken
            elif code in {0x71, 0x72}:  # BINPUT, LONG_BINPUT
                end = at + (1 if code == 0x71 else 4)
                self.remember(argument(data[at:end], "little"), stack[-1])
                at = end
            elif code in {0x8C, 0x58}:  # SHORT_BINUNICODE, BINUNICODE
                end = at + (1 if code == 0x8C else 4)
                count = argument(data[at:end], "little")
                if count > _MOST_TEXT:
                    raise Unusual("long text")
                at = end + count
                stack.append(data[end:at].decode("utf-8"))
            elif code == 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            elif code == 0x28:  # MARK
                below.append(stack)
                stack = []
            elif code == 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            elif code == 0x86:  # TUPLE2
                last = stack.pop()
                stack[-1] = (stack[-1], last)
            elif code in {0x52, 0x81}:  # REDUCE, NEWOBJ
                args = stack.pop()
                stack[-1] = self.call(stack[-1], args)
            elif code == 0x29:  # EMPTY_TUPLE
                stack.append(())
            elif code == 0x62:  # BUILD
                state = stack.pop()
                self.imports.build(self.changed(stack[-1]), state)
                phrases.end(stack[-1], at, self.number)
            elif code == 0x75:  # SETITEMS
                items, stack = stack, below.pop()
                _set(self.changed(stack[-1]), items)
            elif code == 0x7D:  # EMPTY_DICT
                stack.append(Pairs())
            elif code == 0x74:  # TUPLE
                items, stack = stack, below.pop()
                stack.append(tuple(items))
            elif code == 0x4D:  # BININT2
                stack.append(argument(data[at : at + 2], "little"))
                at += 2
            elif code == 0x65:  # APPENDS
                items, stack = stack, below.pop()
                _append(self.changed(stack[-1]), items)
            elif code == 0x2E:  # STOP
                (value,) = stack
                if below:
                    raise Unusual("a mark at the end")
                return value, at
            else:
                at = _RARE[code](self, stack, at)

    def remember(self, number: int, value: object) -> None:
        """BINPUT."""
        if number < self.number or self.counts:
            raise Unusual("a number in the memo that no pickler gives")
        self.memo[number] = value
        self.number = number + 1

    def call(self, function: object, args: object) -> object:
        """REDUCE and NEWOBJ. Constructors copy what they are given, which a small file may ask for often."""
        for each in args if isinstance(args, tuple) else ():
            if isinstance(each, (list, tuple, str, bytes)):
                self.copied += len(each)
        if self.copied > _MOST_COPIED:
            raise Unusual("much is copied")
        made = self.imports.call(function, args)
        if isinstance(made, Tensor):
            self.phrases.drop()
        return self.changed(made)

    def changed(self, value: object) -> object:
        """What an opcode changes, or may have changed."""
        if id(value) in self.phrases.settled:
            raise Unusual("something is changed that was recalled")
        return value

    def _object(self, start: int, number: int, end: int, stack: list[object]) -> int:
        """Takes BINGET, EMPTY_TUPLE and NEWOBJ, and what follows of an object that was written like this before."""
        known = self.phrases.find(start)
        if known is not None:
            stack.append(known.value)
            self.number += known.numbers
            return start + known.length
        made = self.call(self.memo[number], ())
        stack.append(made)
        self.phrases.begin(made, start, self.number)
        return end

    def name(self, module: object, name: object) -> object:
        """GLOBAL and STACK_GLOBAL."""
        found = self.imports.find(module, name) if isinstance(module, str) and isinstance(name, str) else None
        if found is None:
            raise Unusual("a refused name")
        return found


def _set(target: object, items: list[object]) -> None:
    if not isinstance(target, (Pairs, Opaque)) or len(items) % 2:
        raise Unusual("no dict")
    target.items.extend(zip(items[::2], items[1::2], strict=True))


def _append(target: object, items: list[object]) -> None:
    if not isinstance(target, list):
        raise Unusual("no list")
    target.extend(items)


# ------------------------------------------------------------------------------------------------- less usual opcodes


def _pushed(value: Callable[[], object]) -> "_Effect":
    """An opcode without an argument that pushes a value."""

    def run(_: _Reader, stack: list[object], at: int) -> int:
        stack.append(value())
        return at

    return run


def _protocol(reader: _Reader, _: list[object], at: int) -> int:
    if reader.data[at] > _NEWEST_PROTOCOL:
        raise Unusual("another protocol")
    return at + 1


def _frame(reader: _Reader, _: list[object], at: int) -> int:
    if argument(reader.data[at : at + 8], "little") > len(reader.data) - at - 8:
        raise Unusual("a frame that ends early")
    return at + 8


def _int4(reader: _Reader, stack: list[object], at: int) -> int:
    stack.append(argument(reader.data[at : at + 4], "little", signed=True))
    return at + 4


def _long1(reader: _Reader, stack: list[object], at: int) -> int:
    if reader.data[at] > _MOST_LONG:
        raise Unusual("a long number")
    end = at + 1 + reader.data[at]
    stack.append(argument(reader.data[at + 1 : end], "little", signed=True))
    return end


def _float(reader: _Reader, stack: list[object], at: int) -> int:
    stack.append(struct.unpack_from(">d", reader.data, at)[0])
    return at + 8


def _tuple3(_: _Reader, stack: list[object], at: int) -> int:
    third, second = stack.pop(), stack.pop()
    stack[-1] = (stack[-1], second, third)
    return at


def _set_item(reader: _Reader, stack: list[object], at: int) -> int:
    value, key = stack.pop(), stack.pop()
    _set(reader.changed(stack[-1]), [key, value])
    return at


def _append_one(reader: _Reader, stack: list[object], at: int) -> int:
    value = stack.pop()
    _append(reader.changed(stack[-1]), [value])
    return at


def _persistent(reader: _Reader, stack: list[object], at: int) -> int:
    stack[-1] = reader.imports.persistent(stack[-1])
    return at


def _global(reader: _Reader, stack: list[object], at: int) -> int:
    lines = []
    for _ in range(2):
        end = reader.data.index(b"\n", at, at + 1024)
        lines.append(reader.data[at:end].decode("ascii"))
        at = end + 1
    stack.append(reader.name(*lines))
    return at


def _stack_global(reader: _Reader, stack: list[object], at: int) -> int:
    name = stack.pop()
    stack[-1] = reader.name(stack[-1], name)
    return at


_Effect = Callable[[_Reader, "list[object]", int], int]
"""What an opcode does to the stack, and where the next one is."""
_RARE: dict[int, _Effect] = {
    ord("N"): _pushed(lambda: None),
    ord("]"): _pushed(list),
    0x88: _pushed(lambda: True),
    0x89: _pushed(lambda: False),
    ord("J"): _int4,
    0x8A: _long1,
    ord("G"): _float,
    ord("c"): _global,
    0x93: _stack_global,
    ord("Q"): _persistent,
    ord("s"): _set_item,
    ord("a"): _append_one,
    0x87: _tuple3,
    0x80: _protocol,
    0x95: _frame,
}
"""Opcode → its effect; those that `run` has not either are the exact machine's."""
