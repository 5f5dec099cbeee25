"""What names of checkpoints tell: as the patterns of callbacks write them, and nothing where they are not sure."""

from __future__ import annotations

import pytest

from ckptdoctor.logged import Metric
from ckptdoctor.timeline.names import read_name


def _metric(name: str | None, value: float) -> Metric:
    return Metric(name, value, "name")


@pytest.mark.parametrize(
    ("name", "step", "epoch", "metric"),
    [
        ("epoch=3-val_loss=0.12.ckpt", None, 3, _metric("val_loss", 0.12)),
        ("epoch=3-step=400.ckpt", 400, 3, None),
        ("epoch=3-step=400-v1.ckpt", 400, 3, None),
        ("epoch=12-val/acc=9.5e-01.ckpt", None, 12, _metric("val/acc", 0.95)),
        ("model.03-0.12.keras", None, 3, _metric(None, 0.12)),
        ("weights.07-1.50.hdf5", None, 7, _metric(None, 1.5)),
        ("ep07.weights.h5", None, 7, None),
        ("cp-epoch_0012.keras", None, 12, None),
        ("model_val_acc_0.913.h5", None, None, _metric("val_acc", 0.913)),
        ("checkpoint-500", 500, None, None),
        ("step_00100.pt", 100, None, None),
        ("iter_20000.pth", 20000, None, None),
        ("ckpt-7", 7, None, None),
        ("epoch_12.pth", None, 12, None),
        ("last.ckpt", None, None, None),
        ("resnet50-v2.pt", None, None, None),
        ("deep3.keras", None, None, None),
        ("model-2024-01-05.h5", None, None, None),
        ("epoch=99999999999999999999.ckpt", None, None, None),
    ],
)
def test_a_name(name: str, step: int | None, epoch: float | None, metric: Metric | None) -> None:
    """Step, epoch and metric."""
    assert read_name(name) == (step, epoch, metric)
