"""An HDF5 file that was cut off: its objects that are whole, in a new file.

The superblock says where the file should end, and HDF5 opens nothing that is shorter. So the library is shown a file of
that length, twice, with other bytes in the place of those that are lost: what is the same both times depends on none
of them (HDF5 File Format Specification 3.0, II.A).
"""

import os
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py as _h5py
import numpy as np

from ckptdoctor.containers.bytes.window import Window, read_at
from ckptdoctor.containers.hdf5.copying import copy_attribute, link_properties

if TYPE_CHECKING:
    from typing_extensions import Buffer

h5py: Any = _h5py  # its stubs leave out the low-level interface

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OLD, _NEW = 2, 4
"""Versions of the superblock: below, the first form; below, the second."""
_WIDE = 8
_HEAD = 64
_MOST_DEPTH, _MOST_OBJECTS = 256, 1_000_000
_FAILURES = (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError, MemoryError)
_LOST = b"\xff\xaa"
"""Not zeros: a global heap of zeros is read for ever."""


class Cut(NamedTuple):
    """An HDF5 file that ends too early.

    Attributes:
        path: The file that it lies in.
        start: Its first byte there.
        there: Its bytes that are there.
        size: Its bytes as its superblock says.
    """

    path: str
    start: int
    there: int
    size: int


class Object(NamedTuple):
    """A group or a data set that is whole, as far as it depends on bytes that are there.

    Attributes:
        is_group: Whether it is one.
        attributes: Name of each attribute → its type and value.
        about: What a data set is, and where its bytes are.
    """

    is_group: bool
    attributes: Mapping[str, bytes]
    about: bytes


class Found(NamedTuple):
    """What is whole of a file.

    Attributes:
        cut: The file.
        objects: Path → the object, "" for the root.
        lost: Paths of what is named and not whole; attributes behind an `@`.
        unlisted: Groups of which not every member can be named.
    """

    cut: Cut
    objects: Mapping[str, Object]
    lost: tuple[str, ...]
    unlisted: tuple[str, ...]


def cut_off(path: str, start: int = 0) -> Cut | None:
    """The file as its superblock describes it, if that is there and it ends too early.

    Args:
        path: The file.
        start: Where in it HDF5 begins, up to its end: a member of an archive that was cut off.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        there = os.fstat(descriptor).st_size - start
        raw = bytearray(_HEAD)
        read_at(descriptor, memoryview(raw), start)
    finally:
        os.close(descriptor)
    size = _end(bytes(raw))
    return Cut(path, start, there, size) if there < size < 1 << 62 else None


def _end(raw: bytes) -> int:
    """The end of the file that a superblock at its beginning tells; 0 for none."""
    version = raw[8]
    if not raw.startswith(_SIGNATURE) or version >= _NEW:
        return 0
    if version < _OLD:
        base = 24 + 4 * version
        width, end = raw[13], base + 16
    else:
        base, width, end = 12, raw[9], 28
    (block,), (told,) = (struct.unpack_from("<Q", raw, each) for each in (base, end))
    return int(told) if width == _WIDE and block == 0 else 0


class _Padded(Window):
    """A file of the length that it should have, with the same byte wherever one is lost."""

    def __init__(self, descriptor: int, cut: Cut, lost: int) -> None:
        super().__init__(descriptor, cut.start, cut.size)
        self._lost = bytes([lost])

    def readinto(self, buffer: "Buffer") -> int:
        """Reads what is there, and fills up the rest."""
        view = memoryview(buffer).cast("B")
        done = super().readinto(view)
        more = max(0, min(len(view), self.size - self.tell() + done) - done)
        view[done : done + more] = self._lost * more
        self.seek(more, os.SEEK_CUR)
        return done + more


@contextmanager
def _opened(cut: Cut, lost: int) -> Iterator[Any]:
    descriptor = os.open(cut.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        with h5py.File(_Padded(descriptor, cut, lost), "r") as file:
            yield file
    finally:
        os.close(descriptor)


def look(cut: Cut) -> Found | None:
    """What is whole; None where not even the root is."""
    seen: list[dict[str, Object]] = []
    unlisted: dict[str, None] = {}
    for lost in _LOST:
        objects: dict[str, Object] = {}
        try:
            with _opened(cut, lost) as file:
                _walk(file.id, h5py.h5g.open(file.id, b"/"), "", cut.there, objects, unlisted)
        except _FAILURES:
            return None
        seen.append(objects)
    whole: dict[str, Object] = {}
    gone = dict.fromkeys(seen[0].keys() ^ seen[1].keys())
    for path in [each for each in seen[0] if each in seen[1]]:
        one, other = seen[0][path], seen[1][path]
        parent = path.rpartition("/")[0]
        if (one.is_group, one.about) != (other.is_group, other.about) or (path and parent not in whole):
            gone[path] = None
            continue
        kept = {name: each for name, each in one.attributes.items() if each and other.attributes.get(name) == each}
        lacking = (one.attributes.keys() | other.attributes.keys()) - kept.keys()
        gone |= dict.fromkeys(f"{path}@{name}" for name in lacking)
        whole[path] = one._replace(attributes=kept)
    lost_data = [path for path, each in whole.items() if not each.is_group and not each.about]
    for path in lost_data:
        del whole[path]
    return Found(cut, whole, tuple(sorted({*gone, *lost_data} - {""})), tuple(unlisted))


def _walk(file: Any, group: Any, path: str, there: int, objects: dict[str, Object], unlisted: dict[str, None]) -> None:
    """Notes a group and everything below it; what cannot be opened is noted as a data set of which nothing is known."""
    objects[path] = Object(True, _attributes(group), b"group")
    names: list[bytes] = []
    try:
        names.extend(group)
    except _FAILURES:
        unlisted[path or "/"] = None
    for raw in names:
        where = f"{path}/{raw.decode('utf-8', 'surrogateescape')}" if path else raw.decode("utf-8", "surrogateescape")
        if where in objects or where.count("/") > _MOST_DEPTH or len(objects) > _MOST_OBJECTS or not raw:
            continue
        objects[where] = Object(False, {}, b"")
        try:
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                continue
            kind = h5py.h5o.get_info(group, raw).type
            if kind == h5py.h5o.TYPE_GROUP:
                _walk(file, h5py.h5g.open(group, raw), where, there, objects, unlisted)
            elif kind == h5py.h5o.TYPE_DATASET:
                dataset = h5py.h5d.open(group, raw)
                objects[where] = Object(False, _attributes(dataset), _about(dataset, there))
        except _FAILURES:
            continue


def _attributes(of: Any) -> dict[str, bytes]:
    """Each attribute's type and value; b"" for one that cannot be read."""
    found: dict[str, bytes] = {}
    try:
        for index in range(h5py.h5a.get_num_attrs(of)):
            attribute = h5py.h5a.open(of, index=index)
            name = attribute.name.decode("utf-8", "surrogateescape")
            found[name] = b""
            values = np.empty(attribute.shape or (), attribute.dtype)
            if attribute.shape is not None:
                attribute.read(values)
            found[name] = repr((attribute.dtype, attribute.shape, values.tolist())).encode("utf-8", "backslashreplace")
    except _FAILURES:
        found.setdefault("?", b"")
    return found


