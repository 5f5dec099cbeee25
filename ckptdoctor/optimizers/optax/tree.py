"""A tree of arrays, taken apart: which of them are parameters, which an optimizer's state, which are counts.

Names and structure alone tell. A state's path ends in the path of its parameter, and the field before that says what it
is: `opt_state/1/0/mu/Dense_0/kernel`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from ckptdoctor.containers.tensors.dtypes import INTEGRAL
from ckptdoctor.containers.tensors.values import chunks, read_scalar
from ckptdoctor.optimizers.inference import count_of
from ckptdoctor.optimizers.optax.states import SLOT_FIELDS
from ckptdoctor.references import TensorRef, TreeLeaf
from ckptdoctor.state import ModelVariable, Scalar

Path = tuple[str, ...]
Leaf = TreeLeaf

_STATE = re.compile(r"(?:.*[_.-])?opt(?:im(?:izer)?)?(?:s|_?states?|_?vars|_variables)?(?:[_.-].*)?\Z")
"""How trees call an optimizer's state: opt_state, optimizer, optimizer_state, gen_opt_state, opt_state_d."""
_PARAMETERS = ("params", "parameters", "target", "model", "variables", "weights", "params_ema")
_UNTRAINED = frozenset({"batch_stats", "model_state", "mutable", "non_trainable"})
_STEPS = frozenset({"step", "steps", "global_step", "epoch", "epochs", "iteration", "iterations", "num_steps"})
_WRAPPED = frozenset({"value", "raw_value"})
"""What NNX puts behind every path."""
MOST_PARTS = 64
_MOST_DEVICES = 4096


class StateLeaf(NamedTuple):
    """A leaf of an optimizer's state.

    Attributes:
        node: The path of the transformation that it belongs to, from the state's root.
        field: Its field.
        variable: Its parameter; None for what belongs to none.
        leaf: The leaf.
    """

    node: Path
    field: str
    variable: str | None
    leaf: Leaf


class Found(NamedTuple):
    """A tree, taken apart.

    Attributes:
        variables: The model's.
        states: Root of each optimizer's state → its leaves.
        counters: Steps and epochs that are no optimizer's.
        counter_tensors: What they are stored in.
        others: Everything else.
    """

    variables: tuple[ModelVariable, ...]
    states: Mapping[Path, tuple[StateLeaf, ...]]
    counters: Mapping[str, int]
    counter_tensors: Mapping[str, TensorRef]
    others: tuple[TensorRef, ...]


def take_apart(leaves: Sequence[Leaf]) -> Found:
    """Finds parameters and optimizers in a tree."""
    leaves = _unwrapped(leaves)
    inside: dict[Path, list[Leaf]] = {root: [] for root in _roots(leaves)}
    outside: list[Leaf] = []
    lengths = sorted({len(root) for root in inside})
    for leaf in leaves:
        for end in lengths:
            if leaf.path[:end] in inside:
                inside[leaf.path[:end]].append(leaf)
                break
        else:
            outside.append(leaf)
    bases = {root: _parameters(outside, root, own) for root, own in inside.items()}
    if not any(bases.values()) and () not in bases.values():
        bases[()] = _weights_alone(outside)
    named, rest = _named(outside, {base for base in bases.values() if base is not None})
    states: dict[Path, tuple[StateLeaf, ...]] = {}
    for root, own in inside.items():
        base = bases[root]
        mine = {} if base is None else {path[len(base) :]: named[path][0] for path in named if _is_below(path, base)}
        states[root] = tuple([_state_leaf(leaf, root, mine) for leaf in own])
    trained = {each.variable for own in states.values() for each in own if each.variable is not None}
    variables = [ModelVariable(name, ref, True if name in trained else None) for name, ref in named.values()]
    untrained = [leaf for leaf in rest if leaf.tensor is not None and _UNTRAINED.intersection(leaf.path)]
    variables += [
        ModelVariable("/".join(leaf.path), leaf.tensor, trainable=False)
        for leaf in untrained
        if leaf.tensor is not None
    ]
    counters = _counters(rest)
    return Found(
        _unique(variables),
        states,
        {name: value for name, (value, _) in counters.items()},
        {name: ref for name, (_, ref) in counters.items()},
        tuple(
            leaf.tensor
            for leaf in rest
            if leaf.tensor is not None and leaf not in untrained and "/".join(leaf.path) not in counters
        ),
    )


