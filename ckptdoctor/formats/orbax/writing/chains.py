"""A chain of optax in the tree of a JAX program: its leaves in the item that holds the parameters."""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.containers.zarrs.writing import NewArray
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.orbax.items import Item, Leaf
from ckptdoctor.formats.orbax.writing.documents import JAX, ItemEdit, NewLeaf
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TreeLeaf

_PYTHON = frozenset({"int64", "float64"})
"""Types of scalars that JAX has only where it is asked for them: they are Python numbers."""


def chain_edit(optimizer: PlannedOptimizer, items: Sequence[Item], target: str) -> tuple[str, ItemEdit]:
    """Puts a chain into the item that it is planned for; answers the item's name.

    Raises:
        GraftRefused: The target has no such item, or the optimizer is no chain.
    """
    if not optimizer.tree:
        raise GraftRefused("the target is a tree of a JAX program, whose optimizers are chains of optax", target)
    names = {item.name for item in items}
    wanted = {leaf.path[0] if names != {""} else "" for leaf in optimizer.tree}
    item = next((each for each in items if {each.name} == wanted), None)
    if item is None:
        raise GraftRefused(
            f"the target's items are {', '.join(sorted(names))}, and the state would be another one: save both as one "
            "tree, or exchange the item opt_state with Orbax",
            target,
        )
    depth = 1 if item.name else 0
    there = {leaf.path: leaf for leaf in item.leaves}
    by_jax = any(leaf.kind == JAX for leaf in item.leaves)
    owners = {slot.source.key: slot.variable for slot in optimizer.slots if slot.source is not None}
    add = tuple(_leaf(leaf, depth, there, owners, by_jax=by_jax) for leaf in optimizer.tree)
    root = f"{optimizer.name}/"
    gone = (path for path in there if f"{'/'.join((item.name, *path) if depth else path)}/".startswith(root))
    return item.name, ItemEdit(frozenset(gone), add, (tuple(optimizer.name.split("/"))[depth:],))


def _leaf(
    leaf: TreeLeaf, depth: int, there: dict[tuple[str, ...], Leaf], owners: dict[str, str], *, by_jax: bool
) -> NewLeaf:
    path, indices = leaf.path[depth:], leaf.indices[depth:]
    old, ref = there.get(path), leaf.tensor
    if ref is None:
        return NewLeaf(path, indices, "None", None)
    kind = JAX if by_jax else "np.ndarray"
    if ref.shape == () and by_jax and ref.dtype in _PYTHON:
        kind = "scalar"
    if old is not None and old.tensor is not None and old.tensor.dtype == ref.dtype:
        kind = old.kind or kind
    owner = owners.get(ref.key)
    like = next((".".join(each) for each, known in there.items() if _is(known, each, owner)), "") if owner else ""
    return NewLeaf(path, indices, kind, NewArray(".".join(path), ref.dtype, ref.shape, ref), like)


def _is(leaf: Leaf, path: tuple[str, ...], variable: str | None) -> bool:
    return leaf.tensor is not None and variable is not None and f"/{'/'.join(path)}".endswith(f"/{variable}")
