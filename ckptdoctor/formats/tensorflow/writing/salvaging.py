"""A TensorFlow checkpoint whose data was cut off or changed: every tensor whose CRC-32C is right, the others named.

The object graph loses the values that are lost, so that TensorFlow restores the rest. Where it is lost itself, it is
made anew from the names of the tensors: a key is the path from the root to the object that has the value.

Sources: tensorflow/python/checkpoint/graph_view.py, trackable/trackable_utils.py (`object_path_to_string`,
`slot_variable_key`, `escape_local_name`).
"""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ckptdoctor.containers.bundles.compacting import compact
from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.bundles.reading import TensorBundle, read_bundle, read_strings
from ckptdoctor.containers.bytes.copying import Progress
from ckptdoctor.containers.bytes.crc import masked_crc32c_in
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.errors import Refused, UnreadableArtifact
from ckptdoctor.references import FileRange, Pieces, TensorRef
from ckptdoctor.words import counted, enumerate_some

_SHOWN = 20
_ATTRIBUTES, _SLOT = "/.ATTRIBUTES/", "/.OPTIMIZER_SLOT/"


class _Salvaged(NamedTuple):
    """What is whole of a checkpoint.

    Attributes:
        bundle: Its index.
        lost: Names of tensors that are not as they were written.
        left_out: Names of slots that are, of variables that have lost another one: an old first moment beside a new
            second one makes steps that are far too long.
        graph: The object graph as it will be; None for a checkpoint without one.
        anew: It had to be made anew.
    """

    bundle: TensorBundle
    lost: frozenset[str]
    left_out: frozenset[str]
    graph: bytes | None
    anew: bool

    @property
    def gone(self) -> frozenset[str]:
        """What the result has not."""
        return self.lost | self.left_out


def find(path: str, _settings: Mapping[str, object]) -> tuple[str, ...]:
    """What is whole and what is lost; nothing where nothing is lost, or everything, or no index tells."""
    found = _salvaged(path)
    return _told(found) if found is not None and found.lost and _kept(found) else ()


def mend(path: str, output: str, _settings: Mapping[str, object], progress: Progress | None = None) -> tuple[str, ...]:
    """Writes what is whole.

    Raises:
        Refused: Nothing is.
        UnreadableArtifact: The index is broken.
    """
    found = _salvaged(path)
    if found is None or not _kept(found):
        raise Refused("no tensor of it is whole: there is nothing to salvage", path)
    texts = {} if found.graph is None else {GRAPH_KEY: found.graph}
    compact(path, output, drop=found.gone - texts.keys(), texts=texts, progress=progress)
    return _told(found)


def _salvaged(path: str) -> _Salvaged | None:
    if not os.path.isfile(f"{path}.index"):
        return None
    try:
        bundle = read_bundle(path, damaged=True)
    except UnreadableArtifact:
        return None
    lost = frozenset(key for key, ref in bundle.tensors.items() if not _is_whole(ref))
    if GRAPH_KEY not in bundle.tensors or not lost:
        return _Salvaged(bundle, lost, frozenset(), None, anew=False)
    broken = {_slots_of(key) for key in lost} - {None}
    left_out = frozenset(key for key in bundle.tensors if _slots_of(key) in broken) - lost
    found = _Salvaged(bundle, lost, left_out, None, GRAPH_KEY in lost)
    graph = _made_anew(bundle.tensors.keys() - found.gone) if found.anew else _without(bundle, found.gone, path)
    return found._replace(graph=graph)


def _slots_of(key: str) -> tuple[str, str] | None:
    """The variable and the optimizer of a slot; None for anything else."""
    variable, mark, slot = key.rpartition(_ATTRIBUTES)[0].partition(_SLOT)
    return (variable, slot.rpartition("/")[0]) if mark else None


def _kept(found: _Salvaged) -> set[str]:
    return found.bundle.tensors.keys() - found.gone - {GRAPH_KEY}


