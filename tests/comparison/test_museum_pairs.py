"""Pairs of real artifacts: one moment in several formats, moments that differ, and grafts held against their donors."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import ckptdoctor
from ckptdoctor.comparison.results import Comparison, Layer, Outcome, Verdict
from ckptdoctor.state import Role

Record: TypeAlias = Mapping[str, Any]
Find: TypeAlias = Callable[[str], Path]


@pytest.fixture
def find(museum: Path, museum_truth: list[Record]) -> Find:
    """The path of a case."""
    paths = {record["case"]: museum / record["path"] for record in museum_truth}
    return paths.__getitem__


def odd(found: Comparison) -> list[str]:
    """Everything that is neither equal nor a setting that one side does not record."""
    fine = {Outcome.EQUAL, Outcome.NOT_COMPARED}
    items = [f"{x.name}: {x.outcome.value}" for each in found.optimizers for x in each.items if x.outcome not in fine]
    slots = Counter(
        (slot.role.value, slot.outcome.value)
        for each in found.optimizers
        for slot in each.slots
        if slot.outcome is not Outcome.EQUAL
    )
    return items + [f"{count} {role}: {outcome}" for (role, outcome), count in slots.items()]


# ---------------------------------------------------------------------------------------------------------- one moment

KNOWN = {
    # Gradients were applied in reversed order, all shapes are equal, and these formats have no names: readers err.
    **dict.fromkeys(("reversed_sameshape",), "different"),
    # Inside a LossScaleOptimizer Nadam keeps no product, and a file without a configuration looks like Adam's.
    **dict.fromkeys(("lossscale_nadam",), "undecided"),
    # The same numbers, and another configuration.
    **dict.fromkeys(("adam_lossfactor", "adam_clipnorm"), "different"),
    # Twin blocks of equal shapes, whose order only the configuration of one of the two tells.
    **dict.fromkeys(("/blocks-",), "undecided"),
    # The same numbers, and another model: its variables have other names.
    **dict.fromkeys(("tfmodule",), "undecided"),
}
"""Parts of names of the pairs whose records look alike and that are not equal, with the reason."""


def _moment(record: Record) -> str | None:
    """What is the same for records of one moment of one run: the producer, and all the framework held."""
    if not record["state_present"] or len(record["optimizers"]) != 1:
        return None
    (optimizer,) = record["optimizers"]
    slots = sorted(
        (tuple(s["shape"]), f"{s['sum']:.5g}", f"{s.get('variable_sum') or 0:.5g}") for s in optimizer["slots"]
    )
    if not slots:
        return None
    return json.dumps([record["producer"], optimizer["class"], optimizer["iterations"], slots], sort_keys=True)


def _pairs(records: list[Record]) -> Iterator[tuple[Record, Record]]:
    """The first record of each moment beside every other."""
    moments: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        moment = _moment(record)
        if moment is not None:
            moments[moment].append(record)
    for first, *others in moments.values():
        yield from ((first, other) for other in others)


PARTS = 12


def test_there_are_pairs(museum_truth: list[Record]) -> None:
    """Every format stands beside others."""
    pairs = list(_pairs(museum_truth))
    assert len(pairs) > 400
    assert len({frozenset((one["format"], other["format"])) for one, other in pairs}) >= 15


@pytest.mark.parametrize("part", range(PARTS))
def test_artifacts_of_one_moment_are_equal(part: int, museum: Path, museum_truth: list[Record]) -> None:
    """Whatever the format: what the framework held when it saved both is one state."""
    failing: list[str] = []
    equal = 0
    for one, other in list(_pairs(museum_truth))[part::PARTS]:
        found = ckptdoctor.diff(museum / one["path"], museum / other["path"], values=True, rtol=1e-5, atol=1e-8)
        expected = {reason for part, reason in KNOWN.items() if part in one["case"] or part in other["case"]}
        if found.verdict is Verdict.EQUAL:
            equal += 1
        elif found.verdict.value not in expected:
            failing.append(f"{one['case']} and {other['case']}: {found.verdict.value}: {odd(found)}")
    assert not failing, f"{len(failing)} pairs are not equal:\n" + "\n".join(failing)
    assert equal > 400 // PARTS


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("keras/k3.15tf-batchnorm-keras", "keras/k3.15tf-batchnorm-h5"),
        ("keras/k3.15tf-batchnorm-keras", "keras/k3.15tf-batchnorm-wh5"),
        ("tf2.21/ckpt-lossscale_nadam", "tf2.21/lossscale_nadam-keras"),
        ("tf2.21/lossscale_nadam-h5", "tf2.21/lossscale_nadam-variables-pkl"),
        ("keras3.6-jax/lossscale_adafactor-keras", "keras3.6-jax/lossscale_adafactor-variables-pkl"),
        ("keras/k3.15tf-adam_gradaccum-h5", "keras/k3.15tf-adam_gradaccum-vars.pkl"),
    ],
)
def test_formats_to_the_last_bit(find: Find, one: str, other: str) -> None:
    """One process saved both: not a bit differs, in either direction."""
    for a, b in ((one, other), (other, one)):
        found = ckptdoctor.diff(find(a), find(b), values=True, weights=True)
        assert found.verdict is Verdict.EQUAL, odd(found)
        assert found.equal
        assert found.agrees


# -------------------------------------------------------------------------------------------------------------- grafts


@pytest.mark.parametrize(
    ("donor", "target", "suffix"),
    [
        ("tf/v2.10-tfk-ckpt-legacy_adamax", "keras/k3.15tf-adamax-keras", ".keras"),
        ("tf/v2.15-tfk-ckpt-legacy_nadam", "tf/v2.18-k3-ckpt-nadam", ""),
        ("tf/v2.18-k3-ckpt-nadam", "tf/v2.15-tfk-ckpt-legacy_nadam", ""),
        ("tf/v2.21-tf1-momentum", "tf/v2.18-k3-ckpt-sgd_momentum", ""),
        ("tf/v2.18-k3-ckpt-sgd_momentum", "tf/v2.21-tf1-momentum", ""),
        ("tf/v2.3-tf1-adam", "tf/v2.18-k3-ckpt-adam", ""),
        ("keras/k2.3.1-adam-h5", "keras/k3.15tf-adam-h5", ".h5"),
        ("tf/v2.15-tfk-ckpt-adamw", "keras/tfk2.21-adamw-vars.pkl", ".pkl"),
    ],
)
def test_a_graft_holds_its_donors_state(find: Find, tmp_path: Path, donor: str, target: str, suffix: str) -> None:
    """A donor and its graft into another generation or format are equal, in both directions."""
    out = tmp_path / f"out{suffix}"
    ckptdoctor.graft(find(donor), find(target), out)
    for a, b in ((find(donor), out), (out, find(donor))):
        found = ckptdoctor.diff(a, b, values=True)
        assert found.verdict is Verdict.EQUAL, odd(found)
        assert all(slot.figures is not None for each in found.optimizers for slot in each.slots if slot.a and slot.b)


def test_a_translation_is_told(find: Find, tmp_path: Path) -> None:
    """TensorFlow 1 accumulates gradients and Keras steps: B's numbers are translated, and the result says so."""
    donor = find("tf/v2.21-tf1-momentum")
    ckptdoctor.graft(donor, find("tf/v2.18-k3-ckpt-sgd_momentum"), tmp_path / "out")
    (optimizer,) = ckptdoctor.diff(donor, tmp_path / "out", values=True).optimizers
    assert {slot.translation for slot in optimizer.slots} == {"accumulator = -momentum / learning_rate"}
    (optimizer,) = ckptdoctor.diff(tmp_path / "out", donor, values=True).optimizers
    assert {slot.translation for slot in optimizer.slots} == {"momentum = -learning_rate x accumulator"}


