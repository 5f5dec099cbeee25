"""One optimizer's state in a tree: slots, counts, and the class as far as the fields tell it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.optimizers.optax.states import (
    ADAM_LIKE,
    COUNTS,
    NOT_STEPS,
    SLOT_FIELDS,
    STATELESS,
    StateKind,
    kind_of,
)  # fmt: skip
from ckptdoctor.optimizers.optax.tree import Path, StateLeaf, count_in, value_of
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (  # fmt: skip
    Generation,
    MissingSlot,
    ModelVariable,
    Oddity,
    OptimizerState,
    OtherVariable,
    Role,
    Scalar,
    Slot,
)

_HYPERPARAMETERS = "hyperparams"
_SCHEDULE_FREE = frozenset({"z"})


class _Count(NamedTuple):
    """A count: its value, where it is, and whether a transformation with slots counts so."""

    value: int
    tensor: TensorRef
    of_slots: bool


def read_optax(
    root: Path,
    leaves: Sequence[StateLeaf],
    variables: Sequence[ModelVariable],
    beside: tuple[int, TensorRef] | None = None,
) -> OptimizerState:
    """Reads an optimizer's state.

    Args:
        root: Where it begins in the tree.
        leaves: Its leaves.
        variables: The model's.
        beside: What the program counts beside it, and where; None if it does not.
    """
    nodes: dict[Path, set[str]] = {}
    for each in leaves:
        if not each.leaf.is_empty:
            nodes.setdefault(each.node, set()).update((each.field, each.field.partition("/")[0]))
    kinds = {node: kind_of(frozenset(fields)) for node, fields in nodes.items()}
    slots, missing = _slots(leaves, kinds)
    counts = list(_counts(leaves, nodes, kinds))
    count = _agreed(counts)
    other = [
        OtherVariable("/".join((*each.node, each.field)), each.leaf.tensor, value_of(each.leaf.tensor))
        for each in leaves
        if each.variable is None
        and each.leaf.tensor is not None
        and (count is None or each.leaf.tensor != count.tensor)
    ]
    if not other and all(each.leaf.is_empty for each in leaves) and beside is not None:
        other.append(OtherVariable("step", beside[1], beside[0]))  # the only count of a chain that keeps nothing
    missing += tuple(
        MissingSlot("/".join((*each.node, each.field)), Role.OTHER, None)
        for each in leaves
        if each.field in COUNTS and each.leaf.tensor is None and not each.leaf.is_empty
    )
    name, candidates = _class_of(leaves, nodes, kinds, {each.path: each for each in variables})
    return OptimizerState(
        name="/".join(root) or "opt_state",
        class_name=name,
        class_inferred=name is not None,
        class_candidates=candidates,
        generation=Generation.OPTAX,
        iterations=None if count is None else count.value,
        iterations_key=None if count is None else count.tensor.key,
        iterations_tensor=None if count is None else count.tensor,
        hyperparameters=_hyperparameters(leaves),
        slots=slots,
        missing=missing,
        other=tuple(other),
        conflicts=tuple(_conflicts(counts, count, beside[0] if beside else None)),
    )


def _slots(
    leaves: Sequence[StateLeaf], kinds: Mapping[Path, StateKind | None]
) -> tuple[tuple[Slot, ...], tuple[MissingSlot, ...]]:
    """The slots; those whose arrays are lost are missing, and those that a variable's others lack."""
    slots: list[Slot] = []
    missing: list[MissingSlot] = []
    held: dict[tuple[Path, str], set[str]] = {}
    for each in leaves:
        if each.variable is None or each.leaf.is_empty:
            continue
        kind = kinds.get(each.node)
        role = (kind.fields if kind is not None else SLOT_FIELDS).get(each.field) or SLOT_FIELDS.get(each.field)
        tensor = each.leaf.tensor
        if tensor is None or (tensor.location is None and tensor.dtype != "unknown"):
            missing.append(MissingSlot(each.field, role or Role.OTHER, each.variable))
        else:
            slots.append(Slot(each.field, role or Role.OTHER, each.variable, tensor, "name"))
        held.setdefault((each.node, each.variable), set()).add(each.field)
    for (node, variable), fields in held.items():
        kind = kinds.get(node)
        lacking = kind.fields.keys() - fields if kind is not None else ()
        missing += [MissingSlot(name, kind.fields[name], variable) for name in lacking if kind is not None]
    return tuple(slots), tuple(missing)


# ------------------------------------------------------------------------------------------------------------ counts


