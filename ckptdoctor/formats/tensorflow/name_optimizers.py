"""The optimizers behind the slots of a name-based checkpoint: how many there are, of which class, and with which count.

An op name that the catalogue knows is a record of the class. Any other is a name that somebody gave, and only beta
powers tell that it is Adam's: one slot or two without them can be of any class.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.formats.tensorflow.beta_powers import PowerSet, conflicts, matched, noted
from ckptdoctor.formats.tensorflow.name_slots import Found
from ckptdoctor.optimizers.catalogue import SlotKind
from ckptdoctor.optimizers.inference import Inference
from ckptdoctor.optimizers.name_based import TF1_OPTIMIZERS, Tf1Optimizer
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, MissingSlot, ModelVariable, OptimizerState, Recoverable, Role, Slot

_PAIR = 2
"""Slots of an Adam."""
Steps = tuple[str, int]
"""The global step: its name, and its value."""


class _Group(NamedTuple):
    """The slots of one optimizer, or of several that nothing tells apart.

    Attributes:
        name: Op name, after the scope where the op name alone is several optimizers'.
        op: Op name.
        scope: What stands before the whole names of its slots.
        slots: Owner → its slots, in their order.
    """

    name: str
    op: str
    scope: str
    slots: Mapping[str, Sequence[TensorRef]]

    @property
    def depth(self) -> int:
        """The most slots of a variable."""
        return max(map(len, self.slots.values()))

    @property
    def known(self) -> list[Tf1Optimizer]:
        """What the catalogue has under the op name."""
        return [each for each in TF1_OPTIMIZERS if each.op_name == self.op]


def optimizers(
    found: Iterable[Found],
    sets: Sequence[PowerSet],
    steps: Steps | None,
    variables: Sequence[ModelVariable],
) -> tuple[list[OptimizerState], list[TensorRef]]:
    """The optimizers, and beta powers of which nothing tells whose they are.

    Args:
        found: Slots by op name.
        sets: The beta powers.
        steps: The global step.
        variables: The model's variables.
    """
    groups = [part for each in found for part in _by_scope(each)]
    corrected = _corrected(groups, sets)
    shares, rest = matched(sets, [each.scope for each in corrected])
    own = {id(group): share for group, share in zip(corrected, shares, strict=True)}
    several = len(sets) > 1
    states = []
    for group in groups:
        mine = own.get(id(group), ())
        open_to = rest if id(group) in own and not mine else []
        # A set for each of them says that all are Adams, whoever has which.
        entry, inferred = _entry(group, mine or sets if len(corrected) <= len(sets) and id(group) in own else ())
        states.append(_optimizer(group, entry, inferred, mine, open_to, steps, variables, several=several))
    return states, [each.tensor for powers in rest for each in powers.members]


def _by_scope(found: Found) -> list[_Group]:
    """One optimizer a variable scope: each call of `apply_gradients` makes its slots under one."""
    if not found.scoped:
        return [_Group(found.op, found.op, "", found.slots)]
    scopes: dict[str, dict[str, list[TensorRef]]] = {}
    for owner, members in found.slots.items():
        for ref in members:
            scope = ref.key.rsplit("/", found.op.count("/") + 1)[0].removesuffix(owner)
            scopes.setdefault(scope, {}).setdefault(owner, []).append(ref)
    several = len(scopes) > 1
    return [
        _Group(f"{scope}{found.op}" if several else found.op, found.op, scope, slots) for scope, slots in scopes.items()
    ]


def _corrected(groups: Sequence[_Group], sets: Sequence[PowerSet]) -> list[_Group]:
    """The groups that beta powers may belong to: classes that keep them, else names of no class as well."""
    known = [each for each in groups if any(one.beta_powers for one in each.known)]
    named = [each for each in groups if not each.known and each.depth == _PAIR]
    if not sets or len(known) == len(sets):
        return known if sets else []
    return [each for each in groups if each in known or each in named]


def _entry(group: _Group, sets: Sequence[PowerSet]) -> tuple[Tf1Optimizer | None, Inference]:
    """What the catalogue has for a group, and the class; `sets` are beta powers that it has."""
    known = group.known
    if known:
        size = group.depth // len(sets) if sets and group.depth % len(sets) == 0 else group.depth
        fitting = [each for each in known if len(each.slots) in {group.depth, size}]
        chosen = (fitting or known)[0]
        return chosen, Inference(chosen.class_name)
    kinds = {each.kinds for each in sets}
    guesses = [each for each in TF1_OPTIMIZERS if {each.beta_powers} == kinds and len(each.slots) == group.depth]
    classes = list(dict.fromkeys(each.class_name for each in guesses))
    return (guesses[0], Inference(classes[0], tuple(classes[1:]))) if guesses else (None, Inference(None))


def _optimizer(
    group: _Group,
    entry: Tf1Optimizer | None,
    inferred: Inference,
    own: Sequence[PowerSet],
    open_to: Sequence[PowerSet],
    steps: Steps | None,
    variables: Sequence[ModelVariable],
    *,
    several: bool,
) -> OptimizerState:
    kinds: tuple[SlotKind, ...] = entry.slots if entry else ()
    columns: list[tuple[str | None, Role]] = [(kind.name, kind.role) for kind in kinds]
    columns = (columns or [(None, Role.OTHER)]) * group.depth
    new = tuple.__new__  # what the named tuple's constructor calls: this runs once per slot
    slots = [
        new(Slot, (name or ref.key.rpartition("/")[2], role, owner, ref, "name"))
        for owner, members in group.slots.items()
        for ref, (name, role) in zip(members, columns, strict=False)
    ]
    missing = [
        MissingSlot(kind.name, kind.role, owner)
        for owner, members in group.slots.items()
        if len(members) < len(kinds)
        for kind in kinds[len(members) : group.depth]
    ]
    missing.extend(_untouched(group, kinds, variables))
    told = own[0].steps if len(own) == 1 else None
    if several and told is not None and told.value == 0:
        steps = None  # the step counts the others'
    return OptimizerState(
        name=group.name,
        class_name=inferred.class_name,
        generation=Generation.TF1,
        class_inferred=inferred.class_name is not None,
        class_candidates=inferred.candidates,
        iterations=steps[1] if steps else None,
        iterations_key=steps[0] if steps else None,
        recoverable=None if steps else recoverable(own),
        conflicts=conflicts([*own, *open_to], steps),
        slots=tuple(slots),
        missing=tuple(missing),
        other=tuple(each for powers in own for each in powers.members),
        shared=tuple(each for powers in open_to for each in powers.members),
        notes=noted(own, _names(group, entry, len(own))) if own else _undecided(open_to),
    )


def recoverable(sets: Sequence[PowerSet]) -> Recoverable | None:
    """The count that every set of beta powers tells."""
    told = [each.steps for each in sets]
    counts = {each.value for each in told if each is not None}
    return told[0] if len(counts) == 1 and None not in told else None


def _names(group: _Group, entry: Tf1Optimizer | None, sets: int) -> list[str]:
    """What the slots of each of several optimizers are called, where all of them trained the same variables."""
    size = len(entry.slots) if entry is not None else 0
    if any(len(members) != size * sets for members in group.slots.values()):
        return []
    names = [ref.key.rpartition("/")[2] for ref in next(iter(group.slots.values()))]
    return [", ".join(names[start : start + size]) for start in range(0, len(names), size)]


def _undecided(sets: Sequence[PowerSet]) -> tuple[str, ...]:
    if not sets:
        return ()
    names = ", ".join(each.name for powers in sets for each in powers.members)
    return (f"beta powers of several optimizers, and nothing tells whose: {names}",)


def _untouched(group: _Group, kinds: tuple[SlotKind, ...], variables: Sequence[ModelVariable]) -> list[MissingSlot]:
    """Variables without any slots in layers whose other variables have this optimizer's."""
    lone = [path for path, _, trainable, _ in variables if trainable is None and path not in group.slots]
    layers = {owner.rpartition("/")[0] for owner in group.slots} - {""} if lone else set()
    return [
        MissingSlot(kind.name, kind.role, path) for path in lone if path.rpartition("/")[0] in layers for kind in kinds
    ]
