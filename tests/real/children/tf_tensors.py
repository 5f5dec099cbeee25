"""TensorFlow itself as a reader and a writer of checkpoints: run as a script, which prints lines of JSON.

python tf_tensors.py read           a JSON list of prefixes on stdin; for each, {name: [dtype, shape, sha256]} as it
                                    reads them, or a sentence that says why it cannot
python tf_tensors.py write FOLDER   writes checkpoints of every kind there; {prefix: {name: [dtype, shape, sha256]}}
                                    by the values that it was given
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from typing import Any

import numpy as np
import tensorflow as tf

Facts = dict[str, list[Any]]


def digest_of_strings(values: list[bytes]) -> str:
    """A digest of strings that tells their borders."""
    return hashlib.sha256(b"".join(len(each).to_bytes(8, "little") + each for each in values)).hexdigest()


def main() -> None:
    """Reads or writes."""
    if sys.argv[1] == "write":
        sys.stdout.write(json.dumps(written(sys.argv[2])) + "\n")
        return
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


# ------------------------------------------------------------------------------------------------------------- writing

_NUMBERS = (
    tf.float32, tf.float64, tf.int32, tf.uint8, tf.int16, tf.int8, tf.complex64, tf.int64, tf.bool, tf.bfloat16,
    tf.uint16, tf.complex128, tf.float16, tf.uint32, tf.uint64, tf.dtypes.experimental.float8_e5m2,
    tf.dtypes.experimental.float8_e4m3fn, tf.dtypes.experimental.int4,
)  # fmt: skip


def written(folder: str) -> dict[str, Facts]:
    """Writes checkpoints of every kind; answers what is in them."""
    truth: dict[str, Facts] = {}
    values = _values()
    plain = os.path.join(folder, "plain")
    _save(plain, values)
    truth[plain] = _facts_of(values)
    merged, parts = os.path.join(folder, "merged"), [os.path.join(folder, f"part-{number}") for number in range(4)]
    names = sorted(values)
    for number, part in enumerate(parts):
        _save(part, {name: values[name] for name in names[number::4]})
    # A partitioned variable: its halves lie in two of the data files.
    whole = np.arange(60, dtype=np.float32).reshape(5, 4, 3)
    for part, spec, piece in ((parts[0], "5 4 3 0,2:-:-", whole[:2]), (parts[3], "5 4 3 2,3:-:-", whole[2:])):
        _save(f"{part}-slice", {"partitioned": tf.constant(piece)}, spec)
    _merge([*parts, f"{parts[0]}-slice", f"{parts[3]}-slice"], merged)
    truth[merged] = _facts_of(values) | {"partitioned": ["float32", list(whole.shape), digest(whole)]}
    v1 = os.path.join(folder, "v1")
    kept = {name: value for name, value in values.items() if value.dtype in _NUMBERS[:9]}
    tf.raw_ops.Save(filename=v1, tensor_names=list(kept), data=list(kept.values()))
    truth[v1] = _facts_of(kept)
    return truth


def _values() -> dict[str, Any]:
    random = np.random.default_rng(7)
    values: dict[str, Any] = {}
    for dtype in _NUMBERS:
        source = tf.int8 if dtype == tf.dtypes.experimental.int4 else tf.float32  # there is no other cast to it
        for shape in ((), (1,), (0, 3), (7, 5), (2, 1, 3, 1, 2, 1, 1, 2)):
            name = f"{dtype.name}/of shape {'x'.join(map(str, shape))}"
            values[name] = tf.cast(tf.constant(random.integers(0, 8, shape), source), dtype)
    values["schlüssel/ключ/鍵"] = tf.constant(1.5)
    values["text"] = tf.constant(b"one \x00\xff string")
    values["texts"] = tf.constant([[b"", b"x" * 1000], [b"\n", b"y"]])
    values["no texts"] = tf.constant([], tf.string)
    values["large"] = tf.constant(random.random(300_000))
    return values


def _save(prefix: str, values: dict[str, Any], spec: str = "") -> None:
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=list(values), shape_and_slices=[spec] * len(values), tensors=list(values.values())
    )


def _merge(parts: list[str], prefix: str) -> None:
    tf.raw_ops.MergeV2Checkpoints(checkpoint_prefixes=parts, destination_prefix=prefix, delete_old_dirs=False)


def _facts_of(values: dict[str, Any]) -> Facts:
    return {name: [value.dtype.name, value.shape.as_list(), digest(value.numpy())] for name, value in values.items()}


if __name__ == "__main__":
    main()
