"""Grafts into the trees of JAX programs: a chain of optax is taken as it is, and all of its counts agree.

optax stores no class and no setting: what a state means is known to the program alone. So between chains nothing is
translated, and another framework's state goes only into a chain that the program has built.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.crossing.to_optax import into_chain
from ckptdoctor.diagnosis.status import is_possible
from ckptdoctor.errors import GraftRefused
from ckptdoctor.grafting.options import PARTS, Options, wishes_of
from ckptdoctor.grafting.plan import Plan
from ckptdoctor.grafting.planning.names import own_optimizer
from ckptdoctor.matching.sides import choose
from ckptdoctor.optimizers.catalogue import Layout, SlotKind
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.keras.config import Settings
from ckptdoctor.optimizers.optax.states import COUNTS, NOT_STEPS, OF_CHAINS
from ckptdoctor.optimizers.optax.tree import count_in
from ckptdoctor.optimizers.planned import PlannedOptimizer, PlannedSlot
from ckptdoctor.references import Inline, TensorRef, TreeLeaf
from ckptdoctor.state import OptimizerState, TrainingState
from ckptdoctor.words import enumerate_some

_ALL = COUNTS | {"gradient_step"}
"""Fields that count an optimizer's steps."""
_AHEAD = "step_count"
"""The one of a schedule-free optimizer, which begins with 1."""
_BESIDE, _BEGUN = "step", "mini_step"
_STATE = "opt_state"
_UNTOLD = (
    "optax stores neither class nor settings: the program that restores this has to build the same chain as the one "
    "that saved the state"
)
_INTEGERS = {"int32": "<i", "int64": "<q", "uint32": "<I", "uint64": "<Q", "int16": "<h", "uint8": "<B"}


class _Source(NamedTuple):
    """Where a state comes from: the artifact, its optimizer, where that begins, and its leaves."""

    state: TrainingState
    optimizer: OptimizerState
    root: tuple[str, ...]
    leaves: tuple[TreeLeaf, ...]


def chain_plan(donor: TrainingState | None, target: TrainingState, output: str, options: Options) -> Plan:
    """Plans a graft into the tree of a JAX program.

    Args:
        donor: Where the state comes from; None if only the counts are set.
        target: The artifact that is completed.
        output: The path to write.
        options: What is asked for.

    Raises:
        GraftRefused: The donor's state is none of optax, or not of this model, or of another chain.
        Unmatchable: There are several optimizers and nothing says which.
    """
    own = own_optimizer(target, donor, options)
    mine = None if own is None or not own.has_state else _source(target, own)
    theirs = None if donor is None else choose(donor, options.donor_optimizer, "the donor")
    source: _Source | None
    if mine is not None and donor is not None and theirs is not None and not dialect(theirs.generation).chained:
        source, options = _translated(donor, theirs, mine, options)
    else:
        _require_whole(options)
        source = mine if donor is None else _donor(donor, options)
    if source is None:
        raise GraftRefused("the target holds no optimizer state, so there is no count to set: give a donor with --from")
    if donor is None and options.iterations is None:
        raise GraftRefused("there is neither a donor nor a count to set: give --from DONOR or --iterations N")
    if mine is not None:
        _require_same_chain(source, mine)
    root = mine.root if mine is not None else _place(source, target)
    count, tree = _counted(source, options.iterations)
    if source.optimizer.iterations is None and options.iterations is None:  # of a chain that keeps no count
        known = _leaf_at(source.state, (*source.root[:-1], _BESIDE))
        count = (count_in(known.tensor) or 0) if known is not None else 0
    slots = tuple(_slots(source, target, own=donor is None))
    moved = [_moved(leaf, source.root, root) for leaf in tree]
    beside = _step(source, target, root, options.iterations)
    name = source.optimizer.class_name or "a chain of optax"
    planned = PlannedOptimizer(
        name="/".join(root),
        class_name=name,
        generation=OF_CHAINS,
        layout=Layout(name, OF_CHAINS, ()),
        settings=Settings(),
        hyperparameters=source.optimizer.hyperparameters,
        schedule=None,
        iterations=count,
        singles={},
        trained=tuple(dict.fromkeys(slot.variable for slot in slots)),
        slots=slots,
        tree=tuple(_with_indices(moved, target.leaves, len(root))) + tuple(beside),
    )
    return Plan(
        donor=None if donor is None else donor.path,
        target=target.path,
        output=output,
        format=target.format,
        optimizer=planned,
        warnings=(_UNTOLD,),
        link=options.link,
        partial=options.partial,
    )


