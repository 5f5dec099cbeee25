"""The directory of Keras 3's BackupAndRestore: `latest.weights.h5`, and where training was (backup_and_restore.py)."""

from __future__ import annotations

import os

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.strict_json import MAX_BYTES, parse_json
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.keras import hdf5 as hdf5_file
from ckptdoctor.state import Oddity, TrainingState

METADATA = "training_metadata.json"
CALLBACK = "BackupAndRestore"


def read(path: str) -> TrainingState:
    """Reads the weights file of such a directory, with the epoch and batch that stand beside it.

    Raises:
        UnreadableArtifact: The weights cannot be read.
    """
    state = hdf5_file.read(path)._replace(callback=CALLBACK)
    try:
        progress = _progress(os.path.join(os.path.dirname(path), METADATA))
    except UnreadableArtifact as error:
        told = f"{METADATA} cannot be read ({error}): {CALLBACK} fails on it, and the epoch is not known"
        return state._replace(oddities=(*state.oddities, Oddity("I007", told)))
    return state._replace(counters={**state.counters, **progress})


def _progress(path: str) -> dict[str, int]:
    with RegularFile(path) as file:
        document = parse_json(file.read(0, min(file.size, MAX_BYTES + 1)), path, METADATA)
    if not isinstance(document, dict) or not isinstance(document.get("epoch"), int):
        raise UnreadableArtifact("it names no epoch", path)
    return {name: document[name] for name in ("epoch", "batch") if isinstance(document.get(name), int)}
