"""Index entries decoded by hand mean what the protocol buffer library says, whatever form they have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import DTYPES, Index, Tensor, array, varint, write_bundle, zeros

from ckptdoctor.containers.bundles import reading as tensor_bundle
from ckptdoctor.containers.bundles.entries import Heads
from ckptdoctor.containers.bundles.reading import read_bundle
from ckptdoctor.containers.protos import checkpoint_pb2 as pb
from ckptdoctor.containers.tables.wire import CorruptBytes
from ckptdoctor.containers.tensors.dtypes import ITEMSIZE
from ckptdoctor.errors import UnreadableArtifact
from ckptdoctor.references import TensorRef


class _Nothing(Heads):
    """A decoder that finds everything unusual, so that all is left to the library."""

    def __missing__(self, raw: bytes) -> Any:
        raise CorruptBytes("on purpose")


def _both(prefix: str, monkeypatch: pytest.MonkeyPatch) -> tuple[object, object]:
    """What reading answers or raises: by hand, and by the library alone."""

    def outcome() -> Mapping[str, TensorRef] | str:
        try:
            return {name: ref.at(ref.location) for name, ref in read_bundle(prefix).tensors.items()}
        except UnreadableArtifact as error:
            return str(error)

    by_hand = outcome()
    with monkeypatch.context() as patch:
        patch.setattr(tensor_bundle, "Heads", _Nothing)
        return by_hand, outcome()


ENTRIES: st.SearchStrategy[dict[str, Any]] = st.builds(
    dict,
    dtype=st.sampled_from([*DTYPES.values(), 99]),
    shape=st.lists(st.one_of(st.integers(0, 300), st.integers(-2, 1 << 40)), max_size=4),
    shard_id=st.sampled_from([0, 0, 1, 2, 130, -1]),
    offset=st.one_of(st.integers(0, 40), st.integers(-5, 1 << 62)),
    crc32c=st.integers(0, (1 << 32) - 1),
    wrong_size=st.sampled_from([0, 0, 0, 1, -4]),
)


@given(entries=st.lists(ENTRIES, min_size=1, max_size=5))
def test_any_entry(tmp_path_factory: pytest.TempPathFactory, entries: list[dict[str, Any]]) -> None:
    """Any type, shape, place and checksum: both ways answer the same references, or the same error."""
    tensors = {f"t{number}": zeros(()) for number in range(len(entries))}

    def edit(index: Index) -> None:
        index.header.num_shards = 3
        for number, wanted in enumerate(entries):
            entry = index.entries[f"t{number}".encode()]
            entry.CopyFrom(_message(**wanted))

    folder = tmp_path_factory.mktemp("any")
    prefix = write_bundle(folder / "p", tensors, edit=edit)
    for number in range(3):
        with open(f"{prefix}.data-{number:05d}-of-00003", "wb") as file:
            file.truncate(1 << 43)
    with pytest.MonkeyPatch.context() as monkeypatch:
        by_hand, by_library = _both(prefix, monkeypatch)
    assert by_hand == by_library


def _message(*, shape: list[int], dtype: int, wrong_size: int, **values: Any) -> pb.BundleEntry:
    size = next((size for name, size in ITEMSIZE.items() if DTYPES.get(name) == dtype), 0)
    for extent in shape:
        size = size * abs(extent) & ((1 << 60) - 1)
    dims = [pb.TensorShape.Dim(size=extent) for extent in shape]
    return pb.BundleEntry(dtype=dtype, shape=pb.TensorShape(dim=dims), size=size + wrong_size, **values)


_DTYPE, _SHAPE, _CRC = b"\x08\x01", b"\x12\x04\x12\x02\x08\x03", b"\x35\1\2\3\4"

FORMS = {
    "as written": _DTYPE + _SHAPE + b"\x28\x0c" + _CRC,
    "at an offset": _DTYPE + _SHAPE + b"\x20" + varint(4) + b"\x28\x0c" + _CRC,
    "an offset of two bytes": _DTYPE + _SHAPE + b"\x20" + varint(128) + b"\x28\x0c" + _CRC,
    "an offset of four bytes": _DTYPE + _SHAPE + b"\x20" + varint(1 << 27) + b"\x28\x0c" + _CRC,
    "an offset of nine bytes": _DTYPE + _SHAPE + b"\x20" + varint(1 << 62) + b"\x28\x0c" + _CRC,
    "a padded offset": _DTYPE + _SHAPE + b"\x20\x84\x00\x28\x0c" + _CRC,
    "a padded size": _DTYPE + _SHAPE + b"\x28\x8c\x00" + _CRC,
    "a padded extent": _DTYPE + b"\x12\x05\x12\x03\x08\x83\x00\x28\x0c" + _CRC,
    "in another order": _SHAPE + _DTYPE + _CRC + b"\x28\x0c",
    "size first": _DTYPE + _SHAPE + b"\x28\x0c\x20\x04" + _CRC,
    "two offsets": _DTYPE + _SHAPE + b"\x20\x08\x20\x04\x28\x0c" + _CRC,
    "an unknown field": _DTYPE + _SHAPE + b"\x28\x0c" + _CRC + b"\xa0\x06\x01",
    "a slice": _DTYPE + _SHAPE + b"\x28\x0c" + _CRC + b"\x3a\x00",
    "a slice before": _DTYPE + _SHAPE + b"\x3a\x00\x28\x0c" + _CRC,
    "a dimension with a name": _DTYPE + b"\x12\x07\x12\x05\x08\x03\x12\x01n\x28\x0c" + _CRC,
    "an empty dimension": _DTYPE + b"\x12\x02\x12\x00" + _CRC,
    "unknown rank": _DTYPE + b"\x12\x02\x18\x01\x28\x0c" + _CRC,
    "two shapes": _DTYPE + _SHAPE + _SHAPE + b"\x28\x24" + _CRC,
    "no shape": _DTYPE + b"\x28\x04" + _CRC,
    "no type": _SHAPE + b"\x28\x0c" + _CRC,
    "shard 0 in full": _DTYPE + _SHAPE + b"\x18\x00\x28\x0c" + _CRC,
    "another shard": _DTYPE + _SHAPE + b"\x18\x01\x20\x04\x28\x0c" + _CRC,
    "a padded shard": _DTYPE + _SHAPE + b"\x18\x81\x00\x28\x0c" + _CRC,
    "no checksum": _DTYPE + _SHAPE + b"\x28\x0c",
    "cut in the checksum": _DTYPE + _SHAPE + b"\x28\x0c\x35\1\2",
    "cut in the shape": _DTYPE + b"\x12\x7f\x12\x02",
    "nothing": b"",
    "garbage": b"\xff" * 40,
}


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every form that a message may take, also those that TensorFlow never writes, means the same both ways."""

    class Raw:
        def SerializeToString(self, **_: object) -> bytes:  # noqa: N802 - protobuf's name
            return FORMS[form]

    def edit(index: Index) -> None:
        index.entries[b"a"] = Raw()  # type: ignore[assignment]
        index.header.num_shards = 2

    prefix = write_bundle(tmp_path / "p", {"a": array([1.0, 2.0, 3.0]), "b": array(7, "int64")}, edit=edit)
    for number in range(2):
        with open(f"{prefix}.data-{number:05d}-of-00002", "wb") as file:
            file.truncate(1 << 40)
    by_hand, by_library = _both(prefix, monkeypatch)
    assert by_hand == by_library


