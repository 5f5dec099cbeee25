"""numpy's own files: `.npy`, one array behind a header, and `.npz`, a zip archive of those.

Formats: numpy/lib/format.py (`_read_array_header`) and PKZIP's APPNOTE. Arrays are located, not read; arrays of objects
are pickles and go through `safe_pickle`, whatever `allow_pickle` would say.
"""

import re
import zlib
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import Node, load_at
from ckptdoctor.containers.pickles.values import NotThese, element_type, shape_of
from ckptdoctor.containers.tensors.array_bytes import c_order
from ckptdoctor.containers.zips.directory import (
    DEFLATED,
    ENCRYPTED,
    LOCAL,
    STORED,
    UTF8,
    Member,
    NoDirectory,
    read_directory,
)
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact
from ckptdoctor.references import Coded, FileRange, Inline, TensorRef
from ckptdoctor.words import counted

MAGIC = b"\x93NUMPY"
MAX_HEADER = 10_000
"""numpy's own bound (`max_header_size`)."""
MAX_SMALL = 1 << 16
"""Deflated arrays up to this size are inflated at once and carried inline."""
MAX_OBJECTS = 1 << 26
"""Deflated arrays of objects have to be inflated whole."""


class Header(NamedTuple):
    """The header of an npy file: its own length, and the array's type, shape and order."""

    length: int
    dtype: str
    itemsize: int
    shape: tuple[int, ...]
    big_endian: bool
    fortran: bool

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        count = self.itemsize
        for extent in self.shape:
            count *= extent
        return count


def read_npy(path: str) -> Node:
    """Reads an npy file: a TensorRef, or the structure that an array of objects holds."""
    with RegularFile(path) as file:
        return _array(Cursor(file, path), "")


def read_npz(path: str) -> dict[str, Node]:
    """Reads an npz file: each member by its name (without `.npy`), in the archive's order.

    Raises:
        UnreadableArtifact: The archive is broken, encrypted, or claims what is not there.
    """
    with RegularFile(path) as file:
        found: dict[str, Node] = {}
        for member in _members(path):
            name = member.name.removesuffix(".npy")
            found[name] = _member(file, member, name)
        return found


def _array(cursor: Cursor, key: str) -> Node:
    header = read_header(cursor)
    if header.dtype == "object":
        return load_at(cursor, key)
    place = cursor.locate(cursor.position, header.nbytes, big_endian=header.big_endian, fortran=header.fortran)
    if isinstance(place, Inline):
        place = _ordered(place.data, header)
    return TensorRef(key, header.dtype, header.shape, place)


def _ordered(data: bytes, header: Header) -> Inline:
    return Inline(c_order(data, header.shape, header.dtype, big=header.big_endian, fortran=header.fortran))


