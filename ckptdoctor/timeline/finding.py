"""The runs below a directory: which checkpoints lie in each, how large they are, and when they were saved."""

import os
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.errors import NoSuchPath, UnknownFormat, UsageProblem
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.directories import artifact_at, listing, lying_in, walk
from ckptdoctor.formats.single_files import SHARD
from ckptdoctor.runs import headless, unfinished

_MOST_FILES = 100_000
"""Files of one checkpoint whose sizes are added up."""


class Found(NamedTuple):
    """A checkpoint that nobody has read yet.

    Attributes:
        target: It; None of one whose data lies there without what names it.
        path: Where it is.
        problem: What is missing, of such a one.
        size: Bytes of its files.
        saved: When the last of them was written.
    """

    target: Target | None
    path: str
    problem: str
    size: int
    saved: float


class Place(NamedTuple):
    """The directory of a run.

    Attributes:
        path: It.
        names: What lies in it.
        found: Its checkpoints.
        unfinished: Names of saves that did not end.
    """

    path: str
    names: tuple[str, ...]
    found: tuple[Found, ...]
    unfinished: tuple[str, ...]


def places(path: str) -> tuple[Place, ...]:
    """The runs at a directory and below it.

    Raises:
        NoSuchPath: Nothing is there.
        UsageProblem: It is no directory.
        UnreadableArtifact: It cannot be listed, or holds no checkpoint.
    """
    if not storage.is_dir(path):
        if storage.lexists(path) or storage.exists(f"{path}.index"):
            raise UsageProblem("it is one artifact, and no directory: name the directory of its run", path)
        raise NoSuchPath("no such directory", path)
    directory = path.rstrip("/") or path
    own = artifact_at(path, directory)
    if own is not None:
        return (_place(directory, tuple(_told_apart((own._replace(path=directory),)))),)
    found = tuple(_place(each, targets) for each, targets in walk(directory))
    if not found:
        lost = headless(directory, listing(directory))
        if not lost:
            raise UnknownFormat("no checkpoint lies in it or in the directories below", path)
        return (_place(directory, ()),)
    return found


def _place(directory: str, targets: tuple[Target, ...]) -> Place:
    names = listing(directory)
    sizes = _Sizes()
    found = [Found(each, each.path, "", *sizes.of(each.resolved)) for each in _told_apart(targets)]
    found += [Found(None, each.path, each.problem, *sizes.of(each.path)) for each in headless(directory, names)]
    return Place(directory, tuple(names), tuple(found), unfinished(names))


def _told_apart(targets: tuple[Target, ...]) -> Iterator[Target]:
    """The artifacts; of a directory of tags that stands for the one which a file names, all of them."""
    for each in targets:
        stands_for = os.path.dirname(each.resolved) == each.path and storage.is_dir(each.resolved)
        inside = lying_in(each.path) if stands_for else ()
        yield from inside if len(inside) > 1 else (each,)


class _Files(NamedTuple):
    size: int
    saved: float


class _Sizes:
    """Bytes of artifacts' files, and when the last of each was written; every directory is listed once."""

    def __init__(self) -> None:
        self._known: dict[str, Mapping[str, _Files]] = {}

    def of(self, path: str) -> _Files:
        """Those of an artifact."""
        if storage.is_dir(path):
            return _below(path)
        directory, name = os.path.split(path)
        if directory not in self._known:
            self._known[directory] = _by_prefix(directory or ".")
        return self._known[directory].get(name, _Files(0, 0.0))


def _by_prefix(directory: str) -> Mapping[str, _Files]:
    """The files of a directory, those of a checkpoint's prefix together."""
    found: dict[str, _Files] = {}
    for entry in storage.entries(directory):
        try:
            status = None if entry.is_dir() else entry.stat()
        except OSError:  # a link that leads nowhere
            status = None
        if status is None:
            continue
        shard = SHARD.match(entry.name)
        name = shard["prefix"] if shard else entry.name.removesuffix(".index").removesuffix(".meta")
        before = found.get(name, _Files(0, 0.0))
        found[name] = _Files(before.size + status.st_size, max(before.saved, status.st_mtime))
    return found


def _below(path: str) -> _Files:
    """Everything below a directory that is an artifact."""
    total, last, seen = 0, 0.0, 0
    for there in storage.walk(path):
        for each in there:
            try:
                if each.is_dir(follow_symlinks=False):
                    continue
                status = each.stat()
            except OSError:
                continue
            total, last = total + status.st_size, max(last, status.st_mtime)
        seen += len(there)
        if seen > _MOST_FILES:
            break
    return _Files(total, last or storage.stat(path).st_mtime)