@given(
    form=st.sampled_from(["at an offset", "an offset of two bytes", "as written", "another shard", "shard 0 in full"]),
    offsets=st.lists(st.integers(128, 16_383), min_size=2, max_size=5),
    at=st.integers(0, 21),
    byte=st.integers(0, 255),
    num_shards=st.integers(1, 2),
)
def test_one_among_many_alike(
    tmp_path_factory: pytest.TempPathFactory, form: str, offsets: list[int], at: int, byte: int, num_shards: int
) -> None:
    """Entries that begin alike are looked at together; one of them that differs in any byte is still seen."""

    class Raw:
        def __init__(self, data: bytes) -> None:
            self._data = data

        def SerializeToString(self, **_: object) -> bytes:  # noqa: N802 - protobuf's name
            return self._data

    raws = [FORMS[form].replace(varint(128), varint(offset)) for offset in offsets]
    changed = bytearray(raws[-1])
    changed[at % len(changed)] = byte
    raws[-1] = bytes(changed)

    def edit(index: Index) -> None:
        index.header.num_shards = num_shards
        index.entries.update({f"t{number}".encode(): Raw(raw) for number, raw in enumerate(raws)})  # type: ignore[misc]

    prefix = write_bundle(tmp_path_factory.mktemp("alike") / "p", {"t0": array([1.0, 2.0, 3.0])}, edit=edit)
    for number in range(num_shards):
        with open(f"{prefix}.data-{number:05d}-of-{num_shards:05d}", "wb") as file:
            file.truncate(1 << 40)
    with pytest.MonkeyPatch.context() as monkeypatch:
        by_hand, by_library = _both(prefix, monkeypatch)
    assert by_hand == by_library


def test_usual_entries_do_not_need_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What TensorFlow writes for tensors of numbers is decoded by hand: otherwise these tests would prove nothing."""
    tensors: dict[str, Tensor] = {f"t{number}": zeros((2, number)) for number in range(300)}
    prefix = write_bundle(
        tmp_path / "p", {**tensors, "scalar": array(7, "int64"), "second": array([1.0], shard=1)}, num_shards=2
    )
    monkeypatch.setattr(tensor_bundle._Reader, "_unusual", None)
    assert len(read_bundle(prefix).tensors) == 302
