"""Pickles, read without running them: plain data and the places of numpy arrays, nothing else.

`pickle.load` imports and calls what the file names. Here an interpreter of our own (`pickle_machine`) knows a table of
imports that arrays need (`imports.ALLOWED`), carries out their effect on our own types, and stops at any other.
Array data is not read but located, so that memory does not grow with the arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeGuard

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.imports import ARRAYS, Imports
from ckptdoctor.containers.pickles.machine import MAX_TEXT, Machine
from ckptdoctor.containers.pickles.values import Array, Bag, ForbiddenImport, Held, Opaque, Pairs, Stretch
from ckptdoctor.containers.tensors.array_bytes import c_order
from ckptdoctor.containers.tensors.dtypes import unpack_scalar
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import Coded, Inline, Location, TensorRef

__all__ = ["ForbiddenImport", "Key", "Node", "load", "load_at"]

Key: TypeAlias = "str | int | float | bool | bytes | tuple[Key, ...] | None"
Node: TypeAlias = (
    "bool | int | float | complex | str | bytes | TensorRef | list[Node] | tuple[Node, ...] | dict[Key, Node]"
    " | frozenset[Key] | Thing | None"
)
"""What a pickle holds. A TensorRef is a tuple too: ask for it first. Things are in files of torch.save only."""

Place: TypeAlias = "tuple[Place | None, object]"
"""A place in the structure: the one around it, and its index or key there. Written out only for tensors and errors."""


@dataclass(frozen=True, slots=True)
class Thing:
    """An object of a class that is not known here, as data.

    Attributes:
        name: Its class, `module.name`.
        args: What it was made of.
        fields: Its attributes, and the keys that were set in it.
        members: What was appended to it, or is its whole state.
    """

    name: str
    args: tuple[Node, ...] = ()
    fields: dict[Key, Node] = field(default_factory=dict)
    members: tuple[Node, ...] = ()


_NUMBERS = frozenset({int, float, bool, type(None)})
MAX_PICKLES = 1000
"""Consecutive pickles in one file."""
MAX_NODES = 500_000
"""Elements of the structure, each counted as often as it can be reached: a memo makes many out of few."""
MOST_NODES = 4_000_000
"""The same of a pickle with a byte for each: what is written out is no bomb, such as the losses of a long run."""
MAX_DEPTH = 60
MAX_KEY_DEPTH = 4
MAX_TUPLE_KEYS = 1000
"""Tuples as keys: unlike text, a file can choose ones that collide in Python's hash tables."""


def load(path: str, imports: Imports = ARRAYS) -> list[Node]:
    """Reads every pickle of a file, one after the other as repeated `pickle.dump` calls leave them.

    Args:
        path: The file.
        imports: What it may name.

    Returns:
        What each holds: plain lists, tuples, dicts, sets, numbers and strings, with a TensorRef for each numpy array
        and scalar. A TensorRef's key is its path in the structure (`['m'][0]`). Scalars carry their value inline.

    Raises:
        ForbiddenImport: It names an import that plain arrays do not need.
        UnreadableArtifact: It is no pickle, truncated, or claims what is not there.
    """
    with RegularFile(path) as file:
        cursor = Cursor(file, path)
        roots: list[Node] = []
        tree = Tree(cursor)
        while len(roots) < MAX_PICKLES and (not roots or _another(cursor)):
            root = (None, f"#{len(roots)}" if roots else "")
            roots.append(tree.node(Machine(cursor, imports).run(), root))
        return roots


def load_at(cursor: Cursor, key: str = "") -> Node:
    """Reads the one pickle that begins at a cursor: an object array in an npy file."""
    return Tree(cursor).node(Machine(cursor).run(), (None, key))


def _another(cursor: Cursor) -> bool:
    """Whether a further pickle follows; protocols before 2 have no mark to see it by, and other bytes are ignored."""
    return cursor.left > 2 and cursor.peek(cursor.position, 1) == b"\x80"


def _written(place: Place) -> str:
    """The place as Python would write it: `['m'][0]`."""
    parts: list[str] = []
    around, index = place
    while around is not None:
        parts.append(f"[{index!r}]")
        around, index = around
    return "".join([str(index), *reversed(parts)])


