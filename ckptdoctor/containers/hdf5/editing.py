"""Editing a copy of an HDF5 file: groups are taken out, data sets and attributes put in, everything else stays.

The file is copied by the kernel and edited where it then lies; HDF5 writes the structure, and tensors go straight to
the place that HDF5 allotted to them, chunk by chunk. HDF5 leaves the bytes of deleted groups behind in the file. Where
that would be much, and so the old state would travel along, the objects that stay are copied into a new file instead.
"""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.followed import followed
from ckptdoctor.containers.bytes.window import Window, copy_range, write_at
from ckptdoctor.containers.hdf5.bindings import h5py
from ckptdoctor.containers.hdf5.opening import by_either, open_h5
from ckptdoctor.containers.tensors.dtypes import array_nbytes
from ckptdoctor.containers.tensors.raw_places import RawPlaces
from ckptdoctor.containers.tensors.shard_data import Constant, pieces
from ckptdoctor.containers.tensors.values import numpy_dtype
from ckptdoctor.errors import GraftRefused, UnreadableArtifact
from ckptdoctor.references import TensorRef

if TYPE_CHECKING:
    from ckptdoctor.containers.hdf5.contract import H5Reader

ATTRIBUTE_BYTES = 64_512
"""Keras' limit for a list of names in one attribute (HDF5_OBJECT_HEADER_LIMIT); HDF5's own is 64 KiB."""
_WORTH_IT = 1 << 16
"""Smaller tensors are read; finding out where their bytes are would take longer."""
MOST_DEAD = 0.1
"""The part of a file that deleted groups may leave behind as dead bytes; above, the file is made anew."""

_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG, errno.EIO})
"""Errors that are about the place where the result is written, not about the file that is edited."""


class NewDataset(NamedTuple):
    """A data set to be written: contiguous and unpacked, as Keras writes them.

    Attributes:
        path: From the root, without a leading slash.
        dtype: numpy's or ml_dtypes' name.
        shape: Its dimensions.
        content: Where its values come from, the bytes themselves, or one number for every element; None: zeros.
        factor: What the values are multiplied by.
        marked: bfloat16 is stored as two opaque bytes; `.weights.h5` says so in an attribute (saving_lib.H5Entry).
    """

    path: str
    dtype: str
    shape: tuple[int, ...]
    content: TensorRef | bytes | Constant | None
    factor: float = 1.0
    marked: bool = True


class Edit(NamedTuple):
    """What is to change.

    Attributes:
        delete: Groups below the root that go.
        datasets: Data sets that come, in this order; their groups come with them.
        values: Data sets that are there and get other values.
        texts: Text attributes to set: (group, name) → text; "" is the root.
        names: Lists of names to set, split as Keras splits them: (group, name) → list.
        forgotten: Attributes of the root that go.
        anew: The file is made anew, however little is deleted: no byte of it may stay behind.
        as_in: The text attribute, by group and name, whose character set texts get: h5py 2, and with it Keras up to
            2.3, reads ASCII as bytes and cannot do with UTF-8.
    """

    delete: tuple[str, ...] = ()
    datasets: tuple[NewDataset, ...] = ()
    values: tuple[NewDataset, ...] = ()
    texts: Mapping[tuple[str, str], str] = {}
    names: Mapping[tuple[str, str], list[str]] = {}
    forgotten: tuple[str, ...] = ()
    anew: bool = False
    as_in: tuple[str, str] | None = None


class Span(NamedTuple):
    """Where an HDF5 file lies: in a file, from a byte on."""

    descriptor: int
    start: int
    size: int


class Sizes(NamedTuple):
    """Bytes of new data sets, and of the source that were kept."""

    new: int
    copied: int


