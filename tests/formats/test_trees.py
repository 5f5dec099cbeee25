"""Trees of arrays as training state."""

from __future__ import annotations

from ckptdoctor.formats.trees import state_of
from ckptdoctor.references import Inline, TensorRef, TreeLeaf
from ckptdoctor.state import Format, Producer


def _leaf(path: str, *shape: int) -> TreeLeaf:
    return TreeLeaf(tuple(path.split("/")), TensorRef(path, "float32", shape, Inline(b"")))


def test_state_alone() -> None:
    """What slots belong to are variables, though their values are elsewhere."""
    count = TreeLeaf(("0", "count"), TensorRef("0/count", "int32", (), Inline((7).to_bytes(4, "little"))))
    leaves = [count, *(_leaf(f"0/{slot}/{name}", 3, 2) for slot in ("mu", "nu") for name in ("a/w", "b/w"))]
    state = state_of("p", Format.FLAX_MSGPACK, leaves, Producer("jax"))
    assert {slot.variable for slot in state.optimizers[0].slots} == {"a/w", "b/w"}
    assert [(each.path, each.tensor.shape, each.tensor.place) for each in state.variables] == [
        ("a/w", (3, 2), None),
        ("b/w", (3, 2), None),
    ]
