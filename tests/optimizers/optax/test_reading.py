"""optax' states by structure: the class as far as the fields tell it, the count, the parameter of each slot."""

from __future__ import annotations

import struct

import pytest

from ckptdoctor.optimizers.optax.reading import read_optax
from ckptdoctor.optimizers.optax.tree import Leaf, take_apart
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import OptimizerState


def _leaf(path: str, *, shape: tuple[int, ...] = (2,), count: int | None = None, empty: bool = False) -> Leaf:
    if empty:
        return Leaf(tuple(path.split("/")), None, is_empty=True)
    if count is not None:
        return Leaf(tuple(path.split("/")), TensorRef(path, "int32", (), Inline(struct.pack("<i", count))))
    return Leaf(tuple(path.split("/")), TensorRef(path, "float32", shape, Inline(bytes(8))))


def _slots(node: str, *fields: str) -> list[Leaf]:
    return [_leaf(f"{node}/{field}/{name}") for field in fields for name in ("a/w", "a/b")]


PARAMS = [_leaf("params/a/w"), _leaf("params/a/b")]


def _read(*leaves: Leaf) -> tuple[OptimizerState, ...]:
    found = take_apart([*PARAMS, *leaves])
    return tuple(read_optax(root, own, found.variables) for root, own in found.states.items())


def _count(path: str, value: int = 7) -> Leaf:
    return _leaf(path, count=value)


@pytest.mark.parametrize(
    ("leaves", "name", "slots"),
    [
        ([*_slots("opt_state/0", "mu", "nu"), _count("opt_state/0/count")], "Adam", 4),
        (
            [
                *_slots("opt_state/1/0", "mu", "nu"), _count("opt_state/1/0/count"),
                *(_leaf(f"opt_state/{place}", empty=True) for place in ("0", "1/1", "1/2")),
            ],
            "AdamW",
            4,
        ),
        ([*_slots("opt_state/0", "mu"), _count("opt_state/0/count")], "Lion", 2),
        ([*_slots("opt_state/0", "mu", "nu", "nu_max"), _count("opt_state/0/count")], "AMSGrad", 6),
        (_slots("opt_state/0", "nu"), "RMSprop", 2),
        ([*_slots("opt_state/0", "nu"), *_slots("opt_state/2", "trace")], "RMSprop", 4),
        (_slots("opt_state/0", "mu", "nu"), "RMSprop", 4),
        ([*_slots("opt_state/0", "nu"), _leaf("opt_state/0/mu/a/w/0"), _leaf("opt_state/0/mu/a/w/1")], "SM3", 2),
        (_slots("opt_state/0", "trace"), "SGD", 2),
        (_slots("opt_state/0", "sum_of_squares"), "Adagrad", 2),
        ([*_slots("opt_state/0", "v_row", "v_col", "v"), _count("opt_state/0/count")], "Adafactor", 6),
        ([_leaf("opt_state/0", empty=True), _leaf("opt_state/1", empty=True)], "SGD", 0),
        (_slots("opt_state/0", "of_my_own"), None, 2),
    ],
)  # fmt: skip
def test_classes(leaves: list[Leaf], name: str | None, slots: int) -> None:
    """The likeliest class, every slot; of a state that nobody knows, the slots alone."""
    (found,) = _read(*leaves)
    assert (found.class_name, len(found.slots)) == (name, slots)
    assert not found.missing
    assert {each.variable for each in found.slots} == ({"a/w", "a/b"} if slots else set())


def test_what_cannot_be_told() -> None:
    """Adam and its relatives keep the same."""
    (found,) = _read(*_slots("opt_state/0", "mu", "nu"), _count("opt_state/0/count"))
    assert {"AdamW", "NAdam", "Adamax", "LAMB"} <= set(found.class_candidates)


def test_counts() -> None:
    """Adam's counts; a schedule's that differs is told; where no moment counts, the schedule's is the count."""
    adam = [*_slots("opt_state/0", "mu", "nu"), _count("opt_state/0/count")]
    (agreed,) = _read(*adam, _count("opt_state/2/count"))
    assert (agreed.iterations, agreed.iterations_key, agreed.conflicts) == (7, "opt_state/0/count", ())
    (restarted,) = _read(*adam, _count("opt_state/2/count", 0))
    assert restarted.iterations == 7
    assert [each.code for each in restarted.conflicts] == ["V004"]
    (scheduled,) = _read(*_slots("opt_state/0", "trace"), _count("opt_state/1/count"))
    assert scheduled.iterations == 7
    (several,) = _read(*adam, *_slots("opt_state/3", "mu", "nu"), _count("opt_state/3/count", 5))
    assert several.iterations is None
    (plateau,) = _read(
        *_slots("opt_state/0", "trace"), _count("opt_state/1/count"), _count("opt_state/1/plateau_count")
    )
    assert plateau.iterations is None


def test_copied_to_every_device() -> None:
    """State that `pmap` copied counts on each device, alike."""
    for values, expected in (((7, 7), 7), ((7, 8), None)):
        ref = TensorRef("c", "int32", (2,), Inline(struct.pack("<2i", *values)))
        (found,) = _read(*_slots("opt_state/0", "mu", "nu"), Leaf(("opt_state", "0", "count"), ref))
        assert found.iterations == expected


def test_a_lost_slot() -> None:
    """A parameter that has one moment and not the other lacks it; one without any is not trained."""
    (found,) = _read(*_slots("opt_state/0", "mu"), _leaf("opt_state/0/nu/a/w"), _count("opt_state/0/count"))
    assert [(each.name, each.variable) for each in found.missing] == [("nu", "a/b")]


def test_two_optimizers() -> None:
    """Each is given the parameters that are called as it is."""
    found = take_apart([
        *(_leaf(f"{who}_params/a/w") for who in ("gen", "disc")),
        *(_leaf(f"{who}_opt_state/0/trace/a/w") for who in ("gen", "disc")),
    ])  # fmt: skip
    owners = {root: [each.variable for each in own] for root, own in found.states.items()}
    assert owners == {("gen_opt_state",): ["gen_params/a/w"], ("disc_opt_state",): ["disc_params/a/w"]}


def test_state_alone() -> None:
    """A chain that was saved by itself names its parameters, which are elsewhere."""
    found = take_apart([_leaf("0/mu/a/w"), _leaf("0/nu/a/w"), _count("0/count"), _leaf("1", empty=True)])
    (own,) = found.states.values()
    assert {each.variable for each in own} == {"a/w", None}
    assert not found.variables


def test_averages_of_the_weights() -> None:
    """A copy of the parameters under another name is not taken for them."""
    found = take_apart([*PARAMS, _leaf("ema_params/a/w"), _leaf("ema_params/a/b"), *_slots("opt_state/0", "trace")])
    assert {each.path for each in found.variables} == {"a/w", "a/b"}
    assert {each.tensor.key for each in found.variables} == {"params/a/w", "params/a/b"}
    assert len(found.others) == 2


def test_nnx() -> None:
    """NNX puts `value` behind every path; statistics are not trained."""
    found = take_apart([
        _leaf("model/l/kernel/value"), _leaf("optimizer/opt_state/0/trace/l/kernel/value"),
        _leaf("batch_stats/mean/value"), _leaf("optimizer/step/value", count=7),
    ])  # fmt: skip
    assert {each.path: each.trainable for each in found.variables} == {"l/kernel": True, "batch_stats/mean": False}
