"""Optimizers that were saved alone, with the weights that the user names for them."""

from __future__ import annotations

from pathlib import Path

import pytest

import ckptdoctor
from ckptdoctor.errors import UsageProblem


@pytest.mark.parametrize(
    ("optimizer", "model"),
    [
        ("optimizer-alone.pt", "weights.pt"),
        ("optimizer-alone.pt", "weights-legacy.pt"),
        ("optimizer-alone.pt", "dcp-weights"),
        ("trainer/checkpoint-7/optimizer.pt", "trainer/checkpoint-7"),
        ("trainer/checkpoint-7/optimizer.pt", "trainer/checkpoint-7/model.safetensors"),
    ],
)
def test_with_its_weights(museum: Path, optimizer: str, model: str) -> None:
    """Each parameter's state is told by the name of its variable, and has that variable's shape."""
    folder = museum / "torch2.13"
    (alone,) = ckptdoctor.inspect(folder / optimizer)
    (found,) = ckptdoctor.inspect(folder / optimizer, model=folder / model)
    assert found.state is not None
    assert alone.state is not None
    shapes = {each.path: each.tensor.shape for each in found.state.variables}
    (held,) = found.optimizers
    assert len(held.slots) == len(alone.optimizers[0].slots) > 4
    assert all(shapes[each.variable or ""] == each.tensor.shape for each in held.slots)
    assert not {"S015", "S016"} & {each.code for each in found.findings}


def test_of_another_model(museum: Path) -> None:
    """State of shapes that the named weights do not have is told."""
    folder = museum / "torch2.13"
    (found,) = ckptdoctor.inspect(folder / "trainer/checkpoint-7/optimizer.pt", model=folder / "weights.pt")
    assert {"S015", "S016"} & {each.code for each in found.findings}


@pytest.mark.parametrize(
    ("artifact", "model", "says"),
    [
        ("torch2.13/adam.pt", "torch2.13/weights.pt", "has a model of its own"),
        ("torch2.13/weights.pt", "torch2.13/weights.pt", "has a model of its own"),
        ("torch2.13/dcp-names", "torch2.13/weights.pt", "for an optimizer that PyTorch saved alone"),
        ("torch2.13/optimizer-alone.pt", "torch2.13/optimizer-alone.pt", "has no weights"),
        ("torch2.13/optimizer-alone.pt", "torch2.13/nothing.pt", "nothing.pt: no such file"),
    ],
)
def test_refused(museum: Path, artifact: str, model: str, says: str) -> None:
    """What needs no model, and what is none, is refused in a sentence."""
    with pytest.raises(UsageProblem, match=says):
        ckptdoctor.inspect(museum / artifact, model=museum / model)
