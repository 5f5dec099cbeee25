"""Regular files: opened once, read by position, never waited for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from support.privileges import bound_by_permissions

from ckptdoctor.containers.bytes.files import MAX_READ, RegularFile
from ckptdoctor.errors import LimitExceeded, UnreadableArtifact


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """A file of ten bytes."""
    path = tmp_path / "ten"
    path.write_bytes(b"0123456789")
    return path


@pytest.mark.parametrize(("offset", "count", "expected"), [(0, 10, b"0123456789"), (3, 2, b"34"), (10, 0, b"")])
def test_reads_by_position(ten: Path, offset: int, count: int, expected: bytes) -> None:
    """Exactly the bytes that were asked for."""
    with RegularFile(str(ten)) as file:
        assert file.size == 10
        assert file.read(offset, count) == expected


@pytest.mark.parametrize(("offset", "count"), [(0, 11), (10, 1), (-1, 2), (0, -1), (1 << 62, 1), (5, 1 << 62)])
def test_ranges_outside(ten: Path, offset: int, count: int) -> None:
    """A range that is not in the file is an error that names what was looked for, the file and its size."""
    with RegularFile(str(ten)) as file, pytest.raises(UnreadableArtifact) as raised:
        file.read(offset, count, "the index block")
    assert "ten: the index block should be" in str(raised.value)
    assert "has only 10 bytes" in str(raised.value)
    assert raised.value.path == str(ten)


def test_nothing_huge_is_allocated(tmp_path: Path) -> None:
    """A structure of more than the limit is refused, though the (sparse) file has it."""
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(MAX_READ + 10)
    with RegularFile(str(path)) as opened, pytest.raises(LimitExceeded, match="more than the 1,073,741,824"):
        opened.read(0, MAX_READ + 1)


def test_readinto_fills_the_buffer(tmp_path: Path) -> None:
    """A tensor larger than one read is put together."""
    data = os.urandom(9 << 20)
    path = tmp_path / "data"
    path.write_bytes(data)
    buffer = bytearray(len(data) - 5)
    with RegularFile(str(path)) as file:
        file.readinto(5, memoryview(buffer))
    assert bytes(buffer) == data[5:]


def test_a_file_that_shrinks(ten: Path) -> None:
    """A file that is cut while it is read is an error, not an endless loop."""
    with RegularFile(str(ten)) as file:
        os.truncate(ten, 4)
        with pytest.raises(UnreadableArtifact, match="the file shrank while it was read"):
            file.read(0, 10)


def test_a_file_that_is_swapped(ten: Path, tmp_path: Path) -> None:
    """What was opened is what is read, whatever takes its name meanwhile."""
    with RegularFile(str(ten)) as file:
        other = tmp_path / "other"
        other.write_bytes(b"x" * 10)
        other.replace(ten)
        assert file.read(0, 10) == b"0123456789"


def test_what_is_no_regular_file(tmp_path: Path) -> None:
    """FIFOs, sockets, devices and directories are refused at once; nobody waits for a writer."""
    fifo, unix = tmp_path / "fifo.index", tmp_path / "s"
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(unix))
        for path in (fifo, unix, Path(os.devnull), Path("/dev/zero"), tmp_path):
            with pytest.raises(UnreadableArtifact, match=r"is not a regular file|cannot be opened"):
                RegularFile(str(path))


@pytest.mark.parametrize("kind", ["missing", "loop", "dangling"])
def test_what_is_not_there(tmp_path: Path, kind: str) -> None:
    """A path that leads nowhere is an error with the system's reason."""
    path = tmp_path / "a.index"
    if kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "gone")
    with pytest.raises(UnreadableArtifact, match=r"a\.index cannot be opened: (no such file|too many levels)"):
        RegularFile(str(path))


def test_no_permission(ten: Path) -> None:
    """A file that may not be read is an error with the system's reason."""
    ten.chmod(0)
    with bound_by_permissions(), pytest.raises(UnreadableArtifact, match="ten cannot be opened: permission denied"):
        RegularFile(str(ten))


def test_descriptors_are_given_back(ten: Path) -> None:
    """Neither success nor refusal leaves a descriptor open."""
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        pytest.skip("no /proc")
    before = len(os.listdir(folder))
    for _ in range(20):
        with RegularFile(str(ten)):
            pass
        with pytest.raises(UnreadableArtifact):
            RegularFile(os.devnull)
    assert len(os.listdir(folder)) == before


def test_a_name_that_no_file_can_have(tmp_path: Path) -> None:
    """A file that names others may name them by a zero byte."""
    with pytest.raises(UnreadableArtifact, match="is no name that a file can have"):
        RegularFile(f"{tmp_path}/a\0b")
