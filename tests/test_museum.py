"""`inspect` against the museum: what frameworks of ten years held when they saved 1,584 artifacts."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest

import ckptdoctor
from ckptdoctor.containers.tensors.values import Statistics
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, OptimizerState, Slot, TrainingState

Record: TypeAlias = Mapping[str, Any]
Figures: TypeAlias = Mapping[TensorRef, Statistics | None]

DUMP = Format.OPTIMIZER_DUMP.value  # holds no model: neither a class, unless inferred, nor what a slot belongs to

GROUPS = (
    ("tf-checkpoint", "tf1"),
    ("tf-checkpoint", "tfk"),
    ("tf-checkpoint", "tfk_pkg"),
    ("tf-checkpoint", "k3"),
    ("tf-checkpoint", "keras"),
    ("tf-checkpoint", "tf_keras"),
    ("tf-checkpoint-v1", "tf1"),
    ("saved-model", "tf1"),
    ("saved-model", "tfk"),
    ("saved-model", "tfk_pkg"),
    ("saved-model", "k3"),
    ("saved-model", "tf_keras"),
    ("keras-h5", "keras"),
    ("keras-h5", "tf.keras"),
    ("keras-h5", "tf_keras"),
    ("keras-h5-weights", "keras"),
    ("keras-h5-weights", "tf.keras"),
    ("keras-h5-weights", "tf_keras"),
    ("keras-archive", "keras"),
    ("keras-archive", "tf.keras"),
    ("keras-archive", "tf_keras"),
    ("keras-weights", "keras"),
    ("keras-weights", "tf.keras"),
    ("keras-weights", "tf_keras"),
    ("orbax-checkpoint", "keras"),
    ("orbax-checkpoint", "jax"),
    ("torch-checkpoint", "torch"),
    ("lightning-checkpoint", "torch"),
    ("torch-dcp", "torch"),
    ("hf-trainer", "torch"),
    ("accelerate-state", "torch"),
    ("deepspeed", "torch"),
    ("stable-baselines3", "torch"),
    ("safetensors", "torch"),
    ("flax-msgpack", "flax"),
    ("optimizer-dump", "keras"),
    ("optimizer-dump", "tf.keras"),
    ("optimizer-dump", "tf_keras"),
)

UNKNOWABLE = {
    case: ["4 of 6 slots are given to another variable"]
    for case in ("keras/k3.15tf-reversed_sameshape-keras", "keras/k3.15tf-reversed_sameshape-wh5")
}
"""Gradients were applied in reversed order, all shapes are equal, and the format has no names: Keras errs as well."""
UNKNOWABLE |= {
    case: ["16 of 36 slots are given to another variable"]
    for case in (
        "tf2.21/blocks-keras",
        "tf2.21/blocks-wh5",
        "tf2.21-tf_keras/blocks-keras",
        "tf2.21-tf_keras/blocks-wh5",
    )
}
"""Two sub-layers of equal shapes, named by the user: nothing says which was made first, and they get no slots."""


def _group(record: Record) -> tuple[str, str]:
    return record["format"], record["producer"]["flavor"]


def _failing(records: Sequence[Record], root: Path) -> list[str]:
    judged = ((record["case"], _complaints(record, root / record["path"])) for record in records)
    return [
        f"{case}: {'; '.join(bad) or 'is read after all'}" for case, bad in judged if bad != UNKNOWABLE.get(case, [])
    ]


@pytest.mark.parametrize("group", GROUPS, ids="-".join)
def test_museum(group: tuple[str, str], museum: Path, museum_truth: list[Record]) -> None:
    """State, format, class, count and every slot's shape, values and variable are as the framework held them."""
    records = [record for record in museum_truth if _group(record) == group]
    failing = _failing(records, museum)
    assert not failing, f"{len(failing)} of {len(records)} are not read as they are:\n" + "\n".join(failing)


def test_groups_are_the_museum(museum_truth: list[Record]) -> None:
    """No artifact of the museum is left out of the groups, and no group is empty."""
    assert {_group(record) for record in museum_truth} == set(GROUPS)


def test_every_artifact_is_there(museum: Path, museum_truth: list[Record]) -> None:
    """The archive holds what its records name; a checkpoint prefix stands for its files."""
    missing = [
        record["case"]
        for record in museum_truth
        if not (museum / record["path"]).exists()
        and not list((museum / record["path"]).parent.glob(f"{Path(record['path']).name}*"))
    ]
    assert not missing


def test_examples(fixtures_dir: Path, fixtures_truth: list[Record]) -> None:
    """The examples that lie unpacked in fixtures/ are read as they are, too."""
    failing = _failing(fixtures_truth, fixtures_dir)
    assert not failing, "\n".join(failing)


# ------------------------------------------------------------------------------------------------------- the judge


