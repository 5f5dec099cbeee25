"""What a lost count means in figures, and what loaders are said to do: the rules of family L."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from ckptdoctor.containers.tensors.scan import PairFigures
from ckptdoctor.diagnosis.evidence import Evidence
from ckptdoctor.diagnosis.findings import Finding
from ckptdoctor.diagnosis.loaders import Loader
from ckptdoctor.diagnosis.lost_count import consequences
from ckptdoctor.diagnosis.rules import judge
from ckptdoctor.diagnosis.scan import PairScan, Scan
from ckptdoctor.optimizers.keras.schedules import evaluate
from ckptdoctor.references import TensorRef
from ckptdoctor.state import (
    Format,
    Generation,
    ModelVariable,
    OptimizerState,
    Producer,
    Recoverable,
    Role,
    Schedule,
    Slot,
    TrainingState,
)

COSINE = Schedule("CosineDecay", {"initial_learning_rate": 0.001, "decay_steps": 10_000})
KERAS_3 = Loader("keras", "3.15")


def _optimizer(**changes: Any) -> OptimizerState:
    """A Keras 3 optimizer at step 9,000 with slots of one variable; a schedule has its rates, as after examination."""
    roles = (("momentum", Role.FIRST_MOMENT), ("velocity", Role.SECOND_MOMENT))
    slots = tuple(Slot(name, role, "a", TensorRef(f"a/{name}", "float32", (3,), None)) for name, role in roles)
    held = OptimizerState("optimizer", "Adam", Generation.KERAS3, iterations=9000, slots=slots)
    held = held._replace(**changes)
    return held if held.schedule is None else held._replace(schedule=evaluate(held.schedule, held.iterations))


def _clauses(count: int | None, *, slots_lost: bool = False, scan: Scan | None = None, **changes: Any) -> list[str]:
    return list(consequences(_optimizer(**changes), count, slots_lost=slots_lost, scan=scan))


def _evidence(
    optimizer: OptimizerState, *, format_: Format = Format.KERAS_H5, path: str = "model.h5", **more: Any
) -> Evidence:
    variable = ModelVariable("a", TensorRef("a", "float32", (3,), None), trainable=True)
    producer = Producer("keras", "3.15.1") if format_ is not Format.TF_CHECKPOINT else Producer()
    return Evidence(path, TrainingState(path, format_, producer, (variable,), (optimizer,)), **more)


def _found(evidence: Evidence, code: str) -> list[Finding]:
    return [each for each in judge(evidence) if each.code == code]


# -------------------------------------------------------------------------------------------------------- figures


def test_the_issues_example() -> None:
    """The rate as it should be and as it would be, the position in the schedule, and what becomes of the update."""
    rate, update = _clauses(9000, schedule=COSINE)
    assert rate == (
        "CosineDecay at step 9,000 of 10,000: next learning rate 2.45e-05; with the count lost 0.001, 41 times higher"
    )
    # 40.9 times the rate, at 0.316 of the correction that settled moments need.
    assert update == "Adam's first update would be 13 times larger"


SCHEDULES: dict[str, tuple[Schedule, int | None, str]] = {
    "warm-up": (
        Schedule("CosineDecay", {**COSINE.config, "warmup_target": 0.1, "warmup_steps": 500}),
        9000,
        r"CosineDecay at step 9,000 of 10,500: next learning rate 0.00545; with the count lost 0.001, 5.4 times lower",
    ),
    "after the end": (COSINE, 10_001, r"CosineDecay at step 10,001: next learning rate 0; with the count lost 0.001$"),
    "exponential": (
        Schedule("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 1000, "decay_rate": 0.5}),
        2000,
        r"ExponentialDecay at step 2,000: next learning rate 0.025; with the count lost 0.1, 4 times higher",
    ),
    "polynomial": (
        Schedule(
            "Custom>PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "end_learning_rate": 0.01}
        ),
        50,
        r"PolynomialDecay at step 50 of 100: next learning rate 0.055; with the count lost 0.1, 1.8 times higher",
    ),
    "cycles have no end": (
        Schedule("PolynomialDecay", {"initial_learning_rate": 0.1, "decay_steps": 100, "cycle": True}),
        50,
        r"PolynomialDecay at step 50: next",
    ),
    "still the same": (
        Schedule("PiecewiseConstantDecay", {"boundaries": [100], "values": [0.1, 0.01]}),
        60,
        r"next learning rate 0.1 either way, but all that follows would come 60 steps late",
    ),
    "from nothing": (
        Schedule(
            "CosineDecay", {"initial_learning_rate": 0.0, "decay_steps": 10, "warmup_target": 1, "warmup_steps": 10}
        ),
        10,
        r"next learning rate 1; with the count lost 0$",
    ),
    "no count": (COSINE, None, r"^CosineDecay would restart: the next learning rate would be 0.001, as at step 0$"),
    "custom": (
        Schedule("MyWarmUp", {"initial_learning_rate": 0.1}),
        9000,
        r"^MyWarmUp is a custom schedule: it would restart at step 0, at a rate that is not known here$",
    ),
    "nonsense": (
        Schedule("CosineDecay", {}),
        9000,
        r"^CosineDecay cannot be computed from its configuration: it would",
    ),
}


@pytest.mark.parametrize("case", SCHEDULES)
def test_schedules(case: str) -> None:
    """Each with its position where it has an end, and by how much the rate would be off."""
    schedule, count, pattern = SCHEDULES[case]
    (clause,) = _clauses(count, class_name="SGD", schedule=schedule)
    assert re.search(pattern, clause), clause


def test_decay_of_old_optimizers() -> None:
    """The `decay` of Keras 1 and OptimizerV2 divides by the count, too; Nadam's is that of its momentum."""
    settings = {"learning_rate": 0.01, "decay": 0.001}
    (clause,) = _clauses(9000, class_name="SGD", hyperparameters=settings)
    assert clause == "decay 0.001 at step 9,000: next learning rate 0.001; with the count lost 0.01, 10 times higher"
    (clause,) = _clauses(None, class_name="SGD", hyperparameters=settings)
    assert clause == "decay 0.001 would restart: the next learning rate would be 0.01, as at step 0"
    assert _clauses(9000, class_name="Nadam", hyperparameters=settings) == []
    assert _clauses(9000, class_name="SGD", hyperparameters={**settings, "decay": 0.0}) == []


