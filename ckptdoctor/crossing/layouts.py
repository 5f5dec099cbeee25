"""Variables of Keras and of PyTorch beside each other: their names, and the order of their axes.

A Dense kernel is (in, out), a Linear weight (out, in); kernels of convolutions have their spatial axes first in Keras
and last in PyTorch. Sources: keras/src/layers/core/dense.py, convolutional/base_conv.py; torch/nn/modules/linear.py,
conv.py.
"""

from __future__ import annotations

from ckptdoctor.references import Recast, TensorRef

_TO_TORCH = {
    "kernel": "weight", "embeddings": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var", "embedding": "weight", "scale": "weight",
}  # fmt: skip
_TO_FLAX = {
    "embeddings": "embedding", "gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var",
}  # fmt: skip
_OF_KERAS = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def torch_name(path: str) -> str:
    """`hidden/kernel` as `hidden.weight`."""
    *front, last = path.split("/")
    return ".".join([*front, _TO_TORCH.get(last, last)])


def keras_name_of_flax(path: str, *, is_norm: bool) -> str:
    """`Embed_0/embedding` as `Embed_0/embeddings`.

    Args:
        path: Flax's name.
        is_norm: A scale is beside it.
    """
    *front, last = path.split("/")
    beta = "beta" if last == "bias" and is_norm else last
    return "/".join([*front, {"embedding": "embeddings", "scale": "gamma"}.get(last, beta)])


def flax_name(path: str) -> str:
    """`Embed_0/embeddings`, Keras' name, as `Embed_0/embedding`."""
    *front, last = path.split("/")
    return "/".join([*front, _TO_FLAX.get(last, last)])


def keras_name(name: str, rank: int, *, is_norm: bool, is_table: bool) -> str:
    """`hidden.weight` as `hidden/kernel`.

    Args:
        name: PyTorch's name.
        rank: Dimensions of the variable.
        is_norm: The weight beside it has one dimension.
        is_table: It is an embedding's.
    """
    *front, last = name.split(".")
    if last == "weight":
        last = "embeddings" if is_table else "gamma" if rank <= 1 else "kernel"
    elif last == "bias":
        last = "beta" if is_norm else "bias"
    return "/".join([*front, _OF_KERAS.get(last, last)])


def to_torch(rank: int) -> tuple[int, ...]:
    """Which axis of a Keras kernel each axis of PyTorch's is."""
    return (rank - 1, rank - 2, *range(rank - 2))


def to_keras(rank: int) -> tuple[int, ...]:
    """Which axis of PyTorch's weight each axis of a Keras kernel is."""
    return (*range(2, rank), 1, 0)


def recast(ref: TensorRef, axes: tuple[int, ...] | None, factor: float = 1.0) -> TensorRef:
    """A tensor with its axes in another order, and multiplied."""
    kept = axes is None or len(axes) != len(ref.shape)
    order = tuple(range(len(ref.shape))) if kept or axes is None else axes
    if (kept and factor == 1.0) or ref.location is None:
        return ref
    shape = tuple(ref.shape[each] for each in order)
    return ref._replace(shape=shape).at(Recast(ref.location, ref.shape, order, factor))
