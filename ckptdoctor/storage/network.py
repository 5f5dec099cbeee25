"""Files at URLs, by the network: the `Storage` of a process that has it."""

import errno
import os
from typing import NamedTuple

from ckptdoctor.errors import UsageProblem
from ckptdoctor.storage import normal
from ckptdoctor.storage.addresses import BUCKETS, HUB, WEB, Address, choice, is_key, parse, without_query
from ckptdoctor.storage.blocks import Cache, RemoteFile
from ckptdoctor.storage.contract import Denied, Entry, Object, RemoteEntry, Store, status_of
from ckptdoctor.storage.counting import Traffic
from ckptdoctor.storage.listings import Listings

_FIRST = 1 << 16
"""Bytes of a file that are asked for to learn whether it is there, and how large."""
_NOT_THERE = os.strerror(errno.ENOENT)


class _Place(NamedTuple):
    """A store, and what is known of it.

    Attributes:
        store: The store.
        listings: Its keys, where it can list them.
        opened: What a web server said of each file that was asked for; None where it has none.
        named: Keys that a user has named.
    """

    store: Store
    listings: Listings
    opened: dict[str, Object | None]
    named: set[str]


class Remote:
    """Files at URLs.

    Attributes:
        traffic: What was read.
    """

    def __init__(self) -> None:
        self.traffic = Traffic()
        self._cache = Cache()
        self._places: dict[str, _Place] = {}
        self._queries: dict[tuple[str, str], str] = {}
        self._choices: dict[tuple[str, str], dict[str, int]] = {}
        self._granted: set[str] = set()

    # ------------------------------------------------------------------------------------------- what users named

    def adopt(self, url: str) -> str:
        """Takes a URL that a user named: what is read of it from now on is fresh, and workers may ask for it.

        Returns:
            The URL as it is called from now on: without a query, which is kept. Where queries choose several files at
            one address, the host of the second is called `host(2)`.

        Raises:
            UsageProblem: It is no URL that is read here.
        """
        plain, query = without_query(url.rstrip("/"))
        plain = normal(plain)
        address = parse(plain)
        if query:
            choices = self._choices.setdefault((address.root, address.key), {})
            number = choices.setdefault(choice(query), len(choices) + 1)
            if number > 1:
                root = f"{address.root}({number})"
                plain, address = root + plain[len(address.root) :], address._replace(root=root)
            self._queries[address.root, address.key] = query
        place = self._place(address)
        if place.listings.refresh():
            place.opened.clear()
            place.store.forget()
        place.named.add(address.key)
        self._granted.add(plain.rpartition("/")[0] if address.key else plain)
        return plain

    def is_granted(self, path: str) -> bool:
        """Whether a path is beside or below something that a user named; a hostile file shall not choose."""
        inside = ".." not in path.split("/")
        return inside and any(path == each or path.startswith(f"{each}/") for each in self._granted)

    def forget(self, url: str) -> None:
        """Asks anew of a store from now on."""
        self._places.pop(parse(url).root, None)

    def store(self, address: Address) -> Store:
        """The store of an address."""
        return self._place(address).store

    def read(self) -> tuple[int, int]:
        """Requests that read, and their bytes."""
        return self.traffic.requests, self.traffic.bytes

    # ----------------------------------------------------------------------------------------------------- storage

    def stat(self, path: str) -> os.stat_result:
        """Kind, size and time of what is at a URL."""
        address, place = self._at(path)
        if not address.key and place.store.lists:
            return status_of(None)
        known = self._object(place, address) if address.key else None
        if known is not None:
            return status_of(known.size, known.modified)
        if place.store.lists and place.listings.is_folder(address.key):
            return status_of(None)
        raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)

    def entries(self, path: str, beginning: str = "") -> list[Entry]:
        """What lies in a directory at a URL."""
        address, place = self._at(path)
        if not place.store.lists:
            raise OSError(errno.ENOTSUP, "a web server has no listing of its files: name the file itself", path)
        folder = f"{address.key}/" if address.key else ""
        found = place.listings.children(folder, beginning)
        if not found and not beginning and address.key:
            raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)
        return [
            RemoteEntry(
                name,
                f"{path.rstrip('/')}/{name}",
                status_of(None if each is None else each.size, each.modified if each else 0.0),
            )
            for name, each in found.items()
        ]

    def open_range(self, path: str, traffic: Traffic | None = None) -> RemoteFile:
        """A file at a URL, to be read by position; what is read is counted, in `traffic` if somebody else's."""
        address, place = self._at(path)
        known = self._object(place, address)
        if known is None:
            raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)
        return RemoteFile(address.root, place.store, known, self._cache, traffic or self.traffic)

    def find(self, path: str) -> Object | None:
        """The object at a URL."""
        address, place = self._at(path)
        return self._object(place, address)

    def below(self, path: str) -> list[Object]:
        """Every object below a directory."""
        address, place = self._at(path)
        return place.listings.below(f"{address.key}/" if address.key else "")

    def is_folder(self, path: str) -> bool:
        """Whether something lies below a URL, also where an object has the same key."""
        address, place = self._at(path)
        return place.store.lists and (not address.key or place.listings.is_folder(address.key))

    # ------------------------------------------------------------------------------------------------------ stores

    def _at(self, path: str) -> tuple[Address, _Place]:
        """The store of a URL; raises FileNotFoundError where it has a name that nothing has."""
        address = parse(path)
        if address.key and not is_key(address.key):
            raise FileNotFoundError(errno.ENOENT, _NOT_THERE, path)
        return address, self._place(address)

    def _object(self, place: _Place, address: Address) -> Object | None:
        if place.store.lists:
            return place.listings.find(address.key)
        if address.key not in place.opened:
            place.opened[address.key] = self._asked(place, address)
        return place.opened[address.key]

    def _asked(self, place: _Place, address: Address) -> Object | None:
        """What a server without listings has at a key: its first bytes come along, and are kept.

        What nobody named is looked for beside what somebody did. Many servers deny what they do not have, and a
        signature is of one file alone.
        """
        try:
            data, known = place.store.read(address.key, 0, _FIRST)
        except FileNotFoundError:
            self.traffic.add(0)
            return None
        except Denied:
            if address.key in place.named:
                raise
            return None
        self.traffic.add(len(data))
        known = known.tagged()
        RemoteFile(address.root, place.store, known, self._cache, self.traffic).keep_beginning(data)
        return known

    def _place(self, address: Address) -> _Place:
        place = self._places.get(address.root)
        if place is None:
            store = self._store(address)
            place = self._places.setdefault(address.root, _Place(store, Listings(store), {}, set()))
        return place

    def _store(self, address: Address) -> Store:
        if address.scheme in WEB:
            from ckptdoctor.storage.objects import Web

            return Web(address.root, lambda key: self._queries.get((address.root, key), ""))
        if address.scheme == HUB:
            from ckptdoctor.storage.hub import Repository

            return Repository(address.root)
        if address.scheme in BUCKETS:
            from ckptdoctor.storage.objects import Bucket

            return Bucket(address.root)
        from ckptdoctor.storage.filesystems import FileSystem

        return FileSystem(address.scheme, address.root)


def network() -> Remote:
    """The network of this process.

    Raises:
        UsageProblem: It is a worker, which has none.
    """
    from ckptdoctor import storage

    found = storage.remote()
    if not isinstance(found, Remote):
        raise UsageProblem("a process that reads hostile files has no network")
    return found
