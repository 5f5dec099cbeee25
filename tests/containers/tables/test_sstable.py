"""Sorted tables: every layout of their blocks is read, every lie in them is an error with its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bundles import block, footer, raw_table, sealed, snappy, table, varint

from ckptdoctor.containers.bytes.files import RegularFile
from ckptdoctor.containers.tables.sstable import FOOTER, Table, is_table
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

Entries = list[tuple[bytes, bytes]]

ENTRIES: Entries = [
    (f"layer/{number:04d}/kernel".encode(), b"v" * (number % 7) + b"%d" % number) for number in range(200)
]


def _entries(path: Path, data: bytes) -> Entries:
    path.write_bytes(data)
    with RegularFile(str(path)) as file:
        return list(Table(file).entries())


@pytest.mark.parametrize("block_size", [1, 32, 500, 262_144])
@pytest.mark.parametrize("restart_interval", [1, 2, 16, 1000])
@pytest.mark.parametrize("compressed", [False, True])
def test_layouts(tmp_path: Path, block_size: int, restart_interval: int, *, compressed: bool) -> None:
    """Blocks of any size, with restart points at any distance, plain or compressed, hold the same entries."""
    data = table(ENTRIES, block_size=block_size, restart_interval=restart_interval, compressed=compressed)
    assert _entries(tmp_path / "t.index", data) == ENTRIES


@given(entries=st.dictionaries(st.binary(max_size=300), st.binary(max_size=300), max_size=30), size=st.integers(1, 900))
def test_any_entries(tmp_path_factory: pytest.TempPathFactory, entries: dict[bytes, bytes], size: int) -> None:
    """Keys and values of any bytes and lengths, the empty ones too, come back."""
    path = tmp_path_factory.mktemp("any") / "t"
    wanted = sorted(entries.items())
    assert _entries(path, table(wanted, block_size=size)) == wanted


def test_an_empty_table(tmp_path: Path) -> None:
    """A table without blocks has no entries."""
    assert _entries(tmp_path / "t.index", table([])) == []


def test_spans_are_where_the_values_are(tmp_path: Path) -> None:
    """Spans say where a value lies in the file without reading it."""
    path = tmp_path / "t"
    data = table(ENTRIES, block_size=300)
    path.write_bytes(data)
    with RegularFile(str(path)) as file:
        spans = list(Table(file).spans())
    assert [(key, data[at : at + size]) for key, at, size in spans] == ENTRIES


def test_the_footer_tells_a_table() -> None:
    """A table is told by its last eight bytes, of at least a footer."""
    data = table(ENTRIES)
    assert is_table(data[-FOOTER:])
    assert not is_table(data[-FOOTER + 1 :])
    assert not is_table(data[-FOOTER - 1 : -1])


DATA = table(ENTRIES, block_size=500)


@pytest.mark.parametrize("length", [0, 1, FOOTER - 1, FOOTER, len(DATA) // 2, len(DATA) - 1])
def test_truncated(tmp_path: Path, length: int) -> None:
    """An index that was cut anywhere is said to be empty or truncated, by its name."""
    with pytest.raises(UnreadableArtifact, match=r"\At\.index: .*(it is empty|truncated)"):
        _entries(tmp_path / "t.index", DATA[:length])


@pytest.mark.parametrize("position", range(0, len(DATA) - FOOTER - 13, 97))
def test_bit_flips(tmp_path: Path, position: int) -> None:
    """A flipped bit in any block is found by the block's checksum, before anything is believed."""
    flipped = bytearray(DATA)
    flipped[position] ^= 0x10
    with pytest.raises(UnreadableArtifact, match=r"\At\.index: .*block at byte [\d,]+.*corrupt"):
        _entries(tmp_path / "t.index", bytes(flipped))


@pytest.mark.parametrize("position", range(len(DATA) - FOOTER, len(DATA)))
def test_bit_flips_in_the_footer(tmp_path: Path, position: int) -> None:
    """A flipped bit in the footer gives an error that names the file, or is in its padding and harmless."""
    flipped = bytearray(DATA)
    flipped[position] ^= 0x10
    try:
        assert _entries(tmp_path / "t.index", bytes(flipped)) == ENTRIES
    except UnreadableArtifact as error:
        assert "t.index" in str(error)  # noqa: PT017 - either outcome is right, anything else is not


