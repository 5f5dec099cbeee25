"""Rules for optimizers that keep state by parameter: what each finds, and what it must leave alone."""

from __future__ import annotations

import re

import pytest

from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (
    Companion,
    Count,
    Format,
    Generation,
    ModelVariable,
    Oddity,
    OptimizerState,
    ParamGroup,
    Role,
    SchedulerState,
    Slot,
    TrainingState,
)


def _slot(variable: str | None, dtype: str = "float32") -> Slot:
    return Slot("exp_avg", Role.FIRST_MOMENT, variable, TensorRef(f"{variable}/exp_avg", dtype, (3,), None), "name")


def _group(*variables: str | None, **settings: object) -> ParamGroup:
    return ParamGroup(None, variables or ("a", "b"), {"lr": 0.1, **settings})


ADAM = OptimizerState(
    "optimizer", "Adam", Generation.TORCH, iterations=7, slots=(_slot("a"), _slot("b")), groups=(_group(),)
)
SCHEDULER = SchedulerState("scheduler", "StepLR", last_epoch=7)
SCALER = Companion("scaler", "scaler", True, "the scale starts over")
RNG = Companion("rng", "rng", True, "others")


def _state(
    optimizer: OptimizerState | None = ADAM,
    *oddities: Oddity,
    dtype: str = "float32",
    schedulers: tuple[SchedulerState, ...] = (),
    companions: tuple[Companion, ...] = (RNG,),
    **counters: int,
) -> TrainingState:
    return TrainingState(
        "p",
        Format.TORCH_CHECKPOINT,
        variables=tuple(ModelVariable(name, TensorRef(name, dtype, (3,), None)) for name in "ab"),
        optimizers=(optimizer,) if optimizer else (),
        schedulers=schedulers,
        companions=companions,
        counters=counters,
        oddities=oddities,
    )


def _found(code: str, state: TrainingState) -> list[Finding]:
    return [each for each in judge(Evidence("p", state)) if each.code == code]


SCHEDULED = ADAM._replace(groups=(_group(initial_lr=0.1),))
LOW = ADAM._replace(slots=(_slot("a", "bfloat16"), _slot("b", "bfloat16")))
UNSAID = ("S015", "S016", "S017", "S021", "S022", "X005", "X006")
"""Those that a reader notices: any oddity of the code is the finding."""

FOUND: dict[str, tuple[TrainingState, str]] = {
    "S013": (_state(SCHEDULED), "the groups of optimizer have initial_lr"),
    "S014": (_state(ADAM._replace(slots=(_slot("a"),))), "1 of 2 parameters have state; frozen .*: b"),
    "S018": (_state(companions=()), "no state of random numbers is here"),
    "S019": (_state(dtype="float16"), "the weights are float16 and no GradScaler's state is here"),
    "S020": (_state(LOW, dtype="bfloat16"), "weights and slots are all bfloat16, without a float32 copy"),
    "S023": (_state(), "load_state_dict sets the stored settings over the program's: lr 0.1"),
    "S024": (_state(ADAM._replace(groups=(_group(train_mode=False),))), r"saved after optimizer\.eval\(\)"),
    "S025": (_state(global_step=7, max_steps=7), "7 of 7 steps are done: resuming trains nothing more"),
    **{code: (_state(ADAM, Oddity(code, "it was noticed")), "it was noticed") for code in UNSAID},
}
"""Code → a state in which its rule finds one thing, and what it says."""

LEFT_ALONE: dict[str, list[TrainingState]] = {
    "S013": [
        _state(),
        _state(SCHEDULED, schedulers=(SCHEDULER,)),
        _state(SCHEDULED._replace(slots=(), iterations=None)),
    ],
    "S014": [
        _state(),
        _state(ADAM._replace(slots=())),
        _state(ADAM._replace(slots=(_slot("a"), _slot(None)))),
        _state(ADAM._replace(slots=(_slot("a"),), groups=(_group("a", None),))),
    ],
    "S018": [_state(), _state(None, companions=()), _state(ADAM._replace(slots=()), companions=())],
    "S019": [
        _state(),
        _state(dtype="bfloat16"),
        _state(dtype="float16", companions=(SCALER,)),
        _state(ADAM._replace(slots=()), dtype="float16"),
    ],
    "S020": [_state(), _state(dtype="bfloat16"), _state(LOW), _state(None, dtype="bfloat16")],
    "S023": [_state(None), _state(ADAM._replace(slots=(), iterations=None))],
    "S024": [_state(), _state(ADAM._replace(groups=(_group(train_mode=True),)))],
    "S025": [_state(global_step=6, max_steps=7), _state(global_step=7), _state(global_step=0, max_steps=0)],
    **{code: [_state()] for code in UNSAID},
}
"""Code → states that its rule must not speak of."""


def test_every_rule_has_cases() -> None:
    """From S013 on there is one that is found and one that is not, and for the rules of what a pickle names."""
    from ckptdoctor.diagnosis.rules import RULES

    mine = {rule.code for rule in RULES if "S013" <= rule.code < "T"} | {"X005", "X006"}
    assert mine == set(FOUND) == set(LEFT_ALONE)


@pytest.mark.parametrize("code", FOUND)
def test_found(code: str) -> None:
    """The rule finds it once, in words that say what is the matter."""
    state, said = FOUND[code]
    (finding,) = _found(code, state)
    assert re.search(said, finding.message)


@pytest.mark.parametrize("code", LEFT_ALONE)
def test_left_alone(code: str) -> None:
    """The rule says nothing of what is right, or of what nothing tells."""
    assert [_found(code, state) for state in LEFT_ALONE[code]] == [[] for _ in LEFT_ALONE[code]]


def test_what_a_trainer_loads_together_is_an_error() -> None:
    """One of `optimizer.pt` and `scheduler.pt` weighs more than a scheduler that nobody saved."""
    (noticed,) = _found("S013", _state(ADAM, Oddity("S013", "optimizer.pt is here and scheduler.pt is not")))
    (missing,) = _found("S013", _state(SCHEDULED))
    assert (noticed.severity, missing.severity) == (Severity.ERROR, Severity.WARNING)


def test_counts_that_are_none() -> None:
    """A count that is stored and no number is told, whatever the class; none at all of an unknown class is not."""
    unknown = ADAM._replace(class_name=None, iterations=None)
    broken = unknown._replace(counts=(Count(None, "parameter", "optimizer/state/0/step", "a"),))
    (finding,) = _found("S002", _state(broken))
    assert finding.message == "1 count of optimizer is no whole number: optimizer/state/0/step"
    assert _found("S002", _state(unknown)) == []


def test_optimizers_of_keras_are_left_alone() -> None:
    """What counts once for all has no groups, and none of these rules speaks of it."""
    keras = ADAM._replace(generation=Generation.KERAS3, groups=())
    said = {
        each.code for each in judge(Evidence("p", _state(keras, companions=())._replace(format=Format.TF_CHECKPOINT)))
    }
    assert not said & set(FOUND)
