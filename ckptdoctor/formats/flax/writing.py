"""A chain of optax in a msgpack document of flax: everything else in it stays as it is, byte for byte."""

from __future__ import annotations

from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.msgpack_writing import Value, exchange
from ckptdoctor.containers.tensors.values import read_scalar
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.contract import Written
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.references import TreeLeaf
from ckptdoctor.state import Generation, TrainingState


def program(_state: TrainingState) -> Generation:
    """The optimizers of programs that save with flax."""
    return Generation.OPTAX


def check(optimizer: PlannedOptimizer, target: str) -> None:
    """Raises what `write` would, before anything is written.

    Raises:
        GraftRefused: The optimizer is no chain of optax.
    """
    if not optimizer.tree:
        raise GraftRefused("the target is a tree of a JAX program, whose optimizers are chains of optax", target)


def write(optimizer: PlannedOptimizer, target: str, output: str, *, progress: Progress | None = None) -> Written:
    """Writes a document with this chain.

    Args:
        optimizer: The chain.
        target: The document that is completed.
        output: The file that is written.
        progress: Told how many bytes were written.

    Raises:
        GraftRefused: The optimizer is no chain of optax.
        UnreadableArtifact: An input is corrupt.
    """
    check(optimizer, target)
    root = _root(optimizer)
    own = [leaf for leaf in optimizer.tree if leaf.path[: len(root)] == root]
    values: dict[tuple[str, ...], Value] = {root: _nested(own, len(root))}
    for leaf in optimizer.tree:
        if leaf.path[: len(root)] != root and leaf.tensor is not None:
            values[leaf.path] = _number(leaf)
    with open(create(output), "wb") as stream:
        sizes = exchange(target, stream, values)
    if progress is not None:
        progress(sizes.new + sizes.copied)
    call = "restore it by flax.serialization.from_bytes(target, data) with a target of the program's own optimizer"
    return Written((call,), sizes.new, sizes.copied)


def _root(optimizer: PlannedOptimizer) -> tuple[str, ...]:
    for leaf in optimizer.tree:
        for end in range(1, len(leaf.path) + 1):
            if "/".join(leaf.path[:end]) == optimizer.name:
                return leaf.path[:end]
    raise AssertionError(optimizer.name)


def _nested(leaves: list[TreeLeaf], depth: int) -> Value:
    """The leaves as maps; an empty node is an empty map."""
    if len(leaves) == 1 and len(leaves[0].path) == depth:
        return leaves[0].tensor if leaves[0].tensor is not None else {}
    below: dict[str, list[TreeLeaf]] = {}
    for leaf in leaves:
        below.setdefault(leaf.path[depth], []).append(leaf)
    return {name: _nested(each, depth + 1) for name, each in below.items()}


def _number(leaf: TreeLeaf) -> Value:
    """The program's count: a Python number where JAX would have no such type."""
    assert leaf.tensor is not None  # noqa: S101 - of a count that is set
    value = read_scalar(leaf.tensor) if leaf.tensor.dtype == "int64" and leaf.tensor.shape == () else None
    return value if isinstance(value, int) else leaf.tensor
