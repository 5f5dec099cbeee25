"""The arrays in a store: each a tensor that has not been read, by its name."""

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.containers.zarrs.metadata import ArrayLayout, Unsupported, read_metadata
from ckptdoctor.containers.zarrs.store import Store, small
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import Chunk, Chunked, FileRange, Inline, TensorRef

_METADATA = ("/.zarray", "/zarr.json")


class Arrays(NamedTuple):
    """What a store holds.

    Attributes:
        tensors: By name; without a location where values of their kind are not read.
        lost: Name → how many chunks of how many are not there.
        unread: Name → why its values are not read.
    """

    tensors: dict[str, TensorRef]
    lost: dict[str, tuple[int, int]]
    unread: dict[str, str]


def arrays(store: Store) -> Arrays:
    """Finds every array of a store.

    Raises:
        UnreadableArtifact: Metadata is not what the format requires.
    """
    found = Arrays({}, {}, {})
    layouts: dict[str, ArrayLayout] = {}
    known: dict[tuple[str, bytes], ArrayLayout | None] = {}  # arrays of one shape and type have the same metadata
    for key in store.values:
        if not key.endswith(_METADATA):
            continue
        ending = next(each for each in _METADATA if key.endswith(each))
        name = key.removesuffix(ending)
        try:
            document = ending, small(store, key)
            if document not in known:
                known[document] = read_metadata(document[1], store.path, key)
            layout = known[document]
        except Unsupported as error:
            found.unread[name] = str(error)
            found.tensors[name] = TensorRef(name, "unknown", (), None)
            continue
        if layout is not None:
            layouts[name] = layout
    parts = _parts(store, layouts)
    expected = {id(layout): layout.chunks for layout in known.values() if layout is not None}
    for name, layout in layouts.items():
        chunks = tuple(sorted(parts.get(name, ()), key=lambda chunk: chunk.start))
        _check_sizes(store, name, layout, chunks)
        location = Chunked(
            layout.shape, layout.chunk, chunks, layout.codecs, layout.fill, layout.big_endian, layout.axes, layout.shard
        )
        whole = expected[id(layout)]
        if len(chunks) < whole:
            found.lost[name] = (whole - len(chunks), whole)
        found.tensors[name] = TensorRef(name, layout.dtype, layout.shape, _plain(layout, location) or location)
    return found


def _check_sizes(store: Store, name: str, layout: ArrayLayout, chunks: Iterable[Chunk]) -> None:
    """How long chunks are is known before they are read where their bytes lie as they are."""
    if layout.codecs or layout.shard:
        return
    size = prod(layout.chunk) * ITEMSIZE[layout.dtype]
    for each in chunks:
        place = each.location
        nbytes = len(place.data) if isinstance(place, Inline) else place.nbytes
        if nbytes != size:
            raise UnreadableArtifact(
                f"a chunk of {name!r} should be {size:,} bytes and is {nbytes:,}: it is truncated or corrupt",
                store.path,
                code="I003",
            )


def _parts(store: Store, layouts: dict[str, ArrayLayout]) -> dict[str, list[Chunk]]:
    """The chunks of every array: their keys begin with its name."""
    found: dict[str, list[Chunk]] = {}
    starts: dict[tuple[int, str], tuple[int, ...] | None] = {}  # of arrays that share a layout
    for key, location in store.values.items():
        for name, rest in _splits(key):
            layout = layouts.get(name)
            if layout is None:
                continue
            place = id(layout), rest
            if place not in starts:
                starts[place] = layout.start(rest)
            start = starts[place]
            if start is not None:
                found.setdefault(name, []).append(Chunk(start, location))
                break
    return found


def _splits(key: str) -> Iterator[tuple[str, str]]:
    """The ways in which a key may be an array's name and a chunk's place: names may have slashes, places too."""
    at = key.rfind("/")
    while at > 0:
        yield key[:at], key[at + 1 :]
        # What follows the name is digits, dots and slashes, and the `c` of zarr v3.
        if not all(letter.isdigit() or letter in "./c" for letter in key[at + 1 :]):
            return
        at = key.rfind("/", 0, at)


def _plain(layout: ArrayLayout, location: Chunked) -> FileRange | Inline | None:
    """The bytes of an array that lies in one chunk as it is; None for others."""
    if layout.codecs or layout.shard or layout.axes or layout.shape != layout.chunk or len(location.parts) != 1:
        return None
    place = location.parts[0].location
    if isinstance(place, FileRange):
        return place._replace(big_endian=layout.big_endian)
    return None if layout.big_endian else place
