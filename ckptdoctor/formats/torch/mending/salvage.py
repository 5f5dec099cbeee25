"""A file of torch.save that was cut off: every tensor that is whole, and the names of those that are lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.pickles.reading import Node, Thing
from ckptdoctor.containers.torchfiles.writing.salvaging import Salvaged, salvage, write
from ckptdoctor.containers.torchfiles.writing.splicing import Path
from ckptdoctor.errors import Refused, UnreadableArtifact
from ckptdoctor.formats.torch.contents import contents, fields_of, written
from ckptdoctor.formats.torch.mending.files import Settings
from ckptdoctor.references import TensorRef
from ckptdoctor.words import counted, enumerate_some

_SHOWN = 20
_STATE = "state"


def find(path: str, _settings: Settings) -> tuple[str, ...]:
    """What is whole of a file that cannot be read, and what is lost."""
    found = _salvaged(path)
    return () if found is None else _told(found)


def mend(path: str, output: str, _settings: Settings, progress: Progress | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    An optimizer's state of a parameter goes as a whole: PyTorch begins it anew, beside those that go on.

    Raises:
        Refused: Nothing is, or what is lost lies where nothing can be left out.
        UnreadableArtifact: The pickle is broken.
    """
    found = _salvaged(path)
    if found is None or not found.places:
        raise Refused("no tensor of it is whole: there is nothing to salvage", path)
    states = {label: len(label.split("/")) for label in contents(found.node).optimizers}
    gone: set[Path] = set()
    for lost in _lost(found.node, ()):
        names = [written(key) for key in lost]
        depth = next((end for each, end in states.items() if "/".join(names[:end]) == each), None)
        whole = lost[: depth + 2] if depth is not None and len(lost) > depth + 2 and names[depth] == _STATE else lost
        gone.add(_within_dictionary(found.node, whole, path))
    write(found, output, sorted(gone, key=lambda each: [written(key) for key in each]), progress)
    return _told(found)


def _salvaged(path: str) -> Salvaged | None:
    try:
        return salvage(path) if os.path.isfile(path) else None
    except UnreadableArtifact:
        return None


def _told(found: Salvaged) -> tuple[str, ...]:
    names = ["/".join(map(written, path)) for path in _lost(found.node, ())]
    said = [f"{len(found.places):,} of {counted(found.named, 'storage')} are whole"]
    return (*said, f"lost: {enumerate_some(names, _SHOWN)}") if names else tuple(said)


def _lost(node: Node, path: Path) -> Iterator[Path]:
    """Where tensors are whose bytes are not there."""
    if isinstance(node, TensorRef):
        if node.location is None and node.size:
            yield path
        return
    fields = fields_of(node)
    items = list(fields.items()) if fields is not None else []
    if isinstance(node, (list, tuple)):
        items = list(enumerate(node))
    for key, each in items:
        yield from _lost(each, (*path, key))


def _within_dictionary(root: Node, path: Path, where: str) -> Path:
    """The innermost entry of a dictionary around a place: one of a list cannot be left out."""
    found: Path | None = None
    node: Node = root
    for end, key in enumerate(path, 1):
        if isinstance(node, Thing):
            break
        if isinstance(node, dict):
            found, node = path[:end], node[key]
        elif isinstance(node, (list, tuple)) and not isinstance(node, TensorRef) and isinstance(key, int):
            node = node[key]
    if found is None:
        raise Refused("what is lost is in no dictionary: nothing can be left out", where)
    return found
