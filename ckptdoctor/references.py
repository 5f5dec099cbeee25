"""Tensors that have not been read, and where their bytes are: containers answer with these.

They are named tuples for the reason that those of `state.py` are.
"""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from ckptdoctor.methods import carry_out
from ckptdoctor.words import shortened

if TYPE_CHECKING:
    from numpy.typing import NDArray


class FileRange(NamedTuple):
    """Raw little-endian C-order bytes in a file: a tensor in a TensorBundle shard, an array inside a pickle or npy.

    Attributes:
        path: The file.
        offset: First byte.
        nbytes: Number of bytes.
        crc32c: Masked CRC-32C over the bytes (TensorBundle), or None.
        big_endian: Elements are stored big-endian.
        fortran_order: Elements are stored column-major.
    """

    path: str
    offset: int
    nbytes: int
    crc32c: int | None = None
    big_endian: bool = False
    fortran_order: bool = False


class Inline(NamedTuple):
    """The value itself: scalars and small arrays that had to be decoded to be found."""

    data: bytes


class Coded(NamedTuple):
    """Bytes that a file holds under a coding: a deflated npz member, an array that a pickle of protocol 0 to 2 wrote.

    They can be streamed (`containers.coded.chunks`) but not addressed.

    Attributes:
        path: The file.
        offset: First byte of the coded data.
        stored: Number of coded bytes.
        coding: How they are coded; the two texts stand for latin-1 bytes.
        skip: Decoded bytes before the first element (an npy header).
        nbytes: Decoded bytes of the elements.
        big_endian: Elements are stored big-endian.
        fortran_order: Elements are stored column-major.
    """

    path: str
    offset: int
    stored: int
    coding: Literal["deflate", "utf-8", "raw-unicode-escape"]
    skip: int
    nbytes: int
    big_endian: bool = False
    fortran_order: bool = False


class H5Data(NamedTuple):
    """A data set in an HDF5 file, or in an HDF5 member of a zip archive.

    Attributes:
        path: The HDF5 file or zip archive.
        dataset: Absolute name of the data set.
        member: Name of the HDF5 member when `path` is an archive.
    """

    path: str
    dataset: str
    member: str | None = None


class Archived(NamedTuple):
    """The one tensor, or object, of an archive of torch.save within a file, as each chunk in a `.distcp` is.

    Attributes:
        path: The file.
        offset: Where the archive begins.
        length: Its bytes.
    """

    path: str
    offset: int
    length: int


class Part(NamedTuple):
    """Some of a tensor's elements, one after the other in C order.

    Attributes:
        base: The tensor as it is stored.
        shape: Its dimensions.
        start: The first of them.
    """

    base: "Location"
    shape: tuple[int, ...]
    start: int


class Piece(NamedTuple):
    """One slice of a partitioned variable: `start` and `shape` say which part of the whole `location` holds."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    location: FileRange | Inline | Archived | Part


class Pieces(NamedTuple):
    """A partitioned variable, stored slice by slice."""

    parts: tuple[Piece, ...]


class Strided(NamedTuple):
    """A view of stored elements that do not lie one after the other, as PyTorch saves transposed and expanded tensors.

    Attributes:
        base: The elements from the view's first to its last.
        strides: Elements between neighbours, a number a dimension; 0 where one stands for all.
    """

    base: FileRange | Coded
    strides: tuple[int, ...]


class Recast(NamedTuple):
    """A tensor with its axes in another order, and multiplied: what another framework keeps of the same quantity.

    Attributes:
        base: The tensor as it is stored.
        shape: Its dimensions there.
        axes: Which of them each axis is.
        factor: What its values are multiplied by.
    """

    base: "Location"
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    factor: float = 1.0


class Quantized(NamedTuple):
    """Values in few bits: codes, block by block, each block with a factor of its own.

    Attributes:
        codes: The codes, flat in C order; where there are half as many as elements, two in a byte, the high one first.
        scale: The factors, a block each.
        table: The value of each code; None where codes are numbers themselves (float8).
    """

    codes: "TensorRef"
    scale: "TensorRef"
    table: "TensorRef | None" = None


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


Location: TypeAlias = (
    FileRange | Inline | Coded | H5Data | Pieces | Strided | Archived | Chunked | Recast | Part | Quantized
)


class DataFile(NamedTuple):
    """A data file of a TensorBundle.

    Attributes:
        path: The file.
        big_endian: Elements are stored big-endian.
    """

    path: str
    big_endian: bool


class TensorRef(NamedTuple):
    """A tensor that has not been read.

    Few of a million tensors in an index are ever read: entries are kept, and decoded when `location` is asked for.

    Attributes:
        key: The artifact's own name for it (checkpoint key, data set, index in a dump).
        dtype: numpy's or ml_dtypes' name (`float32`, `bfloat16`), `string`, or `unknown(N)`.
        shape: Its dimensions.
        place: Where its bytes are, or the entry of a bundle's index that says so; None where they are known to be lost.
        file: The data file that such an entry is about.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    place: Location | bytes | None
    file: DataFile | None = None

    @property
    def location(self) -> Location | None:
        """Where its bytes are; None where they are known to be lost."""
        if not isinstance(self.place, bytes):
            return self.place
        found: FileRange = carry_out("place", self.place, self.file, self.dtype, self.shape)
        return found

    def at(self, location: Location | None) -> "TensorRef":
        """The same tensor at another place."""
        return self._replace(place=location, file=None)

    @property
    def size(self) -> int:
        """Number of elements."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    def numpy(self) -> "NDArray[Any]":
        """Its elements, read now, as an array of its shape; types that numpy lacks come from ml_dtypes.

        Raises:
            ckptdoctor.errors.UnreadableArtifact: They are not there, or are no numbers.
        """
        found: NDArray[Any] = carry_out("elements", self)
        return found

    def __repr__(self) -> str:
        """Its place is told in full but where that has thousands of parts, or is the values themselves."""
        location = self.location
        is_long = isinstance(location, (Inline, Pieces, Chunked, Recast))
        place = type(location).__name__ if is_long else repr(location)
        return f"TensorRef({shortened(self.key)!r}, {self.dtype!r}, {self.shape!r}, {place})"


class TreeLeaf(NamedTuple):
    """A leaf of the tree that a JAX program saves.

    Attributes:
        path: Its keys.
        tensor: Its array; None for a node that is empty, or whose array is lost.
        is_empty: It is such a node.
        indices: Which keys are indices of a sequence; empty where the artifact does not tell them from names.
    """

    path: tuple[str, ...]
    tensor: TensorRef | None
    is_empty: bool = False
    indices: tuple[bool, ...] = ()
