"""Foreign files by their first bytes: magic numbers, and how formats without one begin.

The answers are phrases that go on after "is".
"""

from __future__ import annotations

import re

# ------------------------------------------------------------------------------------------------------ magic numbers

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GGUF", "a GGUF model (llama.cpp)"),
    (0, b"lmgg", "a GGML model (llama.cpp, old)"),
    (0, b"tjgg", "a GGML model (llama.cpp, old)"),
    (4, b"TFL3", "a TensorFlow Lite model: it has no optimizer state"),
    (0, b"\x1f\x8b", "gzip-compressed: unpack it first"),
    (0, b"BZh", "bzip2-compressed: unpack it first"),
    (0, b"\xfd7zXZ\0", "xz-compressed: unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed: unpack it first"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed: unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (257, b"ustar", "a tar archive: unpack it first"),
    (0, b"MATLAB 5.0 MAT-file", "a MATLAB file"),
    (0, b"RDX2\n", "an R data file"),
    (0, b"RDX3\n", "an R data file"),
    (0, b"X\n\0\0\0\x02\0", "an R object (saveRDS)"),
    (0, b"X\n\0\0\0\x03\0", "an R object (saveRDS)"),
    (0, b"\x0c\xdb\x3a\x2a", "the manifest of an OCDBT store: a part of an Orbax (JAX) checkpoint"),
    (0, b"\x0c\xdb\x20\xde", "a data file of an OCDBT store: a part of an Orbax (JAX) checkpoint"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"\x7fELF", "a program or library (ELF)"),
    (0, b"MZ", "a program or library (Windows)"),
    (0, b"\xcf\xfa\xed\xfe", "a program or library (Mach-O)"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"%PDF-", "a PDF document"),
)


def by_magic(head: bytes) -> str | None:
    """What a magic number says."""
    for offset, magic, sentence in _MAGIC:
        if head[offset : offset + len(magic)] == magic:
            return sentence
    if b"brain.Event:" in head[:48]:
        return "a TensorBoard event file: a log of training, not a checkpoint"
    if head[:2] in {b"\x78\x01", b"\x78\x9c", b"\x78\xda"}:
        return "zlib-compressed (joblib writes such files): load it and dump it again uncompressed"
    return None


# ---------------------------------------------------------------------------------------------------- without a magic


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A protobuf varint and the position behind it; (-1, at) where there is none."""
    value = 0
    for shift in range(5):
        if at + shift >= len(data):
            break
        value |= (data[at + shift] & 0x7F) << (7 * shift)
        if not data[at + shift] & 0x80:
            return value, at + shift + 1
    return -1, at


def _string(data: bytes, at: int, tag: int) -> tuple[bytes, int] | None:
    """A length-delimited field with this tag and its end; None if there is none, cut off where the data ends."""
    if data[at : at + 1] != bytes([tag]):
        return None
    length, start = _varint(data, at + 1)
    return None if length < 0 else (data[start : start + length], start + length)


def _is_name(data: bytes) -> bool:
    return re.fullmatch(rb"[\w.][\w./>:\\^-]{0,512}", data) is not None


def _protobuf(head: bytes) -> str | None:
    """Messages without a magic number, by the fields they begin with."""
    first = _string(head, 0, 0x0A)
    if first is None:
        return _onnx(head)
    name = _string(first[0], 0, 0x0A)
    if name is not None and _is_name(name[0]):
        second = _string(first[0], name[1], 0x12)
        if second is not None and _is_name(second[0]):
            return "a TensorFlow GraphDef (a frozen graph): it has no optimizer state"
        if second is not None and re.search(rb"(Float|Int|UInt|BFloat|Bool)\d*", second[0][:128]):
            return "a MindSpore checkpoint"
    operations = _string(first[0], 0, 0x12)
    if operations is not None and _string(operations[0], 0, 0x0A) is not None:
        return "a TensorFlow MetaGraph (`.meta`): the graph of a checkpoint, whose values are in the files beside it"
    if b"_tf_keras_" in head:
        return "the Keras metadata of a SavedModel: give the SavedModel's directory instead"
    return None


def _onnx(head: bytes) -> str | None:
    """`ir_version`, then the producer's name or the graph (onnx.proto, ModelProto)."""
    if head[:1] != b"\x08" or not 1 <= (head[1] if len(head) > 1 else 0) <= 32:
        return None
    producer = _string(head, 2, 0x12)
    named = producer is not None and 0 < len(producer[0]) < 64 and _is_name(producer[0])
    graph = _string(head, 2, 0x3A)
    if named or (graph is not None and graph[0][:1] == b"\x0a"):
        return "an ONNX model"
    return None


def _length_prefixed(head: bytes) -> str | None:
    """safetensors: the length of a JSON header, then the header."""
    if len(head) > 9 and int.from_bytes(head[:8], "little") < 100 << 20 and re.match(rb'\{\s*["}]', head[8:16]):
        return "a safetensors file: tensors by name"
    return None


def _msgpack(head: bytes) -> str | None:
    """A map whose first key is a short name: what `flax.serialization.to_bytes` writes."""
    at = 1 if 0x81 <= head[0] <= 0x8F else 3 if head[0] == 0xDE else 5 if head[0] == 0xDF else 0
    if not at or len(head) <= at or not 0xA1 <= head[at] <= 0xBF:
        return None
    name = head[at + 1 : at + 1 + (head[at] & 0x1F)]
    return ("a msgpack file (Flax or JAX)") if re.fullmatch(rb"[\w. /-]+", name) else None


def by_beginning(head: bytes) -> str | None:
    """What the first fields of a file without a magic number say."""
    return _protobuf(head) or _length_prefixed(head) or _msgpack(head)
