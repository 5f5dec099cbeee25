"""Status, summary and verdict: tables of states and what they mean for the next step."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ckptdoctor.diagnosis.status import (
    artifact_status,
    covered,
    keeps_slots,
    optimizer_status,
    optimizer_verdict,
    summary,
    verdict,
    worst,
)
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (
    Format,
    Generation,
    MissingSlot,
    ModelVariable,
    OptimizerState,
    OtherVariable,
    Recoverable,
    Role,
    Slot,
    Status,
    TrainingState,
)
from ckptdoctor.words import enumerate_some

K1, TF1 = Generation.KERAS1, Generation.TF1
V2, K2, K3 = Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3


def slot(variable: str | None, name: str = "m") -> Slot:
    """A slot of a vector."""
    return Slot(name, Role.FIRST_MOMENT, variable, TensorRef(f"{variable}/{name}", "float32", (3,), None))


def optimizer(
    iterations: int | None,
    slots: Sequence[str | None] = (),
    missing: Sequence[str] = (),
    class_name: str | None = "Adam",
    generation: Generation | None = V2,
) -> OptimizerState:
    """An optimizer with these slots `m`."""
    return OptimizerState(
        "optimizer",
        class_name,
        generation,
        iterations=iterations,
        slots=tuple(slot(each) for each in slots),
        missing=tuple(MissingSlot("m", Role.FIRST_MOMENT, each) for each in missing),
    )


def state(*optimizers: OptimizerState, variables: int = 0) -> TrainingState:
    """A checkpoint that holds them."""
    names = [f"v{number}" for number in range(variables)]
    held = tuple(ModelVariable(name, TensorRef(name, "float32", (3,), None)) for name in names)
    return TrainingState("p", Format.TF_CHECKPOINT, variables=held, optimizers=optimizers)


RATE = OtherVariable("learning_rate", TensorRef("lr", "float32", (), None), 0.5)
WITH_RATE = optimizer(None)._replace(other=(RATE,))

CASES: list[tuple[OptimizerState, Status, str]] = [
    (optimizer(7, ["a", "b"]), Status.COMPLETE, "resumes at iteration 7 with full Adam state"),
    (optimizer(7524, ["a"]), Status.COMPLETE, "resumes at iteration 7,524 with full Adam state"),
    (optimizer(0, ["a"]), Status.FRESH, "never stepped: Adam is at iteration 0"),
    (optimizer(0), Status.FRESH, "never stepped: Adam is at iteration 0"),
    (
        optimizer(7, ["a"], ["b"]),
        Status.PARTIAL,
        "iteration 7, but 1 of 2 variables has no full Adam state: b",
    ),
    (
        optimizer(7, ["a"], ["b", "c", "d", "e", "f"]),
        Status.PARTIAL,
        "iteration 7, but 5 of 6 variables have no full Adam state: b, c, d and 2 more",
    ),
    (optimizer(7), Status.PARTIAL, "iteration 7, but no slots: Adam would start with empty moments"),
    (optimizer(None, ["a"]), Status.PARTIAL, "slots but no count: a schedule would restart"),
    (
        optimizer(None, ["a"])._replace(recoverable=Recoverable(7, "beta2_power")),
        Status.PARTIAL,
        "slots but no count: a schedule would restart (7 follows from beta2_power)",
    ),
    (WITH_RATE, Status.PARTIAL, "Adam state without slots and without a count"),
    (optimizer(None), Status.ABSENT, "Adam is configured, its state is not here"),
    (optimizer(7, class_name="SGD"), Status.COMPLETE, "resumes at iteration 7; SGD keeps no slots"),
    (optimizer(7, class_name=None, generation=None), Status.COMPLETE, "resumes at iteration 7; there are no slots"),
    (optimizer(7, class_name="SGD", generation=TF1), Status.PARTIAL, "iteration 7, but no slots: SGD would start"),
    (optimizer(7, class_name="RMSprop", generation=K3), Status.PARTIAL, "iteration 7, but no slots"),
    (optimizer(7, class_name="SGD")._replace(hyperparameters={"momentum": 0.9}), Status.PARTIAL, "iteration 7, but no"),
    (
        optimizer(0, ["a"], class_name="SGD", generation=K1),
        Status.FRESH,
        "momentum is here, the count is 0",
    ),
    (optimizer(0, ["a"], class_name="Adam", generation=K1), Status.FRESH, "never stepped: Adam is at iteration 0"),
    (optimizer(-3, ["a"]), Status.PARTIAL, "the count is -3, which no training reaches"),
    (optimizer(1 << 63, ["a"]), Status.PARTIAL, "the count is 9,223,372,036,854,775,808, which"),
    (optimizer((1 << 63) - 1, ["a"]), Status.COMPLETE, "resumes at iteration 9,223,372,036,854,775,807"),
]


@pytest.mark.parametrize(("held", "status", "words"), CASES, ids=[words for _, _, words in CASES])
def test_one_optimizer(held: OptimizerState, status: Status, words: str) -> None:
    """The status of an optimizer, and the verdict in words."""
    assert optimizer_status(held) is status
    assert optimizer_verdict(held).startswith(words)
    assert artifact_status(state(held)) is status


@pytest.mark.parametrize(
    ("class_name", "generation", "keeps"),
    [
        ("Adam", V2, True), ("SGD", V2, False), ("SGD", K2, False), ("SGD", K3, False), ("Adam", K3, True),
        ("Mine", K3, False), (None, K3, False), ("Adam", None, False), ("Adam", TF1, True),
    ],
)  # fmt: skip
def test_classes_that_keep_slots(class_name: str | None, generation: Generation | None, *, keeps: bool) -> None:
    """Whether a class without slots has lost them: SGD keeps none without momentum, an unknown class may keep none."""
    held = optimizer(7, class_name=class_name, generation=generation)
    assert keeps_slots(held) is keeps
    assert optimizer_status(held) is (Status.PARTIAL if keeps else Status.COMPLETE)


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([], Status.ABSENT),
        ([Status.COMPLETE, Status.FRESH], Status.FRESH),
        ([Status.FRESH, Status.PARTIAL, Status.COMPLETE], Status.PARTIAL),
        ([Status.PARTIAL, Status.ABSENT], Status.ABSENT),
        ([Status.ABSENT, Status.UNREADABLE], Status.UNREADABLE),
    ],
)
def test_the_worst(held: list[Status], expected: Status) -> None:
    """Of several statuses the worst counts; of none, absent."""
    assert worst(held) is expected


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        (optimizer(7, ["a", "b"]), (2, 2)),
        (optimizer(7, ["a", "b"], ["c"]), (2, 3)),
        (optimizer(7, ["a"], ["a"]), (0, 1)),
        (optimizer(7, [None, None]), (2, 2)),
        (optimizer(7), (0, 0)),
    ],
)
def test_covered(held: OptimizerState, expected: tuple[int, int]) -> None:
    """How many variables have all their slots; slots without a known variable count by kind."""
    assert covered(held) == expected


@pytest.mark.parametrize(
    ("held", "line"),
    [
        (state(variables=1), "no optimizer state; 1 model variable"),
        (state(variables=4), "no optimizer state; 4 model variables"),
        (state(optimizer(7, ["a", "b"])), "Adam at iteration 7; m for 2 of 2 variables"),
        (state(optimizer(7, ["a"], ["b"])), "Adam at iteration 7; m for 1 of 2 variables"),
        (state(optimizer(None, ["a"])), "Adam without a count; m for 1 of 1 variable"),
        (state(optimizer(7)), "Adam at iteration 7; no slot variables"),
        (state(optimizer(None)), "Adam is configured, none of its state is here"),
        (state(optimizer(7, class_name=None)), "optimizer at iteration 7; no slot variables"),
        (
            state(optimizer(7, ["a"]), optimizer(0, ["b"])),
            "Adam at iteration 7; m for 1 of 1 variable | Adam at iteration 0; m for 1 of 1 variable",
        ),
        (
            state(optimizer(None, ["a"])._replace(recoverable=Recoverable(1234, "beta2_power"))),
            "Adam without a count (1,234 follows from beta2_power); m for 1 of 1 variable",
        ),
    ],
)
def test_summary(held: TrainingState, line: str) -> None:
    """One factual line."""
    assert summary(held) == line


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (
            state()._replace(variables=(ModelVariable("a", TensorRef("a", "float32", (3,), None)),)),
            "weights only: training restarts from a new optimizer",
        ),
        (
            state(),
            "neither weights nor the state of an optimizer is in it: training starts from nothing",
        ),
        (
            state(optimizer(None)),
            "weights only: training restarts from a new optimizer (Adam is configured, its state is not here)",
        ),
        (state(optimizer(None, class_name=None)), "weights only: training restarts from a new optimizer"),
        (state(optimizer(7, ["a"])), "resumes at iteration 7 with full Adam state"),
        (
            state(optimizer(7, ["a"])._replace(name="gen"), optimizer(None)._replace(name="disc")),
            "gen: resumes at iteration 7 with full Adam state; disc: Adam is configured, its state is not here",
        ),
    ],
)
def test_verdict(held: TrainingState, words: str) -> None:
    """What an engineer acts on; of several optimizers, each by name."""
    assert verdict(held) == words


@pytest.mark.parametrize(
    ("names", "shown"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b, c"), (list("abcde"), "a, b, c and 2 more")]
)
def test_enumerations(names: list[str], shown: str) -> None:
    """The first few names, and how many more there are."""
    assert enumerate_some(names) == shown


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (optimizer(7, ["a"]), "resumes at iteration 7 with full state of Adam or a class that keeps the same"),
        (
            optimizer(7, ["a"], ["b"]),
            "iteration 7, but 1 of 2 variables has no full state of Adam or a class that keeps the same: b",
        ),
        (optimizer(0, ["a"]), "never stepped: the optimizer is at iteration 0"),
        (optimizer(7), "iteration 7, but no slots: the optimizer would start with empty moments"),
    ],
)
def test_a_class_among_several(found: OptimizerState, expected: str) -> None:
    """A class that was chosen among several that fit is not told as if it were recorded; an only one is."""
    ambiguous = found._replace(class_inferred=True, class_candidates=("AdamW",))
    assert verdict(state(ambiguous)) == expected
    only = found._replace(class_inferred=True)
    assert verdict(state(only)) == verdict(state(found))


def test_many_optimizers() -> None:
    """A verdict tells of a few optimizers, of the worst where it cannot tell of all."""
    fine = [optimizer(7, ["a"])._replace(name=f"o{number}") for number in range(1003)]
    few = verdict(state(*fine[:8]))
    assert few.split("; ") == [f"o{number}: resumes at iteration 7 with full Adam state" for number in range(8)]
    lost = optimizer(None, ["a"])._replace(name="lost")
    many = verdict(state(*fine, lost)).split("; ")
    assert many[0] == "lost: slots but no count: a schedule would restart"
    assert many[1:] == [*few.split("; ")[:7], "and 996 more optimizers"]


@pytest.mark.parametrize("place", ["name", "class_name", "missing"])
def test_long_names(place: str) -> None:
    """A sentence has room for the beginning of a long name."""
    long = "x" * 100_000
    one = optimizer(7, ["a"], [long] * (place == "missing"))
    if place != "missing":
        one = one._replace(name=long) if place == "name" else one._replace(class_name=long)
    said = verdict(state(one, one._replace()))
    assert "x" * 200 + "…" in said
    assert len(said) < 1000
    assert len(verdict(state(one))) < 500
    assert len(enumerate_some([long] * 9)) < 700
