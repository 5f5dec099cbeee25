"""S: is the optimizer's state there, complete, and of one piece?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Found, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.lost_count import CORRECTED
from ckptdoctor.diagnosis.mending import graft_from, known_count, repair_of, set_count
from ckptdoctor.diagnosis.status import (
    covered,
    is_possible,
    is_uncounted,
    is_unknown,
    keeps_nothing,
    lacking_names,
    lost_all_slots,
    needs_no_count,
    never_stepped,
    title,
)
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.catalogue import ACCUMULATION, EMA, Extent, SlotKind, layouts
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import OptimizerState, Role, Slot
from ckptdoctor.words import counted, enumerate_some, shortened

_SAVE_BOTH = (
    "a legacy optimizer's slots are saved only together with its model: "
    "tf.train.Checkpoint(model=model, optimizer=optimizer)"
)


def _no_optimizer_state(evidence: Evidence) -> Iterator[tuple[str, str]]:
    if evidence.state is None or any(each.has_state or keeps_nothing(each) for each in evidence.optimizers):
        return
    because = next((f" ({each.message})" for each in evidence.oddities if each.code == "S001"), "")
    named = next((each.class_name for each in evidence.optimizers if each.class_name), None)
    what = f"{named} is configured, but none of its state is here" if named else "no optimizer state is here"
    # Archives never hold what the optimizers of tf.keras up to 2.10 keep (Optimizer.save_own_variables came later).
    kind = record(evidence.state.format)
    taken = all(each.generation is None or kind.takes(each.generation) for each in evidence.optimizers)
    options = () if taken else ("--as", kind.generations[0].value)
    hint = f"put it back from where it is: {graft_from('DONOR', evidence, *options)}"
    if (because and kind.export_hint) or kind.absent_hint:
        places = {"{graft}": graft_from("DONOR", "MODEL.keras"), "{graft here}": graft_from("DONOR", evidence)}
        hint = kind.export_hint or kind.absent_hint
        for place, command in places.items():
            hint = hint.replace(place, command)
    yield f"{what}: training would start with a new optimizer{because}", hint


def _iterations_missing(evidence: Evidence) -> Iterator[Found]:
    for each in evidence.optimizers:
        broken = [count.key for count in each.counts if count.value is None]
        if broken and dialect(each.generation).by_parameter:
            some = f"{counted(len(broken), 'count')} of {_called(evidence, each)}"
            yield f"{some} {'is' if len(broken) == 1 else 'are'} no whole number: {enumerate_some(broken)}", ""
        elif each.slots and each.iterations is None and not never_stepped(each) and not is_unknown(each):
            # The beta powers of TensorFlow 1 correct the bias, whatever the step.
            corrected = each.class_name in CORRECTED and each.recoverable is None
            lost = "schedules and bias correction" if corrected else "a schedule"
            who, way = _called(evidence, each), _way_to_a_count(evidence, each)
            if not needs_no_count(each):
                yield f"{who} has slots but no iteration count: {lost} would start over", way
            elif dialect(each.generation).by_parameter:
                continue  # a scheduler of PyTorch has a count of its own
            elif not dialect(each.generation).counts:
                yield (
                    f"{who} has no count, and its update needs none; a schedule of the program would start over",
                    way,
                    _INFO,
                )
            else:
                yield (
                    f"{who} has no iteration count, and needs none: neither its update nor its rate depends on it",
                    "",
                    _INFO,
                )
        elif each.iterations is not None and not is_possible(each.iterations):
            yield (
                f"{_called(evidence, each)}'s count is {each.iterations:,}, which no training reaches: it is corrupt",
                f"set the count by hand: {set_count(evidence, 'N', *_chosen(evidence, each))}",
            )


_INFO = Severity.INFO


def _called(evidence: Evidence, optimizer: OptimizerState) -> str:
    """The class, with the name of the optimizer where there are several."""
    several = len(evidence.optimizers) > 1 and optimizer.name and optimizer.name != optimizer.class_name
    return f"{title(optimizer)} ({shortened(optimizer.name)})" if several else title(optimizer)


def _chosen(evidence: Evidence, optimizer: OptimizerState) -> tuple[str, ...]:
    """The option of a graft that says which optimizer is meant, where that is needed."""
    return ("--optimizer", optimizer.name) if len(evidence.optimizers) > 1 else ()


def _way_to_a_count(evidence: Evidence, optimizer: OptimizerState) -> str:
    known = known_count(evidence, optimizer)
    follows = f"{known[0]:,} follows from {known[1]}: " if known else "set the count by hand: "
    told = dialect(optimizer.generation)
    if evidence.state is not None and evidence.state.by_objects and not told.counts:
        return follows + "set global_step in the training script; this checkpoint has no place for it"
    options = ("--as", told.place_for_count) if told.place_for_count else ()
    return follows + set_count(evidence, known[0] if known else "N", *options, *_chosen(evidence, optimizer))


def _slots_missing(evidence: Evidence) -> Iterator[tuple[str, str]]:
    hint = f"take them from an artifact that has them: {graft_from('DONOR', evidence)}"
    for each in evidence.optimizers:
        if never_stepped(each):
            continue  # what it lacks would hold nothing yet
        if each.missing:
            have, total = covered(each)
            names = lacking_names(each)
            kinds = ", ".join(dict.fromkeys(item.name for item in each.missing))
            verb = "lacks" if total - have == 1 else "lack"
            yield f"{total - have:,} of {total:,} variables {verb} {kinds}: {enumerate_some(names, 8)}", hint
        elif lost_all_slots(each):
            yield (
                f"{title(each)} is at iteration {each.iterations:,}, but holds no slot variables",
                f"{hint}; {_SAVE_BOTH}" if evidence.variables else _SAVE_BOTH,
            )


def _never_stepped(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        if never_stepped(each) and not is_uncounted(each):
            told = "its count is 0" if each.iterations == 0 else "its beta powers are those of step 0"
            yield (
                f"{_called(evidence, each)} never stepped: {told}",
                "right for a model that is to be trained from the start",
            )


def _orphan_slots(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        lone = [slot for slot in each.slots if slot.variable is None and slot.mapping == "name"]
        if lone and evidence.variables:
            names = enumerate_some([slot.tensor.key for slot in lone])
            yield f"{len(lone):,} slots belong to variables that are not in the artifact: {names}", ""


def _slot_mismatch(evidence: Evidence) -> Iterator[tuple[str, str]]:
    held = {variable.path: variable.tensor for variable in evidence.variables} if evidence.optimizers else {}
    hint = "the state is of another model or another order of its variables: graft it with --map, or drop it"
    for each in evidence.optimizers:
        kinds = _kinds(each)
        for slot in each.slots if kinds else ():
            name, path, dtype, shape = slot.name, slot.variable, slot.tensor.dtype, slot.tensor.shape
            variable = held.get(path or "")
            if variable is None or name not in kinds or (shape == variable.shape and dtype == variable.dtype):
                continue
            if shape != variable.shape and not any(_fits(shape, kind, variable.shape) for kind in kinds[name]):
                yield f"{name} of {path} has shape {list(shape)}, its variable {list(variable.shape)}", hint
            elif _is_float(variable.dtype) and not _is_float(dtype) and shape == variable.shape != ():
                yield f"{name} of {path} is {dtype}, its variable {variable.dtype}", hint


def _fits(shape: tuple[int, ...], kind: SlotKind, variable: tuple[int, ...]) -> bool:
    if kind.extent is Extent.OWN:
        return True
    from ckptdoctor.optimizers.lists.layout import slot_shape

    # Object graphs also link the scalars that stand for an Adafactor's missing factors (tf_keras Adafactor.build).
    return shape in {slot_shape(kind, variable), () if kind.extent in {Extent.ROWS, Extent.COLUMNS} else None}


def _is_float(dtype: str) -> bool:
    return "float" in dtype


def _kinds(optimizer: OptimizerState) -> dict[str, list[SlotKind]]:
    """The slots that the class keeps, by name; of one name there may be several, a real one and a dummy."""
    found: dict[str, list[SlotKind]] = {}
    if optimizer.class_name is None or optimizer.generation is None:
        return found
    for layout in layouts(optimizer.class_name, optimizer.generation):
        for kind in layout.kinds:
            found.setdefault(kind.name, []).append(kind)
    return found


def _mapping_ambiguous(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        guessed = [slot for slot in each.slots if slot.mapping == "order" and slot.variable is not None]
        shapes = Counter(variable.tensor.shape for variable in evidence.variables) if guessed else {}
        unsure = [slot for slot in guessed if shapes.get(slot.tensor.shape, 0) > 1]
        if unsure:
            count = f"{len(unsure):,} of {len(each.slots):,} slots"
            yield f"{count} are known by position only, among equal shapes: the artifact cannot prove their order", ""


_FROM_ZERO = frozenset(
    {
        Role.FIRST_MOMENT, Role.SECOND_MOMENT, Role.MAX_SECOND_MOMENT, Role.MOMENTUM, Role.MEAN_GRADIENT,
        Role.ACCUMULATED_UPDATE, Role.INFINITY_NORM, Role.LINEAR,
    }
)  # fmt: skip
"""Roles that start at zero in every generation, and leave it with the first step that has a gradient."""


def _values_known(evidence: Evidence, optimizer: OptimizerState) -> list[tuple[Slot, bool]]:
    """The slots that start at zero and were scanned, each with whether all of it still is zero."""
    if evidence.scan is None:
        return []
    from ckptdoctor.optimizers.starting import begins_at_zero

    seen = evidence.scan.tensors
    return [
        (slot, seen[slot.tensor].all_zero)
        for slot in optimizer.slots
        if slot.role in _FROM_ZERO and slot.tensor in seen and slot.tensor.size and begins_at_zero(optimizer, slot)
    ]


def _count_reset(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        if each.iterations != 0 or is_uncounted(each):
            continue
        used = [slot for slot, zero in _values_known(evidence, each) if not zero]
        if used:
            names = enumerate_some([slot.tensor.key for slot in used])
            yield (
                f"{title(each)} is at iteration 0, but {len(used):,} of its slots are not zero: {names}",
                f"the count was reset: set it by hand: {set_count(evidence, 'N', *_chosen(evidence, each))}",
            )


def _slots_zero(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        seen = _values_known(evidence, each) if each.iterations else []
        if seen and all(zero for _, zero in seen):
            yield (
                f"{title(each)} is at iteration {each.iterations:,}, but every one of its {len(seen):,} slots is zero",
                f"the slots were lost and made anew: {graft_from('DONOR', evidence, '--only', 'slots')}",
            )


def _class_mismatch(evidence: Evidence) -> Iterator[tuple[str, str]]:
    hint = "compile the model with the optimizer that the state is of, then load it"
    for each in evidence.optimizers:
        if each.class_name is None or each.generation is None or each.class_inferred:
            continue
        strange = _strange(each)
        if _kinds(each) and evidence.variables and each.slots and all(_unplaced(slot) for slot in each.slots):
            count = f"{len(each.slots):,} slots, which do not fit the model's {len(evidence.variables):,} variables"
            yield f"{each.class_name} is recorded, but the state has {count}", hint
        elif strange:
            yield f"{each.class_name} is recorded, but the state has {', '.join(strange)}, which it does not keep", hint
        else:
            yield from ((sentence, hint) for sentence in _flag_conflicts(each))


def _unplaced(slot: Slot) -> bool:
    return slot.variable is None and slot.mapping != "name"


def _strange(optimizer: OptimizerState) -> list[str]:
    """Slots that no variant of the recorded class keeps."""
    kinds = _kinds(optimizer)
    if not kinds or dialect(optimizer.generation).by_graph:
        return []
    names = dict.fromkeys(slot.name for slot in optimizer.slots if slot.role is not Role.OTHER)
    return [name for name in names if name not in {*kinds, EMA.name, ACCUMULATION.name}]


_TOLD = frozenset({"amsgrad", "momentum", "centered"})
"""Settings that decide whether a slot exists, and that a configuration names as it does."""


def _flag_conflicts(optimizer: OptimizerState) -> Iterator[str]:
    """Where a setting says that a slot exists and none does, or the other way round."""
    there = {slot.name for slot in optimizer.slots}
    if not there or optimizer.class_inferred or not dialect(optimizer.generation).settings_tell_slots:
        return
    for name, kinds in _kinds(optimizer).items():
        told = {kind.when for kind in kinds}
        setting = next(iter(told)) if len(told) == 1 else ""
        if setting not in _TOLD or setting not in optimizer.hyperparameters:
            continue
        value = optimizer.hyperparameters[setting]
        if bool(value) != (name in there) and isinstance(value, (bool, int, float)):
            state = f"keeps no {name}" if value else f"keeps {name}"
            yield f"the configuration says {setting} {str(value).lower()}, but the state {state}"


def _wrapper_state(evidence: Evidence) -> Iterator[tuple[str, str]]:
    for each in evidence.optimizers:
        wrapper = each.wrapper
        if wrapper is None:
            continue
        if wrapper.variables and not each.has_state:
            yield (
                f"the {wrapper.class_name} is here, the optimizer inside it is not",
                f"put its state back: {graft_from('DONOR', evidence)}",
            )
        elif each.has_state and wrapper.scales_loss and not wrapper.variables and wrapper.loss_scale is None:
            yield (
                (f"the optimizer inside the {wrapper.class_name} is here, the loss scale is not: it would start over"),
                "expect some skipped steps after resuming, until the scale has settled",
            )


_SWAP_IN = "optimizer.finalize_variable_values(model.trainable_variables) swaps them in"
_SWAP_IN_ADDON = "optimizer.assign_average_vars(model.variables) of tensorflow_addons swaps them in"
_SWAP_IN_TF1 = "tf.compat.v1.train.Saver(average.variables_to_restore()) restores them in place of the weights"


def _averages(evidence: Evidence) -> Iterator[tuple[str, str]]:
    yield from noticed("S012")(evidence)
    for each in evidence.optimizers:
        count = len([slot for slot in each.slots if slot.role is Role.MOVING_AVERAGE])
        if not count:
            continue
        equal = evidence.scan.equal_averages if evidence.scan is not None else None
        by_graph = dialect(each.generation).by_graph
        addon = each.wrapper is not None and not each.wrapper.scales_loss
        keeper = "an ExponentialMovingAverage" if by_graph else title(each)
        if addon and each.wrapper is not None:
            keeper = each.wrapper.class_name
        text = f"{keeper} keeps moving averages of {count:,} {'variable' if count == 1 else 'variables'}"
        if equal:
            text += f"; {len(equal):,} of them equal the weights: they are already swapped in"
        if dialect(each.generation).by_parameter or dialect(each.generation).chained:  # no call of theirs swaps
            yield text, ""
            continue
        call = _SWAP_IN_TF1 if by_graph else _SWAP_IN_ADDON if addon else _SWAP_IN
        # Only who has read the values knows that there is something to exchange.
        mends = equal is not None and evidence.state is not None and record(evidence.state.format).refill is not None
        yield text, "" if equal else f"{call}; in the file: {repair_of(evidence, 'averages')}" if mends else call


RULES: tuple[Rule, ...] = (
    Rule("S001", "no-optimizer-state", Severity.ERROR, "weights only: a new optimizer", _no_optimizer_state),
    Rule("S002", "iterations-missing", Severity.ERROR, "slots without a count", _iterations_missing),
    Rule("S003", "slots-missing", Severity.ERROR, "k of n variables lack slots, by name", _slots_missing),
    Rule("S004", "never-stepped", Severity.WARNING, "state was made, the count is 0", _never_stepped),
    Rule("S005", "count-reset", Severity.ERROR, "the count is 0, but slots are not zero", _count_reset, deep=True),
    Rule("S006", "slots-zero", Severity.WARNING, "the count is above 0, all slots are zero", _slots_zero, deep=True),
    Rule("S007", "orphan-slot", Severity.WARNING, "a slot's variable is not in the artifact", _orphan_slots),
    Rule("S008", "slot-mismatch", Severity.ERROR, "a slot's shape or type is not its variable's", _slot_mismatch),
    Rule("S009", "class-mismatch", Severity.ERROR, "configuration and state are of two optimizers", _class_mismatch),
    Rule("S010", "mapping-ambiguous", Severity.INFO, "only the order maps slots to variables", _mapping_ambiguous),
    Rule("S011", "wrapper-state", Severity.WARNING, "half of a LossScaleOptimizer is missing", _wrapper_state),
    Rule("S012", "averages", Severity.INFO, "moving averages are here, or already swapped in", _averages),
)
