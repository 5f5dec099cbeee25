"""Where a tensor's bytes lie just as they are wanted, so that the kernel can copy them, and they can be compared.

Most grafts move float32 slots from one contiguous HDF5 data set to another. Reading them through HDF5 and numpy costs
twice what a copy by the kernel does.
"""

import os
from collections.abc import Collection
from types import TracebackType
from typing import TYPE_CHECKING

from ckptdoctor import storage
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.followed import followed
from ckptdoctor.containers.bytes.window import Compared, Place, compared, copy_range, summed_up
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, H5Data, TensorRef

# HDF5 is loaded where a tensor lies in such a file.
if TYPE_CHECKING:
    from ckptdoctor.containers.hdf5.contract import H5Reader
    from ckptdoctor.containers.zips.stored_sums import StoredSums

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_MOST_OPEN = 16
_BY_SUM = 1 << 20
"""From so many bytes on a tensor is held against the checksum of its archive instead of being read a second time."""


class RawPlaces:
    """Copies tensors by the kernel where that is possible; keeps the files open meanwhile.

    Attributes:
        sums: The CRC-32 of the tensors that were compared and found the same, of the files that are summed up.
    """

    def __init__(self, summed: Collection[str] = (), *, followed: bool = True) -> None:
        """Begins with no file open.

        Args:
            summed: Files whose tensors are summed up while they are compared.
            followed: What is copied may be compared at once: nothing else is written there.
        """
        self.sums: dict[Place, int] = {}
        self._summed = summed
        self._is_followed = followed
        self._stored: StoredSums | None = None
        self._hdf5: dict[tuple[str, str | None], H5Reader] = {}
        self._descriptors: dict[str, int] = {}

    def __enter__(self) -> "RawPlaces":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._hdf5.values():
            file.close()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        if self._stored is not None:
            self._stored.close()
        self._hdf5.clear()
        self._descriptors.clear()

    def same(self, one: TensorRef, other: TensorRef, most: int | None = None) -> bool | None:
        """Whether two tensors of one type have the same bytes; None where theirs do not lie as they are in memory.

        Where the first is a member of a zip archive, the second has them if it has the member's CRC-32: the first is
        not read then. `most`: So many of their first bytes are compared.
        """
        first, second = self._anywhere(one), self._anywhere(other)
        if first is None or second is None or one.dtype != other.dtype or first.nbytes != second.nbytes:
            return None
        if most is not None and most < first.nbytes:
            return compared(*self._opened(first), *self._opened(second), most).same
        summed = [each for each in (first, second) if each.path in self._summed]
        found = self._followed(first, second)
        if found is None or (summed and found.crc is None):
            crc = self.crc(first) if first.nbytes >= _BY_SUM else None
            if crc is not None and crc == summed_up(self._open(second.path), second.start, second.nbytes):
                self.sums.update(dict.fromkeys(summed, crc))
                return True
            found = compared(*self._opened(first), *self._opened(second), first.nbytes, summed=bool(summed))
        if found.crc is not None:
            self.sums.update(dict.fromkeys(summed, found.crc))
        return found.same

    def copy(
        self, ref: TensorRef, dtype: str, nbytes: int, target: int, at: int, progress: Progress | None = None
    ) -> bool:
        """Copies a tensor's bytes into a file, if they are there as they are wanted.

        Args:
            ref: The tensor.
            dtype: The type that is wanted.
            nbytes: The number of bytes that are wanted.
            target: Descriptor of the file that is written.
            at: Where in it.
            progress: Told how many more bytes are copied.

        Returns:
            Whether they were; if not, nothing was written.
        """
        place = self.place(ref) if ref.dtype == dtype else None
        if place is None or place.nbytes != nbytes:
            return False
        descriptor = self._open(place.path)
        if os.fstat(descriptor).st_size < place.start + nbytes:
            raise UnreadableArtifact(f"the values of {ref.key!r} are not all in the file: it is truncated", place.path)
        copy_range(descriptor, place.start, nbytes, target, at, progress)
        if self._is_followed and (follower := followed()) is not None:
            follower.follow(place, descriptor, target, at)
        return True

    def crc(self, place: Place) -> int | None:
        """The CRC-32 of a range that is a member of a zip archive, as the archive has it; None where none is known."""
        if self._stored is None:
            from ckptdoctor.containers.zips.stored_sums import StoredSums

            self._stored = StoredSums()
        return self._stored.crc(*place)

    def place(self, ref: TensorRef) -> Place | None:
        """Where a tensor's bytes are as they are wanted: little-endian, in C order, without a checksum; else None."""
        if isinstance(ref.location, FileRange) and ref.location.crc32c:
            return None  # what has a checksum is read, so that it can be verified
        return self._anywhere(ref)

    def _anywhere(self, ref: TensorRef) -> Place | None:
        """The same, with or without a checksum."""
        location = ref.location
        if isinstance(location, (FileRange, H5Data)) and storage.is_remote(location.path):
            return None
        if isinstance(location, H5Data):
            location = self._within(location)
        if not isinstance(location, FileRange) or location.big_endian:
            return None
        is_turned = location.fortran_order and len(ref.shape) > 1
        return None if is_turned else Place(location.path, location.offset, location.nbytes)

    def _within(self, location: H5Data) -> FileRange | None:
        """Where the bytes of a data set are, if they are so in one piece."""
        from ckptdoctor.containers.hdf5.opening import open_h5

        key = (location.path, location.member)
        if key not in self._hdf5:
            while len(self._hdf5) >= _MOST_OPEN:
                self._hdf5.pop(next(iter(self._hdf5))).close()
            self._hdf5[key] = open_h5(*key)
        return self._hdf5[key].place(location.dataset.lstrip("/"))

    def _followed(self, one: Place, other: Place) -> Compared | None:
        """What is known of the second, if it was copied from the first."""
        follower = followed()
        return None if follower is None else follower.found(one, self._open(other.path), other.start)

    def _opened(self, place: Place) -> tuple[int, int]:
        return self._open(place.path), place.start

    def _open(self, path: str) -> int:
        if path not in self._descriptors:
            while len(self._descriptors) >= _MOST_OPEN:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            self._descriptors[path] = os.open(path, _FLAGS)
        return self._descriptors[path]
