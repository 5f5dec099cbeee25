"""Will training resume? The status of each optimizer and of the artifact, and the verdict in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.catalogue import is_known, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.optimizers.name_based import TF1_OPTIMIZERS
from ckptdoctor.state import OptimizerState, Status, TrainingState
from ckptdoctor.words import counted, enumerate_some, shortened

_ORDER = (Status.COMPLETE, Status.FRESH, Status.PARTIAL, Status.ABSENT, Status.UNREADABLE)
_OPTIMIZERS = 8
"""So many optimizers have a verdict of their own in that of the artifact."""


def optimizer_status(optimizer: OptimizerState) -> Status:
    """Whether this optimizer's state suffices to go on."""
    if not optimizer.has_state:
        return Status.COMPLETE if keeps_nothing(optimizer) else Status.ABSENT
    if never_stepped(optimizer):
        return Status.FRESH
    if optimizer.iterations is None:
        needless = needs_no_count(optimizer) or is_unknown(optimizer)
        whole = needless and (optimizer.slots or is_stateless(optimizer)) and not optimizer.missing
        return Status.COMPLETE if whole else Status.PARTIAL
    if optimizer.missing or lost_all_slots(optimizer) or not is_possible(optimizer.iterations):
        return Status.PARTIAL
    return Status.COMPLETE


def never_stepped(optimizer: OptimizerState) -> bool:
    """Whether its count is 0: the one that is stored, or what its beta powers tell."""
    told = optimizer.recoverable
    return optimizer.iterations == 0 or (optimizer.iterations is None and told is not None and told.value == 0)


_UNCOUNTED = frozenset({"SGD", "RMSprop", "Adagrad", "Adadelta"})
"""Keras classes whose update does not depend on how many there were."""
_TF1_COUNTED = frozenset({"AdagradDA"})
"""tf.compat.v1 classes whose update depends on global_step; what corrects its moments does so by its beta powers."""


def needs_no_count(optimizer: OptimizerState) -> bool:
    """Whether training goes on exactly without the count: neither the update nor a configured rate depends on it."""
    if optimizer.schedule is not None or optimizer.scheduled or optimizer.hyperparameters.get("decay"):
        return False
    told = dialect(optimizer.generation)
    if told.chained:  # what depends on a count keeps one: a transformation, a schedule
        return not any(each.name.rpartition("/")[2] == "count" for each in optimizer.other)
    if told.by_graph:
        powers = {
            name for each in TF1_OPTIMIZERS if each.class_name == optimizer.class_name for name in each.beta_powers
        }
        stored = {each.name for each in optimizer.other}
        known = optimizer.class_name is not None and optimizer.class_name not in _TF1_COUNTED
        return known and all(any(power in name for name in stored) for power in powers)
    if dialect(optimizer.generation).by_parameter and optimizer.class_name and optimizer.generation:
        return not any(each.counted for each in layouts(optimizer.class_name, optimizer.generation))
    return optimizer.class_name in _UNCOUNTED and not optimizer.class_inferred


def keeps_nothing(optimizer: OptimizerState) -> bool:
    """Whether there is nothing to lose but settings, which are here: PyTorch's SGD without momentum."""
    if not (dialect(optimizer.generation).by_parameter and optimizer.class_name and optimizer.generation):
        return False
    known = layouts(optimizer.class_name, optimizer.generation)
    settings = optimizer.hyperparameters
    return any(
        not each.counted and all(kind.when in settings and not settings[kind.when] for kind in each.kinds)
        for each in known
    )


def is_unknown(optimizer: OptimizerState) -> bool:
    """Whether its class is not known, of a dialect where that says nothing of counts: each may keep one or none."""
    return optimizer.class_name is None and dialect(optimizer.generation).by_parameter


def is_stateless(optimizer: OptimizerState) -> bool:
    """Whether it is a chain of optax of which every place is empty, as plain SGD's is: nothing of it can be lost."""
    return dialect(optimizer.generation).chained and optimizer.class_name is not None and not optimizer.slots


def is_possible(iterations: int) -> bool:
    """Whether training can have counted so far: counts are int64 and begin at 0."""
    return 0 <= iterations < 1 << 63


def is_uncounted(optimizer: OptimizerState) -> bool:
    """Whether a count of 0 says nothing: Keras 1's SGD counts only where it has a decay (SGD.get_updates, 1.2.2)."""
    by_decay = optimizer.class_name in dialect(optimizer.generation).counts_with_decay
    return by_decay and optimizer.iterations == 0 and not optimizer.hyperparameters.get("decay")


def lost_all_slots(optimizer: OptimizerState) -> bool:
    """Whether it has stepped and holds no slot, though its class always keeps some."""
    return not optimizer.slots and bool(optimizer.iterations) and keeps_slots(optimizer)


