"""What slots and scalars of a plan say about their donor."""

from __future__ import annotations

import pytest

from ckptdoctor.grafting.planning.slots import other_betas
from ckptdoctor.optimizers.translation import numbers_of
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, OptimizerState, OtherVariable


def donor(**powers: float) -> OptimizerState:
    """An optimizer of TensorFlow 1 at iteration 7, with these beta powers in a name scope."""
    others = [
        OtherVariable(f"train/{name}", TensorRef(f"train/{name}", "float32", (), None), value)
        for name, value in powers.items()
    ]
    return OptimizerState("Adam", "Adam", generation=Generation.TF1, iterations=7, other=tuple(others))


@pytest.mark.parametrize(
    ("powers", "said"),
    [
        ({"beta1_power": 0.43046713, "beta2_power": 0.99202806}, []),
        ({"beta1_power": 0.16777219, "beta2_power": 0.99202806}, ["beta_1=0.8"]),
        ({"beta1_power_1": 0.16777219, "beta2_power_1": 0.92274469}, ["beta_1=0.8", "beta_2=0.99"]),
        ({"beta1_power": 0.0}, []),
        ({"beta1_power": 0.16777219}, ["beta_1=0.8"]),
    ],
)
def test_other_betas(powers: dict[str, float], said: list[str]) -> None:
    """Powers of other betas than the result will have are told with the beta; those that underflowed tell nothing."""
    found = other_betas(donor(**powers), numbers_of(7, {}, scheduled=False))
    assert [next(word for word in each.split() if "=" in word) for each in found] == said


def test_another_count_than_the_counter_says() -> None:
    """Powers that the result's betas explain by another count tell of the counter, not of the betas."""
    found = other_betas(donor(beta1_power=0.9**21, beta2_power=0.999**21), numbers_of(7, {}, scheduled=False))
    (warning,) = found
    assert "those of 20 steps of Adam, its counter says 7" in warning
    assert "--iterations 20" in warning
