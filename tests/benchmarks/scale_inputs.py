"""Inputs of any size, made without TensorFlow: `python scale_inputs.py NAME SIZE FOLDER` writes one, prints its path.

Tensors are holes in sparse files: an index of 20 GB of zeros takes no room, and is correct to the checksum of every
tensor that is small.
"""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from inputs import ROOT, model_config, write_layers, write_store

sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import numpy as np  # noqa: E402 - after the path
from support.bundles import DTYPES, Tensor, array, write_state, zeros  # noqa: E402
from support.objects import (  # noqa: E402
    Node,
    checkpoint,
    keras3,
    legacy,
    listed,
    model,
    tracked,
    variable,
    variables,
    write_model,
)
from support.saved_models import field  # noqa: E402

from ckptdoctor.containers.bytes.crc import masked, masked_crc32c  # noqa: E402
from ckptdoctor.containers.protos import checkpoint_pb2 as pb  # noqa: E402
from ckptdoctor.containers.tables.table_writer import write_table  # noqa: E402
from ckptdoctor.containers.tables.wire import encode_varint  # noqa: E402

_SMALL = zeros((2, 2))


class Hole(NamedTuple):
    """A tensor of zeros that nobody has to write.

    Attributes:
        dtype: Name of its type.
        shape: Its dimensions.
        nbytes: Its size.
    """

    dtype: str
    shape: tuple[int, ...]
    nbytes: int


# -------------------------------------------------------------------------------------------------- TF checkpoints


def names(count: int, folder: Path) -> str:
    """`count` tensors by name: variables with Adam's slots, by a tf.compat.v1 Saver."""
    return write_sparse(folder / f"names-{count}" / "model.ckpt-7", _named(count))