def _of(body: bytes) -> bytes:
    """A table of one block with this body, whose checksum is right."""
    return raw_table([(b"z", body)])


def _entry(shared: bytes, unshared: bytes, size: bytes, rest: bytes = b"") -> bytes:
    return shared + unshared + size + rest


RESTARTS = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")

LIES: dict[str, tuple[bytes, str]] = {
    "varint of eleven bytes": (_of(_entry(b"\0", b"\xff" * 10 + b"\1", b"\1") + RESTARTS), "no varint"),
    "more shared than the previous key": (_of(_entry(b"\5", b"\1", b"\1", b"kv") + RESTARTS), "an entry runs over"),
    "key past the block": (_of(_entry(b"\0", b"\x7f", b"\0", b"k") + RESTARTS), "an entry runs over"),
    "value past the block": (_of(_entry(b"\0", b"\1", varint(1 << 40), b"kv") + RESTARTS), "an entry runs over"),
    "cut in the lengths": (_of(b"\0\x81" + (0).to_bytes(4, "little")), "is corrupt"),
    "restart count": (_of(b"\0\1\1kv" + b"\xff" * 4), "more restart points than it has bytes"),
    "no room for a restart count": (_of(b"\0"), "is too short"),
    "unknown compression": (raw_table([(b"z", block(ENTRIES[:3]))], kind=7), "unknown compression type 7"),
    "snappy of 4 GiB": (raw_table([(b"z", varint(1 << 32) + b"\0a")], kind=1), "claims 4,294,967,296 bytes"),
    "snappy cut": (raw_table([(b"z", snappy(block(ENTRIES[:3]))[:-4])], kind=1), "runs past the block"),
    "unsorted": (table([(b"b", b"1"), (b"a", b"2")]), "keys are out of order"),
    "twice the same": (table([(b"a", b"1"), (b"a", b"2")]), "keys are out of order"),
    "blocks out of order": (raw_table([(b"b", block([(b"b", b"")])), (b"a", block([(b"a", b"")]))]), "out of order"),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies(tmp_path: Path, lie: str) -> None:
    """A table whose checksums are right and whose contents are not is an error that names file and block."""
    data, message = LIES[lie]
    with pytest.raises(UnreadableArtifact, match=rf"\At\.index: .*{message}") as raised:
        _entries(tmp_path / "t.index", data)
    assert "byte" in str(raised.value)


def _index_of(value: bytes) -> bytes:
    body = block([(b"z", value)], 1)
    return sealed(block(ENTRIES[:2])) + sealed(body) + footer((len(block(ENTRIES[:2])) + 5, len(body)))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_index_of(varint(1 << 33) + varint(10)), "a block of 10 bytes should lie at byte 8,589,934,592"),
        (_index_of(varint(0) + varint(1 << 62)), "a block of 4,611,686,018,427,387,904 bytes"),
        (_index_of(b"\xff" * 11), "the index block at byte .* is corrupt"),
        (_index_of(b""), "the index block at byte .* is corrupt"),
        (sealed(block(())) + footer((1 << 40, 10)), "a table block should be 15 bytes at offset 1,099,511,627,776"),
        (sealed(block(())) + b"\xff" * 40 + footer((0, 0))[-8:], "its footer is corrupt"),
    ],
    ids=["offset", "size", "no handle", "empty handle", "footer's offset", "footer"],
)
def test_handles(tmp_path: Path, data: bytes, message: str) -> None:
    """A block that should lie outside of the file is named with its place, and nothing is allocated for it."""
    with pytest.raises(UnreadableArtifact, match=rf"t\.index: {message}"):
        _entries(tmp_path / "t.index", data)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\0\x7f\0k" + RESTARTS, "runs past its block"),
        (b"\5\1\1kv" + RESTARTS, "runs past its block"),
        (b"\0" + b"\xff" * 11 + RESTARTS, "is corrupt"),
        (b"\0\1\1kv" + b"\xff" * 4, "more restart points"),
    ],
)
def test_spans_of_lies(tmp_path: Path, body: bytes, message: str) -> None:
    """Blocks that are walked without their checksum are believed no more."""
    path = tmp_path / "t"
    path.write_bytes(_of(body))
    with RegularFile(str(path)) as file, pytest.raises(UnreadableArtifact, match=message):
        list(Table(file).spans())