def _about(dataset: Any, there: int) -> bytes:
    """A data set's type, shape and place; b"" where bytes of it are lost."""
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    about: list[object] = [str(dataset.dtype), dataset.shape, layout]
    if dataset.dtype.hasobject or layout == h5py.h5d.COMPACT:
        values = np.empty(dataset.shape, dataset.dtype)
        dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
        about.append(values.tolist())
    elif layout == h5py.h5d.CONTIGUOUS and not properties.get_external_count():
        place, size = dataset.get_offset(), dataset.get_storage_size()
        if size and (place is None or place + size > there):
            return b""
        about.append((place, size))
    elif layout == h5py.h5d.CHUNKED:
        chunks = [dataset.get_chunk_info(index) for index in range(dataset.get_num_chunks())]
        if any(each.byte_offset + each.size > there for each in chunks):
            return b""
        about.append(chunks)
    else:
        return b""
    return repr(about).encode("utf-8", "backslashreplace")


def write(found: Found, target: Any) -> None:
    """Writes what is whole, in the order in which it was made: readers without a configuration go by that.

    Args:
        found: What `look` has found.
        target: A path, or a window that reaches to the end of its file.
    """
    below: dict[str, list[str]] = {}
    for path in found.objects:
        if path:
            below.setdefault(path.rpartition("/")[0], []).append(path)
    with _opened(found.cut, _LOST[0]) as old, h5py.File(target, "w") as new:
        stack = [("", h5py.h5g.open(old.id, b"/"), h5py.h5g.open(new.id, b"/"))]
        while stack:
            path, source, goal = stack.pop()
            _keep(found.objects[path], source, goal)
            members = [
                (each, each.rpartition("/")[2].encode("utf-8", "surrogateescape")) for each in below.get(path, ())
            ]
            members.sort(key=lambda each: h5py.h5o.get_info(source, each[1]).addr)
            for where, raw in members:
                if found.objects[where].is_group:
                    made = h5py.h5g.create(goal, raw, link_properties())
                    stack.append((where, h5py.h5g.open(source, raw), made))
                else:
                    h5py.h5o.copy(source, raw, goal, raw, _bare(), link_properties())
                    _keep(found.objects[where], h5py.h5d.open(source, raw), h5py.h5d.open(goal, raw))


def _bare() -> Any:
    """Copies without attributes: those that are lost would end it."""
    properties = h5py.h5p.create(h5py.h5p.OBJECT_COPY)
    properties.set_copy_object(h5py.h5o.COPY_WITHOUT_ATTR_FLAG)
    return properties


def _keep(kept: Object, source: Any, goal: Any) -> None:
    for name in kept.attributes:
        copy_attribute(h5py.h5a.open(source, name.encode("utf-8", "surrogateescape")), goal)
