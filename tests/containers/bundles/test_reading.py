"""TensorBundles: what is in them, and every way in which they may be broken."""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bundles import DTYPES, Index, Tensor, array, split, strings, varint, write_bundle, write_v1, zeros
from support.privileges import bound_by_permissions

from ckptdoctor.containers.bundles.reading import read_bundle, read_strings
from ckptdoctor.containers.bytes.crc import masked_crc32c
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE, TENSORFLOW
from ckptdoctor.containers.tensors.values import chunks, read_scalar
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Pieces, TensorRef

A, B = array([1.0, 2.0, 3.0]), array([[4, 5], [6, 7]], "int64")


def _values(ref: TensorRef) -> list[Any]:
    return [value for chunk in chunks(ref) for value in chunk.tolist()]


def test_tensors(tmp_path: Path) -> None:
    """Names, types, shapes and places of all tensors are in the index; their bytes are where it says."""
    prefix = write_bundle(tmp_path / "ckpt-7", {"b": B, "a": A, "s": array(7, "int64")}, gap=3)
    bundle = read_bundle(prefix)
    assert [(ref.key, ref.dtype, ref.shape) for ref in bundle.tensors.values()] == [
        ("a", "float32", (3,)),
        ("b", "int64", (2, 2)),
        ("s", "int64", ()),
    ]
    assert _values(bundle.tensors["a"]) == [1.0, 2.0, 3.0]
    assert _values(bundle.tensors["b"]) == [4, 5, 6, 7]
    assert read_scalar(bundle.tensors["s"]) == 7
    assert bundle.num_shards == 1


@pytest.mark.parametrize("dtype", [name for name, size in TENSORFLOW.values() if size])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (2, 3), (1,) * 8])
def test_every_type(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Every type that has a size is known, in every rank."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {"x": zeros(shape, dtype)}))
    ref = bundle.tensors["x"]
    assert (ref.dtype, ref.shape) == (dtype, shape)
    assert isinstance(ref.location, FileRange)
    assert ref.location.nbytes == math.prod(shape) * ITEMSIZE[dtype]


def test_shards(tmp_path: Path) -> None:
    """Each tensor is in the data file that its entry names; one that no tensor needs may be missing."""
    tensors = {name: array([number], shard=number) for number, name in enumerate("abc")}
    prefix = write_bundle(tmp_path / "p", tensors, num_shards=5)
    os.unlink(f"{prefix}.data-00004-of-00005")
    bundle = read_bundle(prefix)
    assert bundle.num_shards == 5
    assert {number: os.path.basename(shard.path) for number, shard in bundle.shards.items()} == {
        number: f"p.data-0000{number}-of-00005" for number in range(3)
    }
    assert [_values(bundle.tensors[name]) for name in "abc"] == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize("dtype", ["float32", "int64", "bfloat16", "complex64", "uint8"])
def test_a_big_endian_machine(tmp_path: Path, dtype: str) -> None:
    """Bytes of a big-endian machine are turned round."""
    tensors = {"x": array([1, 2, 3], dtype), "count": array(7, "int64"), "text": strings(b"one", b"", b"three")}
    bundle = read_bundle(write_bundle(tmp_path / "p", tensors, big_endian=True))
    assert bundle.big_endian
    assert _values(bundle.tensors["x"]) == [1, 2, 3]
    assert read_scalar(bundle.tensors["count"]) == 7
    assert read_strings(bundle.tensors["text"]) == [b"one", b"", b"three"]


@pytest.mark.parametrize(("lengths", "axis"), [((1, 2, 1), 0), ((2, 1), 1), ((4,), 0), ((3,), 1)])
def test_partitioned(tmp_path: Path, lengths: tuple[int, ...], axis: int) -> None:
    """A partitioned variable is one tensor of several pieces, which lie in several data files."""
    whole = array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]])
    tensor = whole._replace(parts=split((4, 3), lengths, axis))
    bundle = read_bundle(write_bundle(tmp_path / "p", {"a": A, "net/kernel": tensor}, num_shards=2))
    assert list(bundle.tensors) == ["a", "net/kernel"]
    ref = bundle.tensors["net/kernel"]
    assert ref.shape == (4, 3)
    assert isinstance(ref.location, Pieces)
    assert [piece.shape[axis] for piece in ref.location.parts] == list(lengths)
    assert sorted(_values(ref)) == list(range(1, 13))