def _complaints(record: Record, path: str | os.PathLike[str]) -> list[str]:
    """Everything in which `inspect` of this artifact is at odds with its record; empty is as it should be."""
    found = ckptdoctor.inspect(path, stats=True)
    if len(found) != 1:
        return [f"{len(found)} artifacts, not 1"]
    if found[0].state is None:
        return [f"not read: {found[0].error}"]
    return _judged(record, found[0].state, found[0].statistics)


def _judged(record: Record, state: TrainingState, figures: Figures) -> list[str]:
    bad = []
    if state.format.value != record["format"]:
        bad.append(f"format is {record['format']}, not {state.format.value}")
    holding = [each for each in state.optimizers if each.has_state]
    if bool(holding) != record["state_present"]:
        return [*bad, "no optimizer state is in it" if holding else "optimizer state is in it"]
    if len(holding) != len(record["optimizers"]):
        return [*bad, f"{len(record['optimizers'])} optimizers, not {len(holding)}"]
    means = {each.path: (_mean(each.tensor, figures), each.tensor.size) for each in state.variables}
    unlisted = {slot.variable for each in state.optimizers for slot in each.slots} - {None, *means}
    bad += [f"slots of {sorted(map(str, unlisted))}, which are no variables"] if unlisted else []
    for wanted in record["optimizers"]:
        found = _counterpart(wanted, holding)
        holding.remove(found)
        slots = [(each, _mean(each.tensor, figures)) for each in found.slots]
        bad += _judged_optimizer(record, wanted, found, means)
        bad += _judged_slots(wanted["slots"], slots, {} if record["format"] == DUMP else means)
    return bad


def _counterpart(wanted: Record, candidates: Sequence[OptimizerState]) -> OptimizerState:
    """The optimizer that the record means: of this name, else of this count, else the first."""
    named = [each for each in candidates if each.name == wanted.get("name")]
    counted = [each for each in candidates if each.iterations == wanted["iterations"]]
    return (named or counted or list(candidates))[0]


def _judged_optimizer(
    record: Record, wanted: Record, found: OptimizerState, means: Mapping[str, tuple[float | None, int]]
) -> list[str]:
    bad = []
    if record["format"] != DUMP and not _class_fits(wanted, found):
        bad.append(f"class is {wanted['class']}, not {found.class_name}")
    if not _count_fits(record, wanted, found):
        bad.append(f"iterations are {wanted['iterations']}, not {found.iterations}")
    if record["format"] != DUMP and not means and any(slot.get("variable_sum") is not None for slot in wanted["slots"]):
        bad.append("no model variables")
    return bad


def _class_fits(wanted: Record, found: OptimizerState) -> bool:
    if not wanted["class"]:
        return True
    names = {found.class_name, *found.class_candidates, found.wrapper.class_name if found.wrapper else None} - {None}
    if not names and not wanted["slots"]:
        return True  # neither a record nor a slot: nothing to tell the class by
    return bool(names & {wanted["class"], wanted.get("inner_class"), re.sub(r"V\d$", "", wanted["class"])})


def _count_fits(record: Record, wanted: Record, found: OptimizerState) -> bool:
    if found.iterations in {wanted["iterations"], wanted.get("iterations_raw", wanted["iterations"])}:
        return True
    # TF1 keeps no count; where the step was not saved either, it can at best be recovered.
    recovered = found.recoverable.value if found.recoverable else None
    return record["producer"]["flavor"] == "tf1" and found.iterations is None and recovered == wanted["iterations"]


def _judged_slots(
    wanted: Sequence[Record], found: Sequence[tuple[Slot, float | None]], means: Mapping[str, tuple[float | None, int]]
) -> list[str]:
    """Slots are known by shape and mean, their variables by the mean as well: names may differ."""
    pool = list(found)
    lost = misplaced = 0
    for slot in wanted:
        size = math.prod(slot["shape"])
        alike = [
            entry
            for entry in pool
            if list(entry[0].tensor.shape) == slot["shape"] and _close(entry[1], slot["sum"] / size)
        ]
        if not alike:
            lost += 1
            continue
        placed = alike
        if means and slot.get("variable_sum") is not None:
            placed = [entry for entry in alike if _is_own(slot, *means.get(entry[0].variable or "", (None, 1)))]
            misplaced += not placed
        pool.remove((placed or alike)[0])
    bad = [f"{lost} of {len(wanted)} slots are not reported"] if lost else []
    return [*bad, f"{misplaced} of {len(wanted)} slots are given to another variable"] if misplaced else bad


def _is_own(slot: Record, mean: float | None, size: int) -> bool:
    """Whether a variable of this mean and size is the slot's; factored slots are smaller than their variable."""
    return _close(mean, slot["variable_sum"] / size)


def _mean(tensor: TensorRef, figures: Figures) -> float | None:
    found = figures.get(tensor)
    return None if found is None else found.mean


def _close(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=2e-3, abs_tol=2e-6)
