"""The catalogue of optimizers against the classes themselves, as they are installed here."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from typing import Any, TypeAlias

import pytest
from support.frameworks import child

from ckptdoctor.optimizers.catalogue import WRAPPERS, Extent, Layout, SlotKind, classes, layouts
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.optimizers.lists.layout import Assigned, Item, Trained, expand, fit
from ckptdoctor.state import Generation

Record: TypeAlias = "dict[str, Any]"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"),
]

FRAMEWORKS = {
    "keras": Generation.KERAS3,
    "tf_keras": Generation.KERAS2,
    "tf_keras.legacy": Generation.OPTIMIZER_V2,
}

KEEP_SOMETHING_ELSE = {
    "Optimizer": "the base class",
    "OptimizerMap": "no optimizer: says which one a variable gets",
    "MultiOptimizer": "a container: the lists of the optimizers in it, one after the other",
}
"""Exported by a module of optimizers, but not in the catalogue, and why."""

OWN_OF_LOSS_SCALE = {
    Generation.KERAS3: ["iteration", "learning_rate", "step_counter", "dynamic_scale"],
    Generation.KERAS2: [],
    Generation.OPTIMIZER_V2: [],
}
"""What a LossScaleOptimizer has in `variables` before the list of the optimizer in it."""


PAIRS = 4
"""Two options of a class together: the ordinary run has each fourth pair, `nightly` all."""


def _states(framework: str, pairs: int = 1) -> Record:
    document: Record = child("optimizer_states.py", framework, pairs)
    return document


@pytest.fixture(
    scope="module",
    params=[
        *[pytest.param((name, PAIRS), id=name) for name in FRAMEWORKS],
        *[pytest.param((name, 1), id=f"{name}, every pair", marks=pytest.mark.nightly) for name in FRAMEWORKS],
    ],
)
def framework(request: pytest.FixtureRequest) -> tuple[Generation, Record]:
    """The generation, and every state that its classes keep."""
    return FRAMEWORKS[request.param[0]], _states(*request.param)


def _config(record: Record) -> OptimizerConfig:
    config = read_config(record["config"])
    assert config is not None
    return config


def _newest(config: OptimizerConfig, generation: Generation) -> Layout:
    """The variant that today's class should show: the one for wrappers inside one, if there is such."""
    known = layouts(config.class_name, generation)
    assert known, f"the catalogue has no {config.class_name} of {generation.value}"
    wrapped = [each for each in known if each.wrapped] if config.wrapper else []
    return (wrapped or list(known))[0]


def _trained(record: Record) -> list[Trained]:
    return [Trained(path, tuple(shape)) for path, shape in record["trained"]]


def _predicted(record: Record, generation: Generation) -> list[Assigned]:
    config = _config(record)
    return list(expand(_newest(config, generation), _trained(record), config.settings))


def _kept(record: Record, generation: Generation) -> list[Record]:
    """The real list, without a wrapper's own variables."""
    own = OWN_OF_LOSS_SCALE[generation] if _config(record).wrapper else []
    kept: list[Record] = record["variables"]
    assert [each["name"] for each in kept[: len(own)]] == own
    return kept[len(own) :]


def _name(assigned: Assigned, trained: Sequence[Trained], generation: Generation) -> str:
    """How the framework names this state variable."""
    kind = assigned.kind
    if not isinstance(kind, SlotKind) or assigned.variable is None:
        if generation is Generation.OPTIMIZER_V2 and kind.name == "iteration":
            return "iter"
        return kind.name
    path = trained[assigned.variable].path
    if generation is Generation.OPTIMIZER_V2:
        return f"{path}/{kind.name}"
    if generation is Generation.KERAS2:
        return f"{kind.name}/{path}"
    if kind.extent in {Extent.ROWS, Extent.COLUMNS}:
        return path.rpartition("/")[2]  # Keras 3 names Adafactor's factors as the variable itself
    return f"{path.replace('/', '_')}_{kind.name}"


