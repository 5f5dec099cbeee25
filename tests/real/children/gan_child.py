"""A GAN with a custom `compile()`: trained and saved, loaded by the usual call, and by the one that we advise.

    python gan_child.py FRAMEWORK make FOLDER
    python gan_child.py FRAMEWORK load PATH...

FRAMEWORK is keras or tf_keras. `load` prints a JSON object: path → for the usual call and for the advised one, each
optimizer's count and the sum of its slots' magnitudes, or null where there is no such optimizer.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from typing import Any

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf

FRAMEWORK, MODE, *REST = sys.argv[1:]
keras: Any = importlib.import_module(FRAMEWORK)
register = keras.saving.register_keras_serializable(package="tests")
STEPS = 4
NAMES = ("d_opt", "g_opt")


@register
class Gan(keras.Model):  # type: ignore[misc]
    """Two models, each with an optimizer of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        dense, start = keras.layers.Dense, keras.Input
        self.gen = keras.Sequential([start((4,)), dense(8, name="g1"), dense(10, name="g2")], name="gen")
        self.disc = keras.Sequential([start((10,)), dense(6, name="d1"), dense(1, name="d2")], name="disc")

    def compile(self, g_opt: Any, d_opt: Any) -> None:
        """Keeps both; the default optimizer of Keras is never used."""
        super().compile()
        self.g_opt, self.d_opt = g_opt, d_opt

    def call(self, inputs: Any) -> Any:
        """What the discriminator says of what the generator makes."""
        return self.disc(self.gen(inputs))

    def parts(self) -> list[tuple[Any, list[Any]]]:
        """Each optimizer with what it trains."""
        return [(self.d_opt, self.disc.trainable_variables), (self.g_opt, self.gen.trainable_variables)]


def made() -> Any:
    """A new GAN, compiled."""
    model = Gan(name="gan")
    model(np.zeros((1, 4), "float32"))
    return compiled(model)


def compiled(model: Any) -> Any:
    """The GAN with its optimizers."""
    model.compile(g_opt=keras.optimizers.Adam(1e-3), d_opt=keras.optimizers.RMSprop(1e-3))
    return model


def make(folder: str) -> None:
    """Trains and saves: an archive, weights, a checkpoint two steps later."""
    model = made()
    train(model, STEPS)
    model.save(os.path.join(folder, "gan.keras"))
    model.save_weights(os.path.join(folder, "gan.weights.h5"))
    train(model, 2)
    objects = {"generator_optimizer": model.g_opt, "discriminator_optimizer": model.d_opt}
    tf.train.Checkpoint(gen=model.gen, disc=model.disc, **objects).write(os.path.join(folder, "later"))


def train(model: Any, steps: int) -> None:
    """Steps with gradients that are not zero."""
    for step in range(steps):
        for optimizer, variables in model.parts():
            generator = np.random.default_rng(step)
            gradients = [tf.constant(generator.normal(size=each.shape).astype("float32")) for each in variables]
            optimizer.apply_gradients(zip(gradients, variables, strict=True))


def held(model: Any) -> dict[str, Any]:
    """What each optimizer of a loaded model holds."""
    found: dict[str, Any] = {}
    for name in NAMES:
        optimizer = getattr(model, name, None)
        if optimizer is None:
            found[name] = None
            continue
        kept = optimizer.variables
        values = [np.array(each) for each in (kept() if callable(kept) else kept)]
        slots = sum(float(np.abs(each).sum()) for each in values if each.ndim)
        found[name] = {"count": int(np.array(optimizer.iterations)), "slots": slots}
    return found


def usual(path: str) -> Any:
    """The call that everybody makes."""
    if path.endswith(".keras"):
        return keras.models.load_model(path)
    model = made()
    model.load_weights(path)
    return model


def advised(path: str) -> Any:
    """What L002 advises."""
    model = compiled(keras.models.load_model(path, compile=False)) if path.endswith(".keras") else made()
    for optimizer, variables in model.parts():
        optimizer.build(variables)
    model.load_weights(path)
    return model


def main() -> None:
    """Prints one JSON document."""
    warnings.simplefilter("ignore")
    if MODE == "make":
        make(REST[0])
        return
    json.dump({path: {"usual": held(usual(path)), "advised": held(advised(path))} for path in REST}, sys.stdout)


if __name__ == "__main__":
    main()