@pytest.mark.parametrize("name", ["a/b//c", "ключ/鍵", "x" * 5000, " ", "a\0b", "\x1b[31m", "line\nbreak"])
def test_names(tmp_path: Path, name: str) -> None:
    """Names are any text."""
    assert list(read_bundle(write_bundle(tmp_path / "p", {name: A})).tensors) == [name]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    """Bytes that are no UTF-8 appear as escapes."""
    prefix = write_bundle(tmp_path / "p", {b"bad\xff".decode("utf-8", "surrogateescape"): A})
    assert list(read_bundle(prefix).tensors) == ["bad\\xff"]


def test_only_the_index_is_read(tmp_path: Path) -> None:
    """The time does not depend on the size of tensors: the data file here is sparse, of 100 GB."""
    prefix = write_bundle(
        tmp_path / "p",
        {"x": zeros((1,))},
        edit=lambda index: _set(index, "x", shape=[25 * 10**9], size=10**11),
    )
    os.truncate(f"{prefix}.data-00000-of-00001", 10**11)
    assert read_bundle(prefix).tensors["x"].size == 25 * 10**9


# --------------------------------------------------------------------------------------------------------- what breaks


def _set(index: Index, name: str, shape: list[int] | None = None, **values: Any) -> None:
    entry = index.entries[name.encode()]
    if shape is not None:
        entry.shape.CopyFrom(pb.TensorShape(dim=[pb.TensorShape.Dim(size=each) for each in shape]))
    for field, value in values.items():
        setattr(entry, field, value)


def _header(**values: Any) -> Callable[[Index], object]:
    def edit(index: Index) -> None:
        for field, value in values.items():
            setattr(index.header, field, value)

    return edit


def _entry(**values: Any) -> Callable[[Index], object]:
    return lambda index: _set(index, "a", **values)


def _version(index: Index) -> None:
    index.header.version.min_consumer = 99


def _unknown_rank(index: Index) -> None:
    index.entries[b"a"].shape.unknown_rank = True


