"""Which framework stands behind a `keras_version`, and which generation of optimizers it writes."""

from __future__ import annotations

from ckptdoctor.state import Generation, Producer
from ckptdoctor.versions import release

_FIRST_TF_KERAS_ONLY = 4
_FIRST_SEPARATE = 16
_FIRST_REWRITTEN = 11


def producer(version: str | None) -> Producer:
    """The producer by the version that it wrote.

    `2.2.4-tf` and `2.4.0` to `2.15.0` are TensorFlow's own Keras, 2.16 and later the package tf_keras, 1.x to 2.3 and 3
    the package keras.
    """
    if not version:
        return Producer()
    major, minor = release(version) or (0, 0)
    if version.endswith("-tf"):
        return Producer("tf.keras", version)
    if major == 2 and minor >= _FIRST_SEPARATE:  # noqa: PLR2004
        return Producer("tf_keras", version)
    if major == 2 and minor >= _FIRST_TF_KERAS_ONLY:  # noqa: PLR2004
        return Producer("tf.keras", version)
    return Producer("keras", version)


def generation(version: str | None) -> Generation | None:
    """The optimizers that this version saves by default; None where the version is not known."""
    if not version:
        return None
    major, minor = release(version) or (0, 0)
    if major == 2 and (version.endswith("-tf") or minor >= _FIRST_TF_KERAS_ONLY):  # noqa: PLR2004
        return Generation.KERAS2 if minor >= _FIRST_REWRITTEN else Generation.OPTIMIZER_V2
    return Generation.KERAS3 if major == 3 else Generation.KERAS1  # noqa: PLR2004
