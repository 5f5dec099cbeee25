"""What optimizers of PyTorch keep, and which settings their parameter groups have: from which the class follows.

`Optimizer.state_dict()` names no class. Its groups hold the constructor's arguments, its state a dictionary a
parameter; both together are almost always one class's. Sources: torch/optim/*.py of 1.0 to 2.15, and the packages that
are named beside their classes; measured with the museum of 15 versions.
"""

from collections.abc import Collection, Mapping
from functools import cache
from typing import NamedTuple

from ckptdoctor.optimizers.catalogue import Extent, Layout, PerVariable, SlotKind
from ckptdoctor.state import Generation, Role

_FIRST = SlotKind("exp_avg", Role.FIRST_MOMENT)
_SECOND = SlotKind("exp_avg_sq", Role.SECOND_MOMENT)
_LARGEST = SlotKind("max_exp_avg_sq", Role.MAX_SECOND_MOMENT, when="amsgrad")
_BUFFER = SlotKind("momentum_buffer", Role.MOMENTUM, when="momentum")
_MOMENTS = (_FIRST, _SECOND)


class TorchOptimizer(NamedTuple):
    """One class.

    Attributes:
        name: The class.
        settings: What its groups have beside `SHARED`, in every version.
        slots: Tensors that it keeps for a parameter.
        counted: It keeps a `step`.
        scalars: What else its state has.
        later: Settings that only some versions have, or only some calls.
        package: Where it comes from; "" for torch.
        begins: What its groups have that is no setting, and what that is at step 0: a number, or another setting's.
    """

    name: str
    settings: frozenset[str]
    slots: tuple[SlotKind, ...]
    counted: bool = True
    scalars: frozenset[str] = frozenset()
    later: frozenset[str] = frozenset()
    package: str = ""
    begins: Mapping[str, float | str] = {}


SHARED = frozenset({
    "params", "param_names", "name", "lr", "weight_decay", "maximize", "foreach", "capturable", "differentiable",
    "fused", "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum", "swa_lr", "decoupled_weight_decay",
})  # fmt: skip
"""Settings that most classes have, and those that schedulers add: they tell none from another."""

WRAPPERS_SLOTS = frozenset({"old_p", "e_w", "slow_buffer"})
"""Copies of weights that SAM (davda54/sam) and Lookahead (timm, torch_optimizer) keep around another optimizer."""

COUNTED_IN_GROUPS = ("k", "step")
"""A count that groups keep: those of schedulefree, Prodigy and D-Adaptation, and of pytorch-optimizer."""

WRAPPERS_SETTINGS = frozenset({"rho", "adaptive", "counter", "lookahead_alpha", "lookahead_k", "lookahead_step"})


def _one(
    name: str,
    settings: str,
    slots: tuple[SlotKind, ...],
    *,
    counted: bool = True,
    scalars: str = "",
    later: str = "",
    package: str = "",
    begins: Mapping[str, float | str] = {},
) -> TorchOptimizer:
    own, other, some = (frozenset(each.split()) for each in (settings, scalars, later))
    return TorchOptimizer(name, own, slots, counted, other, some, package, begins)


def _slot(name: str, role: Role = Role.OTHER, when: str = "") -> SlotKind:
    return SlotKind(name, role, when=when)


def _own(name: str, role: Role = Role.OTHER) -> SlotKind:
    """A slot that has not the shape of its parameter."""
    return SlotKind(name, role, extent=Extent.OWN)


_ROW, _COLUMN = Role.ROW_MOMENT, Role.COLUMN_MOMENT
_AVERAGED: Mapping[str, float | str] = {"k": 0, "weight_sum": 0.0, "lr_max": -1.0, "scheduled_lr": 0.0}

