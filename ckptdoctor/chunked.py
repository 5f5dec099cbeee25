"""Where the bytes of arrays are that lie in chunks of a regular grid: a part of `state`, as pure frozen data."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ckptdoctor.state import FileRange, Inline


class Chunk(NamedTuple):
    """One chunk of an array: the index of its first element, and where its coded bytes are."""

    start: tuple[int, ...]
    location: FileRange | Inline


class Shard(NamedTuple):
    """How one chunk is itself a grid of chunks, each coded alone, with an index of where they are (zarr v3).

    Attributes:
        chunk: Extents of an inner chunk.
        codecs: How inner chunks are coded, in the order in which it was done.
        index_codecs: The same of the index.
        index_first: The index stands before the chunks, not behind them.
    """

    chunk: tuple[int, ...]
    codecs: tuple[str, ...]
    index_codecs: tuple[str, ...]
    index_first: bool = False


class Chunked(NamedTuple):
    """An array in chunks of a regular grid, each coded by itself (zarr).

    Attributes:
        shape: Extents of the array.
        chunk: Extents of a chunk; those at the array's edge are stored whole.
        parts: The chunks that are there, in the order of their places.
        codecs: How a chunk's bytes are coded (`zstd`, `gzip`, `zlib`, `crc32c`), in the order in which it was done.
        fill: The bytes of one element, in the machine's order, where no chunk is; b"" for zeros.
        big_endian: Elements are stored big-endian.
        axes: The order in which a chunk's axes are stored; () for C order.
        shard: Each chunk is a shard.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    parts: tuple[Chunk, ...]
    codecs: tuple[str, ...] = ()
    fill: bytes = b""
    big_endian: bool = False
    axes: tuple[int, ...] = ()
    shard: Shard | None = None

    @property
    def is_summed(self) -> bool:
        """Whether each chunk has a checksum of its own."""
        return "crc32c" in (self.codecs if self.shard is None else self.shard.codecs)
