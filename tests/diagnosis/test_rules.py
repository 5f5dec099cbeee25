"""The rules: pure functions of a state, one table."""

from __future__ import annotations

import re

import pytest

from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding, Severity
from ckptdoctor.diagnosis.rules import RULES
from ckptdoctor.diagnosis.rules import judge as judge_evidence
from ckptdoctor.diagnosis.status import optimizer_status, optimizer_verdict
from ckptdoctor.references import Chunk, Chunked, Inline, TensorRef
from ckptdoctor.state import (
    Format,
    Generation,
    Mapped,
    MissingSlot,
    ModelVariable,
    Oddity,
    OptimizerState,
    Recoverable,
    Role,
    Schedule,
    Slot,
    Status,
    TrainingState,
)


def _ref(key: str, shape: tuple[int, ...] = (3,)) -> TensorRef:
    return TensorRef(key, "float32", shape, None)


def _slot(variable: str | None, shape: tuple[int, ...] = (3,), *, name: str = "m", mapping: Mapped = "name") -> Slot:
    return Slot(name, Role.FIRST_MOMENT, variable, _ref(f"{variable}/{name}", shape), mapping)


ADAM = OptimizerState("optimizer", "Adam", Generation.OPTIMIZER_V2, iterations=7, slots=(_slot("a"), _slot("b")))
SCHEDULE = Schedule("CosineDecay", {}, learning_rate_if_lost=0.1)


def _state(*optimizers: OptimizerState, oddities: tuple[Oddity, ...] = (), **shapes: tuple[int, ...]) -> TrainingState:
    shapes = shapes or {"a": (3,), "b": (3,)}
    held = tuple(ModelVariable(name, _ref(name, shape)) for name, shape in shapes.items())
    return TrainingState("p", Format.TF_CHECKPOINT, variables=held, optimizers=optimizers, oddities=oddities)


def judge(state: TrainingState) -> list[Finding]:
    """What the rules find beyond the share of the bytes, which they say of every state."""
    return [each for each in judge_evidence(Evidence("p", state)) if each.code != "P002"]


def _chunked(*codecs: str) -> TrainingState:
    place = Chunked((3,), (3,), (Chunk((0,), Inline(b"")),), codecs)
    held = tuple(ModelVariable(name, _ref(name).at(place)) for name in "ab")
    return _state(ADAM)._replace(variables=held)


