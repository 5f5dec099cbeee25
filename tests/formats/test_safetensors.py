"""Slots that stand below their parameters in a file of safetensors, as programs of MLX and of PyTorch name them."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

import ckptdoctor
from ckptdoctor.state import OptimizerState, Status, TrainingState


def written(path: Path, *names: str, step: int | None = None) -> TrainingState:
    """What is read of a file with these names, four zeros each."""
    header: dict[str, object] = {
        name: {"dtype": "F32", "shape": [4], "data_offsets": [16 * at, 16 * at + 16]} for at, name in enumerate(names)
    }
    data = bytes(16 * len(names))
    if step is not None:
        header["step"] = {"dtype": "U64", "shape": [], "data_offsets": [len(data), len(data) + 8]}
        data += struct.pack("<Q", step)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    (found,) = ckptdoctor.inspect(path)
    assert found.state is not None
    return found.state


def only(state: TrainingState) -> OptimizerState:
    """The one optimizer."""
    (optimizer,) = state.optimizers
    return optimizer


def test_without_a_count(tmp_path: Path) -> None:
    """Moments by name are state, of which the count is lost; not weights of a model."""
    path = tmp_path / "opt.safetensors"
    state = written(path, "fc.weight.exp_avg", "fc.weight.exp_avg_sq", "fc.bias.exp_avg", "fc.bias.exp_avg_sq")
    found = only(state)
    assert (found.class_name, found.iterations, found.class_inferred) == ("Adam", None, True)
    assert {"AdamW", "NAdam", "RAdam"} == set(found.class_candidates)
    assert {each.variable for each in found.slots} == {"fc.weight", "fc.bias"}
    assert state.producer.framework is None
    (examined,) = ckptdoctor.inspect(path)
    assert (examined.status, examined.findings[0].code) == (Status.PARTIAL, "S002")


def test_with_a_count(tmp_path: Path) -> None:
    """MLX' own names need one: alone they might be anything."""
    names = ("fc.weight.m", "fc.weight.v")
    found = written(tmp_path / "mlx.safetensors", *names, step=7)
    assert (only(found).iterations, found.producer.framework) == (7, "mlx")
    assert not written(tmp_path / "weights.safetensors", *names).optimizers


@pytest.mark.parametrize("weight", ["fc.weight", "weight"])
def test_among_weights(tmp_path: Path, weight: str) -> None:
    """A model that calls one of its own weights so is a model."""
    assert not written(tmp_path / "model.safetensors", weight, "norm.exp_avg").optimizers
