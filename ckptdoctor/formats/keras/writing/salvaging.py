"""Keras' HDF5 files and archives that were cut off: the variables that are whole, the lost ones named."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import Window, copy_range
from ckptdoctor.containers.hdf5.salvaging import Found, cut_off, look, write
from ckptdoctor.containers.zips.editing import Producer, Replacement, create_zip
from ckptdoctor.containers.zips.local import LocalHeader, members_in_order
from ckptdoctor.errors import Refused, UnreadableArtifact
from ckptdoctor.formats.keras.archive import CONFIG, METADATA, WEIGHTS_H5
from ckptdoctor.words import counted, enumerate_some

_SHOWN = 20


class _Salvaged(NamedTuple):
    """What is whole.

    Attributes:
        weights: Of the HDF5; None where that is whole.
        members: The members of an archive that are.
    """

    weights: Found | None
    members: tuple[LocalHeader, ...] = ()


def find(path: str, _settings: Mapping[str, object]) -> tuple[str, ...]:
    """What is whole of a file that ends too early, and what is lost; nothing where it is another file."""
    found = _salvaged(path)
    return _told(found) if found is not None else ()


def mend(path: str, output: str, _settings: Mapping[str, object], progress: Progress | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    Raises:
        Refused: Nothing is.
    """
    found = _salvaged(path)
    if found is None:
        raise Refused("no variable of it is whole: there is nothing to salvage", path)
    if found.members:
        members = {each.name: Replacement(_copied(path, each, progress), each.size) for each in found.members}
        if found.weights is not None:
            members[WEIGHTS_H5] = Replacement(_written(found.weights), found.weights.cut.size)
        create_zip(output, members)
    elif found.weights is not None:
        write(found.weights, output)
    return _told(found)


def _copied(path: str, member: LocalHeader, progress: Progress | None) -> Producer:
    def produce(descriptor: int, at: int) -> int:
        with open(path, "rb") as source:
            copy_range(source.fileno(), member.start, member.size, descriptor, at, progress)
        return member.size

    return produce


def _written(found: Found) -> Producer:
    def produce(descriptor: int, at: int) -> int:
        window = Window(descriptor, at)
        with window.written_by_library():
            write(found, window)
        return window.size

    return produce


def _salvaged(path: str) -> _Salvaged | None:
    if not os.path.isfile(path):
        return None
    try:
        cut = cut_off(path)
        weights = look(cut) if cut is not None else None
        if weights is not None:
            return _Salvaged(weights) if _kept(weights) else None
        with RegularFile(path) as file:
            members = list(members_in_order(file))
    except (OSError, UnreadableArtifact):
        return None
    whole = {each.name: each for each, is_whole in members if is_whole}
    if not {CONFIG, METADATA} <= whole.keys():
        return None
    if WEIGHTS_H5 in whole:
        return _Salvaged(None, tuple(whole.values()))
    last, _ = members[-1]
    cut = cut_off(path, last.start) if last.name == WEIGHTS_H5 else None
    weights = look(cut) if cut is not None else None
    return _Salvaged(weights, tuple(whole.values())) if weights is not None and _kept(weights) else None


def _kept(found: Found) -> list[str]:
    return [path for path, each in found.objects.items() if not each.is_group]


def _told(found: _Salvaged) -> tuple[str, ...]:
    if found.weights is None:
        return ("the archive's directory is made anew: every member is whole",)
    weights = found.weights
    told = [f"{counted(len(_kept(weights)), 'data set')} are whole"]
    told += [f"lost: {enumerate_some(list(weights.lost), _SHOWN)}"] if weights.lost else []
    told += [f"what else was in {each} cannot be told" for each in weights.unlisted]
    return tuple(told)
