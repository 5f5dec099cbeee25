"""The legacy HDF5 layout of Keras 1 to 3: whole models (`model.save("m.h5")`) and weights alone.

Names live in attributes: `layer_names` of the model, `weight_names` of each layer and of the optimizer. Their order is
the order of everything; HDF5's own is alphabetical and means nothing.
"""

from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.containers.hdf5.opening import open_h5
from ckptdoctor.containers.strict_json import parse_json
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras.code import code_inside
from ckptdoctor.formats.keras.copies import without_copies
from ckptdoctor.formats.keras.model import TOP_LEVEL, LayerWeights, Model, read_layer_lists
from ckptdoctor.formats.keras.producer import producer
from ckptdoctor.optimizers.dialects import of_keras
from ckptdoctor.optimizers.keras.config import OptimizerConfig, read_config
from ckptdoctor.optimizers.keras.naming import generation_of
from ckptdoctor.optimizers.lists.state import StateVariable, configured_only, read_state
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Format, Generation, Oddity, OptimizerState, TrainingState

MODEL = "model_weights"
OPTIMIZER = "optimizer_weights"


def is_whole_model(file: H5Reader) -> bool:
    """Whether the file holds a model with its configuration, its weights under a group of their own."""
    return file.has_attribute("", "model_config") or file.has_group(MODEL)


def is_weights(file: H5Reader) -> bool:
    """Whether the file holds weights in the legacy layout: layers listed at the root."""
    return file.has_attribute("", "layer_names") or file.has_attribute("", "layer_names0")


def read(path: str) -> TrainingState:
    """Reads a whole model or weights in the legacy layout."""
    with open_h5(path) as file:
        return read_open(file)


def read_open(file: H5Reader) -> TrainingState:
    """Reads what `read` does from a file that is open already."""
    whole = is_whole_model(file)
    base = MODEL if whole else ""
    version = file.text("", "keras_version") or file.text(MODEL, "keras_version")
    config = _json(file, "model_config")
    training = _json(file, "training_config") if whole else None
    oddities: list[Oddity] = []
    layers, copies = without_copies(file, _layers(file, base, oddities))
    model = read_layer_lists(layers, config, version)
    optimizers = _optimizers(file, model, version, oddities) if whole else ()
    return TrainingState(
        path=file.path,
        format=Format.KERAS_H5 if whole else Format.KERAS_H5_WEIGHTS,
        producer=producer(version),
        variables=model.variables,
        optimizers=optimizers,
        others=tuple(copies),
        oddities=(*oddities, *code_inside([config, training]), *file.oddities),
    )


class Described(NamedTuple):
    """A whole model as it is written down.

    Attributes:
        version: The Keras that wrote it.
        config: `model_config`.
        training: `training_config`; None of a model that was not compiled.
        layers: Every layer with its weights, in order.
        copies: Weights of a layer that it holds a second time.
    """

    version: str | None
    config: object
    training: object
    layers: list[LayerWeights]
    copies: list[TensorRef]


def describe(path: str) -> Described:
    """The configuration and the layers of a whole model."""
    with open_h5(path) as file:
        version = file.text("", "keras_version") or file.text(MODEL, "keras_version")
        layers, copies = without_copies(file, _layers(file, MODEL, []))
        return Described(version, _json(file, "model_config"), _json(file, "training_config"), layers, copies)


def _json(file: H5Reader, name: str) -> object:
    text = file.text("", name)
    return None if text is None else parse_json(text, file.path, f"@{name}")


def _layers(file: H5Reader, base: str, oddities: list[Oddity]) -> list[LayerWeights]:
    """Every layer with its weights, those of the model itself last."""
    names = file.names(base, "layer_names")
    if names is None:
        if base and not file.has_group(base):
            return []
        raise UnreadableArtifact("no list of layer names", file.path, place=f"{base}@layer_names")
    if file.has_group(_join(base, TOP_LEVEL)) and TOP_LEVEL not in names:
        names = [*names, TOP_LEVEL]
    layers: list[LayerWeights] = []
    lost = 0
    for layer in names:
        group = _join(base, layer)
        weights: list[tuple[str, TensorRef]] = []
        for weight in file.names(group, "weight_names") or []:
            tensor = file.tensor(_join(group, weight))
            if tensor is None:
                lost += 1
            else:
                weights.append((weight, tensor))
        layers.append(LayerWeights(layer, tuple(weights)))
    if lost:
        oddities.append(Oddity("I005", f"{lost} of the model's weights are listed and not in the file"))
    return layers


def _join(group: str, name: str) -> str:
    """A path below a group; names bring slashes of their own, doubled or leading ones included."""
    return "/".join(part for part in f"{group}/{name}".split("/") if part)


def _optimizers(
    file: H5Reader, model: Model, version: str | None, oddities: list[Oddity]
) -> tuple[OptimizerState, ...]:
    training = _json(file, "training_config")
    config = None
    if isinstance(training, Mapping):
        names = file.names(OPTIMIZER, "weight_names") if file.has_group(OPTIMIZER) else None
        kind = generation_of(names or ()) or of_keras(version)
        config = read_config(training.get("optimizer_config", training.get("optimizer")), version, kind)
    if not file.has_group(OPTIMIZER):
        return (configured_only(config, of_keras(version)),) if config is not None else ()
    names = file.names(OPTIMIZER, "weight_names")
    if names is None:
        raise UnreadableArtifact("no list of weight names", file.path, place=f"{OPTIMIZER}@weight_names")
    state = _state(file, names, oddities)
    if not state:
        return (configured_only(config, of_keras(version)),) if config is not None else ()
    kind = _generation(config, names, version)
    return (read_state(state, model.variables, config=config, generation=kind, version=version, orders=model.orders),)


def _generation(config: OptimizerConfig | None, names: list[str], version: str | None) -> Generation | None:
    """Which implementation wrote the state: its own names say it best, then the configuration, then the version."""
    return generation_of(names) or (config.generation if config is not None else None) or of_keras(version)


def _state(file: H5Reader, names: list[str], oddities: list[Oddity]) -> list[StateVariable]:
    """The listed state variables; names that come twice or lead nowhere are what an interrupted save leaves behind."""
    state: list[StateVariable] = []
    seen: set[str] = set()
    lost = 0
    for name in names:
        tensor = None if name in seen else file.tensor(_join(OPTIMIZER, name))
        seen.add(name)
        if tensor is None:
            lost += 1
            state.append(StateVariable(None, None, name))
        else:
            state.append(StateVariable(tensor, file.scalar(tensor) if tensor.size == 1 else None, name))
    if lost:
        oddities.append(
            Oddity("I005", f"{lost} of {len(names)} state variables are listed and not in the file: a save that failed")
        )
    return state if lost < len(names) else []
