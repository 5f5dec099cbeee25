"""Optimizer configurations in every dialect; tests/real/test_graft_keras.py holds them against the real classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from ckptdoctor.errors import GraftRefused
from ckptdoctor.optimizers.catalogue import classes, layouts
from ckptdoctor.optimizers.keras.config import Settings, read_config
from ckptdoctor.optimizers.keras.serialize import Form, to_config
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, Schedule

K1, V2, K2, K3 = Generation.KERAS1, Generation.OPTIMIZER_V2, Generation.KERAS2, Generation.KERAS3


def optimizer(class_name: str, generation: Generation, **changes: Any) -> PlannedOptimizer:
    """An optimizer without state."""
    known = layouts(class_name, generation)
    plain = PlannedOptimizer(
        name="optimizer", class_name=class_name, generation=generation, layout=(known or layouts("SGD", K3))[0],
        settings=Settings(), hyperparameters={}, schedule=None, iterations=0, singles={}, trained=(), slots=(),
    )  # fmt: skip
    return plain._replace(**changes)


def config(class_name: str, generation: Generation, known: Mapping[str, object], form: Form = Form.LEGACY) -> Any:
    """The inner configuration for these hyperparameters."""
    return to_config(optimizer(class_name, generation, hyperparameters=known), form)["config"]


@pytest.mark.parametrize("generation", [K1, V2, K2, K3])
def test_read_back(generation: Generation) -> None:
    """What is written for any class is read as that class, of that generation, by our own reader."""
    for name in classes(generation):
        for form in Form:
            node = to_config(optimizer(name, generation, hyperparameters={"learning_rate": 0.25}), form)
            found = read_config(node)
            assert found is not None
            assert (found.class_name, found.generation) == (name, generation)
            assert found.hyperparameters["learning_rate"] == 0.25


def test_forms() -> None:
    """HDF5 names registered classes, archives name modules; Keras 3 names optimizers in snake case."""
    assert to_config(optimizer("Adam", K2), Form.LEGACY)["class_name"] == "Custom>Adam"
    assert to_config(optimizer("Adam", V2), Form.LEGACY)["class_name"] == "Adam"
    node = to_config(optimizer("RMSprop", K3), Form.OBJECT)
    assert (node["module"], node["class_name"], node["registered_name"]) == ("keras.optimizers", "RMSprop", None)
    assert node["config"]["name"] == "rm_sprop"  # type: ignore[index]


def test_words_of_each_generation() -> None:
    """Each generation has its own words: none of another's is in its configuration."""
    known = {"learning_rate": 0.1, "decay": 0.0, "jit_compile": True, "is_legacy_optimizer": False, "epsilon": 1e-3}
    assert list(config("Adam", K1, known)) == ["lr", "beta_1", "beta_2", "decay", "epsilon", "amsgrad"]
    assert "jit_compile" not in config("Adam", V2, known)
    assert config("Adam", V2, known)["decay"] == 0.0
    assert config("Adam", K2, known)["is_legacy_optimizer"] is False
    assert not {"decay", "jit_compile", "is_legacy_optimizer"} & set(config("Adam", K3, known))
    assert {"loss_scale_factor", "gradient_accumulation_steps"} <= set(config("Adam", K3, known))
    assert {config("Adam", each, known)["epsilon"] for each in (K1, V2, K2, K3)} == {1e-3}


def test_what_first_versions_refuse() -> None:
    """Arguments that came later are left out where they are off: their absence means the same to every version."""
    assert "beta" not in config("Ftrl", V2, {"beta": 0.0})
    assert config("Ftrl", V2, {"beta": 0.5})["beta"] == 0.5
    assert config("Ftrl", K2, {})["beta"] == 0.0


def test_clipping_is_kept() -> None:
    """OptimizerV2 and Keras 1 write clipping only where it is on."""
    assert config("SGD", V2, {"clipnorm": 1.0})["clipnorm"] == 1.0
    assert "clipnorm" not in config("SGD", V2, {"clipnorm": None})
    assert config("SGD", K3, {"clipvalue": 0.5})["clipvalue"] == 0.5


@pytest.mark.parametrize(
    ("class_name", "generation", "known", "word"),
    [
        ("Adam", K3, {"decay": 0.01}, "InverseTimeDecay"),
        ("Adam", K2, {"decay": 0.01}, "InverseTimeDecay"),
        ("Adam", V2, {"weight_decay": 0.01}, "weight_decay"),
        ("Adam", V2, {"use_ema": True}, "use_ema"),
        ("Adam", K2, {"gradient_accumulation_steps": 4}, "gradient_accumulation_steps"),
        ("RMSprop", K1, {"centered": True}, "centered"),
        ("SGD", K1, {"global_clipnorm": 1.0}, "global_clipnorm"),
        ("LAMB", K3, {}, "no optimizer 'LAMB'"),
        ("Adafactor", V2, {}, "no optimizer 'Adafactor'"),
        ("AdamW", V2, {}, "the defaults of AdamW are not declared"),
        ("Adam", Generation.TF1, {}, "no configuration"),
    ],
)
def test_what_cannot_be_said(class_name: str, generation: Generation, known: dict[str, object], word: str) -> None:
    """A setting that the generation lacks is refused where it is on, never left out."""
    with pytest.raises(GraftRefused, match=word):
        config(class_name, generation, known)


