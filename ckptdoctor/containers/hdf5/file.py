"""HDF5 files, read with h5py but on our terms: nothing outside the file is opened, nothing is believed unchecked.

HDF5 can point out of a file in three ways (external links, external storage, virtual data sets) and h5py follows all of
them silently. Paths are therefore walked component by component, looking at each link before it is taken, and
every data set's creation properties are looked at before its bytes are.
"""

from __future__ import annotations

import os

# A file may name a filter that HDF5 would load as a plug-in; this turns the search for plug-ins off (H5PL, "::").
os.environ.setdefault("HDF5_PLUGIN_PRELOAD", "::")

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import h5py as _h5py
import numpy as np

from ckptdoctor import storage
from ckptdoctor.containers.hdf5.contract import CHUNK_BYTES, MAX_NAMES, SMALLEST, H5Reader, sentence_of
from ckptdoctor.containers.hdf5.elements import bomb, dtype_name, read_elements, unpackable
from ckptdoctor.containers.hdf5.opening import Strange, is_without_library
from ckptdoctor.containers.hdf5.order import Members, join
from ckptdoctor.containers.hdf5.structure import MAX_DEPTH, fetch_structure
from ckptdoctor.containers.hdf5.tables import MAX_NODES
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import FileRange, H5Data, TensorRef
from ckptdoctor.state import Oddity

if TYPE_CHECKING:
    from ckptdoctor.containers.zips.archive import ZipArchive

h5py: Any = _h5py  # its stubs leave out the low-level interface, which is what this module speaks

MAX_ATTRIBUTE_BYTES = 64 << 20


