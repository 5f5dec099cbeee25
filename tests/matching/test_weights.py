"""What weights say about matches: they confirm them, expose a permutation, or tell nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ckptdoctor.matching.variables import Match
from ckptdoctor.matching.weights import Likeness, by_weights, confirm, likeness
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import ModelVariable

RANDOM = np.random.default_rng(3)


def tensor(values: Any, dtype: str = "float32") -> TensorRef:
    """A tensor that is its own file."""
    array = np.asarray(values, dtype)
    return TensorRef("x", dtype, array.shape, Inline(array.tobytes()))


def model(**values: Any) -> dict[str, ModelVariable]:
    """Variables by path."""
    return {
        path: ModelVariable(path, each if isinstance(each, TensorRef) else tensor(each))
        for path, each in values.items()
    }


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ([1.0, 2.0], [1.0, 2.0], Likeness.EQUAL),
        ([1.0, 2.0], [1.1, 2.1], Likeness.NEAR),
        ([1.0, 2.0], [-1.0, 9.0], Likeness.OTHER),
        ([1.0, 2.0], [0.0, 0.0], Likeness.UNKNOWN),
        ([0.0, 0.0], [0.0, 0.0], Likeness.EQUAL),
        ([np.inf, np.nan], [np.inf, np.nan], Likeness.EQUAL),
        ([1.0, 2.0], [np.inf, 2.0], Likeness.OTHER),
        ([1.0, 2.0], [np.nan, 2.0], Likeness.OTHER),
        ([1.0], [1.0, 2.0], Likeness.UNKNOWN),
        ([], [], Likeness.UNKNOWN),
    ],
)
def test_likeness(one: list[float], other: list[float], alike: Likeness) -> None:
    """Weights are equal, near, another run's, or tell nothing."""
    assert likeness(tensor(one), tensor(other)) is alike


def test_a_permutation_among_many() -> None:
    """Each variable that by order would get another's state is found with its own, in whatever order they lie."""
    values = RANDOM.normal(size=(50, 4, 4)).astype("float32")
    shuffled = RANDOM.permutation(50)
    ours = model(**{f"t{number}": values[shuffled[number]] for number in range(50)})
    theirs = model(**{f"d{number}": values[number] for number in range(50)})
    matches = {f"t{number}": Match(f"d{number}", "order", ambiguous=True) for number in range(50)}
    found = confirm(matches, ours, theirs)
    assert found.contradicted == {f"t{n}": f"d{shuffled[n]}" for n in range(50) if shuffled[n] != n}
    assert {path for path, each in found.matches.items() if each.how == "weights"} == {
        f"t{n}" for n in range(50) if shuffled[n] == n
    }


def test_types_that_differ() -> None:
    """A permutation shows across types too."""
    a, b = [0.5, 0.25], [0.75, -1.0]
    found = confirm(
        {"x": Match("p", "order", ambiguous=True), "y": Match("q", "order", ambiguous=True)},
        model(x=a, y=b),
        model(p=tensor(b, "float16"), q=tensor(a, "float16")),
    )
    assert found.contradicted == {"x": "q", "y": "p"}


def test_weights_that_tell_nothing() -> None:
    """Fresh biases are all alike, and infinities are no evidence: no permutation follows from them."""
    for value in (0.0, 1.0, np.inf, np.nan):
        same = [value, value]
        found = confirm(
            {"x": Match("p", "order", ambiguous=True)}, model(x=same, y=[1.0, 2.0]), model(p=[3.0, 4.0], q=same)
        )
        assert found.contradicted == {}
        assert found.unsure == ("x",)


def test_names_are_not_believed_against_the_weights() -> None:
    """A match by name is contradicted too, and weights that are another variable's are no other run's."""
    found = confirm({"x": Match("p", "name")}, model(x=[1.0, 2.0]), model(p=[3.0, -4.0], q=[1.0, 2.0]))
    assert found.contradicted == {"x": "q"}
    assert not found.other_run


def test_names_stand_where_no_weights_are_equal() -> None:
    """Without equal weights elsewhere a match by name stands: the moments are of another moment then."""
    found = confirm({"x": Match("p", "name")}, model(x=[1.0, 2.0]), model(p=[3.0, -4.0], q=[9.0, 9.5]))
    assert found.contradicted == {}
    assert found.other_run


def test_equal_weights_are_a_match_where_they_are_unique() -> None:
    """Variables of other names are found by their weights; twins and constants are not."""
    ours = model(x=[1.0, 2.0], y=[3.0, 4.0], z=[0.0, 0.0])
    theirs = model(p=[3.0, 4.0], q=[1.0, 2.0], r=[3.0, 4.0], s=[0.0, 0.0])
    assert by_weights(ours.values(), theirs.values()) == {"x": Match("q", "equal")}
