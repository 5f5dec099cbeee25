"""Zip archives read where they lie: no extraction, no trust in names, sizes or headers."""

from __future__ import annotations

import struct
import time
import warnings
import zipfile
from pathlib import Path

import pytest

from ckptdoctor.containers.zips.archive import ZipArchive
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact


def archive(path: Path, members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> str:
    """Writes an archive, duplicates and all."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as out:
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of duplicate names
        for name, data in members:
            out.writestr(name, data)
    return str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_seekable(tmp_path: Path, method: int) -> None:
    """A member is a file of its own: seeking and partial reads stay inside it."""
    path = archive(tmp_path / "a.zip", [("x", b"0123456789" * 10), ("y", b"other")], method)
    with ZipArchive(path) as opened, opened.open("x") as member:
        assert member.seek(0, 2) == 100
        assert member.seek(95) == 95
        assert member.read(50) == b"56789"
        assert member.read(1) == b""
        member.seek(3)
        assert member.read(4) == b"3456"


def test_a_stored_member_is_read_in_place(tmp_path: Path) -> None:
    """The offset of a stored member is where its bytes are in the archive's file."""
    path = archive(tmp_path / "a.zip", [("first", b"x" * 33), ("second", b"needle")])
    with ZipArchive(path) as opened:
        offset = opened.offset("second")
    assert Path(path).read_bytes()[offset : offset + 6] == b"needle"


def test_the_last_duplicate_wins_and_is_told(tmp_path: Path) -> None:
    """Of two members of one name the last is read, as Keras does, and the trick is noted."""
    path = archive(tmp_path / "a.zip", [("config.json", b"1"), ("config.json", b"2")])
    with ZipArchive(path) as opened:
        assert opened.read("config.json") == b"2"
        assert [oddity.code for oddity in opened.oddities] == ["X004"]


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "c:\\windows\\x"])
def test_escaping_names_are_told(tmp_path: Path, name: str) -> None:
    """Names that lead out of a folder are noted; nothing is ever extracted."""
    path = archive(tmp_path / "a.zip", [(name, b"x")])
    with ZipArchive(path) as opened:
        assert [oddity.code for oddity in opened.oddities] == ["X004"]


def test_bombs_are_refused(tmp_path: Path) -> None:
    """A member that unpacks to far more than it takes is refused by its claims, before a byte is unpacked."""
    path = archive(tmp_path / "a.zip", [("x", bytes(100 << 20))], zipfile.ZIP_DEFLATED)
    with ZipArchive(path) as opened:
        with pytest.raises(LimitExceeded, match="would unpack"):
            opened.open("x")
        with pytest.raises(LimitExceeded):
            opened.read("x")


def test_texts_are_bounded(tmp_path: Path) -> None:
    """A stored member larger than a text may be is not read whole."""
    path = archive(tmp_path / "a.zip", [("x", bytes(1000))])
    with ZipArchive(path) as opened, pytest.raises(LimitExceeded, match="1,000 bytes"):
        opened.read("x", limit=999)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    """The encryption flag is noted for every member, and refused on the ones that are needed."""
    path = archive(tmp_path / "a.zip", [("x", b"secret")])
    data = bytearray(Path(path).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    Path(path).write_bytes(data)
    with ZipArchive(path) as opened:
        assert [oddity.code for oddity in opened.oddities] == ["X004"]
        with pytest.raises(UnreadableArtifact, match="encrypted"):
            opened.read("x")
        with pytest.raises(UnreadableArtifact, match="encrypted"):
            opened.open("x")


def test_a_lying_local_header_is_refused(tmp_path: Path) -> None:
    """Scanners and loaders may read different names; a member whose two headers disagree is not read."""
    path = archive(tmp_path / "a.zip", [("abc", b"data")])
    data = bytearray(Path(path).read_bytes())
    data[30:33] = b"xyz"
    Path(path).write_bytes(data)
    with ZipArchive(path) as opened, pytest.raises(UnreadableArtifact, match="local header"):
        opened.open("abc")


def test_a_lying_size_is_refused(tmp_path: Path) -> None:
    """A stored member that claims more bytes than the archive has is refused."""
    path = archive(tmp_path / "a.zip", [("abc", b"data")])
    data = bytearray(Path(path).read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 20 : central + 28] = struct.pack("<2I", 1 << 20, 1 << 20)
    Path(path).write_bytes(data)
    with ZipArchive(path) as opened, pytest.raises(UnreadableArtifact, match="not all in the archive"):
        opened.open("abc")


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_a_broken_directory_is_one_sentence(tmp_path: Path, cut: int) -> None:
    """A truncated archive is told as such, with the file's name."""
    path = archive(tmp_path / "a.zip", [("abc", b"data" * 10)])
    data = Path(path).read_bytes()
    Path(path).write_bytes(data[:-cut])
    with pytest.raises(UnreadableArtifact, match=r"a\.zip: .* its end, is missing: it is truncated"):
        ZipArchive(path)


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    """Asking for a member that is not there says which."""
    path = archive(tmp_path / "a.zip", [("abc", b"data")])
    with ZipArchive(path) as opened, pytest.raises(UnreadableArtifact, match=r"config\.json: is not in the archive"):
        opened.read("config.json")


def test_many_members_without_checksums_take_no_longer(tmp_path: Path) -> None:
    """Whether an archive has checksums at all is found out once, not once a member."""
    path = str(tmp_path / "a.zip")
    with zipfile.ZipFile(path, "w") as out:
        for number in range(20_000):
            out.writestr(str(number), b"data")
        for info in out.filelist:  # what the directory will say of them
            info.CRC = 0
    with ZipArchive(path) as opened:
        assert opened.is_unsummed
        began = time.monotonic()
        assert list(opened.damaged()) == []
        assert time.monotonic() - began < 10
