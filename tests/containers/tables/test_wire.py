"""Varints and the walk over protocol-buffer fields."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import varint as encode

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables import wire
from ckptdoctor.containers.tables.wire import CorruptBytes, fields, varint
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact


@given(st.integers(0, 2**64 - 1), st.binary(max_size=5), st.binary(max_size=5))
def test_varint_round_trip(value: int, before: bytes, after: bytes) -> None:
    """A varint is read from where it stands, and the position after it is answered."""
    data = encode(value)
    assert varint(before + data + after, len(before)) == (value, len(before) + len(data))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x80", b"\xff\xff\xff", b"\x80" * 10 + b"\x01", b"\xff" * 100],
    ids=["empty", "one byte short", "cut", "eleven bytes", "endless"],
)
def test_no_varint(data: bytes) -> None:
    """A varint that does not end within the data, or within ten bytes, is none."""
    with pytest.raises(CorruptBytes, match="no varint at byte 0"):
        varint(data, 0)


def _fields(path: Path, data: bytes, end: int | None = None) -> list[tuple[int, int, int, int]]:
    path.write_bytes(data)
    with RegularFile(str(path)) as file:
        return list(fields(file, 0, len(data) if end is None else end))


def test_fields_of_every_wire_type(tmp_path: Path) -> None:
    """Each field is told by number, wire type, place and size; its contents are skipped."""
    message = b"\x08\x96\x01" + b"\x11" + b"\0" * 8 + b"\x1a\x03abc" + b"\x25" + b"\0" * 4 + b"\xa2\x06\x00"
    assert _fields(tmp_path / "m", message) == [
        (1, 0, 1, 2),
        (2, 1, 4, 8),
        (3, 2, 14, 3),
        (4, 5, 18, 4),
        (100, 2, 25, 0),
    ]


def test_a_long_field_is_not_read(tmp_path: Path) -> None:
    """What a field holds costs nothing: a message with a hole of 8 GiB is walked at once."""
    path = tmp_path / "m"
    hole = 8 << 30
    with path.open("wb") as file:
        file.write(b"\x0a" + encode(hole))
        file.seek(hole, 1)
        file.write(b"\x10\x07")
    with RegularFile(str(path)) as opened:
        assert [(number, size) for number, _, _, size in fields(opened, 0, opened.size)] == [(1, hole), (2, 1)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x0a\x05abc", "the field at byte 0 claims 5 bytes, 3 are left"),
        (b"\x08\x01\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7fx", "the field at byte 2 claims 9,223,372,036,854,775,807"),
        (b"\x0b", "byte 0 is no protocol buffer field .wire type 3"),
        (b"\x0f\0", "byte 0 is no protocol buffer field .wire type 7"),
        (b"\x02\x00", "the field at byte 0 claims"),
        (b"\x80" * 30, "byte 0 is no protocol buffer field"),
        (b"\x08\x80", "byte 0 is no protocol buffer field"),
        (b"\x09abc", "claims 8 bytes, 3 are left"),
    ],
    ids=["past the end", "8 EiB", "group", "no type", "field 0", "endless tag", "endless value", "short fixed64"],
)
def test_broken_fields(tmp_path: Path, data: bytes, message: str) -> None:
    """A field that cannot be ends the walk, with the byte where it stands."""
    with pytest.raises(UnreadableArtifact, match=message):
        _fields(tmp_path / "m", data)


def test_fields_stay_within_their_message(tmp_path: Path) -> None:
    """A nested message's field may not reach into what follows the message."""
    with pytest.raises(UnreadableArtifact, match="claims 4 bytes, 2 are left"):
        _fields(tmp_path / "m", b"\x0a\x04abcd", end=4)


def test_a_message_of_millions_of_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk asks the file for every field: there is a limit to how often."""
    monkeypatch.setattr(wire, "MAX_FIELDS", 1000)
    assert len(_fields(tmp_path / "f", b"\x08\x00" * 1000)) == 1000
    with pytest.raises(LimitExceeded, match="a message of more than 1,000 fields"):
        _fields(tmp_path / "f", b"\x08\x00" * 1001)
