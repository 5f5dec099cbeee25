"""One pass over a tensor's bytes: its checksum, its extremes, what is not finite. Knows nothing of optimizers.

Every block is read into one buffer that stays in the processor's cache while the checksum and the reductions pass over
it.
"""

from collections.abc import Iterator
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.containers.bytes.crc import masked
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tensors.dtypes import OPAQUE
from ckptdoctor.containers.tensors.values import chunks, numpy_dtype, ordered_chunks
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Piece, Pieces, TensorRef

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 20
"""Bytes at a time."""
_TINY = 1e-34
"""Added to second moments: where they have underflowed to 0, a first moment below 1e-17 proves nothing."""


class TensorScan(NamedTuple):
    """What one pass over a tensor has shown.

    Attributes:
        least: Least value, infinities included; None if there is none.
        greatest: Greatest value; None likewise.
        nan: Number of NaN.
        inf: Number of infinities.
        checksum_ok: Whether the stored checksum matches; None where none is stored.
        crc32: CRC-32 of the bytes, for those who put a whole file's together; None where it was not asked for.
    """

    least: float | None
    greatest: float | None
    nan: int = 0
    inf: int = 0
    checksum_ok: bool | None = None
    crc32: int | None = None

    @property
    def all_zero(self) -> bool:
        """Whether every value is 0."""
        return self.least == 0 == self.greatest and not self.nan


class PairFigures(NamedTuple):
    """How the elements of one tensor compare with the square roots of another's.

    Attributes:
        above: Number of elements with |first| / sqrt(second) above the bound.
        worst: The greatest of these quotients.
        mean: Root of the mean of their squares.
    """

    above: int
    worst: float
    mean: float


def scan_tensor(ref: TensorRef, file: RegularFile | None = None, *, crc32: bool = False) -> TensorScan:
    """Passes once over a tensor.

    Args:
        ref: The tensor; strings and other types without an order have only their checksum verified.
        file: The open file of a tensor that is a range of one.
        crc32: Sum up the bytes of such a range.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    figures = _Figures(ref.dtype)
    checksum_ok: bool | None = None
    total = _Sum(crc32=crc32)
    for part in _parts(ref):
        if isinstance(part.location, FileRange):
            matches = _scan_range(part, part.location, file, figures, total)
            if matches is not None:
                checksum_ok = matches and checksum_ok is not False
        elif figures.wanted:
            for chunk in chunks(part, BLOCK):
                figures.add(chunk)
    return figures.result(checksum_ok)._replace(crc32=total.crc32 if total.ended else None)


def scan_pair(
    first: TensorRef,
    second: TensorRef,
    bound: float,
    files: tuple[RegularFile | None, RegularFile | None],
    *,
    crc32: bool = False,
) -> tuple[TensorScan, TensorScan, PairFigures]:
    """Passes once over two tensors of one shape and float32 or float64, side by side.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    import numpy as np

    figures = _Figures(first.dtype), _Figures(second.dtype)
    sums = [_Sum(crc32=crc32), _Sum(crc32=crc32)]
    above, worst, total = 0, 0.0, 0.0
    limit = bound * bound
    blocks = zip(_counted(first, files[0], sums[0]), _counted(second, files[1], sums[1]), strict=True)
    work = np.empty((2, 0), numpy_dtype(first.dtype))
    for one, other in blocks:
        figures[0].add(one)
        figures[1].add(other)
        if work.shape[1] < one.size:
            work = np.empty((2, one.size), one.dtype)
        quotient, divisor = work[0, : one.size], work[1, : one.size]
        with np.errstate(all="ignore"):
            np.square(one, out=quotient)
            np.add(other, other.dtype.type(_TINY), out=divisor)
            quotient /= divisor
            greatest = float(quotient.max())
            if not isfinite(greatest):
                quotient = quotient[np.isfinite(quotient)]
                greatest = float(quotient.max()) if quotient.size else 0.0
            if greatest > limit:
                above += int((quotient > limit).sum())
            worst = max(worst, greatest)
            total += float(quotient.sum())
    mean = sqrt(total / first.size) if first.size and total >= 0 else 0.0
    return (
        figures[0].result(sums[0].matches)._replace(crc32=sums[0].crc32 if sums[0].ended else None),
        figures[1].result(sums[1].matches)._replace(crc32=sums[1].crc32 if sums[1].ended else None),
        PairFigures(above, sqrt(worst), mean),
    )


