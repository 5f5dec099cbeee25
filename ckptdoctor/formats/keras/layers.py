"""What Keras layer classes call their weights, and which of them no optimizer trains.

Tables of facts, from `keras.layers` 1.2 to 3.15 (`build` of each class). They give `layers/dense/vars/0` its name back
(`kernel`), and tell a BatchNormalization's statistics from its weights.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ckptdoctor.formats.keras.declared import DeclaredLayer

UNTRAINED_NAMES = frozenset({
    # BatchNormalization: Keras 2 and later; Keras 1
    "moving_mean", "moving_variance", "running_mean", "running_std", "renorm_mean", "renorm_stddev",
    "moving_stddev", "renorm_mean_weight", "renorm_stddev_weight",
    # Dropout and the like in Keras 3, SpectralNormalization, preprocessing
    "seed_generator_state", "state", "sn_u", "vector_u", "vocabulary_size",
})  # fmt: skip
"""Last components of weight names that are never trained, in any layer."""

UNTRAINED_CLASSES = frozenset({
    "Normalization", "SeedGenerator", "Discretization", "IntegerLookup", "StringLookup", "TextVectorization", "Mean",
    "MeanMetricWrapper", "FeatureExtractor",
})  # fmt: skip
"""Classes none of whose own variables is trained."""

_DENSE = ("kernel", "bias")
_DEPTHWISE = ("depthwise_kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_RECURRENT = ("kernel", "recurrent_kernel", "bias")
_STATISTICS = ("moving_mean", "moving_variance")

WEIGHT_NAMES: dict[str, tuple[str, ...]] = {
    "Dense": _DENSE,
    "EinsumDense": _DENSE,
    "Conv1D": _DENSE,
    "Conv2D": _DENSE,
    "Conv3D": _DENSE,
    "Conv1DTranspose": _DENSE,
    "Conv2DTranspose": _DENSE,
    "Conv3DTranspose": _DENSE,
    "DepthwiseConv1D": _DEPTHWISE,
    "DepthwiseConv2D": _DEPTHWISE,
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "Embedding": ("embeddings",),
    "BatchNormalization": ("gamma", "beta", *_STATISTICS),
    "SyncBatchNormalization": ("gamma", "beta", *_STATISTICS),
    "LayerNormalization": ("gamma", "beta"),
    "GroupNormalization": ("gamma", "beta"),
    "RMSNormalization": ("scale",),
    "UnitNormalization": (),
    "Normalization": ("mean", "variance", "count"),
    "PReLU": ("alpha",),
    "SimpleRNNCell": _RECURRENT,
    "LSTMCell": _RECURRENT,
    "GRUCell": _RECURRENT,
    "ConvLSTM1DCell": _RECURRENT,
    "ConvLSTM2DCell": _RECURRENT,
    "ConvLSTM3DCell": _RECURRENT,
    "Attention": ("scale",),
    "AdditiveAttention": ("scale",),
    "SeedGenerator": ("seed_generator_state",),
}
"""Class → names of its own weights in the order in which they are stored, all options on."""

OTHER_NAMES = {"depthwise_kernel": ("kernel",), "mean": ("adapt_mean",), "variance": ("adapt_variance",)}
"""What weights of the same meaning are called elsewhere: DepthwiseConv's in Keras 3, Normalization's attributes."""

TRAINED_NAMES = frozenset(
    name for each, names in WEIGHT_NAMES.items() if each not in UNTRAINED_CLASSES for name in names
) - UNTRAINED_NAMES  # fmt: skip
"""Last components of the names of Keras' own trained weights."""

