"""The pickle machine: an effect for each opcode of protocols 0 to 5, none of which imports or calls anything.

Opcodes: Lib/pickletools.py.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.pickles.imports import ARRAYS, Imports
from ckptdoctor.containers.pickles.values import (
    Bag,
    Coding,
    ForbiddenImport,
    NotThese,
    Opaque,
    Pairs,
    Stretch,
    float8,
)
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

MAX_OPCODES = 800_000
"""A list of 2,000 arrays takes 60,000; this many take a second or two."""
MAX_NUMBER = 1024
"""Bytes or digits of one whole number, and of a name; Python itself is quadratic in digits."""
MAX_TEXT = 1 << 26
"""All strings together that are held in memory; longer data stays in the file."""
SHORT_TEXT = 1 << 12
"""A string is held in memory up to here."""


class _Mark:
    """What MARK leaves on the stack."""


_MARK = _Mark()


class Machine:
    """The pickle machine: a stack, a memo, and an effect for each opcode."""

    def __init__(self, cursor: Cursor, imports: Imports = ARRAYS, most: int = MAX_OPCODES) -> None:
        """A machine for one pickle.

        Args:
            cursor: Where it begins.
            imports: What it may name.
            most: Steps that it may take.
        """
        self._cursor = cursor
        self._imports = imports
        self._most = most
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._start = cursor.position
        self._text = 0
        self._work = 0

    def run(self) -> object:
        """Interprets opcodes up to STOP.

        Returns:
            What was on top of the stack then.
        """
        cursor = self._cursor
        while True:
            at = cursor.position
            code = cursor.take(1, "the next opcode")
            if code == b".":
                return self._pop()
            effect = _EFFECTS.get(code)
            if effect is None:
                raise self._broken(f"{code!r} is no pickle opcode", at)
            self._spend(1)
            try:
                effect(self)
            except NotThese as error:
                raise self._broken(str(error), at) from error

    # ------------------------------------------------------------------------------------------- bounds and errors

    def _broken(self, message: str, at: int | None = None) -> UnreadableArtifact:
        return UnreadableArtifact(
            f"{message}: not a pickle, or corrupt", self._cursor.path, place=self._cursor.place(at)
        )

    def _spend(self, work: int) -> None:
        self._work += work
        if self._work > self._most:
            raise LimitExceeded(
                f"the pickle takes more than {self._most:,} steps to read",
                self._cursor.path,
                place=self._cursor.place(),
            )

    def _pop(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._broken("the stack is empty where a value is needed")
        return self._stack.pop()

    def _top(self) -> object:
        if not self._stack or self._stack[-1] is _MARK:
            raise self._broken("the stack is empty where a value is needed")
        return self._stack[-1]

    def _push(self, value: object) -> None:
        self._stack.append(value)

    def _items(self) -> list[object]:
        """Takes what lies above the last mark."""
        for index in range(len(self._stack) - 1, -1, -1):
            if self._stack[index] is _MARK:
                items = self._stack[index + 1 :]
                del self._stack[index:]
                return items
        raise self._broken("a mark is missing")

    # ---------------------------------------------------------------------------------------------------- numbers

    def _number(self, width: int, *, signed: bool = False) -> int:
        return int.from_bytes(self._cursor.take(width, "a number"), "little", signed=signed)

    def _decimal(self) -> int | bool:
        line = self._cursor.line(MAX_NUMBER, "a number").removesuffix(b"L")
        if line in {b"00", b"01"}:
            return line == b"01"
        try:
            return int(line)
        except ValueError as error:
            raise self._broken(f"{line[:20]!r} is no whole number") from error

    def _float(self) -> float:
        line = self._cursor.line(MAX_NUMBER, "a number")
        try:
            return float(line)
        except ValueError as error:
            raise self._broken(f"{line[:20]!r} is no number") from error

    def _long(self, width: int) -> int:
        count = self._number(width)
        if count > MAX_NUMBER:
            raise LimitExceeded(f"a number of {count:,} bytes", self._cursor.path, place=self._cursor.place())
        return self._number(count, signed=True) if count else 0

    # ---------------------------------------------------------------------------------------------------- strings

    def _bytes(self, width: int) -> None:
        count = self._number(width)
        self._push(Stretch(self._cursor.skip(count, "a byte string"), count))

    def _unicode(self, width: int) -> None:
        count = self._number(width)
        self._string(self._cursor.skip(count, "a string"), count, "utf-8")

    def _old_string(self, width: int) -> None:
        # A `str` of Python 2: text or array data. Short ones are latin-1 text, which `_codecs.encode` would undo.
        count = self._number(width)
        self._string(self._cursor.skip(count, "a string"), count, "raw")

    def _unicode_line(self) -> None:
        start = self._cursor.position
        end = self._cursor.newline(self._cursor.left, "a string")
        self._cursor.position = end + 1
        self._string(start, end - start, "raw-unicode-escape")

    def _quoted_line(self) -> None:
        line = self._cursor.line(MAX_TEXT, "a string").strip()
        self._hold(len(line))
        if len(line) < 2 or line[:1] not in {b"'", b'"'} or line[-1:] != line[:1]:
            raise self._broken("a string is not quoted")
        try:
            data, _ = codecs.escape_decode(line[1:-1])
        except ValueError as error:
            raise self._broken(f"a string is badly escaped ({error})") from error
        self._push(data.decode("latin-1"))

    def _string(self, offset: int, count: int, coding: Coding) -> None:
        if count > SHORT_TEXT:
            self._push(Stretch(offset, count, coding, text=True))
            return
        self._hold(count)
        data = self._cursor.peek(offset, count)
        try:
            text = data.decode("latin-1") if coding == "raw" else data.decode(coding, "surrogatepass")
        except UnicodeDecodeError as error:
            raise self._broken(f"a string is not {coding} ({error.reason})", offset) from error
        self._push(text)

    def _hold(self, count: int) -> None:
        self._text += count
        if self._text > MAX_TEXT:
            raise LimitExceeded(
                f"the pickle holds more than {MAX_TEXT:,} bytes of short strings",
                self._cursor.path,
                place=self._cursor.place(),
            )

    # ------------------------------------------------------------------------------------------------- containers

    def _append(self, items: list[object]) -> None:
        target = self._top()
        if isinstance(target, Opaque):
            target.members.extend(items)
        elif isinstance(target, list):
            target.extend(items)
        else:
            raise self._broken("items are appended to what is no list")

    def _set_items(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, (Pairs, Opaque)) or len(items) % 2:
            raise self._broken("keys are set in what is no dict")
        target.items.extend(zip(items[::2], items[1::2], strict=True))

    def _add_items(self, items: list[object]) -> None:
        target = self._top()
        if not isinstance(target, Bag):
            raise self._broken("items are added to what is no set")
        target.items.extend(items)

    def _dict(self) -> None:
        items = self._items()
        self._push(Pairs())
        self._set_items(items)

    def _tuple(self, count: int) -> None:
        self._push(tuple(reversed([self._pop() for _ in range(count)])))

    def _pair(self) -> list[object]:
        value = self._pop()
        return [self._pop(), value]

    def _pop_any(self) -> None:
        if not self._stack:
            raise self._broken("the stack is empty where a value is needed")
        self._stack.pop()

    # ------------------------------------------------------------------------------------------------------- memo

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise self._broken(f"memo {index} is used before it is set")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        if index < 0:
            raise self._broken(f"memo {index}")
        self._memo[index] = self._top()

    # ---------------------------------------------------------------------------------------------------- objects

    def _global(self, module: object, name: object, at: int) -> object:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self._broken("an import is named by something other than text", at)
        found = self._imports.find(module, name)
        if found is None:
            raise ForbiddenImport(f"{module}.{name}"[:200], self._cursor.path, place=self._cursor.place(at))
        return found

    def _named_global(self) -> object:
        at = self._cursor.position - 1
        module = self._cursor.line(MAX_NUMBER, "the name of an import").decode("utf-8", "replace")
        name = self._cursor.line(MAX_NUMBER, "the name of an import").decode("utf-8", "replace")
        return self._global(module, name, at)

    def _stack_global(self) -> None:
        at = self._cursor.position - 1
        name = self._pop()
        self._push(self._global(self._pop(), name, at))

    def _call(self, function: object, args: object) -> None:
        # Constructors copy: what they copy counts as work, or a small file could ask for much.
        if isinstance(args, tuple):
            self._spend(sum(len(each) for each in args if isinstance(each, (list, tuple, str, bytes))))
        self._push(self._imports.call(function, args))

    def _reduce(self) -> None:
        args = self._pop()
        self._call(self._pop(), args)

    def _new_object_extended(self) -> None:
        named = self._pop()
        if not isinstance(named, Pairs) or named.items:
            raise self._broken("an object is made with named arguments")
        self._reduce()

    def _object(self) -> None:
        items = self._items()
        if not items:
            raise self._broken("an object has no class")
        self._call(items[0], tuple(items[1:]))

    def _instance(self) -> None:
        function = self._named_global()
        self._call(function, tuple(self._items()))

    def _build(self) -> None:
        state = self._pop()
        self._imports.build(self._top(), state)

    def _persistent(self, reference: object) -> None:
        self._push(self._imports.persistent(reference))

    def _named_persistent(self) -> None:
        self._persistent(self._cursor.line(MAX_NUMBER, "a persistent reference").decode("latin-1"))

    def _protocol(self) -> None:
        number = self._number(1)
        if number > 5:
            raise self._broken(f"pickle protocol {number} does not exist")

    def _frame(self) -> None:
        count = self._number(8)
        if count > self._cursor.left:
            raise self._broken(f"a frame of {count:,} bytes, where {self._cursor.left:,} follow")

    def _refuse(self, what: str) -> None:
        raise UnreadableArtifact(
            f"the pickle uses {what}, which stand outside of it", self._cursor.path, place=self._cursor.place()
        )


_EFFECTS: dict[bytes, Callable[[Machine], object]] = {
    b"(": lambda self: self._push(_MARK),
    b"0": lambda self: self._pop_any(),
    b"1": lambda self: self._items(),
    b"2": lambda self: self._push(self._top()),
    b"F": lambda self: self._push(self._float()),
    b"I": lambda self: self._push(self._decimal()),
    b"J": lambda self: self._push(self._number(4, signed=True)),
    b"K": lambda self: self._push(self._number(1)),
    b"L": lambda self: self._push(self._decimal()),
    b"M": lambda self: self._push(self._number(2)),
    b"N": lambda self: self._push(None),
    b"P": lambda self: self._named_persistent(),
    b"Q": lambda self: self._persistent(self._pop()),
    b"R": lambda self: self._reduce(),
    b"S": lambda self: self._quoted_line(),
    b"T": lambda self: self._old_string(4),
    b"U": lambda self: self._old_string(1),
    b"V": lambda self: self._unicode_line(),
    b"X": lambda self: self._unicode(4),
    b"a": lambda self: self._append([self._pop()]),
    b"b": lambda self: self._build(),
    b"c": lambda self: self._push(self._named_global()),
    b"d": lambda self: self._dict(),
    b"}": lambda self: self._push(Pairs()),
    b"e": lambda self: self._append(self._items()),
    b"g": lambda self: self._get(self._decimal()),
    b"h": lambda self: self._get(self._number(1)),
    b"i": lambda self: self._instance(),
    b"j": lambda self: self._get(self._number(4)),
    b"l": lambda self: self._push(self._items()),
    b"]": lambda self: self._push([]),
    b"o": lambda self: self._object(),
    b"p": lambda self: self._put(self._decimal()),
    b"q": lambda self: self._put(self._number(1)),
    b"r": lambda self: self._put(self._number(4)),
    b"s": lambda self: self._set_items(self._pair()),
    b"t": lambda self: self._push(tuple(self._items())),
    b")": lambda self: self._push(()),
    b"u": lambda self: self._set_items(self._items()),
    b"G": lambda self: self._push(float8(self._cursor.take(8, "a number"))),
    b"\x80": lambda self: self._protocol(),
    b"\x81": lambda self: self._reduce(),
    b"\x82": lambda self: self._refuse("registered extensions"),
    b"\x83": lambda self: self._refuse("registered extensions"),
    b"\x84": lambda self: self._refuse("registered extensions"),
    b"\x85": lambda self: self._tuple(1),
    b"\x86": lambda self: self._tuple(2),
    b"\x87": lambda self: self._tuple(3),
    b"\x88": lambda self: self._push(True),
    b"\x89": lambda self: self._push(False),
    b"\x8a": lambda self: self._push(self._long(1)),
    b"\x8b": lambda self: self._push(self._long(4)),
    b"B": lambda self: self._bytes(4),
    b"C": lambda self: self._bytes(1),
    b"\x8c": lambda self: self._unicode(1),
    b"\x8d": lambda self: self._unicode(8),
    b"\x8e": lambda self: self._bytes(8),
    b"\x8f": lambda self: self._push(Bag()),
    b"\x90": lambda self: self._add_items(self._items()),
    b"\x91": lambda self: self._push(Bag(self._items())),
    b"\x92": lambda self: self._new_object_extended(),
    b"\x93": lambda self: self._stack_global(),
    b"\x94": lambda self: self._put(len(self._memo)),
    b"\x95": lambda self: self._frame(),
    b"\x96": lambda self: self._bytes(8),
    b"\x97": lambda self: self._refuse("buffers"),
    b"\x98": lambda self: self._refuse("buffers"),
}
"""Opcode → its effect. STOP is `run`'s."""