@pytest.mark.parametrize(
    ("class_name", "count", "change"),
    [
        ("Adam", 7, "2 times larger"),  # sqrt(1 - .999) / (1 - .9) against sqrt(1 - .999^8) / (1 - .9^8)
        ("AdamW", 1_000_000, "3.2 times smaller"),
        ("Adamax", 1_000_000, "10 times larger"),  # 1 / (1 - .9) against 1
    ],
)
def test_moments_without_their_count(class_name: str, count: int, change: str) -> None:
    """Kept moments are corrected as if they had just begun."""
    assert _clauses(count, class_name=class_name) == [f"{class_name}'s first update would be {change}"]


def test_betas_are_the_optimizers_own() -> None:
    """The correction follows its decay rates, and a rate that is no number changes nothing."""
    (clause,) = _clauses(1_000_000, hyperparameters={"beta_1": 0.5, "beta_2": 0.99})
    assert clause == "Adam's first update would be 5 times smaller"
    assert _clauses(1_000_000, hyperparameters={"beta_1": 2.0}) == []
    assert _clauses(1_000_000, generation=Generation.TF1) == []  # corrected by its beta powers
    assert _clauses(1_000_000, class_name="RMSprop") == []


def test_a_new_adams_first_update() -> None:
    """Without moments the first step is as long as the rate allows; a deep scan tells how long it should be."""
    settings = {"learning_rate": 0.01}
    (clause,) = _clauses(1_000_000, slots_lost=True, hyperparameters=settings)
    assert clause == (
        "a new Adam's first update is up to the full learning rate 0.01 in every coordinate, however small its gradient"
    )
    scan = Scan(pairs=(PairScan("a", 7.3, PairFigures(0, 1.0, 0.05)), PairScan("elsewhere", 7.3, PairFigures(0, 1, 9))))
    (clause,) = _clauses(1_000_000, slots_lost=True, hyperparameters=settings, scan=scan)
    assert clause.endswith(": 20 times what its moments would make of it (root mean square)")
    broken = Scan(pairs=(PairScan("a", 7.3, PairFigures(3, math.inf, math.nan)),))
    (clause,) = _clauses(1_000_000, slots_lost=True, hyperparameters=settings, scan=broken)
    assert clause.endswith("however small its gradient")


HOSTILE: tuple[object, ...] = (math.nan, math.inf, -1, 10**400, True, "0.9", None, [], {})


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: str(value)[:10])
def test_hostile_settings(value: object) -> None:
    """Whatever a file holds in place of a number, the figures are of numbers, or there are none."""
    for name in ("learning_rate", "decay", "beta_1", "beta_2"):
        settings = {"learning_rate": 0.01, "decay": 0.1, name: value}
        for count in (None, 1, 10**18, 10**400):
            for lost in (False, True):
                told = _clauses(count, slots_lost=lost, hyperparameters=settings)
                assert not re.search(r"\b(nan|inf)\b", " ".join(told))


# ---------------------------------------------------------------------------------------------- when L001 is found


def test_a_missing_count_that_is_known() -> None:
    """What says the count gives the figures, and the command that sets it."""
    held = _optimizer(iterations=None, schedule=COSINE)
    recoverable = held._replace(recoverable=Recoverable(9000, "beta2_power"))
    (found,) = _found(_evidence(recoverable), "L001")
    assert found.message.startswith("CosineDecay at step 9,000 of 10,000: next learning rate 2.45e-05; ")
    assert found.hint.startswith("9,000 follows from beta2_power: ckptdoctor graft --into model.h5 --iterations 9000")
    (found,) = _found(_evidence(held, path="run/model-9000.h5"), "L001")
    assert "at step 9,000" in found.message
    assert found.hint.startswith("9,000 follows from the file's name: ")
    (found,) = _found(_evidence(held), "L001")
    assert found.message == "CosineDecay would restart: the next learning rate would be 0.001, as at step 0"