TORCH: tuple[TorchOptimizer, ...] = (
    _one("Adam", "betas eps amsgrad", (*_MOMENTS, _LARGEST)),
    _one("AdamW", "betas eps amsgrad", (*_MOMENTS, _LARGEST)),
    _one("SGD", "momentum dampening nesterov", (_BUFFER,), counted=False),
    _one(
        "RMSprop",
        "momentum alpha eps centered",
        (_slot("square_avg", Role.MEAN_SQUARE), _BUFFER, _slot("grad_avg", Role.MEAN_GRADIENT, "centered")),
    ),
    _one("Adagrad", "lr_decay initial_accumulator_value", (_slot("sum", Role.ACCUMULATOR),), later="eps"),
    _one(
        "Adadelta",
        "rho eps",
        (_slot("square_avg", Role.ACCUMULATOR), _slot("acc_delta", Role.ACCUMULATED_UPDATE)),
    ),
    _one("Adamax", "betas eps", (_FIRST, _slot("exp_inf", Role.INFINITY_NORM))),
    _one("NAdam", "betas eps momentum_decay", _MOMENTS, scalars="mu_product"),
    _one("RAdam", "betas eps", _MOMENTS),
    _one("SparseAdam", "betas eps", _MOMENTS),
    _one("ASGD", "lambd alpha t0", (_slot("ax", Role.MOVING_AVERAGE),), scalars="eta mu"),
    _one(
        "Rprop",
        "etas step_sizes",
        (_slot("prev"), _slot("step_size")),
    ),
    _one(
        "LBFGS",
        "max_iter max_eval tolerance_grad tolerance_change history_size line_search_fn",
        (_own("d"), _own("prev_flat_grad")),
        counted=False,
        scalars="func_evals n_iter ro al t old_dirs old_stps H_diag prev_loss",
    ),
    _one(
        "Adafactor",
        "beta2_decay eps d",
        (_own("row_var", _ROW), _own("col_var", _COLUMN), _slot("variance", Role.SECOND_MOMENT)),
    ),
    _one(
        "Muon",
        "momentum nesterov ns_coefficients eps ns_steps adjust_lr_fn",
        (_slot("momentum_buffer", Role.MOMENTUM),),
        counted=False,
    ),
    # transformers/optimization.py: its own AdamW (until 4.x) and Adafactor.
    _one("AdamW", "betas eps correct_bias", _MOMENTS, package="transformers"),
    _one(
        "Adafactor",
        "eps clip_threshold decay_rate beta1 scale_parameter relative_step warmup_init",
        (
            _own("exp_avg_sq_row", _ROW),
            _own("exp_avg_sq_col", _COLUMN),
            _slot("exp_avg_sq", Role.SECOND_MOMENT),
            _slot("exp_avg", Role.FIRST_MOMENT, "beta1"),
        ),
        scalars="RMS",
        package="transformers",
    ),
    # bitsandbytes/optim: 8-bit states are bytes with a scale a block; small parameters keep 32-bit ones.
    _one(
        "AdamW8bit",
        "betas eps alpha t_alpha t_beta3",
        (_own("state1", Role.FIRST_MOMENT), _own("state2", Role.SECOND_MOMENT)),
        scalars="qmap1 qmap2 absmax1 absmax2 new_max1 new_max2 max1 max2 unorm_vec",
        package="bitsandbytes",
        later="optim_bits args min_8bit_size percentile_clipping block_wise max_unorm skip_zeros is_paged",
    ),
    _one(
        "Lion8bit",
        "betas eps alpha t_alpha t_beta3",
        (_own("state1", Role.MOMENTUM),),
        scalars="qmap1 absmax1 new_max1 max1 unorm_vec",
        package="bitsandbytes",
        later="optim_bits args min_8bit_size percentile_clipping block_wise max_unorm skip_zeros is_paged",
    ),
    _one(
        "Lion",
        "betas",
        (_slot("exp_avg", Role.MOMENTUM),),
        counted=False,
        package="lion-pytorch",
        later="decoupled_weight_decay",
    ),
    _one(
        "AdamWScheduleFree",
        "betas eps r k warmup_steps train_mode weight_sum lr_max scheduled_lr weight_lr_power",
        (_slot("z"), _SECOND),
        counted=False,
        package="schedulefree",
        begins=_AVERAGED,
        later="foreach",
    ),
    _one(
        "RAdamScheduleFree",
        "betas eps r k train_mode weight_sum lr_max scheduled_lr weight_lr_power silent_sgd_phase",
        (_slot("z"), _SECOND),
        counted=False,
        package="schedulefree",
        begins=_AVERAGED,
    ),
    _one(
        "SGDScheduleFree",
        "momentum r k warmup_steps train_mode weight_sum lr_max scheduled_lr weight_lr_power",
        (_slot("z"),),
        counted=False,
        package="schedulefree",
        begins=_AVERAGED,
    ),
    # fastai/optimizer.py: `average_grad`, `average_sqr_grad`; momentum with or without dampening.
    _one(
        "Adam",
        "mom sqr_mom wd",
        (_slot("grad_avg", Role.FIRST_MOMENT), _slot("sqr_avg", Role.SECOND_MOMENT)),
        package="fastai",
        later="eps",
        scalars="do_wd",
    ),
    _one(
        "SGD",
        "mom wd",
        (_slot("grad_avg", Role.MOMENTUM),),
        counted=False,
        package="fastai",
        later="eps",
        scalars="do_wd",
    ),
    _one(
        "Prodigy",
        "betas beta3 eps d d0 d_max d_numerator d_coef k growth_rate use_bias_correction decouple "
        "safeguard_warmup fsdp_in_use",
        (_FIRST, _SECOND, _own("s"), _own("p0")),
        later="slice_p d_hat d_denom",
        package="prodigyopt",
        begins={"k": 0, "d": "d0", "d_max": "d0", "d_numerator": 0.0},
    ),
)
"""Every class that is known; the first of several that fit is named."""


