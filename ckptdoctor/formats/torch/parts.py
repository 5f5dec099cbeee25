"""Artifacts that are directories of files: each part is read by what its bytes are, and all are found together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile, reason
from ckptdoctor.containers.pickles.reading import Node
from ckptdoctor.containers.safetensors import read_safetensors
from ckptdoctor.containers.strict_json import parse_object
from ckptdoctor.containers.torchfiles.reading import Loaded, load
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.torch.contents import Contents, Model, add
from ckptdoctor.formats.torch.locating import kind_of
from ckptdoctor.formats.torch.paths import paths_in
from ckptdoctor.formats.torch.safety import noticed
from ckptdoctor.references import TensorRef
from ckptdoctor.state import Oddity

_INDEX = ".index.json"
_MAX_JSON = 64 << 20
_HEAD = 4096
_MAX_SHARDS = 10_000
_PLAIN = re.compile(r"[^/\\\x00-\x1f]{1,255}\Z")


def listed(path: str) -> list[str]:
    """What lies in a directory, by name.

    Raises:
        UnreadableArtifact: It is none, or may not be listed.
    """
    try:
        return sorted(storage.names(path))
    except OSError as error:
        raise UnreadableArtifact(f"cannot be listed: {reason(error)}", path) from error


@contextmanager
def part_of(path: str, name: str) -> Iterator[str]:
    """The path of a part; what is wrong with it is said with its name, and what lies in its place by what that is.

    Raises:
        UnreadableArtifact: The part could not be read.
    """
    where = os.path.join(path, name)
    try:
        yield where
    except UnreadableArtifact as error:
        stands_in = _in_its_place(where)
        if stands_in is not None:
            raise UnreadableArtifact(f"{name} is {stands_in}", where, code="I008") from error
        if name in error.message:
            raise
        raise type(error)(f"{name}: {error.message}", where, code=error.code) from error


def _in_its_place(where: str) -> str | None:
    """What stands where a file should be: a pointer, an error page, nothing at all."""
    from ckptdoctor.formats.foreign import recognise

    try:
        with RegularFile(where) as file:
            found = recognise(where, file.read(0, min(file.size, _HEAD)))
    except UnreadableArtifact:
        return None
    return found.sentence if found is not None and not found.artifact else None


def load_part(path: str, name: str) -> Loaded:
    """Reads a part that torch.save wrote.

    Raises:
        UnreadableArtifact: It is none, truncated, or claims what is not there.
    """
    with part_of(path, name) as where:
        return load(where)


class Parts:
    """The files of one artifact, and what was found in them.

    Args:
        path: The directory.
        kind: The reader that it has to be for.

    Attributes:
        path: The directory.
        names: Names in it.
        found: What the parts hold.
        oddities: What was noticed.
    """

    def __init__(self, path: str, kind: str) -> None:
        self.path = path
        self.names = set(listed(path))
        if kind_of(self.names) != kind:
            raise UnreadableArtifact(f"has not the parts that {kind} leaves", path)
        self.found = Contents()
        self.oddities: list[Oddity] = []

    def file(self, name: str) -> str:
        """The path of a part."""
        return os.path.join(self.path, name)

    def torch(self, name: str, label: str) -> None:
        """A part that torch.save wrote, whose content stands under `label`."""
        loaded = load_part(self.path, name)
        self.oddities += noticed(loaded, name)
        add(loaded.root, label, self.found)

    def beside(self, names: Iterable[str]) -> dict[str, Node]:
        """Parts that are no state of the optimizer or the model: random numbers, arguments of a trainer."""
        held: dict[str, Node] = {}
        for name in sorted(names):
            loaded = load_part(self.path, name)  # their own loaders allow what they need
            held[name] = loaded.root
            self.oddities += (each for each in noticed(loaded, name) if each.code != "X005")
            self.oddities += paths_in(loaded.root, name)
        return held

    def json(self, name: str) -> dict[str, object]:
        """A part that is a JSON object; nothing if it is not there."""
        if name not in self.names:
            return {}
        with RegularFile(self.file(name)) as file:
            if file.size > _MAX_JSON:
                raise UnreadableArtifact(f"is {file.size:,} bytes of JSON; {_MAX_JSON:,} are read", self.file(name))
            return parse_object(file.read(0, file.size), self.path, name)

    def weights(self, stem: str, label: str = "") -> bool:
        """The weights of a model under a name: in one file or in shards, of safetensors or of torch.save.

        Args:
            stem: `model.safetensors`, `pytorch_model.bin`.
            label: What tells it from other models.

        Returns:
            Whether they are there.
        """
        if stem in self.names:
            self._model(label, stem, self._tensors(stem))
            return True
        if f"{stem}{_INDEX}" in self.names:
            tensors: dict[str, TensorRef] = {}
            for shard in self._shards(f"{stem}{_INDEX}"):
                tensors.update(self._tensors(shard))
            self._model(label, stem, tensors)
            return True
        return False

    def _model(self, label: str, stem: str, tensors: Mapping[str, TensorRef]) -> None:
        self.found.models.append(Model(label, dict(tensors), sorted_names=stem.endswith(".safetensors")))

    def _tensors(self, name: str) -> Mapping[str, TensorRef]:
        if name.endswith(".safetensors"):
            with part_of(self.path, name) as path:
                return read_safetensors(path).tensors
        found = Contents()
        loaded = load_part(self.path, name)
        self.oddities += noticed(loaded, name)
        add(loaded.root, "", found)
        return {key: ref for model in found.models for key, ref in model.tensors.items()}

    def _shards(self, index: str) -> list[str]:
        """The files that an index names; what is not there is told, and what is elsewhere is not opened."""
        listed = self.json(index).get("weight_map")
        if not isinstance(listed, dict):
            raise UnreadableArtifact("has no weight_map", self.file(index))
        names = sorted({str(each) for each in listed.values()})  # in the order in which the model was cut
        if len(names) > _MAX_SHARDS:
            raise UnreadableArtifact(f"names {len(names):,} shards", self.file(index))
        outside = [name for name in names if not _PLAIN.match(name) or name in {".", ".."}]
        if outside:
            raise UnreadableArtifact(f"names the shard {outside[0][:80]!r}, which is not beside it", self.file(index))
        missing = [name for name in names if name not in self.names]
        for name in missing:
            held = [key for key, where in listed.items() if where == name]
            self.oddities.append(Oddity("I002", f"shard {name} is missing; it held {', '.join(map(str, held[:5]))}"))
        return [name for name in names if name in self.names]
