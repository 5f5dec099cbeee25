"""What the framework holds against what the artifact holds, value by value."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from ckptdoctor.containers.tensors.values import kept_open, ordered_chunks
from ckptdoctor.optimizers.catalogue import ACCUMULATION, EMA, LAYOUTS, WRAPPED_LAYOUTS, SlotKind, layouts
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, Role, Slot
from ckptdoctor.verification.digests import digest
from ckptdoctor.verification.request import Wanted
from ckptdoctor.verification.results import (
    Attempt,
    OptimizerResult,
    Outcome,
    Restored,
    SchedulerResult,
    SlotResult,
)
from ckptdoctor.verification.trained import Expected, Trained

if TYPE_CHECKING:
    from numpy.typing import NDArray

CAST = 1e-7
"""The relative difference that a change of type may make."""
RATE = 1e-6
"""The relative difference of a rate that was stored as float32 and configured as a decimal number."""

Found = Mapping[str, Any]


def attempt(reply: Found, wanted: Sequence[Wanted], folder: str) -> Attempt:
    """One call's result."""
    optimizers: tuple[OptimizerResult, ...] = ()
    if reply["error"] is None:
        held = reply["optimizers"]
        with kept_open():
            optimizers = tuple(
                optimizer(each, held[index] if index < len(held) else None, folder) for index, each in enumerate(wanted)
            )
    key = reply["key"] if reply.get("proven", True) else "none"
    return Attempt(key, reply["call"], optimizers, reply["error"], tuple(reply["warnings"]))


def optimizer(wanted: Wanted, found: Found | None, folder: str) -> OptimizerResult:
    """One optimizer's result; `found` is None where the framework has none."""
    state = wanted.state
    held = found or {"iterations": None, "learning_rate": None, "class_name": None, "slots": [], "variables": []}
    return OptimizerResult(
        name=state.name,
        class_name=held["class_name"],
        iterations=iterations(state.iterations, held["iterations"]),
        learning_rate=learning_rate(_rate(wanted), held["learning_rate"], held.get("initial_rate")),
        slots=tuple(_slots(wanted, wanted.slots, held, folder)),
        counts=tuple(_slots(wanted, wanted.counts, held, folder)),
        schedulers=tuple(_schedulers(wanted, held.get("schedulers", ()))),
    )


def _schedulers(wanted: Wanted, held: Sequence[Found]) -> Iterator[SchedulerResult]:
    """Those that the framework made: what of a program's own functions they depend on, nobody can make."""
    found = {each["name"]: each for each in held}
    for each in wanted.schedulers:
        if each.name in found:
            own = found[each.name]
            yield SchedulerResult(each.name, own["class_name"], iterations(each.last_epoch, own["last_epoch"]))


def iterations(expected: int | None, found: int | None) -> Restored:
    """The count's result."""
    if expected is None:
        return Restored(None, found, Outcome.ABSENT)
    if found == expected:
        return Restored(expected, found, Outcome.RESTORED)
    return Restored(expected, found, Outcome.CHANGED if found else Outcome.DROPPED)


def learning_rate(expected: float | None, found: float | None, initial: float | None = None) -> Restored:
    """The rate's result; `initial` is what a stand-in started with."""
    if expected is None:
        return Restored(None, found, Outcome.ABSENT)
    if found is None:
        return Restored(expected, None, Outcome.DROPPED)
    if abs(found - expected) <= RATE * abs(expected):
        return Restored(expected, found, Outcome.RESTORED)
    return Restored(expected, found, Outcome.DROPPED if found == initial else Outcome.CHANGED)


def _rate(wanted: Wanted) -> float | None:
    state = wanted.state
    if state.schedule is not None:
        return state.schedule.learning_rate
    rate = state.hyperparameters.get("learning_rate", state.hyperparameters.get("lr"))
    return float(rate) if isinstance(rate, (int, float)) and not isinstance(rate, bool) and isfinite(rate) else None


def _slots(wanted: Wanted, several: Sequence[Expected], held: Found, folder: str) -> Iterator[SlotResult]:
    if not several:
        return
    if held.get("keyed"):
        yield from _keyed(wanted, several, held, folder)
        return
    places = matched(wanted.trained, held["variables"], given=bool(held.get("given")))
    by_place: dict[tuple[str, int], Found] = {}
    for each in held["slots"]:
        by_place.setdefault((kind_found(each, held), each["variable"]), each)
    owners = {wanted.digests[each.slot.tensor]: each for each in wanted.slots}
    for expected in several:
        place = places.get(expected.variable)
        found = None if place is None else by_place.get((kind_wanted(expected.slot), place))
        yield _slot(expected, found, wanted, owners, folder, known=place is not None)