def read_header(cursor: Cursor) -> Header:
    """Reads the header at a cursor, and leaves the cursor on the array's first byte."""
    start = cursor.position
    magic = cursor.take(8, "an npy header")
    if magic[:6] != MAGIC or magic[6] not in {1, 2, 3}:
        raise UnreadableArtifact("an npy header is missing", cursor.path, place=cursor.place(start))
    width = 2 if magic[6] == 1 else 4
    length = int.from_bytes(cursor.take(width, "an npy header"), "little")
    if length > MAX_HEADER:
        raise LimitExceeded(f"an npy header of {counted(length, 'byte')}", cursor.path, place=cursor.place(start))
    text = cursor.take(length, "an npy header").decode("utf-8" if magic[6] == 3 else "latin-1", "replace")
    try:
        return _header(text, cursor.position - start)
    except (NotThese, ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        reason = str(error) if isinstance(error, NotThese) else "it is no dict of descr, fortran_order and shape"
        raise UnreadableArtifact(
            f"an npy header cannot be read: {reason}", cursor.path, place=cursor.place(start)
        ) from error


_FIELD = re.compile(
    r"""\s*(['"])(?P<name>descr|fortran_order|shape)\1\s*:\s*"""
    r"""(?:(['"])(?P<text>[^'"\\]*)\3|(?P<order>True|False)|\((?P<extents>[\sL,0-9-]*)\)|(?P<records>\[))\s*(?:,|\Z)"""
)
"""One entry of the header, which is a dict as Python writes it; Python is not asked to parse what a file says."""


def _fields(text: str) -> dict[str, object]:
    """The header's entries, whatever their order.

    Raises:
        TypeError: It is no dict of a text, a truth value and a tuple of numbers.
        NotThese: The elements are records.
    """
    text = text.strip()
    if not (text.startswith("{") and text.endswith("}")):
        raise TypeError
    inner, at = text[1:-1].rstrip(), 0
    found: dict[str, object] = {}
    while at < len(inner):
        match = _FIELD.match(inner, at)
        if match is None or match["name"] in found:
            raise TypeError
        if match["records"]:
            raise NotThese("its elements are records, which are not read")
        extents = match["extents"]
        if extents is not None:
            # Python 2 wrote long integers into shapes: (3L, 4L).
            parts = [part.strip().removesuffix("L") for part in extents.split(",")]
            if len(parts) == 1 and parts[0]:
                raise TypeError  # (3) is no tuple
            found[match["name"]] = tuple(int(part) for part in (parts if parts[-1] else parts[:-1]))
        else:
            found[match["name"]] = match["order"] == "True" if match["order"] else match["text"]
        at = match.end()
    return found


def _header(text: str, length: int) -> Header:
    fields = _fields(text)
    if set(fields) != {"descr", "fortran_order", "shape"}:
        raise TypeError
    code, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
    if not isinstance(fortran, bool) or not isinstance(shape, tuple) or not isinstance(code, str):
        raise TypeError
    element = element_type(code)
    if element.itemsize == 0 and element.name.startswith("unknown"):
        raise NotThese(f"its elements are {element.name}, which is not read")
    return Header(length, element.name, element.itemsize, shape_of(shape), element.big_endian, fortran)


# ---------------------------------------------------------------------------------------------------- npz archives


def _members(path: str) -> list[Member]:
    try:
        with storage.open_stream(path) as stream:
            members = read_directory(stream, storage.size(path))
    except (OSError, NoDirectory) as error:
        raise UnreadableArtifact(
            f"the archive's directory cannot be read ({error}): truncated or corrupt", path
        ) from error
    names: set[str] = set()
    for member in members:
        if member.name in names:
            place = ascii(member.name)[1:-1]
            raise UnreadableArtifact("the archive holds this member more than once", path, place=place)
        names.add(member.name)
    return members


def _member(file: RegularFile, member: Member, name: str) -> Node:
    place = ascii(member.name)[1:-1]
    if member.flags & ENCRYPTED:
        raise UnreadableArtifact("the member is encrypted", file.path, place=place)
    offset = _data_offset(file, member, place)
    if member.method == STORED:
        return _array(Cursor(file, file.path, offset, member.packed), name)
    if member.method != DEFLATED:
        raise UnreadableArtifact(
            f"the member is compressed by method {member.method}, which numpy does not write",
            file.path,
            place=place,
        )
    return _deflated(file, member, offset, name)


def _data_offset(file: RegularFile, member: Member, place: str) -> int:
    """Where a member's data begin: behind its local header, whose lengths are its own."""
    fields = LOCAL.unpack(file.read(member.offset, LOCAL.size, "a member's header"))
    name_length, extra_length = fields[-2], fields[-1]
    start = member.offset + LOCAL.size
    local = file.read(start, name_length, "a member's name")
    coding = "utf-8" if member.flags & UTF8 else "cp437"
    if fields[0] != SIGNATURE or local.decode(coding, "replace") != member.name:
        raise UnreadableArtifact("the archive's directory and the member's own header disagree", file.path, place=place)
    offset: int = start + name_length + extra_length
    if offset + member.packed > file.size:
        raise UnreadableArtifact(
            f"the member claims {counted(member.packed, 'byte')}, more than the file has", file.path, place=place
        )
    return offset


def _deflated(file: RegularFile, member: Member, offset: int, name: str) -> Node:
    """A member of `np.savez_compressed`: a small array inline, a large one as the place to inflate it from."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)

    def inflate(limit: int) -> bytes:
        stored = file.read(offset, min(member.packed, limit + 1024), "a member")
        try:
            return inflater.decompress(stored, limit)
        except zlib.error as error:
            raise UnreadableArtifact(f"the member's data are corrupt: {error}", file.path, place=name) from error

    beginning = inflate(MAX_SMALL + MAX_HEADER)
    header = read_header(Cursor(beginning, file.path))
    if header.dtype == "object":
        if member.size > MAX_OBJECTS:
            raise LimitExceeded(
                f"objects in {counted(member.size, 'byte')}, deflated; "
                f"at most {MAX_OBJECTS:,} are inflated", file.path, place=name
            )  # fmt: skip
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        return _array(Cursor(inflate(member.size), file.path), name)
    if header.length + header.nbytes != member.size:
        raise UnreadableArtifact(
            f"the member has {counted(member.size, 'byte')}, its array needs {header.length + header.nbytes:,}",
            file.path,
            place=name,
        )
    place: Inline | Coded | FileRange
    if header.nbytes <= MAX_SMALL:
        place = _ordered(beginning[header.length : header.length + header.nbytes], header)
        if len(beginning) != member.size:
            raise UnreadableArtifact("the member's data end early: truncated or corrupt", file.path, place=name)
    else:
        place = Coded(
            file.path, offset, member.packed, "deflate", header.length, header.nbytes,
            header.big_endian, header.fortran,
        )  # fmt: skip
    return TensorRef(name, header.dtype, header.shape, place)