def test_two_frameworks_that_trained_alike(find: Find) -> None:
    """TensorFlow 1 and Keras 3 took the same steps: what they hold is one state, but for the last digits.

    This is the translation held against the frameworks: no graft of ours made either artifact.
    """
    a, b = find("tf/v2.21-tf1-momentum"), find("tf/v2.18-k3-ckpt-sgd_momentum")
    assert ckptdoctor.diff(a, b, values=True, rtol=1e-5, atol=1e-7).verdict is Verdict.EQUAL
    assert ckptdoctor.diff(a, b, values=True).verdict is Verdict.DIFFERENT


# --------------------------------------------------------------------------------------------------------- differences


def test_another_moment(fixtures_dir: Path) -> None:
    """Two checkpoints of one run: the count and every slot differ, the class and its betas do not."""
    found = ckptdoctor.diff(fixtures_dir / "run-a" / "ckpt-3", fixtures_dir / "run-a" / "ckpt-7", values=True)
    (optimizer,) = found.optimizers
    assert found.verdict is Verdict.DIFFERENT
    assert not found.agrees
    count = optimizer.item(Layer.ITERATIONS)
    assert count is not None
    assert (count.said, count.outcome) == ((3, 7), Outcome.DIFFERENT)
    assert {slot.outcome for slot in optimizer.slots} == {Outcome.DIFFERENT}
    assert all(slot.figures is not None and slot.figures.max_absolute > 0 for slot in optimizer.slots)
    assert {each.outcome for each in optimizer.items if each.layer is not Layer.ITERATIONS} == {Outcome.EQUAL}