def keeps_slots(optimizer: OptimizerState) -> bool:
    """Whether the class keeps slots in every version, as far as its configuration is known (SGD: with momentum)."""
    if optimizer.class_name is None or optimizer.generation is None:
        return False
    if dialect(optimizer.generation).by_graph:
        return any(each.class_name == optimizer.class_name for each in TF1_OPTIMIZERS)
    known = layouts(optimizer.class_name, optimizer.generation)
    return bool(known) and all(
        any(not kind.when or optimizer.hyperparameters.get(kind.when) for kind in layout.kinds) for layout in known
    )


def in_use(state: TrainingState) -> tuple[OptimizerState, ...]:
    """The optimizers that train something.

    Keras gives a model a new RMSprop where a custom compile() calls `super().compile()`: it stays as it is while those
    in attributes of the model train, and is nobody's loss.
    """
    trained = any(each.iterations for each in state.optimizers)
    if record(state.format).holds != "list" or len(state.optimizers) == 1 or not trained:
        return state.optimizers
    return tuple(each for each in state.optimizers if each.name != "optimizer" or each.iterations or each.slots)


def artifact_status(state: TrainingState) -> Status:
    """The worst of its optimizers; absent if it has none."""
    held = [optimizer_status(each) for each in in_use(state)]
    return max(held, key=_ORDER.index, default=Status.ABSENT)


def slot_names(optimizer: OptimizerState) -> tuple[str, ...]:
    """The kinds of slots that are there or missing, in order of appearance."""
    return tuple(dict.fromkeys([slot[0] for slot in optimizer.slots] + [each.name for each in optimizer.missing]))


def covered(optimizer: OptimizerState) -> tuple[int, int]:
    """How many variables have every slot that is kept for them, of how many that have or should have any."""
    named: set[str | None] = {slot.variable for slot in optimizer.slots}
    nobodys: Mapping[str, int] = {}
    if None in named:
        nobodys = Counter(slot.name for slot in optimizer.slots if slot.variable is None)
    untold = Counter(each.name for each in optimizer.missing if each.variable is None)
    lacking = {each.variable for each in optimizer.missing} - {None}
    some = max(untold.values(), default=0)
    total = len(named) - (None in named) + len(lacking - named) + max(nobodys.values(), default=0) + some
    return total - len(lacking) - some, total


def lacking_names(optimizer: OptimizerState) -> list[str]:
    """The variables that lack a slot; those that nothing tells apart stand at the end, by their number."""
    untold = Counter(each.name for each in optimizer.missing if each.variable is None)
    some = max(untold.values(), default=0)
    names = list(dict.fromkeys(each.variable for each in optimizer.missing if each.variable is not None))
    return [*names, f"{some:,} that nothing tells from others of their shape"] if some else names


def title(optimizer: OptimizerState) -> str:
    """The class as a person says it; `optimizer` where nothing tells."""
    return shortened(optimizer.class_name or "optimizer")


def is_ambiguous(optimizer: OptimizerState) -> bool:
    """Whether no record names the class, and what is stored fits others as well."""
    return optimizer.class_inferred and bool(optimizer.class_candidates)


def _full_state(optimizer: OptimizerState) -> str:
    """`full Adam state`, said so that a class which was chosen among several is not taken for recorded."""
    if is_ambiguous(optimizer):
        return f"full state of {title(optimizer)} or a class that keeps the same"
    if optimizer.class_name is None:
        return "the state of an optimizer of unknown class"
    return f"full {title(optimizer)} state"


def summary(state: TrainingState) -> str:
    """One factual line: `Adam at iteration 7; m, v for 4 of 4 variables`."""
    if not state.optimizers:
        return f"no optimizer state; {counted(len(state.variables), 'model variable')}"
    return " | ".join(_optimizer_summary(each) for each in state.optimizers)


def _optimizer_summary(optimizer: OptimizerState) -> str:
    name = title(optimizer)
    if keeps_nothing(optimizer):
        return f"{name} with its settings, and nothing else to keep"
    if not optimizer.has_state:
        return f"{name} is configured, none of its state is here"
    if optimizer.iterations is None:
        at = "without a count"
        if optimizer.recoverable:
            at += f" ({optimizer.recoverable.value:,} follows from {optimizer.recoverable.source})"
    else:
        at = f"at iteration {optimizer.iterations:,}"
    kinds = slot_names(optimizer)
    if not kinds:
        return f"{name} {at}; no slot variables"
    have, total = covered(optimizer)
    return f"{name} {at}; {', '.join(kinds)} for {have:,} of {counted(total, 'variable')}"


