"""New zip archives from old ones: copied members keep everything, replaced ones are stored, CRCs are verified."""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from ckptdoctor.containers.bytes.window import Window
from ckptdoctor.containers.zips.editing import Replacement, rewrite
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact

TEXT = b"some words, some words\n" * 500


def make(path: Path) -> Path:
    """An archive with members of every kind."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.comment = b"a comment"
        archive.writestr(zipfile.ZipInfo("metadata.json", (1980, 1, 1, 0, 0, 0)), b"{}")
        archive.writestr(zipfile.ZipInfo("config.json", (2024, 2, 29, 13, 14, 16)), b'{"a": 1}')
        with archive.open(zipfile.ZipInfo("weights", (2023, 5, 6, 7, 8, 10)), "w", force_zip64=True) as member:
            member.write(TEXT)
        archive.writestr("assets/ä.txt", TEXT, zipfile.ZIP_DEFLATED)
        archive.writestr("assets/packed.bz2", TEXT, zipfile.ZIP_BZIP2)
        info = zipfile.ZipInfo("run.sh", (2020, 1, 1, 0, 0, 0))
        info.external_attr = (stat.S_IFREG | 0o755) << 16
        info.comment = b"executable"
        info.extra = struct.pack("<2H4s", 0x5455, 4, b"time")
        archive.writestr(info, b"#!/bin/sh\n")
    return path


def described(info: zipfile.ZipInfo) -> tuple[object, ...]:
    """What a member is, but for its place."""
    return (
        info.filename, info.date_time, info.compress_type, info.CRC, info.file_size, info.compress_size, info.comment,
        info.external_attr, info.create_system,
    )  # fmt: skip


def packed(path: Path, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes as they are stored."""
    data = path.read_bytes()
    name, extra = struct.unpack_from("<2H", data, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    return data[start : start + info.compress_size]


def by_writing(data: bytes) -> Replacement:
    """A replacement that writes itself."""

    def write(descriptor: int, start: int) -> int:
        assert os.fstat(descriptor).st_size == start
        Window(descriptor, start).write(data)
        return len(data)

    return Replacement(write, len(data))


def test_copies_and_replacements(tmp_path: Path) -> None:
    """Order, dates, attributes, comments, packed bytes stay; what is replaced is stored under its old date."""
    source = make(tmp_path / "source.zip")
    new = {"config.json": Replacement(b'{"b": 2}'), "weights": by_writing(b"w" * 100_000)}
    sizes = rewrite(str(source), str(tmp_path / "out.zip"), new)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(tmp_path / "out.zip") as out:
        assert out.testzip() is None
        assert out.comment == b"a comment"
        assert out.namelist() == old.namelist()
        for before, after in zip(old.infolist(), out.infolist(), strict=True):
            assert after.date_time == before.date_time
            if before.filename in new:
                assert after.compress_type == zipfile.ZIP_STORED
                continue
            assert described(after) == described(before)
            assert packed(tmp_path / "out.zip", after) == packed(source, before)
        assert out.read("config.json") == b'{"b": 2}'
        assert out.read("weights") == b"w" * 100_000
        assert b"time" in out.getinfo("run.sh").extra
    assert sizes.replaced == 100_008
    assert sizes.copied == sum(
        info.compress_size for info in zipfile.ZipFile(source).infolist() if info.filename not in new
    )


def test_new_members_come_last(tmp_path: Path) -> None:
    """A member that the source lacks is added."""
    rewrite(str(make(tmp_path / "source.zip")), str(tmp_path / "out.zip"), {"neu-ö": Replacement(b"x")})
    with zipfile.ZipFile(tmp_path / "out.zip") as out:
        assert out.namelist()[-1] == "neu-ö"
        assert out.read("neu-ö") == b"x"


def test_sizes_behind_the_data(tmp_path: Path) -> None:
    """Archives written to a pipe keep sizes behind each member; the copy has them in front."""

    class Pipe(io.RawIOBase):
        """A stream that cannot seek."""

        def __init__(self) -> None:
            super().__init__()
            self.data = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.data += bytes(data)  # type: ignore[call-overload]
            return len(data)  # type: ignore[arg-type]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("one", TEXT)
        archive.writestr("two", b"2")
    (tmp_path / "source.zip").write_bytes(pipe.data)
    rewrite(str(tmp_path / "source.zip"), str(tmp_path / "out.zip"), {"two": Replacement(b"zwei")})
    with zipfile.ZipFile(tmp_path / "out.zip") as out:
        assert out.testzip() is None
        assert (out.read("one"), out.read("two")) == (TEXT, b"zwei")
        assert all(not info.flag_bits & 8 for info in out.infolist())


def test_of_two_by_one_name_the_last_is_replaced(tmp_path: Path) -> None:
    """The last one is the one that is read; the others would only confuse."""
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr("config.json", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("config.json", b"2")
    rewrite(str(tmp_path / "source.zip"), str(tmp_path / "out.zip"), {"config.json": Replacement(b"3")})
    with zipfile.ZipFile(tmp_path / "out.zip") as out:
        assert (out.namelist(), out.read("config.json")) == (["config.json"], b"3")


def test_broken_and_hostile_sources(tmp_path: Path) -> None:
    """A wrong CRC, encryption, a bomb and a cut file end in one sentence, and nothing is written."""
    source = make(tmp_path / "source.zip")
    data = bytearray(source.read_bytes())
    flipped = bytearray(data)
    flipped[data.index(b"#!/bin/sh")] ^= 1
    encrypted = bytearray(data)
    encrypted[data.index(b"PK\x01\x02") + 8] |= 1
    for name, wrong in (("crc", flipped), ("encrypted", encrypted), ("cut", data[:-30])):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(UnreadableArtifact):
            rewrite(str(tmp_path / name), str(tmp_path / "out.zip"), {})
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(70 << 20))
    with pytest.raises(LimitExceeded):
        rewrite(str(tmp_path / "bomb"), str(tmp_path / "out.zip"), {})
    assert not (tmp_path / "out.zip").exists()


def test_wide_headers(tmp_path: Path) -> None:
    """A member that may pass 4 GiB gets zip64 fields beforehand, and is read whether it did or not."""
    source = make(tmp_path / "source.zip")
    replacement = by_writing(TEXT)._replace(expected=5 << 30)
    rewrite(str(source), str(tmp_path / "out.zip"), {"weights": replacement})
    with zipfile.ZipFile(tmp_path / "out.zip") as out:
        assert out.testzip() is None
        assert out.read("weights") == TEXT
    rewrite(str(tmp_path / "out.zip"), str(tmp_path / "again.zip"), {})
    with zipfile.ZipFile(tmp_path / "again.zip") as again:
        assert again.testzip() is None
        assert again.read("weights") == TEXT