def _told(found: _Salvaged) -> tuple[str, ...]:
    total = len(found.bundle.tensors.keys() - {GRAPH_KEY})
    names = sorted(found.lost - {GRAPH_KEY})
    told = [f"{len(_kept(found)) + len(found.left_out):,} of {counted(total, 'tensor')} are whole"]
    told += [f"lost: {enumerate_some(names, _SHOWN)}"] if names else []
    if found.left_out:
        told.append(
            f"left out, as other slots of the same variable are lost: {enumerate_some(sorted(found.left_out), _SHOWN)}"
        )
    return (*told, "the object graph is lost, and made anew from the tensors' names") if found.anew else tuple(told)


def _is_whole(ref: TensorRef) -> bool:
    """Whether all bytes of a tensor are there and have the checksum that the index says."""
    places = [each.location for each in ref.location.parts] if isinstance(ref.location, Pieces) else [ref.location]
    try:
        if ref.dtype == "string" and isinstance(ref.location, FileRange):
            return ref.location.crc32c is not None and bool(read_strings(ref) or not ref.size)
        return all(isinstance(each, FileRange) and _is_summed(each) for each in places)
    except UnreadableArtifact:
        return False


def _is_summed(place: FileRange) -> bool:
    with RegularFile(place.path) as file:
        return place.crc32c is not None and masked_crc32c_in(file, place.offset, place.nbytes) == place.crc32c


# ------------------------------------------------------------------------------------------------------ object graph


def _without(bundle: TensorBundle, lost: frozenset[str], path: str) -> bytes:
    """The graph without the values that are lost; a slot without one is no optimizer's any more."""
    graph = parse(pb.TrackableObjectGraph, read_strings(bundle.tensors[GRAPH_KEY])[0], "the object graph", path)
    bare: set[int] = set()
    for index, node in enumerate(graph.nodes):
        kept = [each for each in node.attributes if each.checkpoint_key not in lost]
        if len(kept) < len(node.attributes):
            del node.attributes[:]
            node.attributes.extend(kept)
            bare |= set() if kept else {index}
    for node in graph.nodes:
        links = [each for each in node.slot_variables if each.slot_variable_node_id not in bare]
        if len(links) < len(node.slot_variables):
            del node.slot_variables[:]
            node.slot_variables.extend(links)
    serialized: bytes = graph.SerializeToString()
    return serialized


def _made_anew(keys: Iterable[str]) -> bytes:
    """A graph of the objects that have these values, each where its key says."""
    graph = pb.TrackableObjectGraph()
    graph.nodes.add().has_checkpoint_values.value = True
    numbers: dict[str, int] = {"": 0}

    def at(path: str) -> int:
        here = ""
        for name in filter(None, path.split("/")):
            above, here = here, f"{here}/{name}"
            if here not in numbers:
                numbers[here] = len(graph.nodes)
                graph.nodes.add().has_checkpoint_values.value = True
                graph.nodes[numbers[above]].children.add(node_id=numbers[here], local_name=_unescaped(name))
        return numbers[here]

    for key in sorted(keys):
        path, attributes, name = key.rpartition(_ATTRIBUTES)
        if not attributes:
            continue
        variable, slot, rest = path.partition(_SLOT)
        if slot:
            optimizer, _, kind = rest.rpartition("/")
            owner, original, node = at(optimizer), at(variable), len(graph.nodes)
            graph.nodes.add().has_checkpoint_values.value = True
            graph.nodes[owner].slot_variables.add(
                original_variable_node_id=original, slot_name=_unescaped(kind), slot_variable_node_id=node
            )
        else:
            node = at(path)
        graph.nodes[node].attributes.add(name=name, full_name=path, checkpoint_key=key)
    serialized: bytes = graph.SerializeToString()
    return serialized


def _unescaped(name: str) -> str:
    """A local name, of what stands for it in keys: `..` is a period, `.S` a slash."""
    parts = name.split("..")
    return ".".join(each.replace(".S", "/") for each in parts)