def _keyed(wanted: Wanted, several: Sequence[Expected], held: Found, folder: str) -> Iterator[SlotResult]:
    """Slots by their own names, and by what the artifact's state calls each variable.

    In a program of the user's a variable that the artifact names is the one of that name, wherever it was loaded to.
    """
    by_place = {(each["name"], each["variable"]): each for each in held["slots"]}
    keys = {each["key"]: index for index, each in enumerate(held["variables"])}
    owners = {wanted.digests[each.slot.tensor]: each for each in several}
    for expected in several:
        place = keys.get(expected.key)
        if not held["given"] and expected.slot.mapping == "name":
            places = [
                index for index, each in enumerate(held["variables"]) if _is_called(each["path"], expected.variable)
            ]
            place = places[0] if len(places) == 1 else None
        found = None if place is None else by_place.get((expected.slot.name, place))
        yield _cast(expected, found, owners, folder) or _slot(
            expected, found, wanted, owners, folder, known=place is not None
        )


def _cast(expected: Expected, found: Found | None, owners: Mapping[str, Expected], folder: str) -> SlotResult | None:
    """A slot that PyTorch cast to the type of its parameter, as it always does; None if that is not what is there."""
    slot = expected.slot
    if found is None or found["dtype"] == slot.tensor.dtype or tuple(found["shape"]) != slot.tensor.shape:
        return None
    if not ("float" in found["dtype"] and "float" in slot.tensor.dtype):
        return None
    if found["sha256"] != digest(slot.tensor, found["dtype"]):
        return None
    relative, largest = _differences(slot.tensor, found, owners, folder)
    if relative is None or relative <= CAST:
        return SlotResult(slot.name, slot.role, expected.variable, Outcome.RESTORED, detail=f"as {found['dtype']}")
    detail = f"cast to {found['dtype']}, the type of its parameter"
    return SlotResult(slot.name, slot.role, expected.variable, Outcome.RESTORED, largest, detail)


def _is_called(path: str, label: str) -> bool:
    """Whether a program's parameter is the artifact's: by name, but for what wrappers put before it."""
    label = label.replace("/", ".")
    return bool(path) and (path == label or label.endswith(f".{path}") or path.endswith(f".{label}"))


def kind_wanted(slot: Slot) -> str:
    """The role of a slot that the artifact holds, or its own name where the catalogue knows none."""
    return slot.role.value if slot.role is not Role.OTHER else slot.name


def kind_found(found: Found, held: Found) -> str:
    """The same of a slot that the framework holds."""
    label = found.get("attribute") or found["name"]
    role = _role(str(label), str(held["generation"]), str(held["class_name"]))
    return role.value if role is not None and role is not Role.OTHER else str(label).strip("_")


def _role(label: str, generation: str, class_name: str) -> Role | None:
    for kind in (EMA, ACCUMULATION):
        if label == kind.attribute:
            return kind.role
    for own in (True, False):
        for kind in _kinds(generation, class_name if own else None):
            if label in {kind.attribute, kind.name}:
                return kind.role
    return None


def _kinds(generation: str, class_name: str | None) -> Iterator[SlotKind]:
    if generation == "tf1":
        yield TF1_AVERAGE
        for each in TF1_OPTIMIZERS:
            if class_name is None or class_name.lower().startswith((each.op_name.lower(), each.class_name.lower())):
                yield from each.slots
        return
    written = next((each for each in Generation if each.value == generation), None)
    if class_name is None:
        known = tuple(each for each in (*LAYOUTS, *WRAPPED_LAYOUTS) if each.generation is written)
    else:
        known = layouts(class_name, written) if written is not None else ()
    for layout in known:
        yield from layout.kinds


