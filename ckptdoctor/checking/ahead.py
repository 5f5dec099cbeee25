"""HDF5 read ahead: a worker process reads the next artifact while this one is judged and shown."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor import storage
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.examination import examine_ahead
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.locate import locate
from ckptdoctor.formats.registry import endings, is_isolated
from ckptdoctor.isolation import MOST_EARLY

_SUFFIXES = endings(isolated=True)
"""Names worth looking at ahead; the bytes decide, and what is called otherwise is read in its turn."""
_WINDOW = 32
"""So many paths are looked at ahead."""


class Ahead:
    """What comes after the path that is being checked."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._at = -1
        self._seen = 0
        self._read: list[int] = []
        self._found: dict[str, tuple[Target, ...]] = {}

    def arrive(self) -> None:
        """The next path's turn has come."""
        self._at += 1

    def targets(self, path: str, *, everything: bool) -> tuple[Target, ...]:
        """What a path means; known where it was looked at ahead."""
        return self._found.pop(path, None) or locate(path, everything=everything)

    def start(self) -> None:
        """Sets the worker to the next artifact that is its to read, unless it is busy or far enough ahead."""
        self._read = [each for each in self._read if each > self._at]
        self._seen = max(self._seen, self._at + 1)
        while self._seen < min(len(self._paths), self._at + 1 + _WINDOW) and len(self._read) < MOST_EARLY:
            target = self._look(self._paths[self._seen])
            if target is not None:
                if not examine_ahead(target):
                    return
                self._read.append(self._seen)
            self._seen += 1

    def _look(self, path: str) -> Target | None:
        """What the worker would read for a path; None if it is none of its, or not told by its name."""
        if path not in self._found:
            if not path.endswith(_SUFFIXES) or not storage.is_file(path):
                return None
            try:
                self._found[path] = locate(path)
            except (CkptDoctorError, OSError, ValueError, MemoryError, RecursionError):
                return None  # told in its turn
        targets = self._found[path]
        if len(targets) != 1 or targets[0].resolved != path:  # of several files' artifact only one is read
            return None
        return targets[0] if is_isolated(targets[0].reader) else None
