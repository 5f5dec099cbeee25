"""A program of Keras that resumes as it is told, with a guard: what the guard says, and whether a step was taken.

Run as `keras_child.py MODULE FOLDER`: MODULE is `keras` or `tf_keras`. Prints one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
NAME, FOLDER = sys.argv[1:]
keras = importlib.import_module(NAME)
np = importlib.import_module("numpy")

from ckptdoctor.errors import NotResumed, UsageProblem  # noqa: E402
from ckptdoctor.guard import assert_resumed  # noqa: E402
from ckptdoctor.guard.keras import ResumeGuard  # noqa: E402

X = np.random.default_rng(0).normal(size=(28, 3)).astype("float32")
Y = X[:, ::-1].copy()
said: dict[str, Any] = {}


def net(optimizer: Any = None, *, reverse: bool = False) -> Any:
    """Two layers of one shape, whose moments could be exchanged."""
    model = keras.Sequential([
        keras.Input((3,)),
        keras.layers.Dense(3, activation="tanh", use_bias=False, name="one"),
        keras.layers.Dense(3, use_bias=False, name="two"),
    ])  # fmt: skip
    model.compile(keras.optimizers.Adam(0.01) if optimizer is None else optimizer, keras.losses.MeanSquaredError())
    if reverse:
        model.optimizer.build(model.trainable_variables[::-1])
    return model


def trained(model: Any) -> Any:
    """Seven steps."""
    model.fit(X, Y, batch_size=4, epochs=1, shuffle=False, verbose=0)
    return model


def path(name: str) -> str:
    """A file of this run."""
    return os.path.join(FOLDER, name)


def guarded(what: str, model: Any, artifact: str, **options: Any) -> None:
    """What the guard's function says, what its callback says, and whether that ended `fit` before a step."""
    entry: dict[str, Any] = {}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        entry["asserted"] = verdict(lambda: assert_resumed(model, artifact, **options))
        before = [np.array(each) for each in model.get_weights()]
        own = {name: each for name, each in options.items() if name != "model"}
        guard = ResumeGuard(artifact, **own)
        entry["fit"] = verdict(lambda: model.fit(X[:4], Y[:4], verbose=0, callbacks=[guard]) and None)
        entry["stepped"] = any((one != other).any() for one, other in zip(before, model.get_weights(), strict=True))
    entry["warned"] = sorted({each.category.__name__ for each in warned})
    said[what] = entry


def verdict(call: Callable[[], Any]) -> Any:
    """What a call returned, or the codes and the text of its refusal."""
    try:
        found = call()
    except NotResumed as refused:
        return {"codes": list(refused.codes), "lost": list(refused.lost), "text": str(refused)}
    return None if found is None else found._asdict()


def scenarios() -> None:
    """Each way in which a program of today resumes."""
    source = trained(net())
    source.save(path("whole.keras"))
    source.save_weights(path("a.weights.h5"))
    source.save(path("whole.h5"))

    model = net()
    model.load_weights(path("a.weights.h5"))
    guarded("load_weights before build", model, path("a.weights.h5"))
    model = net()
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path("a.weights.h5"))
    guarded("load_weights after build", model, path("a.weights.h5"))
    guarded("whole model", keras.models.load_model(path("whole.keras")), path("whole.keras"))
    guarded("whole h5", keras.models.load_model(path("whole.h5")), path("whole.h5"))
    model = keras.models.load_model(path("whole.keras"))
    model.compile(keras.optimizers.Adam(0.01), keras.losses.MeanSquaredError())
    guarded("compiled anew", model, path("whole.keras"))
    model = keras.models.load_model(path("whole.keras"))
    model.optimizer.learning_rate.assign(0.5)
    guarded("another rate", model, path("whole.keras"))
    model = keras.models.load_model(path("whole.keras"))
    model.optimizer.learning_rate.assign(0.5)
    guarded("another rate, allowed", model, path("whole.keras"), learning_rate=False)
    model = net(reverse=True)
    model.load_weights(path("a.weights.h5"))
    guarded("reversed", model, path("a.weights.h5"))
    weights = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3), keras.layers.Dense(3)])
    weights.save_weights(path("only.weights.h5"))
    guarded("weights only", net(), path("only.weights.h5"))
    guarded("weights only, allowed", net(), path("only.weights.h5"), allow_fresh=True)

    decayed = trained(net(keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.1, 100), momentum=0.9)))
    decayed.save(path("decayed.keras"))
    guarded("schedule", keras.models.load_model(path("decayed.keras")), path("decayed.keras"))
    if NAME == "keras":
        steps = trained(net(keras.optimizers.AdamW(0.01, gradient_accumulation_steps=2, use_ema=True)))
        steps.save(path("steps.keras"))
        guarded("accumulated", keras.models.load_model(path("steps.keras")), path("steps.keras"))
    else:
        legacy = trained(net(keras.optimizers.legacy.Adam(0.01)))
        legacy.save_weights(path("ckpt"))
        model = net(keras.optimizers.legacy.Adam(0.01))
        model.load_weights(path("ckpt"))
        guarded("restored later", model, path("ckpt"))
        guarded("not restored", net(keras.optimizers.legacy.Adam(0.01)), path("ckpt"))


