"""Classes of torch.optim and of Keras 3 that follow the same rule: their settings, and what their slots are.

Measured by training on (5 steps behind 7): Adagrad, Adadelta and Adamax to rounding; NAdam with momentum_decay=1, as
Keras has it; Adam and AdamW but for where epsilon stands (2e-6 at 1e-7, 0.013 at 1e-3); RMSprop likewise, with epsilon
within the root in Keras; momentum as long as the rate stays, as Keras has the rate in its buffer: m = -lr b.
Sources: keras/src/optimizers/*.py of 3.15, torch/optim/*.py of 2.13.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.state import Role


class Shared(NamedTuple):
    """A class that both have.

    Attributes:
        keras: Keras' name.
        torch: PyTorch's.
        settings: Keras' setting → PyTorch's; a pair of Keras' betas is one of PyTorch's.
        slots: Role → PyTorch's slot.
        fixed: What PyTorch's other settings have to be, as Keras has no such.
    """

    keras: str
    torch: str
    settings: Mapping[str, str]
    slots: Mapping[Role, str]
    fixed: Mapping[str, object] = {}


_RATE = {"learning_rate": "lr"}
_ADAM = {**_RATE, "epsilon": "eps", "weight_decay": "weight_decay", "amsgrad": "amsgrad"}
_MOMENTS = {
    Role.FIRST_MOMENT: "exp_avg",
    Role.SECOND_MOMENT: "exp_avg_sq",
    Role.MAX_SECOND_MOMENT: "max_exp_avg_sq",
}
_MOMENTUM = {Role.MOMENTUM: "momentum_buffer"}

CLASSES = (
    Shared("Adam", "Adam", _ADAM, _MOMENTS, {"decoupled_weight_decay": False}),
    Shared("AdamW", "AdamW", _ADAM, _MOMENTS, {"decoupled_weight_decay": True}),
    Shared("Nadam", "NAdam", {**_RATE, "epsilon": "eps"}, _MOMENTS, {"momentum_decay": 1.0}),
    Shared(
        "Adamax",
        "Adamax",
        {**_RATE, "epsilon": "eps"},
        {Role.FIRST_MOMENT: "exp_avg", Role.INFINITY_NORM: "exp_inf"},
    ),
    Shared("Adagrad", "Adagrad", {**_RATE, "epsilon": "eps"}, {Role.ACCUMULATOR: "sum"}, {"lr_decay": 0}),
    Shared(
        "Adadelta",
        "Adadelta",
        {**_RATE, "rho": "rho", "epsilon": "eps"},
        {Role.ACCUMULATOR: "square_avg", Role.ACCUMULATED_UPDATE: "acc_delta"},
    ),
    Shared(
        "RMSprop",
        "RMSprop",
        {**_RATE, "rho": "alpha", "epsilon": "eps", "momentum": "momentum", "centered": "centered"},
        {Role.MEAN_SQUARE: "square_avg", Role.MEAN_GRADIENT: "grad_avg", **_MOMENTUM},
    ),
    Shared("SGD", "SGD", {**_RATE, "momentum": "momentum", "nesterov": "nesterov"}, _MOMENTUM, {"dampening": 0}),
)
BETAS = frozenset({"Adam", "AdamW", "NAdam", "Adamax"})
"""Classes of PyTorch that have `betas`."""
UNCOUNTED = frozenset({"SGD"})
"""Those that keep no step."""
DECAYING = frozenset({"Adam", "AdamW"})
"""Those whose weight decay is said as Keras says it: decoupled in AdamW, none in Adam."""


def shared(name: str | None, *, of: str) -> Shared | None:
    """The class that a name of one of the two means; None if only one of them has it."""
    return next((each for each in CLASSES if getattr(each, of) == name), None)
