"""Weights that the legacy HDF5 layout stores twice: those of a layer that is used in a nested model and outside of it.

`save_weights_to_hdf5_group` writes every layer of `model.layers` with all of its weights, and a nested model's weights
are those of its layers. The optimizer has each variable once.
"""

from __future__ import annotations

from collections.abc import Sequence

from ckptdoctor.containers.hdf5.contract import H5Reader
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras.model import LayerWeights
from ckptdoctor.optimizers.keras.naming import plain
from ckptdoctor.references import H5Data, TensorRef

_SAMPLE = 1 << 16
"""Bytes that are compared of two weights: initial values are random, and differ from the first."""

_Weights = dict[str, TensorRef]


def without_copies(file: H5Reader, layers: Sequence[LayerWeights]) -> tuple[list[LayerWeights], list[TensorRef]]:
    """The layers without what an earlier one holds already, and the copies that were left out.

    Two layers may have one name without being the same; all weights of a name's front have to agree in shape and value.
    """
    seen: dict[str, _Weights] = {}
    kept: list[LayerWeights] = []
    copies: list[TensorRef] = []
    for layer in layers:
        own = _by_front(layer)
        same = {front for front, weights in own.items() if front in seen and _equal(file, seen[front], weights)}
        for front, weights in own.items():
            seen.setdefault(front, weights)
        copies += [tensor for front in same for tensor in own[front].values()]
        kept.append(layer._replace(weights=tuple(each for each in layer.weights if _front(each[0]) not in same)))
    return kept, copies


def _front(name: str) -> str:
    return plain(name).rpartition("/")[0]


def _by_front(layer: LayerWeights) -> dict[str, _Weights]:
    """A layer's weights by what their names have in front of the last part; without a front they are nobody's copy."""
    found: dict[str, _Weights] = {}
    for name, tensor in layer.weights:
        if _front(name):
            found.setdefault(_front(name), {})[plain(name)] = tensor
    return found


def _equal(file: H5Reader, one: _Weights, other: _Weights) -> bool:
    return one.keys() == other.keys() and all(_alike(file, one[name], other[name]) for name in one)


def _alike(file: H5Reader, one: TensorRef, other: TensorRef) -> bool:
    """Whether two weights have one shape and begin with the same values."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    if not isinstance(one.location, H5Data) or not isinstance(other.location, H5Data):
        return False
    try:
        return file.beginning(one.location, _SAMPLE) == file.beginning(other.location, _SAMPLE)
    except UnreadableArtifact:  # `check --deep` says what is wrong with it
        return False
