"""Directories of `checkpoint_N` documents, as flax.training.checkpoints leaves them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.beginnings import is_msgpack
from ckptdoctor.formats.contract import Target
from ckptdoctor.state import Oddity

_NUMBERED = re.compile(r"(?P<stem>.*_)(?P<number>\d+(?:\.\d+)?)\Z")
_TEMPORARY = re.compile(r".*_tmp\Z|tmp.*\Z")


def latest(given: str, path: str, names: Sequence[str]) -> Target | None:
    """The newest `checkpoint_N` of a directory, by its number (flax.training.checkpoints.latest_checkpoint)."""
    found = []
    for name in names:
        told = _NUMBERED.match(name)
        full = os.path.join(path, name)
        if told is not None and not _TEMPORARY.match(name) and storage.is_file(full) and _is_document(full):
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
            return is_msgpack(file.read(0, min(file.size, 300)))
    except UnreadableArtifact:
        return False
