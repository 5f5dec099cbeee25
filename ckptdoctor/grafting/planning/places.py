"""Which of a donor's parameters is which of the target's, where optimizers number them as PyTorch's do.

A number says nothing but a place in the program's order. Names that lie in the same order on both sides prove it, and
so do shapes of which there is one each; equal shapes in another order prove nothing, and are refused.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import GraftRefused, Unmatchable
from ckptdoctor.matching.variables import Named, match
from ckptdoctor.matching.weights import by_weights
from ckptdoctor.optimizers.planned import Matched
from ckptdoctor.references import TensorRef
from ckptdoctor.state import ModelVariable, OptimizerState, TrainingState
from ckptdoctor.words import enumerate_some

WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_forward_module", "_checkpoint_wrapped_module"})
"""What DistributedDataParallel, torch.compile, FSDP and Lightning put into names, and users never did."""
_SHOWN = 6


class Place(NamedTuple):
    """A parameter of an optimizer.

    Attributes:
        number: Its place in the groups.
        name: The variable's; None where nothing tells it.
        shape: Its shape; None where nothing tells it.
        named: Its name is stored with the state, and does not follow from order.
    """

    number: int
    name: str | None
    shape: tuple[int, ...] | None
    named: bool = False

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or f"parameter {self.number}"


class Source(NamedTuple):
    """Where a place's state comes from: the donor's place, and how it was found."""

    place: Place
    how: Matched


def places(state: TrainingState, optimizer: OptimizerState) -> list[Place]:
    """The parameters of an optimizer, in the order of its groups."""
    if optimizer.stored is None:
        return []
    shapes = {each.path: each.tensor.shape for each in of_model(state)}
    stored = {slot.variable for slot in optimizer.slots if slot.mapping == "name"}
    names = [name for group in optimizer.groups for name in group.variables]
    found = []
    for number, (name, held) in enumerate(zip(names, optimizer.stored.states, strict=True)):
        shape = shapes.get(name) if name is not None else None
        known = name if shape is not None or name in stored else None
        found.append(Place(number, known, shape if shape is not None else _shape(held), name in stored))
    return found


def of_model(state: TrainingState) -> list[ModelVariable]:
    """The variables of a model; an optimizer that was saved alone only has names for its places."""
    return [each for each in state.variables if each.tensor.dtype]


def _shape(held: Mapping[object, object] | None) -> tuple[int, ...] | None:
    """The shape of most of a parameter's tensors: those of factored moments are others."""
    shapes = Counter(
        each.shape
        for name, each in (held or {}).items()
        if isinstance(each, TensorRef) and name != "step" and "float" in each.dtype
    )
    return shapes.most_common(1)[0][0] if shapes else None


def trainable(state: TrainingState) -> list[Place]:
    """The parameters of a target without optimizer, in its order: tied weights once, statistics never."""
    held = untied(each for each in state.variables if each.trainable is not False)
    return [Place(number, each.path, each.tensor.shape) for number, each in enumerate(held)]


def untied(variables: Iterable[ModelVariable]) -> list[ModelVariable]:
    """Variables without those that are another one under a second name."""
    found: dict[object, ModelVariable] = {}
    for each in variables:
        location = each.tensor.location if each.tensor.size else None
        found.setdefault(each.path if location is None else location, each)
    return list(found.values())


def sources(
    donor: tuple[TrainingState, Sequence[Place]],
    target: tuple[TrainingState, Sequence[Place]],
    mapping: Mapping[str, str],
    *,
    in_place: bool,
) -> dict[int, Source]:
    """Each of the target's places, as far as the donor has it.

    Args:
        donor: The donor, and the places of its optimizer.
        target: The target, and its places.
        mapping: What the user says: a donor's name, number or prefix → one of the target's.
        in_place: The donor's order stays, as its model is the target's.

    Raises:
        GraftRefused: Equal shapes could be one another, and nothing says which is which.
        Unmatchable: The user names what is not there.
    """
    found = _mapped(donor[1], target[1], mapping)
    _by_name(found, donor[1], target[1])
    _by_likeness(found, donor, target)
    _by_place(found, donor[1], target[1])
    if not in_place:
        _require_order(found, target[1])
    return found


def _free(found: Mapping[int, Source], donor: Iterable[Place]) -> list[Place]:
    taken = {each.place.number for each in found.values()}
    return [each for each in donor if each.number not in taken]


def _open(found: Mapping[int, Source], target: Iterable[Place]) -> list[Place]:
    return [each for each in target if each.number not in found]


# ------------------------------------------------------------------------------------------------------------ by word


def _mapped(donor: Sequence[Place], target: Sequence[Place], mapping: Mapping[str, str]) -> dict[int, Source]:
    theirs = {**{str(each.number): each for each in donor}, **{each.name: each for each in donor if each.name}}
    mine = {**{str(each.number): each for each in target}, **{each.name: each for each in target if each.name}}
    found: dict[int, Source] = {}
    for old, new in mapping.items():
        pairs = [(old, new)]
        if old.endswith((".", "/")):
            pairs = [(name, new + name[len(old) :]) for name in theirs if name.startswith(old)]
            pairs = [pair for pair in pairs if pair[1] in mine]
            if not pairs:
                raise Unmatchable(f"--map {old}={new}: no variable of the donor below {old!r} is one below {new!r}")
        for one, other in pairs:
            if one not in theirs or other not in mine:
                side, name = ("donor", one) if one not in theirs else ("target", other)
                raise Unmatchable(f"--map {old}={new}: the {side}'s optimizer has no parameter {name!r}")
            source, goal = theirs[one], mine[other]
            if None not in {source.shape, goal.shape} and source.shape != goal.shape:
                raise Unmatchable(
                    f"--map {old}={new}: {source.label} has shape {source.shape}, {goal.label} {goal.shape}"
                )
            if found.setdefault(goal.number, Source(source, "map")).place is not source:
                raise Unmatchable(f"--map gives {goal.label} two counterparts")
    return found


