"""What each loader does with each kind of artifact, and which call restores what the usual one does not.

A table of facts: measured with TensorFlow 2.3 to 2.21, tf_keras 2.21 and Keras 3.0 to 3.15.
tests/real/test_verify.py holds it against today's frameworks.
"""

from __future__ import annotations

from typing import NamedTuple


class Advice(NamedTuple):
    """A fact about a call.

    Attributes:
        usual: The key of the usual call.
        framework: The framework's family: `keras` is Keras 3, `tf_keras` also tf.keras up to 2.15; "" = any.
        does: What the usual call does.
        instead: What restores the state.
        by: The key of the attempt that proves it; "" if there is none.
    """

    usual: str
    framework: str
    does: str
    instead: str
    by: str = ""


TABLE: tuple[Advice, ...] = (
    Advice(
        "h5-load-model",
        "keras",
        "Keras 3 restores the count of an .h5 and drops the slots: it builds the optimizer before the model has "
        "trainable variables",
        "load_model(path, compile=False), model.compile(...), model.optimizer.build(model.trainable_variables), then "
        "assign optimizer_weights by name (weight_names); or graft the state into a .keras: ckptdoctor graft "
        "--from {path} --into model.keras --output resumed.keras",
        "h5-assign",
    ),
    Advice(
        "h5-load-model",
        "tf_keras",
        "load_model starts with a fresh optimizer where the list does not fit the model's trainable variables "
        "(layers frozen after training, a LossScaleOptimizer, a bad shape), and says so in the log only",
        "load_model(path, compile=False), compile, optimizer.build(variables) over the variables that were trained, "
        "then assign optimizer_weights in the order of weight_names",
        "h5-assign",
    ),
    Advice(
        "archive-load-model",
        "",
        "load_model skips the optimizer's variables where their number differs from what the configuration makes, "
        "with a warning only",
        "load_model(path, compile=False), model.compile(...) with the optimizer that was saved (under mixed_float16: "
        "in a LossScaleOptimizer), model.optimizer.build(model.trainable_variables), model.load_weights(path)",
        "archive-load-weights",
    ),
    Advice(
        "saved_model-load-model",
        "tf_keras",
        "load_model rebuilds the optimizer from its configuration and never restores its count or its slots, in every "
        "version, without a word",
        'after load_model: model.load_weights(path + "/variables/variables")',
        "saved-model-load-weights",
    ),
    Advice(
        "saved_model-load-model",
        "",
        "this SavedModel does not load as a Keras model",
        'tf.train.Checkpoint(model=model, optimizer=optimizer).restore(path + "/variables/variables") into the same '
        "objects",
        "saved-model-checkpoint",
    ),
    Advice(
        "weights-load",
        "",
        "load_weights on a compiled model skips the optimizer's state as long as the optimizer is not built, with a "
        "warning only",
        "model.optimizer.build(model.trainable_variables) before model.load_weights(path)",
        "weights-load-built",
    ),
    Advice(
        "checkpoint",
        "",
        "restore() before the optimizer is built leaves slots to be restored when they are created, which did not "
        "happen here",
        "build the optimizer before restore(): optimizer.build(model.trainable_variables)",
        "checkpoint-built",
    ),
    Advice(
        "saver",
        "",
        "a Saver finds variables by name: the training graph named the optimizer's otherwise than TensorFlow does by "
        "itself",
        "restore within the training script's own graph, or pass tf.compat.v1.train.Saver a dictionary of names",
        "saver-mapped",
    ),
)


def find(usual: str, framework: str, *, by: str | None) -> Advice | None:
    """The entry for a usual call, the one that the attempt `by` proves before others."""
    family = "tf_keras" if framework == "tf.keras" else framework
    found = [each for each in TABLE if each.usual == usual and each.framework in {"", family}]
    return next((each for each in found if by is not None and each.by == by), found[0] if found else None)
