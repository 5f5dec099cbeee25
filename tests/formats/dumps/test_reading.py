"""Dumps: the museum's, held against what their frameworks held, and the shapes that people give them."""

from __future__ import annotations

import contextlib
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.tensors.values import statistics
from ckptdoctor.errors import UnknownFormat, UnreadableArtifact
from ckptdoctor.examination import examine
from ckptdoctor.formats.dumps.reading import read
from ckptdoctor.formats.locate import locate
from ckptdoctor.state import Format, Generation, OptimizerState, Role, Slot, TrainingState

RNG = np.random.default_rng(0)
SHAPES = [(30, 40), (40,), (40, 2), (2,)]
NAMES = ["hidden/kernel", "hidden/bias", "out/kernel", "out/bias"]
WEIGHTS = [RNG.normal(size=shape).astype("f4") for shape in SHAPES]
M = [RNG.normal(size=shape).astype("f4") for shape in SHAPES]
V = [np.square(each) for each in M]
GROUPED = [np.int64(70), *M, *V]


def dumped(folder: Path, value: object, protocol: int = 4) -> TrainingState:
    """What is read from a pickle of this."""
    path = folder / "dump.pkl"
    path.write_bytes(pickle.dumps(value, protocol))
    return read(str(path))


def only(state: TrainingState) -> OptimizerState:
    """The one optimizer of a dump."""
    (optimizer,) = state.optimizers
    return optimizer


def is_dump(path: str) -> bool:
    """Whether what a path means goes to the reader of dumps."""
    try:
        (target,) = locate(path)
    except UnreadableArtifact:
        return False
    return target.reader == "optimizer-dump"


def mean(slot: Slot) -> float:
    """The mean of a slot's values."""
    figures = statistics(slot.tensor)
    assert figures is not None
    assert figures.mean is not None
    return figures.mean


def same_slot(slot: Slot, want: dict[str, Any]) -> bool:
    """Whether a slot has the shape and the sum that the framework held."""
    shape = tuple(want["shape"])
    return slot.tensor.shape == shape and math.isclose(
        mean(slot), want["sum"] / math.prod(shape), rel_tol=2e-3, abs_tol=2e-6
    )


