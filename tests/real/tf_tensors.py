"""Every tensor of some checkpoints, read by TensorFlow: run as a script, with a JSON list of prefixes on stdin.

A line of JSON for each prefix: {name: [dtype, shape, sha256]} or a sentence that says why it cannot be read.
"""

from __future__ import annotations

import hashlib
import json
import sys
from typing import Any

import numpy as np
import tensorflow as tf

Facts = dict[str, list[Any]]


def digest_of_strings(values: list[bytes]) -> str:
    """A digest of strings that tells their borders."""
    return hashlib.sha256(b"".join(len(each).to_bytes(8, "little") + each for each in values)).hexdigest()


def main() -> None:
    """Answers stdin."""
    for prefix in json.load(sys.stdin):
        try:
            answer: Facts | str = facts(prefix)
        except Exception as error:  # noqa: BLE001 - whatever TensorFlow raises is the answer
            answer = f"{type(error).__name__}: {error}"
        sys.stdout.write(json.dumps(answer) + "\n")


def facts(prefix: str) -> Facts:
    """Name → dtype, shape and digest of one checkpoint's tensors."""
    reader = tf.train.load_checkpoint(prefix)
    shapes = reader.get_variable_to_shape_map()
    dtypes = reader.get_variable_to_dtype_map()
    return {
        name: [dtypes[name].name, list(shapes[name]), digest(_value(reader, prefix, name, dtypes[name]))]
        for name in shapes
    }


def _value(reader: Any, prefix: str, name: str, dtype: Any) -> Any:
    try:
        return reader.get_tensor(name)
    except tf.errors.UnimplementedError:  # slices and complex numbers of V1 tables: only the operation reads those
        return tf.raw_ops.Restore(file_pattern=prefix, tensor_name=name, dt=dtype).numpy()


def digest(value: Any) -> str:
    """A digest of a tensor's little-endian bytes in C order, or of its strings."""
    if isinstance(value, bytes):
        return digest_of_strings([value])
    array = np.asarray(value)
    if array.dtype == object:
        return digest_of_strings(list(array.reshape(-1)))
    return hashlib.sha256(array.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