def _counts(
    leaves: Sequence[StateLeaf], nodes: Mapping[Path, set[str]], kinds: Mapping[Path, StateKind | None]
) -> Iterator[_Count]:
    for each in leaves:
        tensor = each.leaf.tensor
        if each.variable is not None or each.field not in COUNTS or tensor is None or nodes[each.node] & NOT_STEPS:
            continue
        value = count_in(tensor)
        if value is not None:
            kind = kinds.get(each.node)
            yield _Count(value, tensor, kind is not None and bool(kind.classes))


def _agreed(counts: Sequence[_Count]) -> _Count | None:
    """The count that the transformations with slots agree on; where none has any, that of all."""
    own = [each for each in counts if each.of_slots] or counts
    return own[0] if own and all(each.value == own[0].value for each in own) else None


def _conflicts(counts: Sequence[_Count], count: _Count | None, step: int | None) -> Iterator[Oddity]:
    different = sorted({each.value for each in counts})
    if len(different) > 1:
        told = ", ".join(f"{each.tensor.key} is {each.value:,}" for each in counts[:4])
        yield Oddity("V004", f"the counts of its transformations differ: {told}")
    elif count is not None and count.value == 0 and step:
        yield Oddity("V004", f"the program counts {step:,} steps, and {count.tensor.key} is 0: the state was made anew")


def _hyperparameters(leaves: Sequence[StateLeaf]) -> dict[str, object]:
    """Those that `inject_hyperparams` keeps; nothing else in a state is one."""
    found: dict[str, object] = {}
    for each in leaves:
        value: Scalar | None = value_of(each.leaf.tensor) if each.node[-1:] == (_HYPERPARAMETERS,) else None
        if value is not None:
            found[each.field] = value
    return found


# ------------------------------------------------------------------------------------------------------------- class


def _class_of(
    leaves: Sequence[StateLeaf],
    nodes: Mapping[Path, set[str]],
    kinds: Mapping[Path, StateKind | None],
    variables: Mapping[str, ModelVariable],
) -> tuple[str | None, tuple[str, ...]]:
    """The likeliest class, and the others that fit."""
    if any(fields >= _SCHEDULE_FREE and "b1" in fields for fields in nodes.values()):
        inner = any(kind is not None and kind.classes == ("RMSprop",) for kind in kinds.values())
        return ("ScheduleFreeAdamW" if inner else "ScheduleFreeSGD"), ()
    slots = [each for each in leaves if each.variable is not None]
    found = [(node, kind) for node, kind in kinds.items() if kind is not None and kind.classes]
    if any(kind.classes == ("Muon",) for _, kind in found):
        return "Muon", ()
    if not found:
        # A chain whose places are all empty; without any place nothing is known of it.
        empty = (
            not slots and any(each.node or each.field for each in leaves) and all(each.leaf.is_empty for each in leaves)
        )
        return (STATELESS[0], STATELESS[1:]) if empty or (not slots and nodes) else (None, ())
    # Momentum goes with any other state, as RMSprop's does.
    node, kind = min(found, key=lambda each: (each[1].classes[0] == "SGD", each[0]))
    if kind.classes is ADAM_LIKE:
        if _is_scalar_per_variable(slots, node, variables):
            return "NovoGrad", ()
        likeliest = "AdamW" if _followed_by(node, leaves) > 1 else "Adam"
        return likeliest, tuple(each for each in ADAM_LIKE if each != likeliest)
    return kind.classes[0], kind.classes[1:]


def _is_scalar_per_variable(slots: Sequence[StateLeaf], node: Path, variables: Mapping[str, ModelVariable]) -> bool:
    """NovoGrad's second moment is one number for each parameter."""
    shapes = [
        (each.leaf.tensor.shape, variables[each.variable].tensor.shape)
        for each in slots
        if each.node == node and each.field == "nu" and each.leaf.tensor is not None
        if each.variable is not None and each.variable in variables
    ]
    return bool(shapes) and all(own == () for own, _ in shapes) and any(theirs for _, theirs in shapes)


def _followed_by(node: Path, leaves: Sequence[StateLeaf]) -> int:
    """How many transformations follow in the chain: after Adam's stands the rate, after AdamW's the decay as well."""
    if not node or not node[-1].isdigit():
        return 0
    depth = len(node) - 1
    paths = ((*each.node, each.field) for each in leaves)
    places = {path[depth] for path in paths if path[:depth] == node[:depth] and len(path) > depth}
    return sum(place.isdigit() and int(place) > int(node[-1]) for place in places)
