"""What reading every byte of an artifact has shown, as pure data for the rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptdoctor.state import TensorRef


class TensorScan(NamedTuple):
    """What one pass over a tensor has shown.

    Attributes:
        least: Least value, infinities included; None if there is none or it has no order.
        greatest: Greatest value; None likewise.
        nan: Number of NaN.
        inf: Number of infinities.
        negative: Number of values below zero; counted only where it matters (`least` < 0 of a second moment).
        checksum_ok: Whether the stored checksum matches; None where none is stored.
    """

    least: float | None
    greatest: float | None
    nan: int = 0
    inf: int = 0
    negative: int = 0
    checksum_ok: bool | None = None

    @property
    def all_zero(self) -> bool:
        """Whether every value is 0."""
        return self.least == 0 == self.greatest and not self.nan


class PairScan(NamedTuple):
    """How a first moment compares with its second moment, element by element.

    Attributes:
        variable: The model variable that both belong to.
        bound: What |m| / sqrt(v) cannot exceed.
        above: Number of elements that do.
        elements: Number of elements.
        worst: The greatest |m| / sqrt(v); infinite where v is 0 and m is not.
        mean: The mean |m| / sqrt(v) over the elements whose v is above 0; None where there are none, or it was not
            asked for.
    """

    variable: str
    bound: float
    above: int
    elements: int
    worst: float
    mean: float | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What reading every byte has shown.

    Attributes:
        tensors: By tensor.
        pairs: First against second moments, of Adam's relatives.
        equal_averages: Variables whose moving average equals their weights; None where there are no averages.
        damaged: What is wrong beyond single tensors (a zip member's checksum), a sentence each.
        skipped: Keys of tensors whose values were not scanned, and why they could not be.
        nbytes: Bytes that were read.
    """

    tensors: Mapping[TensorRef, TensorScan] = field(default_factory=dict)
    pairs: tuple[PairScan, ...] = ()
    equal_averages: tuple[str, ...] | None = None
    damaged: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    nbytes: int = 0
