"""What the states of optax' transformations are made of: fields, roles, and whose they are.

A table of facts, from the named tuples of optax 0.1.5 to 0.2.8 (optax/_src/transform.py, optax/contrib). No file but a
pickle names the class of a state: its fields have to tell, and for Adam and its relatives they do not.
"""

from typing import NamedTuple

from ckptdoctor.state import Generation, Role

OF_CHAINS = Generation.OPTAX
"""The generation of every chain."""
ADAM_LIKE = ("Adam", "AdamW", "NAdam", "Adamax", "RAdam", "Yogi", "LAMB", "AdaBelief", "AcProp")
"""Optimizers whose state is a count, `mu` and `nu`, whatever they make of them; the most common first."""


class StateKind(NamedTuple):
    """A transformation's state.

    Attributes:
        fields: Those that it has for every parameter, and what they are.
        classes: The optimizers that are made with it, the likeliest first; none: it goes with any.
        single: Further fields that tell it from others with the same; `mu/0`: one for each axis of a parameter.
    """

    fields: dict[str, Role]
    classes: tuple[str, ...] = ()
    single: frozenset[str] = frozenset()


_M, _V, _OTHER = Role.FIRST_MOMENT, Role.SECOND_MOMENT, Role.OTHER

KINDS: tuple[StateKind, ...] = (
    StateKind({"mu": _M, "nu": _V, "nu_max": Role.MAX_SECOND_MOMENT}, ("AMSGrad",), frozenset({"count"})),
    StateKind({"mu": _M, "nu": _V}, ADAM_LIKE, frozenset({"count"})),
    StateKind({"mu": _M}, ("Muon",), frozenset({"count", "ns_coeffs"})),
    StateKind({"mu": _M}, ("Lion",), frozenset({"count"})),
    StateKind({"nu": _M}, ("SM3",), frozenset({"mu/0"})),
    StateKind({"mu": Role.MEAN_GRADIENT, "nu": Role.MEAN_SQUARE}, ("RMSprop",)),
    StateKind({"nu": Role.MEAN_SQUARE}, ("RMSprop",)),
    StateKind({"sum_of_squares": Role.ACCUMULATOR}, ("Adagrad",)),
    StateKind({"e_g": Role.ACCUMULATOR, "e_x": Role.ACCUMULATED_UPDATE}, ("Adadelta",)),
    StateKind({"v_row": Role.ROW_MOMENT, "v_col": Role.COLUMN_MOMENT, "v": _V}, ("Adafactor",)),
    StateKind({"m": _M, "v": _OTHER, "n": _V, "g": _OTHER}, ("Adan",)),
    StateKind({"m1": _M, "m2": _OTHER, "nu": _V}, ("AdEMAMix",)),
    StateKind({"m": _M, "n": _V}, ("SimplifiedAdEMAMix",)),
    StateKind({"prev_updates": _OTHER, "step_sizes": _OTHER}, ("Rprop",)),
    StateKind({"exp_avg": _M, "exp_avg_sq": _V, "grad_sum": _OTHER, "params0": _OTHER}, ("Prodigy",)),
    StateKind({"exp_avg": _M, "exp_avg_sq": _V, "grad_sum": _OTHER}, ("DAdaptAdamW",)),
    StateKind({"exp_avg": _M, "exp_avg_sq": _V}, ("MomoAdam", "Momo")),
    StateKind(
        dict.fromkeys(("diff_params_memory", "diff_updates_memory", "params", "updates"), _OTHER), ("LBFGS",)
    ),
    StateKind(
        dict.fromkeys(("init_particles", "cumulative_gradients", "scale", "subgradients", "reward"), _OTHER),
        ("COCOB",),
    ),
    StateKind({"previous_gradient": _OTHER}, ("OptimisticGD", "OptimisticGradientDescent")),
    StateKind({"trace": Role.MOMENTUM}, ("SGD", "LARS")),
    # What goes with any of them.
    StateKind({"ema": Role.MOVING_AVERAGE}),
    StateKind({"acc_grads": Role.GRADIENT_ACCUMULATOR}),
    StateKind({"found_nan": _OTHER}),
    StateKind({"z": _OTHER}),
    StateKind({"grad": _OTHER}),
)  # fmt: skip
"""The first whose fields are there is meant: those with more fields come first."""

STATELESS = ("SGD", "SignSGD", "Fromage", "PolyakSGD", "NoisySGD")
"""Optimizers that keep nothing for any parameter."""
SLOT_FIELDS: dict[str, Role] = {name: role for kind in reversed(KINDS) for name, role in kind.fields.items()}
COUNTS = frozenset({"count", "t"})
"""How a transformation calls its own count; `t` is Adan's."""
NOT_STEPS = frozenset({"plateau_count", "notfinite_count", "cooldown_count", "steps_since_sync"})
"""Fields beside which a `count` is none of steps."""


def kind_of(fields: frozenset[str]) -> StateKind | None:
    """The kind of a state that has these fields; None if no kind has."""
    return next((each for each in KINDS if fields >= each.fields.keys() and fields >= each.single), None)
