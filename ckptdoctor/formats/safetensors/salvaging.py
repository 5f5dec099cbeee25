"""A file of safetensors that was cut off: its header tells which tensors are whole. There are no checksums."""

from __future__ import annotations

import os
from collections.abc import Mapping

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.safetensors import Safetensors, begins_so, read_safetensors
from ckptdoctor.containers.safetensors_writing import write_safetensors
from ckptdoctor.errors import Refused, UnreadableArtifact
from ckptdoctor.words import counted, enumerate_some

_SHOWN = 20
_HEAD = 16


def find(path: str, _settings: Mapping[str, object]) -> tuple[str, ...]:
    """What is whole of a file that cannot be read, and what is lost."""
    found = _salvaged(path)
    return () if found is None else _told(found)


def mend(path: str, output: str, _settings: Mapping[str, object], progress: Progress | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    Raises:
        Refused: Nothing is.
    """
    found = _salvaged(path)
    whole = {} if found is None else {name: ref for name, ref in found.tensors.items() if ref.location is not None}
    if found is None or not whole:
        raise Refused("no tensor of it is whole: there is nothing to salvage", path)
    write_safetensors(output, whole, found.metadata, progress)
    return _told(found)


def _salvaged(path: str) -> Safetensors | None:
    if not os.path.isfile(path):
        return None
    try:
        with RegularFile(path) as file:
            if not begins_so(file.read(0, min(_HEAD, file.size)), file.size):
                return None
        return read_safetensors(path, cut_off=True)
    except UnreadableArtifact:
        return None


def _told(found: Safetensors) -> tuple[str, ...]:
    lost = [name for name, ref in found.tensors.items() if ref.location is None]
    said = f"{len(found.tensors) - len(lost):,} of {counted(len(found.tensors), 'tensor')} are whole"
    return (said, f"lost: {enumerate_some(lost, _SHOWN)}") if lost else (said,)