def _require_whole(options: Options) -> None:
    """Refuses what a chain has no place for.

    Raises:
        GraftRefused: It was asked for.
    """
    if options.only != frozenset(PARTS):
        raise GraftRefused("a chain of optax is taken whole, with its counts: leave --only out")
    if options.learning_rate is not None or options.hyperparameters or options.optimizer_class:
        raise GraftRefused(
            "optax stores neither class nor settings, so there is no place for them: set them in the program"
        )
    if options.generation is not None:
        raise GraftRefused("the target's program is of JAX, whose optimizers are optax': leave --as out")
    if options.mapping:
        raise GraftRefused("variables of a chain go by their paths in the state itself: leave --map out")


def _donor(donor: TrainingState, options: Options) -> _Source:
    theirs = choose(donor, options.donor_optimizer, "the donor")
    if theirs is None or not theirs.has_state:
        raise GraftRefused("the donor holds no optimizer state", donor.path)
    if not dialect(theirs.generation).chained:
        raise GraftRefused(
            f"the target is a tree of a JAX program, whose optimizer is a chain of optax, and the donor's "
            f"{theirs.class_name or 'optimizer'} is of {dialect(theirs.generation).title or 'another framework'}: "
            "nothing in them tells how that chain is built; graft into a checkpoint whose program has built it, "
            "or from one of the program",
            donor.path,
        )
    source = _source(donor, theirs)
    lost = ["/".join(leaf.path) for leaf in source.leaves if _is_lost(leaf)]
    if lost or theirs.missing or not source.leaves:
        names = lost or [f"{each.name} of {each.variable}" for each in theirs.missing]
        raise GraftRefused(f"the donor's state is not whole: {enumerate_some(names, 4)} is not there", donor.path)
    return source


def _translated(
    donor: TrainingState, theirs: OptimizerState, mine: _Source, options: Options
) -> tuple[_Source, Options]:
    """The target's own chain with the state of another framework's optimizer, and the request with its count.

    Raises:
        GraftRefused: There is no translation, or a count is missing.
    """
    _require_whole(options._replace(mapping={}, learning_rate=None))
    if not theirs.has_state:
        raise GraftRefused("the donor holds no optimizer state", donor.path)
    found = into_chain(donor, theirs, mine.state, mine.optimizer, wishes_of(options))
    counts = mine.optimizer.iterations is not None
    if counts and found.iterations is None:
        raise GraftRefused("the donor holds no iteration count: set it with --iterations N", donor.path)

    def exchanged(ref: TensorRef) -> TensorRef:
        value = found.values.get(ref.key)
        return ref if value is None else ref.at(value.location)

    leaves = tuple(
        leaf if leaf.tensor is None else leaf._replace(tensor=exchanged(leaf.tensor)) for leaf in mine.leaves
    )
    slots = tuple(slot._replace(tensor=exchanged(slot.tensor)) for slot in mine.optimizer.slots)
    state = mine.state
    beside = _leaf_at(state, (*mine.root[:-1], _BESIDE))
    if not counts and beside is not None and beside.tensor is not None and found.iterations is not None:
        step = beside._replace(tensor=_number(beside.tensor, found.iterations, _BESIDE))
        state = state._replace(leaves=tuple(step if each is beside else each for each in state.leaves))
    source = mine._replace(state=state, optimizer=mine.optimizer._replace(slots=slots), leaves=leaves)
    return source, options._replace(iterations=found.iterations if counts else None, mapping={}, learning_rate=None)


def _is_lost(leaf: TreeLeaf) -> bool:
    return not leaf.is_empty and (leaf.tensor is None or leaf.tensor.location is None)


def _source(state: TrainingState, optimizer: OptimizerState) -> _Source:
    root = next((each for leaf in state.leaves if (each := _root_in(leaf.path, optimizer.name)) is not None), ())
    leaves = tuple(leaf for leaf in state.leaves if leaf.path[: len(root)] == root)
    return _Source(state, optimizer, root, leaves)


