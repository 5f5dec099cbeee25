"""A database as a whole: every key of its newest version, and where each value is."""

from __future__ import annotations

import os
import re

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, is_inside
from ckptdoctor.containers.ocdbt.nodes import MAX_MANIFEST, MAX_NODE, NUMBERED, Place, Root, check_node, manifest, node
from ckptdoctor.containers.zarrs.store import MAX_KEYS, leaves
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, Inline
from ckptdoctor.words import enumerate_some

MANIFEST_NAME = "manifest.ocdbt"
MAX_NODES = 100_000
MAX_TREE = 1 << 30
"""Bytes of all nodes together, as stored."""
_NUMBERED = re.compile(r"manifest\.([0-9a-f]{16})\Z")
_SHARED = 1 << 20
"""Bytes that values may have in common beyond what the files have: two keys of one value are legal, 1,000 a bomb."""


class Database:
    """A database, its tree read and its values not.

    Attributes:
        path: Its directory.
        values: Key → where its value is.
        missing: Data file that is not there → keys whose values it holds.
    """

    def __init__(self, path: str, base: str, *, whole: bool = True) -> None:
        """Reads the manifest and the tree.

        Args:
            path: The directory with `manifest.ocdbt`.
            base: What no path and no link may lead out of.
            whole: Read the tree; else it is only seen whether its root is there.

        Raises:
            UnreadableArtifact: It is corrupt, or its files lie elsewhere.
            LimitExceeded: It is larger than any checkpoint's.
        """
        self.path = path
        self.values: dict[str, FileRange | Inline] = {}
        self.missing: dict[str, list[str]] = {}
        self._base = base
        self._files: dict[bytes, tuple[str, int | None]] = {}
        self._seen: set[tuple[bytes, int]] = set()
        self._stored = self._referred = 0
        root = self._root()
        if root is not None and whole:
            self._walk(root)
        elif root is not None:
            check_node(self._read(root.place), self.path, "a node of its tree")
        self._check_sharing()

    def _root(self) -> Root | None:
        kind, root = self._manifest(MANIFEST_NAME)
        if kind != NUMBERED:
            return root
        numbered = [name for name in storage.names(self.path) if _NUMBERED.match(name)]
        if not numbered:
            raise UnreadableArtifact("its manifest says that a numbered one follows, and there is none", self.path)
        return self._manifest(max(numbered))[1]

    def _manifest(self, name: str) -> tuple[int, Root | None]:
        full = os.path.join(self.path, name)
        if not is_inside(full, self._base):
            raise leaves(full, self._base)
        with RegularFile(full) as file:
            if file.size > MAX_MANIFEST:
                raise LimitExceeded(f"is larger than the {MAX_MANIFEST:,} bytes that are read", self.path, place=name)
            return manifest(file.read(0, file.size, "the manifest"), self.path, name)

    def _walk(self, root: Root) -> None:
        waiting = [(root.place, root.height, b"")]
        while waiting:
            place, height, prefix = waiting.pop()
            if (place.path, place.offset) in self._seen:
                raise UnreadableArtifact("two branches of its tree lead to one node: it is corrupt", self.path)
            self._seen.add((place.path, place.offset))
            self._stored += place.nbytes
            if len(self._seen) > MAX_NODES or self._stored > MAX_TREE:
                raise LimitExceeded("its tree is larger than any checkpoint's: it is corrupt or hostile", self.path)
            found = node(self._read(place), place.base, self.path, "a node of its tree")
            if found.height != height:
                raise UnreadableArtifact("a node of its tree is not where it should be: it is corrupt", self.path)
            self._expect([each.place for each in found.children])
            # A child is one nearer to the leaves, so that no way down leads in a circle.
            waiting += [(each.place, height - 1, prefix + each.prefix) for each in found.children]
            for key, value in found.values:
                self._add(prefix + key, value)

    def _expect(self, places: list[Place]) -> None:
        """Has nodes of a file at a URL fetched together."""
        if storage.is_remote(self.path):
            for relative in {each.path for each in places}:
                file, size = self._file(relative)
                if size is not None:
                    storage.expect(file, [(each.offset, each.nbytes) for each in places if each.path == relative])

    def _add(self, name: bytes, value: Place | bytes) -> None:
        try:
            key = name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableArtifact(f"a key of its tree is no text: {name[:40]!r}", self.path) from error
        if key in self.values:
            raise UnreadableArtifact(f"the key {key[:200]!r} is there twice: it is corrupt", self.path)
        if len(self.values) >= MAX_KEYS:
            raise LimitExceeded(f"it holds more than {MAX_KEYS:,} keys", self.path)
        if isinstance(value, bytes):
            self.values[key] = Inline(value)
            return
        file, size = self._file(value.path)
        self._referred += value.nbytes
        self.values[key] = FileRange(file, value.offset, value.nbytes)
        if size is None:
            self.missing.setdefault(value.path.decode("utf-8", "replace"), []).append(key)
        elif value.offset + value.nbytes > size:
            raise UnreadableArtifact(
                f"has {size:,} bytes and needs {value.offset + value.nbytes:,} for {key[:200]!r}: it is truncated",
                self.path,
                place=value.path.decode("utf-8", "replace"),
                code="I003",
            )

    def _file(self, relative: bytes) -> tuple[str, int | None]:
        """A data file, and its size; None if it is not there."""
        known = self._files.get(relative)
        if known is None:
            known = self._files[relative] = self._found(relative)
        return known

    def _found(self, relative: bytes) -> tuple[str, int | None]:
        try:
            name = relative.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnreadableArtifact(f"a data file's name is no text: {relative[:80]!r}", self.path) from error
        parts = name.split("/")
        if "\0" in name or "\\" in name or ".." in parts or name.startswith("/"):
            raise UnreadableArtifact(f"{name[:200]!r} leads out of the checkpoint's directory", self.path, code="X002")
        full = os.path.join(self.path, *parts)
        if not is_inside(full, self._base):
            raise leaves(full, self._base)
        if not storage.lexists(full):
            return full, None
        with RegularFile(full) as file:
            return full, file.size

    def _read(self, place: Place) -> bytes:
        file, size = self._file(place.path)
        if size is None:
            name = place.path.decode("utf-8", "replace")
            raise UnreadableArtifact(f"{name} is missing, without which nothing in it is found", self.path, code="I002")
        if place.nbytes > MAX_NODE:
            raise LimitExceeded("a node of its tree is larger than any that is read", self.path)
        with RegularFile(file) as opened:
            return opened.read(place.offset, place.nbytes, "a node of its tree")

    def _check_sharing(self) -> None:
        """Many keys of one value would unpack it many times."""
        there = sum(size for _, size in self._files.values() if size is not None)
        if self._referred > 2 * there + _SHARED and not self.missing:
            raise LimitExceeded("its keys share their values many times over: it is corrupt or hostile", self.path)

    def require_files(self) -> None:
        """Raises UnreadableArtifact if a data file is missing; the values that it holds are named."""
        for name, keys in self.missing.items():
            raise UnreadableArtifact(
                f"{name} is missing, and with it {enumerate_some(keys, 4)}", self.path, code="I002"
            )
