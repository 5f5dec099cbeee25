"""HDF5 files as h5py writes them unless told otherwise, read without the library and in this process."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.contract import CHUNK_BYTES, SMALLEST, H5Reader
from ckptdoctor.containers.hdf5.opening import Strange
from ckptdoctor.containers.hdf5.order import Members
from ckptdoctor.containers.hdf5.source import Source
from ckptdoctor.containers.hdf5.structure import Dataset, read_structure
from ckptdoctor.containers.hdf5.texts import texts
from ckptdoctor.references import FileRange, H5Data, TensorRef

if TYPE_CHECKING:
    import numpy as np

_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d", "bfloat16": "f", "bool": "?",
}  # fmt: skip


class PlainFile(H5Reader):
    """See `H5Reader`. Whatever is not known here raises `Strange`, at the latest when it is asked for."""

    def __init__(self, path: str, member: str | None = None) -> None:
        super().__init__(path, member)
        if not storage.is_file(path):
            raise Strange
        with ExitStack() as opened:
            try:
                stream, start, size = opened.enter_context(storage.open_stream(path)), 0, storage.size(path)
                if member is not None:
                    from ckptdoctor.containers.zips.archive import ZipArchive

                    archive = opened.enter_context(ZipArchive(path, stream))
                    if not archive.is_stored(member):
                        raise Strange
                    start, size = archive.offset(member), archive.size(member)
                self._start = start
                self._source = Source(path, stream, start, size)
                self._groups, self._heaps = read_structure(self._source)
            except OSError as error:
                raise Strange from error
            self._opened = opened.pop_all()
        self._left += size // SMALLEST

    def close(self) -> None:
        """Closes the file."""
        self._opened.close()

    def has_group(self, path: str) -> bool:
        """As `H5Reader` says."""
        return path in self._groups

    def has_attribute(self, path: str, name: str) -> bool:
        """As `H5Reader` says."""
        return path in self._groups and name in self._groups[path].attributes

    def _attribute(self, path: str, name: str) -> object:
        if not self.has_attribute(path, name):
            return None
        found = self._groups[path].attributes[name]
        if found.type.name != "string" and all(found.shape):  # numbers
            raise Strange
        values = texts(found, self._heaps)
        return values if found.shape else values[0]

    def _members(self, path: str) -> Members | None:
        group = self._groups.get(path)
        return None if group is None else group.members

    def _every_group(self) -> dict[str, Members]:
        return {path: group.members for path, group in self._groups.items()}

    def _dataset(self, path: str) -> Dataset | None:
        parent, _, name = path.rpartition("/")
        group = self._groups.get(parent)
        return None if group is None else group.datasets.get(name)

    def tensor(self, path: str, key: str | None = None) -> TensorRef | None:
        """As `H5Reader` says."""
        self._look_up()
        found = self._dataset(path)
        if found is None:
            return None
        is_text = found.type.name == "string"
        location = None if is_text else H5Data(self.path, f"/{path}", self.member)
        return TensorRef(key or path, found.type.name, found.shape, location)

    def _value(self, dtype: str, location: H5Data) -> int | float | bool:
        raw = self.beginning(location, 8)
        code = _CODES[dtype]
        value: int | float | bool = struct.unpack(f"<{code}", raw if dtype != "bfloat16" else b"\0\0" + raw)[0]
        return value

    def beginning(self, location: H5Data, most: int) -> bytes:
        """As `H5Reader` says."""
        found = self._dataset(location.dataset.lstrip("/"))
        if found is None or found.type.is_big:
            raise Strange
        return self._source.read(found.place, min(most, found.nbytes)) if found.nbytes else b""

    def read_chunks(self, location: H5Data, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray[Any, Any]]:
        """As `H5Reader` says."""
        from ckptdoctor.containers.tensors.values import chunks

        path = location.dataset.lstrip("/")
        tensor, place = self.tensor(path), self.place(path)
        if tensor is None or place is None:
            raise Strange
        yield from chunks(tensor.at(place), chunk_bytes)

    def place(self, path: str) -> FileRange | None:
        """As `H5Reader` says."""
        found = self._dataset(path)
        if found is None or found.type.name == "string":
            return None
        if not found.nbytes:
            return FileRange(self.path, self._start, 0)
        if found.place + found.nbytes > self._source.size:
            raise Strange
        return FileRange(self.path, self._start + found.place, found.nbytes, big_endian=found.type.is_big)