def _named(outside: Sequence[Leaf], bases: set[Path]) -> tuple[dict[Path, tuple[str, TensorRef]], list[Leaf]]:
    """Path of each parameter → its name and array; and what is none. Below a single base names are those below it."""
    named: dict[Path, tuple[str, TensorRef]] = {}
    rest: list[Leaf] = []
    for leaf in outside:
        path = leaf.path
        base = next(filter(partial(_is_below, path), bases), None)
        if base is None or leaf.tensor is None:
            rest.append(leaf)
        else:
            named[path] = ("/".join(path[len(base) :] if len(bases) == 1 else path), leaf.tensor)
    return named, rest


def _unwrapped(leaves: Sequence[Leaf]) -> Sequence[Leaf]:
    """Without what NNX puts behind every path, if it is behind every one."""
    held = [leaf for leaf in leaves if leaf.tensor is not None and leaf.tensor.shape]
    if not held or not all(leaf.path[-1:] and leaf.path[-1] in _WRAPPED for leaf in held):
        return leaves
    return [
        leaf._replace(path=leaf.path[:-1]) if leaf.path[-1:] and leaf.path[-1] in _WRAPPED else leaf for leaf in leaves
    ]


def _roots(leaves: Iterable[Leaf]) -> list[Path]:
    """Where optimizers' states begin: at the first key that is called so."""
    found: dict[Path, None] = {}
    keys = set(chain.from_iterable([leaf.path[:MOST_PARTS] for leaf in leaves]))
    called = {key for key in keys if "opt" in key and _STATE.match(key)}
    for leaf in leaves:
        if not called.isdisjoint(leaf.path[:MOST_PARTS]):
            own = next(at for at, key in enumerate(leaf.path) if key in called)
            found[leaf.path[: own + 1]] = None
    return list(found) or ([()] if _is_state(leaves) else [])


def _is_state(leaves: Iterable[Leaf]) -> bool:
    """Whether a tree is a state alone: a chain, whose places are numbers, with fields that states have."""
    paths = [leaf.path for leaf in leaves]
    return (
        bool(paths)
        and all(path[:1] and path[0].isdigit() for path in paths)
        and any(SLOT_FIELDS.keys() & set(path[1:]) for path in paths)
    )


def _is_below(path: Path, base: Path) -> bool:
    """Whether a path begins so and goes on."""
    return len(path) > len(base) and path[: len(base)] == base


def _parameters(outside: Sequence[Leaf], root: Path, state: Sequence[Leaf]) -> Path | None:
    """Where the parameters of a state begin: below which paths end as those of the state do.

    Of several copies that is meant whose shapes are the same, which is called as parameters are, and as the state.
    """
    ends: dict[Path, set[tuple[int, ...]]] = {}
    alone: dict[tuple[int, ...], set[tuple[int, ...]]] = {}  # most ends have one shape, and all of a shape share it
    for path, tensor, *_ in state:
        shape = tensor.shape if tensor is not None else ()
        for at in range(max(len(root) + 1, len(path) - MOST_PARTS), len(path)):
            end = path[at:]
            shapes = ends.get(end)
            if shapes is None:
                ends[end] = alone.setdefault(shape, {shape})
            elif shape not in shapes:
                ends[end] = shapes = shapes | {shape} if len(shapes) == 1 else shapes
                shapes.add(shape)
    found: list[Path] = []
    same: Counter[Path] = Counter()
    for path, tensor, *_ in outside:
        for at in range(min(len(path), MOST_PARTS)) if tensor is not None else ():
            shapes = ends.get(path[at:])
            if shapes is not None and tensor is not None:
                found.append(path[:at])
                same[path[:at]] += tensor.shape in shapes
    fits = Counter(found)
    best = max(((same[base], count) for base, count in fits.items()), default=None)
    order = {name: number for number, name in enumerate(_PARAMETERS)}

    def merit(base: Path) -> tuple[int, int, Path]:
        rank = order.get(base[-1], len(order)) if base else len(order)
        return -_alike(base, root), rank, base

    return min((base for base, count in fits.items() if (same[base], count) == best), key=merit, default=None)


