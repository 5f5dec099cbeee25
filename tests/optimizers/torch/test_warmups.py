"""The functions that Trainer gives to LambdaLR, against transformers' own."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from ckptdoctor.optimizers.torch.warmups import Warmup, rise_of


@pytest.mark.parametrize(
    ("kind", "rise", "settings", "factors"),
    [
        ("linear", 3, {}, [0.0, 0.333333333, 0.666666667, 1.0, 0.714285714, 0.142857143, 0.0, 0.0]),
        ("linear", 0, {}, [1.0, 0.9, 0.8, 0.7, 0.5, 0.1, 0.0, 0.0]),
        ("cosine", 3, {}, [0.0, 0.333333333, 0.666666667, 1.0, 0.811744901, 0.049515566, 0.0, 0.188255099]),
        ("cosine", 2, {"num_cycles": 1.5}, [0.0, 0.5, 1.0, 0.691341716, 0.038060234, 0.308658284, 0.0, 0.853553391]),
        (
            "cosine_with_restarts",
            3,
            {"num_cycles": 2},
            [0.0, 0.333333333, 0.666666667, 1.0, 0.388739533, 0.188255099, 0.0, 0.0],
        ),
        (
            "polynomial",
            3,
            {"power": 2.0, "lr_end": 0.001},
            [0.0, 0.333333333, 0.666666667, 1.0, 0.515102041, 0.030204082, 0.01, 0.01],
        ),
        ("polynomial", 0, {}, [1.0, 0.9000001, 0.8000002, 0.7000003, 0.5000005, 0.1000009, 1e-06, 1e-06]),
        ("constant", 3, {}, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("constant_with_warmup", 3, {}, [0.0, 0.333333333, 0.666666667, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("inverse_sqrt", 4, {}, [0.0, 0.25, 0.5, 0.75, 0.894427191, 0.666666667, 0.632455532, 0.577350269]),
        (
            "inverse_sqrt",
            0,
            {},
            [1.0, 0.999950004, 0.999900015, 0.999850034, 0.999750094, 0.999550304, 0.999500375, 0.999400539],
        ),
        (
            "inverse_sqrt",
            2,
            {"timescale": 5},
            [0.0, 0.5, 1.0, 0.816496581, 0.632455532, 0.471404521, 0.447213595, 0.40824829],
        ),
        (
            "cosine_with_min_lr",
            3,
            {"min_lr": 0.02},
            [0.0, 0.333333333, 0.666666667, 1.0, 0.849395921, 0.239612453, 0.2, 0.350604079],
        ),
        (
            "cosine_with_min_lr",
            3,
            {"min_lr_rate": 0.25},
            [0.0, 0.333333333, 0.666666667, 1.0, 0.858808676, 0.287136675, 0.25, 0.391191324],
        ),
    ],
)
def test_factors(kind: str, rise: int, settings: Mapping[str, object], factors: list[float]) -> None:
    """What `get_scheduler` of transformers 4.48.3 gives for 10 steps and a rate of 0.1."""
    warmup = Warmup(kind, rise, 10, 0.1, settings)
    assert [warmup.factor(step) for step in (0, 1, 2, 3, 5, 9, 10, 12)] == pytest.approx(factors, abs=1e-8)


@pytest.mark.parametrize(
    ("steps", "ratio", "rise"), [(5, 0.1, 5), (0, 0.15, 2), (0, 0.0, 0), (0.15, None, 2), (1.0, None, 1), (0, None, 0)]
)
def test_rise(steps: float, ratio: float | None, rise: int) -> None:
    """Steps go before the ratio; since 5.0 steps below 1 are one."""
    assert rise_of(steps, ratio, 10) == rise


def test_what_is_not_known() -> None:
    """No rate is made up for another function, nor from settings that are none."""
    with pytest.raises(KeyError):
        Warmup("greedy", 0, 10, 0.1).factor(3)
    with pytest.raises(TypeError):
        Warmup("cosine", 0, 10, 0.1, {"num_cycles": "two"}).factor(3)
    with pytest.raises(TypeError):
        rise_of("5", None, 10)
