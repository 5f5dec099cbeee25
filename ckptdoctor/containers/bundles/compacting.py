"""A TensorBundle without some of its tensors: what stays is copied into one data file, which no byte of the rest is in.

Entries and bytes of what stays are not interpreted; places, and nothing else, are written anew.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from contextlib import ExitStack

from ckptdoctor.containers.bundles.reading import shard_path
from ckptdoctor.containers.bundles.writing import NewTensor, Text, entry_of, name_of, string_of
from ckptdoctor.containers.bytes.copying import Progress, create
from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.bytes.window import copy_range, write_at
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.protos import parse
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.table_writer import write_table
from ckptdoctor.errors import UnreadableArtifact


def compact(
    base: str,
    prefix: str,
    *,
    drop: Collection[str],
    texts: Mapping[str, bytes] = {},
    progress: Progress | None = None,
) -> None:
    """Writes `P.index` and one data file.

    Args:
        base: Prefix of the bundle; `read_bundle` takes it.
        prefix: P, in a directory that exists; none of its files may.
        drop: Names of tensors that go.
        texts: Scalars of text that get another value.
        progress: Told how many more bytes are written.

    Raises:
        UnreadableArtifact: The index is corrupt, or data is missing.
    """
    with RegularFile(f"{base}.index") as file:
        entries = Table(file).entries()
        key, value = next(entries, (b"?", b""))
        if key != b"":
            raise UnreadableArtifact(f"{os.path.basename(base)}.index is no TensorBundle index", base)
        header = parse(pb.BundleHeader, value, "the index's header", base)
        kept = [(key, value) for key, value in entries if name_of(key) not in drop and name_of(key) not in texts]
    count, header.num_shards = header.num_shards, 1
    parsed = [(key, parse(pb.BundleEntry, value, "an entry of the index", base)) for key, value in kept]
    written: dict[bytes, bytes] = {}
    with ExitStack() as stack:
        writing = create(shard_path(prefix, 0, 1))
        stack.callback(os.close, writing)
        reading: dict[int, int] = {}
        end = 0
        for key, entry in sorted(parsed, key=lambda each: (each[1].shard_id, each[1].offset)):
            if not entry.slices:  # the whole of a partitioned tensor has no bytes of its own
                if entry.shard_id not in reading:
                    opened = stack.enter_context(open(shard_path(base, entry.shard_id, count), "rb"))
                    reading[entry.shard_id] = opened.fileno()
                copy_range(reading[entry.shard_id], entry.offset, entry.size, writing, end, progress)
                entry.shard_id, entry.offset = 0, end
                end += entry.size
            written[key] = entry.SerializeToString()
        for name, text in texts.items():
            data, crc = string_of(text)
            write_at(writing, data, end)
            written[name.encode()] = entry_of(NewTensor("string", (), Text(text)), 0, end, len(data), crc)
            end += len(data)
    with open(create(f"{prefix}.index"), "wb") as stream:
        write_table(stream, [(b"", header.SerializeToString()), *sorted(written.items())])