def _root_in(path: tuple[str, ...], name: str) -> tuple[str, ...] | None:
    return next((path[:end] for end in range(1, len(path) + 1) if "/".join(path[:end]) == name), None)


def _require_same_chain(source: _Source, mine: _Source) -> None:
    """Refuses a state of other transformations than those that the target has.

    Raises:
        GraftRefused: They differ.
    """
    theirs, ours = (
        {leaf.path[len(each.root) :] for leaf in each.leaves if leaf.tensor is not None} for each in (source, mine)
    )
    for side, only in (("donor", theirs - ours), ("target", ours - theirs)):
        if only:
            names = enumerate_some(sorted("/".join(path) for path in only), 4)
            raise GraftRefused(f"only the {side}'s chain has {names}: they are not the same optimizer")


def _place(source: _Source, target: TrainingState) -> tuple[str, ...]:
    """Where a state goes in a tree that has none: beside the parameters, called as in the donor."""
    base = _base(target)
    if not base:
        raise GraftRefused(
            "the target's parameters are its whole tree, in which there is no place beside them: save them as "
            "{'params': params}, and graft into that",
            target.path,
        )
    root = (*base[:-1], source.root[-1] if source.root else _STATE)
    if any(leaf.path[: len(root)] == root and leaf.tensor is not None for leaf in target.leaves):
        raise GraftRefused(f"the target has {'/'.join(root)} already, which is no state of optax", target.path)
    return root


def _base(state: TrainingState) -> tuple[str, ...] | None:
    """Where the parameters begin."""
    known = {variable.tensor.key: variable.path for variable in state.variables if variable.trainable is not False}
    for leaf in state.leaves:
        path = known.get(leaf.tensor.key) if leaf.tensor is not None else None
        if path is not None:
            for end in range(len(leaf.path)):
                rest = "/".join(leaf.path[end:])
                if rest == path or rest.startswith(f"{path}/"):
                    return leaf.path[:end]
    return None


# ------------------------------------------------------------------------------------------------------------- slots


def _slots(source: _Source, target: TrainingState, *, own: bool) -> Iterator[PlannedSlot]:
    """The state's slots; those of one kind twice for a variable are among the leaves alone.

    Raises:
        GraftRefused: They are not of this model.
    """
    here = {variable.path: variable.tensor for variable in target.variables}
    there = {variable.path: variable.tensor for variable in source.state.variables}
    owners = dict.fromkeys(slot.variable for slot in source.optimizer.slots if slot.variable is not None)
    absent = [name for name in owners if name not in here]
    new = [each.path for each in target.variables if each.trainable is not False and there and each.path not in there]
    if absent or new:
        whose, names = ("target", absent) if absent else ("donor", new)
        raise GraftRefused(
            f"{enumerate_some(names, 4)} is not among the {whose}'s variables: the state is of another model, or its "
            "program has renamed layers",
            source.state.path,
        )
    for name in owners:
        if name in there and there[name].shape != here[name].shape:
            raise GraftRefused(
                f"{name} has the shape {list(there[name].shape)} in the donor and {list(here[name].shape)} in the "
                "target: the state is of another model",
                source.state.path,
            )
    seen: set[tuple[str, object]] = set()
    for slot in source.optimizer.slots:
        if slot.variable is None or (slot.variable, slot.role) in seen:
            continue
        seen.add((slot.variable, slot.role))
        kind, ref = SlotKind(slot.name, slot.role), slot.tensor
        yield PlannedSlot(
            kind, slot.variable, ref.shape, ref.dtype, ref, 1.0, "", slot.variable, "own" if own else "path"
        )


# ------------------------------------------------------------------------------------------------------------ counts


