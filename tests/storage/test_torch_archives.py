"""Archives of torch at a URL are read as on this machine, whoever wrote them anew."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.remote.servers import Web

import ckptdoctor

torch: Any = pytest.importorskip("torch")


class _Pipe(io.RawIOBase):
    """What cannot be sought in: sizes and checksums then follow the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)


def _again(source: Path, method: Callable[[int], int], *, pipe: bool = False, padded: int = 0) -> bytes:
    """The archive as Python's zipfile writes it; `padded` bytes before each member's, as Info-ZIP has times there."""
    stream: Any = _Pipe() if pipe else io.BytesIO()
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(stream, "w") as new:
        for number, each in enumerate(old.infolist()):
            info = zipfile.ZipInfo(each.filename)
            info.compress_type = method(number)
            info.extra = b"\xfe\xca" + padded.to_bytes(2, "little") + bytes(padded) if padded else b""
            with new.open(info, "w") as member:
                member.write(old.read(each))
    return bytes(stream.data if pipe else stream.getvalue())


def _twice(source: Path) -> bytes:
    """Every member of an archive of torch has a predecessor of its name, which the directory names too."""
    data = source.read_bytes()
    with zipfile.ZipFile(source) as archive:
        start, members = archive.start_dir, archive.infolist()
    entries = data[start : data.rindex(b"PK\x05\x06")]
    moved = bytearray(entries)
    at = 0
    for each in members:
        at = moved.index(b"PK\x01\x02", at)
        moved[at + 42 : at + 46] = (each.header_offset + start).to_bytes(4, "little")
        at += 46 + len(each.filename)
    front = data[:start].replace(torch.ones(1).numpy().tobytes(), torch.zeros(1).numpy().tobytes())
    end = (
        b"PK\x05\x06\0\0\0\0" + (2 * len(members)).to_bytes(2, "little") * 2
        + (2 * len(entries)).to_bytes(4, "little") + (2 * start).to_bytes(4, "little") + b"\0\0"
    )  # fmt: skip
    return front + data[:start] + entries + bytes(moved) + end


def _read(path: str, *, deep: bool) -> str:
    if deep:
        (checked,) = ckptdoctor.check(path, deep=True).results
        return "\n".join(f"{each.code} {each.message}" for each in checked.findings).replace(path, "PATH")
    found = ckptdoctor.inspect(path, stats=True)[0].to_dict(tensors=True)
    return json.dumps(found).replace(os.path.dirname(path), "BASE")


def test_whoever_wrote_it(web: Web, tmp_path: Path) -> None:
    """By chance a member of another writer lies as torch's do; its values are its own all the same."""
    sizes = [(), (1,), (3,), (2, 5), (17, 3), (64,), (40, 50)]
    net = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(sizes[number % 7])) for number in range(140)])
    optimizer = torch.optim.Adam(net.parameters())
    sum(((number + 1) * each**2).sum() for number, each in enumerate(net)).backward()
    optimizer.step()
    path = tmp_path / "a.pt"
    torch.save({"model": net.state_dict(), "optimizer": optimizer.state_dict()}, path)
    made = {
        "torch": path.read_bytes(),
        "stored": _again(path, lambda _: 0),
        "packed": _again(path, lambda _: 8),
        "mixed": _again(path, lambda number: 8 * (number % 3 == 0)),
        "pipe": _again(path, lambda _: 0, pipe=True),
        "times": _again(path, lambda _: 0, pipe=True, padded=28),
        "twice": _twice(path),
    }
    for name, data in made.items():
        path.write_bytes(data)
        web.files[f"/{name}/a.pt"] = data
        for deep in (False, True):
            assert _read(f"{web.url}/{name}/a.pt", deep=deep) == _read(os.fspath(path), deep=deep), (name, deep)
