"""What was asked of the network, and what is known without asking."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock

_MOST_FILES = 64
"""Files of which what is known is kept."""

File = tuple[str, str, str]
"""A version of a file: where, its key, its tag and size."""


class Traffic:
    """Requests that read, and the bytes that came; and what a reader knows of ranges that it has not read.

    Each reader has its own: what one that is in the hands of a hostile file says of others is believed by none.
    """

    def __init__(self) -> None:
        self._told: OrderedDict[File, dict[int, bytes]] = OrderedDict()
        self.requests = 0
        self.bytes = 0
        self._lock = Lock()

    def add(self, nbytes: int) -> None:
        """One more request."""
        with self._lock:
            self.requests += 1
            self.bytes += nbytes

    def tell(self, file: File, known: Mapping[int, bytes]) -> None:
        """Says what stands at some offsets of a file."""
        with self._lock:
            self._told.setdefault(file, {}).update(known)
            while len(self._told) > _MOST_FILES:
                self._told.popitem(last=False)

    def told(self, file: File, offset: int, count: int) -> bytes | None:
        """The bytes of a range, if it was told of."""
        with self._lock:
            data = self._told.get(file, {}).get(offset)
        return data if data is not None and len(data) == count else None