def _real_name(variable: Record, config: OptimizerConfig, generation: Generation) -> str:
    """A real name without the optimizer's; Keras 3 gives Nadam's product none but `variable_<n>`."""
    name: str = variable["name"].removeprefix(f"{config.name}/")
    unnamed = generation is Generation.KERAS3 and re.fullmatch(r"variable(_\d+)?", name)
    return "u_product" if unnamed and config.class_name == "Nadam" else name


def test_lists(framework: tuple[Generation, Record]) -> None:
    """`optimizer.variables` of every class in every configuration: the names, shapes and order of the catalogue."""
    generation, document = framework
    wrong = []
    for record in document["records"]:
        config, trained = _config(record), _trained(record)
        predicted = [(_name(each, trained, generation), list(each.shape)) for each in _predicted(record, generation)]
        real = [(_real_name(each, config, generation), each["shape"]) for each in _kept(record, generation)]
        if predicted != real:
            wrong.append(f"{record['case']}: {predicted} is really {real}")
    assert not wrong, "\n".join(wrong)
    assert len(document["records"]) > len(classes(generation)) * 3


def test_attributes(framework: tuple[Generation, Record]) -> None:
    """The attributes of the catalogue hold just those variables, and are what object graphs name."""
    generation, document = framework
    wrong = []
    for record in document["records"]:
        if _config(record).wrapper:
            continue
        wanted: dict[str, dict[int | None, int]] = {}
        for position, each in enumerate(_predicted(record, generation)):
            attribute = each.kind.attribute
            if attribute:
                wanted.setdefault(attribute, {})[each.variable] = position
        for attribute, places in wanted.items():
            real = record["attributes"].get(attribute)
            expected = places.get(None, [places.get(index) for index in range(len(record["trained"]))])
            if attribute not in record["children"] or (real != expected and generation is not Generation.OPTIMIZER_V2):
                wrong.append(f"{record['case']}: {attribute} is {real}, not {expected}")
    assert not wrong, "\n".join(wrong)


def test_configurations(framework: tuple[Generation, Record]) -> None:
    """A serialized optimizer is read as of its own class and generation, without the version of the artifact."""
    generation, document = framework
    wrong = []
    for record in document["records"]:
        config = _config(record)
        class_name, _, option = record["case"].partition("-")
        is_wrapper = class_name == "LossScaleOptimizer"
        found = (config.class_name, config.generation, bool(config.wrapper))
        if found != (option if is_wrapper else class_name, generation, is_wrapper):
            wrong.append(f"{record['case']}: {found}")
    assert not wrong, "\n".join(wrong)


def test_lists_are_recognised(framework: tuple[Generation, Record]) -> None:
    """The real list is recognised by its shapes alone, with the recorded configuration and without any."""
    generation, document = framework
    wrong = []
    for record in document["records"]:
        config, predicted = _config(record), _predicted(record, generation)
        items = [Item(tuple(each["shape"]), "int" in each["dtype"]) for each in _kept(record, generation)]
        known = layouts(config.class_name, generation)
        recorded = fit(items, known, _trained(record), config.settings)
        if recorded is None or list(recorded.assigned) != predicted:
            wrong.append(f"{record['case']}: {recorded}")
        blind = fit(items, known, _trained(record))
        if not config.settings.exclude_layers and config.settings.exclude_embeddings and blind is None:
            wrong.append(f"{record['case']}: not recognised without its configuration")
    assert not wrong, "\n".join(wrong)


def test_every_class_is_known(framework: tuple[Generation, Record]) -> None:
    """Every exported class is in the catalogue, a wrapper, or known to keep something else; none is made up."""
    generation, document = framework
    known = set(classes(generation))
    exported = set(document["exported"])
    assert exported - known - set(WRAPPERS) - set(KEEP_SOMETHING_ELSE) == set()
    assert known - exported == set()
