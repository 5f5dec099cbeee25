"""An optimizer's state_dict as optimizer state: groups, counts a parameter, slots, and whose each of them is."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from itertools import islice
from typing import TypeAlias

from ckptdoctor.containers.pickles.reading import Key, Node, Thing
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.formats.torch.contents import Fields, fields_of, written
from ckptdoctor.formats.torch.parameters import Answer, Place
from ckptdoctor.formats.torch.subclasses import tensor_of
from ckptdoctor.optimizers.inference import count_of
from ckptdoctor.optimizers.torch.catalogue import (
    COUNTED_IN_GROUPS,
    WRAPPERS_SETTINGS,
    WRAPPERS_SLOTS,
    Told,
    infer,
    role_of,
)
from ckptdoctor.optimizers.torch.steps import STEP, STOPS
from ckptdoctor.references import Inline, TensorRef
from ckptdoctor.state import (
    Count,
    Generation,
    MissingSlot,
    Oddity,
    OptimizerState,
    OtherVariable,
    ParamGroup,
    Scalar,
    Slot,
    StateDict,
)  # fmt: skip

Held: TypeAlias = "tuple[str, Node, TensorRef | None]"
"""The name of something in a parameter's state, what it is, and the tensor that this is or stands for."""
_NO_SETTING = frozenset({"params", "param_names"})
_MAX_PLACES = 1_000_000


class Draft:
    """An optimizer's state_dict, taken apart.

    Attributes:
        name: The keys that lead to it.
        groups: Its parameter groups.
        places: Each parameter of them: its key, its group, and its state where it has any.
        is_plain: It was as torch.optim's classes keep it.
        oddities: What was noticed.
    """

    def __init__(self, name: str, groups: Sequence[Fields], *, is_plain: bool) -> None:
        self.name, self.groups, self.is_plain = name, groups, is_plain
        self.places: list[tuple[Key, int, Fields | None]] = []
        self.oddities: list[Oddity] = []

    @cached_property
    def held(self) -> list[list[Held]]:
        """Each place's state."""
        return [_flat(state) if state else [] for *_, state in self.places]

    @cached_property
    def shapes(self) -> list[Place]:
        """The places, as far as their states tell shapes."""
        return [Place(group, _shapes(held)) for (_, group, _), held in zip(self.places, self.held, strict=True)]

    @property
    def numbered(self) -> list[str]:
        """Names for parameters of which only the places are known."""
        return [f"parameter {number}" for number in range(len(self.places))]

    @property
    def named(self) -> list[str] | None:
        """The parameters' names, where the state or the groups have them."""
        names: list[str] = []
        for group in self.groups:
            given = group.get("param_names")
            keys = group["params"]
            if isinstance(given, (list, tuple)) and isinstance(keys, (list, tuple)) and len(given) == len(keys):
                names += map(str, given)
            elif isinstance(keys, (list, tuple)) and all(isinstance(key, str) and not key.isdecimal() for key in keys):
                names += map(str, keys)
            else:
                return None
        return names


def draft(name: str, fields: Fields) -> Draft:
    """Takes a state_dict apart: the i-th parameter of the groups and its state."""
    is_plain = not {"hypers", "fast_state"} & fields.keys()
    if "hypers" in fields:
        fields = _as_torch(fields)
    elif "fast_state" in fields:
        fields = _of_lookahead(fields)
    listed = fields["param_groups"]
    groups = [each for each in listed if isinstance(each, dict)] if isinstance(listed, (list, tuple)) else []
    state = fields_of(fields["state"]) or {}
    found = Draft(name, groups, is_plain=is_plain)
    text = 0
    for number, group in enumerate(groups):
        members = group["params"]
        for member in members if isinstance(members, (list, tuple)) and not isinstance(members, TensorRef) else ():
            key = _key(member)
            held = state.get(key)
            if held is None and isinstance(key, int) and str(key) in state:
                held, text = state[str(key)], text + 1
            if len(found.places) < _MAX_PLACES:
                found.places.append((key, number, fields_of(held) if held is not None else None))
    if text:
        found.oddities.append(
            Oddity(
                "S017",
                f"the state of {text:,} parameters is kept under text, which load_state_dict drops silently",
                fix="text-indices",
            )
        )
    found.oddities += _odd_numbers(found, state)
    found.oddities += _standing(found)
    return found