def _alike(base: Path, root: Path) -> int:
    """How much two paths have in common: `gen/params` with `gen/opt_state`, `params_d` with `opt_state_d`."""
    one, other = "/".join(base), "/".join(root)
    same = (
        [a == b for a, b in zip(one, other, strict=False)],
        [a == b for a, b in zip(one[::-1], other[::-1], strict=False)],
    )
    return sum((*each, False).index(False) for each in same)


def _weights_alone(leaves: Sequence[Leaf]) -> Path | None:
    """Where the parameters begin in a tree without a state: where they are called so, else at its root."""
    arrays = [leaf for leaf in leaves if leaf.tensor is not None and leaf.tensor.shape]
    order = {name: number for number, name in enumerate(_PARAMETERS)}
    bases = {leaf.path[:end] for leaf in arrays for end in range(1, min(len(leaf.path), 8))}
    called = [base for base in bases if base[-1] in order]
    if called:
        return min(called, key=lambda base: (order[base[-1]], len(base), base))
    return () if any(leaf.tensor is not None and "float" in leaf.tensor.dtype for leaf in arrays) else None


def _state_leaf(leaf: Leaf, root: Path, named: Mapping[Path, str]) -> StateLeaf:
    path = leaf.path[len(root) :]
    for start in range(max(1, len(path) - MOST_PARTS), len(path)):  # the longest end of it that is a parameter's path
        variable = named.get(path[start:])
        if variable is not None and not path[start - 1].isdigit():
            return StateLeaf(path[: start - 1], path[start - 1], variable, leaf)
    if len(path) > 1 and path[-1].isdigit():  # SM3 keeps a vector for each axis
        above = _state_leaf(leaf._replace(path=leaf.path[:-1]), root, named)
        if above.variable is not None:
            return StateLeaf(above.node, f"{above.field}/{path[-1]}", None, leaf)
    if not named and leaf.tensor is not None:
        at = next((at for at, key in enumerate(path) if key in SLOT_FIELDS and at + 1 < len(path)), None)
        if at is not None:  # the parameters are elsewhere: what follows the field is the name of one
            return StateLeaf(path[:at], path[at], "/".join(path[at + 1 :]), leaf)
    return StateLeaf(path[:-1], path[-1] if path else "", None, leaf)


def _counters(rest: Iterable[Leaf]) -> dict[str, tuple[int, TensorRef]]:
    found: dict[str, tuple[int, TensorRef]] = {}
    for leaf in rest:
        if leaf.tensor is not None and leaf.path and leaf.path[-1] in _STEPS:
            count = count_in(leaf.tensor)
            if count is not None:
                found["/".join(leaf.path)] = (count, leaf.tensor)
    return found


def count_in(ref: TensorRef | None) -> int | None:
    """The count that a scalar holds, or each element of a vector: a state that `pmap` copied to every device."""
    if ref is None or len(ref.shape) != 1 or ref.dtype not in INTEGRAL or not 0 < ref.size <= _MOST_DEVICES:
        return count_of(value_of(ref))
    values = {int(each) for block in chunks(ref) for each in block} if ref.location is not None else set()
    return values.pop() if len(values) == 1 else None


def value_of(ref: TensorRef | None) -> Scalar | None:
    """The number of a scalar, or the one that every replica of it has (`flax.jax_utils.replicate`); else None."""
    if ref is None or ref.location is None or (ref.shape and not _is_replicated(ref)):
        return None
    if ref.shape == ():
        return read_scalar(ref)
    seen = {each.item() for part in chunks(ref) for each in part}
    return seen.pop() if len(seen) == 1 else None


def _is_replicated(ref: TensorRef) -> bool:
    return len(ref.shape) == 1 and 0 < ref.size <= _MOST_DEVICES and ref.dtype in INTEGRAL


def _unique(variables: Sequence[ModelVariable]) -> tuple[ModelVariable, ...]:
    used: Counter[str] = Counter()
    found: list[ModelVariable] = []
    for each in variables:
        used[each.path] += 1
        found.append(each if used[each.path] == 1 else each._replace(path=f"{each.path}#{used[each.path]}"))
    return tuple(found)
