"""The tar archive of torch 0.1, which torch reads to this day: `sys_info`, `pickle`, `tensors`, `storages`.

`storages` is a count, then for each a pickle of (key, location, class), a count of elements and the elements;
`tensors` a count, then for each a pickle of (key, storage's key, class), its rank (int32, 4 bytes unused), shape,
strides and offset in its storage. In `pickle`, a persistent reference is a tensor's key as text. Nothing is unpacked.
"""

from __future__ import annotations

import struct

from ckptdoctor import storage
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.machine import Machine
from ckptdoctor.containers.pickles.values import NotThese
from ckptdoctor.containers.torchfiles.archive import MAX_STEPS
from ckptdoctor.containers.torchfiles.imports import STORAGES, Name, Storage, Tensor, TorchImports
from ckptdoctor.containers.torchfiles.reading import Loaded
from ckptdoctor.containers.torchfiles.tree import TorchTree, itemsize
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange

_PARTS = ("pickle", "tensors", "storages")
_MOST_MEMBERS = 100
_MOST = 1_000_000
_MAX_RANK = 64


class _TensorsByKey(TorchImports):
    def __init__(self, tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self._tensors = tensors

    def persistent(self, reference: object) -> object:
        found = self._tensors.get(str(reference)) if isinstance(reference, (str, int)) else None
        if found is None:
            raise NotThese("a tensor is named that the archive does not have")
        return found


def load_tar(path: str, file: RegularFile) -> Loaded:
    """Reads the archive.

    Raises:
        UnreadableArtifact: A part is missing, or corrupt.
    """
    windows = _members(path, file)
    lacking = [name for name in _PARTS if name not in windows]
    if lacking:
        raise UnreadableArtifact(f"is a tar archive without {', '.join(lacking)}: it is none of torch 0.1", path)
    storages, places = _storages(windows["storages"])
    tensors = _tensors(windows["tensors"], storages)
    cursor = windows["pickle"]
    imports = _TensorsByKey(tensors)
    protocol = cursor.peek(1, 1)[0] if cursor.left > 1 else 0
    tree = TorchTree(cursor, lambda storage: places.get(storage.key))
    node = tree.node(Machine(cursor, imports, MAX_STEPS).run(), (None, ""))
    devices = dict.fromkeys(each.location for each in storages.values())
    return Loaded(node, "tar", protocol, tuple(imports.names), tuple(imports.called), tuple(devices), tuple(tree.lost))


def _members(path: str, file: RegularFile) -> dict[str, Cursor]:
    """A window into the file for each member; links and folders are left alone."""
    import tarfile

    found: dict[str, Cursor] = {}
    try:
        with storage.open_stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
            for number, member in enumerate(archive):
                if number >= _MOST_MEMBERS:
                    break
                if member.isreg() and member.offset_data + member.size <= file.size:
                    found.setdefault(
                        member.name.rpartition("/")[2], Cursor(file, path, member.offset_data, member.size)
                    )
    except (tarfile.TarError, OSError, ValueError, RecursionError) as error:
        raise UnreadableArtifact(f"is a broken tar archive: {error}", path) from error
    return found


def _plain(cursor: Cursor) -> object:
    return Machine(cursor, TorchImports(), MAX_STEPS).run()


def _count(cursor: Cursor, what: str) -> int:
    count = _plain(cursor)
    if not isinstance(count, int) or not 0 <= count <= min(_MOST, cursor.left):
        raise UnreadableArtifact(f"says that it has {str(count)[:20]} {what}: corrupt", cursor.path)
    return count


def _storages(cursor: Cursor) -> tuple[dict[str, Storage], dict[str, FileRange]]:
    found: dict[str, Storage] = {}
    places: dict[str, FileRange] = {}
    for _ in range(_count(cursor, "storages")):
        described = _plain(cursor)
        match described:
            case (key, str() as location, Name(name=kind)) if kind in STORAGES:
                dtype = STORAGES[kind]
            case _:
                raise UnreadableArtifact("describes a storage by something that none has", cursor.path)
        (count,) = struct.unpack("<q", cursor.take(8, "the length of a storage"))
        nbytes = count * itemsize(dtype)
        located = cursor.locate(cursor.skip(nbytes, "a storage"), nbytes)
        found[str(key)] = Storage(str(key), dtype, count, location)
        if isinstance(located, FileRange):
            places[str(key)] = located
    return found, places


def _tensors(cursor: Cursor, storages: dict[str, Storage]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for _ in range(_count(cursor, "tensors")):
        described = _plain(cursor)
        if not isinstance(described, tuple) or len(described) < 2 or str(described[1]) not in storages:
            raise UnreadableArtifact("describes a tensor in a storage that it does not have", cursor.path)
        storage = storages[str(described[1])]
        rank, _unused = struct.unpack("<ii", cursor.take(8, "a tensor's rank"))
        if not 0 <= rank <= _MAX_RANK:
            raise UnreadableArtifact(f"has a tensor of {rank} dimensions", cursor.path)
        numbers = struct.unpack(f"<{2 * rank + 1}q", cursor.take(8 * (2 * rank + 1), "a tensor's shape"))
        if any(not 0 <= each < 1 << 48 for each in numbers):
            raise UnreadableArtifact("has a tensor whose shape is none", cursor.path)
        found[str(described[0])] = Tensor(storage, storage.dtype, numbers[:rank], numbers[-1], numbers[rank : 2 * rank])
    return found