def _standing(found: Draft) -> Iterator[Oddity]:
    """Counts of a type in which adding one soon changes nothing."""
    steps = [state.get(STEP) for _, _, state in found.places if state is not None]
    half = [each.dtype for each in steps if isinstance(each, TensorRef) and not each.shape and each.dtype in STOPS]
    for dtype in dict.fromkeys(half):
        yield Oddity(
            "V007",
            f"the step of {half.count(dtype):,} parameters is {dtype}: it stands still from {STOPS[dtype]:,} on",
            fix="step-dtype",
        )


def _as_torch(fields: Fields) -> Fields:
    """Fastai's `{"state": [one a parameter], "hypers": [one a group]}`; only the number of groups is known."""
    states, hypers = fields["state"], fields["hypers"]
    listed = states if isinstance(states, (list, tuple)) else ()
    settings = hypers.fields.get("items", hypers.members) if isinstance(hypers, Thing) else hypers
    held = [each for each in settings if isinstance(each, dict)] if isinstance(settings, (list, tuple)) else []
    own: dict[Key, Node] = dict(held[0]) if len(held) == 1 else {}
    return {"state": dict(enumerate(listed)), "param_groups": [{**own, "params": list(range(len(listed)))}]}


def _of_lookahead(fields: Fields) -> Fields:
    """Lookahead's `{"fast_state": the inner optimizer's, "slow_state": its own}`, as one state.

    Its own may stand under the addresses of parameters, which no other process has: it makes that anew.
    """
    fast, slow = fields_of(fields["fast_state"]) or {}, fields_of(fields.get("slow_state")) or {}
    state: dict[Key, Node] = {}
    for key, each in fast.items():
        inner, own = fields_of(each), fields_of(slow.get(key))
        state[key] = {**inner, **own} if inner is not None and own is not None else each
    return {"state": state, "param_groups": fields["param_groups"]}


def _key(member: Node) -> Key:
    if isinstance(member, TensorRef):  # of an optimizer that was pickled whole
        from ckptdoctor.containers.torchfiles.tree import identity

        return identity(member.location)
    return member if isinstance(member, (int, str)) else None


def _odd_numbers(found: Draft, state: Fields) -> Iterator[Oddity]:
    keys = [key for key, *_ in found.places]
    twice = len(keys) - len(set(keys))
    if twice:
        yield Oddity("S015", f"{twice:,} parameters stand in the groups more than once")
    known = set(keys)
    known.update(str(key) for key in keys if key not in state)
    nobodys = [key for key in state if key not in known]
    if nobodys and keys:
        yield Oddity("S015", f"state is here for {len(nobodys):,} parameters that no group has")


_LIKE_PARAMETER = frozenset({
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "momentum_buffer", "square_avg", "grad_avg", "sqr_avg", "acc_delta",
    "sum", "state1", "state2", "exp_inf", "ax", "prev", "step_size", "z", "momentum", "velocity",
})  # fmt: skip
"""Slots that have their parameter's shape, in every optimizer that calls them so."""


def _shapes(state: list[Held]) -> frozenset[tuple[int, ...]]:
    """The shapes that a parameter's state allows: those of slots like it, else any that occurs."""
    held = {name: ref for name, _, ref in state if name != STEP and ref is not None}
    if any(name == "func_evals" for name, *_ in state):  # LBFGS keeps all parameters in one
        return frozenset()
    factored = _unfactored(held)
    if factored is not None:
        return frozenset({factored})
    alike = {ref.shape for name, ref in held.items() if name in _LIKE_PARAMETER}
    return frozenset(alike or {ref.shape for ref in held.values() if ref.shape and "float" in ref.dtype})


