"""An item of a checkpoint with other leaves: what stays is not decoded, what is new is written as Orbax writes it."""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from ckptdoctor.containers.bytes.copying import Progress, copy_file, copy_tree, link_file
from ckptdoctor.containers.bytes.files import RegularFile, is_inside
from ckptdoctor.containers.msgpack_writing import exchange
from ckptdoctor.containers.ocdbt.database import Database
from ckptdoctor.containers.ocdbt.writing import MAX_INLINE, DataFile, Stored, write_database
from ckptdoctor.containers.zarrs.store import Directory, leaves
from ckptdoctor.containers.zarrs.writing import NewArray, chunk, chunk_key, metadata
from ckptdoctor.errors import GraftRefused
from ckptdoctor.formats.orbax.metadata import json_object
from ckptdoctor.formats.orbax.places import AGGREGATE, MANIFEST, TREE, listed
from ckptdoctor.formats.orbax.writing.documents import ItemEdit, aggregate, documents, nodes_of, path_of
from ckptdoctor.references import FileRange, Inline

_PROCESS = "ocdbt.process_"
_OWN = f"{_PROCESS}0"
_COPY = 4 << 20
_SMALL = 16 * MAX_INLINE
"""Bytes of values that may come to no more than `MAX_INLINE` when they are packed."""


class Sizes(NamedTuple):
    """Bytes that are new, were copied, or are shared."""

    new: int = 0
    copied: int = 0
    linked: int = 0


def require_writable(source: str, base: str) -> None:
    """Refuses items of versions whose trees are told by a file that is not written.

    Raises:
        GraftRefused: It is one.
    """
    if TREE not in listed(source):
        raise GraftRefused(
            f"the target has no {TREE}, as Orbax has it from 0.4 on: restore it with a later Orbax, save it again, and "
            "graft into that",
            base,
        )


def write_item(
    source: str, output: str, base: str, edit: ItemEdit, *, link: bool = False, progress: Progress | None = None
) -> Sizes:
    """Writes an item.

    Args:
        source: The target's directory.
        output: The directory to write; it must not exist.
        base: The target's checkpoint, which no link may lead out of.
        edit: What becomes of its leaves.
        link: Share data files that hold nothing but what stays, or more, by hard link.
        progress: Told how many more bytes have been dealt with.

    Raises:
        GraftRefused: Values do not fit, or the target is of a version that is not written.
        UnreadableArtifact: An input is corrupt.
    """
    require_writable(source, base)
    fields = json_object(source, TREE, base) or {}
    version = 3 if fields.get("use_zarr3") is True else 2
    writing = _Writing(source, output, base, version, link=link, progress=progress)
    os.mkdir(output)
    changed = documents(source, base, fields, edit)
    for name, value in changed.items():
        writing.document(name, value)
    names = listed(source)
    if AGGREGATE in names:
        writing.aggregate(edit)
    held = _Held(fields, edit)
    if MANIFEST in names:
        writing.database(held, edit.arrays)
        data = {MANIFEST, "d", *(name for name in names if name.startswith(_PROCESS))}
    else:
        writing.directories(held, edit.arrays)
        data = held.folders
    writing.others([name for name in names if name not in data], skip=frozenset({*changed, AGGREGATE}))
    return writing.sizes


class _Held:
    """Which keys of a store belong to arrays that stay."""

    def __init__(self, fields: Mapping[str, object], edit: ItemEdit) -> None:
        self.names = {".".join(path_of(node)) for node in nodes_of(fields).values()}
        self.folders = {name.partition("/")[0] for name in self.names}
        self._gone = {".".join(path) for path in edit.drop} | {array.name for array in edit.arrays}

    def keeps(self, key: str) -> bool:
        """Whether a key is none of an array that goes; the longest name that it begins with is its array's."""
        end = key.rfind("/")
        while end > 0:
            name = key[:end]
            if name in self.names or name in self._gone:
                return name not in self._gone
            end = key.rfind("/", 0, end)
        return True


