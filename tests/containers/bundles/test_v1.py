"""V1 checkpoints: one table of slices, with the values inside it."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bundles import DTYPES, Tensor, array, split, table, varint, write_v1, zeros

from ckptdoctor.containers.bundles.v1 import read_v1, shards
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables.ordered_code import encode_slice_key
from ckptdoctor.containers.tensors.values import chunks, read_scalar
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import FileRange, Inline, Pieces, TensorRef

Entries = list[tuple[bytes, bytes]]


def _values(ref: TensorRef) -> list[Any]:
    return [value for chunk in chunks(ref) for value in chunk.tolist()]


@pytest.mark.parametrize(
    "dtype",
    ["float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
     "uint64", "complex64", "complex128", "bool"],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(), (2, 3), (0,)])
def test_types(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    """Values come back from the field of their type, whatever its coding."""
    count = 1 if shape == () else 0 if 0 in shape else 6
    wanted = [number % 2 for number in range(1, count + 1)] if dtype == "bool" else list(range(1, count + 1))
    tensor = array([wanted[0]] if shape == () else wanted, dtype)._replace(shape=shape)
    ref = read_v1(write_v1(tmp_path / "model.ckpt-7", {"x": tensor})).tensors["x"]
    assert (ref.dtype, ref.shape) == (dtype, shape)
    assert _values(ref) == wanted
    if shape == () and not dtype.startswith("complex"):
        assert read_scalar(ref) == 1


@pytest.mark.parametrize("value", [-1, -128, 127])
def test_negative_numbers(tmp_path: Path, value: int) -> None:
    """Varints of negative numbers are cut to their type."""
    ref = read_v1(write_v1(tmp_path / "v1", {"x": array(value, "int8")})).tensors["x"]
    assert read_scalar(ref) == value


def test_floats_stay_in_the_file(tmp_path: Path) -> None:
    """Packed floats are the tensor's bytes: large ones are not copied."""
    ref = read_v1(write_v1(tmp_path / "v1", {"x": zeros((1000,)), "n": array([1, 2])})).tensors["x"]
    assert isinstance(ref.location, FileRange)
    assert ref.location.nbytes == 4000


def test_strings_are_named(tmp_path: Path) -> None:
    """A string tensor is known by name and shape."""
    ref = read_v1(write_v1(tmp_path / "v1", {"x": Tensor("string", (), b"", (b"abc",))})).tensors["x"]
    assert (ref.dtype, ref.location) == ("string", Inline(b""))


@pytest.mark.parametrize("block_size", [1, 262_144])
def test_partitioned(tmp_path: Path, block_size: int) -> None:
    """The slices of a partitioned variable are one tensor."""
    tensor = array([[1, 2], [3, 4], [5, 6]])._replace(parts=split((3, 2), (1, 2)))
    ref = read_v1(write_v1(tmp_path / "v1", {"a": array(1.0), "v": tensor}, block_size=block_size)).tensors["v"]
    assert isinstance(ref.location, Pieces)
    assert ref.shape == (3, 2)
    assert _values(ref) == [1, 2, 3, 4, 5, 6]


def test_several_files(tmp_path: Path) -> None:
    """Any file of a sharded checkpoint stands for all of them."""
    paths = [
        write_v1(tmp_path / f"model.ckpt-7-0000{number}-of-00003", {f"v{number}": array(float(number))})
        for number in range(3)
    ]
    for path in paths:
        read = read_v1(path)
        assert read.prefix == str(tmp_path / "model.ckpt-7")
        assert read.files == tuple(paths)
        assert {name: read_scalar(ref) for name, ref in read.tensors.items()} == {"v0": 0.0, "v1": 1.0, "v2": 2.0}


@pytest.mark.parametrize("lost", range(3))
def test_a_missing_file(tmp_path: Path, lost: int) -> None:
    """A file of a sharded checkpoint that is missing is named."""
    paths = [write_v1(tmp_path / f"m-0000{number}-of-00003", {f"v{number}": array(1.0)}) for number in range(3)]
    os.unlink(paths[lost])
    with pytest.raises(
        UnreadableArtifact, match=f"2 of 3 files are here, the first that is missing is m-0000{lost}-of"
    ):
        shards(paths[(lost + 1) % 3])


def test_names_like_patterns(tmp_path: Path) -> None:
    """A prefix with `*` and `[` in it is a name, not a pattern."""
    folder = tmp_path / "[a]*"
    folder.mkdir()
    path = write_v1(folder / "m-00000-of-00001", {"v": array(1.0)})
    assert shards(path) == (str(folder / "m"), (path,))


@pytest.mark.parametrize("length", [0, 10, 100])
def test_truncated(tmp_path: Path, length: int) -> None:
    """A file that was cut is an error that names it."""
    path = write_v1(tmp_path / "model.ckpt-7", {"x": zeros((100,))})
    os.truncate(path, length)
    with pytest.raises(UnreadableArtifact, match=r"model\.ckpt-7: .*(empty|truncated)"):
        read_v1(path)


# -------------------------------------------------------------------------------------------------------------- lies


def _meta(change: Callable[[pb.SavedTensorSliceMeta], object]) -> Callable[[Entries], object]:
    def edit(entries: Entries) -> None:
        slices = pb.SavedTensorSlices.FromString(entries[0][1])
        change(slices.meta)
        entries[0] = (b"", slices.SerializeToString())

    return edit


def _value(value: bytes) -> Callable[[Entries], object]:
    def edit(entries: Entries) -> None:
        entries[1] = (entries[1][0], value)

    return edit


