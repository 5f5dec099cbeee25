"""Where a tensor's bytes lie just as they are wanted, so that the kernel can copy them from file to file.

Most grafts move float32 slots from one contiguous HDF5 data set to another. Reading them through HDF5 and numpy costs
twice what a copy by the kernel does.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, NamedTuple

import h5py as _h5py

from ckptdoctor.containers.h5_elements import bomb, dtype_name
from ckptdoctor.containers.hdf5 import H5File
from ckptdoctor.containers.window import copy_range
from ckptdoctor.containers.zip_archive import ZipArchive
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.state import FileRange, H5Data, TensorRef

h5py: Any = _h5py
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MOST_OPEN = 16


class _Contiguous(H5File):
    """An HDF5 file that tells where in it a data set's bytes are."""

    def __init__(self, path: str, member: str | None) -> None:
        super().__init__(path, member)
        self.start: int | None = 0
        if member is not None:
            with ZipArchive(path) as archive:
                self.start = archive.offset(member) if archive.is_stored(member) else None

    def place(self, path: str) -> tuple[int, int] | None:
        """First byte and length of a contiguous, little-endian data set with all of its bytes here; else None."""
        with self._guarded(path):
            dataset = self._dataset(path)
            if self.start is None or dataset is None or not self._own_bytes(dataset, path):
                return None
            properties = dataset.get_create_plist()
            offset = dataset.get_offset()
            if properties.get_layout() != h5py.h5d.CONTIGUOUS or offset is None or bomb(dataset):
                return None
            kind = dtype_name(dataset)
            if kind == "string" or kind.startswith("unknown") or dataset.dtype.byteorder == ">":
                return None
            return self.start + int(offset), int(dataset.get_storage_size())


class Place(NamedTuple):
    """A range of a file."""

    path: str
    start: int
    nbytes: int


class RawPlaces:
    """Copies tensors by the kernel where that is possible; keeps the files open meanwhile."""

    def __init__(self) -> None:
        self._hdf5: dict[tuple[str, str | None], _Contiguous] = {}
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> RawPlaces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._hdf5.values():
            file.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._hdf5.clear()
        self._descriptors.clear()

    def copy(self, ref: TensorRef, dtype: str, nbytes: int, target: int, at: int) -> bool:
        """Copies a tensor's bytes into a file, if they are there as they are wanted.

        Args:
            ref: The tensor.
            dtype: The type that is wanted.
            nbytes: The number of bytes that are wanted.
            target: Descriptor of the file that is written.
            at: Where in it.

        Returns:
            Whether they were; if not, nothing was written.
        """
        place = self.place(ref) if ref.dtype == dtype else None
        if place is None or place.nbytes != nbytes:
            return False
        descriptor = self._open(place.path)
        if os.fstat(descriptor).st_size < place.start + nbytes:
            raise UnreadableArtifact(f"the values of {ref.key!r} are not all in the file: it is truncated", place.path)
        copy_range(descriptor, place.start, nbytes, target, at)
        return True

    def place(self, ref: TensorRef) -> Place | None:
        """Where a tensor's bytes are as they are wanted: little-endian, in C order, without a checksum; else None."""
        location = ref.location
        if isinstance(location, FileRange):
            # What has a checksum is read, so that it can be verified.
            plain = not location.big_endian and not (location.fortran_order and len(ref.shape) > 1)
            return Place(location.path, location.offset, location.nbytes) if plain and not location.crc32c else None
        if not isinstance(location, H5Data):
            return None
        key = (location.path, location.member)
        if key not in self._hdf5:
            while len(self._hdf5) >= _MOST_OPEN:
                self._hdf5.pop(next(iter(self._hdf5))).close()
            self._hdf5[key] = _Contiguous(*key)
        found = self._hdf5[key].place(location.dataset.lstrip("/"))
        return None if found is None else Place(location.path, *found)

    def _open(self, path: str) -> int:
        if path not in self._descriptors:
            while len(self._descriptors) >= _MOST_OPEN:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[path] = os.open(path, _FLAGS)
        return self._descriptors[path]
