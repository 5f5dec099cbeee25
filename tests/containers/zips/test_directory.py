"""The directory of a zip archive, against Python's own reading of it."""

from __future__ import annotations

import io
import struct
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptdoctor.containers.zips.directory import Member, NoDirectory, NoEnd, read_directory

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
METHODS = st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2])


def made(members: list[tuple[str, bytes, int]], *, comment: bytes = b"", before: bytes = b"") -> bytes:
    """An archive behind some bytes."""
    stream = io.BytesIO()
    stream.write(before)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, data, method in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
        archive.comment = comment
    return stream.getvalue()


def both(raw: bytes) -> tuple[list[Member], list[Member]]:
    """What is read here, and by zipfile."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        theirs = [
            Member(
                each.filename, each.flag_bits, each.compress_type, each.CRC, each.compress_size, each.file_size,
                each.header_offset,
            )
            for each in archive.infolist()
        ]  # fmt: skip
    return read_directory(io.BytesIO(raw), len(raw)), theirs


@pytest.mark.filterwarnings("ignore:Duplicate name")
@given(
    st.lists(st.tuples(NAMES, st.binary(max_size=40), METHODS), max_size=6, unique_by=lambda each: each[0]),
    st.sampled_from([b"", b"a comment", b"c" * 3000]),
    st.sampled_from([b"", b"\x89PNG and more"]),
)
def test_any_archive(members: list[tuple[str, bytes, int]], comment: bytes, before: bytes) -> None:
    """Names in any script, every method, a comment at the end, and bytes before the archive."""
    raw = made(members, comment=comment, before=before)
    mine, theirs = both(raw)
    assert mine == theirs


def test_a_comment_like_an_end() -> None:
    """An end that is cut off is none: the one before it counts."""
    raw = made([("a", b"data", zipfile.ZIP_STORED)], comment=b"PK\x05\x06")
    assert [each.name for each in read_directory(io.BytesIO(raw), len(raw))] == ["a"]


def test_old_names() -> None:
    """Names without the flag of UTF-8 are of code page 437."""
    raw = bytearray(made([("Xber.txt", b"1", zipfile.ZIP_STORED)]))
    at = raw.index(b"PK\x01\x02")
    raw[at + 46] = 0x9A
    mine, theirs = both(bytes(raw))
    assert mine == theirs
    assert mine[0].name == "Über.txt"


def test_zip64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes, offsets and the end itself may stand in their wide forms."""
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 10)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    raw = made([("a", b"x" * 50, zipfile.ZIP_STORED), ("b", b"y" * 500, zipfile.ZIP_DEFLATED)], before=b"zz")
    assert b"PK\x06\x06" in raw
    mine, theirs = both(raw)
    assert mine == theirs
    assert [each.size for each in mine] == [50, 500]


@pytest.mark.parametrize("cut", range(1, 22))
def test_no_end(cut: int) -> None:
    """An archive whose last bytes are missing has no directory."""
    raw = made([("a", b"data", zipfile.ZIP_STORED)])[:-cut]
    with pytest.raises(NoEnd):
        read_directory(io.BytesIO(raw), len(raw))


@given(st.integers(0, 10**6), st.integers(0, 255))
def test_damage(position: int, byte: int) -> None:
    """Any byte changed: the members, or one error, and never more than the archive holds."""
    raw = bytearray(made([("a", b"data", zipfile.ZIP_STORED), ("b" * 20, b"more", zipfile.ZIP_DEFLATED)]))
    raw[position % len(raw)] = byte
    try:
        found = read_directory(io.BytesIO(bytes(raw)), len(raw))
    except NoDirectory:
        return
    assert len(found) <= 2


def test_a_directory_that_claims_too_much() -> None:
    """A directory longer than the file is corrupt."""
    raw = bytearray(made([("a", b"data", zipfile.ZIP_STORED)]))
    at = raw.rindex(b"PK\x05\x06")
    struct.pack_into("<L", raw, at + 12, 1 << 20)
    with pytest.raises(NoDirectory, match="not where the archive says"):
        read_directory(io.BytesIO(bytes(raw)), len(raw))
