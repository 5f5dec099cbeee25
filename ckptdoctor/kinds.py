"""The vocabulary's lists: formats, generations of optimizers, roles of their state, and what a verdict can be."""

from __future__ import annotations

from enum import Enum


class Format(str, Enum):
    """Artifact formats, as the command line's JSON names them."""

    TF_CHECKPOINT = "tf-checkpoint"
    TF_CHECKPOINT_V1 = "tf-checkpoint-v1"
    SAVED_MODEL = "saved-model"
    KERAS_H5 = "keras-h5"
    KERAS_H5_WEIGHTS = "keras-h5-weights"
    KERAS_ARCHIVE = "keras-archive"
    KERAS_WEIGHTS = "keras-weights"
    OPTIMIZER_DUMP = "optimizer-dump"
    TORCH_CHECKPOINT = "torch-checkpoint"
    TORCH_DCP = "torch-dcp"
    LIGHTNING_CHECKPOINT = "lightning-checkpoint"
    HF_TRAINER = "hf-trainer"
    ACCELERATE_STATE = "accelerate-state"
    DEEPSPEED = "deepspeed"
    STABLE_BASELINES3 = "stable-baselines3"
    SAFETENSORS = "safetensors"
    FLAX_MSGPACK = "flax-msgpack"
    ORBAX_CHECKPOINT = "orbax-checkpoint"
    UNKNOWN = "unknown"


class Generation(str, Enum):
    """Generations of optimizer implementations; within one, names, order and meaning of state agree."""

    TF1 = "tf1"
    """`tf.compat.v1.train.*Optimizer`: name-based slots, no count of its own."""
    KERAS1 = "keras1"
    """Standalone Keras 1.x to 2.3, before OptimizerV2."""
    OPTIMIZER_V2 = "optimizer-v2"
    """tf.keras up to 2.10 and `optimizers.legacy` later."""
    KERAS2 = "keras2"
    """The rewritten optimizers of TensorFlow 2.11 to 2.15 and tf_keras (2.9 and 2.10: `optimizers.experimental`)."""
    KERAS3 = "keras3"
    TORCH = "torch"
    """`torch.optim`, and what follows the convention of its `state_dict`."""
    OPTAX = "optax"
    """Chains of optax' gradient transformations, in JAX."""


class Role(str, Enum):
    """What a state variable is, in one vocabulary across frameworks."""

    FIRST_MOMENT = "first_moment"
    SECOND_MOMENT = "second_moment"
    MAX_SECOND_MOMENT = "max_second_moment"
    MOMENTUM = "momentum"
    MEAN_SQUARE = "mean_square"
    MEAN_GRADIENT = "mean_gradient"
    ACCUMULATOR = "accumulator"
    ACCUMULATED_UPDATE = "accumulated_update"
    LINEAR = "linear"
    INFINITY_NORM = "infinity_norm"
    ROW_MOMENT = "row_second_moment"
    COLUMN_MOMENT = "column_second_moment"
    MOVING_AVERAGE = "moving_average"
    GRADIENT_ACCUMULATOR = "gradient_accumulator"
    OTHER = "other"


class Status(str, Enum):
    """Whether an optimizer's state suffices to go on; `worst` orders them for artifacts with several optimizers."""

    COMPLETE = "complete"
    FRESH = "fresh"
    PARTIAL = "partial"
    ABSENT = "absent"
    UNREADABLE = "unreadable"