def objects(count: int, folder: Path) -> str:
    """`count` tensors by object: variables with a legacy Adam that links its slots."""
    net = _net(count // 3)
    tensors = checkpoint(tracked(model=net, optimizer=legacy(variables(net))))
    return write_sparse(folder / f"objects-{count}" / "ckpt-7", sorted(tensors.items()))


def graph(count: int, folder: Path) -> str:
    """An object graph of `count` nodes: a Keras 3 model and its Adam, which lists its variables four times over."""
    root = tracked(model=(net := _net(count // 3)))
    root.children["optimizer"] = keras3(variables(net))
    root.children["model"].children["_layers"] = listed(list(net.children.values()))
    return write_sparse(folder / f"graph-{count}" / "ckpt-7", sorted(checkpoint(root).items()))


def shards(count: int, folder: Path) -> str:
    """30,000 tensors in `count` data files."""
    return write_sparse(folder / f"shards-{count}" / "model.ckpt-7", _named(30_000), num_shards=count)


def tensor_bytes(count: int, folder: Path) -> str:
    """One variable of `count` bytes with Adam's slots: three tensors of that size."""
    large = Hole("float32", (count // 4096, 1024), count // 4096 * 4096)
    tensors: list[tuple[str, Tensor | Hole]] = [
        ("beta1_power", array(0.43)),
        ("beta2_power", array(0.99)),
        ("global_step", array(7, "int64")),
        *((f"model/kernel{suffix}", large) for suffix in ("", "/Adam", "/Adam_1")),
    ]
    return write_sparse(folder / f"bytes-{count}" / "model.ckpt-7", tensors)


def _named(count: int) -> Iterator[tuple[str, Tensor | Hole]]:
    yield "beta1_power", array(0.43)
    yield "beta2_power", array(0.99)
    yield "global_step", array(7, "int64")
    for number in range(count // 3):
        name = f"model/block_{number // 16:06d}/layer_{number % 16:02d}/kernel"
        for suffix in ("", "/Adam", "/Adam_1"):
            yield name + suffix, _SMALL


def _net(count: int) -> Node:
    """A model of that many variables, 16 to a layer."""
    root = Node()
    for number in range(count):
        block = root.children.setdefault(f"block_{number // 16:06d}", Node())
        name = f"layer_{number % 16:02d}"
        block.children[name] = Node({"kernel": variable(_SMALL, f"block_{number // 16:06d}/{name}/kernel")})
    return root


def write_sparse(prefix: Path, tensors: Iterable[tuple[str, Tensor | Hole]], *, num_shards: int = 1) -> str:
    """Writes a bundle, its tensors given in the order of their names, zeros as holes; answers the prefix."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    sums: dict[int, int] = {}
    ends = [0] * num_shards

    def entries(data: Sequence[BinaryIO]) -> Iterator[tuple[bytes, bytes]]:
        yield b"", pb.BundleHeader(num_shards=num_shards, version=pb.VersionDef(producer=1)).SerializeToString()
        for number, (name, tensor) in enumerate(tensors):
            shard = number % num_shards
            size, crc = _put(tensor, data[shard], ends[shard], sums)
            shape = pb.TensorShape(dim=[pb.TensorShape.Dim(size=extent) for extent in tensor.shape])
            entry = pb.BundleEntry(
                dtype=DTYPES[tensor.dtype], shape=shape, shard_id=shard, offset=ends[shard], size=size, crc32c=crc
            )
            ends[shard] += size
            yield name.encode(), entry.SerializeToString()

    with ExitStack() as stack, open(f"{prefix}.index", "wb") as index:
        paths = [f"{prefix}.data-{at:05d}-of-{num_shards:05d}" for at in range(num_shards)]
        data = [stack.enter_context(open(path, "wb")) for path in paths]
        write_table(index, entries(data))
        for file, end in zip(data, ends, strict=True):
            file.truncate(end)
    return str(prefix)


def _put(tensor: Tensor | Hole, file: BinaryIO, offset: int, sums: dict[int, int]) -> tuple[int, int]:
    """Size and checksum of a tensor; what is not zero is written."""
    if isinstance(tensor, Hole):
        if tensor.nbytes not in sums:
            sums[tensor.nbytes] = _checksum_of_zeros(tensor.nbytes)
        return tensor.nbytes, sums[tensor.nbytes]
    if tensor is _SMALL:
        return len(tensor.data), sums.setdefault(len(tensor.data), masked_crc32c(tensor.data))
    file.seek(offset)
    if tensor.dtype != "string":
        file.write(tensor.data)
        return len(tensor.data), masked_crc32c(tensor.data)
    (text,) = tensor.strings
    length = struct.pack("<I", len(text))
    check = struct.pack("<I", masked_crc32c(length))
    return file.write(encode_varint(len(text)) + check + text), masked_crc32c(length + check + text)


def _checksum_of_zeros(count: int) -> int:
    """The masked CRC32C of so many zero bytes."""
    from google_crc32c import extend

    piece, crc = bytes(1 << 24), 0
    for _ in range(count >> 24):
        crc = extend(crc, piece)
    return masked(extend(crc, piece[: count % (1 << 24)]))


# ----------------------------------------------------------------------------------------------------- SavedModels


def saved_graph(count: int, folder: Path) -> str:
    """A SavedModel whose GraphDef has `count` bytes, beside a model of two layers and its Adam."""
    path = folder / f"saved-{count}"
    path.mkdir(parents=True)
    root = model()
    root.children["optimizer"] = legacy(variables(root))
    tensors = checkpoint(root, save_counter=None)
    write_sparse(path / "variables" / "variables", sorted(tensors.items()))
    kept = pb.TrackableObjectGraph.FromString(tensors["_CHECKPOINTABLE_OBJECT_GRAPH"].strings[0])
    saved = pb.SavedObjectGraph()
    for node in kept.nodes:
        made = saved.nodes.add()
        if node.attributes:
            made.variable.trainable = True
        else:
            made.user_object.identifier = "_generic_user_object"
    info = field(1, pb.MetaInfo(tensorflow_version="2.10.1", tags=["serve"]).SerializeToString())
    tail = field(7, saved.SerializeToString())
    # A GraphDef of one node whose attribute is the bulk: a constant, as a large model has thousands.
    head = b"\x12" + encode_varint(count)
    size = len(info) + len(head) + count + len(tail)
    with open(path / "saved_model.pb", "wb") as file:
        file.write(b"\x08\x01\x12" + encode_varint(size) + info + head)
        file.seek(count, os.SEEK_CUR)
        file.write(tail)
    return str(path)


# ---------------------------------------------------------------------------------------------------------- Keras


def h5_data_sets(count: int, folder: Path) -> str:
    """A whole model in HDF5 with `count` data sets: six a layer, four of them the optimizer's."""
    path = folder / f"whole-{count}.h5"
    write_layers(path, layers=count // 6, units=2)
    return str(path)


def h5_bytes(count: int, folder: Path) -> str:
    """A `.weights.h5` of a layer of `count` bytes and its Adam: three data sets of that size, never written."""
    import h5py as stubbed

    h5py: Any = stubbed  # its stubs leave out the low-level interface
    path = folder / f"bytes-{count}.weights.h5"
    shape = (count // 4096, 1024)
    with h5py.File(str(path), "w") as file:
        file["optimizer/vars/0"], file["optimizer/vars/1"] = np.int64(7), np.float32(0.001)
        early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        early.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
        for name in ("layers/dense/vars/0", "optimizer/vars/2", "optimizer/vars/3"):
            group, _, last = name.rpartition("/")
            space = h5py.h5s.create_simple(shape)
            h5py.h5d.create(file.require_group(group).id, last.encode(), h5py.h5t.IEEE_F32LE, space, early)
    return str(path)


def archive_layers(count: int, folder: Path) -> str:
    """A `.keras` of `count` layers, each with a kernel and Adam's slots."""
    path, weights = folder / f"layers-{count}.keras", folder / f"layers-{count}.weights"
    write_store(weights, layers=count, shape=(2, 2))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1", "date_saved": "2026-11-01@00:00:00"}))
        archive.writestr("config.json", json.dumps(model_config(count, 2)))
        archive.write(weights, "model.weights.h5")
    weights.unlink()
    return str(path)


def pickled(count: int, folder: Path) -> str:
    """`pickle.dump(optimizer.get_weights())` of `count` arrays: the count, m of every variable, v of every one."""
    path = folder / f"dump-{count}.pkl"
    # Every variable has a shape of its own, so that all of them are told apart.
    slots = [np.ones((1 + number % 97, 1 + number // 97), np.float32) for number in range(min(count // 2, 2000))]
    slots = [slots[number % len(slots)].copy() for number in range(count // 2)]
    with open(path, "wb") as file:
        pickle.dump([np.int64(7), *slots, *(each.copy() for each in slots)], file, protocol=4)
    return str(path)


# ------------------------------------------------------------------------------------------------------ directories


def directory(count: int, folder: Path) -> str:
    """A run directory of `count` checkpoints and the state file that names them."""
    path = folder / f"run-{count}"
    for number in range(1, count + 1):
        write_model(path / f"ckpt-{number}", number)
    write_state(path, f"ckpt-{count}", *(f"ckpt-{number}" for number in range(1, count)))
    return str(path)


MAKERS = {
    each.__name__: each
    for each in (
        names,
        objects,
        graph,
        shards,
        tensor_bytes,
        saved_graph,
        h5_data_sets,
        h5_bytes,
        archive_layers,
        pickled,
        directory,
    )
}

if __name__ == "__main__":
    sys.stdout.write(MAKERS[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3])) + "\n")
