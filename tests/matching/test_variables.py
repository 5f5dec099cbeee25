"""How a target's variables find their counterparts in a donor."""

from __future__ import annotations

import pytest

from ckptdoctor.errors import Unmatchable
from ckptdoctor.matching.variables import Match, Named, by_shape, explain_unmatched, match, normalized

KERNEL, BIAS = (3, 4), (4,)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("hidden/kernel", "hidden/kernel"),
        ("hidden/kernel:0", "hidden/kernel"),
        ("model/_operations/1/_kernel", "1/kernel"),
        ("layers/dense/vars/0", "dense/0"),
        ("training/Adam/x", "Adam/x"),
    ],
)
def test_normalized(name: str, plain: str) -> None:
    """What frameworks put around a name is taken off, what the user chose stays."""
    assert normalized(name) == plain


@pytest.mark.parametrize(
    ("target", "donor", "how"),
    [
        ("hidden/kernel", Named("hidden/kernel", KERNEL), "path"),
        ("hidden/kernel", Named("hidden/kernel:0", KERNEL), "name"),
        ("hidden/kernel", Named("m/hidden/kernel", KERNEL), "name"),
        ("hidden/kernel", Named("x", KERNEL, ("hidden/kernel",)), "name"),
        ("hidden/kernel", Named("quite/another", KERNEL), "structure"),
    ],
)
def test_one_variable(target: str, donor: Named, how: str) -> None:
    """A variable is found by its path, by what its name means, or because nothing else has its shape."""
    found = match([Named(target, KERNEL)], [donor], {})
    assert found[target].donor == donor.path
    assert found[target].how == how
    assert not found[target].ambiguous


def test_a_shape_that_differs_is_no_match() -> None:
    """The same name with another shape is not the same variable."""
    assert match([Named("a", KERNEL)], [Named("a", BIAS)], {}) == {}


def test_order_among_equal_shapes_is_said() -> None:
    """Where only the order tells equal shapes apart, the match says that it rests on it."""
    found = match(
        [Named("a/k", KERNEL), Named("b/k", KERNEL), Named("c/b", BIAS)],
        [Named("0", KERNEL), Named("1", KERNEL), Named("2", BIAS)],
        {},
    )
    assert [found[name].donor for name in ("a/k", "b/k", "c/b")] == ["0", "1", "2"]
    assert found["a/k"].how == "order"
    assert found["a/k"].ambiguous
    assert found["c/b"].how == "structure"


def test_names_beat_order() -> None:
    """Reversed donors of one shape go to their names, not to their places."""
    found = match([Named("a", KERNEL), Named("b", KERNEL)], [Named("b", KERNEL), Named("a", KERNEL)], {})
    assert {name: each.donor for name, each in found.items()} == {"a": "a", "b": "b"}


def test_a_map_beats_names() -> None:
    """What the user says is done, even against the names."""
    found = match([Named("a", KERNEL), Named("b", KERNEL)], [Named("a", KERNEL), Named("b", KERNEL)], {"b": "a"})
    assert found["a"] == ("b", "map", False)
    assert "a" not in {each.donor for each in found.values()} or found["b"].donor == "a"


def test_a_prefix_is_mapped() -> None:
    """`old/=new/` moves everything below a name."""
    donors = [Named("old/k", KERNEL), Named("old/b", BIAS)]
    found = match([Named("new/k", KERNEL), Named("new/b", BIAS)], donors, {"old/": "new/"})
    assert {name: each.donor for name, each in found.items()} == {"new/k": "old/k", "new/b": "old/b"}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"nowhere": "a"}, "the donor has no variable 'nowhere'"),
        ({"a": "nowhere"}, "the target has no variable 'nowhere'"),
        ({"b": "a"}, "shape"),
    ],
)
def test_a_map_that_cannot_be_followed_is_refused(mapping: dict[str, str], says: str) -> None:
    """A name that does not exist, or a shape that does not fit, ends the graft with a sentence."""
    with pytest.raises(Unmatchable, match=says):
        match([Named("a", KERNEL)], [Named("a", KERNEL), Named("b", BIAS)], mapping)


def test_names_that_count_layers_are_an_order() -> None:
    """`layers/dense_1` and `layer_with_weights-1` say which layer it is of how many, not what it is called."""
    for name in ("layers/dense_1/vars/0", "model/layer_with_weights-1/kernel", "net/_operations/1/_kernel"):
        found = match([Named("x/kernel", KERNEL, (name,))], [Named("b/kernel", KERNEL, (name,))], {})
        assert found["x/kernel"] == ("b/kernel", "structure", False)
    targets = [Named("x/k", KERNEL, ("l/0/k",)), Named("y/k", KERNEL, ("l/1/k",))]
    donors = [Named("a/k", KERNEL, ("l/0/k",)), Named("b/k", KERNEL, ("l/1/k",))]
    assert match(targets, donors, {})["y/k"] == ("b/k", "order", True)


def test_a_last_name_alone_is_no_name() -> None:
    """Every layer has a `kernel`: that two are left over says nothing but that their shapes fit."""
    found = match([Named("c/kernel", KERNEL)], [Named("a/kernel", KERNEL)], {})
    assert found["c/kernel"].how == "structure"


def test_lone_shapes_match_in_any_order() -> None:
    """TensorFlow 1 lists biases first: variables that alone have their shape are found all the same."""
    target = [Named("h/kernel", KERNEL), Named("h/bias", BIAS), Named("x", (2,)), Named("y", (2,))]
    donor = [Named("d1/b", BIAS), Named("d1/k", KERNEL), Named("p", (2,)), Named("q", (2,))]
    found = by_shape({}, target, donor)
    assert found == {"h/kernel": Match("d1/k", "structure"), "h/bias": Match("d1/b", "structure")}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"a": "x", "b": "x"}, "gives x two counterparts: a, b"),
        ({"nothing/": "l/"}, "the donor has no such variable below 'nothing/'"),
        ({"l/": "nothing/"}, "the target has no such variable below 'nothing/'"),
    ],
)
def test_a_map_that_says_nothing_or_two_things_is_refused(mapping: dict[str, str], says: str) -> None:
    """Two donors for one target, and prefixes below which there is nothing."""
    donors = [Named("a", KERNEL), Named("b", KERNEL), Named("l/k", KERNEL)]
    with pytest.raises(Unmatchable, match=says):
        match([Named("x", KERNEL), Named("l/k", KERNEL)], donors, mapping)


def test_what_is_missing_comes_with_every_line_that_settles_it() -> None:
    """All unmatched variables get their `--map`, each donor once, and one line for a whole layer."""
    donors = [Named("x", KERNEL), Named("y", KERNEL), Named("p/k", BIAS), Named("p/b", BIAS)]
    missing = [Named("a", KERNEL), Named("b", KERNEL), Named("q/k", BIAS), Named("q/b", BIAS), Named("c", (9,))]
    text = explain_unmatched(missing, donors, {})
    assert "--map x=a --map y=b --map p/=q/" in text
    assert "by order; their shapes fit others as well" in text
    assert "no variable of shape [9]" in text