class H5File(H5Reader):
    """See `H5Reader`; any HDF5 file. To be used where a crash of the library costs no more than this file."""

    def __init__(self, path: str, member: str | None = None) -> None:
        super().__init__(path, member)
        if is_without_library():
            raise Strange
        self._archive: ZipArchive | None = None
        self._stream: BinaryIO | None = None
        self._start: int | None = 0
        self._groups: dict[str, Any] = {}
        self._hard: set[str] = set()
        self._last: tuple[str, Any] | None = None
        if not storage.is_file(path):
            raise UnreadableArtifact("is not a regular file", path, place=os.path.basename(path))
        source: Any = path
        if member is not None:
            from ckptdoctor.containers.zips.archive import ZipArchive

            self._archive = ZipArchive(path)
            source = self._stream = self._archive.open(member)
            size = self._archive.size(member)
            self._start = self._archive.offset(member) if self._archive.is_stored(member) else None
            if storage.is_remote(path) and self._start is not None:
                fetch_structure(path, self._start, size)
        else:
            size = storage.size(path)
            if storage.is_remote(path):
                fetch_structure(path, 0, size)
                source = self._stream = storage.open_stream(path)
        self._left += size // SMALLEST
        try:
            with self._guarded(member or os.path.basename(path)):
                # Read-only and without locks: a running training may hold the file, a mount may know no locks.
                self._file = h5py.File(source, "r", locking=False)
                try:
                    self._groups[""] = h5py.h5o.open(self._file.id, b"/")
                except BaseException:
                    self._file.close()  # the error would keep it open for as long as somebody holds it
                    raise
        except BaseException:
            self._close_source()
            raise

    def close(self) -> None:
        """Closes the file; the tensors' locations stay valid for another reader."""
        self._groups.clear()
        self._last = None
        with self._guarded("/"):
            self._file.close()
        self._close_source()

    def _close_source(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._archive is not None:
            self._archive.close()

    @contextmanager
    def _guarded(self, place: str) -> Iterator[None]:
        """Turns whatever h5py raises on a damaged or strange file into one sentence that says where."""
        try:
            yield
        except UnreadableArtifact as error:
            error.path = error.path or self.path
            raise
        except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, MemoryError) as error:
            raise UnreadableArtifact(sentence_of(error), self.path, place=place) from error

    # ------------------------------------------------------------------------------------------------- structure

    def _note(self, code: str, message: str) -> None:
        oddity = Oddity(code, message)
        if oddity not in self.oddities and len(self.oddities) < MAX_DEPTH:
            self.oddities.append(oddity)

    def _followable(self, parent: Any, name: bytes, where: str) -> bool:
        """Whether a link stays in the file, noting the ones that do not; names that are not there are False."""
        try:
            kind = parent.links.get_info(name).type
        except (KeyError, RuntimeError):  # h5py says either, of what is not there and of what is damaged
            if parent.links.exists(name):
                raise
            return False
        if kind == h5py.h5l.TYPE_HARD:
            return True
        if kind == h5py.h5l.TYPE_EXTERNAL:
            self._note("X002", f"{where} is a link into another file; it was not followed")
        else:
            self._note("I007", f"{where} is a soft link; it was not followed (Keras refuses it too)")
        return False

    def _group(self, path: str) -> Any:
        """The group at `path`, reached by hard links only; None if there is none."""
        known = self._groups.get(path)
        if known is not None:
            return known
        found = self._open(path)
        if not isinstance(found, h5py.h5g.GroupID):
            return None
        if len(self._groups) < MAX_NAMES:
            self._groups[path] = found
        return found

    def _open(self, path: str) -> Any:
        parent_path, _, name = path.rpartition("/")
        if name in {"", ".", ".."} or path.count("/") > MAX_DEPTH:
            return None
        parent = self._group(parent_path)
        encoded = name.encode("utf-8", "surrogateescape")
        if parent is None or (path not in self._hard and not self._followable(parent, encoded, path)):
            return None
        return h5py.h5o.open(parent, encoded)

    def _dataset(self, path: str) -> Any:
        # A data set is described and then read, or read piece by piece: the last one stays open.
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        found = self._open(path)
        if not isinstance(found, h5py.h5d.DatasetID):
            return None
        self._last = path, found
        return found

    def has_group(self, path: str) -> bool:
        """As `H5Reader` says."""
        with self._guarded(path):
            return self._group(path) is not None

    def has_attribute(self, path: str, name: str) -> bool:
        """As `H5Reader` says."""
        with self._guarded(path):
            group = self._group(path)
            return group is not None and h5py.h5a.exists(group, name.encode())

    def _members(self, path: str) -> Members | None:
        with self._guarded(path or "/"):
            group = self._group(path)
            return None if group is None else self._inside(path, group)

    def _inside(self, path: str, group: Any) -> Members:
        """What is in an open group, without what lies in other files."""
        if group.get_num_objs() > MAX_NODES:
            raise LimitExceeded(f"holds {group.get_num_objs():,} objects; {MAX_NODES:,} are read", self.path)
        groups: list[tuple[int, str]] = []
        datasets: list[tuple[int, str]] = []
        for raw in group:
            name = raw.decode("utf-8", "surrogateescape")
            where = join(path, name)
            if not self._followable(group, raw, where):
                continue
            if len(self._hard) < MAX_NAMES:
                self._hard.add(where)
            info = h5py.h5o.get_info(group, raw)
            if info.type == h5py.h5o.TYPE_GROUP:
                groups.append((info.addr, name))
            elif info.type == h5py.h5o.TYPE_DATASET:
                datasets.append((info.addr, name))
        return Members(h5py.h5o.get_info(group).addr, tuple(groups), tuple(datasets))

    def _every_group(self) -> dict[str, Members]:
        """What is in each group, by path, parents first; the file has been looked through when this returns."""
        found: dict[str, Members] = {}
        seen: set[int] = set()
        pending = [""]
        nodes = 0
        while pending:
            path = pending.pop()
            with self._guarded(path or "/"):
                group = self._group(path)
                if group is None:
                    continue
                if h5py.h5o.get_info(group).addr in seen:
                    self._note("I007", f"{path} is the same group as one above it; it was read once")
                    continue
                members = self._inside(path, group)
            seen.add(members.address)
            nodes += 1 + len(members.datasets)
            if nodes > MAX_NODES:
                raise LimitExceeded(f"more than {MAX_NODES:,} groups and data sets", self.path)
            found[path] = members
            if path.count("/") + 2 > MAX_DEPTH and members.groups:
                self._note("I007", f"groups below depth {MAX_DEPTH} were not read")
                continue
            pending.extend(join(path, name) for _, name in sorted(members.groups, reverse=True))
        return found

    # ------------------------------------------------------------------------------------------------ attributes

    def _attribute(self, path: str, name: str) -> Any:
        with self._guarded(f"{path}@{name}"):
            group = self._group(path)
            encoded = name.encode()
            if group is None or not h5py.h5a.exists(group, encoded):
                return None
            attribute = h5py.h5a.open(group, encoded)
            size = prod(attribute.shape or ()) * attribute.dtype.itemsize
            if size > MAX_ATTRIBUTE_BYTES:
                raise LimitExceeded(f"claims {size:,} bytes; {MAX_ATTRIBUTE_BYTES:,} are read", self.path)
            return h5py.AttributeManager(h5py.Group(group))[name]

    # --------------------------------------------------------------------------------------------------- tensors

    def tensor(self, path: str, key: str | None = None) -> TensorRef | None:
        """As `H5Reader` says."""
        self._look_up()
        with self._guarded(path):
            dataset = self._dataset(path)
            if dataset is None:
                return None
            # What has a place is bytes of this file as they are: neither packed nor elsewhere.
            properties = dataset.get_create_plist() if dataset.get_offset() is None else None
            if properties is not None and not self._own_bytes(dataset, path, properties):
                return None
            shape = dataset.shape
            dtype = dtype_name(dataset)
            if shape is None:
                dtype, shape = "unknown(null)", ()
            location = None
            if dtype.startswith("unknown"):
                self._note("I007", f"{path} has elements of a type that no tensor has ({dtype})")
            elif dtype != "string":
                location = H5Data(self.path, f"/{path}", self.member)
                refused = None if properties is None else bomb(dataset) or unpackable(dataset, properties)
                if refused is not None:
                    self._note("X004", f"{path} {refused}; it is not read")
            return TensorRef(key or path, dtype, shape, location)

    def _own_bytes(self, dataset: Any, path: str, properties: Any = None) -> bool:
        """Whether a data set's bytes lie in this file, as far as its layout can tell without reading."""
        properties = properties or dataset.get_create_plist()
        layout = properties.get_layout()
        if layout == h5py.h5d.VIRTUAL:
            self._note("X002", f"{path} is a virtual data set, made of other files; it was not read")
            return False
        if layout == h5py.h5d.CONTIGUOUS and properties.get_external_count():
            self._note("X002", f"{path} keeps its bytes in another file; it was not read")
            return False
        return True

    def place(self, path: str) -> FileRange | None:
        """As `H5Reader` says."""
        with self._guarded(path):
            dataset = self._dataset(path)
            if self._start is None or dataset is None or not self._own_bytes(dataset, path):
                return None
            layout, offset = dataset.get_create_plist().get_layout(), dataset.get_offset()
            if layout != h5py.h5d.CONTIGUOUS or offset is None or bomb(dataset):
                return None
            kind = dtype_name(dataset)
            if kind == "string" or kind.startswith("unknown"):
                return None
            start, is_big = self._start + int(offset), dataset.dtype.byteorder == ">"
            return FileRange(self.path, start, int(dataset.get_storage_size()), big_endian=is_big)

    def _value(self, dtype: str, location: H5Data) -> int | float | bool | None:  # noqa: ARG002 - the elements tell
        for chunk in self.read_chunks(location):
            value = chunk[0].item() if chunk.dtype.kind != "V" else float(chunk[0])
            return value if isinstance(value, (bool, int, float)) else None
        return None

    def beginning(self, location: H5Data, most: int) -> bytes:
        """As `H5Reader` says."""
        first = next(self.read_chunks(location, chunk_bytes=most), None)
        return b"" if first is None else first.tobytes()

    def read_chunks(self, location: H5Data, *, chunk_bytes: int = CHUNK_BYTES) -> Iterator[np.ndarray[Any, Any]]:
        """As `H5Reader` says."""
        path = location.dataset.lstrip("/")
        with self._guarded(path):
            dataset = self._dataset(path)
            if dataset is None or not self._own_bytes(dataset, path) or dataset.shape is None:
                raise UnreadableArtifact("is not a data set of this file", self.path, place=path)
            dtype = dtype_name(dataset)
            if dtype == "string" or dtype.startswith("unknown"):
                raise UnreadableArtifact(f"holds no numbers but {dtype}", self.path, place=path)
            refused = bomb(dataset) or unpackable(dataset)
            if refused is not None:
                raise LimitExceeded(refused, self.path, place=path)
            yield from read_elements(dataset, chunk_bytes)
