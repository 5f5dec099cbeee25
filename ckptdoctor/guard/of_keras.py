"""Optimizers of a running Keras program, of all generations. Keras is not imported: what is asked has it loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from ckptdoctor.errors import UsageProblem
from ckptdoctor.guard.live import Live, LiveSlot, LiveVariable, to_numpy
from ckptdoctor.verification.child import snapshot
from ckptdoctor.verification.compare import kind_found

_NOT_SLOTS = frozenset({"_variables", "_trainable_variables", "_trainable_variables_indices", "_tracked"})


def is_of_keras(live: Any) -> bool:
    """Whether something is an optimizer of Keras, or a model that has one."""
    return hasattr(live, "iterations") or (hasattr(live, "compile") and hasattr(live, "trainable_variables"))


def read(live: Any, model: Any = None) -> Live:
    """What an optimizer holds, or that of a model.

    Its variables are made first where they are not yet, as the first step would: what TensorFlow restores later, when
    there is something to restore into, is restored by that.

    Raises:
        UsageProblem: The model has none; or only a model tells what it trains, and none is given.
    """
    if not hasattr(live, "iterations"):
        model = live
        live = getattr(live, "optimizer", None)
    if live is None:
        raise UsageProblem("the model has no optimizer: compile it first, or hand over the optimizer")
    trained = list(model.trainable_variables) if model is not None else []
    _build(live, trained)
    inner = snapshot.innermost(live)
    if hasattr(inner, "get_slot_names") and model is None:
        raise UsageProblem(f"what {type(inner).__name__} trains only the model tells: give it too, as model=")
    trained = list(getattr(inner, "_trainable_variables", None) or _in_its_order(inner, trained))
    held = {"generation": snapshot.generation(inner), "class_name": type(inner).__name__}
    slots: dict[tuple[str, int], LiveSlot] = {}
    for label, place, value in _slots(inner, trained):
        found = LiveSlot(tuple(map(int, value.shape)), _dtype(value), value)
        slots.setdefault((kind_found({"name": label}, held), place), found)
    # With gradient accumulation Keras 3 reports another number than it stores.
    count = inner.iterations if hasattr(inner, "get_slot_names") else getattr(inner, "_iterations", inner.iterations)
    return Live(
        family="keras",
        class_name=type(inner).__name__,
        iterations=int(to_numpy(count)),
        rates=(snapshot.rate(inner),),
        variables=tuple(map(_variable, trained)) or _unnamed(slots),
        slots=slots,
        numbered=_numbered(inner, slots),
    )


def _numbered(optimizer: Any, slots: Mapping[tuple[str, int], LiveSlot]) -> dict[int, tuple[str, int]]:
    every = getattr(optimizer, "variables", ())
    own = {id(slot.value): key for key, slot in slots.items()}
    listed = every() if callable(every) and not isinstance(every, list) else every
    return {number: own[id(each)] for number, each in enumerate(listed) if id(each) in own}


def _build(optimizer: Any, trained: list[Any]) -> None:
    """Makes the variables of an optimizer that has none yet."""
    if not trained or getattr(optimizer, "built", False) or getattr(optimizer, "_built", False):
        return
    if hasattr(optimizer, "_create_all_weights"):
        optimizer._create_all_weights(trained)  # noqa: SLF001 - OptimizerV2 has no public name for it
    elif hasattr(optimizer, "build"):
        optimizer.build(trained)


def _in_its_order(optimizer: Any, trained: list[Any]) -> list[Any]:
    """A model's variables in the order of the lists of tf_keras' optimizers, which remember no more than that."""
    places = getattr(optimizer, "_index_dict", None)
    if not places:
        return trained
    own = [each for each in trained if optimizer._var_key(each) in places]  # noqa: SLF001 - there is no public way
    return sorted(own, key=lambda each: int(places[optimizer._var_key(each)]))  # noqa: SLF001


def _variable(trained: Any) -> LiveVariable:
    return LiveVariable(str(getattr(trained, "path", None) or trained.name), tuple(map(int, trained.shape)))


def _unnamed(slots: dict[tuple[str, int], LiveSlot]) -> tuple[LiveVariable, ...]:
    """What tf_keras' optimizers train, of which they keep no more than an order."""
    shapes: dict[int, tuple[int, ...]] = {}
    for (_, place), slot in slots.items():
        shapes[place] = max(shapes.get(place, ()), slot.shape, key=len)
    return tuple(LiveVariable("", shapes.get(place, ())) for place in range(max(shapes, default=-1) + 1))


def _slots(optimizer: Any, trained: list[Any]) -> Iterator[tuple[str, int, Any]]:
    """What each is called, the place of its variable, and the slot."""
    if hasattr(optimizer, "get_slot_names"):
        for name in optimizer.get_slot_names():
            for place, variable in enumerate(trained):
                with suppress(KeyError, AttributeError):  # it has none yet
                    yield name, place, optimizer.get_slot(variable, name)
        return
    for attribute, value in sorted(vars(optimizer).items()):
        if attribute in _NOT_SLOTS or not isinstance(value, (list, tuple)):
            continue
        for place, item in enumerate(value):
            if hasattr(item, "assign") and hasattr(item, "shape"):
                yield attribute, place, item


def _dtype(value: Any) -> str:
    kind = value.dtype
    return str(getattr(kind, "name", kind)).rpartition(".")[2]
