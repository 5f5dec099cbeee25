"""TensorFlow checkpoints whose index lies, whose data is damaged, whose object graph is nonsense (classes 28 to 38)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.cases import Family, Place, finding, harmless, suspect, unreadable
from support.bundles import (
    Index,
    array,
    block,
    footer,
    raw_table,
    sealed,
    strings,
    table,
    varint,
    write_bundle,
    write_state,
)
from support.objects import checkpoint, keras2, model, tracked, variables, write_objects

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY
from ckptdoctor.containers.protos import checkpoint_pb2 as pb

bundles = Family("bundle", "run-a")

VALUE = b"/.ATTRIBUTES/VARIABLE_VALUE"


def root() -> Any:
    """A model with a complete Adam."""
    net = model()
    return tracked(model=net, optimizer=keras2(variables(net)))


def healthy(place: Place, **options: Any) -> Path:
    """A complete checkpoint."""
    return Path(write_objects(place.own / "ckpt-1", root(), **options))


def entry(index: Index, part: bytes = b"hidden/kernel") -> pb.BundleEntry:
    """The first entry whose key has this in it."""
    return next(value for key, value in index.entries.items() if part in key)


def lying(name: str, expected: Any, change: Callable[[pb.BundleEntry], object]) -> None:
    """Registers a checkpoint of which one entry lies."""
    bundles.add(name, lambda place: healthy(place, edit=lambda index: change(entry(index))), expected)


def data_file(prefix: Path) -> Path:
    """The data file of a checkpoint."""
    return prefix.with_name(f"{prefix.name}.data-00000-of-00001")


def index_file(prefix: Path) -> Path:
    """Its index."""
    return prefix.with_name(f"{prefix.name}.index")


def spoiled(place: Place, file: Callable[[Path], Path], change: Callable[[bytearray], object]) -> Path:
    """A checkpoint with some bytes of a file changed."""
    prefix = healthy(place)
    data = bytearray(file(prefix).read_bytes())
    change(data)
    file(prefix).write_bytes(data)
    return prefix


# ------------------------------------------------------------------------------------------------ damage: classes 28

for _at in (0.1, 0.5, 0.9):
    bundles.add(
        f"a bit of the index flipped at {_at:.0%}",
        lambda place, at: spoiled(
            place, index_file, lambda data: data.__setitem__(int(len(data) * at), data[int(len(data) * at)] ^ 4)
        ),
        unreadable(""),
        _at,
    )
    bundles.add(
        f"index cut at {_at:.0%}",
        lambda place, at: spoiled(place, index_file, lambda data: data.__delitem__(slice(int(len(data) * at), None))),
        unreadable(""),
        _at,
    )


def _flip_all(data: bytearray) -> None:
    data[:] = bytes(each ^ 0x40 for each in data)


def _flip_count(place: Place) -> Path:
    """The count's lowest bit: a value that is read without --deep."""
    found: list[int] = []
    prefix = healthy(place, edit=lambda index: found.append(entry(index, b"iteration").offset))
    data = bytearray(data_file(prefix).read_bytes())
    data[found[0]] ^= 1
    data_file(prefix).write_bytes(data)
    return prefix


bundles.add("the count flipped", _flip_count, unreadable("checksum"))
bundles.add("all data flipped", lambda place: spoiled(place, data_file, _flip_all), unreadable("corrupt"))
bundles.add(
    "data cut", lambda place: spoiled(place, data_file, lambda data: data.__delitem__(slice(-8, None))), suspect()
)
bundles.add("empty data", lambda place: spoiled(place, data_file, bytearray.clear), suspect())
bundles.add("empty index", lambda place: spoiled(place, index_file, bytearray.clear), unreadable(""))


@bundles.case("no data file", suspect())
def _(place: Place) -> Path:
    prefix = healthy(place)
    data_file(prefix).unlink()
    return prefix


# -------------------------------------------------------------------------------------------- state file: classes 29


