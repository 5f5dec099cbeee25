"""The tables about layers: names of weights, names of groups, what is never trained."""

from __future__ import annotations

import pytest

from ckptdoctor.formats.keras.layers import class_of_group, snake_case, untrained, weight_names


@pytest.mark.parametrize(
    ("name", "snake"),
    [
        ("Dense", "dense"), ("LSTM", "lstm"), ("Conv2D", "conv2d"), ("BatchNormalization", "batch_normalization"),
        ("MultiHeadAttention", "multi_head_attention"), ("RMSprop", "rm_sprop"), ("AdamW", "adam_w"),
        ("GlobalAveragePooling1D", "global_average_pooling1d"), ("LSTMCell", "lstm_cell"), ("GRU", "gru"),
    ],
)  # fmt: skip
def test_classes_in_paths(name: str, snake: str) -> None:
    """Class names become group names as Keras makes them."""
    assert snake_case(name) == snake


@pytest.mark.parametrize(
    ("group", "parent", "class_name"),
    [
        ("dense", "", "Dense"), ("dense_12", "", "Dense"), ("conv2d_1", "", "Conv2D"), ("cell", "lstm_1", "LSTMCell"),
        ("seed_generator", "dropout", "SeedGenerator"), ("query_dense", "multi_head_attention", "EinsumDense"),
        ("bidirectional_2", "", "Bidirectional"), ("my_layer", "", None),
    ],
)  # fmt: skip
def test_groups_give_classes_back(group: str, parent: str, class_name: str | None) -> None:
    """Where nothing describes a layer, its group's name gives its class, or nothing does."""
    assert class_of_group(group, parent) == class_name


@pytest.mark.parametrize(
    ("class_name", "count", "config", "names"),
    [
        ("Dense", 2, {}, ["kernel", "bias"]),
        ("Dense", 1, {"use_bias": False}, ["kernel"]),
        ("Dense", 1, None, ["kernel"]),
        ("Dense", 3, {}, None),
        ("BatchNormalization", 4, {}, ["gamma", "beta", "moving_mean", "moving_variance"]),
        ("BatchNormalization", 3, {"scale": False}, ["beta", "moving_mean", "moving_variance"]),
        ("BatchNormalization", 3, None, None),
        ("LSTMCell", 3, None, ["kernel", "recurrent_kernel", "bias"]),
        ("Mine", 2, {}, None),
    ],
)
def test_names_of_weights(
    class_name: str, count: int, config: dict[str, object] | None, names: list[str] | None
) -> None:
    """As many names as there are weights, options considered; none where they cannot be told."""
    assert weight_names(class_name, count, config) == names


def test_what_is_never_trained() -> None:
    """Statistics by name, or as the last two of a normalization that lost its names; counters whole."""
    assert untrained("BatchNormalization", ["0", "1", "2"]) == [False, True, True]
    assert untrained("BatchNormalization", ["gamma", "moving_mean", "moving_variance"]) == [False, True, True]
    assert untrained("Normalization", ["mean", "variance", "count"]) == [True] * 3
    assert untrained(None, ["kernel", "seed_generator_state"]) == [False, True]
