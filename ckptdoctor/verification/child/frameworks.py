"""Which framework is here, under one name for each family."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Any

LIBRARIES = {"orbax": "orbax.checkpoint", "flax": "flax"}
"""What restores the trees of JAX programs, and its module."""
OF_TORCH = ("torch", "lightning", "pytorch_lightning", "transformers", "accelerate")
"""What loads files of PyTorch: itself, and the trainers above it."""
KERAS3_MAJOR = 3
EAGER_MAJOR = 2
FIRST_TF_KERAS = (2, 4)


class MissingFramework(Exception):
    """The framework that the artifact needs is not installed; its text is the module's name."""


class Framework:
    """An imported framework.

    Attributes:
        name: `keras`, `tf_keras`, `tf.keras`, `tensorflow`, `torch`: as users write it.
        version: Its version.
        keras: The Keras module, or that of PyTorch or its trainer; None for plain TensorFlow.
        tensorflow: The TensorFlow module; None where Keras runs on something else.
    """

    def __init__(self, name: str, version: str, keras: Any, tensorflow: Any) -> None:
        self.name = name
        self.version = version
        self.keras = keras
        self.tensorflow = tensorflow

    @property
    def tensorflow_version(self) -> str | None:
        """TensorFlow's version."""
        return self.tensorflow.__version__ if self.tensorflow is not None else None

    @property
    def is_keras3(self) -> bool:
        """Whether it is Keras 3."""
        return self.name == "keras" and _major(self.version) >= KERAS3_MAJOR

    @property
    def is_old(self) -> bool:
        """Whether it is standalone Keras, or TensorFlow 1: graphs, and optimizers that nobody can build."""
        standalone = self.name == "keras" and not self.is_keras3
        return standalone or (self.tensorflow is not None and _major(self.tensorflow.__version__) < EAGER_MAJOR)


def load(wanted: str) -> Framework:
    """Imports `keras` (3), `tf_keras` (or the tf.keras of TensorFlow before 2.16) or `tensorflow`.

    `standalone` is the package keras up to 2.3 where that is installed, and `tf_keras` elsewhere.

    Raises:
        MissingFramework: It is not installed.
    """
    if wanted == "keras":
        return _keras3()
    if wanted in LIBRARIES:
        return _library(wanted)
    if wanted in OF_TORCH:
        return _torch(wanted)
    tensorflow = _import("tensorflow")
    if wanted == "standalone" and _is_standalone():
        module: Any = import_module("keras")
        return Framework("keras", module.__version__, module, tensorflow)
    if tensorflow is None:
        raise MissingFramework("tensorflow")
    if wanted == "tensorflow":
        return Framework("tensorflow", tensorflow.__version__, None, tensorflow)
    package = _import("tf_keras")
    if package is not None:
        return Framework("tf_keras", package.__version__, package, tensorflow)
    keras = getattr(tensorflow, "keras", None)
    if keras is None or _major(getattr(keras, "__version__", "2")) >= KERAS3_MAJOR:
        raise MissingFramework("tf_keras")
    return Framework("tf.keras", tensorflow.__version__, keras, tensorflow)


def _library(package: str) -> Framework:
    """Orbax or flax, whose trees need JAX alone."""
    if find_spec(package) is None or find_spec("jax") is None:
        raise MissingFramework(package)
    module: Any = import_module(LIBRARIES[package])
    return Framework(package, str(module.__version__), module, None)


def _torch(package: str) -> Framework:
    """PyTorch, or a trainer; Lightning is the package of either of its names."""
    if find_spec("torch") is None:
        raise MissingFramework("torch")
    if package == "lightning" and find_spec(package) is None and find_spec("pytorch_lightning") is not None:
        package = "pytorch_lightning"
    module = _import(package)
    if module is None:
        raise MissingFramework(package)
    return Framework(package, str(module.__version__), module, None)


def _is_standalone() -> bool:
    """Whether the package keras is here and older than TensorFlow's own."""
    try:
        metadata: Any = import_module("importlib.metadata")
        text = metadata.version("keras")
    except ImportError:  # Python 3.7; or it is not installed
        text = _on_python_3_7()
    numbers = text.split(".")[:2]
    return all(each.isdigit() for each in numbers) and tuple(map(int, numbers)) < FIRST_TF_KERAS


def _on_python_3_7() -> str:
    try:
        resources: Any = import_module("pkg_resources")
        return str(resources.get_distribution("keras").version)
    except Exception:  # noqa: BLE001 - there is none; the two packages have their own errors for that
        return ""


def _keras3() -> Framework:
    if find_spec("keras") is None:
        raise MissingFramework("keras")
    if "KERAS_BACKEND" not in os.environ:
        backend = next((each for each in ("tensorflow", "jax", "torch") if find_spec(each) is not None), None)
        if backend is None:
            raise MissingFramework("tensorflow")
        os.environ["KERAS_BACKEND"] = backend
    keras = _import("keras")
    if keras is None or _major(keras.__version__) < KERAS3_MAJOR:
        raise MissingFramework("keras>=3")
    return Framework("keras", keras.__version__, keras, _import("tensorflow"))


def _import(name: str) -> Any:
    """The module, or None if it is not installed; an installation that is broken speaks for itself."""
    return import_module(name) if find_spec(name) is not None else None


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0
