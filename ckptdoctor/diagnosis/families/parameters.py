"""S, for optimizers that keep state by parameter: groups, parts of state, schedulers, and what goes with them."""

from __future__ import annotations

from collections.abc import Iterator

from ckptdoctor.diagnosis.evidence import Evidence, Found, Rule, noticed
from ckptdoctor.diagnosis.findings import Severity
from ckptdoctor.diagnosis.mending import repair_beside, repair_of
from ckptdoctor.formats.registry import record
from ckptdoctor.optimizers.dialects import dialect
from ckptdoctor.state import OptimizerState, TrainingState
from ckptdoctor.words import counted, enumerate_some

_SET_BY_SCHEDULER = "initial_lr"
_TRAIN_MODE = "train_mode"
_START_LIKE_IT = (
    "save scheduler.state_dict() beside it; here, step a new one as often as training did, and only then load the "
    "optimizer"
)
_HALF = "float16"
_ALL_IN_ONE = frozenset({"LBFGS"})
"""Classes that keep what they know of all parameters under the first."""
_LATEST = "`latest`"
_LOW = frozenset({"float16", "bfloat16"})


def _by_parameter(evidence: Evidence) -> list[OptimizerState]:
    return [each for each in evidence.optimizers if dialect(each.generation).by_parameter and each.groups]


def _scheduler_missing(evidence: Evidence) -> Iterator[Found]:
    yield from _told(evidence)
    if evidence.state is None or evidence.state.schedulers:
        return
    for each in _by_parameter(evidence):
        rates = [group.hyperparameters.get(_SET_BY_SCHEDULER) for group in each.groups]
        if each.has_state and any(rate is not None for rate in rates):
            said = (
                f"the groups of {each.name or 'the optimizer'} have initial_lr, which a scheduler sets, and no state "
                "of one is here: the schedule would start over from another rate"
            )
            yield said, _START_LIKE_IT


def _told(evidence: Evidence) -> Iterator[Found]:
    """What a reader says of a directory whose trainer loads both parts or neither: an error."""
    for each in evidence.oddities:
        if each.code == "S013":
            yield each.message, "put the missing file back, or start from an older checkpoint", Severity.ERROR


def _part_of_state(evidence: Evidence) -> Iterator[Found]:
    for each in _by_parameter(evidence):
        variables = [name for group in each.groups for name in group.variables]
        having = {slot.variable for slot in each.slots}
        if each.class_name in _ALL_IN_ONE or not having or None in having or None in variables:
            continue
        without = [name for name in variables if name is not None and name not in having]
        if without:
            some = f"{len(variables) - len(without):,} of {counted(len(variables), 'parameter')} have state"
            yield f"{some}; frozen and unused ones have none: {enumerate_some(without, 8)}", ""


def _scaler_missing(evidence: Evidence) -> Iterator[Found]:
    if evidence.state is None or any(each.kind == "scaler" for each in evidence.state.companions):
        return
    stepped = [each for each in _by_parameter(evidence) if each.slots]
    if stepped and any(each.tensor.dtype == _HALF for each in evidence.variables):
        yield (
            "the weights are float16 and no GradScaler's state is here: the scale would start over at 65,536",
            "save scaler.state_dict() beside the optimizer; the first steps after loading may be skipped",
        )


def _masters_missing(evidence: Evidence) -> Iterator[Found]:
    for each in _by_parameter(evidence):
        slots = {slot.tensor.dtype for slot in each.slots if slot.tensor.shape}
        weights = {variable.tensor.dtype for variable in evidence.variables if "float" in variable.tensor.dtype}
        if slots and weights and slots <= _LOW and weights <= _LOW:
            types = " and ".join(sorted(slots | weights))
            yield f"weights and slots are all {types}, without a float32 copy: small updates are rounded away", ""


def _other_ranks(evidence: Evidence) -> Iterator[Found]:
    again = "copy the whole directory again, from every node that saved into it"
    for message, _ in noticed("S022")(evidence):
        if message.startswith(_LATEST):
            yield message, f"{again}; or load what is here: {repair_beside(evidence)}"
        else:
            yield message, again


def _settings_win(evidence: Evidence) -> Iterator[Found]:
    for each in _by_parameter(evidence):
        if each.has_state:
            rates = {repr(group.hyperparameters.get("lr")) for group in each.groups}
            told = f"load_state_dict sets the stored settings over the program's: lr {', '.join(sorted(rates)[:4])}"
            mend = repair_of(evidence, "learning-rate", "--learning-rate", "RATE") if _is_mended(evidence) else ""
            yield told, f"to go on at another rate: {mend}" if mend else ""


def _is_mended(evidence: Evidence) -> bool:
    return evidence.state is not None and record(evidence.state.format).mended


def _evaluation_weights(evidence: Evidence) -> Iterator[Found]:
    for each in _by_parameter(evidence):
        if any(group.hyperparameters.get(_TRAIN_MODE) is False for group in each.groups):
            who = each.class_name or "the optimizer"
            said = f"{who} was saved after optimizer.eval(): the weights here are averages, not those that are trained"
            yield said, "call optimizer.train() after loading, before the next step"


def _finished(evidence: Evidence) -> Iterator[Found]:
    counters = evidence.state.counters if evidence.state is not None else {}
    done, most = counters.get("global_step"), counters.get("max_steps")
    if done and most and done >= most > 0:
        yield f"{done:,} of {most:,} steps are done: resuming trains nothing more", "raise max_steps to go on"


def _rng_missing(evidence: Evidence) -> Iterator[Found]:
    state = evidence.state
    if state is None or not _resumes(state) or any(each.kind == "rng" for each in state.companions):
        return
    yield "no state of random numbers is here: dropout and the order of data will be others", ""


def _resumes(state: TrainingState) -> bool:
    return any(dialect(each.generation).by_parameter and each.slots for each in state.optimizers)


RULES: tuple[Rule, ...] = (
    Rule("S013", "scheduler-missing", Severity.WARNING, "a schedule whose state is not here", _scheduler_missing),
    Rule("S014", "part-of-state", Severity.INFO, "parameters without state: frozen or unused", _part_of_state),
    Rule(
        "S015",
        "groups-differ",
        Severity.ERROR,
        "groups and state do not number the same parameters",
        noticed("S015", "load it with the program that saved it, and save both again"),
    ),
    Rule(
        "S016",
        "state-of-other-parameters",
        Severity.ERROR,
        "slots whose shapes fit no order of the weights",
        noticed("S016", "find the weights that it was saved with: load_state_dict checks no shape"),
    ),
    Rule(
        "S017",
        "text-indices",
        Severity.ERROR,
        "state under text, which load_state_dict drops",
        noticed("S017"),
    ),
    Rule("S018", "rng-missing", Severity.INFO, "no state of random numbers", _rng_missing),
    Rule("S019", "scaler-missing", Severity.WARNING, "float16 weights without a GradScaler", _scaler_missing),
    Rule("S020", "masters-missing", Severity.WARNING, "half precision without a float32 copy", _masters_missing),
    Rule("S021", "mid-epoch", Severity.INFO, "saved within an epoch", noticed("S021")),
    Rule(
        "S022",
        "other-ranks",
        Severity.ERROR,
        "a rank's shard, or a tag that is named, is not there",
        _other_ranks,
    ),
    Rule("S023", "settings-win", Severity.INFO, "stored settings override the program's", _settings_win),
    Rule(
        "S024",
        "evaluation-weights",
        Severity.WARNING,
        "averaged weights in place of the trained ones",
        _evaluation_weights,
    ),
    Rule("S025", "finished", Severity.INFO, "all steps are done", _finished),
)
