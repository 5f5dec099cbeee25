"""Which framework stands behind a `keras_version`."""

from __future__ import annotations

from ckptdoctor.state import Producer
from ckptdoctor.versions import release

_FIRST_TF_KERAS_ONLY = 4
_FIRST_SEPARATE = 16


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