CLASSES = ("SGD", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Ftrl", "Adafactor", "Lion", "Lamb", "Muon")


def every_class() -> None:
    """Every optimizer from a file that does not name its class: how many slots were compared, or what is lost."""
    tf = importlib.import_module("tensorflow")
    own = keras.optimizers
    made: dict[str, dict[str, Any]] = {name: {} for name in CLASSES if hasattr(own, name)}
    made |= {"SGD momentum": {"momentum": 0.9}, "RMSprop centered": {"centered": True, "momentum": 0.9}}
    made |= {"Adam amsgrad": {"amsgrad": True}, "Adam ema": {"use_ema": True}, "AdamW ": {}}
    found = {}
    for name, settings in made.items():
        source = net(getattr(own, name.split()[0])(0.01, **settings))
        source.optimizer.build(source.trainable_variables)
        for number in range(3):
            gradients = [tf.fill(each.shape, 0.1 * number + 0.3) * each for each in source.trainable_variables]
            source.optimizer.apply_gradients(zip(gradients, source.trainable_variables, strict=True))
        source.save_weights(path(f"{name}.weights.h5"))
        again = net(getattr(own, name.split()[0])(0.01, **settings))
        again.optimizer.build(again.trainable_variables)
        again.load_weights(path(f"{name}.weights.h5"))
        found[name] = verdict(lambda: assert_resumed(again, path(f"{name}.weights.h5"), slots=None))  # noqa: B023
    said["classes"] = found


def two_optimizers() -> None:
    """A checkpoint of TensorFlow with two models and their optimizers, as a GAN's."""
    tf = importlib.import_module("tensorflow")
    models = {"one": trained(net()), "two": trained(trained(net()))}
    optimizers = {f"{name}_opt": each.optimizer for name, each in models.items()}
    saved = tf.train.Checkpoint(**models, **optimizers).save(path("gan"))
    again = {"one": net(), "two": net()}
    own = {f"{name}_opt": each.optimizer for name, each in again.items()}
    by_name = {f"{name}_opt": each for name, each in again.items()}
    said["two, not restored"] = verdict(lambda: assert_resumed(own, saved, model=by_name))
    for name, each in again.items():
        own[f"{name}_opt"].build(each.trainable_variables)
    tf.train.Checkpoint(**again, **own).restore(saved)
    said["two"] = verdict(lambda: assert_resumed(own, saved, model=by_name))
    said["two, in order"] = verdict(lambda: assert_resumed(list(own.values()), saved, model=list(again.values())))
    said["two, exchanged"] = verdict(lambda: assert_resumed(list(own.values())[::-1], saved))


def problem(live: Any) -> str:
    """Why something cannot be compared."""
    try:
        return str(assert_resumed(live, path("whole.keras")))
    except UsageProblem as error:
        return str(error)


def no_optimizers() -> None:
    """What is no optimizer."""
    bare = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    for what, live in (("uncompiled", bare), ("a number", 7)):
        said[what] = problem(live)


scenarios()
no_optimizers()
if os.environ["KERAS_BACKEND"] == "tensorflow":
    two_optimizers()
    every_class()
sys.stdout.write(json.dumps(said))
