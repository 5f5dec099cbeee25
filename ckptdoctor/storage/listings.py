"""What is known of a store's keys: every page of a listing knows all keys between its ends.

`ckpt-9`, its `.index`, its shards and what lies below `ckpt-9/` stand together in the order of keys, so that one page
answers all that is asked of one artifact.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from threading import RLock
from time import monotonic

from ckptdoctor.storage.addresses import is_key
from ckptdoctor.storage.contract import UNLISTED, Object, Store

_HIGHEST = "\U0010ffff"
MOST_KEPT = 300_000
"""Objects that are remembered: a bucket of millions is listed in parts, some of them twice."""
_FRESH = 0.25
"""Seconds that a page is believed when an artifact is named again: paths that are named together share a listing."""


class Listings:
    """The keys of a store, as far as they were asked for.

    Attributes:
        pages: How many were asked for: requests of the store.
    """

    def __init__(self, store: Store) -> None:
        self.pages = 0
        self._store = store
        self._lock = RLock()
        self._forget()

    def _forget(self) -> None:
        self._objects: dict[str, Object] = {}
        self._keys: list[str] = []
        self._spans: list[tuple[str, str]] = []
        self._since = monotonic()

    def refresh(self) -> bool:
        """Forgets what is too old for somebody who begins to read, as a run goes on saving; answers whether it did."""
        with self._lock:
            is_old = monotonic() - self._since > _FRESH
            if is_old:
                self._forget()
            return is_old

    def find(self, key: str) -> Object | None:
        """An object; None if it is not there. Some tools mark a folder by an empty object: that is none."""
        with self._lock:
            self._learn(key)
            found = self._objects.get(key)
            return None if found is not None and not found.size and self.is_folder(key) else found

    def is_folder(self, key: str) -> bool:
        """Whether objects lie below a key."""
        with self._lock:
            folder = f"{key}/"
            self._learn(key)
            return self._next(folder, folder, parent(key)) is not None

    def children(self, folder: str, beginning: str = "") -> dict[str, Object | None]:
        """The names in a folder (it ends in a slash, or is empty) that begin so; None for what is a folder itself."""
        found: dict[str, Object | None] = {}
        start = folder + beginning
        with self._lock:
            at = _just_below(start) if beginning else start
            while (key := self._next(start, at, folder)) is not None:
                name, slash, _ = key[len(folder) :].partition("/")
                _require_listed(folder, name)
                found[name] = None if slash else self._objects[key]
                at = f"{folder}{name}/{_HIGHEST}" if slash else key
        return found

    def below(self, folder: str) -> list[Object]:
        """Every object below a folder."""
        found: list[Object] = []
        with self._lock:
            at = folder
            while (key := self._next(folder, at, folder)) is not None:
                _require_listed(*key.rsplit("/", 1))
                found.append(self._objects[key])
                at = key
        return found

    def _learn(self, key: str) -> None:
        """Sees to it that a key is known: by the first page of its folder, or by one that begins at it."""
        folder = parent(key)
        if self._covering(key) is None and self._covering(f"{folder}\0") is None:
            self._page(folder, folder)
        at = _just_below(key)
        while self._covering(key) is None:
            span = self._covering(f"{at}\0")
            at = span[1] if span is not None else at
            self._page(folder, at)

    def _next(self, start: str, at: str, folder: str) -> str | None:
        """The first key above `at` that begins with `start`; what is not known is asked for, in `folder`."""
        end = start + _HIGHEST
        while True:
            span = self._covering(f"{at}\0")
            if span is None:
                self._page(folder, at)
                continue
            place = bisect_right(self._keys, at)
            if place < len(self._keys) and self._keys[place] <= span[1]:
                at = self._keys[place]
                if at >= start:  # those just below it are passed over
                    return at if at.startswith(start) else None
                continue
            if span[1] >= end:
                return None
            at = span[1]

    def _covering(self, key: str) -> tuple[str, str] | None:
        """The known stretch of keys that a key lies in."""
        place = bisect_right(self._spans, (key, "")) - 1
        if place < 0 or not self._spans[place][0] < key <= self._spans[place][1]:
            return None
        return self._spans[place]

    def _page(self, folder: str, above: str) -> None:
        self.pages += 1
        if len(self._objects) > MOST_KEPT:
            self._forget()
        page = self._store.page(folder, above if above != folder else "")
        for each in page.objects:
            if is_key(each.key) or each.key.endswith(UNLISTED):  # no path leads to others
                if each.key not in self._objects:
                    self._keys.append(each.key)
                self._objects[each.key] = each.tagged()
        self._keys.sort()
        end = folder + _HIGHEST if page.is_last or not page.objects else page.objects[-1].key
        merged: list[tuple[str, str]] = []
        for low, high in sorted([*self._spans, (above, end)]):
            if merged and low <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(high, merged[-1][1])
            else:
                merged.append((low, high))
        self._spans = merged


def parent(key: str) -> str:
    """The folder that a key lies in, with its slash; "" for the store itself."""
    head, slash, _ = key.rpartition("/")
    return head + slash


def _just_below(key: str) -> str:
    """A key that few are between it and this one."""
    return next(filter(is_key, (f"{key[:-1]}{chr(ord(key[-1]) - 1)}~", key[:-1])), parent(key))


def _require_listed(folder: str, name: str = "") -> None:
    if name == UNLISTED:
        raise OSError(
            errno.ENOTSUP,
            "it holds keys with an empty part (a//b), a dot or a control character for a name: rename them, or name "
            "what is meant",
            folder,
        )
