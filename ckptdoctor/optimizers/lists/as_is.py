"""A list of state variables that no layout predicts: what its names and shapes say, and nothing more.

An optimizer that the catalogue does not know, or one around another one (Lookahead, SWA), keeps kinds of slots of its
own. Lists go kind by kind or variable by variable; where the shapes of the model's variables come again and again in
one of these ways, and in no other, that tells whose each slot is.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import Layout, layouts
from ckptdoctor.optimizers.keras.config import OptimizerConfig
from ckptdoctor.optimizers.keras.naming import plain, role_of
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, MissingSlot, ModelVariable, OtherVariable, Role, Slot

_NUMBERED = re.compile(r"(.+?)_(\d{1,6})(?:_\d+)?\Z")
"""Keras 2.3 numbers the slots of a kind: `training/Lookahead/sp_0`, made unique `sp_0_1`."""


class Listed(NamedTuple):
    """An element that is no scalar: its tensor, and what the artifact calls it."""

    tensor: TensorRef
    name: str | None


def slots_as_they_are(
    listed: Sequence[Listed],
    orders: Iterable[Sequence[ModelVariable]],
    generation: Generation | None,
    class_name: str | None,
) -> tuple[Slot, ...]:
    """The slots of a list, with their variables where something tells them.

    Args:
        listed: The list, without scalars.
        orders: Variables that the optimizer may train, in the orders in which it may hold them.
        generation: Which implementation wrote it.
        class_name: The class that the configuration names.
    """
    for order in orders:
        found = _by_numbers(listed, order) or _by_shapes(listed, order)
        if found is not None:
            return tuple(
                Slot(kind, role_of(kind, generation, class_name), path, each.tensor, "order")
                for each, (kind, path) in zip(listed, found, strict=True)
            )
    return tuple(
        Slot(each.name or f"state_{number}", Role.OTHER, None, each.tensor, "order")
        for number, each in enumerate(listed)
    )


def _by_numbers(listed: Sequence[Listed], order: Sequence[ModelVariable]) -> list[tuple[str, str]] | None:
    """By the numbers in the names, if every kind has one slot for each variable."""
    found: list[tuple[str, str]] = []
    for each in listed:
        match = _NUMBERED.match(plain(each.name or "").rpartition("/")[2])
        if match is None or int(match[2]) >= len(order):
            return None
        found.append((match[1], order[int(match[2])].path))
    kinds = {kind for kind, _ in found}
    return found if len(set(found)) == len(found) == len(kinds) * len(order) else None


def _by_shapes(listed: Sequence[Listed], order: Sequence[ModelVariable]) -> list[tuple[str, str]] | None:
    """Kind by kind or variable by variable, where exactly one of the two gives each slot its variable's shape."""
    count, rest = divmod(len(listed), len(order)) if order else (0, 1)
    if rest or not count:
        return None
    ways = (
        [(number // len(order), number % len(order)) for number in range(len(listed))],
        [(number % count, number // count) for number in range(len(listed))],
    )
    fitting = [
        way
        for way in dict.fromkeys(map(tuple, ways))
        if all(each.tensor.shape == order[at].tensor.shape for each, (_, at) in zip(listed, way, strict=True))
    ]
    return [(f"state_{kind}", order[at].path) for kind, at in fitting[0]] if len(fitting) == 1 else None


def gaps(slots: Iterable[Slot], variables: Iterable[ModelVariable], known: Iterable[str]) -> tuple[MissingSlot, ...]:
    """Slots that other variables have: of the kinds that occur and that no layout explains.

    Args:
        slots: The slots.
        variables: What the optimizer may train.
        known: Names of kinds that a layout explains.
    """
    explained = set(known)
    owners: dict[tuple[str, Role], set[str | None]] = {}
    for slot in slots:
        owners.setdefault((slot.name, slot.role), set()).add(slot.variable)
    having = set().union(*owners.values())
    if None in having:
        return ()
    due = [each.path for each in variables if each.path in having or each.trainable is True]
    return tuple(
        MissingSlot(name, role, path)
        for (name, role), paths in owners.items()
        if name not in explained
        for path in due
        if path not in paths
    )


def lost_inside(
    config: OptimizerConfig | None, slots: Sequence[Slot], variables: Iterable[ModelVariable]
) -> tuple[MissingSlot, ...]:
    """What an optimizer of several has lost that kept no slot of theirs: tensorflow_addons' saves its count alone."""
    keeping = [
        each.class_name
        for each in (config.inner if config is not None and not slots else ())
        if any(each.settings.has(kind.when) for one in layouts_of(each)[:1] for kind in one.kinds)
    ]
    name = f"slots of {' or '.join(dict.fromkeys(keeping))}"
    trained = [each.path for each in variables if each.trainable is not False] if keeping else []
    return tuple(MissingSlot(name, Role.OTHER, path) for path in trained)


def layouts_of(config: OptimizerConfig) -> tuple[Layout, ...]:
    """The catalogue's layouts for a configuration."""
    return layouts(config.class_name, config.generation) if config.generation is not None else ()


def scalars_as_they_are(others: Iterable[tuple[TensorRef, str | None, object]]) -> tuple[OtherVariable, ...]:
    """Scalars under the artifact's names for them."""
    return tuple(
        OtherVariable(name or f"scalar_{number}", ref, value if isinstance(value, (int, float)) else None)
        for number, (ref, name, value) in enumerate(others)
    )
