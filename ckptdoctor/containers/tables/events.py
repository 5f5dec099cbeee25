"""TensorBoard's event files: records of a training's figures, in TFRecord's framing.

Sources: tensorflow/core/lib/io/record_writer.h (a length, its checksum, the data, its checksum), util/event.proto and
framework/summary.proto.
"""

import struct
from collections.abc import Iterator
from math import isfinite
from typing import NamedTuple

from ckptdoctor.containers.bytes.crc import masked_crc32c
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.messages import Message
from ckptdoctor.containers.tables.wire import CorruptBytes

_HEAD = struct.Struct("<QI")
_TAIL = 4
_MOST = 1 << 16
"""Bytes of a record that is looked into: scalars have a hundred, images and graphs more."""
_FLOAT = 1
"""TensorFlow's number of its type float32, which tf.summary.scalar writes."""


class Scalar(NamedTuple):
    """A figure at a step."""

    tag: str
    step: int
    value: float


def scalars(path: str) -> Iterator[Scalar]:
    """The scalars of an event file, as far as it is whole: the last record of a running training may be cut.

    Raises:
        UnreadableArtifact: It cannot be opened or read.
    """
    with RegularFile(path) as file:
        position = 0
        while position + _HEAD.size <= file.size:
            head = file.read(position, _HEAD.size)
            length, checksum = _HEAD.unpack(head)
            start = position + _HEAD.size
            if masked_crc32c(head[:8]) != checksum or start + length + _TAIL > file.size:
                return
            position = start + length + _TAIL
            if length > _MOST:
                continue
            data = file.read(start, length + _TAIL)
            if masked_crc32c(data[:length]) != int.from_bytes(data[length:], "little"):
                return
            try:
                yield from _scalars(Message(data[:length]))
            except CorruptBytes:
                return


def _scalars(event: Message) -> Iterator[Scalar]:
    step = event.integer(2)
    for value in event.message(5).messages(1):  # Event.summary, Summary.value
        number = _number(value)
        if number is not None:
            yield Scalar(value.text(1), step, number)


def _number(value: Message) -> float | None:
    """`simple_value`, which TensorFlow 1 and PyTorch write; else a tensor of one float."""
    packed = value.raw(2)
    if not packed:
        tensor = value.message(8)
        if tensor.integer(1) != _FLOAT or tensor.message(2).messages(2):
            return None
        packed = tensor.raw(4) or tensor.raw(5)  # tensor_content, float_val
    if len(packed) != struct.calcsize("<f"):
        return None
    number: float = struct.unpack("<f", packed)[0]
    return number if isfinite(number) else None
