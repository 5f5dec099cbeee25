"""Pickles of JAX programs, which name the classes of optax' states: read without importing any of them."""

from __future__ import annotations

from ckptdoctor.containers.pickles.imports import Packages
from ckptdoctor.containers.pickles.reading import Node, Thing, load
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.formats.trees import leaves_of, state_of
from ckptdoctor.optimizers.optax.tuples import FIELDS
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Producer, TrainingState

PACKAGES = ("optax.", "flax.", "haiku.", "jax.", "chex.")
"""Their classes are containers of arrays."""


def read(path: str) -> TrainingState:
    """Reads a pickle.

    Raises:
        ForbiddenImport: It names something else.
    """
    roots = load(path, Packages(*(name.rstrip(".") for name in PACKAGES)))
    root = roots[0] if len(roots) == 1 else roots
    leaves = leaves_of(_plain(root))
    with kept_open():
        return state_of(path, Format.OPTIMIZER_DUMP, leaves, Producer("jax"))


def _plain(node: Node) -> Node:
    """The structure without classes: a named tuple as the dictionary of its fields."""
    if isinstance(node, TensorRef):
        return node
    if isinstance(node, Thing):
        fields = FIELDS.get(node.name.rpartition(".")[2])
        if fields is not None and len(node.args) <= len(fields):
            return {name: _plain(each) for name, each in zip(fields, node.args, strict=False)}
        if node.fields:
            return {name: _plain(each) for name, each in node.fields.items()}
        inner = node.args[0] if len(node.args) == 1 else list(node.args)
        return _plain(inner)
    if isinstance(node, dict):
        return {name: _plain(each) for name, each in node.items()}
    if isinstance(node, (list, tuple)):
        return [_plain(each) for each in node]
    return node