LIES: dict[str, tuple[Callable[[Index], object], str]] = {
    "another shape": (_entry(shape=[1 << 61, 3]), "the entry of 'a' claims 12 bytes at offset 0 for float32"),
    "overflowing shape": (_entry(shape=[1 << 62, 1 << 62]), "the entry of 'a' has an impossible shape"),
    "shape that wraps round to its size": (_entry(shape=[1 << 62, 4, 3]), "an impossible shape"),
    "more strings than have a decimal number": (_entry(dtype=7, shape=[(1 << 63) - 1] * 254), "an impossible shape"),
    "negative dimension": (_entry(shape=[-3]), r"the entry of 'a' has an impossible shape \[-3\]"),
    "two negative dimensions": (_entry(shape=[-3, -1]), "an impossible shape"),
    "rank 255": (_entry(shape=[1] * 255), "an impossible shape"),
    "unknown rank": (_unknown_rank, "an impossible shape"),
    "size against shape": (_entry(size=8), r"claims 8 bytes at offset 0 for float32 of shape \[3\]"),
    "type against size": (_entry(dtype=DTYPES["float64"]), "claims 12 bytes at offset 0 for float64"),
    "negative size": (_entry(size=-12), "claims -12 bytes"),
    "negative size of strings": (_entry(dtype=7, size=-12), "claims -12 bytes"),
    "negative offset": (_entry(offset=-4), "at offset -4"),
    "shard out of range": (_entry(shard_id=3), "lies in data file 3, but there are 1"),
    "one shard too far": (_entry(shard_id=1), "lies in data file 1, but there are 1"),
    "negative shard": (_entry(shard_id=-1), "lies in data file -1"),
    "no shards": (_header(num_shards=0), "its header claims 0 data files"),
    "negative shards": (_header(num_shards=-1), "its header claims -1 data files"),
    "reader too old": (_version, "it needs a reader of bundle version 99"),
    "a slice of nothing": (
        lambda index: index.entries.update({b"\0nonsense": index.entries[b"a"]}),
        "is no tensor slice",
    ),
    "partitioned, and no slices": (
        lambda index: index.entries[b"a"].slices.append(pb.TensorSlice()),
        "'a' is partitioned, but its slices hold 0 of 3 elements",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(tmp_path: Path, lie: str) -> None:
    """An index that contradicts itself is an error that names file and tensor; checksums are right here."""
    edit, message = LIES[lie]
    prefix = write_bundle(tmp_path / "p", {"a": A, "b": B}, edit=edit)
    with pytest.raises(UnreadableArtifact, match=rf"\Ap\.index: .*{message}"):
        read_bundle(prefix)


def test_a_type_of_the_future(tmp_path: Path) -> None:
    """A type that nobody knows yet is named by its number; the other tensors are still read."""
    bundle = read_bundle(write_bundle(tmp_path / "p", {"a": A, "b": B}, edit=_entry(dtype=99)))
    assert bundle.tensors["a"].dtype == "unknown(99)"
    assert read_scalar(bundle.tensors["a"]) is None
    assert _values(bundle.tensors["b"]) == [4, 5, 6, 7]


def test_two_billion_shards(tmp_path: Path) -> None:
    """A count of data files is believed where an entry needs one of them, and costs nothing."""
    prefix = write_bundle(tmp_path / "p", {"a": A}, edit=_header(num_shards=2_000_000_000))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UnreadableArtifact, match=r"p\.data-00000-of-2000000000 is missing: 1 tensor of 1 lost"):
        read_bundle(prefix)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


@pytest.mark.parametrize(
    ("edit", "lost"),
    [
        (_entry(offset=1 << 42), "needs 4,398,046,511,116|tensors need 4,398,046,511,116"),
        (_entry(offset=44), "has 44 bytes, but its tensors need 56"),
        (_entry(dtype=7, size=1 << 42), "tensors need 4,398,046,511,104"),
    ],
    ids=["far past the end", "at the end", "size of strings"],
)
def test_past_the_end(tmp_path: Path, edit: Callable[[Index], object], lost: str) -> None:
    """A tensor that should lie past the end of its data file is named, with both sizes."""
    prefix = write_bundle(tmp_path / "p", {"a": A, "b": B}, edit=edit)
    with pytest.raises(UnreadableArtifact, match=rf"p\.data-00000-of-00001 .*{lost}.*the first is 'a'"):
        read_bundle(prefix)


@pytest.mark.parametrize("length", [0, 1, 12, 43])
def test_truncated_data(tmp_path: Path, length: int) -> None:
    """A data file that was cut is named with what it lost, and only that."""
    prefix = write_bundle(tmp_path / "p", {"a": A, "b": B})
    os.truncate(f"{prefix}.data-00000-of-00001", length)
    lost = "2 tensors of 2 lost, the first is 'a'" if length < 12 else "1 tensor of 2 lost, the first is 'b'"
    size = "1 byte" if length == 1 else f"{length} bytes"
    message = rf"data file p\.data-00000-of-00001 has {size}, but its tensors need 44: {lost}"
    with pytest.raises(UnreadableArtifact, match=message):
        read_bundle(prefix)


@pytest.mark.parametrize("number", range(3))
def test_a_missing_shard(tmp_path: Path, number: int) -> None:
    """A data file that is missing is named with the tensors that it held."""
    tensors = {name: array([1.0], shard=at // 2) for at, name in enumerate("abcdef")}
    prefix = write_bundle(tmp_path / "p", tensors, num_shards=3)
    os.unlink(f"{prefix}.data-0000{number}-of-00003")
    first = "ace"[number]
    message = rf"data file {number + 1} of 3 p\.data-0000{number}-of-00003 is missing: 2 tensors of 6 lost, .*'{first}'"
    with pytest.raises(UnreadableArtifact, match=message):
        read_bundle(prefix)


def test_a_missing_shard_of_a_partitioned_variable(tmp_path: Path) -> None:
    """A variable of which one slice is lost is lost."""
    tensor = zeros((4, 2))._replace(parts=split((4, 2), (2, 2)))
    prefix = write_bundle(tmp_path / "p", {"a": A, "net/kernel": tensor}, num_shards=2)
    os.unlink(f"{prefix}.data-00001-of-00002")
    with pytest.raises(UnreadableArtifact, match="1 tensor of 2 lost, the first is 'net/kernel'"):
        read_bundle(prefix)


@pytest.mark.parametrize("kind", ["directory", "dangling link", "fifo"])
def test_a_data_file_that_is_none(tmp_path: Path, kind: str) -> None:
    """A directory, a FIFO or a dangling link in a data file's place is an error, and nothing waits for it."""
    prefix = write_bundle(tmp_path / "p", {"a": A, "count": array(7, "int64")})
    path = f"{prefix}.data-00000-of-00001"
    os.unlink(path)
    if kind == "directory":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        os.symlink(tmp_path / "gone", path)
    with pytest.raises(UnreadableArtifact, match="data-00000-of-00001"):
        read_scalar(read_bundle(prefix).tensors["count"])


def test_no_permission(tmp_path: Path) -> None:
    """An index that may not be read is an error with the reason."""
    prefix = write_bundle(tmp_path / "p", {"a": A})
    os.chmod(f"{prefix}.index", 0)
    with bound_by_permissions(), pytest.raises(UnreadableArtifact, match="permission denied"):
        read_bundle(prefix)


def test_trailing_bytes_and_overlap(tmp_path: Path) -> None:
    """Bytes that no tensor claims, and bytes that two claim, are as fine as they are to TensorFlow."""
    prefix = write_bundle(tmp_path / "p", {"a": A, "c": A}, edit=lambda index: _set(index, "c", offset=0))
    with open(f"{prefix}.data-00000-of-00001", "ab") as file:
        file.write(b"junk")
    tensors = read_bundle(prefix).tensors
    assert _values(tensors["a"]) == _values(tensors["c"]) == [1.0, 2.0, 3.0]


def test_unsorted_keys(tmp_path: Path) -> None:
    """Keys out of order are an error: TensorFlow's search would not find them."""

    def unsort(index: Index) -> None:
        index.sort = False

    prefix = write_bundle(tmp_path / "p", {"b": B, "a": A}, edit=unsort)
    with pytest.raises(UnreadableArtifact, match=r"p\.index: keys are out of order"):
        read_bundle(prefix)


def test_a_v1_table_under_an_index_name(tmp_path: Path) -> None:
    """A table of another kind is told from a bundle's index."""
    write_v1(tmp_path / "p.index", {"a": A})
    with pytest.raises(UnreadableArtifact, match=r"p\.index: .*(V1 checkpoint|header)"):
        read_bundle(str(tmp_path / "p"))


def test_a_flipped_bit_in_a_scalar(tmp_path: Path) -> None:
    """A value whose checksum does not match is never reported."""
    prefix = write_bundle(tmp_path / "p", {"count": array(7, "int64")})
    path = Path(f"{prefix}.data-00000-of-00001")
    path.write_bytes(b"\x08" + path.read_bytes()[1:])
    with pytest.raises(UnreadableArtifact, match=r"the checksum of 'count' does not match: p\.data-00000-of-00001"):
        read_scalar(read_bundle(prefix).tensors["count"])


# ------------------------------------------------------------------------------------------------------------- strings


@pytest.mark.parametrize(
    "tensor",
    [strings(b"one"), strings(b""), strings(b"", b"x" * 300, b"\xff\0"), strings(shape=(0,)), strings(*[b"y"] * 500)],
)
def test_strings(tmp_path: Path, tensor: Tensor) -> None:
    """String tensors come back, their checksums verified."""
    assert read_strings(read_bundle(write_bundle(tmp_path / "p", {"s": tensor})).tensors["s"]) == list(tensor.strings)


@pytest.mark.parametrize("position", range(12))
def test_bit_flips_in_strings(tmp_path: Path, position: int) -> None:
    """A flipped bit in lengths, checksum or payload is found."""
    prefix = write_bundle(tmp_path / "p", {"s": strings(b"abc", b"defg")})
    path = Path(f"{prefix}.data-00000-of-00001")
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)
    with pytest.raises(UnreadableArtifact, match="the string tensor 's' is corrupt"):
        read_strings(read_bundle(prefix).tensors["s"])


def test_eight_billion_strings(tmp_path: Path) -> None:
    """A string tensor of 2^33 elements in nine bytes is refused before a list is made."""
    prefix = write_bundle(tmp_path / "p", {"a": strings(b"abcd")}, edit=_entry(shape=[1 << 33]))
    ref = read_bundle(prefix).tensors["a"]
    with pytest.raises(UnreadableArtifact, match="claims 8,589,934,592 strings in 9 bytes"):
        read_strings(ref)


def _forged(length: int, payload: bytes) -> bytes:
    return varint(length) + masked_crc32c(length.to_bytes(4, "little")).to_bytes(4, "little") + payload


@pytest.mark.parametrize(
    "data",
    [b"\xff" * 9, _forged(1000, b"abcd"), _forged(3, b"abcd"), _forged(0, b"abcd")],
    ids=["varint", "length past the end", "too short", "empty"],
)
def test_lengths_of_strings(tmp_path: Path, data: bytes) -> None:
    """Lengths that do not add up to the tensor's size are an error, even with a right checksum."""
    prefix = write_bundle(tmp_path / "p", {"a": strings(b"abcd")}, edit=lambda index: _set(index, "a", size=len(data)))
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    with pytest.raises(UnreadableArtifact, match="the string tensor 'a' is corrupt"):
        read_strings(read_bundle(prefix).tensors["a"])


def test_strings_of_numbers(tmp_path: Path) -> None:
    """A tensor of numbers has no strings."""
    with pytest.raises(UnreadableArtifact, match="'a' should be a string tensor, but is float32"):
        read_strings(read_bundle(write_bundle(tmp_path / "p", {"a": A})).tensors["a"])
