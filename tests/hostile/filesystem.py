"""Paths that are no files, that lead elsewhere, or whose names attack who reads them (classes 44 and 45)."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

from hostile.cases import FIXTURES, Family, Place, absent, harmless, suspect, unreadable

paths = Family("path", "whole-model.h5")

H5 = FIXTURES / "whole-model.h5"


def made(name: str, make: Callable[[Path], object]) -> Callable[[Place], Path]:
    """Builds something under a name."""

    def build(place: Place) -> Path:
        path = place.own / name
        make(path)
        return path

    return build


def _socket(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # a socket's name is at most 108 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


for _suffix in ("h5", "keras", "index", "pkl", "weights.h5"):
    paths.add(f"FIFO called .{_suffix}", made(f"m.{_suffix}", os.mkfifo), unreadable("regular file"))
    paths.add(f"folder called .{_suffix}", made(f"m.{_suffix}", Path.mkdir), unreadable("empty"))
    paths.add(
        f"device behind a link called .{_suffix}",
        made(f"m.{_suffix}", lambda path: path.symlink_to("/dev/zero")),
        unreadable("regular file"),
    )
paths.add("socket", made("m.h5", _socket), unreadable(""))
paths.add("link to itself", made("m.h5", lambda path: path.symlink_to(path.name)), unreadable("link"))
paths.add("link to nothing", made("m.h5", lambda path: path.symlink_to("gone")), unreadable("leads nowhere"))
paths.add("/proc/version", lambda _: Path("/proc/version"), unreadable("empty file"))
paths.add("a path of 5,000 characters", lambda place: place.own / ("x" * 5000), absent("no such file"))
paths.add(
    "a name with a null byte is not typed, one that is missing is",
    lambda place: place.own / "gone.h5",
    absent("no such file"),
)


@paths.case("FIFO among the shards", suspect())
def _(place: Place) -> Path:
    shutil.copytree(FIXTURES / "run-a", place.own / "run")
    data = next((place.own / "run").glob("ckpt-7.data-*"))
    data.unlink()
    os.mkfifo(data)
    return place.own / "run" / "ckpt-7"


@paths.case("FIFO called checkpoint", suspect())
def _(place: Place) -> Path:
    os.mkfifo(place.own / "checkpoint")
    return place.own


@paths.case("FIFO as the weights of an unpacked archive", suspect())
def _(place: Place) -> Path:
    folder = place.own / "m"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    os.mkfifo(folder / "model.weights.h5")
    return folder


@paths.case("FIFO as the configuration of an unpacked archive", suspect())
def _(place: Place) -> Path:
    folder = place.own / "m"
    folder.mkdir()
    os.mkfifo(folder / "config.json")
    shutil.copy(FIXTURES / "lost.weights.h5", folder / "model.weights.h5")
    return folder


@paths.case("FIFO among sharded weights", suspect())
def _(place: Place) -> Path:
    os.mkfifo(place.own / "m_00000.weights.h5")
    path = place.own / "m.weights.json"
    path.write_text('{"metadata": {"total_size": 1}, "weight_map": {"/layers/dense/vars": "m_00000.weights.h5"}}')
    return path


@paths.case("sharded weights that leave the folder", unreadable(""))
def _(place: Place) -> Path:
    shutil.copy(FIXTURES / "lost.weights.h5", place.secret / "m.weights.h5")
    path = place.own / "m.weights.json"
    path.write_text('{"metadata": {}, "weight_map": {"/layers/dense/vars": "../secret/m.weights.h5"}}')
    return path


@paths.case("folder of 20,000 names", harmless("the model is the only one of them", says="iteration 7", cpu=5.0))
def _(place: Place) -> Path:
    for number in range(20_000):
        (place.own / f"{number}.txt").touch()
    shutil.copy(H5, place.own / "model.h5")
    return place.own


@paths.case("folder that links to itself", harmless("folders in folders are not walked", says="iteration 7"))
def _(place: Place) -> Path:
    shutil.copy(H5, place.own / "model.h5")
    (place.own / "loop").symlink_to(".")
    return place.own


@paths.case("link to a model", harmless("the user asked for it; caches are made of links", says="iteration 7"))
def _(place: Place) -> Path:
    shutil.copy(H5, place.own / "blob")
    (place.own / "model.h5").symlink_to("blob")
    return place.own / "model.h5"


@paths.case("git-lfs pointer", unreadable("LFS"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 7\n")
    return path


# ------------------------------------------------------------------------------------------------- names: classes 45

EVIL = "a\x1b]0;owned\x07\r\n::error file=x::pwned%0A\u202e\x9b31m.h5"
paths.add(
    "a name that writes to the terminal",
    made(EVIL, lambda path: shutil.copy(H5, path)),
    harmless("shown escaped", says="\\x1b"),
)
paths.add("a name that writes, of garbage", made(EVIL, lambda path: path.write_bytes(b"garbage")), unreadable("\\x1b"))
paths.add("a name that writes, of nothing", lambda place: place.own / EVIL, absent("no such file"))
paths.add(
    "a name that is no text",
    made(os.fsdecode(b"a\xff\xfe.h5"), lambda path: shutil.copy(H5, path)),
    harmless("shown escaped", says="\\udcff"),
)
paths.add(
    "a name like an option",
    made("--all.h5", lambda path: shutil.copy(H5, path)),
    harmless("it is a name", says="iteration 7"),
)
paths.add(
    "a name like a pattern",
    made("[m]*?.h5", lambda path: shutil.copy(H5, path)),
    harmless("it is a name", says="iteration 7"),
)
paths.add(
    "a name like markup",
    made("[red]m[bold] <b>|x|.h5", lambda path: shutil.copy(H5, path)),
    harmless("it is a name", says="[red]"),
)