@bundles.case("state file that leaves the folder", finding("P001", "which is not here"))
def _(place: Place) -> Path:
    healthy(place)
    write_objects(place.secret / "ckpt-9", root())
    write_state(place.own, "../secret/ckpt-9")
    return place.own


@bundles.case("state file with an absolute path", harmless("the user's own run may have been moved", says="iteration"))
def _(place: Place) -> Path:
    healthy(place)
    write_state(place.own, "/somewhere/else/ckpt-1")
    return place.own


@bundles.case("state file with control characters", finding("P001", "which is not here"))
def _(place: Place) -> Path:
    healthy(place)
    (place.own / "checkpoint").write_text(
        'model_checkpoint_path: "x\\033]0;owned\\007\\n::error::%0A\\342\\200\\256"\n'
    )
    return place.own


@bundles.case("state file of 1,000,000 entries", unreadable("checkpoint state file"))
def _(place: Place) -> Path:
    healthy(place)
    line = 'all_model_checkpoint_paths: "ckpt-1"\n'
    (place.own / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\n' + line * 1_000_000)
    return place.own


@bundles.case("state file of 50,000 entries", harmless("the latest one is there", cpu=4.0))
def _(place: Place) -> Path:
    healthy(place)
    lines = "".join(f'all_model_checkpoint_paths: "ckpt-{number}"\n' for number in range(50_000))
    (place.own / "checkpoint").write_text('model_checkpoint_path: "ckpt-1"\n' + lines)
    return place.own


bundles.add(
    "state file of garbage",
    lambda place: ((place.own / "checkpoint").write_bytes(b"\xff\x1b[31m{{{"), healthy(place), place.own)[-1],
    suspect(),
)

# ------------------------------------------------------------------------------ entries: classes 30 to 34, 36 and 37


def _shape(*extents: int) -> Callable[[pb.BundleEntry], object]:
    return lambda each: each.shape.CopyFrom(pb.TensorShape(dim=[pb.TensorShape.Dim(size=extent) for extent in extents]))


lying("a shape of 2^93 elements", unreadable(""), _shape(1 << 31, 1 << 31, 1 << 31))
lying("a negative dimension", unreadable(""), _shape(-1, 4))
lying("the least dimension", unreadable(""), _shape(-(1 << 63)))
lying("a shape that is not the size's", unreadable(""), _shape(3, 5))
lying("255 dimensions", unreadable(""), _shape(*(1,) * 255))
lying("an unknown type", finding("I007", "unknown(99)"), lambda each: setattr(each, "dtype", 99))
lying("no type", unreadable("no type"), lambda each: setattr(each, "dtype", 0))
lying("a type of handles", finding("I007", "resource"), lambda each: setattr(each, "dtype", 20))
lying("a size of 4 TiB", suspect(), lambda each: setattr(each, "size", 1 << 42))
lying("an offset past the end", suspect(), lambda each: setattr(each, "offset", 1 << 40))
lying("the greatest offset", suspect(), lambda each: setattr(each, "offset", (1 << 63) - 1))
lying("a negative offset", suspect(), lambda each: setattr(each, "offset", -8))
lying("a negative size", suspect(), lambda each: setattr(each, "size", -8))
lying("a shard out of range", suspect(), lambda each: setattr(each, "shard_id", 7))
lying("a negative shard", suspect(), lambda each: setattr(each, "shard_id", -1))


def _headed(change: Callable[[pb.BundleHeader], object]) -> Callable[[Place], Path]:
    return lambda place: healthy(place, edit=lambda index: change(index.header))


bundles.add("2,000,000,000 shards", _headed(lambda header: setattr(header, "num_shards", 2_000_000_000)), suspect())
bundles.add("-1 shards", _headed(lambda header: setattr(header, "num_shards", -1)), unreadable(""))
bundles.add("an unknown endianness", _headed(lambda header: setattr(header, "endianness", 7)), unreadable(""))
bundles.add("the header of a big-endian machine", _headed(lambda header: setattr(header, "endianness", 1)), suspect())
bundles.add(
    "a format of the future", _headed(lambda header: setattr(header.version, "min_consumer", 99)), unreadable("")
)
bundles.add(
    "a big-endian checkpoint", lambda place: healthy(place, big_endian=True), harmless("TensorFlow swaps the bytes too")
)


@bundles.case("entries that share bytes", harmless("TensorFlow reads it; the checksums hold"))
def _(place: Place) -> Path:
    def change(index: Index) -> None:
        keys = [key for key in index.entries if key.endswith(VALUE) and index.entries[key].size == 48]
        for key in keys[1:]:
            index.entries[key].CopyFrom(index.entries[keys[0]])

    return healthy(place, edit=change)


@bundles.case("8,589,934,592 strings", suspect())
def _(place: Place) -> Path:
    def change(index: Index) -> None:
        _shape(1 << 33)(index.entries[GRAPH_KEY.encode()])

    return healthy(place, edit=change)


@bundles.case("names with control characters", harmless("they are shown escaped", says="\\x1b"))
def _(place: Place) -> Path:
    tensors = {"a\x1b]0;owned\x07\r\n::error::\u202e%0A": array([1.0]), "w": array([2.0])}
    return Path(write_bundle(place.own / "ckpt-1", tensors))


@bundles.case("a name of 1 MB", harmless("it is a name"))
def _(place: Place) -> Path:
    return Path(write_bundle(place.own / "ckpt-1", {"w": array([1.0]), "w/" + "x" * (1 << 20): array([1.0])}))


@bundles.case("names that are no text", harmless("they are shown escaped", says="\\xff"))
def _(place: Place) -> Path:
    return Path(write_bundle(place.own / "ckpt-1", {"a\udcff\udcfe": array([1.0])}))


@bundles.case("a slice key that is no slice", suspect())
def _(place: Place) -> Path:
    def change(index: Index) -> None:
        for number in range(64):
            index.entries[b"\0" + bytes(range(number))] = pb.BundleEntry(dtype=1)

    return healthy(place, edit=change)


# ------------------------------------------------------------------------------------------ object graph: classes 35


def graph(place: Place, change: Callable[[Any], object]) -> Path:
    """A checkpoint with another object graph."""
    tensors = checkpoint(root())
    objects = pb.TrackableObjectGraph.FromString(tensors[GRAPH_KEY].strings[0])
    change(objects)
    tensors[GRAPH_KEY] = strings(objects.SerializeToString())
    return Path(write_bundle(place.own / "ckpt-1", tensors))


def _in_circles(objects: Any) -> None:
    for number, node in enumerate(objects.nodes):
        node.children.add(node_id=0, local_name="self")
        node.children.add(node_id=(number + 1) % len(objects.nodes), local_name="next")


def _deep(objects: Any) -> None:
    for _ in range(100_000):
        number = len(objects.nodes)
        objects.nodes[number - 1].children.add(node_id=number, local_name="d")
        objects.nodes.add()


def _wide(objects: Any) -> None:
    """2^40 paths through 40 nodes."""
    first = len(objects.nodes)
    for number in range(first, first + 40):
        objects.nodes.add()
        objects.nodes[number - 1].children.add(node_id=number, local_name="a")
        objects.nodes[number - 1].children.add(node_id=number, local_name="b")


def _nowhere(objects: Any) -> None:
    node = next(each for each in objects.nodes if each.children)
    node.slot_variables.add(original_variable_node_id=99_999, slot_name="m", slot_variable_node_id=-3)


bundles.add(
    "graph in circles",
    lambda place: graph(place, _in_circles),
    harmless("objects may hold each other", says="iteration"),
)
bundles.add("graph 100,000 deep", lambda place: graph(place, _deep), unreadable("nested deeper"))
bundles.add(
    "graph of 2^40 paths", lambda place: graph(place, _wide), harmless("each object is visited once", says="iteration")
)
bundles.add(
    "child out of range",
    lambda place: graph(place, lambda objects: objects.nodes[0].children.add(node_id=99_999, local_name="x")),
    suspect(),
)
bundles.add(
    "negative child",
    lambda place: graph(place, lambda objects: objects.nodes[0].children.add(node_id=-1, local_name="x")),
    suspect(),
)
bundles.add("slot of no variable", lambda place: graph(place, _nowhere), suspect())
bundles.add("graph without nodes", lambda place: graph(place, lambda objects: objects.Clear()), suspect())
bundles.add(
    "graph of garbage",
    lambda place: Path(
        write_bundle(place.own / "ckpt-1", {**checkpoint(root()), GRAPH_KEY: strings(b"\xff\x1b" * 99)})
    ),
    unreadable(""),
)
bundles.add(
    "graph that is a number",
    lambda place: Path(write_bundle(place.own / "ckpt-1", {**checkpoint(root()), GRAPH_KEY: array(1.0)})),
    suspect(),
)

# ------------------------------------------------------------------------------------------------ tables: classes 38


def tabled(name: str, expected: Any, make: Callable[[], bytes]) -> None:
    """Registers an index that is this table."""

    def build(place: Place) -> Path:
        prefix = healthy(place)
        index_file(prefix).write_bytes(make())
        return prefix

    bundles.add(name, build, expected)


_HEADER = pb.BundleHeader(num_shards=1).SerializeToString()
_ENTRY = varint(0) + varint(0) + varint(len(_HEADER)) + _HEADER
_RESTARTS = struct.pack("<II", 0, 1)

tabled("varint of eleven bytes", unreadable(""), lambda: raw_table([(b"x", b"\xff" * 11 + _RESTARTS)]))
tabled(
    "shared prefix of nothing",
    unreadable(""),
    lambda: raw_table([(b"x", varint(9) + varint(1) + varint(0) + b"x" + _RESTARTS)]),
)
tabled("2^32 restarts", unreadable(""), lambda: raw_table([(b"x", _ENTRY + struct.pack("<II", 0, 0xFFFFFFFF))]))
tabled("key of 4 GB", unreadable(""), lambda: raw_table([(b"x", varint(0) + varint(1 << 32) + varint(0) + _RESTARTS)]))
tabled(
    "value of 2^60 bytes",
    unreadable(""),
    lambda: raw_table([(b"x", varint(0) + varint(1) + varint(1 << 60) + b"x" + _RESTARTS)]),
)
tabled("keys backwards", unreadable(""), lambda: table([(b"", _HEADER), (b"z", b""), (b"a", b"")]))
tabled("no header", unreadable(""), lambda: table([(b"a", b"")]))
tabled("nothing in it", unreadable(""), lambda: table([]))
tabled("snappy block of 4 GB", unreadable(""), lambda: raw_table([(b"x", varint(1 << 32) + b"\0x")], 1))
tabled("snappy copy from before", unreadable(""), lambda: raw_table([(b"x", varint(64) + b"\x01\xff" * 8)], 1))
tabled("unknown compression", unreadable(""), lambda: raw_table([(b"x", _ENTRY + _RESTARTS)], 9))
tabled("index block past the end", unreadable(""), lambda: table([(b"", _HEADER)])[:-48] + footer((1 << 40, 8)))
tabled("index block of 2^60 bytes", unreadable(""), lambda: table([(b"", _HEADER)])[:-48] + footer((0, 1 << 60)))


def _many_handles() -> bytes:
    """An index of 20,000 entries that all lead to one block: quadratic work for who believes it."""
    data = sealed(block([(b"", _HEADER), *((f"k{n:04}".encode(), b"") for n in range(2000))]))
    handle = varint(0) + varint(len(data) - 5)
    index = block([(f"k{n:06}".encode(), handle) for n in range(20_000)], 1)
    meta = len(data), 8
    body = data + sealed(block(()))
    return body + sealed(index) + footer((len(body), len(index)), meta)


tabled("20,000 handles to one block", unreadable(""), _many_handles)