def matched(trained: Sequence[Trained], found: Sequence[Found], *, given: bool) -> dict[str, int]:
    """Label of a trained variable → its place among the framework's variables.

    By name, if the names tell all of them apart; else by order, with the shapes as the check.
    """
    if given:
        return {each.label: index for index, each in enumerate(trained)}
    by_name: dict[str, int] = {}
    for each in trained:
        options = [index for index, one in enumerate(found) if _same(each, one)]
        if len(options) == 1:
            by_name[each.label] = options[0]
    if len(set(by_name.values())) == len(trained):
        return by_name
    if [tuple(one["shape"]) for one in found] == [each.shape for each in trained]:
        return {each.label: index for index, each in enumerate(trained)}
    return _unique_shapes(trained, found, by_name)


def _unique_shapes(trained: Sequence[Trained], found: Sequence[Found], by_name: dict[str, int]) -> dict[str, int]:
    """What names tell, and what only one variable can be by its shape."""
    places = {label: index for label, index in by_name.items() if list(by_name.values()).count(index) == 1}
    free = [index for index in range(len(found)) if index not in places.values()]
    shapes = Counter(tuple(found[index]["shape"]) for index in free)
    for each in trained:
        if each.label not in places and shapes[each.shape] == 1:
            places[each.label] = next(index for index in free if tuple(found[index]["shape"]) == each.shape)
    return places


def _same(trained: Trained, found: Found) -> bool:
    """Whether a framework's variable is this one by name: the whole, or what follows the model's own name."""
    if tuple(found["shape"]) != trained.shape:
        return False
    path = _plain(str(found["path"]))
    names = {_plain(name) for name in trained.names}
    return any(name == path or name.endswith(f"/{path}") or path.endswith(f"/{name}") for name in names)


def _plain(name: str) -> str:
    return name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() and ":" in name else name


def _slot(
    expected: Expected,
    found: Found | None,
    wanted: Wanted,
    owners: Mapping[str, Expected],
    folder: str,
    *,
    known: bool,
) -> SlotResult:
    name, role, variable = expected.slot.name, expected.slot.role, expected.variable
    ref = expected.slot.tensor
    if found is None:
        detail = "the framework made none" if known else "the framework's model has no such variable"
        return SlotResult(name, role, variable, Outcome.DROPPED, detail=detail)
    if found["sha256"] == wanted.digests[ref]:
        return SlotResult(name, role, variable, Outcome.RESTORED)
    if tuple(found["shape"]) != ref.shape:
        shown = "x".join(map(str, found["shape"])) or "scalar"
        return SlotResult(name, role, variable, Outcome.CHANGED, detail=f"its shape is {shown} there")
    relative, largest = _differences(ref, found, owners, folder)
    if found["dtype"] != ref.dtype and relative is not None and relative <= CAST:
        return SlotResult(name, role, variable, Outcome.RESTORED, detail=f"as {found['dtype']}")
    if found["constant"] is not None:
        return SlotResult(name, role, variable, Outcome.DROPPED, detail=f"all {found['constant']:g}")
    owner = owners.get(found["sha256"])
    detail = f"it holds {owner.slot.name} of {owner.variable}" if owner else ""
    return SlotResult(name, role, variable, Outcome.CHANGED, largest, detail)


def _differences(
    ref: TensorRef, found: Found, owners: Mapping[str, Expected], folder: str
) -> tuple[float | None, float | None]:
    """The largest relative and absolute differences; None where the framework's values did not travel."""
    import numpy as np

    other: NDArray[Any]
    if found["file"] is not None:
        other = np.load(os.path.join(folder, os.path.basename(found["file"])), mmap_mode="r", allow_pickle=False)
    elif found["constant"] is not None:
        other = np.broadcast_to(np.float64(found["constant"]), ref.shape)
    elif found["sha256"] in owners:
        other = np.concatenate(
            [np.asarray(part, np.float64) for part in ordered_chunks(owners[found["sha256"]].slot.tensor)]
        )
    else:
        return None, None
    flat, start, relative, largest = other.reshape(-1), 0, 0.0, 0.0
    for part in ordered_chunks(ref):
        values = part.astype(np.float64)
        theirs = np.asarray(flat[start : start + values.size], np.float64)
        start += values.size
        if not values.size:
            continue
        gap = np.abs(values - theirs)
        gap[(values == theirs) | (np.isnan(values) & np.isnan(theirs))] = 0.0
        largest = max(largest, float(gap.max()))
        relative = max(relative, float((gap / np.maximum(np.abs(values), np.finfo(np.float32).tiny)).max()))
    return relative, largest
