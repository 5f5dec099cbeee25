"""What is fuzzed of JAX programs' trees and of Keras' Orbax checkpoints: nodes of databases, arrays, trees, msgpack."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import zstandard
from fuzz.invariant import grafted, inspected
from support.orbax.ocdbt import DATA, MANIFEST, NODE, At, frame, manifest

from ckptdoctor.containers.bytes.cursor import Cursor
from ckptdoctor.containers.msgpack import read as read_msgpack
from ckptdoctor.containers.msgpack_writing import exchange
from ckptdoctor.containers.ocdbt.database import Database
from ckptdoctor.containers.tensors.values import chunks
from ckptdoctor.containers.zarrs.arrays import arrays
from ckptdoctor.containers.zarrs.store import Directory
from ckptdoctor.errors import CkptDoctorError
from ckptdoctor.references import Inline, TensorRef

Run = Callable[[bytes], object]
_HEADER, _SUM = 12, 4
_MOST_READ = 1 << 20


def ocdbt(folder: Path) -> Run:
    """A leaf or a node of a database, whose frame and checksum are right."""
    (folder / "d").mkdir()

    def run(data: bytes) -> None:
        node = frame(NODE, data)
        (folder / DATA).write_bytes(node)
        height = data[0] if data else 0
        (folder / "manifest.ocdbt").write_bytes(frame(MANIFEST, manifest(At(DATA, 0, len(node)), height=height)))
        with suppress(CkptDoctorError):
            _walk(Database(str(folder), str(folder)))
        inspected(folder)

    return run


def ocdbt_manifest(folder: Path) -> Run:
    """The body of a manifest."""

    def run(data: bytes) -> None:
        (folder / "manifest.ocdbt").write_bytes(frame(MANIFEST, data))
        with suppress(CkptDoctorError):
            _walk(Database(str(folder), str(folder)))

    return run


def _walk(store: Database | Directory) -> None:
    """Reads every array that is small enough."""
    for ref in arrays(store).tensors.values():
        if ref.location is not None and ref.size < _MOST_READ:
            with suppress(CkptDoctorError):
                for _ in chunks(ref):
                    pass


def zarr(folder: Path) -> Run:
    """Metadata of an array, a zero byte, and its chunk, for each version of the format."""
    places = {".zarray": ("0", "0.0"), "zarr.json": ("c/0", "c/0/0", "c")}

    def run(data: bytes) -> None:
        described, _, chunk = data.partition(b"\0")
        for name, keys in places.items():
            for key in keys:
                shutil.rmtree(folder / "item", ignore_errors=True)
                path = folder / "item" / "w" / key
                path.parent.mkdir(parents=True)
                path.write_bytes(chunk)
                (folder / "item" / "w" / name).write_bytes(described)
                with suppress(CkptDoctorError):
                    _walk(Directory(str(folder / "item"), str(folder)))
        inspected(folder / "item")

    return run


def orbax_tree(folder: Path) -> Run:
    """The tree of an item whose arrays are sound; as donor and as target too."""
    item = folder / "item"
    for name in ("params.w", "opt_state.0.mu.w", "opt_state.0.nu.w", "opt_state.0.count"):
        place = item / name
        place.mkdir(parents=True)
        shape = [] if name.endswith("count") else [2]
        fields = {"shape": shape, "chunks": shape, "dtype": "<i4" if not shape else "<f4", "zarr_format": 2}
        (place / ".zarray").write_text(json.dumps({**fields, "compressor": None, "fill_value": None, "order": "C"}))
        (place / "0").write_bytes(struct.pack("<i", 7) if not shape else np.ones(2, "<f4").tobytes())
    clean = shutil.copytree(item, folder / "clean")
    (clean / "_METADATA").write_bytes(_sound())

    def run(data: bytes) -> None:
        (item / "_METADATA").write_bytes(data)
        inspected(item)
        grafted(item, clean, folder / "out" / "item")
        grafted(clean, item, folder / "out" / "item")

    return run


def _sound() -> bytes:
    nodes = {}
    for name in ("params.w", "opt_state.0.mu.w", "opt_state.0.nu.w", "opt_state.0.count"):
        keys = name.split(".")
        path = [{"key": key, "key_type": 1 if key.isdigit() else 2} for key in keys]
        nodes[str(tuple(keys))] = {"key_metadata": path, "value_metadata": {"value_type": "jax.Array"}}
    return json.dumps({"tree_metadata": nodes, "use_zarr3": False}).encode()


def msgpack(folder: Path) -> Run:
    """A document of flax; as donor and as target, and with a part exchanged."""
    path, clean = folder / "state.msgpack", folder / "clean.msgpack"
    clean.write_bytes(next(iter(documents(folder))))
    ref = TensorRef("w", "float32", (2,), Inline(np.ones(2, "<f4").tobytes()))

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(CkptDoctorError):
            read_msgpack(Cursor(data, str(path)))
        for place in (("opt_state",), ("params", "w")):
            with suppress(CkptDoctorError):
                exchange(str(path), BytesIO(), {place: {"0": {}, "1": ref}})
        inspected(path)
        grafted(path, clean, folder / "out" / "state.msgpack")
        grafted(clean, path, folder / "out" / "state.msgpack")

    return run


# ------------------------------------------------------------------------------------------------------------- seeds


def bodies(museum: Path) -> Iterator[bytes]:
    """Bodies of nodes that Orbax wrote."""
    for path in sorted(museum.glob("orbax*/**/d/*"))[:20]:
        data = path.read_bytes()
        at = data.rfind(NODE.to_bytes(4, "big"))
        if at >= 0:
            (length,) = struct.unpack("<Q", data[at + 4 : at + _HEADER])
            yield _body(data[at : at + length])


def manifests(museum: Path) -> Iterator[bytes]:
    """Bodies of manifests that Orbax wrote."""
    for path in sorted(museum.glob("orbax*/**/manifest.ocdbt"))[:20]:
        yield _body(path.read_bytes())


def _body(data: bytes) -> bytes:
    packed = data[_HEADER + 2 : -_SUM]
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=1 << 24) if data[_HEADER + 1] else packed


def described(_: Path) -> Iterator[bytes]:
    """Metadata with a chunk behind it, of both versions."""
    raw = np.arange(6, dtype="<f4").tobytes()
    packed = zstandard.ZstdCompressor().compress(raw)
    two = {"shape": [2, 3], "chunks": [2, 3], "dtype": "<f4", "zarr_format": 2, "fill_value": None, "order": "F"}
    yield json.dumps({**two, "compressor": None}).encode() + b"\0" + raw
    yield json.dumps({**two, "compressor": {"id": "zstd", "level": 1}}).encode() + b"\0" + packed
    plain = [{"name": "bytes", "configuration": {"endian": "little"}}]
    index = {"index_codecs": [*plain, {"name": "crc32c"}], "chunk_shape": [2, 3]}
    inner = {"codecs": [*plain, {"name": "zstd", "configuration": {}}], **index}
    for codecs in (plain, [*plain, {"name": "zstd"}], [{"name": "sharding_indexed", "configuration": inner}]):
        grid = {"name": "regular", "configuration": {"chunk_shape": [2, 3]}}
        fields = {"zarr_format": 3, "node_type": "array", "shape": [2, 3], "data_type": "float32", "fill_value": 0.0}
        three = {**fields, "chunk_grid": grid, "chunk_key_encoding": {"name": "default"}, "codecs": codecs}
        yield json.dumps(three).encode() + b"\0" + (raw if codecs is plain else packed)


def trees(museum: Path) -> Iterator[bytes]:
    """Trees of items."""
    yield _sound()
    for path in sorted(museum.glob("orbax*/**/_METADATA"))[:10]:
        yield path.read_bytes()


def documents(_: Path) -> Iterator[bytes]:
    """Documents of flax: parameters, Adam's state, the step."""
    array = b"\xc7\x16\x01\x93\x91\x02\xa7float32\xc4\x08" + np.ones(2, "<f4").tobytes()
    array = bytes([0xC7, len(array) - 3, 1]) + array[3:]
    state = b"\x81\xa10\x83\xa5count\x07\xa2mu\x81\xa1w" + array + b"\xa2nu\x81\xa1w" + array
    yield b"\x83\xa6params\x81\xa1w" + array + b"\xa9opt_state" + state + b"\xa4step\x07"
    yield b"\x81\xa6params\x81\xa1w" + array
