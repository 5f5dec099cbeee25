"""Which reader a file is for, by its bytes."""

from __future__ import annotations

import os
import re

from ckptdoctor import storage
from ckptdoctor.containers import safetensors
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.zips.signature import SIGNATURE
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.formats.beginnings import is_msgpack, is_stream
from ckptdoctor.formats.foreign import foreign_by_place, foreign_pickle

_PICKLE_PROTO = 0x80
_NEWEST_PROTOCOL = 5
_NPY = b"\x93NUMPY"
_TAR_AT = 257
_OF_BASELINES = "_stable_baselines3_version"
_OF_OTHERS = (b"config.json", b"model.weights.", _OF_BASELINES.encode(), b"constants.pkl", b"/code/")
_OLD_PICKLE = (
    rb"(?s)\(+(?:[ld]p?\d*\n|[\](}]|c[\w.]+\n\w+\n|I-?\d+\n|F[-+.\de]+\n|[KMJ]|[VSUX])"  # a list, dict or tuple
    rb"|cnumpy[\w.]*\n\w+\n"  # an array
    rb"|[\]})](?:q.|p\d+\n|\.|\()"  # protocol 1: an empty list, dict or tuple, and what is put into it
)
"""How pickles of protocols 0 and 1 begin that hold containers or arrays; they have no magic number."""
_UNMISTAKABLE = (b"(lp", b"(dp", b"cnu", b"]q\0", b"}q\0", b"(cn")


def sniff(path: str, head: bytes) -> str | None:
    """The reader for a file that is neither a table nor HDF5; None if it is none's.

    Args:
        path: The file.
        head: Its first 4 KiB.
    """
    if head.startswith(_NPY):
        return "optimizer-dump"
    if is_stream(head) or (head[_TAR_AT : _TAR_AT + 5] == b"ustar" and _is_tar_of_torch(head)):
        return "torch"
    if SIGNATURE in head[:2048]:
        return _zip(path, head)
    if safetensors.begins_so(head, storage.size(path)):
        return "safetensors"  # whose length may look like the mark of a pickle
    if _is_pickle(path, head):
        return "optimizer-dump"
    if path.endswith(".safetensors"):
        return "safetensors"
    if is_msgpack(head):
        return "flax"
    if head.lstrip()[:1] == b"{" and b'"weight_map"' in _text(path, head):
        return "keras-weights"
    return None


def _text(path: str, head: bytes) -> bytes:
    """Enough of a JSON file to see whether it lists shards; Keras writes the metadata first."""
    if b'"weight_map"' in head or b'"metadata"' not in head:
        return head
    with RegularFile(path) as file:
        return file.read(0, min(file.size, 1 << 20))


def _zip(path: str, head: bytes) -> str | None:
    from ckptdoctor.containers.zips.archive import ZipArchive

    first = _first_member(head)
    if first == b"data.pkl" and _is_nothing_else(path):
        return "torch"
    try:
        with ZipArchive(path) as archive:
            names = set(archive.names)
    except UnreadableArtifact:
        return "torch" if first == b"data.pkl" else "keras-archive"  # its reader says what is wrong
    if "config.json" in names or {"model.weights.h5", "model.weights.npz"} & names:
        return "keras-archive"
    if names and all(name.endswith(".npy") for name in names):
        return "optimizer-dump"
    if _OF_BASELINES in names:
        return "stable-baselines3"
    pickled = any(name.rpartition("/")[2] == "data.pkl" for name in names)
    compiled = any(name.rpartition("/")[2] == "constants.pkl" or "/code/" in name for name in names)  # TorchScript
    return "torch" if pickled and not compiled else None


def _is_tar_of_torch(head: bytes) -> bool:
    """The archive of torch 0.1 begins with one of its four members."""
    name = head[:100].partition(b"\0")[0].rpartition(b"/")[2]
    return name in {b"sys_info", b"pickle", b"tensors", b"storages"}


def _first_member(head: bytes) -> bytes:
    """The last part of the name of an archive's first member."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")].rpartition(b"/")[2]


def _is_nothing_else(path: str) -> bool:
    """Whether none of the names that other archives have is in the directory: that may have 100,000 members."""
    from ckptdoctor.containers.zips.directory import NoDirectory, directory_bytes

    try:
        with storage.open_stream(path) as stream:
            directory = directory_bytes(stream, stream.seek(0, os.SEEK_END))
    except (OSError, NoDirectory):
        return False
    return not any(name in directory for name in _OF_OTHERS)


def _is_pickle(path: str, head: bytes) -> bool:
    """A pickle of protocol 2 and later announces itself; an older one begins like a container and ends with a stop.

    Those of other packages, PyTorch's and RLlib's among them, are named by `foreign`.
    """
    announced = len(head) > 1 and head[0] == _PICKLE_PROTO and head[1] <= _NEWEST_PROTOCOL
    if not (announced or re.match(_OLD_PICKLE, head)) or foreign_pickle(head) or foreign_by_place(path):
        return False
    if announced or head[:3] in _UNMISTAKABLE:
        return True  # its reader says where one that was cut off ends
    with RegularFile(path) as file:
        return file.read(file.size - 1, 1) == b"."