def _key(key: bytes) -> Callable[[Entries], object]:
    def edit(entries: Entries) -> None:
        entries[1] = (key, entries[1][1])

    return edit


def _shape(*extents: int) -> Callable[[Entries], object]:
    dims = [pb.TensorShape.Dim(size=each) for each in extents]
    return _meta(lambda meta: meta.tensor[0].shape.CopyFrom(pb.TensorShape(dim=dims)))


def _dtype(name: str) -> Callable[[Entries], object]:
    return _meta(lambda meta: setattr(meta.tensor[0], "type", DTYPES[name]))


def _data(proto: pb.TensorProto) -> bytes:
    return pb.SavedTensorSlices(data=pb.SavedSlice(name=b"x", data=proto)).SerializeToString()


LIES: dict[str, tuple[Callable[[Entries], object], str]] = {
    "negative dimension": (_shape(-1), "'x' has an impossible shape"),
    "rank 255": (_shape(*[1] * 255), "'x' has an impossible shape"),
    "another rank": (_shape(3, 1), "a slice has 1 dimensions instead of 2"),
    "more elements": (_shape(1 << 40), "bytes"),
    "overflow": (_shape(1 << 62), "bytes"),
    "another type": (_dtype("int64"), "bytes"),
    "not in the metadata": (_meta(lambda meta: meta.tensor.pop()), "'x' is not in the checkpoint's metadata"),
    "metadata of garbage": (lambda entries: entries.__setitem__(0, (b"", b"\x0a\xff")), "the entry at byte"),
    "no slice key": (_key(b"\x07nonsense"), "is corrupt"),
    "value of garbage": (_value(b"\xff" * 30), "no protocol buffer field"),
    "value without data": (_value(b""), "a slice without data"),
    "field past the end": (_value(b"\x12" + varint(1 << 40)), "claims 1,099,511,627,776 bytes"),
    "no values": (_value(_data(pb.TensorProto())), "a tensor of 12 bytes has 0"),
    "too many values": (_value(_data(pb.TensorProto(float_val=[1.0] * 4))), "a tensor of 12 bytes has 16"),
    "deep nesting": (_value(b"\x12\x7f" * 40), "claims"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(tmp_path: Path, lie: str) -> None:
    """A table that contradicts itself is an error with its place, and nothing large is allocated."""
    edit, message = LIES[lie]
    path = write_v1(tmp_path / "model.ckpt-7", {"x": array([1.0, 2.0, 3.0])}, edit=edit)
    with pytest.raises(UnreadableArtifact, match=message) as raised:
        read_v1(path)
    assert raised.value.path == path


def test_metadata_without_a_value(tmp_path: Path) -> None:
    """A tensor that the metadata names and the table lacks is an error."""
    path = write_v1(tmp_path / "v1", {"x": array([1.0, 2.0])}, edit=lambda entries: entries.pop())
    with pytest.raises(UnreadableArtifact, match="the tensor 'x': its slices hold 0 of 2 elements"):
        read_v1(path)


def test_any_other_table(tmp_path: Path) -> None:
    """A table of other things is none of TensorFlow's."""
    path = tmp_path / "leveldb"
    path.write_bytes(table([(b"key", b"value")]))
    with pytest.raises(UnreadableArtifact, match="is corrupt"):
        read_v1(str(path))


def test_whole_slices_of_rank_two(tmp_path: Path) -> None:
    """A slice that covers every dimension is the tensor itself, not a part of it."""
    path = write_v1(tmp_path / "v1", {"x": array([[1, 2], [3, 4]], parts=(((0, -1), (0, -1)),))})
    ref = read_v1(path).tensors["x"]
    assert isinstance(ref.location, FileRange)
    assert encode_slice_key(b"x", ((0, -1), (0, -1))) in Path(path).read_bytes()


def test_real_ones(museum: Path, museum_truth: list[dict[str, Any]]) -> None:
    """V1 checkpoints by TensorFlow 1.4 to 2.21 hold every slot, with the values that the framework held."""
    records = [record for record in museum_truth if record["format"] == "tf-checkpoint-v1"]
    assert len(records) >= 10
    for record in records:
        path = museum / record["path"]
        found = sorted(path.parent.glob(f"{path.name}*-of-*")) or [path]
        tensors = read_v1(str(found[0])).tensors
        sums = [(list(ref.shape), math.fsum(map(float, _values(ref)))) for ref in tensors.values()]
        for slot in record["optimizers"][0]["slots"]:
            same = [total for shape, total in sums if shape == slot["shape"]]
            assert any(math.isclose(slot["sum"], total, rel_tol=1e-4, abs_tol=1e-6) for total in same), record["case"]


def test_a_slice_of_more_elements_than_have_a_decimal_number(tmp_path: Path) -> None:
    """Extents are claims: their product, of thousands of digits, is refused in a sentence."""
    shape, extents = (7,) * 254, ((0, 1 << 62),) * 254

    def edit(entries: Entries) -> None:
        meta = pb.SavedTensorSlices.FromString(entries[0][1])
        del meta.meta.tensor[0].shape.dim[:]
        meta.meta.tensor[0].shape.dim.extend(pb.TensorShape.Dim(size=1) for _ in shape)
        entries[0] = (b"", meta.SerializeToString())
        entries[1] = (encode_slice_key(b"x", extents), entries[1][1])

    path = write_v1(tmp_path / "model.ckpt-7", {"x": array([1.0])}, edit=edit)
    with pytest.raises(UnreadableArtifact, match="a slice of an impossible size"):
        read_v1(path)