def _flat(state: Fields) -> list[Held]:
    """A parameter's state; bitsandbytes keeps what is quantized in a dictionary of its own."""
    found: list[Held] = []
    for name, value in state.items():
        if isinstance(value, dict):
            found += ((written(inner), each, tensor_of(each)) for inner, each in value.items())
        else:
            found.append((written(name), value, tensor_of(value)))
    return found


def _unfactored(held: Mapping[str, TensorRef]) -> tuple[int, ...] | None:
    """The shape of a parameter whose second moment is kept as rows and columns, of which each lacks a dimension."""
    if "exp_avg" in held:
        return None
    for rows, columns, kept in (("row_var", "col_var", True), ("exp_avg_sq_row", "exp_avg_sq_col", False)):
        if rows in held and columns in held and held[rows].shape and held[columns].shape:
            row = held[rows].shape
            return (*(row[:-1] if kept else row), held[columns].shape[-1])
    return None


def _is_lost(node: Node) -> bool:
    """Whether it is a tensor whose bytes are not in the artifact."""
    return isinstance(node, TensorRef) and node.place is None and bool(node.size)


# --------------------------------------------------------------------------------------------------------- assembly


def optimizer_state(found: Draft, told: Answer) -> OptimizerState:
    """The state, each slot with its parameter."""
    settings = [_settings(group) for group in found.groups]
    kind = _class_of(found, settings)
    slots: list[Slot] = []
    other: list[OtherVariable] = []
    counts: list[Count] = []
    roles = cache(partial(role_of, kind.entry))
    for number, ((key, *_), held) in enumerate(zip(found.places, found.held, strict=True)):
        variable = told.names[number] if number < len(told.names) else None
        for name, value, ref in held:
            if name == STEP:
                counts.append(_count(value, _below(found, key, name), variable or f"#{number}"))
                continue
            if _is_lost(value):
                continue
            if ref is not None:
                slots.append(Slot(name, roles(name), variable, ref, told.mapping))
            elif isinstance(value, (int, float)) and not isinstance(value, bool):
                other.append(OtherVariable(name, _inline(_below(found, key, name), value), value))
    counts = counts or _group_counts(found)
    # A parameter that was added or thawed later has fewer steps than the optimizer: that has the most of any.
    most = max((each for each in counts if each.value is not None), key=lambda each: each.value or 0, default=None)
    groups, names = [], iter(told.names)
    for group, own in zip(found.groups, settings, strict=True):
        members = group["params"]
        size = len(members) if isinstance(members, (list, tuple)) else 0
        label = group.get("name")
        variables = tuple(islice(names, size))
        groups.append(ParamGroup(label if isinstance(label, str) else None, variables, own))
    return OptimizerState(
        name=found.name,
        class_name=kind.class_name,
        class_inferred=kind.class_name is not None,
        class_candidates=kind.candidates,
        generation=Generation.TORCH,
        iterations=most.value if most is not None else None,
        iterations_key=most.key if most is not None else None,
        iterations_tensor=most.tensor if most is not None else None,
        counts=tuple(counts),
        hyperparameters=_agreed(settings),
        groups=tuple(groups),
        slots=tuple(slots),
        missing=tuple(_missing(found, told, kind)),
        other=tuple(other),
        stored=_stored(found) if found.is_plain else None,
    )


def _below(found: Draft, key: Key, name: str) -> str:
    return f"{found.name}/state/{key!s}/{name}".lstrip("/")


def _stored(found: Draft) -> StateDict:
    groups = [{name: each for name, each in group.items() if name != "params"} for group in found.groups]
    sizes = Counter(group for _, group, _ in found.places)
    states = tuple(state for *_, state in found.places)
    return StateDict(tuple(groups), tuple(sizes[number] for number in range(len(groups))), states)


