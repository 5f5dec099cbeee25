"""Keras' own files with grafted state: the real frameworks resume from them as if training had never stopped."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from support.frameworks import child
from support.plans import planned, settings_of, trained

from ckptdoctor.formats.contract import Written
from ckptdoctor.formats.keras.writing.files import write_dump, write_h5, write_keras_archive, write_keras_weights
from ckptdoctor.optimizers.catalogue import classes, layouts
from ckptdoctor.optimizers.keras.config import read_config
from ckptdoctor.optimizers.keras.defaults import ADDED
from ckptdoctor.optimizers.keras.serialize import Form, to_config
from ckptdoctor.optimizers.planned import PlannedOptimizer
from ckptdoctor.state import Generation, TrainingState

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

SCRIPT = "graft_keras_child.py"
Case: TypeAlias = "tuple[str, dict[str, Any]]"
Make: TypeAlias = "Callable[[str, Iterable[str]], Path]"

DECAY = ("ExponentialDecay", {"initial_learning_rate": 0.05, "decay_steps": 4, "decay_rate": 0.5})
COMMON: dict[str, Case] = {
    "adam": ("Adam", {"learning_rate": 0.02, "beta_1": 0.8}),
    "amsgrad": ("Adam", {"learning_rate": 0.02, "amsgrad": True}),
    "sgd": ("SGD", {"learning_rate": 0.05}),
    "momentum": ("SGD", {"learning_rate": 0.05, "momentum": 0.9}),
    "nesterov": ("SGD", {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}),
    "rmsprop": ("RMSprop", {"learning_rate": 0.01}),
    "rmsprop_exact": ("RMSprop", {"learning_rate": 0.01, "epsilon": 1e-12}),
    "rmsprop_all": ("RMSprop", {"learning_rate": 0.01, "momentum": 0.5, "centered": True}),
    "adagrad": ("Adagrad", {"learning_rate": 0.1}),
    "adadelta": ("Adadelta", {"learning_rate": 1.0}),
    "adamax": ("Adamax", {"learning_rate": 0.02}),
    "nadam": ("Nadam", {"learning_rate": 0.02}),
    "ftrl": ("Ftrl", {"learning_rate": 0.1}),
    "schedule": ("Adam", {"schedule": DECAY}),
    "clipped": ("Adam", {"learning_rate": 0.02, "clipnorm": 0.1}),
    "loss_scale": ("Adam", {"learning_rate": 0.02, "loss_scale": True}),
}
NEW: dict[str, Case] = {
    "adamw": ("AdamW", {"learning_rate": 0.02, "weight_decay": 0.01}),
    "lion": ("Lion", {"learning_rate": 0.01}),
    "adafactor": ("Adafactor", {"learning_rate": 0.02}),
    "ema": ("Adam", {"learning_rate": 0.02, "use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 5}),
}
KERAS3_ONLY: dict[str, Case] = {
    "accumulation": ("Adam", {"learning_rate": 0.02, "gradient_accumulation_steps": 2}),
    "lamb": ("Lamb", {"learning_rate": 0.02}),
    "muon": ("Muon", {"learning_rate": 0.02}),
}
CASES: Mapping[str, dict[str, Case]] = {
    "keras": {**COMMON, **NEW, **KERAS3_ONLY},
    "tf_keras": {**COMMON, **NEW},
    "tf_keras.legacy": COMMON,
}
GENERATIONS = {
    "keras": Generation.KERAS3,
    "tf_keras": Generation.KERAS2,
    "tf_keras.legacy": Generation.OPTIMIZER_V2,
}
NOT_RESUMED = {
    ("tf_keras", "loss_scale", "h5"): "tf_keras loses the state of a LossScaleOptimizerV3 in HDF5 files",
}
NOT_SAVED = {
    ("tf_keras", "nadam"): "TensorFlow 2.11 to 2.15 and tf_keras never save Nadam's product (u_product)",
}
STATELESS = frozenset({"sgd"})
"""Cases that go on the same without any state."""
UNKNOWN_TO_KERAS = frozenset({"lamb legacy"})
"""Keras 3.15 cannot read what it writes of Lamb into HDF5 files: it is not among `optimizers.ALL_OBJECTS`."""
STEPS = 7
PARTS = 3
"""Of the cases of a framework: the ordinary run has one of each, others by the next framework; `nightly` has all."""
TOLERANCE = 1e-6
VISIBLE = 1e-4
"""How far a run with a fresh optimizer is away at least; measured: 1e-3 and more."""


def read(path: Path) -> TrainingState:
    """An artifact by our own reader."""
    from ckptdoctor import inspect

    state = inspect(path)[0].state
    assert state is not None, path
    return state


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes a framework's donors, targets and expected weights of cases, once."""

    @cache
    def folder_of(framework: str) -> Path:
        return tmp_path_factory.mktemp(framework)

    def make_missing(framework: str, names: Iterable[str]) -> Path:
        folder = folder_of(framework)
        missing = {name: CASES[framework][name] for name in names if not (folder / name).exists()}
        if missing:
            child(SCRIPT, framework, "make", folder, given=missing)
        return folder

    return make_missing


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            (framework, part), id=f"{framework}-{part}", marks=[pytest.mark.nightly] if part != number % PARTS else []
        )
        for number, framework in enumerate(CASES)
        for part in range(PARTS)
    ],
)
def made(request: pytest.FixtureRequest, make: Make) -> tuple[str, dict[str, Case], Path]:
    """A framework, a part of its cases, and the folder with what it made; a part may run beside another one."""
    framework, part = request.param
    cases = dict(list(CASES[framework].items())[part::PARTS])
    return framework, cases, make(framework, cases)