def edit_file(source: str, output: str, edit: Edit, progress: Progress | None = None) -> Sizes:
    """Writes an edited copy of an HDF5 file.

    Args:
        source: The file; it is only read.
        output: The path of the copy, which must not exist.
        edit: What changes.
        progress: Told how many more bytes are written.

    Raises:
        UnreadableArtifact: The source is broken, or what is to be written cannot be read.
        GraftRefused: It cannot be put down in HDF5.
        OSError: The output cannot be written.
    """
    dead = by_either(_stored_in, source, edit.delete)
    reading = os.open(source, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        writing = os.open(output, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
        try:
            whole = Span(reading, 0, os.fstat(reading).st_size)
            sizes = edit_span(whole, Window(writing, 0), writing, edit, dead, progress)
        finally:
            os.close(writing)
    except UnreadableArtifact as error:
        error.path = error.path or source
        raise
    finally:
        os.close(reading)
    return sizes


def create_file(output: str, edit: Edit, progress: Progress | None = None) -> int:
    """Writes a new HDF5 file; answers the bytes of its data sets."""
    writing = os.open(output, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        window = Window(writing, 0)
        with window.written_by_library(), h5py.File(window, "w") as file:
            places = _put(file, edit)
        new = _fill_all(writing, 0, places, progress)
    finally:
        os.close(writing)
    return new


def edit_span(
    source: Span, output: Window, descriptor: int, edit: Edit, dead: int, progress: Progress | None = None
) -> Sizes:
    """Writes an edited copy of an HDF5 file that lies somewhere in a file, to the end of another.

    Args:
        source: The HDF5 file.
        output: Where the copy goes: a window that reaches to the end of its file.
        descriptor: The file below that window.
        edit: What changes.
        dead: Bytes that deleting leaves behind (`stored_bytes`).
        progress: Told how many more bytes are written.
    """
    anew = edit.anew or bool(edit.forgotten) or dead > MOST_DEAD * source.size
    if not anew:
        copy_range(source.descriptor, source.start, source.size, descriptor, output.start, progress)
    with _guarded(), _opened(source) if anew else nullcontext() as old:
        mode = "w" if anew else "r+"
        options = _like(old) if anew else {}
        with output.written_by_library(), h5py.File(output, mode, **options) as file:
            if old is not None:
                from ckptdoctor.containers.hdf5.copying import copy_tree

                copy_tree(old, file, frozenset(edit.delete), frozenset(edit.forgotten))
            else:
                _delete(file, edit.delete)
            places = _put(file, edit)
    if not anew and (follower := followed()) is not None:
        follower.follow_kept(source.descriptor, source.start, source.size, descriptor, output.start)
    new = _fill_all(descriptor, output.start, places, progress)
    return Sizes(new, max(source.size - dead, 0))


def _stored_in(source: str, groups: tuple[str, ...]) -> int:
    with open_h5(source) as file:
        return stored_bytes(file, groups)


def stored_bytes(file: "H5Reader", groups: tuple[str, ...]) -> int:
    """Bytes that the data sets of these groups declare."""
    total = 0
    for path, _, datasets in file.walk():
        if any(path == group or path.startswith(f"{group}/") for group in groups):
            tensors = [file.tensor(f"{path}/{name}") for name in datasets]
            total += sum(array_nbytes(each.dtype, each.shape) for each in tensors if each is not None)
    return total


@contextmanager
def _guarded() -> Iterator[None]:
    """Turns what HDF5 says of a damaged source into one sentence; a full disk stays what it is."""
    try:
        yield
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno in _OURS:
            raise
        raise UnreadableArtifact(f"HDF5 cannot edit it: {' '.join(str(error).split())[:300]}") from error


@contextmanager
def _opened(source: Span) -> Iterator[Any]:
    window = Window(source.descriptor, source.start, source.size)
    with h5py.File(window, "r") as file:
        yield file


def _like(old: Any) -> dict[str, object]:
    """The properties of the old file that a new one needs to have: its user block stays empty of HDF5."""
    block = old.userblock_size
    return {"userblock_size": block} if block else {}


def _delete(file: Any, names: tuple[str, ...]) -> None:
    for name in names:
        raw = name.encode()
        if file.id.links.exists(raw):
            file.id.unlink(raw)


# ---------------------------------------------------------------------------------------------------- what is new


def _put(file: Any, edit: Edit) -> list[tuple[int, NewDataset]]:
    """Creates what is new; answers where each data set's bytes go."""
    places = [(_create(file, each), each) for each in edit.datasets]
    places += [(place, each) for each in edit.values if (place := _refill(file, each)) is not None]
    _set_attributes(file, edit)
    return places


def _refill(file: Any, dataset: NewDataset) -> int | None:
    """Where the bytes of a data set that is there go; None where HDF5 has put them down itself: packed, or turned."""
    found = h5py.Dataset(h5py.h5d.open(file.id, dataset.path.encode("utf-8", "surrogateescape")))
    place = found.id.get_offset()
    if place is not None and found.dtype == _stored_as(dataset.dtype) and found.shape == dataset.shape:
        return int(place)
    import numpy as np

    data = b"".join(pieces(dataset.content, dataset.path, dataset.dtype, dataset.shape))
    found[...] = np.frombuffer(data, _stored_as(dataset.dtype)).reshape(dataset.shape)
    return None


def _stored_as(dtype: str) -> Any:
    import numpy as np

    return np.dtype("V2") if dtype == "bfloat16" else numpy_dtype(dtype).newbyteorder("<")


def _create(file: Any, dataset: NewDataset) -> int:
    """Creates a data set without writing it; answers where its bytes go, counted from the start of the HDF5 file."""
    dtype = numpy_dtype(dataset.dtype)
    is_bfloat16 = dataset.dtype == "bfloat16"
    if not is_bfloat16 and (dtype.kind not in "iufb" or dtype.isbuiltin != 1):  # ml_dtypes' floats are no builtins
        raise GraftRefused(f"HDF5 as Keras writes it has no place for {dataset.dtype}, which {dataset.path!r} would be")
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.CONTIGUOUS)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    links.set_char_encoding(h5py.h5t.CSET_UTF8)
    space = h5py.h5s.create_simple(dataset.shape) if dataset.shape else h5py.h5s.create(h5py.h5s.SCALAR)
    created = h5py.h5d.create(
        file.id,
        dataset.path.encode("utf-8", "surrogateescape"),
        h5py.h5t.py_create(_stored_as(dataset.dtype), logical=True),
        space,
        properties,
        lcpl=links,
    )
    if is_bfloat16 and dataset.marked:
        h5py.AttributeManager(h5py.Dataset(created))["dtype"] = "bfloat16"
    place = created.get_offset()
    return int(place) if place is not None else 0  # a data set without elements has no place


def _fill_all(descriptor: int, start: int, places: list[tuple[int, NewDataset]], progress: Progress | None) -> int:
    """Writes every data set's bytes, counted from the start of the HDF5 file; answers how many."""
    with RawPlaces(followed=_are_apart(places)) as raw:
        return sum(_fill(descriptor, start + place, dataset, raw, progress) for place, dataset in places)


def _are_apart(places: list[tuple[int, NewDataset]]) -> bool:
    """Whether none is written over another: a data set may have two names, and a damaged file two at one place."""
    ranges = sorted((place, place + array_nbytes(each.dtype, each.shape)) for place, each in places)
    return all(end <= start for (_, end), (start, _) in pairwise(ranges))


def _fill(descriptor: int, place: int, dataset: NewDataset, raw: RawPlaces, progress: Progress | None) -> int:
    content = dataset.content
    if isinstance(content, TensorRef) and dataset.factor == 1.0 and content.shape == dataset.shape:
        nbytes = content.size * numpy_dtype(dataset.dtype).itemsize
        if nbytes >= _WORTH_IT and raw.copy(content, dataset.dtype, nbytes, descriptor, place, progress):
            return nbytes
    written = 0
    for chunk in pieces(dataset.content, dataset.path, dataset.dtype, dataset.shape, dataset.factor):
        write_at(descriptor, chunk, place + written)
        written += len(chunk)
        if progress is not None:
            progress(len(chunk))
    return written


def _set_attributes(file: Any, edit: Edit) -> None:
    is_ascii = edit.as_in is not None and _is_ascii(file, *edit.as_in)
    for (group, name), text in edit.texts.items():
        value = text.encode("ascii") if is_ascii else text  # h5py writes bytes as ASCII of any length
        h5py.AttributeManager(file.require_group(group) if group else file)[name] = value
    for (group, name), names in edit.names.items():
        attributes = h5py.AttributeManager(file.require_group(group) if group else file)
        for key, part in _split(name, names):
            attributes[key] = part


def _is_ascii(file: Any, group: str, name: str) -> bool:
    """Whether a text attribute says that it is ASCII, as all text does that h5py 2 and Keras wrote from bytes."""
    encoded, found = name.encode(), (file[group] if group else file).id
    kind = h5py.h5a.open(found, encoded).get_type() if h5py.h5a.exists(found, encoded) else None
    return isinstance(kind, h5py.h5t.TypeStringID) and kind.get_cset() == h5py.h5t.CSET_ASCII


def _split(name: str, names: list[str]) -> Iterator[tuple[str, Any]]:
    """A list of names as attributes: one, or several of at most 64,512 bytes (`save_attributes_to_hdf5_group`)."""
    import numpy as np

    encoded = [each.encode("utf-8", "surrogateescape") for each in names]
    longest = max((len(each) for each in encoded), default=0)
    if longest > ATTRIBUTE_BYTES:
        raise GraftRefused(f"a name of {longest:,} bytes does not fit into an HDF5 attribute")
    array = np.asarray(encoded) if encoded else np.empty(0, np.float64)
    count = 1
    parts = [array]
    while any(part.nbytes > ATTRIBUTE_BYTES for part in parts):
        count += 1
        parts = np.array_split(array, count)
    if count == 1:
        yield name, array
        return
    for number, part in enumerate(parts):
        yield f"{name}{number}", part
