"""A directory of torch.distributed.checkpoint without some of its entries, of whose bytes none stay in its files.

Each entry of a `.distcp` file is an archive of its own, whose places are counted from its start: what stays is moved
together, and `.metadata` says where it is from now on.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress, copy_tree, create
from ckptdoctor.containers.bytes.window import copy_range
from ckptdoctor.containers.torchfiles.distributed import METADATA
from ckptdoctor.containers.torchfiles.writing.built import Entry, Value
from ckptdoctor.containers.torchfiles.writing.distributed import entries_of, opened
from ckptdoctor.containers.torchfiles.writing.opcodes import key_of
from ckptdoctor.errors import UnreadableArtifact

_DATA = ".distcp"


class _Place(NamedTuple):
    """Where an entry is, and the number in `.metadata` that says where in its file."""

    file: str
    offset: int
    length: int
    said: Value


def leave_out(source: str, output: str, gone: Collection[str], progress: Progress | None = None) -> None:
    """Writes a directory without entries.

    Args:
        source: The directory; `read_directory` takes it.
        output: The new one, which is there already, and empty.
        gone: Keys of the entries.
        progress: Told how many more bytes are written.

    Raises:
        UnreadableArtifact: The metadata is broken, or data of an entry that stays is missing.
    """
    script = opened(source)
    dropped: list[Entry] = []
    places: list[_Place] = []
    for key, entry, stored in entries_of(script):
        if key in gone:
            dropped.append(entry)
        elif stored:
            places.append(_place(entry, source))
    moved = _move(source, output, places, progress)
    spans = [(each.said.start, each.said.end, key_of(moved[each[:3]])) for each in places]
    with open(os.path.join(output, METADATA), "xb") as stream:
        stream.write(script.exchanged({}, dropped=dropped, spans=spans))
    written = frozenset(name for name in os.listdir(source) if name == METADATA or name.endswith(_DATA))
    copy_tree(source, output, written, progress)


def _place(entry: Entry, source: str) -> _Place:
    told = {each.key.real.constant: each.value for each in entry.value.real.entries}
    file, offset, length = (told.get(name) for name in ("relative_path", "offset", "length"))
    if file is None or offset is None or length is None or offset.same is not None:
        raise UnreadableArtifact("says where something is by what says no place", os.path.join(source, METADATA))
    name, at, size = file.real.constant, offset.constant, length.real.constant
    if not isinstance(name, str) or not isinstance(at, int) or not isinstance(size, int):
        raise UnreadableArtifact("says where something is by what says no place", os.path.join(source, METADATA))
    return _Place(name, at, size, offset)


def _move(source: str, output: str, places: list[_Place], progress: Progress | None) -> dict[tuple[str, int, int], int]:
    """Copies what stays, file by file; answers where each is from now on."""
    found: dict[tuple[str, int, int], int] = {}
    for name, parts in _by_file(places):
        with ExitStack() as stack:
            reading = stack.enter_context(open(os.path.join(source, name), "rb")).fileno()
            writing = create(os.path.join(output, name))
            stack.callback(os.close, writing)
            end = 0
            for offset, length in parts:
                copy_range(reading, offset, length, writing, end, progress)
                found[name, offset, length] = end
                end += length
    return found


def _by_file(places: list[_Place]) -> Iterator[tuple[str, list[tuple[int, int]]]]:
    files: dict[str, set[tuple[int, int]]] = {}
    for each in places:
        files.setdefault(each.file, set()).add((each.offset, each.length))
    for name, parts in sorted(files.items()):
        yield name, sorted(parts)