def _counted(source: _Source, asked: int | None) -> tuple[int, list[TreeLeaf]]:
    """The count of the result, and the leaves with all of their counts set.

    Raises:
        GraftRefused: There is no count to set, or it cannot be stored.
    """
    stored = source.optimizer.iterations
    if asked is None:
        if stored is not None and not is_possible(stored):
            raise GraftRefused(f"the count is {stored:,}, which no training reaches: set it with --iterations N")
        return stored or 0, list(source.leaves)
    fields: dict[tuple[str, ...], set[str]] = {}
    for leaf in source.leaves:
        fields.setdefault(leaf.path[:-1], set()).add(leaf.path[-1])
    found: list[TreeLeaf] = []
    counts = 0
    for leaf in source.leaves:
        field = leaf.path[-1] if len(leaf.path) > len(source.root) else ""
        steps = field in _ALL or field == _AHEAD
        if not steps or fields[leaf.path[:-1]] & NOT_STEPS or count_in(leaf.tensor) is None or leaf.tensor is None:
            found.append(leaf)
            continue
        counts += 1
        found.append(leaf._replace(tensor=_number(leaf.tensor, asked + (field == _AHEAD), "/".join(leaf.path))))
    if not counts:
        raise GraftRefused("this chain keeps no count, so there is none to set: leave --iterations out")
    return asked, found


def _number(ref: TensorRef, value: int, name: str) -> TensorRef:
    """A count with another value, in its type; on every device, where it is replicated."""
    try:
        packed = struct.pack(_INTEGERS[ref.dtype], value)
    except (KeyError, struct.error) as error:
        raise GraftRefused(f"{name} is to be {value:,}, which its type ({ref.dtype}) cannot hold") from error
    return ref.at(Inline(packed * ref.size))


def _step(source: _Source, target: TrainingState, root: tuple[str, ...], asked: int | None) -> list[TreeLeaf]:
    """The program's own count beside the state: as many times the optimizer's as in the donor (`MultiSteps`)."""
    theirs, ours = _leaf_at(source.state, (*source.root[:-1], _BESIDE)), _leaf_at(target, (*root[:-1], _BESIDE))
    place = ours or theirs
    if place is None or place.tensor is None or not source.root:
        return []
    count, steps = source.optimizer.iterations, count_in(theirs.tensor) if theirs is not None else None
    value = steps
    if asked is not None:
        begun = next((count_in(leaf.tensor) or 0 for leaf in source.leaves if leaf.path[-1:] == (_BEGUN,)), 0)
        each, rest = divmod((steps or 0) - begun, count or 1)
        value = asked * each + begun if each > 0 and not rest else asked
    if value is None:
        return []
    path = (*root[:-1], _BESIDE)
    number = _number(place.tensor, value, "/".join(path))
    return [place._replace(path=path, tensor=number, indices=(False,) * len(path))]


def _leaf_at(state: TrainingState, path: tuple[str, ...]) -> TreeLeaf | None:
    return next((leaf for leaf in state.leaves if leaf.path == path and count_in(leaf.tensor) is not None), None)


# ----------------------------------------------------------------------------------------------------------- indices


def _moved(leaf: TreeLeaf, source: tuple[str, ...], root: tuple[str, ...]) -> TreeLeaf:
    indices = (*(False for _ in root), *leaf.indices[len(source) :]) if leaf.indices else ()
    return leaf._replace(path=(*root, *leaf.path[len(source) :]), indices=indices)


def _with_indices(leaves: Sequence[TreeLeaf], target: Sequence[TreeLeaf], depth: int) -> Iterator[TreeLeaf]:
    """Leaves that tell indices from names, as Orbax has them, where they come from a format that does not.

    Numbers are places in the chain; in what follows a field it is as in the target's parameters.
    """
    known = _ends(target)
    for leaf in leaves:
        if leaf.indices:
            yield leaf
            continue
        starts = range(depth, len(leaf.path))
        start, tail = next(((at, known[leaf.path[at:]]) for at in starts if leaf.path[at:] in known), (None, ()))
        front = leaf.path[:start]
        yield leaf._replace(indices=(*(at >= depth and key.isdigit() for at, key in enumerate(front)), *tail))


def _ends(leaves: Sequence[TreeLeaf]) -> Mapping[tuple[str, ...], tuple[bool, ...]]:
    """Ends of paths with two keys or more → which of them are indices."""
    found: dict[tuple[str, ...], tuple[bool, ...]] = {}
    for leaf in leaves:
        for start in range(max(len(leaf.path) - 1, 0)) if leaf.indices and leaf.tensor is not None else ():
            found.setdefault(leaf.path[start:], leaf.indices[start:])
    return found
