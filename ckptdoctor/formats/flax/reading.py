"""msgpack documents of flax, and directories of them.

A document has no header, no version and no checksum: one map, whose arrays are extensions
(flax/serialization.py, `_MsgpackExtType`). Tuples and lists are maps of "0", "1", …; empty states are empty maps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.msgpack import read as read_msgpack
from ckptdoctor.containers.tensors.values import kept_open
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.trees import leaves_of, state_of
from ckptdoctor.state import Format, Oddity, Producer, TrainingState

_NUMBERED = re.compile(r"(?P<stem>.*_)(?P<number>\d+(?:\.\d+)?)\Z")
_TEMPORARY = re.compile(r".*_tmp\Z|tmp.*\Z")
_MAPS = frozenset({*range(0x81, 0x90), 0xDE, 0xDF})
_STRING8, _SMALL_MAP = 0xD9, 0xDE


def begins_so(head: bytes) -> bool:
    """Whether a file begins as a map of msgpack does, whose first key is text."""
    if not head or head[0] not in _MAPS:
        return False
    at = 1 + {_SMALL_MAP: 2, 0xDF: 4}.get(head[0], 0)
    mark = head[at] if len(head) > at else 0
    length, start = (mark & 0x1F, at + 1) if 0xA0 <= mark < 0xC0 else (0, at)  # noqa: PLR2004 - fixstr
    if mark == _STRING8 and len(head) > at + 1:
        length, start = head[at + 1], at + 2
    key = head[start : start + length]
    return bool(key) and len(key) == length and key.decode("utf-8", "replace").isprintable()


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
    leaves = list(leaves_of(root))
    told: list[Oddity] = []
    if not any(leaf.tensor is not None for leaf in leaves):
        raise UnreadableArtifact("holds no arrays: it is no state of flax", path)
    with kept_open():
        return state_of(path, Format.FLAX_MSGPACK, leaves, Producer("flax"), told)


def latest(given: str, path: str, names: Sequence[str]) -> Target | None:
    """The newest `checkpoint_N` of a directory, by its number (flax.training.checkpoints.latest_checkpoint)."""
    found = []
    for name in names:
        told = _NUMBERED.match(name)
        full = os.path.join(path, name)
        if told is not None and not _TEMPORARY.match(name) and os.path.isfile(full) and _is_document(full):
            found.append((float(told["number"]), full))
    if not found:
        return None
    _, newest = max(found)
    noticed = [Oddity("P003", f"{path} is a directory of {len(found)} checkpoints; the newest is {newest}")]
    left = [name for name in names if _TEMPORARY.match(name)]
    if left:
        noticed.append(Oddity("I005", f"{left[0]} is what a save has left that did not end"))
    return Target(given, newest, "flax", tuple(noticed))


def _is_document(path: str) -> bool:
    try:
        with RegularFile(path) as file:
            return begins_so(file.read(0, min(file.size, 300)))
    except UnreadableArtifact:
        return False