def test_compressed_blocks_have_no_spans(tmp_path: Path) -> None:
    """A value in a compressed block lies nowhere in the file."""
    path = tmp_path / "t"
    path.write_bytes(table(ENTRIES, compressed=True))
    with RegularFile(str(path)) as file, pytest.raises(UnreadableArtifact, match="is compressed"):
        list(Table(file).spans())


def _overwrite(data: bytes, at: int, piece: bytes) -> bytes:
    return data[:at] + piece + data[at + len(piece) :]


@given(st.integers(0, len(DATA) - 1), st.binary(min_size=1, max_size=8))
def test_any_damage(tmp_path_factory: pytest.TempPathFactory, at: int, piece: bytes) -> None:
    """Whatever is overwritten, the answer is what was written or an error, never something else."""
    path = tmp_path_factory.mktemp("damage") / "t"
    with contextlib.suppress(UnreadableArtifact):
        assert _entries(path, _overwrite(DATA, at, piece)[: len(DATA)]) == ENTRIES


@pytest.mark.parametrize("make", [lambda: b"\xff" * 4096, lambda: b"<html>" * 100, lambda: bytes(4096)])
def test_what_is_no_table(tmp_path: Path, make: Callable[[], bytes]) -> None:
    """A file that does not end as a table does is said to be none."""
    with pytest.raises(UnreadableArtifact, match="does not end in a table's magic number"):
        _entries(tmp_path / "t.index", make())


def test_blocks_are_in_use() -> None:
    """The table of these tests has many blocks: otherwise they would prove less."""
    keys = [key for key, _ in ENTRIES]
    assert all(one < other for one, other in pairwise(keys))
    assert DATA.count(b"kernel") > 100


def _sharing(key: int, entries: int) -> bytes:
    """A block whose first key is long, and whose others repeat it and are a byte longer each."""
    first = varint(0) + varint(key) + varint(0) + b"k" * key
    return (
        first
        + b"".join(varint(key + number) + varint(1) + varint(0) + b"k" for number in range(entries))
        + (b"\0\0\0\0\1\0\0\0")
    )


@pytest.mark.parametrize("walk", ["entries", "spans"])
def test_keys_that_unfold_to_gigabytes(tmp_path: Path, walk: str) -> None:
    """Each entry may repeat the key before it: what a megabyte unfolds to is bounded."""
    path = tmp_path / "t"
    path.write_bytes(raw_table([(b"k" * 200_000, _sharing(100_000, 100_000))]))
    with RegularFile(str(path)) as file, pytest.raises(LimitExceeded, match="t: its keys unfold to more than 32 times"):
        for _ in getattr(Table(file), walk)():
            pass


def test_long_names_are_no_attack(tmp_path: Path) -> None:
    """Thousands of names of a thousand letters each are read."""
    names = [(b"scope/" * 160 + b"%08d" % number, b"value" * 8) for number in range(5_000)]
    assert _entries(tmp_path / "t", table(names)) == names


def test_blocks_that_overlap(tmp_path: Path) -> None:
    """An index that names one block again and again would have it read as often."""
    body = block([(b"a", b"1"), (b"b", b"2")])
    index = block([(b"%05d" % number, varint(0) + varint(len(body))) for number in range(1000)], 1)
    data = sealed(body) + sealed(index)
    path = tmp_path / "t"
    path.write_bytes(data + footer((len(body) + 5, len(index))))
    with RegularFile(str(path)) as file, pytest.raises(UnreadableArtifact, match=r"t: the blocks at byte 0 .* overlap"):
        Table(file)