def test_every_dump_of_the_museum(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Count, slots and class of each real dump are what the framework had when it wrote it."""
    wrong: list[str] = []
    cases = [case for case in museum_truth if case["format"] == "optimizer-dump"]
    for case in cases:
        path = museum / case["path"]
        assert is_dump(str(path))
        state = read(str(path))
        if not case["state_present"]:
            if state.optimizers:
                wrong.append(f"{case['case']}: state reported")
            continue
        (want,) = case["optimizers"]
        got = only(state)
        counts = {want["iterations"], want.get("iterations_raw", want["iterations"])}
        if got.iterations not in counts:
            wrong.append(f"{case['case']}: iterations {got.iterations}")
        left = list(got.slots)
        for slot in want["slots"]:
            hit = next((each for each in left if same_slot(each, slot)), None)
            if hit is None:
                wrong.append(f"{case['case']}: slot {slot['name']} of {slot['variable']}")
            else:
                left.remove(hit)
        inner = want.get("inner_class") or want["class"].replace("LossScaleOptimizer", "Adam")
        if inner not in {got.class_name, *got.class_candidates}:
            wrong.append(f"{case['case']}: {inner} is not among {got.class_name}, {got.class_candidates}")
    assert len(cases) > 100
    assert not wrong


def test_slots_of_the_museum_are_named_as_the_framework_did(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """Where the right class is named, each slot has the role that the framework's name for it means."""
    meanings = {
        "m": Role.FIRST_MOMENT, "v": Role.SECOND_MOMENT, "vhat": Role.MAX_SECOND_MOMENT,
        "_momentums": Role.FIRST_MOMENT, "_velocities": Role.SECOND_MOMENT,
    }  # fmt: skip
    checked = 0
    for case in museum_truth:
        if case["format"] != "optimizer-dump" or not case["state_present"]:
            continue
        (want,) = case["optimizers"]
        got = only(read(str(museum / case["path"])))
        if want["class"] not in {"Adam", "AdamW"} or got.class_name not in {"Adam", "AdamW"}:
            continue
        for slot in want["slots"]:
            role = meanings.get(slot["name"])
            if role is not None:
                hits = [each for each in got.slots if same_slot(each, slot)]
                assert role in {each.role for each in hits}, (case["case"], slot["name"])
                checked += 1
    assert checked > 400


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_bare_list(tmp_path: Path, protocol: int) -> None:
    """`pickle.dump(optimizer.get_weights())`: a count, slots by position, a class that is inferred and says so."""
    state = dumped(tmp_path, GROUPED, protocol)
    assert is_dump(state.path)
    optimizer = only(state)
    assert state.format is Format.OPTIMIZER_DUMP
    assert (optimizer.class_name, optimizer.class_inferred, optimizer.iterations) == ("Adam", True, 70)
    assert optimizer.class_candidates == ("Nadam", "Adamax")
    assert [slot.role for slot in optimizer.slots] == [Role.FIRST_MOMENT] * 4 + [Role.SECOND_MOMENT] * 4
    assert [math.isclose(mean(slot), each.mean(), rel_tol=1e-4, abs_tol=1e-6) for slot, each in zip(
        optimizer.slots, [*M, *V], strict=True
    )] == [True] * 8  # fmt: skip
    assert {slot.variable for slot in optimizer.slots} == {None}
    assert optimizer.iterations_key == "[0]"


def test_archives_of_arrays(tmp_path: Path) -> None:
    """`np.savez(*weights)` is the list by its numbers, of which arr_10 comes after arr_9 and not after arr_1."""
    path = tmp_path / "dump.npz"
    weights = [np.int64(70), *[np.full((2, index + 1), index, "f4") for index in range(12)]]
    order = (10, 2, 12, 0, 1, 3, 4, 5, 6, 7, 8, 9, 11)
    shuffled: dict[str, Any] = {f"arr_{index}": weights[index] for index in order}
    np.savez_compressed(path, **shuffled)
    assert is_dump(str(path))
    optimizer = only(read(str(path)))
    assert optimizer.iterations == 70
    assert [slot.tensor.key for slot in optimizer.slots] == [f"arr_{index}" for index in range(1, 13)]


def test_arrays_of_objects(tmp_path: Path) -> None:
    """`np.save(np.array(weights, dtype=object))` is the list that it holds."""
    path = tmp_path / "dump.npy"
    weights = np.empty(len(GROUPED), object)
    weights[:] = GROUPED
    np.save(path, weights, allow_pickle=True)
    assert is_dump(str(path))
    assert only(read(str(path))).class_name == "Adam"


@pytest.mark.parametrize("shape", [tuple, list])
def test_weights_and_state_together(tmp_path: Path, shape: type) -> None:
    """Beside the model's weights, slots belong to them by order."""
    state = dumped(tmp_path, shape([WEIGHTS, GROUPED]))
    assert [each.tensor.shape for each in state.variables] == SHAPES
    assert [slot.variable for slot in only(state).slots] == [each.path for each in state.variables] * 2
    assert only(state).name == "optimizer"


def test_a_dict_of_everything(tmp_path: Path) -> None:
    """Lists under keys are read each for itself, and whole numbers beside them are counters."""
    state = dumped(tmp_path, {"epoch": 3, "best": 0.5, "weights": WEIGHTS, "adam": GROUPED})
    assert state.counters == {"epoch": 3}
    assert only(state).name == "adam"
    assert only(state).slots[0].variable == state.variables[0].path


def test_two_optimizers(tmp_path: Path) -> None:
    """A GAN's two optimizers are two, by their keys."""
    other = [np.int64(9), *[each for pair in zip(M, V, strict=True) for each in pair]]
    state = dumped(tmp_path, {"generator_optimizer": GROUPED, "discriminator_optimizer": other})
    assert [(each.name, each.iterations) for each in state.optimizers] == [
        ("generator_optimizer", 70),
        ("discriminator_optimizer", 9),
    ]


def test_weights_alone_are_no_state(tmp_path: Path) -> None:
    """`pickle.dump(model.get_weights())` holds variables and no optimizer, and a note says how that was seen."""
    state = dumped(tmp_path, WEIGHTS)
    assert state.optimizers == ()
    assert [each.tensor.shape for each in state.variables] == SHAPES
    assert [each.code for each in state.oddities] == ["S001"]


def named(kind: Generation, m: str, v: str) -> dict[str, Any]:
    """A dict from the names of a generation to its variables."""
    count = {
        Generation.OPTIMIZER_V2: "Adam/iter:0",
        Generation.KERAS2: "iteration:0",
        Generation.KERAS3: "adam/iteration",
    }
    found: dict[str, Any] = {count[kind]: np.array(70)}
    for pattern, values in ((m, M), (v, V)):
        for name, value in zip(NAMES, values, strict=True):
            found[pattern.format(name, name.replace("/", "_"))] = value
    return found


NAMED = {
    Generation.OPTIMIZER_V2: named(Generation.OPTIMIZER_V2, "Adam/{0}/m:0", "Adam/{0}/v:0"),
    Generation.KERAS2: named(Generation.KERAS2, "Adam/m/{0}:0", "Adam/v/{0}:0"),
    Generation.KERAS3: named(Generation.KERAS3, "adam/{1}_momentum", "adam/{1}_velocity"),
}


@pytest.mark.parametrize("generation", NAMED)
def test_names_are_believed(tmp_path: Path, generation: Generation) -> None:
    """A dict of named variables is read by its names, in whatever order it stands, and keeps them."""
    values = NAMED[generation]
    backwards = dict(reversed(values.items()))
    for dump in (values, backwards, list(values.items())):
        optimizer = only(dumped(tmp_path, dump))
        assert (optimizer.class_name, optimizer.generation, optimizer.iterations) == ("Adam", generation, 70)
        roles = [slot.role for slot in optimizer.slots]
        assert sorted(roles) == [Role.FIRST_MOMENT] * 4 + [Role.SECOND_MOMENT] * 4
        assert {slot.mapping for slot in optimizer.slots} == {"name"}


def test_names_lead_to_the_models_variables(tmp_path: Path) -> None:
    """Where the dict holds the model's variables too, slots belong to them by name."""
    model = {f"{name}:0": value for name, value in zip(NAMES, WEIGHTS, strict=True)}
    state = dumped(tmp_path, {**model, **NAMED[Generation.OPTIMIZER_V2]})
    assert [each.path for each in state.variables] == NAMES
    assert [slot.variable for slot in only(state).slots] == NAMES * 2


def test_named_weights_are_no_state(tmp_path: Path) -> None:
    """A dict of a model's named variables is the model."""
    state = dumped(tmp_path, dict(zip(NAMES, WEIGHTS, strict=True)))
    assert state.optimizers == ()
    assert [each.path for each in state.variables] == NAMES


@pytest.mark.parametrize("count", ["t", "iterations", "step"])
def test_slots_by_kind(tmp_path: Path, count: str) -> None:
    """`{"m": […], "v": […], "t": 70}`, as one writes it by hand."""
    for m, v in ((M, V), (dict(zip(NAMES, M, strict=True)), dict(zip(NAMES, V, strict=True)))):
        optimizer = only(dumped(tmp_path, {"m": m, "v": v, count: 70}))
        assert (optimizer.class_name, optimizer.iterations) == ("Adam", 70)
        assert [slot.name for slot in optimizer.slots] == ["m"] * 4 + ["v"] * 4


def test_a_configuration_beside_the_list(tmp_path: Path) -> None:
    """`get_config()` or `serialize()` in the dump tells the class, the rate and the schedule."""
    config = {"name": "Nadam", "learning_rate": np.float32(0.5), "decay": 0.0, "beta_1": 0.9}
    optimizer = only(dumped(tmp_path, {"config": config, "weights": [np.int64(7), np.float32(0.1), *M, *V]}))
    assert (optimizer.class_name, optimizer.class_inferred) == ("Nadam", False)
    assert optimizer.hyperparameters["learning_rate"] == 0.5
    schedule = {"class_name": "ExponentialDecay", "config": {"initial_learning_rate": 0.1}}
    serialized = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": schedule}}
    optimizer = only(dumped(tmp_path, (serialized, GROUPED)))
    assert optimizer.class_name == "Adam"
    assert optimizer.schedule is not None
    assert optimizer.schedule.class_name == "ExponentialDecay"


def test_a_configuration_that_does_not_fit(tmp_path: Path) -> None:
    """The recorded class stands, and a note says whose layout the list has."""
    config = {"name": "Ftrl", "learning_rate": 0.5, "decay": 0.0}
    optimizer = only(dumped(tmp_path, {"config": config, "weights": GROUPED}))
    assert optimizer.class_name == "Ftrl"
    assert "laid out like Adam's" in optimizer.notes[0]


def test_an_optimizer_that_nobody_knows(tmp_path: Path) -> None:
    """A list that begins with a count and fits no layout is given as it is, without a class."""
    optimizer = only(dumped(tmp_path, [np.int64(7), np.ones((2, 2), "i4"), np.float32(0.5)]))
    assert (optimizer.class_name, optimizer.iterations) == (None, 7)
    assert [slot.role for slot in optimizer.slots] == [Role.OTHER]


HISTORY = [np.float32(1 / (index + 1)) for index in range(50_000)]
PLAIN: dict[str, object] = {
    "an empty list": [],
    "an empty dict": {},
    "a history of numpy's numbers": {"loss": HISTORY, "accuracy": HISTORY[:2]},
    "one array in a list": [np.ones(3)],
    "one array": np.ones(3),
}


@pytest.mark.parametrize("value", PLAIN.values(), ids=PLAIN)
def test_plain_data_is_no_state(tmp_path: Path, value: object) -> None:
    """Pickles of other things are read, and hold no optimizer."""
    assert dumped(tmp_path, value).optimizers == ()


@pytest.mark.parametrize("value", [None, 7, "text", [1, 2, 3], {"a": 1}, {"loss": [0.5, 0.25]}], ids=repr)
def test_without_arrays_it_is_no_dump(tmp_path: Path, value: object) -> None:
    """A pickle that holds no array at all is another program's, and nobody is told of weights in it."""
    with pytest.raises(UnknownFormat, match="holds no arrays"):
        dumped(tmp_path, value)


def test_loss_scaling_of_keras_3(tmp_path: Path) -> None:
    """The wrapper's four scalars are taken off, and the inner count is the count."""
    own = [np.array(0), np.array(0, "f4"), np.array(3), np.array(32768, "f4")]
    inner = [np.array(70), np.array(0.01, "f4"), *[each for pair in zip(M, V, strict=True) for each in pair]]
    optimizer = only(dumped(tmp_path, own + inner))
    assert (optimizer.class_name, optimizer.generation, optimizer.iterations) == ("Adam", Generation.KERAS3, 70)
    assert optimizer.wrapper is not None
    assert optimizer.wrapper.loss_scale == 32768
    assert len(optimizer.slots) == 8


def test_several_optimizers_in_one(tmp_path: Path) -> None:
    """A MultiOptimizer's list is one state of several parts, as the framework presents it."""
    parts = [np.array(70), np.array(0, "f4")]
    for start in (0, 2):
        parts += [np.array(70), np.array(0.01, "f4"), M[start], V[start], M[start + 1], V[start + 1]]
    optimizer = only(dumped(tmp_path, parts))
    assert (optimizer.class_name, optimizer.iterations, len(optimizer.slots)) == ("MultiOptimizer", 70, 8)


def test_several_pickles_in_a_row(tmp_path: Path) -> None:
    """Weights dumped first and state after them into one file are both found."""
    path = tmp_path / "dump.pkl"
    path.write_bytes(pickle.dumps(WEIGHTS) + pickle.dumps(GROUPED))
    state = read(str(path))
    assert only(state).iterations == 70
    assert len(state.variables) == 4


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, 10**6), byte=st.integers(0, 255), protocol=st.sampled_from([0, 2, 4, 5]))
def test_damage_is_survived(tmp_path: Path, position: int, byte: int, protocol: int) -> None:
    """A changed byte leads to another reading or to a refusal, never to another exception."""
    small = {"optimizer": [np.int64(7), *[each[:2] for each in M], *[each[:2] for each in V]], "epoch": 3}
    data = bytearray(pickle.dumps(small, protocol))
    data[position % len(data)] = byte
    path = tmp_path / "dump.pkl"
    path.write_bytes(data)
    with contextlib.suppress(UnreadableArtifact):
        read(str(path))


def test_texts_among_the_slots(tmp_path: Path) -> None:
    """A list with texts where numbers should be is never clean: I007 names them."""
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps([np.int64(7), np.array([b"a", b"b"])]))
    (found,) = examine(str(path))
    assert ("I007", True) in [(each.code, "(string)" in each.message) for each in found.findings]
