"""HDF5 files and archives of Keras that were cut off: what is whole is salvaged, and only as it was saved."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest
from support.commands import ckptdoctor as command

import ckptdoctor
from ckptdoctor.errors import UnreadableArtifact


def held(path: Path, member: str | None = None) -> dict[str, Any]:
    """Every data set's values and every attribute, by path."""
    found: dict[str, Any] = {}

    def note(name: str, item: Any) -> None:
        found.update({f"{name}@{key}": repr(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset):
            found[name] = item[()].tobytes()

    data: Any = path.read_bytes()
    if member is not None:
        with zipfile.ZipFile(path) as archive:
            data = archive.read(member)
    data = io.BytesIO(data)
    with h5py.File(data, "r") as file:
        note("", file)
        file.visititems(note)
    return found


@pytest.mark.parametrize(
    ("path", "ends"),
    [
        ("keras/k3.15tf-adam-wh5.weights.h5", 17),
        ("keras/tf2.4-adam-h5.h5", 23),  # whose texts lie in a global heap
        ("keras/k2.2.4-adam-h5.h5", 11),
        ("keras/k3.15tf-adam_amsgrad-keras.keras", 23),
    ],
)
def test_cut_off_anywhere(museum: Path, tmp_path: Path, path: str, ends: int) -> None:
    """Data sets and attributes are as they were or are lost; where none is whole, that is a sentence."""
    member = "model.weights.h5" if path.endswith(".keras") else None
    whole, wanted = (museum / path).read_bytes(), held(museum / path, member)
    ending = path[path.index(".", path.rindex("-")) :]
    source, out = tmp_path / f"a{ending}", tmp_path / f"b{ending}"
    most = 0
    for number in range(ends):
        source.write_bytes(whole[: len(whole) * (number + 1) // (ends + 1)])
        try:
            done = ckptdoctor.repair(source, out, fixes=["salvage"], overwrite=True)
        except UnreadableArtifact:
            continue
        left = held(out, member)
        assert left.items() <= wanted.items()
        assert " data set" in done.done[0].told[0]
        (found,) = ckptdoctor.inspect(out)
        assert found.error is None
        most = max(most, len(left))
    assert most > len(wanted) // 3


def test_only_the_end_of_an_archive(museum: Path, tmp_path: Path) -> None:
    """An archive without its directory is put together again: every member is the same."""
    path = museum / "keras/k3.15tf-adam_amsgrad-keras.keras"
    data = path.read_bytes()
    (tmp_path / "a.keras").write_bytes(data[: data.rindex(b"PK\x05\x06")])
    (found,) = ckptdoctor.inspect(tmp_path / "a.keras")
    (hint,) = [each.hint for each in found.findings if each.code == "I001"]
    assert command(*hint.partition("salvaged: ckptdoctor ")[2].split()).code == 0
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(tmp_path / "a-repaired.keras") as other:
        assert {name: one.read(name) for name in one.namelist()} == {
            each: other.read(each) for each in other.namelist()
        }


def test_what_is_no_such_file(museum: Path, tmp_path: Path) -> None:
    """What is cut off before any variable, or is something else, is refused with one sentence."""
    whole = (museum / "keras/tf2.4-adam-h5.h5").read_bytes()
    for data in (whole[:8], whole[:60], whole[:400], b"\x89HDF\r\n\x1a\n" + b"\xff" * 500, b"PK\x03\x04" + bytes(99)):
        (tmp_path / "a.h5").write_bytes(data)
        result = command("repair", tmp_path / "a.h5", "--fix", "salvage", "--output", tmp_path / "b.h5")
        assert (result.code, len(result.err.splitlines())) == (3, 1)
        assert not (tmp_path / "b.h5").exists()
