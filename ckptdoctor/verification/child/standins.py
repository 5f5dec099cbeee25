"""Real optimizers over plain variables: where an artifact holds no model, its variables are rebuilt by shape alone."""

from __future__ import annotations

import inspect
from typing import Any

RATE = 0.5
"""The learning rate of every stand-in: nobody trains with it, so it cannot be met by accident."""

_STATE = ("amsgrad", "centered", "momentum", "use_ema", "gradient_accumulation_steps")


def optimizer(framework: Any, wanted: dict[str, Any]) -> Any:
    """An optimizer of the wanted class and generation, not yet built.

    Raises:
        ValueError: This framework has no such class.
    """
    keras = framework.keras
    home = keras.optimizers
    if wanted["legacy"] and hasattr(home, "legacy"):
        home = home.legacy
    elif not wanted["legacy"] and not framework.is_keras3 and not hasattr(home, "legacy"):
        raise ValueError(f"{framework.name} {framework.version} has no optimizers of Keras 2.11 and later")
    cls = getattr(home, str(wanted["class"]), None)
    if cls is None:
        raise ValueError(f"{framework.name} {framework.version} has no optimizer {wanted['class']!r}")
    accepted = inspect.signature(cls.__init__).parameters
    loose = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in accepted.values())
    config = {
        name: value
        for name, value in wanted["config"].items()
        if name in accepted or (loose and name in _STATE and not wanted["legacy"])
    }
    config["learning_rate"] = schedule(keras) if wanted["scheduled"] else RATE
    made = cls(**config)
    return wrapped(framework, made) if wanted["wrapped"] else made


def wrapped(framework: Any, made: Any) -> Any:
    """A LossScaleOptimizer around an optimizer."""
    home = framework.keras.optimizers if framework.is_keras3 else framework.keras.mixed_precision
    return home.LossScaleOptimizer(made)


def schedule(keras: Any) -> Any:
    """A schedule, for optimizers that had one: they keep no variable for the rate."""
    return keras.optimizers.schedules.ExponentialDecay(RATE, 1000, 0.5)


def variables(framework: Any, wanted: list[dict[str, Any]]) -> list[Any]:
    """A variable of zeros for each of the given shapes and types."""
    return [variable(framework, each["shape"], each["dtype"], each["path"]) for each in wanted]


def variable(framework: Any, shape: list[int], dtype: str, path: str) -> Any:
    """A variable of zeros."""
    name = "".join(char if char.isalnum() or char == "_" else "_" for char in path).lstrip("_") or "variable"
    if framework.is_keras3 and dtype != "string":
        return framework.keras.Variable(
            framework.keras.ops.zeros(shape, dtype=dtype), dtype=dtype, name=name[-60:] or "variable"
        )
    tf = framework.tensorflow
    if dtype == "string":
        return tf.Variable(tf.fill(shape, ""), dtype=tf.string, trainable=False)
    return tf.Variable(tf.zeros(shape, tf.as_dtype(dtype)), name=name[-60:])


def build(made: Any, trained: list[Any]) -> None:
    """Makes an optimizer create all of its variables, as the first training step would."""
    if hasattr(made, "_create_all_weights"):
        made._create_all_weights(trained)  # noqa: SLF001 - what OptimizerV2 calls at its first step; it has no public name
    elif hasattr(made, "_create_slots"):  # the same before TensorFlow 2.3
        made.iterations  # noqa: B018 - made when it is asked for
        made._create_hypers()  # noqa: SLF001
        made._create_slots(trained)  # noqa: SLF001
    elif hasattr(made, "build"):
        made.build(trained)
    # Optimizers of standalone Keras make everything with the model's training function, as load_model does.