def graft(
    folder: Path, kind: str, generation: Generation, donor: TrainingState, name: str = "grafted"
) -> tuple[Path, Written]:
    """Writes a donor's optimizer into the target of a kind."""
    target, output = folder / f"target.{kind}", folder / f"{name}.{kind}"
    state = read(target)
    variables = trained(state if state.variables else donor)
    optimizer = planned(donor.optimizers[0], variables, generation)
    if kind == "h5":
        return output, write_h5(optimizer, str(target), str(output), loss_from=str(folder / "donor.h5"))
    if kind in {"keras", "dir"}:
        return output, write_keras_archive(optimizer, str(target), str(output))
    if kind in {"pkl", "npz"}:
        return output, write_dump(optimizer, str(target), str(output))
    return output, write_keras_weights(optimizer, str(target), str(output))


def kinds(framework: str, name: str, number: int, most: int) -> list[str]:
    """The targets that a framework restores state from: so many at most, others for the case after this one."""
    if framework == "tf_keras.legacy":
        return ["h5", "pkl"][number % 2 :][:most]
    usual = ["keras", "weights.h5", "pkl", *(["h5"] if framework == "tf_keras" else [])]
    extra = ["dir", "weights.json", "npz"] if (framework, name) == ("keras", "adam") else []
    first = number % len(usual)
    return [*(usual[first:] + usual[:first])[:most], *extra]


@pytest.mark.parametrize("most", [1, pytest.param(4, marks=pytest.mark.nightly)], ids=["a kind", "every kind"])
def test_resumes(made: tuple[str, dict[str, Case], Path], most: int) -> None:
    """Every class, into kinds of target of its own generation: the weights are those of the uninterrupted run."""
    framework, cases, folder = made
    jobs = []
    for number, (name, (class_name, options)) in enumerate(cases.items()):
        here = folder / name
        donor = read(here / ("donor.keras" if framework != "tf_keras.legacy" else "donor.h5"))
        for kind in kinds(framework, name, number, most):
            output, _ = graft(here, kind, GENERATIONS[framework], donor, f"grafted-{most}")
            jobs.append([f"{name} {kind}", str(output), class_name, options, str(here / "expected.npz")])
    found = child(SCRIPT, framework, "resume", folder, given=jobs)
    wrong = []
    for key, each in found.items():
        name, kind = key.split()
        if (framework, name) in NOT_SAVED or (framework, name, kind) in NOT_RESUMED:
            assert each["away"] > VISIBLE, f"{framework} {key} is resumed after all"
            continue
        steps = STEPS // (cases[name][1].get("gradient_accumulation_steps") or 1)
        if "error" in each or each["count"] != steps or each["away"] > TOLERANCE or each["warnings"]:
            wrong.append(f"{framework} {key}: {each}")
    assert not wrong, "\n".join(wrong)
    assert len(found) >= len(cases)


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)], ids=["a third", "every case"])
def test_without_the_state(made: tuple[str, dict[str, Case], Path], step: int) -> None:
    """The control: the same weights with a fresh optimizer end elsewhere, so that equal weights prove something."""
    framework, cases, folder = made
    jobs = []
    for name, (class_name, options) in list(cases.items())[::step]:
        here = folder / name
        jobs.append([name, str(here / "fresh"), class_name, options, str(here / "expected.npz")])
    found = child(SCRIPT, framework, "resume", folder, given=jobs)
    near = {name: each for name, each in found.items() if name not in STATELESS and each["away"] < VISIBLE}
    assert not near
    assert all(found[name]["away"] < TOLERANCE for name in STATELESS & set(found))