def _class_of(found: Draft, settings: Sequence[Mapping[str, object]]) -> Told:
    names = set().union(*(group for group in found.groups)) if found.groups else set()
    kept: set[Key] = set()
    for *_, each in found.places:
        kept.update([name for name, value in each.items() if value is not None] if each else ())
    state = set(map(str, kept))
    if state & WRAPPERS_SLOTS:  # what is left is the inner optimizer's
        names, state = names - WRAPPERS_SETTINGS, state - WRAPPERS_SLOTS
    decoupled = next((each.get("decoupled_weight_decay") for each in settings), None)
    return infer({str(name) for name in names}, state, decoupled=decoupled if isinstance(decoupled, bool) else None)


def _count(value: Node, key: str, where: str) -> Count:
    if isinstance(value, TensorRef):
        return Count(count_of(read_scalar(value)), "parameter", key, where, value)
    return Count(count_of(value if isinstance(value, (int, float)) else None), "parameter", key, where)


def _group_counts(found: Draft) -> list[Count]:
    counts = []
    for number, group in enumerate(found.groups):
        name = next((each for each in COUNTED_IN_GROUPS if isinstance(group.get(each), int)), None)
        if name is not None:
            value = group[name]
            key = f"{found.name}/param_groups/{number}/{name}".lstrip("/")
            counts.append(Count(value if isinstance(value, int) else None, "optimizer", key))
    return counts


def _inline(key: str, value: float) -> TensorRef:
    """A Python number as the tensor that it is not."""
    if isinstance(value, int) and abs(value) < 1 << 63:
        return TensorRef(key, "int64", (), Inline(struct.pack("<q", value)))
    return TensorRef(key, "float64", (), Inline(struct.pack("<d", float(min(max(value, -1e308), 1e308)))))


def _settings(group: Fields) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in group.items():
        if name in _NO_SETTING or not isinstance(name, str):
            continue
        found[name] = setting(value)
    return found


def setting(value: Node) -> object:
    """A setting as a plain value; None where it is none."""
    if isinstance(value, TensorRef):
        scalar: Scalar | None = read_scalar(value) if not value.shape else None
        return scalar
    if isinstance(value, (list, tuple)):
        return [setting(each) for each in value[:16]]
    return value if isinstance(value, (int, float, str, bool, type(None))) else None


def _agreed(settings: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """What all groups have, and have alike."""
    if not settings:
        return {}
    return {
        name: value
        for name, value in settings[0].items()
        if all(name in each and each[name] == value for each in settings[1:])
    }


def _missing(found: Draft, told: Answer, kind: Told) -> Iterator[MissingSlot]:
    """Slots that a parameter lacks though it has others, and that all others of its group have."""
    if kind.entry is None:
        return
    always = [each for each in kind.entry.slots if not each.when and kind.entry.name != "Adafactor"]
    held = [
        (number, group, {name for name, value, ref in own if ref is not None and not _is_lost(value)})
        for number, ((_, group, _), own) in enumerate(zip(found.places, found.held, strict=True))
        if own
    ]
    yield from _left_inside(found, told, kind)
    for each in always:
        having = {group for _, group, names in held if each.name in names}
        for number, group, names in held:
            if group in having and names and each.name not in names and kind.entry.name != "LBFGS":
                yield MissingSlot(each.name, each.role, told.names[number])


def _left_inside(found: Draft, told: Answer, kind: Told) -> Iterator[MissingSlot]:
    """Slots of the optimizer in a wrapper such as SAM, which saves its own copies of the weights and no more."""
    for number, (_, group, state) in enumerate(found.places):
        if kind.entry is None or not state or not set(map(str, state)) <= WRAPPERS_SLOTS:
            continue
        for each in kind.entry.slots:
            if not each.when or found.groups[group].get(each.when):
                yield MissingSlot(each.name, each.role, told.names[number])