def test_without_values_nothing_is_called_equal(fixtures_dir: Path) -> None:
    """The shapes agree and the data was not read: no difference, which is less than equal."""
    found = ckptdoctor.diff(fixtures_dir / "whole-model.h5", fixtures_dir / "optimizer.pkl")
    assert found.verdict is Verdict.NO_DIFFERENCE
    assert found.agrees
    assert not found.equal
    assert {slot.outcome for each in found.optimizers for slot in each.slots} == {Outcome.NOT_COMPARED}


def test_a_tolerance(fixtures_dir: Path) -> None:
    """Two frameworks that trained alike differ in the last digits, which a tolerance allows."""
    a, b = fixtures_dir / "whole-model.h5", fixtures_dir / "savedmodel"
    assert ckptdoctor.diff(a, b, values=True).verdict is Verdict.DIFFERENT
    assert ckptdoctor.diff(a, b, values=True, atol=1e-6).verdict is Verdict.EQUAL
    assert ckptdoctor.diff(a, b, values=True, rtol=1e-3).verdict is Verdict.EQUAL
    assert ckptdoctor.diff(a, b, values=True, rtol=1e-9).verdict is Verdict.DIFFERENT


@pytest.mark.parametrize(
    ("one", "other", "differs"),
    [
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-sgd_momentum-keras", "class: different"),
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-adam_amsgrad-keras", "4 max_second_moment: only-b"),
        ("keras/k3.15tf-adam_ema-h5", "keras/k3.15tf-adam-h5", "4 moving_average: only-a"),
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-adam_schedule-h5", "schedule: different"),
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-adam_lossfactor-h5", "loss_scale_factor: different"),
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-mixed_f16-h5", "wrapper: only-b"),
        ("keras/k3.15tf-adam-h5", "keras/k3.15tf-untrained_built-keras", "iterations: different"),
    ],
)
def test_a_difference_of_every_layer(find: Find, one: str, other: str, differs: str) -> None:
    """Each layer has its difference, which is found and named."""
    found = ckptdoctor.diff(find(one), find(other), values=True)
    assert found.verdict is Verdict.DIFFERENT
    assert differs in odd(found)


def test_weights_are_information(find: Find, fixtures_dir: Path, tmp_path: Path) -> None:
    """The weights of a graft's target are another run's: told by a sample, counted only if they are asked for."""
    out = tmp_path / "out.keras"
    ckptdoctor.graft(fixtures_dir / "run-a", fixtures_dir / "keras3.keras", out)
    found = ckptdoctor.diff(fixtures_dir / "run-a", out, values=True)
    assert (found.verdict, found.weights.counted, found.weights.verdict) == (Verdict.EQUAL, False, Verdict.DIFFERENT)
    found = ckptdoctor.diff(fixtures_dir / "run-a", out, values=True, weights=True)
    assert (found.verdict, found.weights.counted) == (Verdict.DIFFERENT, True)
    assert all(each.figures is not None for each in found.weights.results)
    path = find("keras/k3.15tf-batchnorm-keras")
    assert ckptdoctor.diff(path, path, weights=True).weights.verdict is Verdict.EQUAL


