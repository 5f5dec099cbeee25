"""Small files and directories of PyTorch, made without torch."""

from __future__ import annotations

import os
import struct
from pathlib import Path

from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.torchfiles.writing.archive import create
from ckptdoctor.containers.torchfiles.writing.distributed import Added
from ckptdoctor.containers.torchfiles.writing.distributed import create as create_directory
from ckptdoctor.references import Inline, TensorRef

SHAPES = {"hidden.weight": (64, 32), "hidden.bias": (64,), "out.weight": (8, 64)}


def tensor(shape: tuple[int, ...], value: float) -> TensorRef:
    """A tensor of one number."""
    count = 1
    for extent in shape:
        count *= extent
    return TensorRef("made", "float32", shape, Inline(struct.pack("<f", value) * count))


def weights() -> dict[Key, Node]:
    """A model's state_dict."""
    return {name: tensor(shape, number + 0.5) for number, (name, shape) in enumerate(SHAPES.items())}


def adam(step: int) -> dict[Key, Node]:
    """Adam's state_dict of that model."""
    state: dict[Key, Node] = {
        number: {"step": tensor((), step), "exp_avg": tensor(shape, 0.25), "exp_avg_sq": tensor(shape, 0.125)}
        for number, shape in enumerate(SHAPES.values())
    }
    group: dict[Key, Node] = {
        "lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "amsgrad": False, "params": [0, 1, 2],
    }  # fmt: skip
    return {"state": state, "param_groups": [group]}


def files(folder: Path) -> None:
    """`donor.pt` at step 7, `weights.pt`, and `ranks`, a distributed checkpoint of weights."""
    create(str(folder / "donor.pt"), {"model": weights(), "optimizer": adam(7)})
    create(str(folder / "weights.pt"), {"model": weights(), "epoch": 3})
    os.mkdir(folder / "ranks")
    entries = {f"model.{name!s}": Added(("model", str(name)), each) for name, each in weights().items()}
    create_directory(str(folder / "ranks"), entries)
