"""Exchanges values within a pickle and leaves every other byte of it as it is.

A pickle builds each value by opcodes that stand together, so a value is a span of bytes.

Source: pickletools.py of CPython, which documents every opcode.
"""

from __future__ import annotations

import pickletools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from io import BytesIO
from itertools import pairwise
from typing import Final, TypeAlias

from ckptdoctor.containers.pickles.reading import Key
from ckptdoctor.containers.torchfiles.whole_tensors import TENSOR, argument, recalled_in
from ckptdoctor.containers.torchfiles.writing.built import Entry, Special, Value, WholeTensor
from ckptdoctor.containers.torchfiles.writing.opcodes import key_of
from ckptdoctor.containers.torchfiles.writing.rendering import Rendering
from ckptdoctor.errors import UnreadableArtifact

Path: TypeAlias = tuple[Key, ...]
"""Keys of dictionaries and indices of lists that lead to a value; () is the whole pickle."""


class Gone:
    """Says that an entry of a dictionary is left out."""


GONE: Final = Gone()
Changes: TypeAlias = Mapping[Path, bytes | Gone]
"""Values as opcodes that leave one of them on the stack."""

_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TAKES = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1,
          "STACK_GLOBAL": 2}  # fmt: skip
"""Opcodes that make one value of so many."""
_KEY, _DEVICE = 2, 3
"""Places in a reference to a storage."""
_GET_CODES = frozenset(b"hj")
"""BINGET and LONG_BINGET."""
_MADE_SINCE_MARK = frozenset({"LIST", "DICT", "TUPLE", "FROZENSET", "INST", "OBJ"})


