"""An optimizer of Keras as PyTorch's: one group, in the order in which Keras trains."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ckptdoctor.crossing.chains import class_of_chain, count_beside, quantity_in
from ckptdoctor.crossing.classes import BETAS, DECAYING, UNCOUNTED, Shared, shared
from ckptdoctor.crossing.layouts import recast, to_torch, torch_name
from ckptdoctor.crossing.rates import constant, told_of_epsilon
from ckptdoctor.crossing.wishes import Wishes
from ckptdoctor.errors import GraftRefused
from ckptdoctor.matching.sides import make_side
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.optimizers.torch.steps import STEP, number_tensor, step_tensor
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (
    Generation,
    ModelVariable,
    OptimizerState,
    ParamGroup,
    Role,
    Slot,
    StateDict,
    TrainingState,
)  # fmt: skip


class Crossed(NamedTuple):
    """A donor in the words of the target's framework, and what an engineer should know of that."""

    state: TrainingState
    optimizer: OptimizerState
    warnings: tuple[str, ...]


def as_torch(donor: TrainingState, optimizer: OptimizerState, own: OptimizerState | None, wishes: Wishes) -> Crossed:
    """Translates an optimizer of Keras, or a chain of optax.

    Args:
        donor: The artifact.
        optimizer: Its optimizer.
        own: The target's; None if it has none.
        wishes: What is said by hand.

    Raises:
        GraftRefused: PyTorch has no such class, or not with these settings.
    """
    chained = dialect(optimizer.generation).chained
    warnings: list[str] = []
    if chained:
        kind = class_of_chain(optimizer, own, wishes.optimizer_class, of="torch")
    else:
        kind, warnings = _class(optimizer, own, wishes)
    hyper = dict(optimizer.hyperparameters)
    scheduled = optimizer.schedule is not None or optimizer.scheduled
    rate = wishes.learning_rate if wishes.learning_rate is not None else hyper.get("learning_rate")
    if optimizer.schedule is not None and wishes.learning_rate is None:
        rate = optimizer.schedule.learning_rate
        warnings.append(
            f"{optimizer.schedule.class_name} stays behind: build the schedule in the program, at its count"
        )
    told = finite(rate)
    if told is None and own is not None:
        rate = own.hyperparameters.get("lr")
    if finite(rate) is None:
        raise GraftRefused("nothing tells the learning rate that PyTorch's groups hold: give it with --learning-rate")
    warnings += told_of_epsilon(kind.keras, hyper.get("epsilon"))
    factors = {Role.MOMENTUM: 1.0}
    has_momentum = any(slot.role is Role.MOMENTUM for slot in optimizer.slots) and hyper.get("momentum") != 0
    if has_momentum and chained and kind.keras == "RMSprop":  # optax adds up steps there, without their sign
        factors[Role.MOMENTUM] = -1 / constant(rate, scheduled=False, name=kind.keras)
    elif has_momentum and dialect(optimizer.generation).momentum == "step":
        lr = constant(rate, scheduled=scheduled, name=kind.keras)
        factors[Role.MOMENTUM] = 1 / lr if kind.keras == "RMSprop" else -1 / lr
    count = wishes.iterations if wishes.iterations is not None else count_beside(donor, optimizer)
    if count is None and kind.torch not in UNCOUNTED:
        raise GraftRefused("the donor holds no iteration count: set it with --iterations N", donor.path)
    side = make_side(donor, optimizer)
    axes = {each.path: _axes(each) for each in donor.variables}
    names = [torch_name(each.path) for each in side.trained]
    held_there = {
        (path, quantity_in(kind, what) if chained and isinstance(what, Role) else what): slot
        for (path, what), slot in side.slots.items()
    }
    states: list[Mapping[Any, Any] | None] = []
    slots: list[Slot] = []
    for each, name in zip(side.trained, names, strict=True):
        held: dict[str, Any] = {} if kind.torch in UNCOUNTED else {STEP: step_tensor(count or 0)}
        if kind.torch == "NAdam":
            held["mu_product"] = _product(optimizer)
        for role, slot_name in kind.slots.items():
            slot = held_there.get((each.path, role))
            if slot is None or (role is Role.MOMENTUM and hyper.get("momentum") == 0):
                continue
            held[slot_name] = recast(slot.tensor, axes.get(each.path), factors.get(role, 1.0))
            slots.append(Slot(slot_name, role, name, held[slot_name], slot.mapping))
        states.append(held or None)
    settings = {} if chained else _settings(kind, hyper, told)  # a chain stores none: the target's stay
    stored = StateDict((settings,), (len(states),), tuple(states))
    variables = tuple(
        ModelVariable(torch_name(each.path), recast(each.tensor, axes[each.path]), each.trainable)
        for each in donor.variables
    )
    translated = optimizer._replace(
        class_name=kind.torch, class_inferred=False, class_candidates=(), generation=Generation.TORCH,
        groups=(ParamGroup(None, tuple(names)),), slots=tuple(slots), stored=stored,
        hyperparameters=stored.groups[0],
    )  # fmt: skip
    state = donor._replace(variables=variables, optimizers=(translated,))
    return Crossed(state, translated, tuple(warnings))


