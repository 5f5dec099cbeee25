"""The legacy stream of torch.save: five pickles one after the other, and the storages behind them.

They are the magic number, the protocol (1001), the machine's byte order and sizes, the object, and the keys of the
storages in their order. For each key follow a count of elements (int64) and the elements. Offsets are therefore known
only after the fifth pickle, and types only from the fourth.
"""

from __future__ import annotations

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.values import NotThese, Pairs
from ckptdoctor.containers.torchfiles.archive import MAX_STEPS
from ckptdoctor.containers.torchfiles.fast import Unusual, fast_load
from ckptdoctor.containers.torchfiles.imports import Storage, TorchImports
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.tree import TorchTree, itemsize
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange
from ckptdoctor.state import Oddity

_PROTOCOL = 1001
_COUNT = 8
_HEAD = 16 << 20
"""Bytes that are read at once: pickles that end within them are read fast."""


class _Remembering(TorchImports):
    """Keeps every storage that is named: the stream does not repeat their types."""

    def __init__(self) -> None:
        super().__init__()
        self.storages: dict[str, Storage] = {}

    def copy(self) -> _Remembering:
        """As it is now, to begin a pickle anew."""
        found = _Remembering()
        found.names, found.called = dict(self.names), dict(self.called)
        found.arrays, found.storages = dict(self.arrays), dict(self.storages)
        return found

    def storage(self, found: Storage) -> Storage:
        before = self.storages.setdefault(found.key, found)
        if (before.dtype, before.numel) != (found.dtype, found.numel):
            raise NotThese(f"the storage {found.key[:40]!r} has two types or lengths")
        return found


def load_stream(path: str, file: RegularFile, start: int = 0, size: int | None = None) -> Loaded:
    """Reads a legacy stream.

    Args:
        path: The file.
        file: The same, opened.
        start: Where the stream begins, where it is a member of an archive.
        size: Its length; None for the rest of the file.

    Raises:
        UnreadableArtifact: It is none, or truncated.
    """
    cursor = Cursor(file, path, start, size)
    imports = _Remembering()
    head = file.read(start, min(cursor.size, _HEAD))
    protocol = head[1] if head[:1] == b"\x80" else 0

    def pickled() -> object:
        nonlocal imports
        before = imports.copy()
        try:
            value, cursor.position = fast_load(head, cursor.position, imports)
        except Unusual:
            imports = before
            value = Machine(cursor, imports, MAX_STEPS).run()
        return value

    pickled()  # the magic number, by which it was recognised
    version, system = pickled(), pickled()
    if version != _PROTOCOL or not isinstance(system, Pairs):
        raise UnreadableArtifact(f"says protocol {str(version)[:20]}, where torch.save has {_PROTOCOL}", path)
    told = {name: each for name, each in system.items if isinstance(name, str)}
    big = told.get("little_endian") is False
    root, keys = pickled(), pickled()
    places = _places(cursor, keys, imports.storages, big_endian=big)
    tree = TorchTree(cursor, lambda storage: places.get(storage.key))
    node = tree.node(root, (None, ""))
    end = max((each.offset + each.nbytes - start for each in places.values()), default=cursor.position)
    oddities: tuple[Oddity, ...] = ()
    if end < cursor.size:
        oddities = (Oddity("I007", f"{cursor.size - end:,} bytes behind the last storage are not read"),)
    devices = dict.fromkeys(each.location for each in imports.storages.values())
    return Loaded(
        node, "stream", protocol, tuple(imports.names), tuple(imports.called), tuple(devices), tuple(tree.lost),
        oddities, tuple(imports.arrays),
    )  # fmt: skip


def _places(cursor: Cursor, keys: object, storages: dict[str, Storage], *, big_endian: bool) -> dict[str, FileRange]:
    """Where each storage's elements are."""
    if not isinstance(keys, list) or not all(isinstance(key, (str, int)) for key in keys):
        raise UnreadableArtifact("has no list of storages behind its object: truncated or corrupt", cursor.path)
    found: dict[str, FileRange] = {}
    for key in map(str, keys):
        storage = storages.get(key)
        if storage is None or key in found:
            raise UnreadableArtifact(f"lists the storage {key[:40]!r}, of which its object says nothing", cursor.path)
        length = cursor.take(_COUNT, "the length of a storage")
        count = int.from_bytes(length, "big" if big_endian else "little", signed=True)
        if count != storage.numel:
            raise UnreadableArtifact(
                f"a storage has {count:,} elements, where its tensors say {storage.numel:,}: corrupt",
                cursor.path,
                place=cursor.place(),
            )
        nbytes = count * (itemsize(storage.dtype) if storage.dtype else 1)
        start = cursor.skip(nbytes, "a storage")
        located = cursor.locate(start, nbytes, big_endian=big_endian)
        if isinstance(located, FileRange):
            found[key] = located
    return found