@pytest.mark.parametrize(
    ("class_name", "generation", "known"),
    [
        ("Adam", K3, {"decay": 0.0}),
        ("Adam", V2, {"weight_decay": None, "use_ema": False, "ema_momentum": 0.5, "ema_overwrite_frequency": 7}),
        ("Adam", K2, {"gradient_accumulation_steps": None, "loss_scale_factor": None}),
        ("RMSprop", K1, {"momentum": 0.0, "centered": False}),
        ("Adam", K3, {"epsilon": None}),
    ],
)
def test_what_is_off_is_left_out(class_name: str, generation: Generation, known: dict[str, object]) -> None:
    """Settings that change nothing stop nobody."""
    assert config(class_name, generation, known) == config(class_name, generation, {})


def test_nadam() -> None:
    """The decay of Nadam's momentum is not the learning rate's: it is renamed, and no obstacle where it is fixed."""
    assert config("Nadam", V2, {"decay": 0.005})["decay"] == 0.005
    assert config("Nadam", K1, {"decay": 0.005})["schedule_decay"] == 0.005
    assert config("Nadam", V2, {"schedule_decay": 0.005})["decay"] == 0.005
    assert "decay" not in config("Nadam", K3, {"decay": 0.004})


def test_adam_before_amsgrad() -> None:
    """Keras before 2.1.3 knows no `amsgrad`, and stops at arguments that it does not know."""
    old = next(each for each in layouts("Adam", K1) if each.versions == "<2.1.3")
    node = to_config(optimizer("Adam", K1, layout=old), Form.LEGACY)
    assert "amsgrad" not in node["config"]  # type: ignore[operator]


DECAY = Schedule("ExponentialDecay", {"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5})


def test_schedules() -> None:
    """A schedule is a serialized object in Keras 3 and in archives, and class and configuration elsewhere."""
    for generation, form, is_object in ((V2, Form.LEGACY, False), (K2, Form.OBJECT, True), (K3, Form.LEGACY, True)):
        node: Any = to_config(optimizer("Adam", generation, schedule=DECAY), form)
        rate = node["config"]["learning_rate"]
        assert rate["class_name"] == "ExponentialDecay"
        assert ("module" in rate) is is_object
        assert rate["config"]["decay_steps"] == 10
        found = read_config(node)
        assert found is not None
        assert found.schedule is not None


def test_warmup() -> None:
    """CosineDecay's warmup is left out where it is unset: TensorFlow before 2.13 does not know the words."""
    cosine = {"initial_learning_rate": 0.1, "decay_steps": 10, "warmup_target": None, "warmup_steps": 0}
    node: Any = to_config(optimizer("Adam", V2, schedule=Schedule("CosineDecay", cosine)), Form.LEGACY)
    assert set(node["config"]["learning_rate"]["config"]) == {"initial_learning_rate", "decay_steps"}
    warm = Schedule("CosineDecay", {**cosine, "warmup_target": 0.2, "warmup_steps": 5})
    node = to_config(optimizer("Adam", K3, schedule=warm), Form.OBJECT)
    assert node["config"]["learning_rate"]["config"]["warmup_target"] == 0.2


@pytest.mark.parametrize(
    ("generation", "schedule"),
    [
        (K1, DECAY),
        (K3, Schedule("LinearCosineDecay", {})),
        (K3, Schedule("custom", {})),
        (K3, Schedule("ExponentialDecay", {"initial_learning_rate": {"class_name": "CosineDecay", "config": {}}})),
    ],
)
def test_schedules_that_cannot_be_said(generation: Generation, schedule: Schedule) -> None:
    """Schedules that a generation lacks are refused."""
    with pytest.raises(GraftRefused):
        to_config(optimizer("Adam", generation, schedule=schedule), Form.LEGACY)


@pytest.mark.parametrize(
    ("generation", "form", "class_name"),
    [
        (V2, Form.LEGACY, "LossScaleOptimizer"),
        (K2, Form.LEGACY, "LossScaleOptimizerV3"),
        (K2, Form.OBJECT, "LossScaleOptimizerV3"),
        (K3, Form.OBJECT, "LossScaleOptimizer"),
    ],
)
def test_wrappers(generation: Generation, form: Form, class_name: str) -> None:
    """A LossScaleOptimizer goes around the configuration, under its name in that generation."""
    wrapper = ("LossScaleOptimizer", {"initial_scale": 8.0, "dynamic_growth_steps": 3})
    node = to_config(optimizer("Adam", generation, wrapper=wrapper, schedule=DECAY), form, package="tf_keras")
    assert node["class_name"] == class_name
    found = read_config(node)
    assert found is not None
    assert (found.class_name, found.generation, found.wrapper) == ("Adam", generation, class_name)
    assert found.wrapper_config["initial_scale"] == 8.0
    assert found.wrapper_config["dynamic_growth_steps"] == 3
    assert found.schedule is not None


def test_no_wrapper_before_optimizer_v2() -> None:
    """Keras 1 has none."""
    with pytest.raises(GraftRefused, match="LossScaleOptimizer"):
        to_config(optimizer("Adam", K1, wrapper=("LossScaleOptimizer", {})), Form.LEGACY)
