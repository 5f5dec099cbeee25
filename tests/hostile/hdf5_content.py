"""HDF5 files whose counts, numbers, lists, filters and texts are not what they should be (classes 14 to 16)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
from hostile.cases import Family, Place, finding, harmless, suspect, unreadable
from hostile.hdf5_files import OPTIMIZER_VARS, edited, h5py, patched, replaced

contents = Family("hdf5", "whole-model.h5")

# -------------------------------------------------------------------------------------------- iterations: classes 14

_COUNTS: dict[str, Any] = {
    "a vector of floats": np.array([1.5, 2.5], np.float32),
    "NaN": np.float32("nan"),
    "negative": np.int64(-7),
    "the largest uint64": np.uint64(2**64 - 1),
    "complex": np.complex64(1j),
    "boolean": np.bool_(True),
}


def _counted(place: Place, value: Any) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        name = next(
            name.decode() if isinstance(name, bytes) else name
            for name in file["optimizer_weights"].attrs["weight_names"]
            if b"iter" in (name if isinstance(name, bytes) else name.encode())
        )
        del file["optimizer_weights"][name]
        file["optimizer_weights"][name] = value
    return path


for _name, _value in _COUNTS.items():
    contents.add(f"iterations: {_name}", _counted, suspect(), _value)
contents.add(
    "iterations: the largest int64",
    lambda place: _counted(place, np.int64(2**63 - 1)),
    harmless("the variable holds it", says="9,223,372,036,854,775,807"),
)


def _numbered(place: Place, *names: str) -> Path:
    path = place.own / "x.weights.h5"
    with edited(path, "lost.weights.h5") as file:
        group = file.require_group(OPTIMIZER_VARS)
        for name in names:
            if name in group:
                del group[name]
            group.create_dataset(name, data=np.float32(1.0))
    return path


contents.add("numbers with a gap", lambda place: _numbered(place, "0", "1", "9"), finding("I005", "gaps"))
contents.add(
    "numbers twice (3 and 03)", lambda place: _numbered(place, "0", "1", "2", "3", "03"), finding("I007", "no numbered")
)
contents.add("a negative number", lambda place: _numbered(place, "0", "1", "-1"), finding("I007", "no numbered"))
contents.add("a number of 400 digits", lambda place: _numbered(place, "0", "1" * 400), finding("I007", "no numbered"))
contents.add(
    "a number of 5,000 digits", lambda place: _numbered(place, "0", "1" * 5000), finding("I007", "no numbered")
)
contents.add("a number in Arabic digits", lambda place: _numbered(place, "0", "\u0661"), finding("I007", "no numbered"))


# ----------------------------------------------------------------------------------- lists that multiply one another


@contents.case("a layer listed 3,000 times, with 1,000 names", unreadable("name the same data sets over and over"))
def _(place: Place) -> Path:
    path = place.own / "model.h5"
    with edited(path) as file:
        model, layer = file["model_weights"], file["model_weights/hidden"]
        del model.attrs["layer_names"], layer.attrs["weight_names"]
        model.attrs["layer_names"] = np.array([b"hidden"] * 3000)
        for part in range(10):
            layer.attrs[f"weight_names{part}"] = np.array([b"hidden/kernel:0"] * 100)
    return path


# -------------------------------------------------------------------------------- filters: classes 15 and 16


@contents.case("filter from a plug-in", finding("X004", "HDF5 filter 4242"), fresh=True)
def _(place: Place) -> Path:
    def make(file: Any, name: str) -> None:
        properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        properties.set_chunk((3, 4))
        properties.set_filter(4242, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((3, 4))
        made = h5py.h5d.create(file.id, name.encode(), h5py.h5t.IEEE_F32LE, space, properties)
        made.write_direct_chunk((0, 0), b"\0" * 48)

    return replaced(place, make)


def _heap(place: Place, index: int, size: int) -> Path:
    """A model with its first object of the global heap, which holds texts, declared anew."""

    def change(data: bytearray) -> None:
        heap = data.find(b"GCOL")
        assert heap > 0
        struct.pack_into("<HHIQ", data, heap + 16, index, 1, 0, size)

    return patched(place.own / "model.h5", change)


contents.add(
    "a text's heap that never ends (HDF5 2.0 loops)", lambda place: _heap(place, 0, 0), unreadable("", cpu=20.0)
)
contents.add("a text of 2^63 bytes", lambda place: _heap(place, 1, 1 << 63), unreadable(""))


@contents.case("a text of no known kind (HDF5 2.0 crashes)", unreadable(""))
def _(place: Place) -> Path:
    def change(data: bytearray) -> None:
        # The attribute's type: class 9 (variable length), then 24 bits of which the first four say "text".
        at = data.index(b"\x19\x01", data.index(b"training_config\0"))
        data[at + 1 : at + 3] = b"\xff\xff"

    return patched(place.own / "model.h5", change)