def test_a_count_that_is_there_is_lost_by_a_loader_only() -> None:
    """Nothing is lost by itself; a loader that was named and drops the count is told with figures, beside L002."""
    held = _optimizer(schedule=COSINE)
    weights = _evidence(held, format_=Format.KERAS_WEIGHTS)
    assert _found(weights, "L001") == []
    assert len(_found(weights, "L002")) == 1
    (found,) = _found(weights._replace(loader=KERAS_3), "L001")
    assert found.message == (
        "Keras 3.15's load_weights(path) loses the count. CosineDecay at step 9,000 of 10,000: next learning rate "
        "2.45e-05; with the count lost 0.001, 41 times higher; a new Adam's first update is up to the full learning "
        "rate 0.001 in every coordinate, however small its gradient"
    )
    assert "optimizer.build" in found.hint
    # An .h5's count is kept, and a loader that fails starts no training.
    for loader in (KERAS_3, Loader("tf_keras", "2.21")):
        assert _found(_evidence(held, loader=loader), "L001") == []


def test_the_reported_count_is_the_schedules() -> None:
    """With gradient accumulation the schedule sees fewer steps than are stored."""
    held = _optimizer(schedule=COSINE)._replace(iterations=18_000, iterations_reported=9000)
    (found,) = _found(_evidence(held, format_=Format.KERAS_WEIGHTS, loader=KERAS_3), "L001")
    assert "at step 9,000 of 10,000" in found.message


# ----------------------------------------------------------------------------------------------------- L002 and L003


def test_keras_3_drops_the_slots_of_a_complete_h5() -> None:
    """The file is complete, Keras 3 drops its slots all the same, and a graft into a .keras mends it."""
    for loader, whose in ((None, "Keras 3.15.1's"), (KERAS_3, "Keras 3.15's")):
        (found,) = _found(_evidence(_optimizer(), loader=loader), "L002")
        assert found.message == (
            f"this file is complete, but {whose} load_model(path) drops its slots: only the count is restored, silently"
        )
        assert found.hint.startswith(
            "graft it into a .keras: ckptdoctor graft --from model.h5 --into MODEL.keras --output MODEL-resumed.keras; "
            "or what restores it: load_model(path, compile=False), "
        )


def test_another_generation() -> None:
    """A loader of another generation is a mismatch, told only where it was named, with the graft that converts."""
    legacy = _optimizer(generation=Generation.OPTIMIZER_V2)
    evidence = _evidence(legacy, format_=Format.TF_CHECKPOINT, path="run/ckpt-7")
    assert _found(evidence, "L003") == _found(evidence, "L002") == []
    (found,) = _found(evidence._replace(loader=Loader("tf_keras", "2.21")), "L003")
    assert found.message == (
        "this checkpoint is complete, but tf_keras 2.21's tf.train.Checkpoint.restore(path) fails into its default "
        "optimizers: the state is a legacy optimizer's"
    )
    assert found.hint.startswith(
        "graft it: ckptdoctor graft --from run/ckpt-7 --into run/ckpt-7 --as keras2 --output run/ckpt-7-resumed; or "
    )
    (found,) = _found(evidence._replace(loader=KERAS_3), "L003")
    assert "restores nothing at all" in found.message
    assert "--as keras3" in found.hint
    assert _found(evidence._replace(loader=Loader("tensorflow", "2.10")), "L003") == []


def test_another_program() -> None:
    """Keras' optimizers take nothing of PyTorch's, and the other way round; each takes what its trainers keep."""
    torch = _optimizer(generation=Generation.TORCH)
    evidence = _evidence(torch, format_=Format.TORCH_CHECKPOINT, loader=KERAS_3)
    (found,) = _found(evidence, "L003")
    assert found.message == "Keras 3.15's optimizers take no state of PyTorch's: this is not what it loads"
    for own in (None, Loader("torch", "2.15"), Loader("transformers", "5.24")):
        assert _found(evidence._replace(loader=own), "L003") == []
    (found,) = _found(_evidence(_optimizer(), loader=Loader("lightning", "2.6")), "L003")
    assert found.message == "Lightning 2.6's optimizers take no state of Keras 3's: this is not what it loads"


def test_two_optimizers_of_one_kind_are_one_finding() -> None:
    """What a loader does to a checkpoint is said once, however many optimizers are in it."""
    legacy = _optimizer(generation=Generation.OPTIMIZER_V2)
    evidence = _evidence(legacy, format_=Format.TF_CHECKPOINT, loader=KERAS_3)
    assert evidence.state is not None
    two = evidence.state._replace(optimizers=(legacy, legacy._replace(name="other")))
    assert len(_found(evidence._replace(state=two), "L003")) == 1
