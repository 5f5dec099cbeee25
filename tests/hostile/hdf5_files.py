"""HDF5 files that point elsewhere, claim too much, go round in circles, or are broken (classes 1 to 16)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py as _h5py
import numpy as np
from hostile.cases import FIXTURES, MARKER, Family, Place, finding, harmless, suspect, unreadable

h5py: Any = _h5py
hdf5 = Family("hdf5", "whole-model.h5")

KERNEL = "model_weights/hidden/hidden/kernel:0"
COUNT = "optimizer_weights/Adam/iter:0"
LAYER_VARS = "layers/dense/vars"
OPTIMIZER_VARS = "optimizer/vars"


@contextmanager
def edited(path: Path, fixture: str = "whole-model.h5") -> Iterator[Any]:
    """A copy of a healthy file, open to be spoiled."""
    shutil.copyfile(FIXTURES / fixture, path)
    with h5py.File(str(path), "r+") as file:
        yield file


def patched(path: Path, change: Callable[[bytearray], object], fixture: str = "whole-model.h5") -> Path:
    """A copy of a healthy file with some bytes changed."""
    data = bytearray((FIXTURES / fixture).read_bytes())
    change(data)
    path.write_bytes(data)
    return path


def first_dataset(file: Any, below: str = "/") -> str:
    """The first data set of a tree."""
    found: list[Any] = []
    file[below].visititems(lambda _, item: found.append(item))
    return next(str(item.name) for item in found if isinstance(item, h5py.Dataset))


def replaced(place: Place, make: Callable[[Any, str], object], below: str = "model_weights") -> Path:
    """A model whose first weight is something else."""
    path = place.own / "model.h5"
    with edited(path) as file:
        name = first_dataset(file, below)
        del file[name]
        make(file, name)
    return path


def secret_h5(place: Place) -> str:
    """Another HDF5 file, which nobody may open."""
    path = place.secret / "secret.h5"
    with h5py.File(str(path), "w") as file:
        file["w"] = np.full((3, 4), 42.0, np.float32)
        file.create_group("g").attrs["weight_names"] = [b"w"]
    return str(path)


# ----------------------------------------------------------------------------------- out of the file: classes 1 to 3


@hdf5.case("external link for a weight", finding("X002", "link into another file"))
def _(place: Place) -> Path:
    return replaced(place, lambda file, name: file.__setitem__(name, h5py.ExternalLink(secret_h5(place), "w")))


@hdf5.case("external link for the optimizer's group", finding("X002", "link into another file"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        del file["optimizer_weights"]
        file["optimizer_weights"] = h5py.ExternalLink(secret_h5(place), "g")
    return path


@hdf5.case("external link for a layer", finding("X002", "link into another file"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        layer = next(iter(file["model_weights"]))
        del file["model_weights"][layer]
        file["model_weights"][layer] = h5py.ExternalLink(secret_h5(place), "g")
    return path


@hdf5.case("external link in .weights.h5", finding("X002", "link into another file"))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        name = first_dataset(file, "layers")
        del file[name]
        file[name] = h5py.ExternalLink(secret_h5(place), "w")
    return path


@hdf5.case("virtual data set", finding("X002", "virtual data set"))
def _(place: Place) -> Path:
    layout = h5py.VirtualLayout((3, 4), "f4")
    layout[:] = h5py.VirtualSource(secret_h5(place), "w", (3, 4))
    return replaced(place, lambda file, name: file.create_virtual_dataset(name, layout))


@hdf5.case("raw storage in another file", finding("X002", "keeps its bytes in another file"))
def _(place: Place) -> Path:
    host = place.secret / "host.bin"
    host.write_bytes(b"\x01" * 48)
    return replaced(place, lambda file, name: file.create_dataset(name, (3, 4), "f4", external=[(str(host), 0, 48)]))


@hdf5.case("raw storage in /etc/passwd, in .weights.h5", finding("X002", "keeps its bytes in another file"))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        name = first_dataset(file, "layers")
        del file[name]
        file.create_dataset(name, (4,), "f4", external=[("/etc/passwd", 0, 16)])
    return path


# -------------------------------------------------------------------------------------- too much: classes 4, 8 and 9


@hdf5.case("shape bomb, nothing stored", finding("X004", "declares 4,398,046,511,104 bytes and stores 0"))
def _(place: Place) -> Path:
    return replaced(place, lambda file, name: file.create_dataset(name, (1 << 20, 1 << 20), "f4", chunks=(1024, 1024)))


@hdf5.case("shape bomb among the slots", finding("X004", "declares 4,398,046,511,104 bytes and stores 0"))
def _(place: Place) -> Path:
    return replaced(
        place,
        lambda file, name: file.create_dataset(name, (1 << 20, 1 << 20), "f4", chunks=(1024, 1024)),
        "optimizer_weights",
    )


@hdf5.case("compressed bomb", finding("X004", "declares 268,435,456 bytes and stores"))
def _(place: Place) -> Path:
    def make(file: Any, name: str) -> None:
        data = file.create_dataset(name, (64, 1 << 20), "f4", chunks=(1, 1 << 20), compression="gzip")
        for row in range(64):
            data[row] = 0.0

    return replaced(place, make)


@hdf5.case("one packed chunk of 4 GB", finding("X004", "it is not read"))
def _(place: Place) -> Path:
    def make(file: Any, name: str) -> None:
        data = file.create_dataset(name, (1 << 14, 1 << 16), "f4", chunks=(1 << 14, 1 << 15), compression="gzip")
        data.id.write_direct_chunk((0, 0), b"x" * 5_000_000)

    return replaced(place, make)


@hdf5.case("attribute of 1 GB", unreadable(""))
def _(place: Place) -> Path:
    # HDF5 does not write it: the extent of a small one is patched.
    path = place.own / "model.h5"
    with edited(path) as file:
        names = file["model_weights"].attrs["layer_names"]
        del file["model_weights"].attrs["layer_names"]
        file["model_weights"].attrs.create("layer_names", np.array([b"x" * 16] * 3042, "S16"))
        assert len(names) == 3
    data = path.read_bytes()
    extent = (3042).to_bytes(8, "little")
    assert data.count(extent) >= 1
    path.write_bytes(data.replace(extent, (1 << 26).to_bytes(8, "little")))
    return path


@hdf5.case("12,000 data sets", harmless("they are all there, and counted", says="12,004", cpu=8.0))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        group = file.create_group("layers/many/vars")
        space, kind = h5py.h5s.create(h5py.h5s.SCALAR), h5py.h5t.IEEE_F32LE
        for number in range(12_000):
            h5py.h5d.create(group.id, str(number).encode(), kind, space)
    return path


# ------------------------------------------------------------------------------------------- circles: classes 5 to 7


@hdf5.case("soft-link cycle", finding("I007", "soft link"))
def _(place: Place) -> Path:
    return replaced(place, lambda file, name: file.__setitem__(name, h5py.SoftLink(name)))


@hdf5.case("hard-link cycle", finding("I007", "is the same group as one above it"))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        file["layers/self"] = file["layers"]
    return path


@hdf5.case("groups 3,000 deep", finding("I007", "groups below depth"))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        group = file["layers"]
        for _ in range(3000):
            group = group.create_group("d")
        group.create_dataset("vars/0", data=[1.0])
    return path


# ----------------------------------------------------------------------------------------- configuration: classes 10


def _configured(place: Place, name: str, text: str | bytes) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        if isinstance(text, bytes):
            file.attrs[name] = np.bytes_(text)
        else:
            file.attrs.create(name, text, dtype=h5py.string_dtype())
    return path


for _name in ("model_config", "training_config"):
    hdf5.add(
        f"deep JSON in {_name}",
        lambda place, name: _configured(place, name, "[" * 60_000),
        unreadable("nested"),
        _name,
    )
hdf5.add("no JSON in model_config", lambda place: _configured(place, "model_config", "{not json"), unreadable("JSON"))
hdf5.add(
    "bytes in model_config", lambda place: _configured(place, "model_config", b"\xff\xfe\x00\x1b"), unreadable("JSON")
)


@hdf5.case("Lambda layer with code", finding("X001", "Python code"))
def _(place: Place) -> Path:
    code = f"__import__('os').system('{MARKER}')"
    layer = {"class_name": "Lambda", "config": {"function": [code, None, None], "name": "l"}}
    return _configured(place, "model_config", json.dumps({"class_name": "Sequential", "config": {"layers": [layer]}}))


# ----------------------------------------------------------------------------------------- strange types: classes 11

_TYPES: dict[str, Callable[[Any, str], object]] = {
    "texts": lambda file, name: file.create_dataset(name, data=["a", "b"], dtype=h5py.string_dtype()),
    "object references": lambda file, name: file.create_dataset(name, data=[file.ref], dtype=h5py.ref_dtype),
    "a compound": lambda file, name: file.create_dataset(name, (3,), [("a", "f4"), ("b", "i8")]),
    "an array type": lambda file, name: file.create_dataset(name, (3,), "(2,2)f4"),
    "an enumeration": lambda file, name: file.create_dataset(name, (3,), h5py.enum_dtype({"A": 1})),
    "variable-length numbers": lambda file, name: file.create_dataset(name, (3,), h5py.vlen_dtype("f4")),
    "nothing": lambda file, name: file.create_dataset(name, data=h5py.Empty("f4")),
    "opaque bytes": lambda file, name: file.create_dataset(name, (3,), "V7"),
}
for _name, _make in _TYPES.items():
    hdf5.add(f"weight of {_name}", replaced, suspect(), _make)
    hdf5.add(f"slot of {_name}", lambda place, make: replaced(place, make, "optimizer_weights"), suspect(), _make)
hdf5.add(
    "weight of rank 32",
    lambda place: replaced(place, lambda file, name: file.create_dataset(name, (1,) * 32, "f4")),
    finding("S008", "its variable [1, 1,"),
)


@hdf5.case("a data set where a group is expected", suspect())
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        del file["optimizer_weights"]
        file["optimizer_weights"] = [1.0]
    return path


@hdf5.case("names that are numbers", unreadable("should be a list of names"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        file["model_weights"].attrs["layer_names"] = [1, 2, 3]
    return path


# ------------------------------------------------------------------------------------------------- names: classes 12

_EVIL = b"\x1b]0;owned\x07\x1b[31m\r\n::error::pwned\x7f\xc2\x9b\xe2\x80\xae%0A"


@hdf5.case("control characters in a layer's name", harmless("the name is shown escaped", says="\\x1b"))
def _(place: Place) -> Path:
    return _renamed(place, _EVIL)


@hdf5.case("a layer's name that is no UTF-8", harmless("the name is shown escaped", says="\\udcff"))
def _(place: Place) -> Path:
    return _renamed(place, b"a\xff\xfe\x80")


def _renamed(place: Place, name: bytes) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        weights = file["model_weights"]
        old = [each if isinstance(each, bytes) else each.encode() for each in weights.attrs["layer_names"]]
        weights.id.links.move(old[1], weights.id, name)
        group = h5py.h5g.open(weights.id, name)
        names = h5py.Group(group).attrs["weight_names"]
        first = names[0] if isinstance(names[0], bytes) else names[0].encode()
        moved = name + b"/kernel:0"
        group.links.move(first, h5py.h5g.create(group, name), b"kernel:0")
        rest = [each if isinstance(each, bytes) else each.encode() for each in names[1:]]
        h5py.Group(group).attrs["weight_names"] = np.array([moved, *rest])
        old[1] = name
        weights.attrs["layer_names"] = np.array(old)
    return path


@hdf5.case("control characters in .weights.h5", harmless("the name is shown escaped", says="\\x1b"))
def _(place: Place) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        group = h5py.h5g.create(file["layers"].id, _EVIL.replace(b"/", b""))
        h5py.Group(group).create_dataset("vars/0", data=[1.0, 2.0])
    return path


@hdf5.case("control characters in the version", harmless("the version is shown escaped", says="\\x1b"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        for holder in (file, file["model_weights"]):
            holder.attrs["keras_version"] = b"2.10.0" + _EVIL
    return path


# ------------------------------------------------------------------------------------------------ broken: classes 13


@hdf5.case("truncated", unreadable("truncated"))
def _(place: Place) -> Path:
    return patched(place.own / "model.h5", lambda data: data.__delitem__(slice(len(data) // 2, None)))


@hdf5.case("cut after the signature", unreadable(""))
def _(place: Place) -> Path:
    return patched(place.own / "model.h5", lambda data: data.__delitem__(slice(8, None)))


@hdf5.case("empty", unreadable("empty"))
def _(place: Place) -> Path:
    return patched(place.own / "model.h5", lambda data: data.clear())


@hdf5.case("user block before the signature", harmless("HDF5 allows one, and so does Keras", says="iteration 7"))
def _(place: Place) -> Path:
    def push(data: bytearray) -> None:
        data[:0] = b"\n".ljust(512, b" ")

    return patched(place.own / "model.h5", push)


for _byte in (8, 9, 13, 14, 16, 20, 24, 40, 64):
    hdf5.add(
        f"superblock byte {_byte} flipped",
        lambda place, byte: patched(place.own / "model.h5", lambda data: data.__setitem__(byte, data[byte] ^ 0xFF)),
        unreadable(""),
        _byte,
    )


@hdf5.case("garbage behind a signature", unreadable(""))
def _(place: Place) -> Path:
    return patched(place.own / "model.h5", lambda data: data.__setitem__(slice(16, None), bytes(range(256)) * 64))