# ------------------------------------------------------------------------------------------------------------ by name


def _by_name(found: dict[int, Source], donor: Sequence[Place], target: Sequence[Place]) -> None:
    """The same names, without what wrappers put into them, what artifacts call the model, and a prefix of all."""
    theirs, mine = _free(found, donor), _open(found, target)
    for keyed in (_whole, _in_model, _in_common):
        there, here = keyed(theirs), keyed(mine)
        pairs = [(here[key], there[key]) for key in here if key in there and _fits(here[key], there[key])]
        if pairs:
            for goal, source in pairs:
                found[goal.number] = Source(source, "path" if goal.name == source.name else "name")
            return


def _whole(given: Sequence[Place]) -> dict[str, Place]:
    return {bare(each.name): each for each in given if each.name is not None}


def _in_model(given: Sequence[Place]) -> dict[str, Place]:
    named = [(in_model(bare(each.name)), each) for each in given if each.name is not None]
    often = Counter(name for name, _ in named)
    return {name: each for name, each in named if often[name] == 1}


def _in_common(given: Sequence[Place]) -> dict[str, Place]:
    names = _whole(given)
    parts = [name.split(".")[:-1] for name in names]
    depth = 0
    while parts and all(len(each) > depth and each[depth] == parts[0][depth] for each in parts):
        depth += 1
    return {".".join(name.split(".")[depth:]): each for name, each in names.items()}


def in_model(name: str) -> str:
    """A name without what its artifact calls the model."""
    return name.rpartition("/")[2]


def bare(name: str) -> str:
    """A name without what wrappers put into it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _fits(one: Place, other: Place) -> bool:
    return one.shape is None or other.shape is None or one.shape == other.shape


def _by_likeness(
    found: dict[int, Source],
    donor: tuple[TrainingState, Sequence[Place]],
    target: tuple[TrainingState, Sequence[Place]],
) -> None:
    """Of what has other names on both sides, what ends alike or has equal weights."""
    theirs = {each.name: each for each in _free(found, donor[1]) if each.name is not None and each.shape is not None}
    mine = {each.name: each for each in _open(found, target[1]) if each.name is not None and each.shape is not None}
    if not theirs or not mine:
        return
    with kept_open():
        same = by_weights(_variables(target[0], mine), _variables(donor[0], theirs))
    for path, each in same.items():
        found[mine.pop(path).number] = Source(theirs.pop(each.donor), each.how)
    for path, each in match(_named(mine.values()), _named(theirs.values()), {}).items():
        found[mine[path].number] = Source(theirs[each.donor], each.how)


def _variables(state: TrainingState, wanted: Mapping[str, Place]) -> list[ModelVariable]:
    return [each for each in state.variables if each.path in wanted]


def _named(given: Iterable[Place]) -> list[Named]:
    return [
        Named(each.name, each.shape, (bare(each.name).replace(".", "/"),))
        for each in given
        if each.name is not None and each.shape is not None
    ]


# ----------------------------------------------------------------------------------------------------------- by place


def _by_place(found: dict[int, Source], donor: Sequence[Place], target: Sequence[Place]) -> None:
    """Of a donor that names nothing: as many as are left in the target, of the same shapes in the same order."""
    theirs = [each for each in _free(found, donor) if each.name is None]
    mine = _open(found, target)
    if not theirs or len(theirs) != len(mine) or not all(map(_fits, mine, theirs)):
        return
    found.update((goal.number, Source(source, "structure")) for goal, source in zip(mine, theirs, strict=True))
    alike = Counter(each.shape for each in mine)
    open_ones = [(goal, source) for goal, source in zip(mine, theirs, strict=True) if alike[goal.shape] > 1]
    if open_ones:
        lines = " ".join(f"--map {source.number}={goal.label}" for goal, source in open_ones[:_SHOWN])
        more = f" … ({len(open_ones)} in all)" if len(open_ones) > _SHOWN else ""
        raise GraftRefused(
            f"the donor's optimizer names no parameters, and {len(open_ones)} of the target's have equal shapes: their "
            f"order is the only evidence, and an exchanged one trains on silently. Give the checkpoint that has the "
            f"donor's model too, or, if the order is the model's, say so with {lines}{more}"
        )


def _require_order(found: Mapping[int, Source], target: Sequence[Place]) -> None:
    """Refuses parameters of equal shape that lie in another order, unless both sides keep their names.

    Raises:
        GraftRefused: There are some.
    """
    goals = {each.number: each for each in target}
    for shape in {each.shape for each in target}:
        pairs = [
            (goals[number], source.place)
            for number, source in sorted(found.items())
            if goals[number].shape == shape and source.how != "map"
        ]
        order = [source.number for _, source in pairs]
        if order == sorted(order) or all(goal.named and source.named for goal, source in pairs):
            continue
        names = enumerate_some([goal.label for goal, _ in pairs], 4)
        lines = " ".join(f"--map {source.number}={goal.number}" for goal, source in pairs[:_SHOWN])
        raise GraftRefused(
            f"{names} have equal shapes and lie in another order in the donor, whose numbers do not say which is "
            f"which: settle it with {lines} (the donor's place = the target's), by what the two programs hand over"
        )