class Told(NamedTuple):
    """What groups and state tell of a class."""

    class_name: str | None
    candidates: tuple[str, ...] = ()
    entry: TorchOptimizer | None = None


def infer(settings: Collection[str], state: Collection[str], *, decoupled: bool | None = None) -> Told:
    """The class, from the settings of its groups and the names in its state.

    Args:
        settings: What the groups have; nothing where they were not saved, and the state alone has to tell.
        state: What the state of any parameter has; nothing for an optimizer that never stepped.
        decoupled: Adam's `decoupled_weight_decay`, which since torch 2.9 tells it from AdamW.
    """
    own, there = set(settings) - SHARED, set(state) - {"step"}
    best: list[TorchOptimizer] = []
    for each in TORCH:
        named = {kind.name for kind in each.slots} | each.scalars
        always = {kind.name for kind in each.slots if not kind.when}
        alternatives = {"row_var", "col_var", "variance", "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg_sq"}
        lacking = always - there - (alternatives if each.name == "Adafactor" else set())
        fits = each.settings <= own <= each.settings | each.later if own else bool(there)
        if not (fits and there <= named):
            continue
        if there and lacking:
            continue
        best.append(each)
    best = _sparse_or_not(best, settings) if own else best
    if not best:
        return Told(None)
    names = list(dict.fromkeys(each.name for each in best))
    if names[:2] == ["Adam", "AdamW"] and decoupled is not None:
        names = ["AdamW" if decoupled else "Adam"]
    entry = next(each for each in best if each.name == names[0])
    return Told(names[0], tuple(names[1:]), entry)


def _sparse_or_not(found: list[TorchOptimizer], settings: Collection[str]) -> list[TorchOptimizer]:
    """SparseAdam alone has no weight decay; RAdam and Adamax do."""
    sparse = "weight_decay" not in settings
    return [each for each in found if (each.name == "SparseAdam") == sparse or each.name not in _BY_DECAY]


_BY_DECAY = frozenset({"SparseAdam", "RAdam", "Adamax"})


@cache
def torch_layouts(class_name: str) -> tuple[Layout, ...]:
    """The catalogue's form of a class: its slots for each parameter, each with the setting that it follows from."""
    return tuple(
        Layout(each.name, Generation.TORCH, (PerVariable(each.slots),), counted=each.counted)
        for each in TORCH
        if each.name == class_name
    )


def role_of(entry: TorchOptimizer | None, slot: str) -> Role:
    """The role of a slot by its name, in its class or in any."""
    entries = (*((entry,) if entry is not None else ()), *TORCH)
    return next((kind.role for each in entries for kind in each.slots if kind.name == slot), Role.OTHER)
