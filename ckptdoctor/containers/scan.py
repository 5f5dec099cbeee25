"""One pass over a tensor's bytes: its checksum, its extremes, what is not finite. Knows nothing of optimizers.

Every block is read into one buffer that stays in the processor's cache while the checksum and the reductions pass over
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, isfinite, sqrt
from typing import TYPE_CHECKING, Any, NamedTuple

from ckptdoctor.containers.crc import masked
from ckptdoctor.containers.files import RegularFile
from ckptdoctor.containers.values import chunks, numpy_dtype, ordered_chunks
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.state import FileRange, Piece, Pieces, TensorRef

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
    """

    least: float | None
    greatest: float | None
    nan: int = 0
    inf: int = 0
    checksum_ok: bool | None = None

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


def scan_tensor(ref: TensorRef, file: RegularFile | None = None) -> TensorScan:
    """Passes once over a tensor.

    Args:
        ref: The tensor; strings and other types without an order have only their checksum verified.
        file: The open file of a tensor that is a range of one.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    figures = _Figures(ref.dtype)
    checksum_ok: bool | None = None
    for part in _parts(ref):
        if isinstance(part.location, FileRange):
            matches = _scan_range(part, part.location, file, figures)
            if matches is not None:
                checksum_ok = matches and checksum_ok is not False
        elif figures.wanted:
            for chunk in chunks(part, BLOCK):
                figures.add(chunk)
    return figures.result(checksum_ok)


def scan_pair(
    first: TensorRef, second: TensorRef, bound: float, files: tuple[RegularFile | None, RegularFile | None]
) -> tuple[TensorScan, TensorScan, PairFigures]:
    """Passes once over two tensors of one shape and float32 or float64, side by side.

    Raises:
        UnreadableArtifact: The bytes are not there.
    """
    import numpy as np

    figures = _Figures(first.dtype), _Figures(second.dtype)
    sums = [_Sum(), _Sum()]
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
        figures[0].result(sums[0].matches),
        figures[1].result(sums[1].matches),
        PairFigures(above, sqrt(worst), mean),
    )


def are_equal(first: TensorRef, second: TensorRef) -> bool:
    """Whether two tensors hold the same values."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    pairs = zip(ordered_chunks(first, BLOCK), ordered_chunks(second, BLOCK), strict=False)
    return all(bool((one == other).all()) for one, other in pairs)


class _Sum:
    """Whether the checksum that passed by was the stored one."""

    matches: bool | None = None


class _Figures:
    """Extremes and counts, block by block."""

    def __init__(self, dtype: str) -> None:
        self.wanted = dtype != "string" and not dtype.startswith(("complex", "unknown", "resource", "variant"))
        self._least, self._greatest = inf, -inf
        self._nan = self._inf = 0
        self._seen = False

    def add(self, values: NDArray[Any]) -> None:
        """Looks at a block."""
        import numpy as np

        if not self.wanted or not values.size:
            return
        if values.dtype.kind not in "fiub":
            values = values.astype(np.float32)
        with np.errstate(all="ignore"):
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
        self._seen = True
        self._least, self._greatest = min(self._least, least), max(self._greatest, greatest)

    def result(self, checksum_ok: bool | None) -> TensorScan:  # noqa: FBT001 - an answer, not a switch
        """What was seen."""
        if not self._seen:
            return TensorScan(None, None, self._nan, self._inf, checksum_ok)
        return TensorScan(self._least, self._greatest, self._nan, self._inf, checksum_ok)


def _parts(ref: TensorRef) -> Iterator[TensorRef]:
    """The slices of a partitioned tensor, or the tensor itself."""
    if not isinstance(ref.location, Pieces):
        yield ref
        return
    piece: Piece
    for piece in ref.location.parts:
        yield TensorRef(ref.key, ref.dtype, piece.shape, piece.location)


def _scan_range(ref: TensorRef, location: FileRange, file: RegularFile | None, figures: _Figures) -> bool | None:
    if file is None or file.path != location.path:
        with RegularFile(location.path) as opened:
            return _scan_range(ref, location, opened, figures)
    if not figures.wanted:
        return _checksum(ref, location, file)
    total = _Sum()
    for block in _blocks(ref, location, file, total):
        figures.add(block)
    return total.matches


def _checksum(ref: TensorRef, location: FileRange, file: RegularFile) -> bool | None:
    """The checksum alone, of what has no numbers in it."""
    if location.crc32c is None:
        return None
    if ref.dtype == "string":
        from ckptdoctor.containers.tensor_bundle import read_strings

        try:
            read_strings(ref)
        except UnreadableArtifact:
            return False
        return True
    total = _Sum()
    for _ in _raw(location, file, total):
        pass
    return total.matches


def _counted(ref: TensorRef, file: RegularFile | None, total: _Sum) -> Iterator[NDArray[Any]]:
    """The blocks of a tensor; its checksum is in `total` afterwards."""
    location = ref.location
    if not isinstance(location, FileRange):
        yield from ordered_chunks(ref, BLOCK)
    elif file is None or file.path != location.path:
        with RegularFile(location.path) as opened:
            yield from _blocks(ref, location, opened, total)
    else:
        yield from _blocks(ref, location, file, total)


def _blocks(ref: TensorRef, location: FileRange, file: RegularFile, total: _Sum) -> Iterator[NDArray[Any]]:
    dtype = numpy_dtype(ref.dtype)
    for block in _raw(location, file, total):
        array: NDArray[Any] = block.view(dtype)
        yield array.byteswap() if location.big_endian and dtype.itemsize > 1 else array


def _raw(location: FileRange, file: RegularFile, total: _Sum) -> Iterator[NDArray[Any]]:
    """The bytes, block by block, each valid until the next."""
    import google_crc32c
    import numpy as np

    checked = location.crc32c is not None
    crc = 0
    buffer = np.empty(min(BLOCK, location.nbytes), np.uint8)
    for start in range(0, location.nbytes, BLOCK):
        block = buffer[: min(BLOCK, location.nbytes - start)]
        file.readinto(location.offset + start, block.data)
        if checked:
            crc = google_crc32c.extend(crc, block)
        yield block
    if checked:
        total.matches = masked(crc) == location.crc32c


__all__ = ["PairFigures", "TensorScan", "UnreadableArtifact", "are_equal", "scan_pair", "scan_tensor"]
