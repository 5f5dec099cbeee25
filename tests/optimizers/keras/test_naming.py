"""Names of state variables, as every generation writes them."""

from __future__ import annotations

import pytest

from ckptdoctor.optimizers.keras.naming import (
    Names,
    SlotName,
    generation_of,
    optimizer_name,
    plain,
    role_of,
    scalar_name,
)
from ckptdoctor.state import Generation, Role

V2, K2, K3 = Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3

MODEL = Names({
    "hidden/kernel": ["hidden/kernel:0"],
    "blk/one/kernel": ["blk/one/kernel:0"],
    "m/hidden/kernel": ["m/hidden/kernel"],
    "bare": ["layer/bare"],
})  # fmt: skip


@pytest.mark.parametrize(
    ("generation", "name", "slot", "variable", "optimizer"),
    [
        (V2, "Adam/hidden/kernel/m:0", "m", "hidden/kernel", "Adam"),
        (V2, "training/Adam/hidden/kernel/v:0", "v", "hidden/kernel", "Adam"),
        (V2, "training_2/Adam/hidden/kernel/v:0", "v", "hidden/kernel", "Adam"),
        (V2, "cond_1/Adam/hidden/kernel/vhat:0", "vhat", "hidden/kernel", "Adam"),
        (V2, "Adam/blk/one/kernel/m:0", "m", "blk/one/kernel", "Adam"),
        (V2, "MyAdam/hidden/kernel/special:0", "special", "hidden/kernel", "MyAdam"),
        (K2, "Adam/m/hidden/kernel:0", "m", "hidden/kernel", "Adam"),
        (K2, "m/blk/one/kernel:0", "m", "blk/one/kernel", ""),
        (K2, "RMSprop/average_gradient/hidden/kernel:0", "average_gradient", "hidden/kernel", "RMSprop"),
        (K3, "adam/m_hidden_kernel_momentum", "momentum", "m/hidden/kernel", "adam"),
        (K3, "adam_1/m_hidden_kernel_velocity_hat", "velocity_hat", "m/hidden/kernel", "adam_1"),
        (K3, "m_hidden_kernel_gradient_accumulator", "gradient_accumulator", "m/hidden/kernel", ""),
        (K3, "adam/hidden_kernel_velocity", "velocity", "hidden/kernel", "adam"),
        (K3, "adam/seq_layer_bare_velocity", "velocity", "bare", "adam"),
    ],
)
def test_reads_names_of_slots(generation: Generation, name: str, slot: str, variable: str, optimizer: str) -> None:
    """Each generation's form gives the slot, the model's variable and the optimizer's own name."""
    assert MODEL.parse(name, generation) == SlotName(slot, variable, known=True, optimizer=optimizer)


@pytest.mark.parametrize(
    ("generation", "name", "slot", "variable"),
    [
        (V2, "Adam/gone/kernel/m:0", "m", "gone/kernel"),
        (V2, "training/Adam/gone/kernel/m:0", "m", "gone/kernel"),
        (K2, "Adam/m/gone/kernel:0", "m", "gone/kernel"),
        (K3, "adam/m_gone_kernel_momentum", "momentum", "m_gone_kernel"),
    ],
)
def test_says_what_a_slot_is_whose_variable_is_gone(
    generation: Generation, name: str, slot: str, variable: str
) -> None:
    """A slot of a variable that the model lacks is still a slot, marked as of an unknown variable."""
    parsed = MODEL.parse(name, generation)
    assert parsed is not None
    assert (parsed.slot, parsed.variable, parsed.known) == (slot, variable, False)


@pytest.mark.parametrize(
    ("generation", "name"),
    [
        (V2, "Adam/iter:0"), (V2, "training/Adam/iter:0"), (V2, "Nadam/momentum_cache:0"), (K2, "iteration:0"),
        (K3, "adam/iteration"), (K3, "adam/learning_rate"), (K3, "learning_rate"), (K3, "nadam/variable"),
        (Generation.KERAS1, "training/Adam/Variable_1:0"),
    ],
)  # fmt: skip
def test_does_not_take_scalars_for_slots(generation: Generation, name: str) -> None:
    """Counts, learning rates and nameless variables are no slots of anything."""
    assert MODEL.parse(name, generation) is None


def test_does_not_choose_between_two_of_a_name() -> None:
    """Where two variables join to the same text, no name can tell them apart and none is taken."""
    names = Names({"a/b_c": [], "a_b/c": []})
    parsed = names.parse("adam/a_b_c_momentum", K3)
    assert parsed is not None
    assert not parsed.known


def test_a_hostile_name_costs_little() -> None:
    """A name of 60,000 underscores is given up in linear time."""
    assert MODEL.parse("_" * 60_000 + "x", K3) is None


@pytest.mark.parametrize(
    ("names", "generation"),
    [
        (["Adam/iter:0", "Adam/hidden/kernel/m:0"], V2),
        (["iteration:0", "Adam/m/hidden/kernel:0"], K2),
        (["adam/iteration"], K3),
        (["Adam/iterations:0"], Generation.KERAS1),
        (["iterations_1:0"], Generation.KERAS1),
        (["Variable:0"], None),
    ],
)
def test_the_count_names_its_generation(names: list[str], generation: Generation | None) -> None:
    """iter, iteration with and without output number, iterations: one spelling for each generation."""
    assert generation_of(names) is generation


@pytest.mark.parametrize(
    ("name", "scalar"),
    [("Adam/iterations:0", "iteration"), ("iterations_1:0", "iteration"), ("adam/learning_rate", "learning_rate"),
     ("hidden/kernel:0", None)],
)  # fmt: skip
def test_knows_the_scalars_by_name(name: str, scalar: str | None) -> None:
    """Every spelling of the count is `iteration`; variables of the model are no scalars."""
    assert scalar_name(name) == scalar


def test_small_parts_of_names() -> None:
    """Output numbers and scopes come off, the optimizer's name is what is left in front."""
    assert plain("a/b:0") == "a/b"
    assert optimizer_name("training_1/Adam_2/a/b/m:0") == "Adam_2"
    assert optimizer_name("iteration:0") == ""


def test_the_same_name_has_the_role_of_its_class() -> None:
    """`momentum` is SGD's momentum and Adam's first moment; an unknown slot has no role."""
    assert role_of("momentum", K3, "SGD") is Role.MOMENTUM
    assert role_of("momentum", K3, "Adam") is Role.FIRST_MOMENT
    assert role_of("v", V2, "Adamax") is Role.INFINITY_NORM
    assert role_of("average", K2, "Adam") is Role.MOVING_AVERAGE
    assert role_of("m_1", V2, "Adam") is Role.FIRST_MOMENT
    assert role_of("whatever", K3) is Role.OTHER
