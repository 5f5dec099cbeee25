"""What every reader of HDF5 files answers: where the groups are, what they are called, what the data sets are."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.hdf5.names import decode_names, decode_text
from ckptdoctor.containers.hdf5.order import Members, in_order_of_writing
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, H5Data

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Self

    from ckptdoctor.references import TensorRef
    from ckptdoctor.state import Oddity

CHUNK_BYTES = 8 << 20
MAX_NAMES = 1_000_000
SMALLEST = 64
"""Bytes that a data set takes in a file at the least, its link and its header; in real files it is 300."""
LOOKED_UP_FLOOR = 10_000
"""Data sets that may be looked up in any file. Above, no more than its size has room for: lists can repeat a name."""


class H5Reader(ABC):
    """An HDF5 file, or an HDF5 member of a zip archive, opened for reading.

    Attributes:
        path: The file on disk.
        member: The archive's member, where `path` is an archive.
        oddities: What was met and passed over: links out of the file, unreadable types, bombs.
    """

    def __init__(self, path: str, member: str | None = None) -> None:
        self.path = path
        self.member = member
        self.oddities: list[Oddity] = []
        self._left = LOOKED_UP_FLOOR

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Closes the file; the tensors' locations stay valid for another reader."""

    @abstractmethod
    def has_group(self, path: str) -> bool:
        """Whether a group lies at `path` ("a/b"; "" is the root)."""

    @abstractmethod
    def has_attribute(self, path: str, name: str) -> bool:
        """Whether the group at `path` has this attribute."""

    @abstractmethod
    def _members(self, path: str) -> Members | None:
        """What is in the group at `path`; None if there is none."""

    @abstractmethod
    def _every_group(self) -> Mapping[str, Members]:
        """What is in each group, by path, parents first."""

    def children(self, path: str) -> tuple[list[str], list[str]]:
        """Names of the groups and of the data sets in a group, by their places in the file.

        HDF5 lists links by name. Places follow the order of writing but for groups that were put where there was room;
        `walk` tells those, too.
        """
        members = self._members(path) or Members(0, (), ())
        return [name for _, name in sorted(members.groups)], [name for _, name in sorted(members.datasets)]

    def walk(self) -> Iterator[tuple[str, list[str], list[str]]]:
        """Every group, parents first: its path, its groups, its data sets. Each object once, however it is linked.

        Groups and data sets come in the order in which they were written, and so in the order in which Keras walked
        the model.
        """
        yield from in_order_of_writing(self._every_group())

    @abstractmethod
    def tensor(self, path: str, key: str | None = None) -> TensorRef | None:
        """The data set at `path`, described and not read; None if there is none that lies in this file.

        Args:
            path: Path from the root, without a leading slash.
            key: What the artifact calls it; the path by default.
        """

    def scalar(self, tensor: TensorRef) -> int | float | bool | None:
        """The value of a tensor with exactly one element; None for any other, and for types that are no number."""
        where = tensor.location
        return self._value(tensor.dtype, where) if tensor.size == 1 and isinstance(where, H5Data) else None

    @abstractmethod
    def _value(self, dtype: str, location: H5Data) -> int | float | bool | None:
        """The value of the one element; None if it is no number."""

    @abstractmethod
    def beginning(self, location: H5Data, most: int) -> bytes:
        """The bytes of a data set's first elements, so many at most."""

    @abstractmethod
    def read_chunks(self, location: H5Data, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray[Any, Any]]:
        """The elements of a data set in C order, as one-dimensional arrays of about `chunk_bytes` at most.

        bfloat16 comes as `ml_dtypes.bfloat16`, everything else in the byte order of this machine.
        """

    @abstractmethod
    def place(self, path: str) -> FileRange | None:
        """Where on the disk the bytes of a data set are, all of them in one piece and unpacked; else None."""

    @abstractmethod
    def _attribute(self, path: str, name: str) -> object:
        """The value of an attribute; None if there is none."""

    def text(self, path: str, name: str) -> str | None:
        """A text attribute of the group at `path`; None if there is none or it is no text."""
        return decode_text(self._attribute(path, name))

    def names(self, path: str, name: str) -> list[str] | None:
        """A list of names in an attribute, or in `name0`, `name1`, … where Keras had to split it; None if absent."""
        if self.has_attribute(path, name):
            return self._decoded(path, name)
        found: list[str] | None = None
        for index in range(MAX_NAMES):
            if not self.has_attribute(path, f"{name}{index}"):
                break
            found = found or []
            found.extend(self._decoded(path, f"{name}{index}"))
            if len(found) > MAX_NAMES:
                raise LimitExceeded(f"lists more than {MAX_NAMES:,} names", self.path, place=f"{path}@{name}")
        return found

    def _decoded(self, path: str, name: str) -> list[str]:
        names = decode_names(self._attribute(path, name))
        if names is None:
            raise UnreadableArtifact("should be a list of names", self.path, place=f"{path}@{name}")
        return names

    def _look_up(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise LimitExceeded(
                "its lists name the same data sets over and over, more than a file of its size can hold", self.path
            )


def sentence_of(error: BaseException) -> str:
    """What went wrong, in words for somebody who does not know HDF5's internals."""
    text = str(error).strip("'\"")
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return "no permission to read it"
    if "truncated file" in text:
        sizes = re.findall(r"eof = (\d+)", text)
        told = f": {int(sizes[0]):,} bytes of {int(sizes[1]):,}" if len(sizes) == 2 else ""
        return f"truncated: the HDF5 file is shorter than it says{told}"
    if "signature not found" in text:
        return "not an HDF5 file: the signature is missing"
    if isinstance(error, MemoryError):
        return "asks for more memory than there is"
    return f"HDF5 cannot read it: {' '.join(text.split())[:300] or type(error).__name__}"
