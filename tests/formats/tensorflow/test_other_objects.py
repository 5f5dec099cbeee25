"""Object-based checkpoints: what is no optimizer's, and what objects and variables may be called."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.bundles import array, strings
from support.objects import (
    Node,
    legacy,
    model,
    tracked,
    variable,
    variables,
)

from ckptdoctor.state import TrainingState

Read = Callable[[Node], TrainingState]
NAMES = ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]


def test_counters_are_not_the_optimizers(read: Read) -> None:
    """Whole numbers that the user keeps are counters; the optimizer's count is its own."""
    net = model()
    root = tracked(
        model=net,
        optimizer=legacy(variables(net)),
        step=variable(array(99, "int64"), "step"),
        state=tracked(epoch=variable(array(3, "int32"), "epoch")),
    )
    state = read(root)
    assert state.counters == {"step": 99, "epoch": 3, "save_counter": 1}
    assert state.optimizers[0].iterations == 7


def test_metrics_and_strings_are_neither(read: Read) -> None:
    """Metrics, their bookkeeping and strings are no weights."""
    net = model()
    net.children["keras_api"] = tracked(metrics=tracked(total=variable(3.0, "total"), count=variable(4.0, "count")))
    net.children["label"] = Node(value=strings(b"a", b"b"), full_name="label")
    state = read(tracked(model=net))
    assert [each.path for each in state.variables] == NAMES
    assert len(state.others) == 3


def test_equal_full_names(read: Read) -> None:
    """Where a person's names do not tell variables apart, the paths through the objects do, and are unique."""
    root = tracked(a=model({"kernel": (2,)}), b=model({"kernel": (2,)}))
    state = read(root)
    assert [each.path for each in state.variables] == ["a/kernel", "b/kernel"]


@pytest.mark.parametrize("name", ["a/b", "a.b", "\x1b[31mred", "[bold]", "a|b", "ключ", "line\nbreak", " "])
def test_names(read: Read, name: str) -> None:
    """Attribute and variable names are any text."""
    net = Node({name: variable([1.0, 2.0], f"full {name}")})
    state = read(tracked(model=net, optimizer=legacy(variables(net))))
    assert [each.path for each in state.variables] == [f"full {name}"]
    assert {slot.variable for slot in state.optimizers[0].slots} == {f"full {name}"}


def test_a_shared_variable(read: Read) -> None:
    """A variable that two paths reach is one variable."""
    net = model({"embed/kernel": (2, 2)})
    net.children["tied"] = net.children["embed"]
    state = read(tracked(model=net, optimizer=legacy(variables(net.children["embed"]))))
    assert [each.path for each in state.variables] == ["embed/kernel"]
