"""A pickle with edits: what stays may refer to what is gone, and the first that does takes its definition over."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ckptdoctor.containers.torchfiles.writing.built import Special, Value
from ckptdoctor.containers.torchfiles.writing.opcodes import recall, remember
from ckptdoctor.errors import UnreadableArtifact

if TYPE_CHECKING:
    from ckptdoctor.containers.torchfiles.writing.splicing import Script

_AS_IS = frozenset(b"hjqr")
"""BINGET, LONG_BINGET, BINPUT and LONG_BINPUT."""


class Rendering:
    """A pickle in the making: what was remembered so far decides what may be recalled.

    Attributes:
        storages: Keys of the storages that it names.
    """

    def __init__(self, script: Script, edits: list[tuple[int, int, bytes]]) -> None:
        self._script = script
        self._edits = edits
        self._known: set[int] = set()
        self._open: set[int] = set()
        self.storages: set[str] = set()

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
        self.storages.update(self._script.named(start, end))
        for each in self._specials(start, end):
            if each.value is not None and not each.recalls:
                self._known.add(each.number)
            elif each.value is not None and each.number not in self._known:
                yield data[at : each.start]
                yield from self._defined(each.number, each.value)
                at = each.end
                continue
            if each.value is None or data[each.start] not in _AS_IS:
                yield data[at : each.start]
                if each.value is not None:
                    yield (recall if each.recalls else remember)(each.number)
                at = each.end
        yield data[at:end]

    def _specials(self, start: int, end: int) -> Iterator[Special]:
        """Those in a span, but for whole tensors that can stay as they are."""
        for each in self._script.between(start, end):
            if isinstance(each, Special):
                yield each
            elif self._known.issuperset(each.recalled):
                self._known.update(each.remembered)
            else:
                yield from self._script.within(each)

    def _defined(self, number: int, value: Value) -> Iterator[bytes]:
        if number in self._open:
            raise UnreadableArtifact("holds an object that holds itself, of which a part is exchanged")
        self._open.add(number)
        yield from self._kept(value.start, value.end)
        self._open.discard(number)
