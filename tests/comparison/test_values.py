"""Values of two tensors: equal, within a tolerance, or not; whatever their types, and in pieces."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from ckptdoctor.comparison import values
from ckptdoctor.comparison.results import Figures
from ckptdoctor.comparison.values import Tolerance, compare_values
from ckptdoctor.references import Inline, TensorRef

EXACT = Tolerance()
NAN, INF = math.nan, math.inf


def tensor(numbers: Any, dtype: str = "float32") -> TensorRef:
    """A tensor that is its own file."""
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype)
    array = np.asarray(numbers).astype(kind)
    return TensorRef("x", dtype, array.shape, Inline(array.tobytes()))


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32", "int64", "uint8", "bool"])
def test_equal(dtype: str) -> None:
    """A tensor equals itself, in every type."""
    assert compare_values(tensor([1, 0, 1], dtype), tensor([1, 0, 1], dtype), EXACT) == Figures(3, 0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("a", "b", "differing", "largest"),
    [
        ([1.0, 2.0, 3.0], [1.0, 2.5, 3.0], 1, 0.5),
        ([0.0], [-0.0], 0, 0.0),
        ([NAN, 1.0], [NAN, 1.0], 0, 0.0),
        ([INF, -INF], [INF, -INF], 0, 0.0),
        ([INF], [-INF], 1, INF),
        ([1.0], [INF], 1, INF),
        ([], [], 0, 0.0),
    ],
)
def test_exactly(a: list[float], b: list[float], differing: int, largest: float) -> None:
    """Without a tolerance values have to be equal; NaN equals NaN, and zero minus zero."""
    found = compare_values(tensor(a), tensor(b), EXACT)
    assert (found.differing, found.max_absolute) == (differing, largest)


def test_a_number_is_not_nan() -> None:
    """A number that faces NaN differs, and how far nobody can say."""
    found = compare_values(tensor([1.0, NAN]), tensor([1.0, 2.0]), Tolerance(rtol=1.0, atol=1e9))
    assert found.differing == 1
    assert math.isnan(found.max_absolute)


@pytest.mark.parametrize(
    ("tolerance", "differing"),
    [
        (Tolerance(rtol=0.011), 0),
        (Tolerance(rtol=0.009), 2),
        (Tolerance(atol=0.5), 1),
        (Tolerance(atol=1.0), 0),
        (Tolerance(rtol=0.005, atol=0.5), 0),
    ],
)
def test_tolerances(tolerance: Tolerance, differing: int) -> None:
    """|a - b| <= atol + rtol max(|a|, |b|), the same in both directions."""
    a, b = tensor([100.0, 10.0, 0.0]), tensor([101.0, 10.1, 0.0])
    assert compare_values(a, b, tolerance).differing == differing
    assert compare_values(b, a, tolerance).differing == differing


def test_no_tolerance_reaches_infinity() -> None:
    """An infinite bound is none: infinity differs from a number whatever the tolerance."""
    assert compare_values(tensor([INF]), tensor([1.0]), Tolerance(rtol=0.5)).differing == 1


def test_types_that_differ() -> None:
    """Across types it is the numbers that count."""
    assert compare_values(tensor([0.5, 1.5], "bfloat16"), tensor([0.5, 1.5]), EXACT).differing == 0
    assert compare_values(tensor([0.1], "float16"), tensor([0.1]), EXACT).differing == 1


def test_whole_numbers_are_compared_as_such() -> None:
    """Above 2^53 neighbours are one number in float64, and two all the same."""
    assert compare_values(tensor([2**60], "int64"), tensor([2**60 + 1], "int64"), EXACT).differing == 1


def test_complex_numbers() -> None:
    """Complex numbers differ in their imaginary parts too."""
    found = compare_values(tensor([1 + 1j], "complex64"), tensor([1 + 2j], "complex64"), EXACT)
    assert (found.differing, found.max_absolute) == (1, 1.0)


def test_a_translation_may_round() -> None:
    """What a factor made, back and forth in float32, is the same number; what is off by more is not."""
    numbers = np.random.default_rng(7).normal(size=10_000).astype("float32")
    translated = (numbers.astype("float64") * -0.05).astype("float32")
    factor = -1 / 0.05
    assert compare_values(tensor(numbers), tensor(translated), EXACT, factor=factor).differing == 0
    assert compare_values(tensor(numbers), tensor(translated * np.float32(1.00001)), EXACT, factor=factor).differing > 0
    assert compare_values(tensor(numbers), tensor(translated), EXACT, factor=-factor).differing == 10_000


def test_tensors_are_read_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A difference is found wherever the pieces end, and progress tells every byte of both."""
    monkeypatch.setattr(values, "_CHUNK", 64)
    a = np.arange(1000, dtype="float32")
    b = a.copy()
    b[[3, 500, 999]] += 1
    told: list[int] = []
    found = compare_values(tensor(a), tensor(b), EXACT, tell=told.append)
    assert found == Figures(1000, 3, 1.0, 0.25)
    assert sum(told) == 8000