# ------------------------------------------------------------------------------------------- from one to another

MOVED = (
    "adam", "amsgrad", "sgd", "momentum", "nesterov", "rmsprop_exact", "rmsprop_all", "adagrad", "adadelta", "adamax",
    "ftrl", "schedule", "clipped",
)  # fmt: skip
"""What means the same before and after Keras 2.11: all but Nadam, and RMSprop's epsilon, which went into the root.

Without momentum, the latter moves the weights by a measured 1.4e-6 in these 5 steps at epsilon 1e-7 and by 1.3e-3 at
1e-4; at 1e-12, as here, nothing is left of it.
"""


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.nightly)], ids=["a third", "every case"])
def test_legacy_into_keras3(make: Make, step: int) -> None:
    """HDF5 by OptimizerV2, and the pickle of its get_weights, into `.keras` of Keras 3."""
    names = MOVED[::step]
    folder = make("tf_keras.legacy", names)
    child(SCRIPT, "keras", "retarget", folder, given=names)
    jobs = []
    for name in names:
        here = folder / name
        class_name, options = COMMON[name]
        donors = [("h5", read(here / "donor.h5").optimizers[0])]
        if name in {"adam", "rmsprop_all"}:
            dumped = read(here / "donor.pkl").optimizers[0]
            known = donors[0][1].hyperparameters
            donors.append(("pkl", dumped._replace(class_name=class_name, hyperparameters=known)))
        for kind, donor in donors:
            output = here / f"keras-from-{kind}-{step}.keras"
            optimizer = planned(donor, trained(read(here / "keras.keras")), Generation.KERAS3)
            written = write_keras_archive(
                optimizer, str(here / "keras.keras"), str(output), loss_from=str(here / "donor.h5")
            )
            assert "its loss is the donor's" in written.notes[1]
            jobs.append([f"{name} {kind}", str(output), class_name, options, str(here / "expected.npz")])
    found = child(SCRIPT, "keras", "resume", folder, given=jobs)
    wrong = {
        key: each
        for key, each in found.items()
        if each.get("count") != STEPS or each["away"] > TOLERANCE or "mean_squared_error" not in each["loss"]
    }
    assert not wrong


def test_keras3_into_legacy(make: Make) -> None:
    """`.keras` of Keras 3, and the pickle of its variables, into HDF5 for OptimizerV2 and for the new optimizers."""
    names = ("adam", "momentum", "rmsprop_all", "schedule")
    folder = make("keras", names)
    child(SCRIPT, "tf_keras", "retarget", folder, given=names)
    jobs = []
    for name in names:
        here = folder / name
        class_name, options = COMMON[name]
        donor = read(here / "donor.keras").optimizers[0]
        variables = trained(read(here / "tf_keras.h5"))
        for generation in (Generation.OPTIMIZER_V2, Generation.KERAS2):
            output = here / f"{generation.value}.h5"
            written = write_h5(planned(donor, variables, generation), str(here / "tf_keras.h5"), str(output))
            assert "none was written" in written.notes[1]
            jobs.append([f"{name} {generation.value}", str(output), class_name, options, str(here / "expected.npz")])
    here = folder / "adam"
    dumped = read(here / "donor.pkl").optimizers[0]._replace(class_name="Adam")
    plan = planned(
        dumped, trained(read(here / "tf_keras.h5")), Generation.OPTIMIZER_V2, hyperparameters={"beta_1": 0.8}
    )
    write_h5(plan, str(here / "tf_keras.h5"), str(here / "from-pickle.h5"))
    jobs.append(["adam pickle", str(here / "from-pickle.h5"), *COMMON["adam"], str(here / "expected.npz")])
    found = child(SCRIPT, "tf_keras", "resume", folder, given=jobs)
    wrong = {key: each for key, each in found.items() if each.get("count") != STEPS or each["away"] > TOLERANCE}
    assert not wrong


