"""What a single file is, by its bytes and its place among other files."""

from __future__ import annotations

import os
import re

from ckptdoctor import storage
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.hdf5.signature import has_signature
from ckptdoctor.containers.tables.sstable import FOOTER, is_table
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.errors import UnknownFormat, UnreadableArtifact
from ckptdoctor.formats.contract import Target
from ckptdoctor.formats.keras import shard_map
from ckptdoctor.state import Oddity, TrainingState

SHARD = re.compile(r"(?P<prefix>.*)\.data-\d{5}-of-\d{5}\Z", re.DOTALL)
SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")
_HEAD = 4096


def say_why(path: str) -> TrainingState:
    """The reader of what is called like a model and is none, or cannot be looked into: raises what is known of it."""
    from ckptdoctor.formats.directories import listing
    from ckptdoctor.formats.registry import reader

    if storage.is_dir(path):
        listing(path)
    return reader(target_of(path, path).reader)(path)


def target_of(given: str, path: str) -> Target:
    """What reads a file.

    Args:
        given: What the user named.
        path: The file.

    Raises:
        UnreadableArtifact: It is nothing that is known.
    """
    with RegularFile(path) as file:
        head = file.read(0, min(_HEAD, file.size))
        tail = file.read(max(file.size - FOOTER, 0), min(FOOTER, file.size))
        signature = has_signature(lambda offset: file.read(min(offset, file.size), max(0, min(8, file.size - offset))))
    name = os.path.basename(path)
    shard = SHARD.match(path)
    if shard and storage.exists(f"{shard['prefix']}.index"):
        prefix = shard["prefix"]
        return Target(
            given, prefix, "tf-checkpoint", (Oddity("P003", f"{name} is a data file; the checkpoint is {prefix}"),)
        )
    whole = shard_map.whole_of(path)
    if whole is not None:
        return Target(given, whole, "keras-weights", (Oddity("P003", f"{name} is a shard; the weights are {whole}"),))
    if is_table(tail):
        return _table(given, path)
    if signature:
        return Target(given, path, "hdf5")
    from ckptdoctor.formats import foreign, sniff
    from ckptdoctor.formats.orbax.locating import checkpoint_of

    part = checkpoint_of(given, path)
    if part is not None:
        return part
    reader = sniff.sniff(path, head)
    if reader is not None:
        return Target(given, path, reader)
    if name in SAVED_MODEL:
        directory = os.path.dirname(path) or "."
        note = Oddity("P003", f"{name} is the graph of a SavedModel; the SavedModel is {directory}")
        return Target(given, directory, "saved-model", (note,))
    if path.endswith(".index"):
        with RegularFile(path) as file:
            from ckptdoctor.containers.tables.sstable import Table

            Table(file)  # says what is wrong with it
    named = foreign.recognise(path, head)
    if named:
        code = "I001" if named.artifact else "I008"
        raise UnknownFormat(f"not an artifact that ckptdoctor reads: {named.sentence}", path, code=code)
    if shard:
        index = f"{os.path.basename(shard['prefix'])}.index"
        raise UnreadableArtifact(f"{index} is missing, without which a checkpoint's data file cannot be read", path)
    raise UnknownFormat("it is of no format that is known", path)


def _table(given: str, path: str) -> Target:
    """An index of a V2 checkpoint, or a V1 checkpoint: both are tables, their first entry tells which."""
    from ckptdoctor.containers.tables.messages import Message
    from ckptdoctor.containers.tables.sstable import Table

    if path.endswith(".index"):
        return Target(given, path.removesuffix(".index"), "tf-checkpoint")
    with RegularFile(path) as file:
        for key, offset, size in Table(file).spans():
            if key == b"" and size < _HEAD:
                header = file.read(offset, size)
                try:
                    is_bundle = Message(header).integer(1) > 0  # BundleHeader.num_shards; a V1 header has a message
                except CorruptBytes:
                    is_bundle = False
                if is_bundle:
                    raise UnreadableArtifact(
                        "it is the index of a TensorFlow checkpoint under another name: call it PREFIX.index, "
                        "beside its PREFIX.data-* files",
                        path,
                    )
            break
    return Target(given, path, "tf-checkpoint-v1")
