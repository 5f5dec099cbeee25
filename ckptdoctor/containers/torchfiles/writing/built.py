"""What the opcodes of a pickle build, and where they stand in it."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ckptdoctor.containers.pickles.reading import Key


class Entry(NamedTuple):
    """A key and a value that were set, and where the opcode ends that sets them alone (else 0)."""

    key: "Value"
    value: "Value"
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
    items: "list[Value]" = field(default_factory=list)
    same: "Value | None" = None

    @property
    def real(self) -> "Value":
        """It, where it is built."""
        return self if self.same is None else self.same


class Special(NamedTuple):
    """An opcode that remembers or recalls a value (`number` in the memo), or a frame, which has no value."""

    start: int
    end: int
    number: int = -1
    value: Value | None = None
    recalls: bool = False


class WholeTensor(NamedTuple):
    """A whole tensor, as torch.save writes it: what it recalls, and what it remembers."""

    start: int
    end: int
    recalled: tuple[int, ...]
    remembered: tuple[int, ...]