CASES: dict[str, tuple[TrainingState, list[tuple[str, str]]]] = {
    "complete": (_state(ADAM), []),
    "weights only": (_state(), [("S001", "no optimizer state is here: training would start with a new optimizer")]),
    "configured": (
        _state(OptimizerState("optimizer", "Adam", None)),
        [("S001", "Adam is configured, but none of its state is here")],
    ),
    "the reader knows why": (
        _state(oddities=(Oddity("S001", "written by an export"),)),
        [("S001", r"with a new optimizer \(written by an export\)")],
    ),
    "no count": (
        _state(ADAM._replace(iterations=None)),
        [("S002", "Adam has slots but no iteration count")],
    ),
    "chunks without checksums": (
        _chunked("zstd"),
        [("I009", "the values of 2 arrays have no checksums")],
    ),
    "chunks with checksums": (_chunked("zstd", "crc32c"), []),
    "the latest holds nothing": (
        _state(ADAM, oddities=(Oddity("I006", "latest_step() takes 9"),)),
        [("I006", r"latest_step\(\) takes 9")],
    ),
    "two runs in a directory": (
        _state(ADAM, oddities=(Oddity("P005", "1 was saved after 7"),)),
        [("P005", "1 was saved after 7")],
    ),
    "fresh": (_state(ADAM._replace(iterations=0)), [("S004", "Adam never stepped: its count is 0")]),
    "missing": (
        _state(ADAM._replace(slots=(_slot("a"),), missing=(MissingSlot("m", Role.FIRST_MOMENT, "b"),))),
        [("S003", "1 of 2 variables lacks m: b")],
    ),
    "all lost": (
        _state(ADAM._replace(slots=())),
        [("S003", "Adam is at iteration 7, but holds no slot variables")],
    ),
    "orphans": (
        _state(ADAM._replace(slots=(_slot("a"), _slot(None)))),
        [("S007", "1 slots belong to variables that are not in the artifact: None/m")],
    ),
    "unmapped is no orphan": (_state(ADAM._replace(slots=(_slot("a"), _slot(None, mapping="order")))), []),
    "shapes": (
        _state(ADAM._replace(slots=(_slot("a", (4,)), _slot("b")))),
        [("S008", r"m of a has shape \[4\], its variable \[3\]")],
    ),
    "ambiguous": (
        _state(ADAM._replace(slots=(_slot("a", mapping="order"), _slot("b", mapping="order")))),
        [("S010", "2 of 2 slots are known by position only, among equal shapes")],
    ),
    "by position, but shapes differ": (
        _state(ADAM._replace(slots=(_slot("a", mapping="order"), _slot("b", (4,), mapping="order"))), a=(3,), b=(4,)),
        [],
    ),
    "schedule": (
        _state(ADAM._replace(iterations=None, schedule=SCHEDULE)),
        [("S002", "no iteration count"), ("L001", "CosineDecay would restart: the next learning rate would be 0.1")],
    ),
    "schedule with its count": (_state(ADAM._replace(schedule=SCHEDULE)), []),
    "two of them": (
        _state(ADAM._replace(iterations=0), ADAM._replace(iterations=0)),
        [("S004", "never stepped"), ("S004", "never stepped")],
    ),
    "oddities": (
        _state(ADAM, oddities=(Oddity("P001", "names nothing"), Oddity("X001", "runs"))),
        [("P001", "names nothing"), ("X001", "runs")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    """What each rule finds, and that the others are silent."""
    state, expected = CASES[case]
    found = judge(state)
    assert [each.code for each in found] == [code for code, _ in expected]
    for each, (_, message) in zip(found, expected, strict=True):
        assert re.search(message, each.message)


def test_factored_slots_have_shapes_of_their_own() -> None:
    """Adafactor's factored slots are not their variable's shape, and no mismatch."""
    slots = (_slot("w", (3,), name="r"), _slot("w", (4,), name="c"), _slot("w", (3, 4), name="v"))
    held = OptimizerState("o", "Adafactor", Generation.KERAS2, iterations=7, slots=slots)
    assert "S008" not in {each.code for each in judge(_state(held, w=(3, 4)))}
    wrong = held._replace(slots=(_slot("w", (5,), name="r"),))
    assert "S008" in {each.code for each in judge(_state(wrong, w=(3, 4)))}


def test_a_recoverable_count_is_a_hint() -> None:
    """Where the count follows from something, the hint says its value and source, and L001 what its loss would do."""
    held = ADAM._replace(iterations=None, recoverable=Recoverable(7, "beta2_power"))
    missing, restarts = judge(_state(held))
    hint = "7 follows from beta2_power: ckptdoctor graft --into p --iterations 7 --output p-resumed"
    assert (missing.code, missing.hint) == ("S002", hint)
    assert (restarts.code, restarts.hint) == ("L001", hint)
    assert restarts.message == "Adam's first update would be 2 times larger"


def test_severities() -> None:
    """Findings carry the severity of their rule, also where a reader noticed the thing."""
    found = {each.code: each.severity for each in judge(_state(oddities=(Oddity("P003", "a data file"),)))}
    assert found == {"S001": Severity.ERROR, "P003": Severity.INFO}


def test_the_table() -> None:
    """Codes are unique and well-formed, names too."""
    codes = [rule.code for rule in RULES]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[EISVLPX]\d{3}", code) for code in codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name) for rule in RULES)


def test_a_list_that_does_not_fit_the_model() -> None:
    """S009 where a recorded class has more slots than the model's variables account for."""
    slots = tuple(_slot(None, mapping="shape", name="accumulator") for _ in range(4))
    held = OptimizerState("optimizer", "Adagrad", Generation.KERAS3, iterations=7, slots=slots)
    (finding,) = judge(_state(held))
    assert finding.code == "S009"
    assert "Adagrad is recorded, but the state has 4 slots, which do not fit the model's 2 variables" in finding.message


@pytest.mark.parametrize(
    ("optimizer", "weight"),
    [
        (OptimizerState("o", "RMSprop", Generation.KERAS1, slots=(_slot("a"),)), Severity.INFO),
        (OptimizerState("o", "Adagrad", Generation.KERAS1, slots=(_slot("a"),)), Severity.INFO),
        (
            OptimizerState("o", "RMSprop", Generation.KERAS1, slots=(_slot("a"),), hyperparameters={"decay": 0.1}),
            Severity.ERROR,
        ),
        (OptimizerState("o", "RMSprop", Generation.KERAS1, slots=(_slot("a"),), schedule=SCHEDULE), Severity.ERROR),
        (OptimizerState("o", "Adam", Generation.KERAS1, slots=(_slot("a"),)), Severity.ERROR),
        (OptimizerState("o", "RMSprop", Generation.KERAS1, class_inferred=True, slots=(_slot("a"),)), Severity.ERROR),
        (OptimizerState("o", "Adam", Generation.TF1, slots=(_slot("a"),)), Severity.ERROR),
        (OptimizerState("o", "SGD", Generation.TF1, slots=(_slot("a"),)), Severity.INFO),
        (OptimizerState("o", "AdagradDA", Generation.TF1, slots=(_slot("a"),)), Severity.ERROR),
    ],
)
def test_a_count_weighs_as_much_as_it_is_needed(optimizer: OptimizerState, weight: Severity) -> None:
    """S002 is an error where training goes on otherwise without the count; status and verdict agree with it."""
    found = [each for each in judge(_state(optimizer)) if each.code == "S002"]
    assert [each.severity for each in found] == [weight]
    assert (optimizer_status(optimizer) is Status.COMPLETE) is (weight is Severity.INFO)
    assert optimizer_verdict(optimizer).startswith("resumes") is (weight is Severity.INFO)


def test_what_never_stepped_has_lost_nothing() -> None:
    """At iteration 0 slots that are not there would be empty: S004 says all of it."""
    fresh = ADAM._replace(iterations=0, missing=(MissingSlot("v", Role.SECOND_MOMENT, "a"),))
    assert [each.code for each in judge(_state(fresh))] == ["S004"]
