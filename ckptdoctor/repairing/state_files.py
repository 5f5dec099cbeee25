"""Files beside checkpoints that name the one to load: TensorFlow's `checkpoint`, DeepSpeed's `latest`."""

import os
from typing import NamedTuple

from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.directories import artifact_at, family, is_there, listing, saved_order, state_file
from ckptdoctor.formats.tensorflow import STATE_FILE
from ckptdoctor.formats.tensorflow.state_file import CheckpointState, read_checkpoint_state, text_of
from ckptdoctor.formats.torch.mending.latest import named

_INDEX = ".index"


class Beside(NamedTuple):
    """A file as it should be.

    Attributes:
        path: The file.
        text: Its content.
        told: What is mended by it.
    """

    path: str
    text: str
    told: str


def astray(directory: str) -> Beside | None:
    """The file that names the latest, where it names what is not here, or is not there itself; None if all is well.

    Raises:
        UnreadableArtifact: The directory cannot be listed.
    """
    of_deepspeed = named(directory) if os.path.isdir(directory) else None
    if of_deepspeed is not None:
        path, tag = of_deepspeed
        return Beside(path, tag, f"`latest` names {tag}, the newest that is here")
    if not os.path.isdir(directory) or artifact_at(directory, directory) is not None:
        return None
    names = listing(directory)
    there = [name.removesuffix(_INDEX) for name in names if name.endswith(_INDEX)]
    if not there:
        return None
    path = os.path.join(directory, STATE_FILE)
    if os.path.isdir(path) or (os.path.lexists(path) and state_file(directory, names) is None and not _is_broken(path)):
        return None  # something else of that name
    known = _known(path)
    here = known is not None and all(is_there(os.path.join(directory, each)) for each in _all(known))
    if here and known is not None and known.latest:
        return None
    kept = [name for each in _all(known) if (name := os.path.basename(each.rstrip("/"))) in there] if known else []
    latest = os.path.basename(known.latest.rstrip("/")) if known else ""
    if latest not in there:
        latest = max(_run(there, latest), key=lambda name: saved_order(os.path.join(directory, name), name))
    rest = [
        name for name in dict.fromkeys(kept or sorted(there, key=lambda name: saved_order("", name))) if name != latest
    ]
    rest = [name for name in rest if kept or family(name) == family(latest)]
    number = len(rest) + 1
    told = f"`{STATE_FILE}` names {latest} as the latest, relative to its directory, and {number} that are here in all"
    timed = [(name, os.path.getmtime(os.path.join(directory, name + _INDEX))) for name in (*rest, latest)]
    return Beside(path, text_of(latest, timed), told)


def _all(state: CheckpointState) -> list[str]:
    return [*state.all, *([state.latest] if state.latest else [])]


def _run(there: list[str], lost: str) -> list[str]:
    """Those of one run: the one that the lost name is of, else the largest."""
    families: dict[str, list[str]] = {}
    for name in there:
        families.setdefault(family(name), []).append(name)
    return families.get(family(lost)) or max(families.values(), key=len)


def _known(path: str) -> CheckpointState | None:
    try:
        return read_checkpoint_state(path) if os.path.isfile(path) else None
    except UnreadableArtifact:
        return None


def _is_broken(path: str) -> bool:
    """Whether a state file cannot be read as one, or is a link that leads nowhere."""
    return not os.path.exists(path) or (os.path.isfile(path) and _known(path) is None)
