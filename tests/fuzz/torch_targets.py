"""Targets for what PyTorch and flax save: the pickle of an archive, the stream, metadata, headers, documents."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from fuzz.invariant import inspected

from ckptdoctor.containers.safetensors import read_safetensors
from ckptdoctor.containers.torchfiles import fast
from ckptdoctor.containers.torchfiles.reading import load
from ckptdoctor.errors import CkptDoctorError

Run = Callable[[bytes], object]
_MOST, _LONGEST = 40, 1 << 15
fast.FEW = 0  # tensors are taken whole, as in large files


def archive_pickle(folder: Path) -> Run:
    """`data.pkl` of an archive with storages of any size that is asked for."""
    path = folder / "model.pt"

    def run(data: bytes) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", data)
            for key in range(16):
                archive.writestr(f"archive/data/{key}", bytes(256))
            archive.writestr("archive/version", "3\n")
        with suppress(CkptDoctorError):
            load(str(path))
        inspected(path)

    return run


def archive_pickles(museum: Path) -> Iterator[bytes]:
    """Those of the museum, the smallest first."""
    paths = sorted(museum.rglob("torch*/*.pt"), key=lambda each: each.stat().st_size)
    for path in [each for each in paths if zipfile.is_zipfile(each)][:: max(1, len(paths) // _MOST)]:
        with zipfile.ZipFile(path) as archive:
            yield from (archive.read(name)[:_LONGEST] for name in archive.namelist() if name.endswith("/data.pkl"))


def stream(folder: Path) -> Run:
    """The stream of torch before 1.6."""
    path = folder / "model.pt"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(CkptDoctorError):
            load(str(path))
        inspected(path)

    return run


def streams(museum: Path) -> Iterator[bytes]:
    """Those of the museum."""
    paths = sorted(museum.rglob("torch*/*.pt"), key=lambda each: each.stat().st_size)
    yield from (each.read_bytes()[:_LONGEST] for each in paths[::3] if not zipfile.is_zipfile(each))


def metadata(folder: Path) -> Run:
    """`.metadata` of a distributed checkpoint, beside data that is an archive at every place."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02N.")
    (folder / "__0_0.distcp").write_bytes(out.getvalue() * 64)

    def run(data: bytes) -> None:
        (folder / ".metadata").write_bytes(data)
        inspected(folder)

    return run


def header(folder: Path) -> Run:
    """A safetensors file whose header fits its length."""
    path = folder / "model.safetensors"

    def run(data: bytes) -> None:
        path.write_bytes(len(data).to_bytes(8, "little") + data + bytes(512))
        with suppress(CkptDoctorError):
            read_safetensors(str(path))
        inspected(path)

    return run


def headers(museum: Path) -> Iterator[bytes]:
    """Those of the museum."""
    for path in sorted(museum.rglob("*.safetensors")):
        data = path.read_bytes()
        yield data[8 : 8 + int.from_bytes(data[:8], "little")]


def document(folder: Path) -> Run:
    """A msgpack document of flax."""
    path = folder / "state.msgpack"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        inspected(path)

    return run
