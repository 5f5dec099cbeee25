"""An optimizer of PyTorch as Keras 3's: one count, one set of settings."""

from __future__ import annotations

from collections.abc import Mapping

from ckptdoctor.crossing.chains import class_of_chain, count_beside, quantity_in
from ckptdoctor.crossing.classes import BETAS, DECAYING, UNCOUNTED, Shared, shared
from ckptdoctor.crossing.layouts import keras_name, keras_name_of_flax, recast, to_keras
from ckptdoctor.crossing.rates import constant, told_of_epsilon
from ckptdoctor.crossing.to_torch import Crossed
from ckptdoctor.crossing.wishes import Wishes
from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import layouts
from ckptdoctor.optimizers.numbers import finite
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Generation, ModelVariable, OptimizerState, OtherVariable, Role, Slot, TrainingState

_KERAS = Generation.KERAS3


def from_chain(donor: TrainingState, optimizer: OptimizerState, own: OptimizerState | None, wishes: Wishes) -> Crossed:
    """Translates a chain of optax, in flax's names, for the optimizer that a target of Keras has.

    Args:
        donor: The artifact.
        optimizer: Its chain.
        own: The target's optimizer, which says class and settings.
        wishes: What is said by hand.

    Raises:
        GraftRefused: Nothing tells the class, or there is no translation.
    """
    kind = class_of_chain(optimizer, own, wishes.optimizer_class, of="keras")
    hyper = dict(own.hyperparameters) if own is not None else {}
    factors = {Role.MOMENTUM: 1.0}
    if any(slot.role is Role.MOMENTUM for slot in optimizer.slots):
        rate = wishes.learning_rate if wishes.learning_rate is not None else hyper.get("learning_rate")
        scheduled = own is not None and own.schedule is not None
        is_rms = kind.keras == "RMSprop"
        factors[Role.MOMENTUM] = -1.0 if is_rms else -constant(rate, scheduled=scheduled, name=kind.keras)
    norms = {each.path.rpartition("/")[0] for each in donor.variables if each.path.rpartition("/")[2] == "scale"}
    names = {
        each.path: keras_name_of_flax(each.path, is_norm=each.path.rpartition("/")[0] in norms)
        for each in donor.variables
    }
    kinds = _kinds(kind)
    slots = [
        Slot(
            kinds[what], what, names.get(slot.variable, slot.variable), recast(slot.tensor, None, factor), slot.mapping
        )
        for slot in optimizer.slots
        if slot.variable is not None and (what := quantity_in(kind, slot.role)) in kinds
        for factor in (factors.get(what, 1.0),)
    ]
    count = wishes.iterations if wishes.iterations is not None else count_beside(donor, optimizer)
    translated = OptimizerState(
        name="optimizer", class_name=kind.keras, generation=_KERAS, iterations=count, hyperparameters=hyper,
        schedule=own.schedule if own is not None else None, slots=tuple(slots),
    )  # fmt: skip
    variables = tuple(each._replace(path=names[each.path]) for each in donor.variables)
    state = TrainingState(donor.path, donor.format, donor.producer, variables, (translated,), ordered=donor.ordered)
    return Crossed(state, translated, ())


def _kinds(kind: Shared) -> dict[Role, str]:
    """Role → Keras' name of the slot."""
    blocks = (block for layout in layouts(kind.keras, _KERAS)[:1] for block in layout.kinds)
    return {each.role: each.name for each in blocks if each.role is not Role.OTHER}


def as_keras(donor: TrainingState, optimizer: OptimizerState, target: TrainingState, wishes: Wishes) -> Crossed:
    """Translates an optimizer of PyTorch.

    Args:
        donor: The artifact.
        optimizer: Its optimizer.
        target: What it goes into, which tells embeddings from kernels.
        wishes: What is said by hand.

    Raises:
        GraftRefused: Keras has no such class, or not with these settings or counts.
    """
    kind, hyper, warnings = _class(optimizer)
    count = count_of(donor, optimizer, kind, wishes)
    rate = wishes.learning_rate if wishes.learning_rate is not None else hyper.get("learning_rate")
    scheduled = any(each.optimizer in {None, optimizer.name} for each in donor.schedulers)
    factors = {Role.MOMENTUM: 1.0}
    if any(slot.role is Role.MOMENTUM for slot in optimizer.slots):
        lr = constant(rate, scheduled=scheduled, name=kind.keras)
        factors[Role.MOMENTUM] = lr if kind.keras == "RMSprop" else -lr
    elif scheduled:
        warnings.append("the learning rate is the one in force: Keras has schedules in its configuration")
    names, axes = names_in_keras(donor, target)
    kinds = _kinds(kind)
    slots = []
    for slot in optimizer.slots:
        if slot.variable is None or slot.role not in kinds:
            continue
        tensor = recast(slot.tensor, axes.get(slot.variable), factors.get(slot.role, 1.0))
        slots.append(Slot(kinds[slot.role], slot.role, names.get(slot.variable, slot.variable), tensor, slot.mapping))
    other = tuple(_product(optimizer)) if kind.keras == "Nadam" else ()
    translated = OptimizerState(
        name="optimizer", class_name=kind.keras, generation=_KERAS, iterations=count, hyperparameters=hyper,
        slots=tuple(slots), other=other,
    )  # fmt: skip
    variables = tuple(
        ModelVariable(names[each.path], recast(each.tensor, axes[each.path]), each.trainable)
        for each in donor.variables
    )
    state = TrainingState(donor.path, donor.format, donor.producer, variables, (translated,), ordered=donor.ordered)
    return Crossed(state, translated, tuple(warnings))