def are_equal(first: TensorRef, second: TensorRef) -> bool:
    """Whether two tensors hold the same values."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    pairs = zip(ordered_chunks(first, BLOCK), ordered_chunks(second, BLOCK), strict=False)
    return all(bool((one == other).all()) for one, other in pairs)


class _Sum:
    """Checksums of what passes by.

    Attributes:
        matches: Whether it was the stored one.
        crc32: The CRC-32 so far; None if nobody wants it.
        ended: All of the range has passed by.
    """

    matches: bool | None = None
    ended = False

    def __init__(self, *, crc32: bool = False) -> None:
        self.crc32 = 0 if crc32 else None


class _Figures:
    """Extremes and counts, block by block."""

    def __init__(self, dtype: str) -> None:
        self.wanted = dtype not in {"string", *OPAQUE} and not dtype.startswith(("unknown", "resource", "variant"))
        self._least, self._greatest = inf, -inf
        self._nan = self._inf = 0
        self._seen = False

    def add(self, values: "NDArray[Any]") -> None:
        """Looks at a block."""
        import numpy as np

        if not self.wanted or not values.size:
            return
        if values.dtype.kind == "c":
            # Numbers of two parts have no order: what counts is whether they are finite.
            self._nan += int(np.isnan(values).sum())
            self._inf += int(np.isinf(values).sum())
            return
        with np.errstate(all="ignore"):
            if values.dtype.itemsize == 1 and values.dtype.kind not in "iub":
                values = _distinct(values)
            elif values.dtype.name in _INFINITY:
                extremes = _finite_extremes(values)
                if extremes is not None:
                    self._note(*extremes)
                    return
            if values.dtype.kind not in "fiub":
                values = values.astype(np.float32)
            least, greatest = float(values.min()), float(values.max())
            if not (isfinite(least) and isfinite(greatest)):
                nan = int(np.isnan(values).sum())
                self._nan += nan
                self._inf += int(np.isinf(values).sum())
                if nan:
                    values = values[~np.isnan(values)]
                    if not values.size:
                        return
                    least, greatest = float(values.min()), float(values.max())
        self._note(least, greatest)

    def _note(self, least: float, greatest: float) -> None:
        self._seen = True
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)

    def result(self, checksum_ok: bool | None) -> TensorScan:  # noqa: FBT001 - an answer, not a switch
        """What was seen."""
        if not self._seen:
            return TensorScan(None, None, self._nan, self._inf, checksum_ok)
        return TensorScan(self._least, self._greatest, self._nan, self._inf, checksum_ok)


_INFINITY = {"float16": 0x7C00, "bfloat16": 0x7F80}
"""The bits of infinity. Processors do not compare these types; read as integers they compare as fast as bytes."""
_SIGN = 0x8000


def _finite_extremes(values: "NDArray[Any]") -> tuple[float, float] | None:
    """The least and the greatest of floats of 16 bits; None if one of them is not finite.

    Their bits are sign and magnitude: as signed integers the positive ones are in order, and as unsigned ones the
    negative ones are above all others, the most negative last.
    """
    import numpy as np

    signed, unsigned = values.view(np.int16), values.view(np.uint16)
    greatest, least = int(signed.max()), int(unsigned.max())
    if greatest < 0:
        greatest = int(unsigned.min())  # all are negative: that nearest to zero
    if least < _SIGN:
        least = int(signed.min())  # none is negative
    infinity = _INFINITY[values.dtype.name]
    if (greatest & ~_SIGN) >= infinity or (least & ~_SIGN) >= infinity:
        return None
    both = np.array([least, greatest], np.uint16).view(values.dtype).astype(np.float32)
    return float(both[0]), float(both[1])


def _distinct(values: "NDArray[Any]") -> "NDArray[Any]":
    """Floats of 8 bits."""
    import numpy as np

    there = np.bincount(values.view(np.uint8), minlength=256)
    return np.repeat(np.arange(256, dtype=np.uint8).view(values.dtype).astype(np.float32), there)


def _parts(ref: TensorRef) -> Iterator[TensorRef]:
    """The slices of a partitioned tensor, or the tensor itself."""
    if not isinstance(ref.place, Pieces):
        yield ref.at(ref.location)
        return
    piece: Piece
    for piece in ref.place.parts:
        yield TensorRef(ref.key, ref.dtype, piece.shape, piece.location)


def _scan_range(
    ref: TensorRef, location: FileRange, file: RegularFile | None, figures: _Figures, total: _Sum
) -> bool | None:
    if file is None or file.path != location.path:
        with RegularFile(location.path) as opened:
            return _scan_range(ref, location, opened, figures, total)
    if not figures.wanted:
        return _checksum(ref, location, file)
    for block in _blocks(ref, location, file, total):
        figures.add(block)
    return total.matches


def _checksum(ref: TensorRef, location: FileRange, file: RegularFile) -> bool | None:
    """The checksum alone, of what has no numbers in it."""
    if location.crc32c is None:
        return None
    if ref.dtype == "string":
        from ckptdoctor.containers.bundles.reading import read_strings

        try:
            read_strings(ref)
        except UnreadableArtifact:
            return False
        return True
    total = _Sum()
    for _ in _raw(location, file, total):
        pass
    return total.matches


def _counted(ref: TensorRef, file: RegularFile | None, total: _Sum) -> "Iterator[NDArray[Any]]":
    """The blocks of a tensor; its checksum is in `total` afterwards."""
    location = ref.location
    if not isinstance(location, FileRange):
        yield from ordered_chunks(ref, BLOCK)
    elif file is None or file.path != location.path:
        with RegularFile(location.path) as opened:
            yield from _blocks(ref, location, opened, total)
    else:
        yield from _blocks(ref, location, file, total)


def _blocks(ref: TensorRef, location: FileRange, file: RegularFile, total: _Sum) -> "Iterator[NDArray[Any]]":
    dtype = numpy_dtype(ref.dtype)
    for block in _raw(location, file, total):
        array: NDArray[Any] = block.view(dtype)
        yield array.byteswap() if location.big_endian and dtype.itemsize > 1 else array


def _raw(location: FileRange, file: RegularFile, total: _Sum) -> "Iterator[NDArray[Any]]":
    """The bytes, block by block, each valid until the next."""
    import google_crc32c
    import numpy as np

    from ckptdoctor.containers.bytes.crc32 import fastest

    checked = location.crc32c is not None
    crc, crc32 = 0, fastest() if total.crc32 is not None else None
    buffer = np.empty(min(BLOCK, location.nbytes), np.uint8)
    for start in range(0, location.nbytes, BLOCK):
        block = buffer[: min(BLOCK, location.nbytes - start)]
        file.readinto(location.offset + start, block.data)
        if checked:
            crc = google_crc32c.extend(crc, block)
        if crc32 is not None and total.crc32 is not None:
            total.crc32 = crc32(block.data, total.crc32)
        yield block
    total.ended = True
    if checked:
        total.matches = masked(crc) == location.crc32c


__all__ = ["PairFigures", "TensorScan", "UnreadableArtifact", "are_equal", "scan_pair", "scan_tensor"]
