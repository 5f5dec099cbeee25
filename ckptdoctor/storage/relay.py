"""URLs within a worker: its parent has the network, and fetches for it what lies beside what the user named."""

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ckptdoctor.errors import CkptDoctorError, Unreachable, UnreadableArtifact
from ckptdoctor.storage.contract import Entry, RemoteEntry, status_of
from ckptdoctor.storage.counting import Traffic

Ask = Callable[[str, tuple[object, ...]], Any]
"""Asks the parent: a question and its arguments; answers what `answer` there returned."""

_MOST_BYTES = 1 << 30


class Relay:
    """The `Storage` of a worker."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def stat(self, path: str) -> os.stat_result:
        """Kind, size and time of what is at a URL."""
        nbytes, modified = self._ask("stat", (path,))
        return status_of(nbytes, modified)

    def entries(self, path: str, beginning: str = "") -> list[Entry]:
        """What lies in a directory at a URL."""
        return [
            RemoteEntry(name, f"{path.rstrip('/')}/{name}", status_of(nbytes, modified))
            for name, nbytes, modified in self._ask("entries", (path, beginning))
        ]

    def is_folder(self, path: str) -> bool:
        """Whether something lies below a URL."""
        return bool(self._ask("is folder", (path,)))

    def open_range(self, path: str) -> "Range":
        """A file at a URL, to be read by position; its blocks are kept by the parent."""
        return Range(self._ask, path, self._ask("open", (path,)))

    def read(self) -> tuple[int, int]:
        """Requests that read, and their bytes."""
        requests, nbytes = self._ask("read so far", ())
        return requests, nbytes


class Range(NamedTuple):
    """A file that the parent reads."""

    ask: Ask
    path: str
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of it."""
        found: bytes = self.ask("read", (self.path, offset, count))
        return found

    def expect(self, ranges: list[tuple[int, int]]) -> None:
        """Has the parent fetch several ranges at once."""
        self.ask("expect", (self.path, ranges))

    def tell(self, known: Mapping[int, bytes]) -> None:
        """Says what stands at some offsets."""
        self.ask("tell", (self.path, dict(known)))


def answer(question: object, arguments: object, traffic: Traffic) -> tuple[bool, Any]:
    """The parent's side: answers a worker that may be in the hands of a hostile file.

    Args:
        question: One of a few.
        arguments: Its arguments, which are held against what the user named.
        traffic: Where what is read for it is counted.

    Returns:
        Whether it could be answered; the answer, or the error.
    """
    from ckptdoctor.storage.network import network

    try:
        there = network()
        match question, arguments:
            case str(), (str() as path, *_) if not there.is_granted(path):
                raise UnreadableArtifact("it leads out of what was named: it is not read", path, code="X002")
            case "stat", (str() as path,):
                found = there.stat(path)
                return True, (_nbytes(found), found.st_mtime)
            case "entries", (str() as path, str() as beginning):
                listed = there.entries(path, beginning)
                return True, [(each.name, _nbytes(each.stat()), each.stat().st_mtime) for each in listed]
            case "is folder", (str() as path,):
                return True, there.is_folder(path)
            case "open", (str() as path,):
                return True, there.open_range(path).size
            case "read", (str() as path, int() as offset, int() as count) if 0 <= count <= _MOST_BYTES:
                return True, there.open_range(path, traffic).read(offset, count)
            case "expect", (str() as path, list() as ranges):
                there.open_range(path, traffic).expect([(int(offset), int(count)) for offset, count in ranges])
                return True, None
            case "tell", (str() as path, dict() as known):
                there.open_range(path, traffic).tell({int(offset): bytes(data) for offset, data in known.items()})
                return True, None
            case "read so far", ():
                return True, (traffic.requests, traffic.bytes)
            case _:
                raise UnreadableArtifact("the process that reads it asked for what none asks for: it is hostile")
    except (CkptDoctorError, OSError) as error:
        return False, error
    except Exception as error:  # noqa: BLE001 - whatever it is, the worker waits for an answer
        return False, Unreachable(f"it cannot be had: {type(error).__name__}")


def _nbytes(status: os.stat_result) -> int | None:
    import stat

    return None if stat.S_ISDIR(status.st_mode) else status.st_size