BUILT_IN = frozenset({
    *WEIGHT_NAMES, *UNTRAINED_CLASSES,
    # containers, and layers whose weights are their sub-layers'
    "Sequential", "Functional", "Model", "TimeDistributed", "Bidirectional", "MultiHeadAttention",
    "GroupQueryAttention", "GroupedQueryAttention", "LSTM", "GRU", "SimpleRNN", "RNN",
    "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "ConvRecurrent2D", "CuDNNLSTM", "CuDNNGRU", "SpectralNormalization",
    "ReversibleEmbedding", "LocallyConnected1D", "LocallyConnected2D", "SeparableConv1D", "SeparableConv2D",
    # those of Keras 1
    "Convolution1D", "Convolution2D", "Convolution3D", "AtrousConvolution1D", "AtrousConvolution2D", "Deconvolution2D",
    "SeparableConvolution2D", "MaxoutDense", "Highway", "TimeDistributedDense", "ParametricSoftplus", "SReLU",
    # several versions' names of one class
    "BatchNormalizationV1", "BatchNormalizationV2", "LSTMV1", "LSTMV2", "GRUV1", "GRUV2", "Dropout", "GaussianDropout",
    "GaussianNoise", "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "AlphaDropout",
})  # fmt: skip
"""Keras' own classes: all of their weights are trained but for those that the tables above name.

Of a class that somebody else wrote nothing is known unless it is declared: `add_weight(trainable=False)` leaves no
trace in the file.
"""

_BY_GROUP = {"seed_generator": "SeedGenerator"}

CHILD_ORDER: dict[str, tuple[str, ...]] = {
    "Bidirectional": ("forward_layer", "backward_layer"),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
    "GroupedQueryAttention": ("query_dense", "key_dense", "value_dense", "output_dense"),
}
"""Class → its sub-layers' attributes in order of creation, where that is not the order in which they are stored."""

_CELLS = {
    "lstm": "LSTMCell",
    "gru": "GRUCell",
    "simple_rnn": "SimpleRNNCell",
    "conv_lstm1d": "ConvLSTM1DCell",
    "conv_lstm2d": "ConvLSTM2DCell",
    "conv_lstm3d": "ConvLSTM3DCell",
}


def snake_case(name: str) -> str:
    """A class name as Keras puts it into paths (keras.src.utils.naming.to_snake_case)."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


_CLASS_OF = {snake_case(name): name for name in (*WEIGHT_NAMES, *CHILD_ORDER)}


def class_of_group(group: str, parent: str = "") -> str | None:
    """The layer class that a group of this name holds (`dense_1` → Dense); None if it is none of the known ones."""
    if group == "cell":
        return _CELLS.get(re.sub(r"_\d+$", "", parent))
    for name in (group, re.sub(r"_\d+$", "", group)):
        if name in _CLASS_OF:
            return _CLASS_OF[name]
    return "EinsumDense" if group.endswith("_dense") else _BY_GROUP.get(group)


def weight_names(class_name: str | None, count: int, config: Mapping[str, object] | None = None) -> list[str] | None:
    """Names of a layer's own weights, as many as it stores; None where they cannot be told."""
    names = list(WEIGHT_NAMES.get(class_name or "", ()))
    if not names:
        said = described(class_name) if count else None
        return list(said.weights) if said is not None and len(said.weights) == count else None
    options = config or {}
    if len(names) == count:
        return names
    switched = {"gamma": "scale", "beta": "center", "bias": "use_bias"}
    names = [name for name in names if name not in switched or options.get(switched[name], True) is not False]
    if len(names) == count:
        return names
    # Whatever the options say: what comes last, and is left out, is the bias.
    return names[:count] if 0 < count < len(names) and names[-1] == "bias" else None


def is_described(class_name: str) -> bool:
    """Whether it is known of each weight of a class whether it is trained."""
    return class_name in BUILT_IN or described(class_name) is not None


def described(class_name: str | None) -> DeclaredLayer | None:
    """What is declared of a class that is none of Keras' own."""
    if class_name in BUILT_IN:
        return None
    from ckptdoctor.formats.keras import declared

    return declared.layer(class_name)


def untrained(class_name: str | None, names: Sequence[str]) -> list[bool]:
    """For each of a layer's own weights, whether no optimizer ever trains it.

    Args:
        class_name: The layer's class, where it is known.
        names: The weights' names, without the layer's; BatchNormalization stores its two statistics last.
    """
    said = described(class_name) if names else None
    if class_name in UNTRAINED_CLASSES or (said is not None and said.adds_untrained_only):
        return [True] * len(names)
    if said is not None:
        return [said.is_untrained(name) or name in UNTRAINED_NAMES for name in names]
    if class_name in {"BatchNormalization", "SyncBatchNormalization"} and not any(n in UNTRAINED_NAMES for n in names):
        return [index >= len(names) - 2 for index in range(len(names))]
    return [name in UNTRAINED_NAMES for name in names]