def _class(optimizer: OptimizerState) -> tuple[Shared, dict[str, object], list[str]]:
    """Keras' class and its settings.

    Raises:
        GraftRefused: There is none that follows the same rule with these settings.
    """
    kind = shared(optimizer.class_name, of="torch")
    if kind is None:
        raise GraftRefused(f"torch.optim's {optimizer.class_name or 'optimizer'} has no counterpart in Keras")
    group = optimizer.hyperparameters
    differing = sorted({name for each in optimizer.groups for name in each.hyperparameters if name not in group})
    if differing and differing != ["weight_decay"]:
        raise GraftRefused(f"the donor's groups differ in {', '.join(differing)}, and Keras has one set of settings")
    decays = [finite(each.hyperparameters.get("weight_decay")) or 0.0 for each in optimizer.groups]
    decay = max(decays, default=0.0)
    if kind.torch in DECAYING:
        decoupled = group.get("decoupled_weight_decay")
        if decay and (decoupled is False or (decoupled is None and kind.torch == "Adam")):
            raise GraftRefused(
                "PyTorch's Adam with weight_decay decays weights within the gradient, Keras' apart from it: no "
                "translation exists"
            )
    elif decay:
        raise GraftRefused(
            f"PyTorch's {kind.torch} with weight_decay decays weights within the gradient, Keras' apart from it: no "
            "translation exists"
        )
    for name, wanted in kind.fixed.items():
        value = group.get(name)
        if name != "decoupled_weight_decay" and value is not None and value != wanted:
            raise GraftRefused(
                f"{kind.torch} with {name} {value} has no counterpart in Keras, whose rule is {wanted:g}"
            )
    if group.get("maximize"):
        raise GraftRefused("an optimizer that maximizes has no counterpart in Keras")
    warnings = list(told_of_epsilon(kind.keras, group.get("eps")))
    if len(set(decays)) > 1:
        warnings.append(
            "weight_decay differs between the donor's groups: Keras has one, and optimizer.exclude_from_weight_decay "
            "for what is not to decay"
        )
    return kind, _settings(kind, group, decay), warnings


def _settings(kind: Shared, group: Mapping[str, object], decay: float) -> dict[str, object]:
    found = {keras: group[torch] for keras, torch in kind.settings.items() if torch in group}
    betas = group.get("betas")
    if kind.torch in BETAS and isinstance(betas, (list, tuple)):
        found["beta_1"], found["beta_2"] = betas
    if kind.torch in DECAYING:
        found["weight_decay"] = decay or None
    return found


def count_of(donor: TrainingState, optimizer: OptimizerState, kind: Shared, wishes: Wishes) -> int | None:
    """The one count of an optimizer, where the other side keeps one.

    Raises:
        GraftRefused: The parameters have different ones.
    """
    if wishes.iterations is not None:
        return wishes.iterations
    span = optimizer.iterations_range
    if span is not None:
        raise GraftRefused(
            f"the donor's parameters were stepped {span[0]:,} to {span[1]:,} times, and the target keeps one count: "
            "say which with --iterations N"
        )
    if kind.torch in UNCOUNTED:  # a program's own count is the best there is
        counts = {each.last_epoch for each in donor.schedulers} | {
            value for name, value in donor.counters.items() if name.endswith(("step", "iteration", "iter"))
        }
        return counts.pop() if len(counts) == 1 else None
    return optimizer.iterations


def names_in_keras(
    donor: TrainingState, target: TrainingState
) -> tuple[dict[str, str], dict[str, tuple[int, ...] | None]]:
    """Keras' name of each variable of PyTorch, and how its axes are exchanged; the target tells embeddings."""
    ranks = {each.path: len(each.tensor.shape) for each in donor.variables}
    tables = {
        each.tensor.shape for each in target.variables if each.path.rpartition("/")[2] in {"embeddings", "embedding"}
    }
    names: dict[str, str] = {}
    axes: dict[str, tuple[int, ...] | None] = {}
    for each in donor.variables:
        front, _, last = each.path.rpartition(".")
        beside = f"{front}." if front else ""
        rank = ranks[each.path]
        is_table = last == "weight" and each.tensor.shape in tables and f"{beside}bias" not in ranks
        is_norm = ranks.get(f"{beside}weight", 0) == 1
        names[each.path] = keras_name(each.path, rank, is_norm=is_norm, is_table=is_table)
        axes[each.path] = to_keras(rank) if last == "weight" and rank > 1 and not is_table else None
    return names, axes


def _product(optimizer: OptimizerState) -> list[OtherVariable]:
    """NAdam's product, the same for all parameters."""
    stored = optimizer.stored.states if optimizer.stored is not None else ()
    for state in stored:
        value = (state or {}).get("mu_product")
        if isinstance(value, TensorRef):
            from ckptdoctor.containers.tensors.values import read_scalar

            value = read_scalar(value)
        number = finite(value)
        if number is not None:
            return [OtherVariable("_u_product", TensorRef("mu_product", "float32", (), None), number)]
    raise GraftRefused("the donor's NAdam holds no mu_product, which Keras' keeps as u_product")
