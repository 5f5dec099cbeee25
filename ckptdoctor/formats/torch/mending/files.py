"""Mending files of torch.save, alone or as the parts of a trainer's directory, by what a look at their content says."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from ckptdoctor.containers.bytes.copying import Progress, copy_tree
from ckptdoctor.containers.pickles.reading import Key, Node
from ckptdoctor.containers.torchfiles.reading import Loaded, load
from ckptdoctor.containers.torchfiles.writing.archive import unpack
from ckptdoctor.containers.torchfiles.writing.file import exchange
from ckptdoctor.containers.torchfiles.writing.splicing import Gone, Path
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.torch.parts import load_part

Settings: TypeAlias = Mapping[str, object]
"""What the user said: `iterations`, `learning_rate`, `loader`."""
_PART = re.compile(
    r"(?:optimizer|scheduler|pytorch_model)(?:_\d+)?\.(?:pt|bin)\Z|(?:params|scaler)\.pt\Z|rng_state(?:_\d+)?\.pth\Z|"
    r"random_states_\d+\.pkl\Z"
)


@dataclass(slots=True)
class Changes:
    """What is to be changed in a file.

    Attributes:
        values: Where → what is there from now on.
        renamed: Where an entry is → its new key.
        device: Where all storages are from now on.
        told: A sentence for each thing that is mended.
    """

    values: dict[Path, Node | Gone] = field(default_factory=dict)
    renamed: dict[Path, Key] = field(default_factory=dict)
    device: str | None = None
    told: list[str] = field(default_factory=list)


Look: TypeAlias = Callable[[Loaded, Settings], Changes]


def find(look: Look, path: str, settings: Settings) -> tuple[str, ...]:
    """What would be mended.

    Raises:
        UnreadableArtifact: A part is broken.
    """
    return tuple(
        f"{name}: {each}" if name else each for name, found in _looked(look, path, settings) for each in found.told
    )


def mend(look: Look, path: str, output: str, settings: Settings, progress: Progress | None = None) -> tuple[str, ...]:
    """Writes the artifact with the changes.

    Raises:
        UnreadableArtifact: A part is broken.
        GraftRefused: A value cannot be written.
    """
    changed = dict(_looked(look, path, settings))
    if "" in changed:
        _exchange(path, output, changed[""], progress)
    else:
        _copy(path, output, frozenset(changed), progress)
        for name, each in changed.items():
            _exchange(os.path.join(path, name), os.path.join(output, name), each, progress)
    return tuple(f"{name}: {each}" if name else each for name, found in changed.items() for each in found.told)


def _exchange(source: str, output: str, changes: Changes, progress: Progress | None) -> None:
    exchange(source, output, changes.values, renamed=changes.renamed, device=changes.device, progress=progress)


def _copy(path: str, output: str, skip: frozenset[str], progress: Progress | None) -> None:
    os.mkdir(output)
    copy_tree(path, output, skip, progress)


def _looked(look: Look, path: str, settings: Settings) -> Iterator[tuple[str, Changes]]:
    for name, loaded in _parts(path):
        found = look(loaded, settings)
        if found.told:
            yield name, found


def _parts(path: str) -> Iterator[tuple[str, Loaded]]:
    """The files of torch.save that an artifact has; "" is the name of one that is such a file itself."""
    if not os.path.isdir(path):
        with suppress(UnreadableArtifact):  # an archive of such files, which its own reader takes
            yield "", load(path)
        return
    for name in sorted(os.listdir(path)):
        if _PART.match(name):
            yield name, load_part(path, name)


# --------------------------------------------------------------------------------------------------------- as a whole


def find_packed(path: str, _settings: Settings) -> tuple[str, ...]:
    """Archives whose storages a tool has packed: torch.load(mmap=True) reads them as numbers, silently."""
    packed = [name for name, loaded in _parts(path) if loaded.packed]
    return tuple(f"{name}: {_UNPACKED}" if name else _UNPACKED for name in packed)


_UNPACKED = "storages that are packed in the archive are stored as they are"


def mend_packed(path: str, output: str, settings: Settings, progress: Progress | None = None) -> tuple[str, ...]:
    """Writes archives with every member stored, as torch writes them."""
    if not os.path.isdir(path):
        unpack(path, output, progress)
        return (_UNPACKED,)
    said = find_packed(path, settings)
    names = frozenset(each.partition(":")[0] for each in said)
    _copy(path, output, names, progress)
    for name in names:
        unpack(os.path.join(path, name), os.path.join(output, name), progress)
    return said
