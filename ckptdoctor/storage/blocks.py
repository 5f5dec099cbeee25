"""A remote file, read by position in blocks that are kept; every read is of the object that was opened."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from threading import Lock

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.storage import AT_ONCE, BLOCK
from ckptdoctor.storage.contract import Object, Store
from ckptdoctor.storage.counting import Traffic

WHOLE = 4 << 20
"""A file up to here is read in one request."""
LARGE = 1 << 20
"""Reads above this are of tensors: they pass through, and push no block out."""
_END = 1 << 17
"""Bytes that are read with the last one: archives have their directory at their end."""
KEPT = 64 << 20
_GAP = BLOCK
"""Two ranges that are nearer than this are one request."""


class Cache:
    """The blocks that were read last, up to `KEPT` bytes."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[tuple[str, str, str, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = Lock()

    def get(self, key: tuple[str, str, str, int]) -> bytes | None:
        """A block, if it is there."""
        with self._lock:
            found = self._blocks.get(key)
            if found is not None:
                self._blocks.move_to_end(key)
            return found

    def put(self, key: tuple[str, str, str, int], data: bytes) -> None:
        """Keeps a block; what was not asked for longest goes."""
        with self._lock:
            self._size += len(data) - len(self._blocks.pop(key, b""))
            self._blocks[key] = data
            while self._size > KEPT:
                self._size -= len(self._blocks.popitem(last=False)[1])


class RemoteFile:
    """An object of a store, as it was when it was opened.

    Attributes:
        size: Its bytes.
    """

    def __init__(self, root: str, store: Store, known: Object, cache: Cache, traffic: Traffic) -> None:
        self.size = known.size
        self._root = root
        self._store = store
        self._known = known
        self._cache = cache
        self._traffic = traffic
        self._url = f"{root}/{known.key}"

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of it, all that were asked for.

        Raises:
            UnreadableArtifact: They cannot be had: the network, or it is not the same object any more.
        """
        if offset < 0 or count < 0 or offset + count > self.size:
            raise OSError(errno.EINVAL, f"only {self.size:,} bytes are there")
        if not count:
            return b""
        told = self._traffic.told(self._name(0)[:3], offset, count)
        if told is not None:
            return told
        if count > LARGE and self.size > WHOLE:
            return self._fetch(offset, count)
        first, last = offset // BLOCK, (offset + count - 1) // BLOCK
        there = {number: self._kept(number) for number in range(first, last + 1)}
        lost = [number for number, block in there.items() if block is None]
        if lost:
            there |= self._load(*self._stretch(lost[0], lost[-1]))
        data = b"".join(there[number] or b"" for number in range(first, last + 1))
        return data[offset - first * BLOCK :][:count]

    def expect(self, ranges: list[tuple[int, int]]) -> None:
        """Reads blocks that will be asked for, several requests at once; neighbours are one request."""
        wanted = sorted(
            number
            for number in {
                block
                for offset, count in ranges
                if 0 <= offset < self.size and count > 0
                for block in range(offset // BLOCK, (min(offset + count, self.size) - 1) // BLOCK + 1)
            }
            if self._kept(number) is None
        )
        runs: list[list[int]] = []
        for number in wanted:
            if runs and (number - runs[-1][1] - 1) * BLOCK <= _GAP:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        if len(runs) <= 1:
            for run in runs:
                with suppress(UnreadableArtifact):  # told to whoever reads there
                    self._load(*self._stretch(*run))
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
            for done in [pool.submit(self._load, *self._stretch(*run)) for run in runs]:
                done.exception()  # told to whoever reads there

    def tell(self, known: Mapping[int, bytes]) -> None:
        """Says what stands at some offsets: whoever reads just that has it from here."""
        self._traffic.tell(self._name(0)[:3], known)

    def keep_beginning(self, data: bytes) -> None:
        """Keeps what came along when it was asked for: whole blocks from its start."""
        for number in range((len(data) + BLOCK - 1) // BLOCK):
            block = data[number * BLOCK : (number + 1) * BLOCK]
            if len(block) == BLOCK or number * BLOCK + len(block) == self.size:
                self._cache.put(self._name(number), block)

    def _stretch(self, first: int, last: int) -> tuple[int, int]:
        """The blocks to load for these: of a small file, all from the first that is missing; with the last its end."""
        end = (self.size - 1) // BLOCK
        if self.size > WHOLE:
            return (min(first, end - _END // BLOCK), last) if last == end else (first, last)
        start = next((number for number in range(first + 1) if self._kept(number) is None), first)
        return start, end

    def _load(self, first: int, last: int) -> dict[int, bytes]:
        start = first * BLOCK
        data = self._fetch(start, min(self.size, (last + 1) * BLOCK) - start)
        blocks = {first + at // BLOCK: data[at : at + BLOCK] for at in range(0, len(data), BLOCK)}
        for number, block in blocks.items():
            self._cache.put(self._name(number), block)
        return blocks

    def _fetch(self, offset: int, count: int) -> bytes:
        data, now = self._store.read(self._known.key, offset, count)
        self._traffic.add(len(data))
        if now.size != self.size or (now.tag and self._known.tag and now.tag != self._known.tag):
            raise UnreadableArtifact(
                "it was written anew while it was read (a save in progress?): read it again", self._url
            )
        if len(data) != count:
            raise UnreadableArtifact(f"the server sent {len(data):,} of {count:,} bytes", self._url)
        return data

    def _kept(self, number: int) -> bytes | None:
        return self._cache.get(self._name(number))

    def _name(self, number: int) -> tuple[str, str, str, int]:
        return self._root, self._known.key, f"{self._known.tag} {self.size}", number