# ------------------------------------------------------------------------------------------------ what is not decided


def test_variables_of_other_names(find: Find) -> None:
    """Slots whose variables have no counterpart by name are neither equal nor different until the user maps them."""
    a, b = find("tf/v2.11-tfk-ckpt-compiled_model_only"), find("tf/v2.11-tfk-ckpt-tfmodule")
    found = ckptdoctor.diff(a, b, values=True)
    assert found.verdict is Verdict.UNDECIDED
    assert found.optimizers[0].slots[0].detail == "B has no such variable; if it is w1: --map d1/kernel=w1"
    names = {"d1/kernel": "w1", "d1/bias": "b1", "d2/kernel": "w2", "d2/bias": "b2"}
    found = ckptdoctor.diff(a, b, values=True, mapping=names)
    assert found.verdict is Verdict.EQUAL
    assert {slot.matched for slot in found.optimizers[0].slots} == {"map"}


def test_state_that_is_kept_without_use(find: Find) -> None:
    """Keras 1 makes momentum slots for every SGD: without momentum they are no difference to one that has none."""
    a, b = find("keras/k2.2.4-sgd-getw.pkl"), find("keras/k3.15tf-sgd-h5")
    for one, other in ((a, b), (b, a)):
        found = ckptdoctor.diff(one, other, values=True)
        assert found.verdict is Verdict.EQUAL, odd(found)
        slots = found.optimizers[0].slots
        assert {(slot.role, slot.a is None or slot.b is None) for slot in slots} == {(Role.MOMENTUM, True)}


def test_order_alone_is_told(find: Find) -> None:
    """Where formats give slots to variables by order among equal shapes, a difference may be an exchange."""
    a, b = find("keras/k3.15tf-reversed_sameshape-h5"), find("keras/k3.15tf-reversed_sameshape-keras")
    found = ckptdoctor.diff(a, b, values=True)
    assert found.verdict is Verdict.DIFFERENT
    assert any(note.startswith("B gives slots to variables by order only") for note in found.optimizers[0].notes)


def test_neither_holds_state(fixtures_dir: Path) -> None:
    """Two artifacts without optimizer state do not hold the same one."""
    found = ckptdoctor.diff(fixtures_dir / "weights-only.h5", fixtures_dir / "lost.weights.h5", values=True)
    assert found.nothing
    assert found.verdict is Verdict.UNDECIDED


def test_one_holds_none(fixtures_dir: Path) -> None:
    """State against none is a difference, in both directions."""
    a, b = fixtures_dir / "run-a", fixtures_dir / "weights-only.h5"
    assert {slot.outcome for slot in ckptdoctor.diff(a, b).optimizers[0].slots} == {Outcome.ONLY_A}
    assert {slot.outcome for slot in ckptdoctor.diff(b, a).optimizers[0].slots} == {Outcome.ONLY_B}
    assert ckptdoctor.diff(b, a).verdict is Verdict.DIFFERENT


def test_two_dumps(find: Find) -> None:
    """Lists name no variables: they are compared place by place."""
    a = find("tf2.21/lossscale_nadam-variables-pkl")
    found = ckptdoctor.diff(a, a, values=True)
    assert found.verdict is Verdict.EQUAL
    assert [slot.variable for slot in found.optimizers[0].slots][:4] == ["#1", "#1", "#2", "#2"]


def test_several_optimizers(find: Find) -> None:
    """Optimizers of one name belong together; a name chooses one."""
    a, b = find("tf/v2.15-tfk-ckpt-gan"), find("tf/v2.11-tfk-ckpt-gan")
    found = ckptdoctor.diff(a, b, values=True)
    assert found.verdict is Verdict.EQUAL
    assert [(each.name_a, each.name_b) for each in found.optimizers] == [
        ("discriminator_optimizer", "discriminator_optimizer"),
        ("generator_optimizer", "generator_optimizer"),
    ]
    (one,) = ckptdoctor.diff(a, b, optimizer="generator").optimizers
    assert one.name_a == "generator_optimizer"
