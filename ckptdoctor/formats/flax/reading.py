"""msgpack documents of flax.

A document has no header, no version and no checksum: one map, whose arrays are extensions
(flax/serialization.py, `_MsgpackExtType`). Tuples and lists are maps of "0", "1", …; empty states are empty maps.
"""

from __future__ import annotations

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.msgpack import read as read_msgpack
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.trees import leaves_of, state_of
from ckptdoctor.state import Format, Producer, TrainingState


def read(path: str) -> TrainingState:
    """Reads a document.

    Raises:
        UnreadableArtifact: It is none, or ends early or late.
        LimitExceeded: It holds more than any checkpoint does.
    """
    with RegularFile(path) as file:
        root = read_msgpack(Cursor(file, path))
    if not isinstance(root, dict):
        raise UnreadableArtifact("holds no map: it is no state of flax", path)
    leaves = leaves_of(root)
    if not any(leaf.tensor is not None for leaf in leaves):
        raise UnreadableArtifact("holds no arrays: it is no state of flax", path)
    with kept_open():
        return state_of(path, Format.FLAX_MSGPACK, leaves, Producer("flax"))