def _class(optimizer: OptimizerState, own: OptimizerState | None, wishes: Wishes) -> tuple[Shared, list[str]]:
    """The class of PyTorch that follows the same rule, and what there is to say of it."""
    wanted = {own.class_name, *own.class_candidates} - {None} if own is not None else set()
    hyper = optimizer.hyperparameters
    if optimizer.wrapper is not None and not optimizer.wrapper.scales_loss:
        raise GraftRefused(f"{optimizer.wrapper.class_name} keeps slots of its own, for which PyTorch has no class")
    kind = shared(optimizer.class_name, of="keras")
    if kind is None:
        raise GraftRefused(f"Keras' {optimizer.class_name or 'optimizer'} has no counterpart in torch.optim")
    decay = finite(hyper.get("weight_decay")) or 0.0
    if kind.torch in DECAYING:
        only = next(iter(wanted)) if len(wanted) == 1 else None
        name = next(each for each in (wishes.optimizer_class, only, kind.torch) if each in DECAYING)
        kind = shared(name, of="torch") or kind
    if decay and kind.torch != "AdamW":
        way = "say --optimizer-class AdamW" if kind.torch in DECAYING else "no translation exists"
        raise GraftRefused(
            f"Keras' {optimizer.class_name} with weight_decay decays weights apart from the gradient, PyTorch's "
            f"{kind.torch} within it: {way}"
        )
    if kind.torch == "NAdam" and optimizer.generation is not Generation.KERAS3:
        raise GraftRefused("Nadam's momentum schedule before Keras 3 is not PyTorch's: no translation is proven")
    said = []
    if kind.torch == "NAdam":
        said.append("build NAdam with momentum_decay=1, which is Keras' schedule; PyTorch's own 0.004 is another one")
    lost = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if hyper.get(name)]
    if lost:
        said.append(f"{', '.join(lost)} has no place in PyTorch's optimizers: clip gradients in the program")
    return kind, said


def _settings(kind: Shared, hyper: Mapping[str, object], rate: float | None) -> dict[str, object]:
    found: dict[str, object] = {} if rate is None else {"lr": rate}
    if kind.torch in BETAS:
        found["betas"] = (hyper.get("beta_1", 0.9), hyper.get("beta_2", 0.999))
    for keras, torch in kind.settings.items():
        if keras != "learning_rate" and keras in hyper:
            found[torch] = hyper[keras] if hyper[keras] is not None else 0.0
    return {**found, "weight_decay": finite(hyper.get("weight_decay")) or 0.0, **kind.fixed}


def _axes(variable: ModelVariable) -> tuple[int, ...] | None:
    """How a variable's axes are exchanged; None for those that stay."""
    rank = len(variable.tensor.shape)
    is_kernel = variable.path.rpartition("/")[2] == "kernel" and rank > 1
    return to_torch(rank) if is_kernel else None


def _product(optimizer: OptimizerState) -> TensorRef:
    """Nadam's product of momentums, which PyTorch keeps for each parameter."""
    known = [each.value for each in optimizer.other if each.name.rpartition("/")[2].strip("_") == "u_product"]
    value = finite(known[0]) if known else None
    if value is None:
        raise GraftRefused("the donor's Nadam holds no u_product, which PyTorch's keeps as mu_product")
    return number_tensor("mu_product", value)
