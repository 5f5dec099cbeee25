"""Tables that are written are those that TensorFlow writes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.sstable import Table
from ckptdoctor.containers.tables.table_writer import (
    BLOCK_SIZE,
    common_length,
    short_successor,
    shortest_separator,
    write_table,
)
from ckptdoctor.containers.tables.wire import encode_varint, varint

_KEYS = st.binary(max_size=40)


def _read(path: Path) -> list[tuple[bytes, bytes]]:
    with RegularFile(str(path)) as file:
        return list(Table(file).entries())


def _written(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    file = io.BytesIO()
    size = write_table(file, entries)
    assert size == len(file.getvalue())
    return file.getvalue()


def test_museum(museum: Path) -> None:
    """The index of every real checkpoint, of TensorFlow 1.4 to 2.21, is written again byte for byte."""
    seen = 0
    for path in museum.rglob("*.index"):
        try:
            entries = _read(path)
        except Exception:  # noqa: BLE001 - the museum holds broken ones, too
            continue
        assert _written(entries) == path.read_bytes(), path
        seen += 1
    assert seen > 200


@settings(deadline=None)  # it writes files
@given(entries=st.dictionaries(_KEYS, st.binary(max_size=300), max_size=60))
def test_round_trip(entries: dict[bytes, bytes], tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is written is read."""
    path = tmp_path_factory.mktemp("table") / "x.index"
    path.write_bytes(_written(sorted(entries.items())))
    assert _read(path) == sorted(entries.items())


def test_many_blocks(tmp_path: Path) -> None:
    """A block ends with the entry that fills it; every entry is found behind the index."""
    entries = [(f"layer/{number:06d}/kernel".encode(), bytes(60)) for number in range(20_000)]
    path = tmp_path / "x.index"
    path.write_bytes(_written(entries))
    with RegularFile(str(path)) as file:
        table = Table(file)
        assert len(table.handles) > 4
        assert all(BLOCK_SIZE <= each.size < BLOCK_SIZE + 200 for each in table.handles[:-1])
        assert list(table.entries()) == entries


@pytest.mark.parametrize("keys", [(b"b", b"a"), (b"a", b"a")])
def test_out_of_order(keys: tuple[bytes, bytes]) -> None:
    """Keys that do not ascend are a mistake of the caller: TensorFlow's search would miss them."""
    with pytest.raises(ValueError, match="out of order"):
        _written([(key, b"") for key in keys])


@given(one=_KEYS, other=_KEYS)
def test_separators(one: bytes, other: bytes) -> None:
    """An index key is not before its block's last key, and before the next block's first."""
    low, high = sorted((one, other))
    if low != high:
        assert low <= shortest_separator(low, high) < high
    assert short_successor(one) >= one
    assert common_length(one, other) == next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


@given(value=st.integers(0, 2**64 - 1))
def test_varint(value: int) -> None:
    """Varints are those that the reader reads."""
    assert varint(encode_varint(value), 0) == (value, len(encode_varint(value)))