def test_keras3_drops_slots_from_hdf5(make: Make) -> None:
    """What the note on HDF5 for Keras 3 says is so: training does not go on as it would have."""
    folder = make("keras", ["adam"])
    output, written = graft(folder / "adam", "h5", Generation.KERAS3, read(folder / "adam/donor.keras"))
    assert "drops the slots" in written.notes[0]
    assert read(output).optimizers[0].iterations == STEPS
    assert len(read(output).optimizers[0].slots) == 2 * 8
    job = ["adam", str(output), *COMMON["adam"], str(folder / "adam/expected.npz")]
    found = child(SCRIPT, "keras", "resume", folder, given=[job])["adam"]
    assert "error" in found or found["away"] > VISIBLE


# ------------------------------------------------------------------------------------------------ configurations


def bare(class_name: str, generation: Generation, hyperparameters: Mapping[str, Any]) -> PlannedOptimizer:
    """An optimizer without any state."""
    node = read_config({"class_name": class_name, "config": dict(hyperparameters)})
    assert node is not None
    return PlannedOptimizer(
        name="optimizer", class_name=class_name, generation=generation, layout=layouts(class_name, generation)[0],
        settings=settings_of(node.hyperparameters, node.schedule), hyperparameters=node.hyperparameters,
        schedule=node.schedule, iterations=0, singles={}, trained=(), slots=(),
    )  # fmt: skip


def forms(generation: Generation) -> tuple[Form, ...]:
    """The forms that a generation is written in: legacy optimizers are never in a `.keras` archive."""
    return (Form.LEGACY,) if generation is Generation.OPTIMIZER_V2 else tuple(Form)


@pytest.mark.parametrize("framework", CASES)
def test_configurations(framework: str, tmp_path: Path) -> None:
    """The real class is built from every configuration, has just that, and our defaults are its own."""
    generation = GENERATIONS[framework]
    given: dict[str, tuple[str | None, dict[str, Any]]] = {}
    for form in forms(generation):
        for name in classes(generation):
            given[f"{name} {form.value}"] = (name, to_config(bare(name, generation, {}), form))
        for name, (class_name, options) in CASES[framework].items():
            known = dict(options)
            schedule, scaled = known.pop("schedule", None), known.pop("loss_scale", False)
            if schedule:
                known["learning_rate"] = {"class_name": schedule[0], "config": schedule[1]}
            optimizer = bare(class_name, generation, known)
            if scaled:
                optimizer = optimizer._replace(wrapper=("LossScaleOptimizer", {"initial_scale": 8.0}))
            package = framework.partition(".")[0]
            given[f"{name} {form.value}"] = (None, to_config(optimizer, form, package=package))
    given = {key: each for key, each in given.items() if key.lower() not in UNKNOWN_TO_KERAS}
    found = child(SCRIPT, framework, "configure", tmp_path, given=given)
    wrong = []
    for key, (default, node) in given.items():
        wanted, real = plain(node["config"]), plain(found[key]["config"])
        real_default = {
            each: value
            for each, value in (found[key].get("default") or {}).items()
            if each not in ADDED.get(generation, ()) or each in wanted  # left out where that means the same
        }
        if not contained(wanted, real) or (default and not contained(plain(real_default), wanted)):
            wrong.append(f"{key}: {wanted} became {real}; default {found[key].get('default')}")
    assert not wrong, "\n".join(wrong)


def plain(config: Any) -> Any:
    """A configuration without the words that say how it is written, numbers as float32 keeps them."""
    if isinstance(config, Mapping):
        skipped = {"module", "registered_name", "class_name", "name"}
        return {key: plain(value) for key, value in config.items() if key not in skipped}
    if isinstance(config, (int, float)) and not isinstance(config, bool):
        return f"{config:.6g}"
    return config


def contained(wanted: Any, real: Any) -> bool:
    """Whether everything that is wanted is there, at any depth."""
    if isinstance(wanted, Mapping) and isinstance(real, Mapping):
        return all(key in real and contained(value, real[key]) for key, value in wanted.items())
    return bool(wanted == real)
