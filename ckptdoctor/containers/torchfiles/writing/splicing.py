"""Exchanges values within a pickle and leaves every other byte of it as it is.

A pickle builds each value by opcodes that stand together, so a value is a span of bytes. Where a span goes away, what
stays may still refer to something that was remembered in it (the memo): the first that does takes its definition over.

Source: pickletools.py of CPython, which documents every opcode.
"""

from __future__ import annotations

import pickletools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple, TypeAlias

from ckptdoctor.containers.pickles.reading import Key
from ckptdoctor.containers.torchfiles.writing.opcodes import key_of, recall, remember
from ckptdoctor.errors import UnreadableArtifact

Path: TypeAlias = tuple[Key, ...]
"""Keys of dictionaries and indices of lists that lead to a value; () is the whole pickle."""


class Gone:
    """Says that an entry of a dictionary is left out."""


GONE: Final = Gone()
Changes: TypeAlias = "Mapping[Path, bytes | Gone]"
"""Values as opcodes that leave one of them on the stack."""

_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TAKES = {"REDUCE": 2, "NEWOBJ": 2, "NEWOBJ_EX": 3, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3, "BINPERSID": 1,
          "STACK_GLOBAL": 2}  # fmt: skip
"""Opcodes that make one value of so many."""
_DEVICE = 3
"""Place of the device in a reference to a storage."""
_MADE_SINCE_MARK = frozenset({"LIST", "DICT", "TUPLE", "FROZENSET", "INST", "OBJ"})


class Entry(NamedTuple):
    """A key and a value that were set, and where the opcode ends that sets them alone (else 0)."""

    key: Value
    value: Value
    alone: int

    @property
    def end(self) -> int:
        """Where it ends."""
        return max(self.value.end, self.alone)


@dataclass(slots=True)
class Value:
    """Something that a pickle builds.

    Attributes:
        start, end: Its opcodes.
        constant: It, where it is a number or text.
        entries: Keys and values that were set in it, or in the attributes of the object that it is.
        items: What was appended to it.
        same: What it is another mention of.
    """

    start: int
    end: int
    constant: Key = None
    entries: list[Entry] = field(default_factory=list)
    items: list[Value] = field(default_factory=list)
    same: Value | None = None

    @property
    def real(self) -> Value:
        """It, where it is built."""
        return self if self.same is None else self.same


class _Special(NamedTuple):
    """An opcode that remembers or recalls a value (`number` in the memo), or a frame, which has no value."""

    start: int
    end: int
    number: int = -1
    value: Value | None = None
    recalls: bool = False


class Script:
    """One pickle taken apart.

    Attributes:
        data: Its bytes.
        root: What it builds.
        references: The tuples that name storages outside of it.
    """

    def __init__(self, data: bytes, path: str) -> None:
        """Takes a pickle apart.

        Args:
            data: Its bytes, and no more.
            path: The file, for complaints.

        Raises:
            UnreadableArtifact: It is none.
        """
        self.data = data
        self._path = path
        self.references: list[Value] = []
        self._specials: list[_Special] = []
        self._memo: dict[int, Value] = {}
        self._stack: list[Value] = []
        self._marks: list[tuple[int, int]] = []  # where a mark stands in the pickle, and on the stack
        self._popped: list[int] = []
        self._persistent: list[Value] = []
        try:
            self.root = self._run()
        except (ValueError, IndexError, KeyError) as error:
            raise UnreadableArtifact(f"holds a pickle that cannot be taken apart ({error})", path) from error
        self._starts = [each.start for each in self._specials]

    # ----------------------------------------------------------------------------------------------------- taking apart

    def _run(self) -> Value:
        before: tuple[pickletools.OpcodeInfo, object, int] | None = None
        for opcode, argument, at in pickletools.genops(self.data):
            if before is not None:
                self._step(before[0].name, before[1], before[2], at or 0)
            before = (opcode, argument, at or 0)
        if len(self._stack) != 1 or self._marks:
            raise ValueError("it does not end with one value")
        return self._stack[0]

    def _step(self, name: str, argument: object, start: int, end: int) -> None:
        stack = self._stack
        if name in _PUTS:
            number = len(self._memo) if name == "MEMOIZE" else int(str(argument))
            stack[-1].end = end
            self._memo[number] = stack[-1].real
            self._specials.append(_Special(start, end, number, stack[-1].real))
        elif name in _GETS:
            known = self._memo[int(str(argument))]
            self._specials.append(_Special(start, end, int(str(argument)), known, recalls=True))
            first = min(start, self._popped.pop()) if self._popped else start
            stack.append(Value(first, end, known.constant, same=known))
        elif name in {"PROTO", "FRAME"}:
            self._specials.append(_Special(start, end))
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
        body = _Rendering(self, edits).span(self.root.start, self.root.end)
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

    def between(self, start: int, end: int) -> list[_Special]:
        """Opcodes of the memo, and frames, in a span."""
        return self._specials[bisect_left(self._starts, start) : bisect_left(self._starts, end)]


def _entries(taken: list[Value], alone: int = 0) -> list[Entry]:
    return [Entry(key, each, alone) for key, each in zip(taken[::2], taken[1::2], strict=True)]


def _below(value: Value, key: Key) -> Value | None:
    if isinstance(key, int) and value.items and not value.entries:
        return value.items[key] if 0 <= key < len(value.items) else None
    same = [each for name, each, _ in value.entries if name.constant == key and type(name.constant) is type(key)]
    return same[-1] if same else None


class _Rendering:
    """A pickle in the making: what was remembered so far decides what may be recalled."""

    def __init__(self, script: Script, edits: list[tuple[int, int, bytes]]) -> None:
        self._script = script
        self._edits = edits
        self._known: set[int] = set()
        self._open: set[int] = set()

    def span(self, start: int, end: int) -> bytes:
        """A span with the edits that lie in it."""
        parts: list[bytes] = []
        at = start
        for first, last, content in self._edits:
            if start <= first and last <= end:
                parts += [*self._kept(at, first), content]
                at = last
        return b"".join([*parts, *self._kept(at, end)])

    def _kept(self, start: int, end: int) -> Iterator[bytes]:
        """A span as it is; frames are left out, and what was remembered in a span that is gone is built here."""
        data = self._script.data
        at = start
        for each in self._script.between(start, end):
            yield data[at : each.start]
            at = each.end
            if each.value is None:
                continue
            if not each.recalls:
                self._known.add(each.number)
                yield remember(each.number)
            elif each.number in self._known:
                yield recall(each.number)
            else:
                yield from self._defined(each.number, each.value)
        yield data[at:end]

    def _defined(self, number: int, value: Value) -> Iterator[bytes]:
        if number in self._open:
            raise UnreadableArtifact("holds an object that holds itself, of which a part is exchanged")
        self._open.add(number)
        yield from self._kept(value.start, value.end)
        self._open.discard(number)
