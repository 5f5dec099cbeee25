"""What reading every byte of an artifact has shown, as pure data for the rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ckptdoctor.containers.tensors.scan import PairFigures, TensorScan
from ckptdoctor.references import TensorRef


class PairScan(NamedTuple):
    """How a first moment compares with its second moment, element by element.

    Attributes:
        variable: The model variable that both belong to.
        bound: What |m| / sqrt(v) cannot exceed.
        figures: What it does.
    """

    variable: str
    bound: float
    figures: PairFigures


@dataclass(frozen=True, slots=True)
class Scan:
    """What reading every byte has shown.

    Attributes:
        tensors: By tensor.
        pairs: First against second moments, of Adam's relatives.
        equal_averages: Variables whose moving average equals their weights.
        damaged: What is wrong beyond single tensors (a zip member's checksum), a sentence each.
        skipped: Keys of tensors whose values were not scanned, and why.
        nbytes: Bytes of the tensors that were.
    """

    tensors: Mapping[TensorRef, TensorScan] = field(default_factory=dict)
    pairs: tuple[PairScan, ...] = ()
    equal_averages: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    skipped: Mapping[str, str] = field(default_factory=dict)
    nbytes: int = 0


__all__ = ["PairFigures", "PairScan", "Scan", "TensorScan"]
