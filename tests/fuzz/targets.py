"""What is fuzzed: each target makes a file of any bytes and reads it, and has seeds among the fixtures."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fuzz import torch_targets, trees, writing_targets
from fuzz.invariant import grafted, inspected
from fuzz.sealing import listed, pairs_of, resealed, sorted_table, true_checksums
from support.bundles import Tensor, array, strings, write_bundle
from support.museum import FIXTURES
from support.objects import legacy, model, variables, write_model
from support.saved_models import write_saved_model

from ckptdoctor.containers.bundles.object_graph import GRAPH_KEY, parse_object_graph, read_object_graph
from ckptdoctor.containers.bundles.reading import read_bundle, read_strings
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.pickles.reading import load
from ckptdoctor.containers.strict_json import parse_json, parse_object
from ckptdoctor.containers.tables.ordered_code import decode_slice_key, encode_slice_key
from ckptdoctor.containers.tables.snappy import decompress
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.containers.zips.npy import read_npy, read_npz
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.formats.tensorflow.state_file import read_checkpoint_state, resolve

Run = Callable[[bytes], object]
"""Reads bytes. It returns, whatever they are: every error that is allowed is caught inside."""


class Target(NamedTuple):
    """A target.

    Attributes:
        prepare: Lays down in a folder what the file under test needs around it, and answers what reads bytes.
        seeds: Inputs to begin with, from the unpacked museum.
    """

    prepare: Callable[[Path], Run]
    seeds: Callable[[Path], Iterable[bytes]]


_MOST_SEEDS = 40
_LONGEST_SEED = 1 << 15


def _files(*patterns: str) -> Callable[[Path], Iterator[bytes]]:
    """The smallest files of the museum that match."""

    def seeds(museum: Path) -> Iterator[bytes]:
        found = {path.stat().st_size: path for pattern in patterns for path in sorted(museum.rglob(pattern))}
        for _, path in sorted(found.items())[:_MOST_SEEDS]:
            yield path.read_bytes()[:_LONGEST_SEED]

    return seeds


# -------------------------------------------------------------------------------------------- tables and checkpoints

_SHARD = struct.pack("<q", 7) * 8192 + struct.pack("<dffqq", math.nan, math.inf, -0.5, -1, 1 << 62) * 1024
"""The values of every fuzzed bundle: in its first half whatever is a count is 7, in its second nothing is in order."""
_MOST_TENSORS = 300


def _table(folder: Path) -> Run:
    path = folder / "table"

    def run(data: bytes) -> None:
        path.write_bytes(resealed(data))
        with suppress(CkptDoctorError), RegularFile(str(path)) as file:
            table = Table(file)
            for walk in (table.entries, table.spans):
                with suppress(CkptDoctorError):
                    for _ in walk():
                        pass

    return run


def _bundle(folder: Path) -> Run:
    prefix = folder / "ckpt"
    (folder / "ckpt.data-00000-of-00001").write_bytes(_SHARD)

    def run(data: bytes) -> None:
        Path(f"{prefix}.index").write_bytes(sorted_table(true_checksums(pairs_of(data), _SHARD)))
        with suppress(CkptDoctorError):
            bundle = read_bundle(str(prefix))
            read_object_graph(bundle)
            for ref in bundle.tensors.values():
                if ref.dtype == "string":
                    with suppress(CkptDoctorError):
                        read_strings(ref)
        inspected(prefix)

    return run


def _tables(pattern: str) -> Callable[[Path], Iterator[bytes]]:
    def seeds(museum: Path) -> Iterator[bytes]:
        by_size = sorted(museum.rglob(pattern), key=lambda each: each.stat().st_size)
        for path in by_size[:: max(1, len(by_size) // _MOST_SEEDS)]:
            with suppress(CkptDoctorError), RegularFile(str(path)) as file:
                yield listed((key, value) for key, value in Table(file).entries() if key != GRAPH_KEY.encode())

    return seeds


def _checkpoint_v1(folder: Path) -> Run:
    path = folder / "model.ckpt"

    def run(data: bytes) -> None:
        path.write_bytes(sorted_table(pairs_of(data)))
        inspected(path)

    return run


def _slice_key(_: Path) -> Run:
    def run(data: bytes) -> None:
        with suppress(CorruptBytes):
            name, extents = decode_slice_key(data)
            assert decode_slice_key(encode_slice_key(name, extents)) == (name, extents)

    return run


def _slice_keys(_: Path) -> Iterator[bytes]:
    yield encode_slice_key(b"layer/kernel", ((0, -1), (0, 3), (1 << 20, 1 << 40)))
    yield encode_slice_key(b"\x00\xff", ())


def _snappy(_: Path) -> Run:
    def run(data: bytes) -> None:
        with suppress(CorruptBytes):
            decompress(data)

    return run


def _snappy_blocks(_: Path) -> Iterator[bytes]:
    yield b"\x0c\x08abc\x15\x03\x00"  # a literal, and a copy that overlaps itself
    yield b"\x80\x01\xf4\x7f\x00" + bytes(128)


def _write_objects(prefix: Path, data: bytes) -> bool:
    """Writes a checkpoint with this object graph, and tensors under the keys that it names; whether it is a graph."""
    try:
        graph = parse_object_graph(data, str(prefix))
    except CkptDoctorError:
        return False
    tensors: dict[str, Tensor] = {}
    keys = [key for node in graph.nodes for key in (node.key, *(other for _, other in node.others)) if key]
    for key in keys[:_MOST_TENSORS]:
        single = next((value for name, value in _SINGLES.items() if name in key), None)
        tensors[key] = array([[1.0, 2.0]]) if single is None else single
    write_bundle(prefix, {**tensors, GRAPH_KEY: strings(data)})
    return True


def _objects(folder: Path) -> Run:
    return lambda data: _write_objects(folder / "ckpt", data)


_SINGLES = {
    "iteration": array(7, "int64"), "iter": array(math.nan), "counter": array(-1, "int64"), "rate": array(math.inf),
    "step": array(1 << 62, "int64"), "decay": array(0.0), "beta": array(0.9), "scale": array(math.nan, "float64"),
}  # fmt: skip
"""Part of a key → the value of the scalar under it."""


def _object_graph(folder: Path) -> Run:
    prefix = folder / "ckpt"

    def run(data: bytes) -> None:
        if _write_objects(prefix, data):
            inspected(prefix)

    return run


def _graft_checkpoint(folder: Path) -> Run:
    mutant, clean = folder / "mutant" / "ckpt", folder / "clean" / "ckpt"
    write_model(clean)

    def run(data: bytes) -> None:
        if _write_objects(mutant, data):
            grafted(mutant, clean, folder / "out" / "ckpt")
            grafted(clean, mutant, folder / "out" / "ckpt")

    return run


def _object_graphs(museum: Path) -> Iterator[bytes]:
    indexes = sorted(museum.rglob("*.index"), key=lambda each: each.stat().st_size)
    for path in indexes[::8][:_MOST_SEEDS]:
        ref = read_bundle(str(path.with_suffix(""))).tensors.get(GRAPH_KEY)
        if ref is not None:
            yield read_strings(ref)[0][:_LONGEST_SEED]


# ------------------------------------------------------------------------------------------------------- SavedModels


def _saved_model(part: str) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        net = model()
        config = {"class_name": "Adam", "config": {"name": "Adam", "learning_rate": 0.001}}
        net.children["optimizer"] = legacy(variables(net))
        directory = Path(write_saved_model(folder / "model", net, config=config))

        def run(data: bytes) -> None:
            (directory / part).write_bytes(data)
            inspected(directory)

        return run

    return prepare


# ------------------------------------------------------------------------------------------- pickles, npy and archives


def _dump(name: str, read: Callable[[str], object]) -> Callable[[Path], Run]:
    def prepare(folder: Path) -> Run:
        path = folder / name

        def run(data: bytes) -> None:
            path.write_bytes(data)
            with suppress(CkptDoctorError):
                read(str(path))
            inspected(path)

        return run

    return prepare


def _archive(folder: Path) -> Run:
    path = folder / "model.keras"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(CkptDoctorError), ZipArchive(str(path)) as archive:
            for name in archive.names:
                with suppress(CkptDoctorError):
                    archive.read(name)
                with suppress(CkptDoctorError), archive.open(name) as stream:
                    while stream.read(1 << 20):
                        pass

    return run


def _graft_dump(folder: Path) -> Run:
    path = folder / "optimizer.pkl"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        grafted(path, FIXTURES / "weights-only.h5", folder / "out" / "model.h5")
        grafted(FIXTURES / "optimizer.pkl", path, folder / "out" / "optimizer.pkl")

    return run


# -------------------------------------------------------------------------------------------------- configurations

_ARCHIVE = FIXTURES / "keras3.keras"


def _write_archive(path: Path, data: bytes) -> None:
    """An archive of sound weights whose configuration, and behind a zero byte its metadata, are these."""
    config, _, metadata = data.partition(b"\0")
    with zipfile.ZipFile(_ARCHIVE) as whole, zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", metadata)
        archive.writestr("model.weights.h5", whole.read("model.weights.h5"))


def _keras_config(folder: Path) -> Run:
    path = folder / "model.keras"

    def run(data: bytes) -> None:
        _write_archive(path, data)
        inspected(path)

    return run


def _graft_archive(folder: Path) -> Run:
    path = folder / "model.keras"

    def run(data: bytes) -> None:
        _write_archive(path, data)
        grafted(path, _ARCHIVE, folder / "out" / "model.keras")
        grafted(_ARCHIVE, path, folder / "out" / "model.keras")

    return run


def _configs(museum: Path) -> Iterator[bytes]:
    for path in sorted(museum.rglob("*.keras"))[::8]:
        with zipfile.ZipFile(path) as archive:
            yield archive.read("config.json")[:_LONGEST_SEED] + b"\0" + archive.read("metadata.json")


def _json(_: Path) -> Run:
    def run(data: bytes) -> None:
        for parse in (parse_json, parse_object):
            with suppress(CkptDoctorError):
                parse(data, "model.keras", "config.json")

    return run


def _state_file(folder: Path) -> Run:
    path = folder / "checkpoint"
    for step in (3, 7):
        write_model(folder / f"ckpt-{step}", step)

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(CkptDoctorError):
            state = read_checkpoint_state(str(path))
            for each in (state.latest, *state.all):
                resolve(state, each)
        inspected(folder)
        inspected(folder, everything=True)
        inspected(path)

    return run


def _any_file(folder: Path) -> Run:
    path = folder / "weights.bin"

    def run(data: bytes) -> None:
        if b"\x89HDF" in data:  # libhdf5 is not ours to mend; mutations.py tries it in children that may die
            return
        path.write_bytes(data)
        inspected(path)

    return run


TARGETS: dict[str, Target] = {
    "table": Target(_table, _files("*.index")),
    "bundle": Target(_bundle, _tables("*.index")),
    "checkpoint-v1": Target(_checkpoint_v1, _tables("*_v1*/model.ckpt-7*")),
    "slice-key": Target(_slice_key, _slice_keys),
    "snappy": Target(_snappy, _snappy_blocks),
    "object-graph": Target(_object_graph, _object_graphs),
    "saved-model": Target(_saved_model("saved_model.pb"), _files("saved_model.pb")),
    "keras-metadata": Target(_saved_model("keras_metadata.pb"), _files("keras_metadata.pb")),
    "pickle": Target(_dump("optimizer.pkl", load), _files("*.pkl")),
    "npy": Target(_dump("weights.npy", read_npy), _files("*.npy")),
    "npz": Target(_dump("weights.npz", read_npz), _files("*.npz")),
    "archive": Target(_archive, _files("*.keras", "*.npz")),
    "ocdbt": Target(trees.ocdbt, trees.bodies),
    "ocdbt-manifest": Target(trees.ocdbt_manifest, trees.manifests),
    "zarr": Target(trees.zarr, trees.described),
    "orbax-tree": Target(trees.orbax_tree, trees.trees),
    "graft-msgpack": Target(trees.msgpack, trees.documents),
    "keras-config": Target(_keras_config, _configs),
    "json": Target(_json, _configs),
    "state-file": Target(_state_file, _files("checkpoint")),
    "torch-pickle": Target(torch_targets.archive_pickle, torch_targets.archive_pickles),
    "torch-stream": Target(torch_targets.stream, torch_targets.streams),
    "torch-metadata": Target(torch_targets.metadata, _files(".metadata")),
    "safetensors": Target(torch_targets.header, torch_targets.headers),
    "msgpack": Target(torch_targets.document, _files("*.msgpack")),
    "graft-checkpoint": Target(_graft_checkpoint, _object_graphs),
    "graft-archive": Target(_graft_archive, _configs),
    "graft-dump": Target(_graft_dump, _files("*.pkl")),
    "write-torch": Target(
        writing_targets.writing(torch_targets.archive_pickle, "model.pt", ".pt"), torch_targets.archive_pickles
    ),
    "write-stream": Target(writing_targets.writing(torch_targets.stream, "model.pt", ".pt"), torch_targets.streams),
    "write-safetensors": Target(
        writing_targets.writing(torch_targets.header, "model.safetensors", ".safetensors"), torch_targets.headers
    ),
    "write-archive": Target(writing_targets.writing(_keras_config, "model.keras", ".keras"), _configs),
    "write-checkpoint": Target(writing_targets.writing(_objects, "ckpt", ""), _object_graphs),
    "address": Target(writing_targets.address, writing_targets.addresses),
    "any-file": Target(_any_file, _files("*.pkl", "*.npy", "*.pb", "*.json", "checkpoint", "*.meta", "*.index")),
}
"""Name → target. What each reads is in README.md."""
