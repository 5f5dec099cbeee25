"""OCDBT databases that lie: each builds one in a folder; what a reader says of it stands beside."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import zstandard
from support.orbax.ocdbt import (
    DATA,
    MANIFEST,
    NODE,
    At,
    branch,
    database,
    files,
    frame,
    leaf,
    manifest,
    number,
    numbers,
    write,
)


def _edited(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def build(folder: Path) -> object:
        path = database(folder, {"k": b"v"}) / "manifest.ocdbt"
        return path.write_bytes(change(path.read_bytes()))

    return build


def _as_manifest(body: bytes, length: int | None = None, crc: int | None = None) -> Callable[[Path], object]:
    def build(folder: Path) -> object:
        database(folder, {"k": b"v"})
        return (folder / "manifest.ocdbt").write_bytes(frame(MANIFEST, body, length=length, crc=crc))

    return build


def as_node(body: bytes, *, height: int = 0) -> Callable[[Path], object]:
    """Builds a database of one node."""
    return lambda folder: write(folder, [frame(NODE, body)], height=height)


_SETTINGS = bytes(16) + numbers(0, 1024, 8 << 20) + bytes([4, 0])
_BOMB = zstandard.ZstdCompressor(level=19).compress(bytes(300 << 20))
_HUGE_FRAME = b"\x28\xb5\x2f\xfd\xe0" + struct.pack("<Q", 7 * 10**18)


def _raw_node(inside: bytes) -> Callable[[Path], object]:
    """A node whose compressed body is this."""

    def build(folder: Path) -> object:
        data = struct.pack(">I", NODE) + struct.pack("<Q", 18 + len(inside)) + numbers(0, 1) + inside
        return write(folder, [data + struct.pack("<I", google_crc32c.value(data))])

    return build


def _beyond(folder: Path) -> Path:
    """A node that ends where its child begins."""
    body = frame(NODE, branch({"a": At(DATA, 50, 200)}))
    return write(folder, [body], root=At(DATA, 0, len(body)), height=1)


def _own_child(folder: Path) -> Path:
    """A node that names itself with its true length."""
    size = len(frame(NODE, branch({"a": At(DATA, 0, 100)})))
    return write(folder, [frame(NODE, branch({"a": At(DATA, 0, size)}))], height=1)


def _fan(folder: Path) -> Path:
    """Twelve levels, each of which names the one below sixty times: 60^12 nodes."""
    place: At | None = None
    at = 0
    parts: list[bytes] = []
    for height in range(12):
        keys = {f"{each:02}": place for each in range(60)} if place is not None else None
        below = frame(NODE, branch(keys, height=height) if keys else leaf({"k": b"v"}))
        parts.append(below)
        place = At(DATA, at, len(below))
        at += len(below)
    return write(folder, parts, root=place, height=11)


LIES: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty manifest": (_edited(lambda _: b""), "does not begin as one"),
    "cut manifest": (_edited(lambda data: data[:-1]), "should be"),
    "magic": (_edited(lambda data: b"\0\0\0\0" + data[4:]), "does not begin as one"),
    "length": (_as_manifest(b"x", length=1 << 63), "should be"),
    "checksum": (_as_manifest(b"x", crc=1), "checksum"),
    "no manifest's body": (_as_manifest(b"x"), "ends early"),
    "2^60 versions": (_as_manifest(_SETTINGS + files("d/0") + number(1 << 60)), "claims"),
    "a varint of 400 bytes": (_as_manifest(_SETTINGS + b"\xff" * 400), "64 bits"),
    "a root outside its file": (_as_manifest(manifest(At(DATA, 0, 1 << 20))), "offset 0"),
    "a root of 2^60 bytes": (_as_manifest(manifest(At(DATA, 0, 1 << 60))), "larger than any"),
    "a root that is not there": (_as_manifest(manifest(At("d/none", 0, 9))), "is missing"),
    "a wrong height": (_as_manifest(manifest(At(DATA, 0, 60), height=3)), "truncated|where it should be|should be"),
    "absolute": (_as_manifest(manifest(At("/etc/passwd", 0, 100))), "leads out"),
    "climbing": (_as_manifest(manifest(At("../../x", 0, 100))), "leads out"),
    "climbing later": (_as_manifest(manifest(At("d/../../x", 0, 100))), "leads out"),
    "a zero byte": (_as_manifest(manifest(At("d/\0", 0, 100))), "leads out"),
    "a backslash": (_as_manifest(manifest(At("..\\x", 0, 100))), "leads out"),
    "a bomb": (_raw_node(_BOMB), "more than the"),
    "a frame that declares 7e18 bytes": (_raw_node(_HUGE_FRAME), "ends early|cannot be unpacked"),
    "no zstd": (_raw_node(b"garbage"), "cannot be unpacked"),
    "2^50 entries": (as_node(bytes([0]) + files() + number(1 << 50)), "claims"),
    "a prefix of 2^40": (as_node(bytes([0]) + files() + numbers(2, 1 << 40, 1, 1) + b"ab"), "shares more|ends early"),
    "an unknown kind": (as_node(bytes([0]) + files() + numbers(1, 1) + b"a" + numbers(1, 7) + b"v"), "unknown kind"),
    "no such file": (
        as_node(bytes([0]) + files("d/0") + numbers(1, 1) + b"a" + numbers(1, 1, 9, 0)),
        "does not list",
    ),
    "a key that is no text": (
        as_node(bytes([0]) + files() + numbers(1, 1) + b"\xff" + numbers(1, 0) + b"v"),
        "no text",
    ),
    "its own child": (_own_child, "lead to one node|where it should be"),
    "a child beyond the end": (_beyond, "truncated"),
    "60^12 nodes": (_fan, "lead to one node"),
    "a value beyond the end": (lambda folder: database(folder, {"w/0": At(DATA, 0, 1 << 40)}), "truncated"),
}
