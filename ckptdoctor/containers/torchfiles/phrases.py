"""Objects that a pickle writes in the same bytes as one before: they are the same, and need not be read again.

Since protocol 4, numbers in the memo are counted and not written, so that `.metadata` of a distributed checkpoint
describes all tensors of one shape by the same bytes. They mean the same if they recall only what was there before the
first of them, and if nothing that was recalled or shared is changed later, which no pickler does: one that does is left
to the exact machine.
"""

from typing import NamedTuple

from ckptdoctor.containers.pickles.values import Global
from ckptdoctor.containers.torchfiles.imports import Dtype, Name

_HEAD = 16
"""Bytes by which phrases are looked for."""
_MOST_LENGTHS = 8
_MOST = 1_000
"""Phrases that are kept."""
_FIXED = frozenset({str, bytes, int, float, bool, type(None), tuple, Name, Dtype, Global})
"""Types of which no opcode changes a value."""


class Phrase(NamedTuple):
    """An object as a pickle writes it.

    Attributes:
        value: The object.
        length: Its bytes.
        numbers: So many numbers in the memo it takes.
    """

    value: object
    length: int
    numbers: int


class Phrases:
    """The phrases of a pickle.

    Attributes:
        settled: By their identities, objects that are not changed any more, all of them held by the memo or a phrase.
        floor: The first number in the memo that is of the outermost object at hand.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._lengths: dict[bytes, list[int]] = {}
        self._known: dict[bytes, Phrase] = {}
        self._begun: list[tuple[object, int, int]] = []
        self.settled: set[int] = set()
        self.floor = len(data)

    def find(self, at: int) -> Phrase | None:
        """What is written here in the bytes of one before."""
        for length in self._lengths.get(self._data[at : at + _HEAD], ()):
            found = self._known.get(self._data[at : at + length])
            if found is not None:
                return found
        return None

    def begin(self, made: object, at: int, number: int) -> None:
        """Told of an object that was made, which begins here and with this number in the memo."""
        self._begun.append((made, at, number))
        self.floor = min(self.floor, number)

    def end(self, made: object, at: int, number: int) -> None:
        """Told of an object that has its state."""
        if not self._begun or self._begun[-1][0] is not made:
            return
        _, start, first = self._begun.pop()
        if not self._begun:
            self.floor = len(self._data)
        length = at - start
        lengths = self._lengths.setdefault(self._data[start : start + _HEAD], [])
        if length not in lengths and len(lengths) < _MOST_LENGTHS:
            lengths.append(length)
        if length in lengths and len(self._known) < _MOST:
            self._known[self._data[start:at]] = Phrase(made, length, number - first)
            self.settled.add(id(made))

    def drop(self) -> None:
        """What is at hand is no phrase: it recalls a part of itself, or holds a tensor."""
        self._begun.clear()
        self.floor = len(self._data)

    def recalled(self, number: int, value: object) -> object:
        """Told of what is taken from the memo, and answers it."""
        if value.__class__ not in _FIXED:
            self.settled.add(id(value))
        if number >= self.floor:
            self.drop()
        return value
