"""Ranges that are compared while the next ones are copied, by a second thread.

A graft reads back what it wrote. The kernel copies in one thread and the other processor idles meanwhile: so what was
copied is compared then. What is found holds as long as nothing else is written there; whoever has a range followed
writes it once.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from ckptdoctor.containers.bytes.window import Compared, Place, compared_by_one

_LEAST = 1 << 20
"""Shorter ranges are as soon compared afterwards."""
_MOST_WAITING = 64
"""Each has two descriptors of its own; what comes when so many wait is compared afterwards."""
_Key: TypeAlias = tuple[Place, int, int, int]
"""What was copied, and the device, the file and the byte that it was copied to."""


class Followed:
    """Ranges of files, and whether they hold what they were copied from."""

    def __init__(self, *, summed: bool) -> None:
        """Begins with none.

        Args:
            summed: They are summed up, too.
        """
        self._summed = summed
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ckptdoctor-followed")
        self._found: dict[_Key, Future[Compared]] = {}
        self._waiting: list[Future[Compared]] = []
        self._kept: dict[tuple[int, int], list[Place]] = {}

    def keep(self, places: Iterable[Place]) -> None:
        """Names ranges of files that are copied as a whole, of which these are to stay as they are."""
        for place in places:
            if place.nbytes >= _LEAST:
                status = os.stat(place.path)
                self._kept.setdefault((status.st_dev, status.st_ino), []).append(place)

    def follow_kept(self, reading: int, start: int, size: int, target: int, at: int) -> None:
        """Has those compared that lie in a range that was copied, once nothing else will be written there."""
        status = os.fstat(reading)
        for place in self._kept.get((status.st_dev, status.st_ino), ()):
            if start <= place.start and place.start + place.nbytes <= start + size:
                self.follow(place, reading, target, at + place.start - start)

    def follow(self, source: Place, reading: int, target: int, at: int) -> None:
        """Has a range compared that was just copied.

        Args:
            source: What was copied.
            reading: Its file, open.
            target: The file that it was copied into, open to be read as well.
            at: Where in it.
        """
        self._waiting = [each for each in self._waiting if not each.done()]
        if source.nbytes >= _LEAST and len(self._waiting) < _MOST_WAITING:
            found = self._pool.submit(self._compare, os.dup(reading), source, os.dup(target), at)
            self._found[_key(source, target, at)] = found
            self._waiting.append(found)

    def found(self, source: Place, target: int, at: int) -> Compared | None:
        """What came of it; None where it was not followed, or could not be read."""
        found = self._found.get(_key(source, target, at))
        return None if found is None or found.exception() is not None else found.result()

    def end(self) -> None:
        """Ends the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _compare(self, reading: int, source: Place, target: int, at: int) -> Compared:
        try:
            return compared_by_one(reading, source.start, target, at, source.nbytes, summed=self._summed)
        finally:
            os.close(reading)
            os.close(target)


def _key(source: Place, target: int, at: int) -> _Key:
    status = os.fstat(target)
    return source, status.st_dev, status.st_ino, at


_followed: ContextVar[Followed | None] = ContextVar("_followed", default=None)


@contextmanager
def following(*, summed: bool) -> Iterator[Followed]:
    """Within it what is copied is followed, and known where it is compared."""
    own = Followed(summed=summed)
    before = _followed.set(own)
    try:
        yield own
    finally:
        _followed.reset(before)
        own.end()


def followed() -> Followed | None:
    """Who follows; None if nobody does."""
    return _followed.get()