class Tree:
    """Turns what the machine built into the structure that it stands for, bounded."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._nodes = 0
        self._most_nodes = min(max(MAX_NODES, cursor.size), MOST_NODES)
        self._held = 0
        self._tuple_keys = 0
        self._key_parts = 0
        self._open: set[int] = set()

    def node(self, value: object, key: Place, depth: int = 0) -> Node:
        """The structure below `value`, whose tensors' keys begin with that of `key`."""
        self._count(key, depth)
        if value is None or isinstance(value, (bool, int, float, complex)):
            return value
        if isinstance(value, (str, bytes)):
            self._hold(len(value), key)
            return value
        if isinstance(value, Stretch):
            return self._stretch(value, key)
        if isinstance(value, Array):
            return self._array(value, key, depth)
        if isinstance(value, Held):
            return self.node(value.value, key, depth + 1)
        if isinstance(value, list):
            return list(value) if self._are_plain(value) else [*self._members(value, key, depth)]
        if isinstance(value, tuple):
            return tuple(self._members(value, key, depth))
        if isinstance(value, Pairs):
            return self._dict(value.items, key, depth)
        if isinstance(value, Bag):
            self._nodes += len(value.items)
            return frozenset(self._key(each) for each in value.items)
        return self.other(value, key, depth)

    def other(self, value: object, key: Place, depth: int) -> Node:
        """What is neither plain data nor an array."""
        if isinstance(value, Opaque):
            return self._thing(value, key, depth)
        raise self._odd(f"{self.written(key) or 'it'} is an import, not data")

    def _thing(self, value: Opaque, key: Place, depth: int) -> Node:
        if id(value) in self._open:  # a scheduler of torch 1.4 holds its own method
            return Thing(value.name)
        self._open.add(id(value))
        fields: dict[Key, Node] = {}
        members: list[Node] = []
        state = value.state
        states = state if isinstance(state, tuple) and len(state) == 2 else (state,)
        for each in states:
            if isinstance(each, Pairs):
                fields |= self._dict(each.items, key, depth)
            elif each is not None:
                members.append(self.node(each, (key, "state"), depth + 1))
        fields |= self._dict(value.items, key, depth)
        members += self._members(value.members, key, depth)
        args = tuple(self.node(each, (key, f"args/{index}"), depth + 1) for index, each in enumerate(value.args))
        self._open.discard(id(value))
        return Thing(value.name, args, fields, tuple(members))

    def _dict(self, items: list[tuple[object, object]], key: Place, depth: int) -> dict[Key, Node]:
        found: dict[Key, Node] = {}
        self._nodes += len(items)  # the keys, most of which are text
        for name, each in items:
            plain = name if isinstance(name, str) else self._key(name)
            found[plain] = self.node(each, (key, plain), depth + 1)
        return found

    def _members(self, values: Sequence[object], key: Place, depth: int) -> Iterator[Node]:
        return (self.node(each, (key, index), depth + 1) for index, each in enumerate(values))

    def _are_plain(self, values: list[object]) -> TypeGuard[list[Node]]:
        """Whether they are numbers and no more, which are told at once: there may be 100,000."""
        if not _NUMBERS.issuperset(map(type, values)):
            return False
        self._nodes += len(values)
        return True

    def written(self, key: Place) -> str:
        """A place as errors and tensors' keys name it."""
        return _written(key)

    # ----------------------------------------------------------------------------------------------------- bounds

    def _count(self, key: Place, depth: int) -> None:
        self._nodes += 1
        if self._nodes > self._most_nodes:
            said = f"what the pickle holds unfolds to more than {self._most_nodes:,} elements"
            raise LimitExceeded(said, self._cursor.path)
        if depth > MAX_DEPTH:
            raise LimitExceeded(
                f"{self.written(key)[:40]}… is nested more than {MAX_DEPTH} deep, or holds itself", self._cursor.path
            )

    def _hold(self, count: int, key: Place) -> None:
        self._held += count
        if self._held > MAX_TEXT:
            raise LimitExceeded(
                f"with {self.written(key) or 'it'} the strings unfold to over {MAX_TEXT:,} bytes", self._cursor.path
            )

    def _name(self, key: Place) -> str:
        written = self.written(key)
        self._hold(len(written), key)
        return written

    def _odd(self, message: str) -> UnreadableArtifact:
        return UnreadableArtifact(message, self._cursor.path)

    # ----------------------------------------------------------------------------------------------------- leaves

    def _key(self, value: object, depth: int = 0) -> Key:
        """A dict's key or a set's element, of types whose hash a file cannot make collide at will."""
        if value is None or isinstance(value, (bool, float, str)):
            return value
        if isinstance(value, int) and abs(value) < 1 << 64:
            return value
        if isinstance(value, Stretch) and value.nbytes < MAX_TEXT:
            return self._read(value, (None, "a key"))
        if isinstance(value, bytes):
            return value
        if isinstance(value, Array) and value.scalar:
            ref = self._array(value, (None, ""), 0)
            if isinstance(ref, TensorRef) and isinstance(ref.location, Inline):
                return unpack_scalar(ref.dtype, ref.location.data)
        if isinstance(value, tuple) and depth < MAX_KEY_DEPTH and self._tuple_keys < MAX_TUPLE_KEYS:
            self._tuple_keys += 1
            self._key_parts += len(value)
            if self._key_parts > MAX_NODES:  # long records are data, and no key is one
                said = f"what its keys are made of unfolds to more than {MAX_NODES:,} elements"
                raise LimitExceeded(said, self._cursor.path)
            return tuple(self._key(each, depth + 1) for each in value)
        raise self._odd("a dict has a key that is neither text nor a number")

    def _stretch(self, value: Stretch, key: Place) -> Node:
        if value.nbytes > MAX_TEXT >> 2:
            # Too long to be a name or a note: a file within the file.
            return TensorRef(self._name(key), "string", (), self._cursor.locate(value.offset, value.nbytes))
        return self._read(value, key)

    def _read(self, value: Stretch, key: Place) -> str | bytes:
        self._hold(value.nbytes, key)
        data = self._cursor.peek(value.offset, value.nbytes)
        if not value.text:
            return data if value.coding == "raw" else self._text(data, value.coding).encode("latin-1", "replace")
        return self._text(data, "latin-1" if value.coding == "raw" else value.coding)

    def _text(self, data: bytes, coding: str) -> str:
        try:
            return data.decode(coding, "surrogatepass" if coding == "utf-8" else "strict")
        except UnicodeDecodeError as error:
            raise self._odd(f"a string is not {coding} ({error.reason})") from error

    def _array(self, value: Array, key: Place, depth: int) -> Node:
        if value.dtype is None:
            raise self._odd(f"{self.written(key) or 'an array'} is never given its contents")
        if value.dtype.name == "object":
            return self._objects(value, key, depth)
        if value.dtype.itemsize == 0 and value.dtype.name.startswith("unknown"):
            raise self._odd(
                f"{self.written(key) or 'an array'} has elements of the type {value.dtype.name}, which is not read"
            )
        nbytes = value.dtype.itemsize
        for extent in value.shape:
            nbytes *= extent
        return TensorRef(self._name(key), value.dtype.name, value.shape, self._location(value, nbytes, key))

    def _objects(self, value: Array, key: Place, depth: int) -> Node:
        """An array of objects is a list; of rank 0 (`np.save` of a dict), the object itself."""
        if not isinstance(value.data, list):
            raise self._odd(f"{self.written(key) or 'an array'} of objects holds none")
        size = 1
        for extent in value.shape:
            size *= extent
        if size != len(value.data):
            raise self._odd(
                f"{self.written(key) or 'an array'} of objects claims {size:,} and holds {len(value.data):,}"
            )
        return self.node(value.data if value.shape else value.data[0], key, depth + 1)

    def _location(self, value: Array, nbytes: int, key: Place) -> Location:
        data, dtype = value.data, value.dtype
        big = dtype is not None and dtype.big_endian
        if isinstance(data, Stretch):
            return self._in_place(data, value, nbytes, key)
        if isinstance(data, str):
            data = data.encode("latin-1", "replace")
        if not isinstance(data, bytes) or len(data) != nbytes:
            raise self._wrong_size(value, nbytes, len(data) if isinstance(data, bytes) else 0, key)
        return Inline(c_order(data, value.shape, dtype.name if dtype else "", big=big, fortran=value.fortran))

    def _in_place(self, data: Stretch, value: Array, nbytes: int, key: Place) -> Location:
        """Bytes that stand as they are where they are as long as the array; coded text is longer than what it codes."""
        cursor, dtype = self._cursor, value.dtype
        big, name = (dtype.big_endian, dtype.name) if dtype else (False, "")
        if data.nbytes == nbytes and not value.scalar and cursor.in_file:
            return cursor.locate(data.offset, nbytes, big_endian=big, fortran=value.fortran)
        if data.nbytes == nbytes:
            self._hold(nbytes, key)
            raw = cursor.peek(data.offset, nbytes)
            return Inline(c_order(raw, value.shape, name, big=big, fortran=value.fortran))
        longest = 2 if data.coding == "utf-8" else 6
        if data.coding == "raw" or not nbytes < data.nbytes <= longest * nbytes:
            raise self._wrong_size(value, nbytes, data.nbytes, key)
        if cursor.in_file:
            start = cursor.locate(data.offset, data.nbytes)
            if not isinstance(start, Inline):
                return Coded(start.path, start.offset, data.nbytes, data.coding, 0, nbytes, big, value.fortran)
        self._hold(data.nbytes, key)
        try:
            raw = cursor.peek(data.offset, data.nbytes).decode(data.coding).encode("latin-1")
        except UnicodeError as error:
            raise self._odd(f"{self.written(key) or 'an array'} is not {data.coding}") from error
        if len(raw) != nbytes:
            raise self._wrong_size(value, nbytes, len(raw), key)
        return Inline(c_order(raw, value.shape, name, big=big, fortran=value.fortran))

    def _wrong_size(self, value: Array, wanted: int, found: int, key: Place) -> UnreadableArtifact:
        what = value.dtype.name if value.dtype else "?"
        return self._odd(
            f"{self.written(key) or 'an array'} is {what} of shape {value.shape}: {wanted:,} bytes, "
            f"where the pickle holds {found:,}"
        )
