"""Slots in a name-based checkpoint: which tensors are some variable's, and under which op name."""

import re
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from ckptdoctor.optimizers.keras.naming import MOST_PARTS
from ckptdoctor.optimizers.name_based import TF1_AVERAGE, TF1_OPTIMIZERS
from ckptdoctor.references import TensorRef

_NUMBERED = re.compile(r"(.+)_(\d{1,3})\Z", re.DOTALL)
_KNOWN = {each.op_name for each in TF1_OPTIMIZERS if not each.suffixes} | {TF1_AVERAGE.name}
_SUFFIXES = {suffix: (each.op_name, k) for each in TF1_OPTIMIZERS for k, suffix in enumerate(each.suffixes)}


class Found:
    """Slots of one op name.

    Attributes:
        op: The name.
        slots: Owner → its slots, in their order.
        scoped: Some of them have more before the owner's name than nothing.
    """

    def __init__(self, op: str) -> None:
        self.op = op
        self.slots: dict[str, list[TensorRef]] = {}
        self.scoped = False


_Candidate: TypeAlias = tuple[TensorRef, str, TensorRef | None]
"""What may be a slot: itself, its name without the last component, and the tensor of that name."""


class _Column(NamedTuple):
    """Tensors with the same last component, which may be the slots of one kind.

    Attributes:
        number: The kind's place among the slots of a variable.
        op: The op name.
        scoped: It names an optimizer by itself, so that scopes may stand before the variable's name.
        members: The tensors.
    """

    number: int
    op: str
    scoped: bool
    members: list[_Candidate]


def find_slots(left: dict[str, TensorRef]) -> tuple[list[Found], Found]:
    """Takes every slot out of `left`, by the op name that it carries."""
    candidates = _candidates(left)
    groups: dict[str, Found] = {}
    columns: list[_Column] = []
    for last, members in candidates.items():
        base, number = _numbered(last)
        if last in _SUFFIXES:
            op, number = _SUFFIXES[last]
        elif base in _KNOWN or (base != last and base in candidates):
            op = base
        else:
            op, number = last, 0
        groups.setdefault(op, Found(op))
        columns.append(_Column(number, op, op in _KNOWN or last in _SUFFIXES, members))
    taken: list[TensorRef] = []
    for column in sorted(columns, key=lambda each: each.number):  # so that a variable's slots come in their order
        taken += _collect(column, groups[column.op], left)
    for ref in taken:
        del left[ref.key]
    averages = groups.pop(TF1_AVERAGE.name, Found(TF1_AVERAGE.name))
    return _real(groups, left), averages


def _candidates(left: Mapping[str, TensorRef]) -> dict[str, list[_Candidate]]:
    """What may be a slot, by its last component: it names an optimizer, or the rest of the name is a variable's."""
    found: dict[str, list[_Candidate]] = {}
    deeper: dict[str, list[_Candidate]] = {}
    telling: dict[str, bool] = {}
    # In an index slots follow their variable: looking there saves looking it up.
    before: str | None = None
    before_ref: TensorRef | None = None
    for name, ref in left.items():
        stem, _, last = name.rpartition("/")
        if stem == before:
            stem, owner = before, before_ref
        else:
            owner = left.get(stem)
            if last not in telling:
                telling[last] = last in _SUFFIXES or bool({last, _numbered(last)[0]} & _KNOWN)
            if owner is None and not telling[last]:
                before, before_ref = name, ref
                outer, _, middle = stem.rpartition("/")
                if ref.shape and (owner := left.get(outer)) is not None:
                    deeper.setdefault(f"{middle}/{last}", []).append((ref, outer, owner))
                continue
        found.setdefault(last, []).append((ref, stem, owner))
    # An op name of two parts (`train/opt`) looks like a layer's, unless all of it comes again with a number.
    for op in [each for each in deeper if f"{each}_1" in deeper]:
        found.update({each: members for each, members in deeper.items() if _numbered(each)[0] == op})
    return found


def _numbered(last: str) -> tuple[str, int]:
    """`Adam_1` as ("Adam", 1), `Adam` as ("Adam", 0)."""
    match = _NUMBERED.match(last)
    return (match.group(1), int(match.group(2))) if match else (last, 0)


def _collect(column: _Column, group: Found, left: Mapping[str, TensorRef]) -> list[TensorRef]:
    """Gives the members of a column to their owners; answers those that have one."""
    taken: list[TensorRef] = []
    slots = group.slots
    for ref, stem, variable in column.members:
        owner = stem
        if variable is None or variable.shape != ref.shape or variable.dtype == "string":
            scoped = _owner(stem, ref, left) if column.scoped or variable is not None else None
            if scoped is None:
                continue
            owner, group.scoped = scoped, True
        slots.setdefault(owner, []).append(ref)
        taken.append(ref)
    return taken


def _real(groups: Mapping[str, Found], left: dict[str, TensorRef]) -> list[Found]:
    """Groups whose owners are variables themselves; a slot of a slot is a variable that merely looks like one."""
    kept: list[Found] = []
    for group in groups.values():
        for owner in [each for each in group.slots if each not in left]:
            for ref in group.slots.pop(owner):
                left[ref.key] = ref
        if group.slots:
            kept.append(group)
    return kept


def _owner(stem: str, ref: TensorRef, tensors: Mapping[str, TensorRef]) -> str | None:
    """The variable of a slot: its stem, or its stem without leading scopes, where the shape agrees."""
    name = stem
    for _ in range(MOST_PARTS):
        owner = tensors.get(name)
        if owner is not None and owner.shape == ref.shape and owner.dtype != "string":
            return name
        _, slash, name = name.partition("/")
        if not slash:
            break
    return None