def verdict(state: TrainingState) -> str:
    """What an engineer acts on: does training resume, where, and what is lost."""
    optimizers = in_use(state)
    with_state = [each for each in optimizers if each.has_state or keeps_nothing(each)]
    if not with_state:
        if state.optimizers and state.optimizers[0].class_name:
            name = title(state.optimizers[0])
            return f"weights only: training restarts from a new optimizer ({name} is configured, its state is not here)"
        if record(state.format).holds == "bare-list" and not state.variables:
            return "an empty list: the optimizer kept nothing when it was dumped"
        if not (state.variables or state.optimizers or state.others):
            return "neither weights nor the state of an optimizer is in it: training starts from nothing"
        return "weights only: training restarts from a new optimizer"
    if len(state.optimizers) == 1:
        return optimizer_verdict(state.optimizers[0], state.counters.get("max_steps", 0)) + _untold(state)
    # Where not all are told, the worst are.
    told = sorted(optimizers, key=lambda each: -_ORDER.index(optimizer_status(each)))
    told = told[:_OPTIMIZERS] if len(told) > _OPTIMIZERS else list(optimizers)
    parts = [f"{shortened(each.name or title(each))}: {optimizer_verdict(each)}" for each in told]
    more = len(optimizers) - len(told)
    return "; ".join(parts) + (f"; and {counted(more, 'more optimizer')}" if more else "")


def _untold(state: TrainingState) -> str:
    """The end of a verdict where variables have no slots, and nothing says whether they should."""
    (optimizer,) = state.optimizers
    open_to = [each for each in state.variables if each.trainable is None and "float" in each.tensor.dtype]
    if not open_to:
        return ""
    owners = {slot.variable for slot in optimizer.slots}
    if not owners or None in owners or optimizer_status(optimizer) is not Status.COMPLETE:
        return ""
    shared = {each.tensor.location for each in state.variables if each.path in owners}  # tied ones have it by another
    members = {name for group in optimizer.groups for name in group.variables}
    numbered = dialect(optimizer.generation).by_parameter and bool(members) and None not in members
    known = owners | members
    lone = [
        each.path
        for each in open_to
        if each.path not in known and (each.tensor.place is None or each.tensor.location not in shared)
    ]
    verb = "has" if len(lone) == 1 else "have"
    some = f"{len(lone):,} of {counted(len(state.variables), 'variable')}"
    if numbered:  # its groups say whom it trains; those of them without slots are S014
        return f"; {some} {'is' if len(lone) == 1 else 'are'} in no group of the optimizer" if lone else ""
    return f"; {some} {verb} no slots, and nothing here says whether they are trained" if lone else ""


def optimizer_verdict(optimizer: OptimizerState, most: int = 0) -> str:
    """The verdict on one optimizer.

    Args:
        optimizer: It.
        most: Steps of the whole training; 0 where the artifact does not tell.
    """
    name = "the optimizer" if is_ambiguous(optimizer) else title(optimizer)
    if keeps_nothing(optimizer):
        return f"resumes with the settings of {name}, which keeps no state without momentum"
    if not optimizer.has_state:
        return f"{name} is configured, its state is not here"
    if optimizer.iterations is None:
        source = optimizer.recoverable
        known = f" ({source.value:,} follows from {source.source})" if source else ""
        if never_stepped(optimizer) and source is not None:
            return f"never stepped: {name} is at iteration 0 by {source.source}"
        if optimizer_status(optimizer) is Status.COMPLETE:
            return f"resumes with {_full_state(optimizer)}; no count is here, and it needs none{known}"
        if not optimizer.slots:
            return f"{name} state without slots and without a count{known}"
        if optimizer.missing and dialect(optimizer.generation).by_parameter:
            return f"state is here, but {_lacking(optimizer)}{known}"
        if is_unknown(optimizer):
            return f"the state of an optimizer of unknown class is here; what it counts is not known{known}"
        return f"slots but no count: a schedule would restart{known}"
    if is_uncounted(optimizer):
        state = "momentum is here" if optimizer.slots else "there is no momentum"
        return f"{state}, the count is 0: {name} of Keras 1 counts only with a decay"
    if optimizer.iterations == 0:
        return f"never stepped: {name} is at iteration 0"
    if not is_possible(optimizer.iterations):
        return f"the count is {optimizer.iterations:,}, which no training reaches: it is corrupt"
    of = f" of {most:,}" if most >= optimizer.iterations else ""
    at = f"iteration {optimizer.iterations:,}{of}"
    if lost_all_slots(optimizer):
        return f"{at}, but no slots: {name} would start with empty moments"
    if optimizer.missing:
        return f"{at}, but {_lacking(optimizer)}"
    if not optimizer.slots:
        return (
            f"resumes at {at}; {name} keeps no slots"
            if is_known(optimizer.class_name) and not is_ambiguous(optimizer)
            else f"resumes at {at}; there are no slots"
        )
    return f"resumes at {at} with {_full_state(optimizer)}"


def _lacking(optimizer: OptimizerState) -> str:
    have, total = covered(optimizer)
    verb = "has" if total - have == 1 else "have"
    some = f"{total - have:,} of {counted(total, 'variable')}"
    return f"{some} {verb} no {_full_state(optimizer)}: {enumerate_some(lacking_names(optimizer))}"


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of several."""
    return max(statuses, key=_ORDER.index, default=Status.ABSENT)
