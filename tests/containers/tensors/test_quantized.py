"""Moments in 4 and 8 bits: what they stand for, as torchao reckons it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.containers.tensors.values import assembled, chunks
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.torch.subclasses import tensor_of
from ckptdoctor.references import FileRange, Inline, Quantized, Strided, TensorRef

KIND = "torchao.optim.subclass_8bit.OptimState8bit"


def held(values: NDArray[Any]) -> TensorRef:
    """An array as an artifact has it."""
    return TensorRef("t", str(values.dtype), values.shape, Inline(values.tobytes()))


def state(shape: tuple[int, ...], kind: str = KIND, **fields: NDArray[Any]) -> TensorRef:
    """What is read of a subclass with these tensors."""
    inner: dict[Any, Node] = {name: held(each) for name, each in fields.items()}
    found = tensor_of(Thing(kind, (TensorRef("m", "float32", shape, None),), inner))
    assert found is not None
    return found


CODES = np.arange(8, dtype=np.uint8)
SCALE = np.array([2.0, 0.5], np.float32)
TABLE = np.linspace(-1, 1, 16, dtype=np.float32)


def test_eight_bits() -> None:
    """Each code's value in the table, by the factor of its block."""
    found = state((2, 4), codes=CODES.reshape(2, 4), scale=SCALE, qmap=TABLE)
    expected = TABLE[CODES.reshape(2, 4)] * SCALE[:, None]
    assert np.array_equal(assembled(found).reshape(2, 4), expected)


def test_four_bits() -> None:
    """Two codes in a byte, the high one first."""
    packed = (CODES[::2] << 4) | CODES[1::2]
    found = state((8,), "torchao.optim.subclass_4bit.OptimState4bit", codes=packed, scale=SCALE, qmap=TABLE)
    assert np.array_equal(assembled(found), TABLE[CODES] * np.repeat(SCALE, 4))


def test_float8() -> None:
    """Codes that are numbers."""
    codes = np.array([1, -2, 0.5, 4], ml_dtypes.float8_e4m3fn)
    found = state((4,), "torchao.optim.subclass_fp8.OptimStateFp8", codes=codes, scale=SCALE)
    assert assembled(found).tolist() == [2.0, -4.0, 0.25, 2.0]


@pytest.mark.parametrize(("block", "piece"), [(1 << 8, 1 << 12), (24, 24 << 8)])
def test_a_piece_at_a_time(tmp_path: Path, block: int, piece: int) -> None:
    """A large one is never whole in memory, unless its blocks are of an odd size: they are not cut."""
    scale = np.arange(1 << 8, dtype=np.float32)
    codes = np.random.default_rng(0).integers(0, 16, block << 8, dtype=np.uint8)
    (tmp_path / "codes").write_bytes(codes.tobytes())
    stored = TensorRef("c", "uint8", codes.shape, FileRange(str(tmp_path / "codes"), 0, codes.size))
    found = TensorRef("m", "float32", codes.shape, Quantized(stored, held(scale), held(TABLE)))
    pieces = list(chunks(found, 1 << 14))
    assert {each.size for each in pieces} == {piece}
    assert np.array_equal(np.concatenate(pieces), TABLE[codes] * np.repeat(scale, block))


@pytest.mark.parametrize(
    ("codes", "scale", "table"),
    [
        (CODES, SCALE[:0], TABLE),
        (CODES, np.ones(3, np.float32), TABLE),
        (CODES[:5], SCALE, TABLE),
        (CODES, SCALE, TABLE[:7]),
    ],
    ids=["no factor", "blocks that are not whole", "too few codes", "a code beyond the table"],
)
def test_what_does_not_fit(codes: NDArray[Any], scale: NDArray[Any], table: NDArray[Any]) -> None:
    """One sentence, whatever a file claims."""
    found = state((8,), codes=codes, scale=scale, qmap=table)
    with pytest.raises(UnreadableArtifact, match="codes"):
        list(chunks(found))


def test_nothing() -> None:
    """A tensor without elements has none, whatever else is there."""
    for scale in (SCALE, SCALE[:0]):
        assert not [*chunks(state((0,), codes=CODES[:0], scale=scale, qmap=TABLE))]


def test_a_view_that_repeats() -> None:
    """A file of a few bytes stands for no terabyte."""
    huge = TensorRef("t", "uint8", (1 << 40,), Strided(FileRange("x", 0, 1), (0,)))
    inner: dict[Any, Node] = {"codes": huge, "scale": held(SCALE), "qmap": held(TABLE)}
    found = tensor_of(Thing(KIND, (TensorRef("m", "float32", (1 << 40,), None),), inner))
    assert found is not None
    assert found.location is None


def test_other_subclasses() -> None:
    """Nobody knows what theirs stand for."""
    found = state((8,), "mine.Packed", codes=CODES, scale=SCALE, qmap=TABLE)
    assert found.location is None
    assert isinstance(state((8,), codes=CODES, scale=SCALE, qmap=TABLE).location, Quantized)