class _Writing:
    """One item while it is written."""

    def __init__(
        self, source: str, output: str, base: str, version: int, *, link: bool, progress: Progress | None
    ) -> None:
        self._source, self._output, self._base, self._version = source, output, base, version
        self._link, self._progress = link, progress
        self.sizes = Sizes()

    def document(self, name: str, value: object) -> None:
        """Writes a JSON file."""
        path = os.path.join(self._output, *name.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        data = json.dumps(value).encode()
        with open(path, "xb") as stream:
            stream.write(data)
        self._new(len(data))

    def aggregate(self, edit: ItemEdit) -> None:
        """Writes the tree that Orbax before 0.5.23 goes by: what stays is not decoded, values that stand in it too."""
        source = os.path.join(self._source, AGGREGATE)
        if not edit.roots or not is_inside(source, self._base):
            raise GraftRefused(f"what lies in the file {AGGREGATE!r} has no place of its own there", self._base)
        with open(os.path.join(self._output, AGGREGATE), "xb") as stream:
            sizes = exchange(source, stream, aggregate(edit))
        self.sizes = self.sizes._replace(new=self.sizes.new + sizes.new, copied=self.sizes.copied + sizes.copied)

    # -------------------------------------------------------------------------------------------------- in a database

    def database(self, held: _Held, arrays: Sequence[NewArray]) -> None:
        """Writes the arrays into a database.

        As Orbax does it: the values, and a tree of them, in the database of a process, and beside that a tree that
        refers to them. With `link` the target's data files stay, and what is new goes beside the second tree.
        """
        found = Database(self._source, self._base)
        found.require_files()
        kept = {key: place for key, place in found.values.items() if held.keeps(key)}
        if self._link:
            values = {key: self._shared(place) for key, place in kept.items()}
            self._share(kept.values())
            with DataFile(self._output) as data:
                values |= self._encoded(arrays, data)
                write_database(self._output, values.items(), data)
            return
        folder = os.path.join(self._output, _OWN)
        with DataFile(folder) as data:
            values = {key: self._moved(place, data) for key, place in kept.items()}
            values |= self._encoded(arrays, data)
            write_database(folder, values.items(), data)
        merged = (
            (key, value._replace(file=f"{_OWN}/{value.file}") if isinstance(value, Stored) else value)
            for key, value in values.items()
        )
        with DataFile(self._output) as data:
            write_database(self._output, merged, data)

    def _encoded(self, arrays: Iterable[NewArray], data: DataFile) -> dict[str, bytes | Stored]:
        values: dict[str, bytes | Stored] = {}
        for array in arrays:
            key, described = metadata(array, self._version)
            values[key] = described
            place = chunk_key(array, self._version)
            if place is None:
                continue
            packed = chunk(array, self._version)
            if array.nbytes <= _SMALL:
                whole = b"".join(packed)
                values[place] = whole if len(whole) <= MAX_INLINE else data.append([whole])
            else:
                values[place] = data.append(packed)
            self._new(array.nbytes)
        return values

    def _shared(self, place: FileRange | Inline) -> bytes | Stored:
        """Where a value is that stays where it is."""
        if isinstance(place, Inline):
            return place.data
        file = os.path.relpath(place.path, self._source).replace(os.sep, "/")
        return Stored(file, place.offset, place.nbytes)

    def _share(self, places: Iterable[FileRange | Inline]) -> None:
        """Takes over the data files of values that stay, and the databases of processes whole."""
        files = {each.path for each in places if isinstance(each, FileRange)}
        for name in listed(self._source):
            if name.startswith(_PROCESS):
                folder = os.path.join(self._source, name)
                files |= {os.path.join(folder, *key.split("/")) for key in Directory(folder, self._base).values}
        for path in sorted(files):
            goal = os.path.join(self._output, os.path.relpath(path, self._source))
            os.makedirs(os.path.dirname(goal), exist_ok=True)
            self._take(path, goal)

    def _moved(self, place: FileRange | Inline, data: DataFile) -> bytes | Stored:
        if isinstance(place, Inline):
            return place.data
        self.sizes = self.sizes._replace(copied=self.sizes.copied + place.nbytes)
        return data.append(self._range(place))

    def _range(self, place: FileRange) -> Iterator[bytes]:
        with RegularFile(place.path) as file:
            for start in range(0, place.nbytes, _COPY):
                piece = file.read(place.offset + start, min(_COPY, place.nbytes - start))
                yield piece
                if self._progress is not None:
                    self._progress(len(piece))

    # -------------------------------------------------------------------------------------------------- in directories

    def directories(self, held: _Held, arrays: Sequence[NewArray]) -> None:
        """Writes every array into a directory of its own."""
        for key, place in Directory(self._source, self._base).values.items():
            is_part = "/" in key and key.partition("/")[0] in held.folders
            if isinstance(place, FileRange) and is_part and held.keeps(key):
                goal = os.path.join(self._output, *key.split("/"))
                os.makedirs(os.path.dirname(goal), exist_ok=True)
                self._take(place.path, goal)
        for array in arrays:
            key, described = metadata(array, self._version)
            self._file(key, [described])
            place_key = chunk_key(array, self._version)
            if place_key is not None:
                self._file(place_key, chunk(array, self._version))
            self._new(array.nbytes)

    def _file(self, key: str, pieces: Iterable[bytes]) -> None:
        path = os.path.join(self._output, *key.split("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as stream:
            stream.writelines(pieces)

    # --------------------------------------------------------------------------------------------------- what is left

    def others(self, names: Collection[str], skip: frozenset[str]) -> None:
        """Copies what is neither arrays nor their description."""
        for name in sorted(names):
            copied = copy_entry(self._source, self._output, name, self._base, skip, self._progress)
            self.sizes = self.sizes._replace(copied=self.sizes.copied + copied)

    def _take(self, path: str, goal: str) -> None:
        if self._link:
            shared = link_file(path, goal, self._progress)
            linked, copied = self.sizes.linked + shared.linked, self.sizes.copied + shared.copied
            self.sizes = self.sizes._replace(linked=linked, copied=copied)
        else:
            copied = copy_file(path, goal, self._progress)
            self.sizes = self.sizes._replace(copied=self.sizes.copied + copied)

    def _new(self, nbytes: int) -> None:
        self.sizes = self.sizes._replace(new=self.sizes.new + nbytes)
        if self._progress is not None:
            self._progress(nbytes)


def copy_entry(
    source: str, output: str, name: str, base: str, skip: frozenset[str] = frozenset(), progress: Progress | None = None
) -> int:
    """Copies a file or a directory of a checkpoint; answers how many bytes.

    Args:
        source: The directory that it is in.
        output: The directory that it goes into.
        name: Its name.
        base: What no link may lead out of.
        skip: Files that are not copied, relative to `source`, with `/`.
        progress: Told how many more bytes have been dealt with.

    Raises:
        UnreadableArtifact: A link leads out of the checkpoint.
    """
    path, goal = os.path.join(source, name), os.path.join(output, name)
    if not is_inside(path, base):
        raise leaves(path, base)
    if os.path.isdir(path):
        Directory(path, base)  # which looks at every link below
        os.makedirs(goal, exist_ok=True)
        inside = frozenset(each[len(name) + 1 :] for each in skip if each.startswith(f"{name}/"))
        return copy_tree(path, goal, inside, progress)
    return 0 if name in skip or not os.path.isfile(path) else copy_file(path, goal, progress)
