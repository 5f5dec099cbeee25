"""What a directory is to Orbax: an item (one saved tree), a step (several items), or the root of a run's steps.

Sources: orbax.checkpoint, `path/step.py` and `path/atomicity.py`, 0.2.7 to 0.12.8.
"""

import os
import re
from collections.abc import Collection, Sequence
from itertools import islice
from typing import NamedTuple

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, is_inside
from ckptdoctor.errors import UnreadableArtifact

TEMPORARY = ".orbax-checkpoint-tmp"
"""What the name of a step or item contains until it is complete; versions before 0.11 add `-MICROSECONDS`."""
PLACEHOLDER = "PLACEHOLDER://"
"""Of an array in the file `checkpoint`; its name follows."""
STEP_METADATA, TREE, AGGREGATE, MANIFEST = "_CHECKPOINT_METADATA", "_METADATA", "checkpoint", "manifest.ocdbt"
STRINGS = "_strings.json"
FILES = frozenset({STEP_METADATA, TREE, MANIFEST, STRINGS, "_sharding", "commit_success.txt", "orbax.checkpoint"})
"""Names that tell of the directory that they are in."""
_OF_STEPS = frozenset({STEP_METADATA, "orbax.checkpoint"})
_OF_ITEMS = frozenset({MANIFEST, TREE, STRINGS, "_sharding"})
_STEP = re.compile(r"(?P<prefix>(?:.*[_-])?)(?P<number>\d{1,18})\Z", re.DOTALL)
_MSGPACK_MAPS = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})
_LOOKED_INTO = 16
"""So many directories are looked into for what they are; steps and items are alike."""
_LISTED = 100_000
_TENSORFLOW = ".data-00000-of-"


class Step(NamedTuple):
    """A directory with a step's name."""

    number: int
    name: str
    path: str


class Latest(NamedTuple):
    """What lies in the root of a run.

    Attributes:
        chosen: The newest complete step.
        steps: Every directory with a step's name, by number, complete or not.
        incomplete: Those after the chosen one, which hold no complete item.
        temporary: Names of saves that did not end.
    """

    chosen: Step
    steps: tuple[Step, ...]
    incomplete: tuple[Step, ...]
    temporary: tuple[str, ...]


def listed(path: str) -> list[str]:
    """The names in a directory; none if it cannot be listed."""
    try:
        return storage.names(path, _LISTED)
    except OSError:
        return []


def is_item(path: str, names: Collection[str]) -> bool:
    """Whether a directory is one saved tree."""
    if _OF_ITEMS.intersection(names) or any(name.startswith("ocdbt.process_") for name in names):
        return True
    # Beside data of TensorFlow it is a state file, which at a URL is not worth a request.
    of_tensorflow = any(_TENSORFLOW in name for name in names)
    if AGGREGATE in names and not of_tensorflow and _is_aggregate(os.path.join(path, AGGREGATE)):
        return True
    below = (os.path.join(path, name) for name in islice(sorted(names), _LOOKED_INTO))
    return any(_is_array(each) for each in below)


def _is_array(path: str) -> bool:
    return any(storage.is_file(os.path.join(path, name)) for name in (".zarray", "zarr.json"))


def _is_aggregate(path: str) -> bool:
    """Whether a file begins as msgpack of a map does; TensorFlow's state files of this name are text."""
    try:
        with RegularFile(path) as file:
            return file.size > 0 and file.read(0, 1)[0] in _MSGPACK_MAPS
    except UnreadableArtifact:
        return False


def items_of(path: str, names: Collection[str]) -> list[str]:
    """The names of the directories in a step, but for those of a save that did not end."""
    try:
        below = {each.name for each in storage.entries(path) if each.is_dir()}
    except OSError:
        return []
    return [name for name in sorted(names) if name in below and TEMPORARY not in name]


def _has_items(path: str, names: Collection[str]) -> list[str]:
    there = islice(items_of(path, names), _LOOKED_INTO)
    return [name for name in there if is_item(os.path.join(path, name), listed(os.path.join(path, name)))]


def is_step(path: str, names: Collection[str]) -> bool:
    """Whether a directory holds the items of one step; before 0.5.23 only its items tell."""
    if is_item(path, names):
        return False
    if _OF_STEPS.intersection(names):
        return True
    inside = _has_items(path, names)
    return bool(inside) and not all(_STEP.match(name) for name in inside)


def is_checkpoint(path: str, names: Collection[str]) -> bool:
    """Whether a directory is an item or a step."""
    return is_item(path, names) or is_step(path, names)


def whole_of(path: str) -> str | None:
    """The step whose item a directory is; None if it stands alone."""
    above = os.path.dirname(storage.absolute(path))
    there = listed(above)
    return above if _OF_STEPS.intersection(there) and not is_item(above, there) else None


def look(path: str, names: Sequence[str]) -> Latest | None:
    """What lies in the root of a run; None if a directory is none.

    `CheckpointManager.latest_step()` takes the highest number, and asks neither for items nor for a marker.

    Raises:
        UnreadableArtifact: Only saves that did not end are in it.
    """
    temporary = tuple(sorted(name for name in names if TEMPORARY in name and storage.is_dir(os.path.join(path, name))))
    found: dict[str, list[Step]] = {}
    for name in names:
        match, full = _STEP.match(name), os.path.join(path, name)
        if match is not None and storage.is_dir(full) and is_inside(full, path):
            step = Step(int(match["number"]), name, full)
            found.setdefault(match["prefix"], []).append(step)
    best: Latest | None = None
    for row in found.values():
        row.sort()
        later: list[Step] = []
        for step in reversed(row[-_LOOKED_INTO:]):
            if is_complete(step.path):
                if best is None or len(row) > len(best.steps):
                    best = Latest(step, tuple(row), tuple(reversed(later)), temporary)
                break
            later.append(step)
    if best is None and temporary and any(_is_unfinished(os.path.join(path, name)) for name in temporary):
        raise UnreadableArtifact(
            f"only saves that did not end are in it: {', '.join(temporary[:4])}; latest_step() is None "
            "(a process that saves in the background has to wait_until_finished())",
            path,
            code="I005",
        )
    return best


def _is_unfinished(path: str) -> bool:
    there = listed(path)
    return not there or STEP_METADATA in there or any(TEMPORARY in name for name in there) or is_item(path, there)


def is_complete(path: str) -> bool:
    """Whether a step has an item that was renamed into place, or is one."""
    names = listed(path)
    return is_item(path, names) or bool(_has_items(path, names))
