"""Subclasses of torch.Tensor in the state of an optimizer: what they stand for."""

from __future__ import annotations

from typing import TypeGuard

from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.references import FileRange, Inline, Quantized, TensorRef

_IN_FEW_BITS = ("OptimState4bit", "OptimState8bit", "OptimStateFp8")
"""torchao's, which keep moments in blocks."""


def tensor_of(node: Node) -> TensorRef | None:
    """A tensor; of a subclass, what it stands for."""
    if isinstance(node, TensorRef):
        return node
    if isinstance(node, Thing) and node.args and isinstance(node.args[0], TensorRef):
        ref = node.args[0]
        return ref if ref.location is not None else ref.at(_quantized(node))
    return None


def _quantized(node: Thing) -> Quantized | None:
    if node.name.rpartition(".")[2] not in _IN_FEW_BITS:
        return None
    codes, scale, table = (node.fields.get(name) for name in ("codes", "scale", "qmap"))
    if not (_is_stored(codes) and _is_stored(scale) and (table is None or _is_stored(table))):
        return None
    return Quantized(codes, scale, table)


def _is_stored(node: Node) -> TypeGuard[TensorRef]:
    """Whether it has no more elements than the file has bytes: it is no view that repeats a few."""
    return isinstance(node, TensorRef) and isinstance(node.location, (FileRange, Inline))