class Script:
    """One pickle taken apart.

    A tensor is some twenty opcodes, always the same ones, and is taken as one. It is taken apart where something in it
    is not as usual: then the whole pickle is, opcode by opcode.

    Attributes:
        data: Its bytes.
        root: What it builds.
        references: The tuples that name storages outside of it, but for those within whole tensors.
        storages: Keys of the storages that it names; of those that are left, once values were exchanged.
        whole_tensors: Tensors were taken whole.
    """

    def __init__(self, data: bytes, path: str, *, whole_tensors: bool = True) -> None:
        """Takes a pickle apart.

        Args:
            data: Its bytes, and no more.
            path: The file, for complaints.
            whole_tensors: Tensors need not be taken apart.

        Raises:
            UnreadableArtifact: It is none.
        """
        self.data = data
        self._path = path
        self.references: list[Value] = []
        self._named: list[tuple[int, str]] = []  # where a storage is named, and its key
        self._specials: list[Special | WholeTensor] = []
        self._memo: dict[int, Value] = {}
        self._greatest = -1  # number in the memo; while tensors are taken whole, none is given twice
        self._stack: list[Value] = []
        self._marks: list[tuple[int, int]] = []  # where a mark stands in the pickle, and on the stack
        self._popped: list[int] = []
        self._persistent: list[Value] = []
        self.whole_tensors = whole_tensors
        try:
            self.root = self._run()
        except (ValueError, IndexError, KeyError) as error:
            if not whole_tensors:
                raise UnreadableArtifact(f"holds a pickle that cannot be taken apart ({error})", path) from error
            Script.__init__(self, data, path, whole_tensors=False)
            return
        self._starts = [each.start for each in self._specials]
        self._named.sort()
        self.storages = set(self.named(0, len(data)))

    # ----------------------------------------------------------------------------------------------------- taking apart

    def _run(self) -> Value:
        stream, match = BytesIO(self.data), re.compile(TENSOR).match
        for opcode, value, start in pickletools.genops(stream):
            if opcode.name == "STOP":
                break
            end = stream.tell()
            self._step(opcode.name, value, start or 0, end)
            while self.whole_tensors and self.data[end] in _GET_CODES and (found := match(self.data, end)):
                if not self._tensor(found):
                    break
                end = stream.seek(found.end())
        if len(self._stack) != 1 or self._marks:
            raise ValueError("it does not end with one value")
        return self._stack[0]

    def _tensor(self, found: re.Match[bytes]) -> bool:
        """Takes a whole tensor; not if the text of its key is not as long as it says."""
        names, length, key, as_key, place, _, as_reference, _, as_size, _, as_stride, empty, *rest = found.groups()
        if length[0] != len(key):
            return False
        recalled = tuple(recalled_in(names + place + empty))
        puts = (as_key, as_reference, as_size, as_stride, *rest)
        remembered = tuple(argument(each[1:], "little") for each in puts if each)
        if not all(number in self._memo for number in recalled):
            raise ValueError("something within a tensor is recalled")
        for number in remembered:
            self._remember(number)
        start, end = found.span()
        value = Value(min(start, self._popped.pop()) if self._popped else start, end)
        if rest[-1]:
            self._memo[remembered[-1]] = value
        if as_key:
            self._memo[remembered[0]] = Value(found.start(2) - 1, found.end(4), key.decode())
        self._specials.append(WholeTensor(start, end, recalled, remembered))
        self._named.append((start, key.decode()))
        self._stack.append(value)
        return True

    def _remember(self, number: int) -> None:
        if self.whole_tensors and number <= self._greatest:
            raise ValueError("a number is given twice")
        self._greatest = max(self._greatest, number)

    def _step(self, name: str, argument: object, start: int, end: int) -> None:
        stack = self._stack
        if name in _PUTS:
            number = len(self._memo) if name == "MEMOIZE" else int(str(argument))
            self._remember(number)
            stack[-1].end = end
            self._memo[number] = stack[-1].real
            self._specials.append(Special(start, end, number, stack[-1].real))
        elif name in _GETS:
            known = self._memo[int(str(argument))]
            self._specials.append(Special(start, end, int(str(argument)), known, recalls=True))
            first = min(start, self._popped.pop()) if self._popped else start
            stack.append(Value(first, end, known.constant, same=known))
        elif name in {"PROTO", "FRAME"}:
            self._specials.append(Special(start, end))
        elif name == "MARK":
            self._marks.append((start, len(stack)))
        elif name in {"SETITEM", "SETITEMS"}:
            taken = self._pop(2) if name == "SETITEM" else self._since_mark()[1]
            alone = end if name == "SETITEM" else 0
            stack[-1].real.entries += [
                Entry(key, each, alone) for key, each in zip(taken[::2], taken[1::2], strict=True)
            ]
            stack[-1].end = end
        elif name in {"APPEND", "APPENDS", "ADDITEMS"}:
            taken = self._pop(1) if name == "APPEND" else self._since_mark()[1]
            stack[-1].real.items += taken
            stack[-1].end = end
        elif name == "BUILD":
            state = stack.pop()
            stack[-1].real.entries += state.real.entries
            stack[-1].end = end
        elif name in {"POP", "POP_MARK"}:  # a tuple that holds itself is recalled, and its parts are dropped
            dropped = self._pop(1)[0].start if name == "POP" and not self._mark_on_top else self._since_mark()[0]
            self._popped = [min([dropped, *self._popped])]
        elif name in _MADE_SINCE_MARK:
            first, taken = self._since_mark()
            made = Value(first, end)
            if name == "DICT":
                made.entries = _entries(taken)
            elif name in {"LIST", "TUPLE"}:
                made.items = taken
            stack.append(made)
        else:
            self._made(name, argument, start, end)

    def _made(self, name: str, argument: object, start: int, end: int) -> None:
        """A value of its own, or one of a few others."""
        if name in {"DUP", "PERSID", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}:
            raise ValueError(f"it has {name}, which torch.save does not write")
        taken = self._pop(_TAKES.get(name, 0))
        if name == "BINPERSID":
            self.references += taken
        plain = argument if isinstance(argument, (str, int, float, bool)) and not taken and name != "GLOBAL" else None
        if name in {"NEWTRUE", "NEWFALSE"}:
            plain = name == "NEWTRUE"
        if name == "BINPERSID":
            self._persistent.append(taken[0].real)
            self._named.append((taken[0].start, str(taken[0].real.items[_KEY].constant)))
        first = taken[0].start if taken else start
        self._stack.append(Value(first, end, plain, items=taken if name.startswith("TUPLE") else []))

    @property
    def _mark_on_top(self) -> bool:
        return bool(self._marks) and self._marks[-1][1] == len(self._stack)

    def _pop(self, count: int) -> list[Value]:
        if len(self._stack) < count:
            raise ValueError("it takes more than there is")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _since_mark(self) -> tuple[int, list[Value]]:
        start, height = self._marks.pop()
        return start, self._pop(len(self._stack) - height)

    @property
    def free(self) -> int:
        """The first number in the memo behind all that are taken."""
        return self._greatest + 1

    # ---------------------------------------------------------------------------------------------------------- finding

    def find(self, path: Path) -> Value | None:
        """The value that keys and indices lead to; None if there is none."""
        found: Value | None = self.root
        for key in path:
            found = _below(found.real, key) if found is not None else None
        return found

    def keys(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Value]]:
        """The keys of entries, as they stand in the pickle.

        Raises:
            UnreadableArtifact: There is no such entry.
        """
        for path in paths:
            around = self.find(path[:-1])
            same = [each.key for each in (around.real.entries if around else ()) if each.key.constant == path[-1]]
            if not same:
                raise UnreadableArtifact(f"has no {path[-1]!r}", self._path)
            yield from ((path, key) for key in same)

    def devices(self) -> Iterator[Value]:
        """What each reference to a storage says of its device: `('storage', class, key, device, elements)`."""
        if self.whole_tensors:  # they are within tensors
            Script.__init__(self, self.data, self._path, whole_tensors=False)
        for each in self._persistent:
            if len(each.items) > _DEVICE and isinstance(each.items[_DEVICE].constant, str):
                yield each.items[_DEVICE]

    # ---------------------------------------------------------------------------------------------------------- writing

    def exchanged(
        self,
        changes: Changes,
        around: tuple[bytes, bytes] = (b"", b""),
        *,
        dropped: Iterable[Entry] = (),
        added: Mapping[Path, bytes] = {},
        spans: Iterable[tuple[int, int, bytes]] = (),
    ) -> bytes:
        """The pickle with other values.

        Args:
            changes: What takes a value's place; where nothing is yet, the dictionary around it gets a new entry.
            around: Opcodes before and behind the whole value.
            dropped: Entries that are left out.
            added: Opcodes that set new entries of the dictionary at a path.
            spans: First opcode and end of values, and what takes their places.

        Raises:
            UnreadableArtifact: There is no dictionary that could hold one of them.
        """
        edits = [edit for path, content in changes.items() for edit in self._edits(path, content)]
        edits += [(each.key.start, each.end, b"") for each in dropped]
        edits += spans
        for path, content in added.items():
            found = self.find(path)
            if found is None:
                raise UnreadableArtifact(f"has no {path[-1]!r}", self._path)
            edits.append((found.real.end, found.real.end, content))
        edits.sort(key=lambda each: each[:2])  # new entries of one dictionary stay in their order
        for (_, end, _), (start, _, _) in pairwise(edits):
            if start < end:
                raise UnreadableArtifact("holds one value within another of those that are exchanged", self._path)
        rendering = Rendering(self, edits)
        body = rendering.span(self.root.start, self.root.end)
        self.storages = rendering.storages
        protocol = self.data[:2] if self.data[:1] == b"\x80" else b"\x80\x02"
        return b"".join((protocol, around[0], body, around[1], b"."))

    def _edits(self, path: Path, content: bytes | Gone) -> Iterator[tuple[int, int, bytes]]:
        around = self.find(path[:-1]) if path else None
        if isinstance(content, Gone):
            for entry in around.real.entries if around is not None else ():
                if entry.key.constant == path[-1]:
                    yield entry.key.start, entry.end, b""
            return
        found = self.find(path)
        if found is not None:
            yield found.start, found.end, content
        elif around is None:
            raise UnreadableArtifact(f"holds nothing that {path[-1]!r} could be set in", self._path)
        else:
            yield around.real.end, around.real.end, key_of(path[-1]) + content + b"s"

    def between(self, start: int, end: int) -> list[Special | WholeTensor]:
        """Opcodes of the memo, frames, and whole tensors in a span."""
        return self._specials[bisect_left(self._starts, start) : bisect_left(self._starts, end)]

    def named(self, start: int, end: int) -> Iterator[str]:
        """Keys of the storages that are named in a span."""
        first, last = (bisect_left(self._named, (at,)) for at in (start, end))
        yield from (key for _, key in self._named[first:last])

    def within(self, tensor: WholeTensor) -> Iterator[Special]:
        """Opcodes of the memo in a whole tensor."""
        stream = BytesIO(self.data)
        stream.seek(tensor.start)
        for opcode, value, start in pickletools.genops(stream):
            if start is None or start >= tensor.end:
                return
            if opcode.name in _PUTS | _GETS:
                number = int(str(value))
                known = self._memo.get(number) or Value(start, start)
                yield Special(start, stream.tell(), number, known, recalls=opcode.name in _GETS)


def _entries(taken: list[Value], alone: int = 0) -> list[Entry]:
    return [Entry(key, each, alone) for key, each in zip(taken[::2], taken[1::2], strict=True)]


def _below(value: Value, key: Key) -> Value | None:
    if isinstance(key, int) and value.items and not value.entries:
        return value.items[key] if 0 <= key < len(value.items) else None
    same = [each for name, each, _ in value.entries if name.constant == key and type(name.constant) is type(key)]
    return same[-1] if same else None
