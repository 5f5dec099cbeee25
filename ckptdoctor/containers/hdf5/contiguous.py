"""HDF5 files that tell where in them the bytes of a data set lie."""

from __future__ import annotations

from typing import Any

import h5py as _h5py

from ckptdoctor.containers.hdf5.elements import bomb, dtype_name
from ckptdoctor.containers.hdf5.file import H5File
from ckptdoctor.containers.zips.archive import ZipArchive

h5py: Any = _h5py  # its stubs leave out the low-level interface


class ContiguousFile(H5File):
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
